//! The parent as a child sees it: takes events, compiles, knows the pods of other children, and
//! leads connections from outside here.
//!
//! Each question has a number, under which whoever asked waits for the answer. What a child asks
//! at once stays within what its parent allows; further questions wait here.

mod steer;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::runtime::{Event, EventSink, RuntimeError, WasmImage};
use net::{Asked, Family, NetError, Peers, SteerError};
use rustix::io::Errno;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) use self::steer::ParentsDoors;
use crate::exec::{Compiler, Compiling};
use crate::protocol::{self, COMPILE_BUDGET, FromChild, PART, QUESTIONS, Refusal};
use crate::wire::{Header, Kind, Wire};

/// Bytes that one permit of the compile budget stands for.
const UNIT: usize = 1 << 10;

/// The other end of the frames' socket.
pub(crate) struct Parent {
    out: mpsc::UnboundedSender<FromChild>,
    next: AtomicU64,
    /// Chunks sent and not yet taken.
    untaken: Waiting<()>,
    compiling: Waiting<Result<WasmImage, RuntimeError>>,
    dialling: Waiting<Result<OwnedFd, NetError>>,
    naming: Waiting<Vec<Ipv4Addr>>,
    listeners: Waiting<Result<Vec<(Family, OwnedFd)>, SteerError>>,
    opening: Waiting<Result<(), SteerError>>,
    singling: Waiting<Result<OwnedFd, SteerError>>,
    binding: Waiting<Result<OwnedFd, Errno>>,
    compile_budget: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    /// Turns to ask for doors, which no flood of connects delays.
    door_questions: Arc<Semaphore>,
}

/// The pods of other children, as the switch of this one asks for them.
pub(crate) struct Others {
    parent: Arc<Parent>,
    wire: Arc<Wire>,
}

/// Who waits for which answer, and what the question takes up until it is answered, whether its
/// asker still waits or not.
struct Waiting<T>(Mutex<HashMap<u64, Asker<T>>>);

type Asker<T> = (oneshot::Sender<T>, Option<OwnedSemaphorePermit>);

// === impl Waiting ===

impl<T> Waiting<T> {
    fn add(&self, number: u64, turn: Option<OwnedSemaphorePermit>) -> oneshot::Receiver<T> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(number, (sender, turn));
        answer
    }

    fn answer(&self, number: u64, answer: T) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = waiting.remove(&number);
        drop(waiting);
        if let Some((sender, _)) = found {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        }
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

// === impl Parent ===

impl Parent {
    /// Speaks into `out`.
    pub(crate) fn new(out: mpsc::UnboundedSender<FromChild>) -> Self {
        Self {
            out,
            next: AtomicU64::new(0),
            untaken: Waiting::default(),
            compiling: Waiting::default(),
            dialling: Waiting::default(),
            naming: Waiting::default(),
            listeners: Waiting::default(),
            opening: Waiting::default(),
            singling: Waiting::default(),
            binding: Waiting::default(),
            compile_budget: Arc::new(Semaphore::new(COMPILE_BUDGET / UNIT)),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            door_questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    pub(crate) fn tell(&self, message: FromChild) {
        // The writer is gone only when the parent is.
        let _ = self.out.send(message);
    }

    pub(crate) fn taken(&self, number: u64) {
        self.untaken.answer(number, ());
    }

    pub(crate) fn compiled(&self, number: u64, result: Result<WasmImage, RuntimeError>) {
        self.compiling.answer(number, result);
    }

    pub(crate) fn dialled(&self, number: u64, told: Result<io::Result<OwnedFd>, Refusal>) {
        let socket = match told {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a connection's descriptor did not come");
                Err(NetError::ConnectionRefused)
            }
            Err(Refusal::Refused) => Err(NetError::ConnectionRefused),
            Err(Refusal::Timeout) => Err(NetError::Timeout),
        };
        self.dialling.answer(number, socket);
    }

    pub(crate) fn named(&self, number: u64, pods: Vec<Ipv4Addr>) {
        self.naming.answer(number, pods);
    }

    /// The listeners came, or there are none.
    pub(crate) fn listening(
        &self,
        number: u64,
        listeners: Result<Vec<(Family, OwnedFd)>, SteerError>,
    ) {
        self.listeners.answer(number, listeners);
    }

    /// An endpoint was opened, or not.
    pub(crate) fn opened(&self, number: u64, result: Result<(), SteerError>) {
        self.opening.answer(number, result);
    }

    /// The listener of one endpoint came, or there is none.
    pub(crate) fn singled_out(&self, number: u64, listener: Result<OwnedFd, SteerError>) {
        self.singling.answer(number, listener);
    }

    /// The socket of a plain door came, or what the kernel says.
    pub(crate) fn bound(&self, number: u64, socket: Result<OwnedFd, Errno>) {
        self.binding.answer(number, socket);
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks of the network, once there is room for one more question.
    async fn ask<T>(
        &self,
        waiting: &Waiting<T>,
        question: impl FnOnce(u64) -> FromChild,
    ) -> Option<T> {
        self.ask_in_turn(&self.questions, waiting, question).await
    }

    /// The same for a door.
    async fn ask_for_doors<T>(
        &self,
        waiting: &Waiting<T>,
        question: impl FnOnce(u64) -> FromChild,
    ) -> Option<T> {
        self.ask_in_turn(&self.door_questions, waiting, question)
            .await
    }

    async fn ask_in_turn<T>(
        &self,
        turns: &Arc<Semaphore>,
        waiting: &Waiting<T>,
        question: impl FnOnce(u64) -> FromChild,
    ) -> Option<T> {
        let turn = Arc::clone(turns).acquire_owned().await.ok()?;
        let number = self.number();
        let answer = waiting.add(number, Some(turn));
        self.tell(question(number));
        // An error means that the parent is gone.
        answer.await.ok()
    }

    async fn turn_to_compile(&self, size: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let units = protocol::compile_cost(size).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.compile_budget)
            .acquire_many_owned(units)
            .await
    }
}

impl EventSink for Parent {
    fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let number = self.number();
        let taken = self.untaken.add(number, None);
        self.tell(FromChild::Output(number, event));
        Box::pin(async move {
            // An error means that the parent is gone, and nobody reads any more.
            let _ = taken.await;
        })
    }

    fn event_now(&self, event: Event) {
        self.tell(FromChild::Event(event));
    }
}

impl Compiler for Parent {
    fn compile(&self, wasm: Bytes) -> Compiling<'_> {
        Box::pin(async move {
            if wasm.is_empty() || wasm.len() > COMPILE_BUDGET {
                return Err(RuntimeError::CannotRun(format!(
                    "a wasm file of {} bytes cannot be run: at most {} MiB",
                    wasm.len(),
                    COMPILE_BUDGET >> 20
                )));
            }
            let gone = || RuntimeError::Gone("the parent of the pod host is gone".to_owned());
            let turn = self.turn_to_compile(wasm.len()).await;
            let number = self.number();
            let compiled = self.compiling.add(number, Some(turn.map_err(|_| gone())?));
            for start in (0..wasm.len()).step_by(PART) {
                let part = wasm.slice(start..wasm.len().min(start + PART));
                self.tell(FromChild::Part(number, part));
            }
            self.tell(FromChild::Compile(number));
            compiled.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

// === impl Others ===

impl Others {
    /// Asks this parent; datagrams go over `wire`.
    pub(crate) fn new(parent: Arc<Parent>, wire: Arc<Wire>) -> Self {
        Self { parent, wire }
    }
}

impl Peers for Others {
    fn connect(&self, from: SocketAddr, to: SocketAddr) -> Asked<Result<OwnedFd, NetError>> {
        let parent = Arc::clone(&self.parent);
        Box::pin(async move {
            let dial = |number| FromChild::Dial { number, from, to };
            let told = parent.ask(&parent.dialling, dial).await;
            told.unwrap_or(Err(NetError::ConnectionRefused))
        })
    }

    fn named(&self, name: &str) -> Asked<Vec<Ipv4Addr>> {
        let (parent, name) = (Arc::clone(&self.parent), name.to_owned());
        Box::pin(async move {
            let resolve = |number| FromChild::Resolve(number, name);
            let told = parent.ask(&parent.naming, resolve).await;
            told.unwrap_or_default()
        })
    }

    fn send(&self, datagram: &[u8], from: SocketAddr, to: SocketAddr) {
        let kind = Kind::Datagram;
        self.wire.send(Header { from, to, kind }, datagram);
    }
}
