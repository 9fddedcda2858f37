//! The child's side: a pod host that takes its orders from a socket.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::{UnixDatagram as StdDatagram, UnixStream as StdStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::runtime::{Event, EventSink, Runtime, RuntimeError, WasmImage};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::descriptors::Descriptors;
use crate::exec::Compiler;
use crate::pod_host::{PodHost, PodHostConfig, Toolbox};
use crate::protocol::{self, FromChild, Order, Reply, ToChild};

/// The parent as the host sees it: takes events, compiles.
struct Parent {
    out: mpsc::UnboundedSender<FromChild>,
    next: AtomicU64,
    /// Chunks sent and not yet taken.
    untaken: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    compiling: Mutex<HashMap<u64, oneshot::Sender<Result<WasmImage, RuntimeError>>>>,
}

/// The two sockets to the parent.
pub struct Sockets {
    /// Carries frames.
    pub frames: StdStream,
    /// Carries descriptors.
    pub descriptors: StdDatagram,
}

/// Serves until the parent closes its end.
///
/// # Errors
/// When the sockets break, or the host cannot start.
pub async fn serve(
    sockets: Sockets,
    range: net::PodRange,
    memory_dir: Option<PathBuf>,
    toolbox: Toolbox,
) -> io::Result<()> {
    sockets.frames.set_nonblocking(true)?;
    sockets.descriptors.set_nonblocking(true)?;
    let (mut incoming, outgoing) = UnixStream::from_std(sockets.frames)?.into_split();
    let descriptors = Arc::new(Descriptors::new(UnixDatagram::from_std(
        sockets.descriptors,
    )?));
    let (out, frames) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_frames(frames, outgoing));
    let parent = Arc::new(Parent {
        out,
        next: AtomicU64::new(0),
        untaken: Mutex::default(),
        compiling: Mutex::default(),
    });
    let host = PodHost::start(PodHostConfig {
        range,
        steering: None,
        runtime: tokio::runtime::Handle::current(),
        sink: Arc::clone(&parent) as Arc<dyn EventSink>,
        compiler: Arc::clone(&parent) as Arc<dyn Compiler>,
        memory_dir,
        toolbox,
    })
    .map_err(io::Error::other)?;
    while let Some(message) = protocol::read::<ToChild>(&mut incoming).await? {
        match message {
            ToChild::Order(number, order) => carry_out(&host, &parent, &descriptors, number, order),
            ToChild::Taken(number) => parent.taken(number),
            ToChild::Compiled(number, result) => parent.compiled(number, result),
        }
    }
    writer.abort();
    Ok(())
}

/// Begins an order. Orders are begun in the order given; what takes time is awaited apart.
fn carry_out(
    host: &PodHost,
    parent: &Arc<Parent>,
    descriptors: &Arc<Descriptors>,
    number: u64,
    order: Order,
) {
    let (host, parent, descriptors) = (host.clone(), Arc::clone(parent), Arc::clone(descriptors));
    let mut answer = Box::pin(async move {
        let reply = answer(&host, &descriptors, number, order).await;
        parent.tell(FromChild::Answer(number, reply));
    });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    if answer.as_mut().poll(&mut cx).is_pending() {
        tokio::spawn(answer);
    }
}

async fn answer(
    host: &PodHost,
    descriptors: &Descriptors,
    number: u64,
    order: Order,
) -> Result<Reply, RuntimeError> {
    match order {
        Order::CreatePod(pod) => host.create_pod(*pod).await.map(Reply::Created),
        Order::RemovePod(pod) => done(host.remove_pod(pod).await),
        Order::Create(spec) => done(host.create(*spec).await),
        Order::Start(instance) => done(host.start(instance).await),
        Order::Signal(instance, signal) => done(host.signal(instance, signal).await),
        Order::Exec(exec) => done(host.exec(exec).await),
        Order::Input(instance, chunk) => done(host.input(instance, chunk).await),
        Order::Update(pod, update) => done(host.update(pod, update).await),
        Order::Pause(instance, paused) => done(host.pause(instance, paused).await),
        Order::Stats(instance) => host.stats(instance).await.map(Reply::Stats),
        Order::ReadFile(pod, volume, at_most) => {
            host.read_file(pod, volume, at_most).await.map(Reply::File)
        }
        Order::Remove(instance) => done(host.remove(instance).await),
        Order::Connect(pod, port, timeout) => {
            let connection = host.connect(pod, port, timeout).await?;
            let sent = descriptors.send(number, &connection.0).await;
            sent.map(|()| Reply::Connected)
                .map_err(|e| RuntimeError::Gone(e.to_string()))
        }
    }
}

fn done(result: Result<(), RuntimeError>) -> Result<Reply, RuntimeError> {
    result.map(|()| Reply::Done)
}

async fn write_frames(mut frames: mpsc::UnboundedReceiver<FromChild>, mut to: OwnedWriteHalf) {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = protocol::write(&mut to, &frame).await {
            tracing::warn!(%error, "the parent is gone");
            return;
        }
    }
}

// === impl Parent ===

impl Parent {
    fn tell(&self, message: FromChild) {
        // The writer is gone only when the parent is.
        let _ = self.out.send(message);
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn taken(&self, number: u64) {
        if let Some(taken) = self
            .untaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
        {
            let _ = taken.send(());
        }
    }

    fn compiled(&self, number: u64, result: Result<WasmImage, RuntimeError>) {
        if let Some(waiting) = self
            .compiling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
        {
            let _ = waiting.send(result);
        }
    }
}

impl EventSink for Parent {
    fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let number = self.number();
        let (taken, waiting) = oneshot::channel();
        self.untaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, taken);
        self.tell(FromChild::Output(number, event));
        Box::pin(async move {
            // An error means that the parent is gone, and nobody reads any more.
            let _ = waiting.await;
        })
    }

    fn event_now(&self, event: Event) {
        self.tell(FromChild::Event(event));
    }
}

impl Compiler for Parent {
    fn compile(
        &self,
        wasm: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<WasmImage, RuntimeError>> + Send + '_>> {
        let number = self.number();
        let (sender, waiting) = oneshot::channel();
        self.compiling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, sender);
        self.tell(FromChild::Compile(number, wasm));
        Box::pin(async move {
            waiting.await.unwrap_or_else(|_| {
                Err(RuntimeError::Gone(
                    "the parent of the pod host is gone".to_owned(),
                ))
            })
        })
    }
}
