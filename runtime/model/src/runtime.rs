//! The seam between the node and whatever runs containers: messages, no references.
//!
//! Everything here can be written to a socket, with descriptors beside it, so that the same pod
//! host serves as a task of its caller, as one child process, or as one child per pod.
//!
//! ```text
//! create_pod ──> create ──> start ──> Event::Output … ──> Event::Exited ──> remove ──> remove_pod
//!                              └─ signal, exec, attach, update, pause, stats
//! ```
//!
//! A container that restarts is a new instance with a new [`InstanceId`], so a late event can
//! always be told from a current one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::container::Protocol;
use crate::volume::HostPathType;

/// A pod of one runtime; the caller chooses it and never uses it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodId(pub u64);

/// One run of one container, or one exec; the caller chooses it and never uses it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// What comes back from an order.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RuntimeError>> + Send + 'a>>;

/// Runs the containers of pods. Implemented by the pod host (wasm) and by native.
///
/// Orders about one pod are carried out in the order given; orders about different pods are
/// independent. What happens later is told as an [`Event`] to the [`EventSink`] that the
/// runtime was made with.
pub trait Runtime: Send + Sync + 'static {
    /// Makes the pod's network and knows its volumes; nothing runs yet.
    fn create_pod(&self, pod: PodSandbox) -> Answer<'_, PodCreated>;
    /// Stops what still runs in the pod, at once, and forgets the pod and its files.
    fn remove_pod(&self, pod: PodId) -> Answer<'_, ()>;
    /// Makes an instance: loads its code and opens its mounts; it does not run yet.
    fn create(&self, instance: InstanceSpec) -> Answer<'_, ()>;
    /// Lets an instance run. Answers when it is handed to the guest threads, for an http server
    /// when it listens; an instance that cannot be entered ends with the reason StartError.
    fn start(&self, instance: InstanceId) -> Answer<'_, ()>;
    /// Sends a signal: SIGTERM asks, SIGKILL ends it at once.
    fn signal(&self, instance: InstanceId, signal: Signal) -> Answer<'_, ()>;
    /// Runs a command in the pod, with the mounts, network, environment and limits of a container.
    fn exec(&self, exec: ExecSpec) -> Answer<'_, ()>;
    /// Gives input to an instance made with `stdin`; `None` closes it.
    fn input(&self, instance: InstanceId, chunk: Option<Bytes>) -> Answer<'_, ()>;
    /// Changes limits, or the files of a volume, while the pod runs.
    fn update(&self, pod: PodId, update: Update) -> Answer<'_, ()>;
    /// Stops scheduling an instance (`true`), or goes on (`false`).
    fn pause(&self, instance: InstanceId, paused: bool) -> Answer<'_, ()>;
    /// What an instance has used so far.
    fn stats(&self, instance: InstanceId) -> Answer<'_, Stats>;
    /// The last bytes of a `File` volume, such as a termination log; empty if it was never used.
    fn read_file(&self, pod: PodId, volume: String, at_most: u64) -> Answer<'_, Bytes>;
    /// Forgets an instance that has ended, and its scratch files.
    fn remove(&self, instance: InstanceId) -> Answer<'_, ()>;
    /// Opens a connection to a port of the pod, as a probe or a port-forward does: a socket whose
    /// other end is the pod's listener.
    fn connect(&self, pod: PodId, port: u16, timeout: Duration) -> Answer<'_, Connection>;
}

/// Where a runtime tells what happens. Never waits for long: a slow receiver holds back the
/// guest whose output it is, not the runtime.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event. The future resolves when there is room for the next.
    fn event(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Takes one event that must not wait: everything but output. Never refuses.
    fn event_now(&self, event: Event);
}

/// A byte stream to a pod's listener: one end of a socket pair.
#[derive(Debug)]
pub struct Connection(pub std::os::fd::OwnedFd);

/// Why an order was not carried out. The text names the object, the field and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RuntimeError {
    /// The order cannot be carried out as it stands; kubelet's CreateContainerError.
    #[error("{0}")]
    Refused(String),
    /// A volume cannot be had as it is asked for; kubelet's FailedMount. Later it may work.
    #[error("{0}")]
    Mount(String),
    /// The module does not load, or imports what nobody provides; kubelet's StartError.
    #[error("{0}")]
    CannotRun(String),
    /// exec names no command; exit code 127.
    #[error("{0}")]
    CommandNotFound(String),
    /// No such pod or instance, or it has ended.
    #[error("{0}")]
    NotFound(String),
    /// A limit of this host or machine is reached; later it may work.
    #[error("{0}")]
    Exhausted(String),
    /// The runtime is gone: its process ended.
    #[error("{0}")]
    Gone(String),
}

/// What a pod host must know of a pod before its first instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodSandbox {
    /// Its number here.
    pub id: PodId,
    /// `metadata.uid`, for files and logs.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`, for guests that ask who they are.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, for guests that ask who they are.
    pub annotations: BTreeMap<String, String>,
    /// The node's name, for guests that ask where they are.
    pub node_name: String,
    /// Its network.
    pub network: PodNetwork,
    /// Its volumes by name, those made for /etc files among them.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Whether its probes or hooks run commands: what those need is made ready before its
    /// containers start, so that no probe's time goes by on it.
    pub commands: bool,
    /// A directory that only this pod uses; made when first needed, removed with the pod.
    pub directory: PathBuf,
    /// How many containers it has: what it may run at once, but for commands.
    pub containers: usize,
}

/// The network of a pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PodNetwork {
    /// `hostNetwork`: guests use the kernel's sockets as they are.
    pub host: bool,
    /// The pod's host name, which resolves to its address.
    pub hostname: String,
    /// Further names by which other pods of this host reach it.
    pub names: Vec<String>,
    /// Ports that get a door: declared, published and host ports.
    pub doors: Vec<Door>,
    /// /etc/hosts lines beyond the pod's own: address, names.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    /// How other names are resolved.
    pub dns: Resolver,
}

/// A kernel socket through which others reach a pod's listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// The port inside the pod.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where the door opens: the pod's own address and port where absent.
    pub host: Option<(IpAddr, u16)>,
}

/// resolv.conf as data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// `nameserver` lines; none means that only pod names and hosts resolve.
    pub nameservers: Vec<IpAddr>,
    /// `search` domains in order.
    pub searches: Vec<String>,
    /// `options`, for example `ndots:5`.
    pub options: Vec<String>,
}

/// A pod is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodCreated {
    /// Its addresses; the first is `podIP`.
    pub addresses: Vec<IpAddr>,
}

/// One volume, ready to be turned into files on first use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// What it holds.
    pub source: VolumeSource,
    /// The most bytes it may hold, where limited.
    pub size_limit: Option<u64>,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// An empty directory, made at first use under the pod's directory, or under `/dev/shm`.
    Empty {
        /// `medium: Memory`.
        memory: bool,
    },
    /// A file or directory of the node.
    Host {
        /// Its path.
        path: PathBuf,
        /// What it must be, or is made as.
        kind: HostPathType,
    },
    /// Files from objects, updated all at once (kubelet's `..data` rule). Read-only to guests.
    Files(Vec<FileSpec>),
    /// One writable file with its first content, as for /etc/hosts and the termination log.
    File(FileSpec),
}

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Relative path without `..`.
    pub path: String,
    /// Content.
    pub content: Bytes,
    /// Permission bits.
    pub mode: u32,
}

/// One instance: a container's run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its number.
    pub id: InstanceId,
    /// Its pod.
    pub pod: PodId,
    /// The container's name.
    pub container: String,
    /// What it runs.
    pub image: WasmImage,
    /// argv, the program's name first.
    pub args: Vec<String>,
    /// Environment, in order, names unique.
    pub env: Vec<(String, String)>,
    /// How many of them, the first ones, the pod declares in `env` and `envFrom`: a component's
    /// configuration. The rest is the image's and the node's.
    pub declared_env: usize,
    /// Working directory, absolute and cleaned.
    pub working_dir: String,
    /// What is mounted where.
    pub mounts: Vec<MountSpec>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// What it may use.
    pub limits: Limits,
    /// Whether it has standard input.
    pub stdin: bool,
    /// `tty`: standard output is a terminal to the guest.
    pub tty: bool,
    /// Declared ports, for preview 1 modules that expect open listeners: name, port, protocol.
    pub ports: Vec<(String, u16, Protocol)>,
    /// How long it has between SIGTERM and SIGKILL, for guests that ask before SIGTERM, which
    /// brings what is left then.
    pub grace_period: Duration,
}

/// What an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmImage {
    /// Compiled code, made by `wasmpod-compile` for this very build of the engine.
    pub code: PathBuf,
    /// sha256 of the wasm file, in hex: the key under which code is shared.
    pub digest: String,
    /// The image's files, mounted read-only below the container's own root; none for a bare module.
    pub root: Option<PathBuf>,
}

/// A volume, or a part of it, at a path of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// The volume's name in the pod.
    pub volume: String,
    /// Absolute path in the container.
    pub path: String,
    /// A file or directory inside the volume; made as a directory where absent.
    pub sub_path: Option<String>,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Weight against other instances, in thousandths of a core: `requests.cpu`, at least 2; 100
    /// where there is no request, as the scheduler counts it.
    pub cpu_weight: u32,
    /// `limits.cpu` in thousandths of a core, where limited.
    pub cpu_limit: Option<u32>,
    /// `limits.memory` in bytes over all memories and tables, where limited.
    pub memory: Option<u64>,
    /// `limits.ephemeral-storage` in bytes for what it writes outside volumes, where limited.
    pub storage: Option<u64>,
}

/// A command in a running container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The number of this exec.
    pub id: InstanceId,
    /// The instance whose mounts, network, environment and limits it has.
    pub target: InstanceId,
    /// argv; the first word names a wasm file in the mounts, the container's own entry, or a
    /// toolbox command.
    pub command: Vec<String>,
    /// Whether it has standard input.
    pub stdin: bool,
    /// Whether its output is a terminal to it.
    pub tty: bool,
}

/// A change to a running pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Update {
    /// New limits of an instance.
    Limits(InstanceId, Limits),
    /// Further volumes, before any instance mounts them: /etc/hosts holds the pod's address, which
    /// is known only once the pod is created.
    AddVolumes(BTreeMap<String, VolumeSpec>),
    /// The first content of a `File` volume again: a restarted container's termination log.
    ResetFile(String),
    /// New content of a `Files` volume.
    Files {
        /// The volume.
        volume: String,
        /// All its files.
        files: Vec<FileSpec>,
    },
}

/// A signal that an instance can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Asks to end within this time: 15. What a preStop hook took of the grace period is gone from
    /// it. Sent again only to say that there is less.
    Term(Duration),
    /// Ends at once: 9.
    Kill,
}

/// What a runtime tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// An instance wrote to its standard output or error.
    Output {
        /// Which one.
        instance: InstanceId,
        /// Which of the two.
        stream: Stream,
        /// What; never empty.
        chunk: Bytes,
    },
    /// An instance ended; nothing more comes from it.
    Exited {
        /// Which one.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// What it used in all.
        stats: Stats,
    },
    /// The guest set its own health through `wasmpod:pod/lifecycle`.
    Health {
        /// Which one.
        instance: InstanceId,
        /// Whether it calls itself ready.
        ready: bool,
        /// What it says to that, for people; at most 1 KiB.
        message: String,
    },
    /// A write was refused because a storage limit is reached; told once for each place.
    StorageFull {
        /// The pod.
        pod: PodId,
        /// What is full.
        place: StoragePlace,
        /// Its limit in bytes.
        limit: u64,
    },
    /// Something a person should know: becomes a Kubernetes Event on the pod.
    Notice {
        /// The pod.
        pod: PodId,
        /// The instance, where it is about one.
        instance: Option<InstanceId>,
        /// Warning rather than Normal.
        warning: bool,
        /// CamelCase reason.
        reason: String,
        /// Sentence.
        message: String,
    },
}

/// What has a storage limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoragePlace {
    /// A volume of the pod, by name: `emptyDir.sizeLimit`.
    Volume(String),
    /// What an instance writes outside volumes: `limits.ephemeral-storage`.
    Instance(InstanceId),
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + signal where one ended it, 134 for a trap.
    pub code: i32,
    /// Completed, Error, OOMKilled, StartError ….
    pub reason: String,
    /// What a person needs to know: the trap with its place, the limit with the peak. May be empty.
    pub message: String,
}

/// What an instance has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Time on a CPU.
    pub cpu: Duration,
    /// Time that it was ready to run but its cpu limit forbade it.
    pub throttled: Duration,
    /// Bytes of linear memory and tables now.
    pub memory: u64,
    /// The most of that so far.
    pub memory_peak: u64,
    /// Bytes received from sockets.
    pub received: u64,
    /// Bytes sent to sockets.
    pub sent: u64,
}
