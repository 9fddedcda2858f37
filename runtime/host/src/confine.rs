//! What a child that runs guests may still do: little, even as root.
//!
//! Called before the child has a second thread. In order: no new privileges, no capabilities, no
//! core dumps, files by Landlock, system calls by seccomp. Guests make no system calls at all;
//! this stands behind the wall that keeps it so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::trust;

/// The Landlock version asked for; an older kernel keeps what it knows.
const LANDLOCK: ABI = ABI::V6;

/// Files that net and the standard library read: the machine's addresses, port rules and cores.
const SYSTEM_FILES: [&str; 5] = [
    "/proc/self",
    "/proc/sys",
    "/proc/net",
    "/sys/devices/system/cpu",
    "/dev/urandom",
];

/// What the child may reach in the file system.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// Directories and files it may read: compiled code, read-only host paths.
    pub read: Vec<PathBuf>,
    /// Directories and files it may change: its pods' files, host paths.
    pub write: Vec<PathBuf>,
    /// The directory of tmpfs where its volumes in memory lie.
    pub memory: Option<PathBuf>,
}

/// Why the child would not be confined; it must then not run.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel refused a step.
    #[error("cannot give up privileges ({step}): {source}")]
    Kernel {
        /// Which.
        step: &'static str,
        /// What it said.
        source: rustix::io::Errno,
    },
    /// Landlock.
    #[error("cannot confine the pod host's files: {0}")]
    Files(#[from] landlock::RulesetError),
    /// A path that should be allowed.
    #[error("cannot open {path} for the pod host: {source}")]
    Path {
        /// Which.
        path: String,
        /// What the system said.
        source: landlock::PathFdError,
    },
    /// seccomp.
    #[error("cannot confine the pod host's system calls: {0}")]
    Calls(String),
}

/// Confines this process for good.
///
/// # Errors
/// [`ConfineError`]; the process must then end.
pub fn confine(to: &Confinement) -> Result<(), ConfineError> {
    let kernel = |step| move |source| ConfineError::Kernel { step, source };
    rustix::thread::set_no_new_privs(true).map_err(kernel("no_new_privs"))?;
    drop_capabilities().map_err(kernel("capabilities"))?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(kernel("core dumps"))?;
    confine_files(to)?;
    confine_calls()
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let none = rustix::thread::CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        rustix::thread::CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

fn confine_files(to: &Confinement) -> Result<(), ConfineError> {
    let (read, all) = (AccessFs::from_read(LANDLOCK), AccessFs::from_all(LANDLOCK));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        // Neither another program's nameless socket nor a signal to one. TCP is not restricted:
        // where guests may go and which doors open is not known when the child starts.
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    let system = SYSTEM_FILES
        .iter()
        .map(Path::new)
        .filter(|path| path.exists());
    let trusted = trust::paths();
    for (path, access) in system
        .chain(trusted.iter().map(PathBuf::as_path))
        .chain(to.read.iter().map(PathBuf::as_path))
        .map(|path| (path, read))
        .chain(
            to.write
                .iter()
                .chain(&to.memory)
                .map(|path| (path.as_path(), all)),
        )
    {
        let fd = PathFd::new(path).map_err(|source| ConfineError::Path {
            path: path.display().to_string(),
            source,
        })?;
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(LANDLOCK)
        };
        rules = rules.add_rule(PathBeneath::new(fd, access))?;
    }
    let status = rules.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        tracing::warn!(
            "this kernel has no Landlock: the pod host's files are confined by their owner's rights alone"
        );
    }
    Ok(())
}

fn confine_calls() -> Result<(), ConfineError> {
    for program in filters(std::process::id())? {
        let applied = seccompiler::apply_filter(&program);
        applied.map_err(|e| ConfineError::Calls(e.to_string()))?;
    }
    Ok(())
}

/// The filters of system calls of the process `own`. The kernel asks all of them and heeds the
/// strictest.
fn filters(own: u32) -> Result<[BpfProgram; 2], ConfineError> {
    let failed = |e: &dyn std::fmt::Display| ConfineError::Calls(e.to_string());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in CALLS {
        rules.insert(*call, Vec::new());
    }
    rules.extend(narrowed(own).map_err(|e| failed(&e))?);
    let architecture = std::env::consts::ARCH.try_into().map_err(|e| failed(&e))?;
    // A call that is not listed fails like one that the user may not make: what the standard
    // library tries first and can do without goes on to its second way.
    let refused = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)
        .map_err(|e| failed(&e))?;
    // Its flags lie in memory, where no filter can look: told not to exist, the C library makes
    // threads by clone.
    let absent = SeccompAction::Errno(rustix::io::Errno::NOSYS.raw_os_error().unsigned_abs());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let without_clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, absent, architecture)
        .map_err(|e| failed(&e))?;
    let program = |filter: SeccompFilter| {
        let program = BpfProgram::try_from(filter);
        program.map_err(|e| failed(&e))
    };
    Ok([program(without_clone3)?, program(filter)?])
}

/// Calls that are allowed with some arguments only.
fn narrowed(own: u32) -> Result<Vec<(i64, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let argument =
        |index, op, value: u64| SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value);
    let is = |index, value: u64| argument(index, SeccompCmpOp::Eq, value);
    let one_of = |index, values: &[u64]| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        values
            .iter()
            .map(|value| SeccompRule::new(vec![is(index, *value)?]))
            .collect()
    };
    let [unix, inet, inet6, netlink] = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ]
    .map(|family| u64::from(family.unsigned_abs()));
    // No Unix socket, which would lead to other programs of this user. Routes are asked for by
    // netlink.
    let mut sockets = one_of(0, &[inet, inet6])?;
    sockets.push(SeccompRule::new(vec![
        is(0, netlink)?,
        is(2, u64::from(libc::NETLINK_ROUTE.unsigned_abs()))?,
    ])?);
    // The runtime wakes itself through a pair. Of streams only: one end of a pair of datagram
    // sockets could be pointed at another program's.
    let pair = SeccompRule::new(vec![
        is(0, unix)?,
        argument(
            1,
            SeccompCmpOp::MaskedEq(0xf),
            u64::from(libc::SOCK_STREAM.unsigned_abs()),
        )?,
    ])?;
    // Threads, but no new namespace.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = argument(
        0,
        SeccompCmpOp::MaskedEq(u64::from(namespaces.unsigned_abs())),
        0,
    )?;
    Ok(vec![
        (libc::SYS_socket, sockets),
        (libc::SYS_socketpair, vec![pair]),
        (libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]),
        (libc::SYS_ioctl, one_of(1, &REQUESTS)?),
        (libc::SYS_tgkill, one_of(0, &[u64::from(own)])?),
        (libc::SYS_prlimit64, one_of(0, &[0, u64::from(own)])?),
    ])
}

/// The requests to devices that a pod host makes: the standard library's and tokio's of sockets,
/// and the engine's of its own memory. None of terminals, where one could type for the user.
const REQUESTS: [u64; 3] = [
    // Whether a call on a socket waits.
    libc::FIONBIO,
    // Whether a program that is started gets it.
    libc::FIOCLEX,
    // Which pages were written, told by /proc/self/pagemap.
    0xc060_6610, // PAGEMAP_SCAN
];

/// The calls that a pod host makes: memory and threads, sockets, files, waiting. Not among them:
/// starting programs, other processes, mounts, namespaces, users, keys, modules, tracing, BPF,
/// and sendmsg, without which no descriptor is handed to anybody.
const CALLS: &[i64] = &[
    // Memory and threads
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_setpriority,
    libc::SYS_getpriority,
    libc::SYS_prctl,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    // Waiting
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // Sockets
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_pipe2,
    // Files
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_copy_file_range,
];

#[cfg(test)]
mod tests;
