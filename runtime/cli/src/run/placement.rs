//! Where pods run, and with what.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use api::downward::Allocatable;
use bytes::Bytes;
use host::{Children, ChildrenConfig, Compiler, Confinement, PodHost, PodHostConfig, Toolbox};
use model::runtime::Resolver;
use model::security::User;
use model::{Quantity, Runtime};
use node::Router;

use super::from_bytes::FromBytes;
use crate::data_dir::DataDir;
use crate::images::Files;
use crate::options::Placement;

/// The toolbox that this build carries; empty for none.
const TOOLBOX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/toolbox.wasm"));

/// The toolbox of this build.
pub(crate) fn toolbox() -> Toolbox {
    if TOOLBOX.is_empty() {
        Toolbox::Absent
    } else {
        Toolbox::Wasm(Bytes::from_static(TOOLBOX))
    }
}

/// The compiler: beside this program, or where `WASMPOD_COMPILE` says.
///
/// # Errors
/// When this program does not know where it is.
pub(crate) fn compiler() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("WASMPOD_COMPILE") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("cannot tell where wasmpod lies")?;
    Ok(own.with_file_name("wasmpod-compile"))
}

/// Starts whatever runs pods.
///
/// # Errors
/// When the system refuses threads, addresses or directories.
pub(crate) fn start(
    placement: Placement,
    data: &DataDir,
    router: Arc<Router>,
    files: Arc<Files>,
    memory: &mut Memory,
) -> anyhow::Result<Arc<dyn Runtime>> {
    for directory in [data.code(), data.pods(), data.content()] {
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        owned(&directory)?;
    }
    let compiler: Arc<dyn Compiler> = Arc::new(FromBytes::new(files, data.content()));
    let one_per_pod = match placement {
        Placement::Task => {
            return Ok(Arc::new(PodHost::start(PodHostConfig {
                range: net::PodRange::LOOPBACK,
                peers: None,
                steering: steering(),
                runtime: tokio::runtime::Handle::current(),
                sink: router,
                compiler,
                keeps_files: false,
                memory_dir: None,
                toolbox: toolbox(),
            })?));
        }
        Placement::Child => false,
        Placement::ChildPerPod => true,
    };
    memory.make();
    Ok(Arc::new(Children::new(ChildrenConfig {
        program: std::env::current_exe().context("cannot tell where wasmpod lies")?,
        args: pod_host_args,
        confinement: Confinement {
            read: vec![data.code()],
            write: vec![data.pods()],
            memory: memory.path.clone(),
        },
        range: net::PodRange::LOOPBACK,
        one_per_pod,
        sink: router,
        compiler,
    })))
}

/// Steering for the pods of this process, where it has the rights. Asks nothing of the kernel yet.
fn steering() -> Option<Arc<dyn net::Steer>> {
    // IPv6 addresses of pods would need a route, and a command in the foreground makes none.
    let steering = || net::Steering::new(net::PodRange::LOOPBACK, &[net::Family::V4]);
    net::Steering::is_permitted().then(|| Arc::new(steering().lane()) as Arc<dyn net::Steer>)
}

/// Refuses a directory that somebody else can write to: compiled code in it would run as ours.
///
/// # Errors
/// When it belongs to another user, or its mode lets others write.
fn owned(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::symlink_metadata(directory)
        .with_context(|| format!("cannot look at {}", directory.display()))?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || !about.is_dir() || about.mode() & 0o022 != 0 {
        bail!(
            "{} may be written to by somebody else: name a --data-dir of your own, or mend its owner and mode (0700)",
            directory.display()
        );
    }
    Ok(())
}

/// How this program is told to be a pod host, and what it may reach.
fn pod_host_args(confinement: &Confinement) -> Vec<OsString> {
    let mut args = vec![OsString::from("pod-host")];
    let memory: Vec<PathBuf> = confinement.memory.iter().cloned().collect();
    for (flag, paths) in [
        ("--read", &confinement.read),
        ("--write", &confinement.write),
        ("--memory-dir", &memory),
    ] {
        for path in paths {
            args.extend([OsString::from(flag), path.into()]);
        }
    }
    args
}

/// A directory of tmpfs for the children of one run, removed with it.
pub(crate) struct Memory {
    /// Nothing where there is no tmpfs that we may write to.
    path: Option<PathBuf>,
}

// === impl Memory ===

impl Memory {
    /// None yet: pods in this process find their own place.
    pub(crate) fn none() -> Self {
        Self { path: None }
    }

    /// Makes the directory, for its owner alone. One of that name that is there already is
    /// somebody else's, and not used.
    fn make(&mut self) {
        let path = PathBuf::from(format!("/dev/shm/wasmpod-{}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => self.path = Some(path),
            Err(error) => {
                tracing::warn!(%error, "volumes in memory lie on disk: cannot make {}", path.display())
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_dir_all(path)
        {
            tracing::warn!(%error, "{} is left behind", path.display());
        }
    }
}

/// What the node knows of this machine.
pub(crate) fn node_config(
    data: &DataDir,
    sink: Arc<dyn node::LogSink>,
    hostname_variable: bool,
) -> node::Config {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase();
    node::Config {
        data_dir: data.path().to_owned(),
        node_name: name,
        host_ips: vec![std::net::IpAddr::from([127, 0, 0, 1])],
        sink: Some(sink),
        allocatable: allocatable(),
        dns: node::Dns {
            node: resolver(),
            cluster: None,
            domain: "cluster.local".to_owned(),
        },
        // A lone program gets the environment that the command line gives, and no more.
        hostname_variable,
        user: user(),
        ..node::Config::default()
    }
}

/// Whom this program runs as, its children too: theirs are the files that guests make.
pub(crate) fn user() -> User {
    User {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        // Without them less is possible, and refused.
        groups: rustix::process::getgroups()
            .unwrap_or_default()
            .iter()
            .map(|group| group.as_raw())
            .collect(),
    }
}

/// All of the machine: `run` shares it with nobody it knows of.
fn allocatable() -> Allocatable {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = rustix::system::sysinfo();
    let bytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    Allocatable {
        cpu: Quantity::from_units(i64::try_from(cores).unwrap_or(1)),
        memory: Quantity::from_units(i64::try_from(bytes).unwrap_or(i64::MAX)),
        ephemeral_storage: Quantity::default(),
    }
}

/// The machine's resolv.conf; names of pods resolve without it.
fn resolver() -> Resolver {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(
                words
                    .next()
                    .and_then(|address| address.parse::<std::net::IpAddr>().ok()),
            ),
            Some("search") => resolver.searches = words.map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    resolver
}
