//! The parent's side of a pod host in a child process.
//!
//! ```text
//! Runtime call ──order──> child ──answer──> caller
//!                         child ──event, output──> EventSink     (output is acknowledged)
//!                         child ──compile──> Compiler
//! child's end: calls fail with Gone, its instances are told as exited with 137
//! ```

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::runtime::{
    Answer, Connection, Event, EventSink, ExecSpec, Exit, InstanceId, InstanceSpec, PodCreated,
    PodId, PodSandbox, Runtime, RuntimeError, Signal, Stats, Update,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use crate::descriptors::Descriptors;
use crate::exec::Compiler;
use crate::protocol::{self, FromChild, Order, Reply, ToChild};

/// How a child is started and whom it talks to.
#[derive(Clone)]
pub(crate) struct ChildConfig {
    /// The program that serves: this one, by its own path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Who is told what happens.
    pub(crate) sink: Arc<dyn EventSink>,
    /// Compiles what exec finds in the mounts.
    pub(crate) compiler: Arc<dyn Compiler>,
}

/// A pod host in a child process. It ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Child {
    link: Arc<Link>,
}

/// What the parent knows of a child.
struct Link {
    /// Frames, ready to be written.
    orders: mpsc::UnboundedSender<Vec<u8>>,
    next: AtomicU64,
    descriptors: Descriptors,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Result<Reply, RuntimeError>>>,
    /// Instances that were started and have not ended.
    running: HashSet<InstanceId>,
    /// Why it is gone, once it is.
    gone: Option<String>,
}

// === impl Child ===

impl Child {
    /// Starts the process.
    ///
    /// # Errors
    /// When the system refuses a socket or a process.
    pub(crate) fn start(config: &ChildConfig) -> io::Result<Self> {
        let (frames, childs_frames) = std::os::unix::net::UnixStream::pair()?;
        let (descriptors, childs_descriptors) = UnixDatagram::pair()?;
        frames.set_nonblocking(true)?;
        let child = Command::new(&config.program)
            .args(&config.args)
            // What the parent's environment holds is none of the guests' business.
            .env_clear()
            // Not in the terminal's group: Ctrl-C is for the parent, which stops pods gracefully.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(childs_frames)))
            .stdout(Stdio::from(OwnedFd::from(childs_descriptors.into_std()?)))
            .kill_on_drop(true)
            .spawn()?;
        let (incoming, outgoing) = UnixStream::from_std(frames)?.into_split();
        let (orders, outbox) = mpsc::unbounded_channel();
        let link = Arc::new(Link {
            orders,
            next: AtomicU64::new(0),
            descriptors: Descriptors::new(descriptors),
            state: Mutex::default(),
        });
        tokio::spawn(write_frames(outbox, outgoing));
        tokio::spawn(watch(
            child,
            incoming,
            Arc::downgrade(&link),
            config.clone(),
        ));
        Ok(Self { link })
    }

    /// Whether the process has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.link.state().gone.is_some()
    }
}

impl Runtime for Child {
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated> {
        Box::pin(async move {
            match self.link.order(Order::CreatePod(Box::new(pod))).await? {
                Reply::Created(created) => Ok(created),
                _ => Err(confused()),
            }
        })
    }

    fn remove_pod(&self, pod: PodId) -> Answer<'_, ()> {
        self.link.plain(Order::RemovePod(pod))
    }

    fn create(&self, instance: InstanceSpec) -> Answer<'_, ()> {
        self.link.plain(Order::Create(Box::new(instance)))
    }

    fn start(&self, instance: InstanceId) -> Answer<'_, ()> {
        self.link.state().running.insert(instance);
        self.link.plain(Order::Start(instance))
    }

    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()> {
        self.link.plain(Order::Signal(instance, signal))
    }

    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()> {
        self.link.state().running.insert(exec.id);
        self.link.plain(Order::Exec(exec))
    }

    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()> {
        self.link.plain(Order::Input(instance, chunk))
    }

    fn update(&self, pod: PodId, update: Update) -> Answer<'_, ()> {
        self.link.plain(Order::Update(pod, update))
    }

    fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'_, ()> {
        self.link.plain(Order::Pause(instance, paused))
    }

    fn stats(&self, instance: InstanceId) -> Answer<'_, Stats> {
        Box::pin(async move {
            match self.link.order(Order::Stats(instance)).await? {
                Reply::Stats(stats) => Ok(stats),
                _ => Err(confused()),
            }
        })
    }

    fn read_file(&self, pod: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes> {
        Box::pin(async move {
            match self
                .link
                .order(Order::ReadFile(pod, volume, at_most))
                .await?
            {
                Reply::File(content) => Ok(content),
                _ => Err(confused()),
            }
        })
    }

    fn remove(&self, instance: InstanceId) -> Answer<'_, ()> {
        self.link.plain(Order::Remove(instance))
    }

    fn connect(&self, pod: PodId, port: u16, timeout: Duration) -> Answer<'_, Connection> {
        Box::pin(async move {
            let number = self.link.number();
            match self
                .link
                .numbered(number, Order::Connect(pod, port, timeout))
                .await?
            {
                Reply::Connected => {
                    let fd = self.link.descriptors.receive(number).await;
                    fd.map(Connection)
                        .map_err(|e| RuntimeError::Gone(e.to_string()))
                }
                _ => Err(confused()),
            }
        })
    }
}

// === impl Link ===

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn plain(&self, order: Order) -> Answer<'_, ()> {
        // Sent now, so that orders leave in the order of the calls.
        let answer = self.send(self.number(), order);
        Box::pin(async move { received(answer?).await.map(drop) })
    }

    async fn order(&self, order: Order) -> Result<Reply, RuntimeError> {
        self.numbered(self.number(), order).await
    }

    async fn numbered(&self, number: u64, order: Order) -> Result<Reply, RuntimeError> {
        received(self.send(number, order)?).await
    }

    fn send(
        &self,
        number: u64,
        order: Order,
    ) -> Result<oneshot::Receiver<Result<Reply, RuntimeError>>, RuntimeError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if let Some(why) = &state.gone {
            return Err(RuntimeError::Gone(why.clone()));
        }
        // An order that is too large is refused, and no other suffers from it.
        let frame = protocol::frame(&ToChild::Order(number, order))
            .map_err(|e| RuntimeError::Refused(e.to_string()))?;
        state.waiting.insert(number, sender);
        // The writer ends only with the child, which is told through `gone`.
        let _ = self.orders.send(frame);
        Ok(receiver)
    }

    /// Ends everything that waits for the child, and tells its instances as ended.
    fn end(&self, why: &str, sink: &dyn EventSink) {
        let (waiting, running) = {
            let mut state = self.state();
            state.gone = Some(why.to_owned());
            (
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.running),
            )
        };
        for answer in waiting.into_values() {
            let _ = answer.send(Err(RuntimeError::Gone(why.to_owned())));
        }
        for instance in running {
            let exit = Exit {
                code: 137,
                reason: "Error".to_owned(),
                message: why.to_owned(),
            };
            sink.event_now(Event::Exited {
                instance,
                exit,
                stats: Stats::default(),
            });
        }
    }

    fn hear(&self, event: Event, sink: &dyn EventSink) {
        if let Event::Exited { instance, .. } = &event {
            self.state().running.remove(instance);
        }
        sink.event_now(event);
    }
}

async fn received(
    answer: oneshot::Receiver<Result<Reply, RuntimeError>>,
) -> Result<Reply, RuntimeError> {
    answer
        .await
        .unwrap_or_else(|_| Err(RuntimeError::Gone("the pod host ended".to_owned())))
}

fn confused() -> RuntimeError {
    RuntimeError::Gone("the pod host answered something else".to_owned())
}

async fn write_frames(mut outbox: mpsc::UnboundedReceiver<Vec<u8>>, mut to: OwnedWriteHalf) {
    while let Some(frame) = outbox.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Hears a child to its end. Its sockets close when the last [`Child`] is dropped, and it ends.
async fn watch(
    mut child: tokio::process::Child,
    mut incoming: OwnedReadHalf,
    link: std::sync::Weak<Link>,
    config: ChildConfig,
) {
    loop {
        let frame = protocol::read::<FromChild>(&mut incoming).await;
        let Some(link) = link.upgrade() else { break };
        match frame {
            Ok(Some(frame)) => hear(&link, frame, &config),
            Ok(None) | Err(_) => break,
        }
    }
    // It may still be there, if what it said was no message.
    let _ = child.start_kill();
    let ended = match child.wait().await {
        Ok(status) => format!("the pod host process ended: {status}"),
        Err(error) => format!("the pod host process is lost: {error}"),
    };
    if let Some(link) = link.upgrade() {
        link.end(&ended, config.sink.as_ref());
    }
}

fn hear(link: &Arc<Link>, frame: FromChild, config: &ChildConfig) {
    match frame {
        FromChild::Answer(number, result) => {
            let waiting = link.state().waiting.remove(&number);
            if let Some(waiting) = waiting {
                let _ = waiting.send(result);
            }
        }
        FromChild::Event(event) => link.hear(event, config.sink.as_ref()),
        FromChild::Output(number, event) => {
            let (orders, sink) = (link.orders.clone(), Arc::clone(&config.sink));
            // The child sends no more of this instance until the chunk is taken, so these tasks
            // are as few as the instances whose reader is slow.
            tokio::spawn(async move {
                sink.event(event).await;
                tell(&orders, &ToChild::Taken(number));
            });
        }
        FromChild::Compile(number, wasm) => {
            let (orders, compiler) = (link.orders.clone(), Arc::clone(&config.compiler));
            tokio::spawn(async move {
                let compiled = compiler.compile(wasm).await;
                tell(&orders, &ToChild::Compiled(number, compiled));
            });
        }
    }
}

/// Tells the child something that is never too long.
fn tell(orders: &mpsc::UnboundedSender<Vec<u8>>, message: &ToChild) {
    match protocol::frame(message) {
        // The writer ends only with the child.
        Ok(frame) => drop(orders.send(frame)),
        Err(error) => tracing::error!(%error, "the pod host is not told"),
    }
}
