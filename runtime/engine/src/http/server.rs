//! A container that is an http server: it listens, and has a guest for each request.
//!
//! ```text
//! Serving ──SIGTERM──> Draining ──DRAIN──> Closing ──all answered──> ended with 0
//!  accepts             accepts, and         accepts nothing
//!                      says `close`
//! ```
//!
//! While nothing is asked there is no instance: what is parked is a listener and a future. Nobody
//! tells yet that others have learned of the end, so the drain always takes its time.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use hyper_util::server::conn::auto::Builder;
use model::container::Protocol;
use model::runtime::{Exit, Stream};
use net::{Family, NetError, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::connection;
use super::instances::{Instances, Serving};
use super::limits;
use super::outgoing::Outgoing;
use super::tasks::{Beside, Tasks, TasksOwner};
use crate::guest::Guest;
use crate::health::Health;
use crate::image::Entry;
use crate::instance::{Engine, Farewell, Program, exited};
use crate::output::{Output, OutputSink};
use crate::stop::Stop;

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    Draining,
    Closing,
}

/// One server: what its connections share.
pub(super) struct Server {
    engine: Engine,
    program: Arc<Program>,
    stop: Arc<Stop>,
    sink: OutputSink,
    errors: Output,
    /// What guests say of it, which together may say no more than one could.
    health: Health,
    instances: Instances,
    /// How its guests call out, with one limit for all of them.
    outgoing: Outgoing,
    builder: Builder<Beside>,
    places: Arc<Semaphore>,
    /// Those who wait for a place.
    waiting: Semaphore,
    connections: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    tasks: Arc<Tasks>,
}

/// Serves until it is asked to stop, and then until all is answered.
pub(crate) async fn serve(
    engine: Engine,
    program: Arc<Program>,
    stop: Arc<Stop>,
    farewell: Arc<Farewell>,
) -> Exit {
    // From now on a stop is ours to carry out.
    let mut asked = stop.listen();
    let port = port(&program);
    let listeners = match listen(&program, port).await {
        Ok(listeners) => listeners,
        Err(error) => return cannot_listen(port, error),
    };
    let outgoing = Outgoing::new(engine.clone(), &program, Arc::clone(&farewell));
    let account = Arc::clone(&program.account);
    let tasks = Arc::new(Tasks::new(engine.clone(), account, farewell));
    let owner = TasksOwner(Arc::clone(&tasks));
    let server = Arc::new(Server::new(engine, program, stop, tasks, outgoing));
    let life = async {
        let is_asked = async {
            // The sender lives as long as the instance.
            let _ = asked.wait_for(|asked| *asked).await;
        };
        server.accept_until(&listeners, is_asked).await;
        server.phase.send_replace(Phase::Draining);
        let drain = limits::DRAIN.min(server.stop.grace_left() / 2);
        server
            .accept_until(&listeners, tokio::time::sleep(drain))
            .await;
        drop(listeners);
        server.phase.send_replace(Phase::Closing);
        owner.0.all_ended().await;
    };
    tokio::select! {
        biased;
        () = life => exited(0),
        never = server.instances.keep_short() => match never {},
    }
}

// === impl Server ===

impl Server {
    fn new(
        engine: Engine,
        program: Arc<Program>,
        stop: Arc<Stop>,
        tasks: Arc<Tasks>,
        outgoing: Outgoing,
    ) -> Self {
        let sink = OutputSink::new(program.id, program.reports.clone());
        Self {
            errors: Output::new(sink.clone(), Stream::Stderr, false),
            health: Health::new(program.id, program.reports.clone()),
            sink,
            instances: Instances::new(&program.identity.annotations),
            builder: connection::builder(Beside(Arc::clone(&tasks))),
            places: Arc::new(Semaphore::new(limits::REQUESTS)),
            waiting: Semaphore::new(limits::WAITING),
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS)),
            phase: watch::Sender::new(Phase::Serving),
            engine,
            program,
            stop,
            tasks,
            outgoing,
        }
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    pub(super) fn instances(&self) -> &Instances {
        &self.instances
    }

    pub(super) fn builder(&self) -> &Builder<Beside> {
        &self.builder
    }

    pub(super) fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// The container's standard error.
    pub(super) fn errors(&self) -> &Output {
        &self.errors
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn phase_now(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A place among the requests that are answered at once.
    ///
    /// # Errors
    /// Why there is none, for the client.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, &'static str> {
        take_turn(&self.places, &self.waiting).await
    }

    /// An instance for a request.
    ///
    /// # Errors
    /// When none can be made.
    pub(super) async fn instance(&self) -> wasmtime::Result<Serving> {
        if let Some(kept) = self.instances.take() {
            return Ok(kept);
        }
        let (slot, entry) = self.engine.place(&self.program.image)?;
        let Entry::Server(server) = entry else {
            return Err(wasmtime::format_err!("the image is no http server"));
        };
        let (sink, stop) = (self.sink.clone(), Arc::clone(&self.stop));
        let mut guest = Guest::new(&self.program, sink, None, stop);
        guest.health = self.health.clone();
        guest.set_outgoing(self.outgoing.clone());
        let mut store = crate::instance::store(&slot, guest);
        let proxy = server.instantiate_async(&mut store).await?;
        Ok(Serving::new(store, proxy, slot))
    }

    /// Accepts connections until something else happens.
    async fn accept_until(
        self: &Arc<Self>,
        listeners: &[TcpSocket],
        until: impl Future<Output = ()>,
    ) {
        let accept = async {
            loop {
                let Ok(place) = Arc::clone(&self.connections).acquire_owned().await else {
                    return std::future::pending().await;
                };
                let stream = self.accept(listeners).await;
                let server = Arc::clone(self);
                self.tasks.spawn(async move {
                    let _place = place;
                    connection::serve(server, stream).await;
                });
            }
        };
        tokio::select! {
            biased;
            () = until => {}
            () = accept => {}
        }
    }

    /// The next connection.
    async fn accept(&self, listeners: &[TcpSocket]) -> TcpStream {
        loop {
            for listener in listeners {
                match listener.try_accept() {
                    Ok(socket) => {
                        if let Some(stream) = socket.stream() {
                            return stream.clone();
                        }
                    }
                    Err(NetError::NewSocketLimit | NetError::OutOfMemory) => self.rest().await,
                    // The pod is going, and this with it.
                    Err(NetError::InvalidState) => return std::future::pending().await,
                    Err(NetError::WouldBlock) => {}
                    // A connection that broke while it waited: there may be another. Whatever it
                    // was, it does not keep the thread from the others.
                    Err(error) => {
                        tracing::debug!(%error, "a connection was not accepted");
                        crate::executor::yield_now().await;
                    }
                }
            }
            poll_fn(|cx| acceptable(listeners, cx)).await;
        }
    }

    /// Waits for a socket to become free.
    async fn rest(&self) {
        tokio::select! {
            () = self.tasks.one_ended() => {}
            () = tokio::time::sleep(limits::REST) => {}
        }
    }
}

/// A place, after those who have waited for longer.
async fn take_turn(
    places: &Arc<Semaphore>,
    waiting: &Semaphore,
) -> Result<OwnedSemaphorePermit, &'static str> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    let Ok(_waiting) = waiting.try_acquire() else {
        return Err("the server has more requests than it can answer; ask again later");
    };
    let turn = tokio::time::timeout(limits::TURN, Arc::clone(places).acquire_owned());
    match turn.await {
        Ok(Ok(place)) => Ok(place),
        // Nobody closes it, so that it was the time.
        Ok(Err(_)) | Err(_) => Err("the server came to no end of the requests before this one"),
    }
}

/// Ready when one of the listeners has a connection. Every one must know the waker.
fn acceptable(listeners: &[TcpSocket], cx: &mut std::task::Context<'_>) -> Poll<()> {
    let ready = listeners
        .iter()
        .filter_map(TcpSocket::listener)
        .filter(|listener| listener.poll_acceptable(cx).is_ready())
        .count();
    if ready > 0 {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// The container's first TCP port.
fn port(program: &Program) -> u16 {
    let mut ports = program.ports.iter();
    let first = ports.find(|(_, _, protocol)| *protocol == Protocol::Tcp);
    first.map_or(limits::DEFAULT_PORT, |(_, port, _)| *port)
}

/// Listens at every address of the pod: IPv4, and IPv6 where it has that.
async fn listen(program: &Program, port: u16) -> Result<Vec<TcpSocket>, NetError> {
    let mut listeners = vec![listen_at(program, Ipv4Addr::UNSPECIFIED.into(), port).await?];
    match listen_at(program, Ipv6Addr::UNSPECIFIED.into(), port).await {
        Ok(listener) => listeners.push(listener),
        Err(error) => tracing::debug!(%error, port, "a server does not listen at IPv6"),
    }
    Ok(listeners)
}

async fn listen_at(program: &Program, address: IpAddr, port: u16) -> Result<TcpSocket, NetError> {
    let mut socket = program.net.tcp(Family::of(address))?;
    socket.bind(SocketAddr::new(address, port))?;
    socket.set_backlog(limits::BACKLOG)?;
    socket.listen().await?;
    Ok(socket)
}

fn cannot_listen(port: u16, error: NetError) -> Exit {
    let remedy = match error {
        NetError::AddressInUse => {
            ": give it a containerPort of its own; an http server listens at its first TCP one"
        }
        NetError::AccessDenied => {
            ": on the host's network only root may have a port so low; give it a higher containerPort"
        }
        _ => "",
    };
    Exit {
        code: 1,
        reason: "Error".to_owned(),
        message: format!("the http server cannot listen at port {port}: {error}{remedy}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_its_turn_only_so_long_and_among_so_many() {
        let (places, waiting) = (Arc::new(Semaphore::new(1)), Semaphore::new(1));
        let first = take_turn(&places, &waiting).await.unwrap();
        let begun = tokio::time::Instant::now();
        let (second, third) =
            tokio::join!(take_turn(&places, &waiting), take_turn(&places, &waiting));
        assert!(second.unwrap_err().contains("no end"));
        assert!(third.unwrap_err().contains("more requests"));
        assert_eq!(begun.elapsed(), limits::TURN);
        let (second, ()) = tokio::join!(take_turn(&places, &waiting), async { drop(first) });
        assert!(second.is_ok());
    }
}
