//! A switch's side of steering: begun with the first listener that others may reach, and closed
//! door by door.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::accept::Task;
use super::tables::refused;
use super::{Endpoint, Steer, SteerError, Way};
use crate::fabric::Fabric;
use crate::kernel::KernelSocket;
use crate::tcp::Family;

/// What a switch knows of the steering it was given.
#[derive(Debug)]
pub(crate) struct Steered {
    steer: Arc<dyn Steer>,
    /// A task for each family that is steered, or why there is none and never will be.
    begun: OnceCell<Result<Tasks, SteerError>>,
}

type Tasks = Vec<(Family, Task)>;

/// An endpoint that is open, or asked for; closed when dropped.
#[derive(Debug)]
pub(crate) struct SteeredEndpoint {
    steer: Arc<dyn Steer>,
    endpoint: Endpoint,
    /// Nothing was opened.
    is_refused: bool,
}

// === impl Steered ===

impl Steered {
    pub(crate) fn new(steer: Arc<dyn Steer>) -> Self {
        Self {
            steer,
            begun: OnceCell::new(),
        }
    }

    /// Whether listeners of a family are steered. Begins to steer where nobody has yet.
    pub(crate) async fn takes(
        &self,
        family: Family,
        fabric: &Arc<Fabric>,
    ) -> Result<bool, SteerError> {
        let begin = || async {
            match self.begin(fabric).await {
                // Tried again with the next door.
                Err(error) if error.passes() => Err(error),
                begun => Ok(begun),
            }
        };
        let tasks = self.begun.get_or_try_init(begin).await?;
        let tasks = tasks.as_ref().map_err(Clone::clone)?;
        Ok(tasks.iter().any(|(steered, _)| *steered == family))
    }

    /// Leads an endpoint to a pod's listener.
    pub(crate) async fn open(&self, endpoint: Endpoint) -> Result<SteeredEndpoint, SteerError> {
        self.open_to(endpoint, Way::Listener).await
    }

    /// Lets the socket of a pod's plain door be reached.
    pub(crate) async fn pass(
        &self,
        endpoint: Endpoint,
        fabric: &Arc<Fabric>,
    ) -> Result<SteeredEndpoint, SteerError> {
        // Whoever steers gets ready with this question, at leisure. The answer is for listeners.
        let _ = self.takes(Family::V4, fabric).await;
        self.open_to(endpoint, Way::Socket).await
    }

    /// A listener for an open endpoint alone, which led to the one of all.
    pub(crate) async fn single_out(
        &self,
        endpoint: Endpoint,
        fabric: &Fabric,
    ) -> Result<KernelSocket, SteerError> {
        let made = self.steer.single_out(endpoint).await;
        let watched = made.and_then(|listener| {
            KernelSocket::watch(listener, &fabric.kernel)
                .map_err(|error| refused("watching a listener", &error))
        });
        if watched.is_err() {
            self.steer.rejoin(endpoint);
        }
        watched
    }

    async fn open_to(&self, endpoint: Endpoint, way: Way) -> Result<SteeredEndpoint, SteerError> {
        let asked = self.steer.open(endpoint, way);
        let mut opened = SteeredEndpoint {
            steer: Arc::clone(&self.steer),
            endpoint,
            is_refused: false,
        };
        let answer = asked.await;
        opened.is_refused = answer.is_err();
        answer.map(|()| opened)
    }

    async fn begin(&self, fabric: &Arc<Fabric>) -> Result<Tasks, SteerError> {
        let listeners = self.steer.listeners().await?;
        let tasks = listeners.into_iter().map(|(family, listener)| {
            let task = Task::start(listener, fabric);
            task.map(|task| (family, task))
                .map_err(|error| refused("watching a listener", &error))
        });
        tasks.collect()
    }
}

// === impl SteeredEndpoint ===

impl Drop for SteeredEndpoint {
    fn drop(&mut self) {
        if !self.is_refused {
            self.steer.close(self.endpoint);
        }
    }
}
