//! The parent's side of a pod host in a child process: orders to it, and its start.
//!
//! ```text
//! call ──order──> child ──answer──> caller
//!                 child ──event, output──> EventSink     (output is acknowledged)
//!                 child ──part, compile──> Compiler
//!                 child ──dial, resolve──> Network
//!                 child ──listeners, open, close──> Steering      (listeners are handed down)
//!                 child ──bind──> a socket                        (handed down)
//!                 child ──standard error──> the log, line by line
//! child's end: calls fail with Gone, its instances are told as exited with 137
//! ```

mod link;
mod said;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::runtime::{
    Answer, Connection, EventSink, ExecSpec, InstanceId, InstanceSpec, PodId, PodSandbox,
    RuntimeError, Signal, Stats, Update,
};
use net::Steering;
use tokio::net::UnixStream;
use tokio::process::Command;

pub(crate) use self::link::Link;
use crate::descriptors::Sender;
use crate::exec::Compiler;
use crate::known::{Breach, Change, Wanted};
use crate::network::{self, Network};
use crate::protocol::{self, Order, Reply};
use crate::trust;
use crate::wire::{self, Wire};

/// How long a child may take to answer that it ends an instance. It answers at once, whatever its
/// guests do, unless the machine is overloaded.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

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
    /// Knows the pods of all children.
    pub(crate) network: Arc<Network>,
    /// Steers connections to the pods of children that were told so.
    pub(crate) steering: Option<Steering>,
}

/// A pod host in a child process. It ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Child {
    link: Arc<Link>,
}

/// A child that somebody else keeps, or nobody any more.
#[derive(Clone)]
pub(crate) struct WeakChild(Weak<Link>);

// === impl WeakChild ===

impl WeakChild {
    /// No child at all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Weak::new())
    }

    pub(crate) fn upgrade(&self) -> Option<Child> {
        let link = self.0.upgrade()?;
        Some(Child { link })
    }
}

// === impl Child ===

impl Child {
    /// Starts the process.
    ///
    /// # Errors
    /// When the system refuses a socket or a process.
    pub(crate) fn start(config: &ChildConfig) -> io::Result<Self> {
        let (frames, childs_frames) = std::os::unix::net::UnixStream::pair()?;
        let (descriptors, childs_descriptors) = Sender::pair()?;
        let (wire, childs_wire) = Wire::pair()?;
        descriptors.send_first(protocol::WIRE, childs_wire.as_fd())?;
        frames.set_nonblocking(true)?;
        let mut process = Command::new(&config.program)
            .args(&config.args)
            // What the parent's environment holds is none of the guests' business, but whom they
            // may trust.
            .env_clear()
            .envs(trust::variables())
            // Not in the terminal's group: Ctrl-C is for the parent, which stops pods gracefully.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(childs_frames)))
            .stdout(Stdio::from(childs_descriptors))
            // Not the parent's own, which may be the user's terminal.
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let (Some(said), Some(id)) = (process.stderr.take(), process.id()) {
            tokio::spawn(said::pass_on(said, id));
        }
        let (incoming, outgoing) = UnixStream::from_std(frames)?.into_split();
        let lane = config.steering.as_ref().map(Steering::lane);
        let (link, outbox) = Link::new(descriptors, Arc::new(wire), lane);
        tokio::spawn(link::write_frames(outbox, outgoing));
        let (wire, network) = (Arc::clone(link.wire()), Arc::clone(&config.network));
        tokio::spawn(wire::pass_on(wire, Arc::downgrade(&link), network));
        tokio::spawn(link::watch(process, incoming, &link, config.clone()));
        Ok(Self { link })
    }

    /// A child without a process, and the orders that it would be given.
    #[cfg(test)]
    pub(crate) fn unheard() -> (Self, impl Iterator<Item = Order>) {
        let (descriptors, _) = Sender::pair().expect("a pair");
        let (near, _) = Wire::pair().expect("a pair");
        let (link, mut outbox) = Link::new(descriptors, Arc::new(near), None);
        let orders = std::iter::from_fn(move || {
            let frame = outbox.try_recv().ok()?;
            let message = frame.bytes.get(protocol::LENGTH..).unwrap_or_default();
            match postcard::from_bytes(message) {
                Ok(protocol::ToChild::Order(_, order)) => Some(order),
                other => panic!("no order: {other:?}"),
            }
        });
        (Self { link }, orders)
    }

    /// Whether the process has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.link.is_gone()
    }

    /// Whether this is the same child.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }

    /// The same child, not kept.
    pub(crate) fn downgrade(&self) -> WeakChild {
        WeakChild(Arc::downgrade(&self.link))
    }

    /// Its socket for datagrams.
    pub(crate) fn wire(&self) -> &Wire {
        self.link.wire()
    }

    /// Closes all that it has open to the outside at an address, which is another pod's from now on.
    pub(crate) fn close_all_at(&self, address: IpAddr) {
        self.link.close_all_at(address);
    }

    /// Makes a pod at this address; on the host's network without one.
    pub(crate) fn create_pod(
        &self,
        pod: PodSandbox,
        address: Option<Ipv4Addr>,
        addresses: Vec<IpAddr>,
    ) -> Answer<'static, ()> {
        let (id, doors) = (pod.id, pod.network.doors.clone());
        self.link.know(|known| known.give_pod(id, addresses, doors));
        let order = Order::CreatePod(Box::new(pod), address);
        self.link.plain(order, Change::PodCreated(id))
    }

    pub(crate) fn remove_pod(&self, pod: PodId) -> Answer<'static, ()> {
        self.link
            .plain(Order::RemovePod(pod), Change::PodRemoved(pod))
    }

    pub(crate) fn create(&self, instance: InstanceSpec) -> Answer<'static, ()> {
        let (id, pod) = (instance.id, instance.pod);
        self.link.know(|known| known.give_instance(id, pod));
        let order = Order::Create(Box::new(instance));
        self.link.plain(order, Change::Created(id))
    }

    pub(crate) fn start_instance(&self, instance: InstanceId) -> Answer<'static, ()> {
        let starts = self.link.know(|known| known.start(instance));
        let change = if starts {
            Change::Started(instance)
        } else {
            Change::Nothing
        };
        self.link.plain(Order::Start(instance), change)
    }

    /// One that does not answer that it ends an instance is ended itself: it hangs, or was stopped.
    pub(crate) fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'static, ()> {
        let order = Order::Signal(instance, signal);
        let mut answer = self.link.plain(order, Change::Nothing);
        if signal != Signal::Kill {
            return answer;
        }
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            match tokio::time::timeout(KILL_PATIENCE, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    link.break_off(Breach::new(format!(
                        "it did not answer an order to kill for {} s",
                        KILL_PATIENCE.as_secs()
                    )));
                    answer.await
                }
            }
        })
    }

    pub(crate) fn exec(&self, exec: ExecSpec) -> Answer<'static, ()> {
        let (id, target) = (exec.id, exec.target);
        self.link.know(|known| {
            if let Some(pod) = known.pod_of(target) {
                known.give_instance(id, pod);
                known.start(id);
            }
        });
        self.link.plain(Order::Exec(exec), Change::Executed(id))
    }

    pub(crate) fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'static, ()> {
        self.link
            .plain(Order::Input(instance, chunk), Change::Nothing)
    }

    pub(crate) fn update(&self, pod: PodId, update: Update) -> Answer<'static, ()> {
        self.link.plain(Order::Update(pod, update), Change::Nothing)
    }

    pub(crate) fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'static, ()> {
        self.link
            .plain(Order::Pause(instance, paused), Change::Nothing)
    }

    pub(crate) fn stats(&self, instance: InstanceId) -> Answer<'static, Stats> {
        let answer = self.link.order(Order::Stats(instance), Wanted::Stats);
        Box::pin(async move {
            match answer.await? {
                Reply::Stats(stats) => Ok(stats),
                _ => Err(confused()),
            }
        })
    }

    pub(crate) fn read_file(
        &self,
        pod: PodId,
        volume: String,
        at_most: u64,
    ) -> Answer<'static, Bytes> {
        let at_most = at_most.min(protocol::FILE);
        let order = Order::ReadFile(pod, volume, at_most);
        let answer = self.link.order(order, Wanted::File(at_most));
        Box::pin(async move {
            match answer.await? {
                Reply::File(content) => Ok(content),
                _ => Err(confused()),
            }
        })
    }

    pub(crate) fn remove(&self, instance: InstanceId) -> Answer<'static, ()> {
        self.link
            .plain(Order::Remove(instance), Change::Removed(instance))
    }

    /// A connection from the host to a port of a pod.
    pub(crate) fn connect(&self, pod: PodId, port: u16) -> Answer<'static, Connection> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let pair = network::stream_pair();
            let (near, far) = pair.map_err(|e| RuntimeError::Exhausted(e.to_string()))?;
            let order = Order::Connect(pod, port);
            link.with_descriptor(order, far, None).await?;
            Ok(Connection(near))
        })
    }

    /// Puts a connection from a pod of another child into the queue of a listener.
    pub(crate) async fn accept(
        &self,
        socket: OwnedFd,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(), RuntimeError> {
        let turn = self.link.turn_to_accept()?;
        let order = Order::Accept { from, to };
        self.link.with_descriptor(order, socket, Some(turn)).await
    }
}

/// What was answered had been checked.
fn confused() -> RuntimeError {
    RuntimeError::Gone("the pod host answered something else".to_owned())
}

#[cfg(test)]
mod tests;
