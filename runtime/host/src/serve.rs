//! The child's side: a pod host that takes its orders from a socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::Arc;

use model::runtime::{EventSink, Runtime, RuntimeError};
use net::steer::SteerError;
use net::{Peers, Steer};
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

use crate::descriptors::Receiver;
use crate::exec::Compiler;
use crate::parent::{Others, Parent, ParentsDoors};
use crate::pod_host::{PodHost, PodHostConfig, Toolbox};
use crate::protocol::{self, FromChild, Order, Reply, ToChild};
use crate::wire::{self, Wire};

/// The two sockets to the parent.
pub struct Sockets {
    /// Carries frames.
    pub frames: StdStream,
    /// Brings descriptors.
    pub descriptors: OwnedFd,
}

/// What a pod host in a child is made with.
pub struct ServeConfig {
    /// Where pod addresses come from.
    pub range: net::PodRange,
    /// Whether the parent steers connections to the pods.
    pub is_steered: bool,
    /// A directory of tmpfs for volumes in memory, where `/dev/shm` itself may not be written to.
    pub memory_dir: Option<PathBuf>,
    /// The commands that exec offers when the mounts have none.
    pub toolbox: Toolbox,
    /// Memory mappings that this process may have (`vm.max_map_count`).
    pub mappings: usize,
}

/// Serves until the parent closes its end.
///
/// # Errors
/// When the sockets break, or the host cannot start.
pub async fn serve(sockets: Sockets, config: ServeConfig) -> io::Result<()> {
    sockets.frames.set_nonblocking(true)?;
    let (mut incoming, outgoing) = UnixStream::from_std(sockets.frames)?.into_split();
    let descriptors = Receiver::new(sockets.descriptors);
    let wire = Arc::new(Wire::open(descriptors.take(protocol::WIRE)?)?);
    let (out, frames) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_frames(frames, outgoing));
    let parent = Arc::new(Parent::new(out));
    let others = Others::new(Arc::clone(&parent), Arc::clone(&wire));
    let doors = ParentsDoors::new(Arc::clone(&parent));
    let host = PodHost::start(PodHostConfig {
        range: config.range,
        peers: Some(Arc::new(others) as Arc<dyn Peers>),
        steering: config
            .is_steered
            .then(|| Arc::new(doors.clone()) as Arc<dyn Steer>),
        binder: Some(Arc::new(doors)),
        runtime: tokio::runtime::Handle::current(),
        sink: Arc::clone(&parent) as Arc<dyn EventSink>,
        compiler: Arc::clone(&parent) as Arc<dyn Compiler>,
        keeps_files: true,
        memory_dir: config.memory_dir,
        toolbox: config.toolbox,
        mappings: config.mappings,
    })
    .map_err(io::Error::other)?;
    let datagrams = tokio::spawn(wire::take_in(wire, host.switch().clone()));
    while let Some(message) = protocol::read(&mut incoming, protocol::TO_CHILD).await? {
        heed(message, &host, &parent, &descriptors);
    }
    datagrams.abort();
    writer.abort();
    Ok(())
}

/// Does what the parent asks, or takes what it answers.
fn heed(message: ToChild, host: &PodHost, parent: &Arc<Parent>, descriptors: &Receiver) {
    match message {
        ToChild::Order(number, order) => carry_out(host, parent, descriptors, number, order),
        ToChild::Taken(number) => parent.taken(number),
        ToChild::Compiled(number, result) => parent.compiled(number, result),
        ToChild::Dialled(number, told) => {
            let socket = told.map(|descriptor| descriptors.take(descriptor));
            parent.dialled(number, socket);
        }
        ToChild::Named(number, pods) => parent.named(number, pods),
        ToChild::Listeners(number, told) => {
            let take = |(family, descriptor)| {
                let taken = descriptors.take(descriptor);
                taken
                    .map(|listener| (family, listener))
                    .map_err(|error| SteerError::lost(&error))
            };
            let listeners = told.and_then(|sent| {
                // All of them, also behind one that did not come.
                let taken: Vec<_> = sent.into_iter().map(take).collect();
                taken.into_iter().collect()
            });
            parent.listening(number, listeners);
        }
        ToChild::Opened(number, result) => parent.opened(number, result),
        ToChild::SingledOut(number, told) => {
            let take = |descriptor| {
                let taken = descriptors.take(descriptor);
                taken.map_err(|error| SteerError::lost(&error))
            };
            parent.singled_out(number, told.and_then(take));
        }
        ToChild::Bound(number, told) => {
            let told = told.map_err(Errno::from_raw_os_error);
            let take = |descriptor| descriptors.take(descriptor).map_err(|_| Errno::IO);
            parent.bound(number, told.and_then(take));
        }
    }
}

/// Begins an order. Orders are begun in the order given; what takes time is awaited apart.
fn carry_out(
    host: &PodHost,
    parent: &Arc<Parent>,
    descriptors: &Receiver,
    number: u64,
    order: Order,
) {
    let (host, parent) = (host.clone(), Arc::clone(parent));
    let brings = matches!(order, Order::Connect(..) | Order::Accept { .. });
    let socket = brings.then(|| descriptors.take(number));
    let mut answer = Box::pin(async move {
        let reply = answer(&host, order, socket).await;
        parent.tell(FromChild::Answer(number, reply));
    });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    if answer.as_mut().poll(&mut cx).is_pending() {
        tokio::spawn(answer);
    }
}

/// Carries an order out. `socket` is what came with it.
async fn answer(
    host: &PodHost,
    order: Order,
    socket: Option<io::Result<OwnedFd>>,
) -> Result<Reply, RuntimeError> {
    let socket = || {
        let sent = socket.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        sent.map_err(|e| RuntimeError::Gone(format!("the descriptor did not come: {e}")))
    };
    match order {
        Order::CreatePod(pod, address) => done(host.create_pod_at(*pod, address)),
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
        Order::Connect(pod, port) => done(host.join(pod, port, socket()?)),
        Order::Accept { from, to } => {
            let accepted = host.switch().accept(socket()?, from, to);
            done(accepted.map_err(|e| RuntimeError::Refused(e.to_string())))
        }
    }
}

fn done(result: Result<(), RuntimeError>) -> Result<Reply, RuntimeError> {
    result.map(|()| Reply::Done)
}

async fn write_frames(mut frames: mpsc::UnboundedReceiver<FromChild>, mut to: OwnedWriteHalf) {
    while let Some(mut frame) = frames.recv().await {
        frame.cut();
        if let Err(error) = protocol::write(&mut to, &frame).await {
            tracing::warn!(%error, "the parent is gone");
            return;
        }
    }
}
