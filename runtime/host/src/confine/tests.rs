//! What a confined process can still do: tried from inside one, and asked of the filters themselves.
//!
//! The calls that have a safe form are made, in a process of their own that confines itself as a
//! pod host does: the test runs a second time there. For the others, `ptrace` and `mount` among
//! them, the very programs that the kernel is given are run here.

use std::fs::File;
use std::io::IoSlice;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::*;

/// Says that this process is the one that confines itself, and where its files are.
const INSIDE: &str = "HOST_CONFINED";

#[test]
fn a_confined_process_is_refused_what_it_tries() {
    if let Some(files) = std::env::var_os(INSIDE) {
        return inside(files.into());
    }
    // Made and deleted by a process that may.
    let scratch = tempfile::tempdir().expect("a directory");
    let thread = std::thread::current();
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", thread.name().expect("a test"), "--nocapture"])
        .env(INSIDE, scratch.path())
        .output()
        .expect("a second process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
}

/// What a call came to: the errno that the kernel told.
type Came = Result<(), Errno>;

/// A call by its name, what it has to come to, and itself.
type Try<'a> = (&'static str, Came, Box<dyn Fn() -> Came + 'a>);

const PERM: Came = Err(Errno::PERM);
const ACCES: Came = Err(Errno::ACCESS);
const XDEV: Came = Err(Errno::XDEV);

/// What the process had before it was confined.
struct Before {
    scratch: PathBuf,
    parent: Pid,
    near: UnixStream,
    _far: UnixStream,
}

fn told(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn inside(scratch: PathBuf) {
    let before = Before::new(scratch);
    confine(&Confinement {
        read: vec![before.path("code")],
        write: vec![before.path("pods")],
        memory: Some(before.path("memory")),
    })
    .expect("confined");
    let tries = [
        before.own(),
        before.files_beyond(),
        before.other_programs(),
        before.machine(),
    ];
    for (name, expected, call) in tries.into_iter().flatten() {
        assert_eq!(call(), expected, "{name}");
        println!("{name}: {expected:?}");
    }
}

// === impl Before ===

impl Before {
    fn new(scratch: PathBuf) -> Self {
        for name in ["code", "pods", "memory", "keys"] {
            let directory = scratch.join(name);
            std::fs::create_dir(&directory).expect("made");
            std::fs::write(directory.join("file"), "text").expect("written");
        }
        let (near, far) = UnixStream::pair().expect("a pair");
        Self {
            scratch,
            parent: rustix::process::getppid().expect("a parent"),
            near,
            _far: far,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn read(&self, file: &str) -> Came {
        File::open(self.path(file)).map(drop).map_err(told)
    }

    fn make(&self, file: &str) -> Came {
        File::create(self.path(file)).map(drop).map_err(told)
    }

    /// What it is for.
    fn own(&self) -> Vec<Try<'_>> {
        let listen = || TcpListener::bind("127.0.0.1:0").map(drop).map_err(told);
        let thread = || std::thread::spawn(|| ()).join().map_err(|_| Errno::IO);
        vec![
            ("read code", Ok(()), Box::new(|| self.read("code/file"))),
            ("read pods", Ok(()), Box::new(|| self.read("pods/file"))),
            ("write pods", Ok(()), Box::new(|| self.make("pods/new"))),
            ("write memory", Ok(()), Box::new(|| self.make("memory/new"))),
            ("listen", Ok(()), Box::new(listen)),
            ("a thread", Ok(()), Box::new(thread)),
        ]
    }

    fn files_beyond(&self) -> Vec<Try<'_>> {
        let passwords = || File::open("/etc/passwd").map(drop).map_err(told);
        let memory = format!("/proc/{}/mem", self.parent.as_raw_nonzero());
        let memory = move || File::open(&memory).map(drop).map_err(told);
        let link = || std::fs::hard_link(self.path("keys/file"), self.path("pods/key"));
        let rename = || std::fs::rename(self.path("pods/file"), self.path("keys/mine"));
        let round = || self.read("code/../keys/file");
        vec![
            ("write code", ACCES, Box::new(|| self.make("code/new"))),
            ("read keys", ACCES, Box::new(|| self.read("keys/file"))),
            ("write keys", ACCES, Box::new(|| self.make("keys/new"))),
            ("a way round", ACCES, Box::new(round)),
            ("/etc/passwd", ACCES, Box::new(passwords)),
            ("the parent's memory", ACCES, Box::new(memory)),
            ("link in", XDEV, Box::new(move || link().map_err(told))),
            (
                "rename out",
                ACCES,
                Box::new(move || rename().map_err(told)),
            ),
        ]
    }

    fn other_programs(&self) -> Vec<Try<'_>> {
        let unix = |kind| rustix::net::socket(AddressFamily::UNIX, kind, None).map(drop);
        let pair = || {
            let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
            rustix::net::socketpair(family, SocketType::DGRAM, flags, None).map(drop)
        };
        let message = || {
            let (parts, mut with) = ([IoSlice::new(b"x")], SendAncillaryBuffer::default());
            rustix::net::sendmsg(&self.near, &parts, &mut with, SendFlags::empty()).map(drop)
        };
        let execute = || Err(told(Command::new("/bin/true").exec()));
        let spawn = || Command::new("/bin/true").spawn().map(drop).map_err(told);
        let kill = || rustix::process::kill_process(self.parent, Signal::CONT);
        let look = || rustix::process::test_kill_process(self.parent);
        let open = || rustix::process::pidfd_open(self.parent, PidfdFlags::empty()).map(drop);
        vec![
            (
                "a Unix socket",
                PERM,
                Box::new(move || unix(SocketType::STREAM)),
            ),
            (
                "one of datagrams",
                PERM,
                Box::new(move || unix(SocketType::DGRAM)),
            ),
            ("a pair of datagrams", PERM, Box::new(pair)),
            ("sendmsg", PERM, Box::new(message)),
            ("execve", PERM, Box::new(execute)),
            ("spawn", PERM, Box::new(spawn)),
            ("kill the parent", PERM, Box::new(kill)),
            ("look for the parent", PERM, Box::new(look)),
            ("pidfd_open", PERM, Box::new(open)),
        ]
    }

    fn machine(&self) -> Vec<Try<'_>> {
        let root = || rustix::process::chroot(self.path("pods"));
        let pipe = || {
            let path = self.path("pods/pipe");
            rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0)
        };
        let own = || std::os::unix::fs::chown(self.path("pods/file"), Some(1), None);
        let name = || rustix::system::sethostname(b"mine");
        vec![
            ("chroot", PERM, Box::new(root)),
            ("mknod", PERM, Box::new(pipe)),
            ("chown", PERM, Box::new(move || own().map_err(told))),
            ("sethostname", PERM, Box::new(name)),
        ]
    }
}

// --- the filters, run here ---

/// What the kernel does with a call, for a process with this number.
fn verdict(own: u32, call: i64, arguments: [u64; 6]) -> Came {
    let programs = filters(own).expect("filters");
    let returned = programs.map(|program| run(&program, call, arguments));
    // The strictest counts: of an error and leave, the error.
    let errors = returned.iter().filter(|value| **value != ALLOW);
    match errors.max() {
        None => Ok(()),
        Some(value) => {
            assert_eq!(value & 0xffff_0000, ERRNO, "{call}: {value:#x}");
            let errno = i32::try_from(value & 0xffff).expect("an errno");
            Err(Errno::from_raw_os_error(errno))
        }
    }
}

/// linux/seccomp.h
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// Runs a filter as the kernel does, over a `struct seccomp_data`.
fn run(program: &BpfProgram, call: i64, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(i32::try_from(call).expect("a number").to_le_bytes());
    data.extend(own_architecture(program).to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(arguments.iter().flat_map(|value| value.to_le_bytes()));
    let word = |at: u32| {
        let at = at as usize;
        let bytes = data.get(at..at + 4).expect("inside the data");
        u32::from_le_bytes(bytes.try_into().expect("four"))
    };
    let (mut at, mut value) = (0_usize, 0_u32);
    loop {
        let step = program.get(at).expect("inside the program");
        at += 1;
        let jump = |is: bool| usize::from(if is { step.jt } else { step.jf });
        match step.code {
            0x20 => value = word(step.k),
            0x54 => value &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(value == step.k),
            0x25 => at += jump(value > step.k),
            0x35 => at += jump(value >= step.k),
            0x45 => at += jump(value & step.k != 0),
            0x06 => return step.k,
            code => panic!("an instruction that no filter has: {code:#x}"),
        }
    }
}

/// What the first comparison of a filter is with: it looks at the architecture before all else.
fn own_architecture(program: &BpfProgram) -> u32 {
    let compared = program.iter().find(|step| step.code == 0x15);
    compared.expect("a comparison").k
}

/// The number of the process that the filters are for, and another.
const OWN: u64 = 77;
const OTHER: u64 = 78;

const ANY: [u64; 6] = [0; 6];

const fn one(value: u64) -> [u64; 6] {
    [value, 0, 0, 0, 0, 0]
}

const fn word(value: i32) -> u64 {
    value.unsigned_abs() as u64
}

const UNIX: u64 = word(libc::AF_UNIX);
const INET: u64 = word(libc::AF_INET);
const INET6: u64 = word(libc::AF_INET6);
const NETLINK: u64 = word(libc::AF_NETLINK);
const PACKET: u64 = word(libc::AF_PACKET);
const VSOCK: u64 = word(libc::AF_VSOCK);
const STREAM: u64 = word(libc::SOCK_STREAM);
const DGRAM: u64 = word(libc::SOCK_DGRAM);
const ROUTE: u64 = word(libc::NETLINK_ROUTE);
const AUDIT: u64 = word(libc::NETLINK_AUDIT);
const NEW_USER: u64 = word(libc::CLONE_NEWUSER | libc::CLONE_VM);

const FREE: Came = Ok(());

/// A call by its name, its number, its arguments, and what it comes to.
type Case = (&'static str, i64, [u64; 6], Came);

const CASES: &[Case] = &[
    ("ptrace", libc::SYS_ptrace, ANY, PERM),
    ("process_vm_readv", libc::SYS_process_vm_readv, ANY, PERM),
    ("process_vm_writev", libc::SYS_process_vm_writev, ANY, PERM),
    ("pidfd_open", libc::SYS_pidfd_open, ANY, PERM),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, ANY, PERM),
    ("execve", libc::SYS_execve, ANY, PERM),
    ("execveat", libc::SYS_execveat, ANY, PERM),
    ("kill", libc::SYS_kill, one(OTHER), PERM),
    ("tkill", libc::SYS_tkill, ANY, PERM),
    ("tgkill itself", libc::SYS_tgkill, one(OWN), FREE),
    ("tgkill another", libc::SYS_tgkill, one(OTHER), PERM),
    ("prlimit itself", libc::SYS_prlimit64, one(0), FREE),
    ("prlimit another", libc::SYS_prlimit64, one(OTHER), PERM),
    ("mount", libc::SYS_mount, ANY, PERM),
    ("umount2", libc::SYS_umount2, ANY, PERM),
    ("move_mount", libc::SYS_move_mount, ANY, PERM),
    ("open_tree", libc::SYS_open_tree, ANY, PERM),
    ("pivot_root", libc::SYS_pivot_root, ANY, PERM),
    ("chroot", libc::SYS_chroot, ANY, PERM),
    ("unshare", libc::SYS_unshare, ANY, PERM),
    ("setns", libc::SYS_setns, ANY, PERM),
    ("a thread", libc::SYS_clone, one(word(libc::CLONE_VM)), FREE),
    ("a user namespace", libc::SYS_clone, one(NEW_USER), PERM),
    ("clone3", libc::SYS_clone3, ANY, Err(Errno::NOSYS)),
    ("setuid", libc::SYS_setuid, ANY, PERM),
    ("setgroups", libc::SYS_setgroups, ANY, PERM),
    ("capset", libc::SYS_capset, ANY, PERM),
    ("bpf", libc::SYS_bpf, ANY, PERM),
    ("perf_event_open", libc::SYS_perf_event_open, ANY, PERM),
    ("userfaultfd", libc::SYS_userfaultfd, ANY, PERM),
    ("io_uring_setup", libc::SYS_io_uring_setup, ANY, PERM),
    ("keyctl", libc::SYS_keyctl, ANY, PERM),
    ("add_key", libc::SYS_add_key, ANY, PERM),
    ("init_module", libc::SYS_init_module, ANY, PERM),
    ("finit_module", libc::SYS_finit_module, ANY, PERM),
    ("kexec_load", libc::SYS_kexec_load, ANY, PERM),
    ("reboot", libc::SYS_reboot, ANY, PERM),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, ANY, PERM),
    // A lock on compiled code or its shelf would hold up every run of this user.
    ("flock", libc::SYS_flock, ANY, PERM),
    ("sendmsg", libc::SYS_sendmsg, ANY, PERM),
    ("sendmmsg", libc::SYS_sendmmsg, ANY, PERM),
    ("mknodat", libc::SYS_mknodat, ANY, PERM),
    ("fchownat", libc::SYS_fchownat, ANY, PERM),
    ("seccomp", libc::SYS_seccomp, ANY, PERM),
    (
        "TIOCSTI",
        libc::SYS_ioctl,
        [0, libc::TIOCSTI, 0, 0, 0, 0],
        PERM,
    ),
    (
        "FIONBIO",
        libc::SYS_ioctl,
        [0, libc::FIONBIO, 0, 0, 0, 0],
        FREE,
    ),
    ("AF_UNIX", libc::SYS_socket, one(UNIX), PERM),
    ("AF_INET", libc::SYS_socket, one(INET), FREE),
    ("AF_INET6", libc::SYS_socket, one(INET6), FREE),
    ("AF_PACKET", libc::SYS_socket, one(PACKET), PERM),
    ("AF_VSOCK", libc::SYS_socket, one(VSOCK), PERM),
    (
        "routes",
        libc::SYS_socket,
        [NETLINK, 0, ROUTE, 0, 0, 0],
        FREE,
    ),
    (
        "audit",
        libc::SYS_socket,
        [NETLINK, 0, AUDIT, 0, 0, 0],
        PERM,
    ),
    (
        "a stream pair",
        libc::SYS_socketpair,
        [UNIX, STREAM, 0, 0, 0, 0],
        FREE,
    ),
    (
        "a datagram pair",
        libc::SYS_socketpair,
        [UNIX, DGRAM, 0, 0, 0, 0],
        PERM,
    ),
    ("read", libc::SYS_read, ANY, FREE),
];

#[test]
fn the_filters_refuse_what_no_pod_host_needs() {
    let own = u32::try_from(OWN).expect("a number");
    for (name, call, arguments, expected) in CASES {
        assert_eq!(verdict(own, *call, *arguments), *expected, "{name}");
    }
}
