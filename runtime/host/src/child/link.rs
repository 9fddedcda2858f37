//! One child as its parent hears it.
//!
//! What it says is held against [`Known`] first; whoever says what no pod host says is ended.

mod steer;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::runtime::{Answer, Event, EventSink, Exit, InstanceId, RuntimeError, Stats};
use net::Lane;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child as Process;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::ChildConfig;
use crate::descriptors::Sender;
use crate::known::{Breach, Change, Heard, Known, Wanted};
use crate::protocol::{self, FromChild, Order, QUESTIONS, Refusal, Reply, ToChild};
use crate::wire::Wire;

/// What a child may have asked and not heard the answer of: more than it ever asks, because it may
/// hear an answer before that is known here: of the network, and for doors.
const UNANSWERED: usize = 4 * QUESTIONS;

/// Connections that a child was given and has not answered. One that answers none gets no more.
const UNACCEPTED: usize = 1024;

/// What the parent knows of a child.
pub(crate) struct Link {
    /// Frames, ready to be written.
    orders: mpsc::UnboundedSender<Frame>,
    next: AtomicU64,
    descriptors: Sender,
    wire: Arc<Wire>,
    questions: Arc<Semaphore>,
    acceptances: Arc<Semaphore>,
    /// Held by whoever makes listeners: one at a time.
    making: Arc<Semaphore>,
    /// Told when the child is to be ended.
    breaking: Arc<Notify>,
    /// Shared with whoever hears the child, who tells its end even where nobody keeps it any more.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Waiting>,
    known: Known,
    /// Steers connections to its pods, while it is there.
    lane: Option<Arc<Lane>>,
    /// What the child did wrong, once it has.
    breach: Option<Breach>,
    /// Why it is gone, once it is.
    gone: Option<String>,
}

/// An order that was sent and not answered yet.
struct Waiting {
    caller: oneshot::Sender<Result<Reply, RuntimeError>>,
    wanted: Wanted,
    change: Change,
    _turn: Option<OwnedSemaphorePermit>,
}

/// A message on its way to the child.
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// Given back once the child has been written to: one that does not read may not go on asking.
    _turn: Option<OwnedSemaphorePermit>,
}

/// What is done for a child beside hearing it: compiling and connecting. Owned by whoever hears it,
/// and given up with it.
#[derive(Default)]
struct Tasks(JoinSet<()>);

type Caller = oneshot::Receiver<Result<Reply, RuntimeError>>;

// === impl Link ===

impl Link {
    /// A link, and what its writer writes.
    pub(super) fn new(
        descriptors: Sender,
        wire: Arc<Wire>,
        lane: Option<Lane>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Frame>) {
        let (orders, outbox) = mpsc::unbounded_channel();
        let state = State {
            lane: lane.map(Arc::new),
            ..State::default()
        };
        let link = Self {
            orders,
            // Descriptors share these numbers, and one has gone before.
            next: AtomicU64::new(protocol::WIRE + 1),
            descriptors,
            wire,
            questions: Arc::new(Semaphore::new(UNANSWERED)),
            acceptances: Arc::new(Semaphore::new(UNACCEPTED)),
            making: Arc::new(Semaphore::new(1)),
            breaking: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        };
        (Arc::new(link), outbox)
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state().gone.is_some()
    }

    /// Changes or asks what is known of the child.
    pub(super) fn know<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.state().known)
    }

    /// Refuses what does not come from a pod of this child, or one that it had lately.
    ///
    /// # Errors
    /// The breach.
    pub(crate) fn check_address(&self, from: SocketAddr) -> Result<Heard, Breach> {
        self.know(|known| known.check_address(from.ip()))
    }

    /// Ends the child for what it did.
    pub(crate) fn break_off(&self, breach: Breach) {
        self.state().breach.get_or_insert(breach);
        self.breaking.notify_one();
    }

    /// What it did wrong.
    #[cfg(test)]
    pub(super) fn breach(&self) -> Option<Breach> {
        self.state().breach.clone()
    }

    /// An order that brings nothing. It is sent now, so that orders leave in the order of the
    /// calls.
    pub(super) fn plain(&self, order: Order, change: Change) -> Answer<'static, ()> {
        let answer = self.send(self.number(), order, (Wanted::Done, change, None));
        Box::pin(async move { received(answer?).await.map(drop) })
    }

    /// An order that brings something, sent as [`Self::plain`] is.
    pub(super) fn order(&self, order: Order, wanted: Wanted) -> Answer<'static, Reply> {
        let answer = self.send(self.number(), order, (wanted, Change::Nothing, None));
        Box::pin(async move { received(answer?).await })
    }

    /// An order with a descriptor, which goes first.
    pub(super) async fn with_descriptor(
        &self,
        order: Order,
        descriptor: OwnedFd,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<(), RuntimeError> {
        let number = self.number();
        let sent = self.descriptors.send(number, descriptor.as_fd()).await;
        sent.map_err(|e| RuntimeError::Gone(format!("the pod host takes no descriptor: {e}")))?;
        drop(descriptor);
        let wanted = (Wanted::Done, Change::Nothing, turn);
        received(self.send(number, order, wanted)?).await.map(drop)
    }

    /// Leave to give the child one more connection.
    pub(super) fn turn_to_accept(&self) -> Result<OwnedSemaphorePermit, RuntimeError> {
        let turn = Arc::clone(&self.acceptances).try_acquire_owned();
        turn.map_err(|_| RuntimeError::Exhausted("the pod host takes no connections".to_owned()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn send(
        &self,
        number: u64,
        order: Order,
        (wanted, change, turn): (Wanted, Change, Option<OwnedSemaphorePermit>),
    ) -> Result<Caller, RuntimeError> {
        let (caller, receiver) = oneshot::channel();
        // An order that is too large is refused, and no other suffers from it.
        let frame = protocol::frame(&ToChild::Order(number, order))
            .map_err(|e| RuntimeError::Refused(e.to_string()));
        let mut state = self.state();
        let gone = state.gone.clone().map(RuntimeError::Gone);
        let bytes = match gone.map_or(frame, Err) {
            Ok(bytes) => bytes,
            Err(error) => {
                state.known.apply(change, false);
                return Err(error);
            }
        };
        let waiting = Waiting {
            caller,
            wanted,
            change,
            _turn: turn,
        };
        state.waiting.insert(number, waiting);
        // The writer ends only with the child, which is told through `gone`.
        let _ = self.orders.send(Frame { bytes, _turn: None });
        Ok(receiver)
    }

    /// Tells the child something that is never too long.
    fn tell(&self, message: &ToChild, turn: Option<OwnedSemaphorePermit>) {
        match protocol::frame(message) {
            // The writer ends only with the child.
            Ok(bytes) => drop(self.orders.send(Frame { bytes, _turn: turn })),
            Err(error) => tracing::error!(%error, "the pod host is not told"),
        }
    }

    /// Hears one message.
    fn hear(
        self: &Arc<Self>,
        mut message: FromChild,
        config: &ChildConfig,
        tasks: &mut Tasks,
    ) -> Result<(), Breach> {
        // An honest child has done so.
        message.cut();
        match message {
            FromChild::Answer(number, reply) => self.answered(number, reply),
            FromChild::Event(event) => {
                if self.know(|known| known.event(&event, Instant::now()))? == Heard::Now {
                    config.sink.event_now(event);
                }
                Ok(())
            }
            FromChild::Output(number, event) => self.written(number, event, config),
            FromChild::Part(number, part) => self.know(|known| known.part(number, &part)),
            FromChild::Compile(number) => self.compile(number, config, tasks),
            FromChild::Dial { number, from, to } => {
                let heard = self.check_address(from)?;
                let turn = self.turn_to_ask()?;
                if heard == Heard::LeftOut {
                    // Its pod has gone, and it does not know yet.
                    self.tell(&ToChild::Dialled(number, Err(Refusal::Refused)), Some(turn));
                    return Ok(());
                }
                let (link, network) = (Arc::downgrade(self), Arc::clone(&config.network));
                tasks.spawn(async move {
                    let told = network.connect(from, to).await;
                    if let Some(link) = link.upgrade() {
                        link.dialled(number, told, turn).await;
                    }
                });
                Ok(())
            }
            FromChild::Resolve(number, name) => {
                let turn = self.turn_to_ask()?;
                let pods = config.network.named(&name);
                self.tell(&ToChild::Named(number, pods), Some(turn));
                Ok(())
            }
            FromChild::Listeners(number) => self.make_listeners(number, tasks),
            FromChild::Open {
                number,
                endpoint,
                way,
            } => self.open(number, endpoint, way),
            FromChild::SingleOut(number, endpoint) => self.single_out(number, endpoint, tasks),
            FromChild::Rejoin(endpoint) => self.rejoin(endpoint),
            FromChild::Close(endpoint) => self.close(endpoint),
            FromChild::Bind(number, door) => self.bind(number, door, config, tasks),
        }
    }

    pub(super) fn answered(
        &self,
        number: u64,
        reply: Result<Reply, RuntimeError>,
    ) -> Result<(), Breach> {
        let mut state = self.state();
        let waiting = state.waiting.remove(&number);
        let Some(waiting) = waiting else {
            return Err(Breach::new("it answered an order that it was not given"));
        };
        // What does not fit changes nothing: an instance that may run is told as ended.
        waiting.wanted.check(&reply)?;
        state.known.apply(waiting.change, reply.is_ok());
        drop(state);
        let _ = waiting.caller.send(reply);
        Ok(())
    }

    fn written(
        self: &Arc<Self>,
        number: u64,
        event: Event,
        config: &ChildConfig,
    ) -> Result<(), Breach> {
        let instance = self.know(|known| known.output(&event))?;
        let (link, sink) = (Arc::clone(self), Arc::clone(&config.sink));
        // The child sends no more of this instance until the chunk is taken, so these tasks are as
        // few as the instances whose reader is slow. They outlive the child: what a guest wrote
        // before its host ended is passed on all the same.
        tokio::spawn(async move {
            sink.event(event).await;
            link.know(|known| known.taken(instance));
            link.tell(&ToChild::Taken(number), None);
        });
        Ok(())
    }

    fn compile(
        self: &Arc<Self>,
        number: u64,
        config: &ChildConfig,
        tasks: &mut Tasks,
    ) -> Result<(), Breach> {
        let wasm = self.know(|known| known.compile(number))?;
        let (link, compiler) = (Arc::downgrade(self), Arc::clone(&config.compiler));
        tasks.spawn(async move {
            let compiled = compiler.compile(wasm).await;
            if let Some(link) = link.upgrade() {
                link.know(|known| known.compiled(number));
                link.tell(&ToChild::Compiled(number, compiled), None);
            }
        });
        Ok(())
    }

    /// Leave for one more question of the child.
    pub(super) fn turn_to_ask(&self) -> Result<OwnedSemaphorePermit, Breach> {
        let turn = Arc::clone(&self.questions).try_acquire_owned();
        turn.map_err(|_| Breach::new(format!("it asked more than {UNANSWERED} things at once")))
    }

    /// Tells what came of a connect, and hands over the connection.
    pub(super) async fn dialled(
        &self,
        number: u64,
        told: Result<OwnedFd, Refusal>,
        turn: OwnedSemaphorePermit,
    ) {
        let told = match told {
            // Where the child is gone, nobody hears it; where the system has no room for the
            // descriptor, whoever asked must not wait for ever.
            Ok(socket) => {
                let sent = self.hand_over(socket).await;
                sent.map_err(|_| Refusal::Refused)
            }
            Err(refusal) => Err(refusal),
        };
        self.tell(&ToChild::Dialled(number, told), Some(turn));
    }
}

impl State {
    /// Ends everything that waits for the child; answers why, and which instances end with it.
    fn end(&mut self, ended: &str) -> (String, Vec<InstanceId>) {
        let why = match &self.breach {
            Some(breach) => format!("the pod host was ended: {breach}"),
            None => ended.to_owned(),
        };
        self.gone = Some(why.clone());
        if let Some(lane) = self.lane.take() {
            lane.shut();
        }
        for order in std::mem::take(&mut self.waiting).into_values() {
            let _ = order.caller.send(Err(RuntimeError::Gone(why.clone())));
        }
        (why, self.known.end())
    }
}

/// Tells what ran in a child as ended.
fn tell_ended((why, running): (String, Vec<InstanceId>), sink: &dyn EventSink) {
    for instance in running {
        let exit = Exit {
            code: 137,
            reason: "Error".to_owned(),
            message: why.clone(),
        };
        sink.event_now(Event::Exited {
            instance,
            exit,
            stats: Stats::default(),
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Before its pods' addresses are others', and however long the process takes to end.
        let lane = self.state().lane.take();
        if let Some(lane) = lane {
            lane.shut();
        }
        // Nobody has a pod there any more: the process ends whether it heeds its sockets or not.
        self.breaking.notify_one();
    }
}

async fn received(answer: Caller) -> Result<Reply, RuntimeError> {
    answer
        .await
        .unwrap_or_else(|_| Err(RuntimeError::Gone("the pod host ended".to_owned())))
}

/// Writes what is to be written, until the child is gone.
pub(super) async fn write_frames(
    mut outbox: mpsc::UnboundedReceiver<Frame>,
    mut to: OwnedWriteHalf,
) {
    while let Some(frame) = outbox.recv().await {
        if to.write_all(&frame.bytes).await.is_err() {
            return;
        }
    }
}

// === impl Tasks ===

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        // What has ended is let go of, so that the set is as large as what is under way.
        while self.0.try_join_next().is_some() {}
        self.0.spawn(task.in_current_span());
    }
}

/// Hears a child to its end. It is ended when the last [`super::Child`] is dropped.
pub(super) fn watch(
    mut process: Process,
    mut incoming: OwnedReadHalf,
    link: &Arc<Link>,
    config: ChildConfig,
) -> impl Future<Output = ()> + Send + 'static {
    let (breaking, state) = (Arc::clone(&link.breaking), Arc::clone(&link.state));
    let link = Arc::downgrade(link);
    async move {
        let mut tasks = Tasks::default();
        loop {
            let message = tokio::select! {
                message = protocol::read::<FromChild>(&mut incoming, protocol::FROM_CHILD) => message,
                () = breaking.notified() => break,
            };
            let Some(link) = link.upgrade() else { break };
            let heard = match message {
                Ok(Some(message)) => link.hear(message, &config, &mut tasks),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(Breach::new(format!("it sent {error}")))
                }
                Ok(None) | Err(_) => break,
            };
            if let Err(breach) = heard {
                link.break_off(breach);
                break;
            }
        }
        // Nobody is there to be answered.
        drop(tasks);
        // It may still be there, if it did what it may not.
        let _ = process.start_kill();
        let ended = match process.wait().await {
            Ok(status) => format!("the pod host process ended: {status}"),
            Err(error) => format!("the pod host process is lost: {error}"),
        };
        let ended = if link.strong_count() == 0 {
            "the pod was removed".to_owned()
        } else {
            ended
        };
        let told = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.end(&ended)
        };
        tell_ended(told, config.sink.as_ref());
    }
}
