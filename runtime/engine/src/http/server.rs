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
use std::sync::Arc;

use bytes::Bytes;
use hyper_util::server::conn::auto::Builder;
use model::container::http_port;
use model::runtime::{Exit, Stream};
use net::{NetError, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::connection;
use super::instances::{Handler, Instances, Serving};
use super::limits;
use super::line::{Line, NoPlace, Place};
use super::outgoing::Outgoing;
use super::room::{Room, Taken};
use super::tasks::{Beside, Tasks, TasksOwner};
use crate::guest::Guest;
use crate::health::Health;
use crate::image::Entry;
use crate::instance::{Engine, Farewell, Program, exited};
use crate::listening::Listening;
use crate::output::{Output, OutputSink};
use crate::stop::Stop;

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    Draining,
    Closing,
}

/// A request's place among those that are answered at once, until it is dropped.
pub(super) struct Admitted {
    _room: Taken,
    _place: Place,
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
    outgoing: Arc<Outgoing>,
    builder: Builder<Beside>,
    /// Requests that are answered at once.
    line: Line,
    /// Memory for their instances.
    room: Arc<Room>,
    connections: Arc<Semaphore>,
    /// Lines for the log that nobody waits for.
    lines: Arc<Semaphore>,
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
    let port = http_port(&program.ports);
    let listening = Listening::open(&program.net, port, Some(limits::BACKLOG)).await;
    let listening = match listening {
        Ok(listening) => listening,
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
        server.accept_until(&listening, is_asked).await;
        server.phase.send_replace(Phase::Draining);
        let drain = limits::DRAIN.min(server.stop.grace_left() / 2);
        server
            .accept_until(&listening, tokio::time::sleep(drain))
            .await;
        drop(listening);
        server.phase.send_replace(Phase::Closing);
        owner.0.all_ended().await;
    };
    tokio::select! {
        biased;
        () = life => exited(0),
        never = server.instances.keep_short(|| server.room.freed()) => match never {},
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
            line: Line::new(limits::REQUESTS, limits::WAITING),
            room: Arc::new(Room::new(Arc::clone(&program.account))),
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS)),
            lines: Arc::new(Semaphore::new(limits::LINES)),
            phase: watch::Sender::new(Phase::Serving),
            engine,
            program,
            stop,
            tasks,
            outgoing: Arc::new(outgoing),
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

    /// Writes a line to the container's standard error.
    pub(super) async fn tell(&self, line: String) {
        self.errors.write(Bytes::from(line)).await;
    }

    /// The same for whoever cannot wait until it is written. Where too many lines wait for that, this
    /// one is not.
    pub(super) fn tell_beside(self: &Arc<Self>, line: String) {
        let Ok(place) = Arc::clone(&self.lines).try_acquire_owned() else {
            return;
        };
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            let _place = place;
            server.tell(line).await;
        });
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn phase_now(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A place among the requests that are answered at once, with room for an instance.
    ///
    /// # Errors
    /// Why there is none, for the client.
    pub(super) async fn place(&self) -> Result<Admitted, &'static str> {
        const LATE: &str = "the server came to no end of the requests before this one";
        let until = Instant::now() + limits::TURN;
        let place = self.line.place(limits::TURN).await;
        let place = place.map_err(|why| match why {
            NoPlace::Full => "the server has more requests than it can answer; ask again later",
            NoPlace::Late => LATE,
        })?;
        let room = self.room.take(|| self.instances.waiting());
        let room = tokio::time::timeout_at(until, room)
            .await
            .map_err(|_| LATE)?;
        Ok(Admitted {
            _room: room,
            _place: place,
        })
    }

    /// Learns from an instance that has answered how much memory one takes.
    pub(super) fn learn(&self, instance: &Serving) {
        self.room.tally().done(instance.memory());
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
        let (sink, health) = (self.sink.clone(), self.health.clone());
        let mut guest = Guest::new(&self.program, sink, health, None, Arc::clone(&self.stop));
        guest.limiter.count_in(self.room.tally());
        guest.set_outgoing(Arc::clone(&self.outgoing));
        let mut store = crate::instance::store(&slot, guest);
        let handler = match entry {
            Entry::Server(server) => Handler::P2(server.instantiate_async(&mut store).await?),
            Entry::Server3(server) => Handler::P3(server.instantiate_async(&mut store).await?),
            _ => wasmtime::bail!("the image is no http server"),
        };
        Ok(Serving::new(store, handler, slot))
    }

    /// Accepts connections until something else happens.
    async fn accept_until(
        self: &Arc<Self>,
        listening: &Listening,
        until: impl Future<Output = ()>,
    ) {
        let accept = async {
            loop {
                let Ok(place) = Arc::clone(&self.connections).acquire_owned().await else {
                    return std::future::pending().await;
                };
                let stream = self.accept(listening).await;
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
    async fn accept(&self, listening: &Listening) -> TcpStream {
        loop {
            let freed = self.program.net.socket_freed();
            match listening.try_accept() {
                Ok(stream) => return stream,
                Err(NetError::WouldBlock) => poll_fn(|cx| listening.poll_acceptable(cx)).await,
                // The pod has none left.
                Err(NetError::NewSocketLimit) if !self.program.net.has_socket() => freed.await,
                // The machine has none left, or no memory, and tells nobody when it has.
                Err(NetError::NewSocketLimit | NetError::OutOfMemory) => {
                    drop(tokio::time::timeout(limits::REST, freed).await);
                }
                // The pod is going, and this with it.
                Err(NetError::InvalidState) => return std::future::pending().await,
                // A connection that broke while it waited: there may be another. Whatever it was, it
                // does not keep the thread from the others.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    crate::executor::yield_now().await;
                }
            }
        }
    }
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
