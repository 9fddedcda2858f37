//! Where pods run, and with what.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use api::Workload;
use api::downward::Allocatable;
use api::workload::{Admitted, PROCESS};
use bytes::Bytes;
use host::{Children, ChildrenConfig, Compiler, Confinement, PodHost, PodHostConfig, Toolbox};
use model::runtime::Resolver;
use model::security::User;
use model::volume::Source;
use model::{Quantity, Runtime};
use node::Router;
use rustix::fs::{Access, access};

use super::from_bytes::FromBytes;
use crate::claim::Claim;
use crate::data_dir::DataDir;
use crate::images::Files;
use crate::machine;
use crate::options::{Placement, Run};

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
/// When there is none: every pod would wait for its images for ever.
pub(crate) fn compiler() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os("WASMPOD_COMPILE") {
        // A path, never a name to be looked for in `$PATH`.
        Some(path) => std::path::absolute(path).context("WASMPOD_COMPILE")?,
        None => std::env::current_exe()
            .context("cannot tell where wasmpod lies")?
            .with_file_name("wasmpod-compile"),
    };
    let remedy = "install it beside wasmpod, or name it in WASMPOD_COMPILE";
    let about = std::fs::metadata(&path)
        .with_context(|| format!("the compiler {} is missing: {remedy}", path.display()))?;
    if !about.is_file() || access(&path, Access::EXEC_OK).is_err() {
        bail!(
            "the compiler {} is no program that may be started: {remedy}",
            path.display()
        );
    }
    Ok(path)
}

/// Where the pods of a run go: as the command line says, each into a process of its own where one of
/// them asks for the RuntimeClass that promises it, and into several where they are too many for one.
/// Not so with host paths, each of which would have a process to itself.
pub(crate) fn of(options: &Run, workload: &Workload) -> Placement {
    let asks = |admitted: &Admitted| admitted.pod.runtime_class.as_deref() == Some(PROCESS);
    if workload.pods.iter().any(asks) {
        return Placement::ChildPerPod;
    }
    let pods = workload.pods.iter();
    let containers: usize = pods.map(|it| it.pod.all_containers().count()).sum();
    let are_too_many = containers > containers_per_process();
    if options.placement == Placement::Task && are_too_many && !has_host_paths(workload) {
        return Placement::Child;
    }
    options.placement
}

/// Whether a pod of the run has a directory of the machine.
fn has_host_paths(workload: &Workload) -> bool {
    let pods = workload.pods.iter();
    let mut volumes = pods.flat_map(|it| &it.pod.volumes);
    volumes.any(|volume| matches!(volume.source, Source::HostPath { .. }))
}

/// Containers that one process takes: what may be mapped is enough for all of them.
fn containers_per_process() -> usize {
    // A machine that allows next to nothing runs a few all the same, from the pools.
    engine::instances_within(machine::mappings()).max(1)
}

/// Starts whatever runs pods.
///
/// # Errors
/// When the system refuses threads or addresses.
pub(crate) fn start(
    placement: Placement,
    data: &DataDir,
    router: Arc<Router>,
    files: Arc<Files>,
    memory: &mut Memory,
    claim: &Claim,
) -> anyhow::Result<Arc<dyn Runtime>> {
    let compiler: Arc<dyn Compiler> = Arc::new(FromBytes::new(files, data.content()));
    let one_per_pod = match placement {
        Placement::Task => {
            return Ok(Arc::new(PodHost::start(PodHostConfig {
                range: net::PodRange::LOOPBACK,
                peers: None,
                steering: steering()
                    .map(|steering| Arc::new(steering.lane()) as Arc<dyn net::Steer>),
                binder: None,
                runtime: tokio::runtime::Handle::current(),
                sink: router,
                compiler,
                keeps_files: false,
                memory_dir: None,
                toolbox: toolbox(),
                mappings: machine::mappings(),
            })?));
        }
        Placement::Child => false,
        Placement::ChildPerPod => true,
    };
    memory.make(claim.memory());
    Ok(Arc::new(Children::new(ChildrenConfig {
        program: std::env::current_exe().context("cannot tell where wasmpod lies")?,
        args: pod_host_args,
        confinement: Confinement {
            // The files of images too: a guest reads its root from there.
            read: vec![data.code(), data.content().join("roots")],
            write: vec![data.pods()],
            memory: memory.path.clone(),
        },
        range: net::PodRange::LOOPBACK,
        steering: steering(),
        one_per_pod,
        containers: containers_per_process(),
        sink: router,
        compiler,
    })))
}

/// Steering for the pods of this process, where it has the rights. Asks nothing of the kernel yet.
fn steering() -> Option<net::Steering> {
    // IPv6 addresses of pods would need a route, and a command in the foreground makes none.
    let steering = || net::Steering::new(net::PodRange::LOOPBACK, &[net::Family::V4]);
    net::Steering::is_permitted().then(steering)
}

/// How this program is told to be a pod host, what it may reach and whether its pods are steered.
fn pod_host_args(confinement: &Confinement, is_steered: bool) -> Vec<OsString> {
    let mut args = vec![OsString::from("pod-host")];
    if is_steered {
        args.push("--steered".into());
    }
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
    fn make(&mut self, path: PathBuf) {
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
            && let Err(error) = volume::remove_ours(path)
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
    node::Config {
        data_dir: data.path().to_owned(),
        node_name: node_name(),
        host_ips: vec![std::net::IpAddr::from([127, 0, 0, 1])],
        sink: Some(sink),
        allocatable: allocatable(data),
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

/// What this machine is called as a node: its host name, as kubelet has it.
pub(crate) fn node_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().to_lowercase()
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
fn allocatable(data: &DataDir) -> Allocatable {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = rustix::system::sysinfo();
    let bytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    Allocatable {
        cpu: Quantity::from_units(i64::try_from(cores).unwrap_or(1)),
        memory: Quantity::from_units(i64::try_from(bytes).unwrap_or(i64::MAX)),
        ephemeral_storage: Quantity::from_units(storage(data)),
    }
}

/// The bytes of the file system on which pods' files lie, as kubelet counts its own.
fn storage(data: &DataDir) -> i64 {
    let bytes =
        rustix::fs::statvfs(data.path()).map(|about| about.f_blocks.saturating_mul(about.f_frsize));
    // One that cannot be asked holds nothing back.
    i64::try_from(bytes.unwrap_or(u64::MAX)).unwrap_or(i64::MAX)
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
