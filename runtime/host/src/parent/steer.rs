//! Doors as a child has them: its parent steers, and binds what a process without rights may not.
//!
//! Questions wait in line with others of their sort. One that nobody waits for any more is answered
//! all the same, and what was opened for it is closed: its asker says so when it goes.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use net::steer::{Endpoint, SteerError, Way};
use net::{Asked, Binder, Family, Steer};
use rustix::io::Errno;

use super::Parent;
use crate::protocol::FromChild;

/// What the parent does for the switch of this child. Clones are the same.
#[derive(Clone)]
pub(crate) struct ParentsDoors(Arc<Parent>);

// === impl ParentsDoors ===

impl ParentsDoors {
    /// Asks this parent.
    pub(crate) fn new(parent: Arc<Parent>) -> Self {
        Self(parent)
    }
}

/// There is no parent any more, and this process ends.
fn gone() -> SteerError {
    SteerError::lost(&Errno::PIPE)
}

impl Steer for ParentsDoors {
    fn listeners(&self) -> Asked<Result<Vec<(Family, OwnedFd)>, SteerError>> {
        let parent = Arc::clone(&self.0);
        Box::pin(async move {
            let asking = parent.ask_for_doors(&parent.listeners, FromChild::Listeners);
            asking.await.unwrap_or_else(|| Err(gone()))
        })
    }

    fn open(&self, endpoint: Endpoint, way: Way) -> Asked<Result<(), SteerError>> {
        let parent = Arc::clone(&self.0);
        Box::pin(async move {
            let asking = parent.ask_for_doors(&parent.opening, |number| FromChild::Open {
                number,
                endpoint,
                way,
            });
            asking.await.unwrap_or_else(|| Err(gone()))
        })
    }

    fn single_out(&self, endpoint: Endpoint) -> Asked<Result<OwnedFd, SteerError>> {
        let parent = Arc::clone(&self.0);
        Box::pin(async move {
            let asking = parent.ask_for_doors(&parent.singling, |number| {
                FromChild::SingleOut(number, endpoint)
            });
            asking.await.unwrap_or_else(|| Err(gone()))
        })
    }

    fn rejoin(&self, endpoint: Endpoint) {
        self.0.tell(FromChild::Rejoin(endpoint));
    }

    fn close(&self, endpoint: Endpoint) {
        self.0.tell(FromChild::Close(endpoint));
    }
}

impl Binder for ParentsDoors {
    fn bind(&self, door: Endpoint) -> Asked<Result<OwnedFd, Errno>> {
        let parent = Arc::clone(&self.0);
        Box::pin(async move {
            let asking =
                parent.ask_for_doors(&parent.binding, |number| FromChild::Bind(number, door));
            asking.await.unwrap_or(Err(Errno::PIPE))
        })
    }
}

impl fmt::Debug for ParentsDoors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentsDoors").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use model::container::Protocol;
    use tokio::sync::mpsc;

    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            protocol: Protocol::Tcp,
            at: ([127, 64, 0, 2], port).into(),
        }
    }

    /// Doors, and what is said to the parent.
    fn doors() -> (ParentsDoors, mpsc::UnboundedReceiver<FromChild>) {
        let (out, said) = mpsc::unbounded_channel();
        (ParentsDoors::new(Arc::new(Parent::new(out))), said)
    }

    #[tokio::test]
    async fn questions_are_answered_by_their_numbers() {
        let (doors, mut said) = doors();
        let [one, two] =
            [80, 81].map(|port| tokio::spawn(doors.open(endpoint(port), Way::Listener)));
        let mut numbers = Vec::new();
        for _ in 0..2 {
            match said.recv().await {
                Some(FromChild::Open {
                    number,
                    endpoint,
                    way: Way::Listener,
                }) => {
                    numbers.push((endpoint.at.port(), number));
                }
                other => panic!("{other:?}"),
            }
        }
        for (port, number) in numbers {
            let taken = SteerError::Taken(endpoint(port).at);
            let answer = if port == 80 { Ok(()) } else { Err(taken) };
            doors.0.opened(number, answer);
        }
        assert_eq!(one.await.expect("a task"), Ok(()));
        let taken = SteerError::Taken(endpoint(81).at);
        assert_eq!(two.await.expect("a task"), Err(taken));
    }

    #[tokio::test]
    async fn a_listener_for_one_endpoint_is_asked_for_and_given_back() {
        let (doors, mut said) = doors();
        let asking = tokio::spawn(doors.single_out(endpoint(80)));
        let Some(FromChild::SingleOut(number, asked)) = said.recv().await else {
            panic!("no question");
        };
        assert_eq!(asked, endpoint(80));
        let taken = SteerError::Taken(asked.at);
        doors.0.singled_out(number, Err(taken.clone()));
        let answer = asking.await.expect("a task");
        assert_eq!(answer.err(), Some(taken));
        doors.rejoin(asked);
        let Some(FromChild::Rejoin(again)) = said.recv().await else {
            panic!("it is not said");
        };
        assert_eq!(again, asked);
    }

    #[tokio::test]
    async fn a_question_whose_asker_has_gone_keeps_no_place() {
        let (doors, mut said) = doors();
        for _ in 0..crate::protocol::QUESTIONS {
            let asking = tokio::spawn(doors.bind(endpoint(80)));
            let Some(FromChild::Bind(number, _)) = said.recv().await else {
                panic!("no question");
            };
            asking.abort();
            doors.0.bound(number, Err(Errno::ACCESS));
        }
        let asking = tokio::spawn(doors.bind(endpoint(81)));
        let Some(FromChild::Bind(number, _)) = said.recv().await else {
            panic!("no question");
        };
        doors.0.bound(number, Err(Errno::ADDRINUSE));
        let bound = asking.await.expect("a task");
        assert_eq!(bound.err(), Some(Errno::ADDRINUSE));
    }
}
