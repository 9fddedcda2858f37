//! One writer at a time in a directory, and what others who lock its file can do.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::fixture::{Pod, empty, mount, names, root};
use crate::{Exclusive, ExclusiveError, FsError, Holder, MountTable, Node};

/// Longer than anything here takes.
const PATIENT: Duration = Duration::from_secs(60);

/// Long enough for a thread to begin to wait.
const SHORT: Duration = Duration::from_millis(20);

/// Directories that others hold, each with a writer: more than there are threads to wait with.
const MANY: usize = 20;

/// Held by tests that need a thread, or all of them.
static THREADS: Mutex<()> = Mutex::new(());

/// Bytes that are locked: of who is next, and of who writes.
const NEXT: (i64, i64) = (0, 1);
const WRITER: (i64, i64) = (1, 0);
const WHOLE: (i64, i64) = (0, 0);

/// Names the file that the process locks which a test starts: its own program once more.
const OTHER: &str = "WASMPOD_TEST_LOCKED";

/// A directory of a pod with the host's at /a, and the file in it that is locked.
struct Place {
    _pod: Pod,
    directory: Node,
    file: PathBuf,
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        let pod = Pod::with_host();
        let directory = pod.table(&[("host", "/a")]).directory("/a").unwrap();
        drop(directory.exclusive("lock", PATIENT).unwrap());
        let file = pod.path("host/lock");
        Self {
            _pod: pod,
            directory,
            file,
        }
    }

    fn try_for(&self, patience: Duration) -> Result<Exclusive, ExclusiveError> {
        self.directory.exclusive("lock", patience)
    }

    /// The file as another process has it open: for the kernel somebody else.
    fn opened(&self) -> File {
        let file = File::options().read(true).write(true).open(&self.file);
        file.unwrap()
    }

    /// The same, locked for writing or reading. A process that another test starts has copies of all
    /// descriptors until it is the other program, so that a lock may last a moment longer than ours.
    fn locked(&self, how: i32) -> File {
        let file = self.opened();
        let (sender, locked) = mpsc::channel();
        std::thread::spawn(move || {
            fcntl(&file, FcntlArg::F_OFD_SETLKW(&lock(how, WHOLE))).unwrap();
            sender.send(file)
        });
        locked.recv_timeout(PATIENT).expect("nobody has it")
    }
}

fn lock(how: i32, (start, length): (i64, i64)) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(how).unwrap(),
        l_whence: 0,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// Locks a part of a file for writing; tells whether nobody else had it.
fn try_lock(file: &File, part: (i64, i64)) -> bool {
    let lock = lock(libc::F_WRLCK, part);
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).is_ok()
}

fn held(by: Holder) -> Option<ExclusiveError> {
    Some(ExclusiveError::Held { by })
}

/// Has threads take turns in a directory, and tells whether two were ever there at once.
fn are_alone(directories: [&Node; 3]) -> bool {
    let (inside, was_shared) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Barrier::new(directories.len());
    std::thread::scope(|scope| {
        for directory in directories {
            scope.spawn(|| {
                start.wait();
                for _ in 0..200 {
                    let _turn = directory.exclusive("lock", PATIENT).unwrap();
                    was_shared.fetch_or(inside.fetch_add(1, SeqCst) > 0, SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                }
            });
        }
    });
    !was_shared.into_inner()
}

#[test]
fn writers_are_alone_however_they_came_to_the_directory() {
    let pod = Pod::with_host();
    // Two mounts of one volume: the same directory by two names; and one that is not made yet.
    let both = pod.table(&[("host", "/a"), ("host", "/b")]);
    let other = MountTable::new(&pod.volumes, root("two"), &[mount("host", "/c")]).unwrap();
    let nodes = ["/a", "/b"].map(|path| both.directory(path).unwrap());
    assert!(are_alone([
        &nodes[0],
        &nodes[1],
        &other.directory("/c").unwrap()
    ]));
    assert_eq!(names(&nodes[0]), ["lock"]);

    let pod = Pod::new([("data", empty())]);
    let table = pod.table(&[("data", "/data")]);
    let unmade = table.directory("/data").unwrap();
    assert!(are_alone([&unmade, &unmade, &unmade.clone()]));
}

#[test]
fn there_is_no_right_to_write_where_nobody_may() {
    let pod = Pod::new([("data", empty())]);
    let mut read_only = mount("data", "/data");
    read_only.read_only = true;
    let table = MountTable::new(&pod.volumes, root("one"), &[read_only]).unwrap();
    let directory = table.directory("/data").unwrap();
    let files = |error: FsError| Some(ExclusiveError::Files(error));
    let refused = directory.exclusive("lock", PATIENT);
    assert_eq!(refused.err(), files(FsError::ReadOnly));

    let table = pod.table(&[("data", "/data")]);
    let directory = table.directory("/data").unwrap();
    directory.symlink_at("elsewhere", "lock").unwrap();
    let refused = directory.exclusive("lock", PATIENT);
    assert_eq!(refused.err(), files(FsError::Loop));
    // The refusal gave the directory back.
    directory.unlink_file_at("lock").unwrap();
    assert!(directory.exclusive("lock", PATIENT).is_ok());
}

#[test]
fn what_else_the_process_opens_and_closes_takes_nothing_from_the_writer() {
    let place = Place::new();
    let writing = place.try_for(PATIENT).unwrap();
    // As a guest of this process does, and as the process itself may.
    let options = crate::fixture::READ;
    drop(place.directory.open_at("lock", false, &options).unwrap());
    drop(place.opened());
    let other = place.opened();
    assert!(!try_lock(&other, WRITER), "still locked");
    drop(writing);
    drop(place.locked(libc::F_WRLCK));
}

#[test]
fn who_waits_in_another_process_comes_before_who_has_just_written() {
    let place = Place::new();
    let other = place.opened();
    let writing = place.try_for(PATIENT).unwrap();
    // It waits, as `kernel` does it: nothing that it needs is held until it is its turn.
    assert!(try_lock(&other, NEXT), "there is room for the next");
    assert!(!try_lock(&other, WRITER));
    drop(writing);
    assert_eq!(place.try_for(SHORT).err(), held(Holder::Nameless));
    // It has written, and ends.
    drop(other);
    assert!(place.try_for(PATIENT).is_ok());
}

#[test]
fn who_finds_no_thread_to_wait_with_waits_for_one() {
    let _threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let held_up: Vec<Place> = (0..MANY).map(|_| Place::new()).collect();
    let holders: Vec<File> = held_up
        .iter()
        .map(|place| place.locked(libc::F_RDLCK))
        .collect();
    for place in &held_up {
        let begun = Instant::now();
        assert_eq!(place.try_for(SHORT).err(), held(Holder::Nameless));
        assert!(begun.elapsed() >= SHORT, "told at once");
    }
    // What is free needs none.
    let a_while = Duration::from_secs(1);
    assert!(Place::new().try_for(a_while).is_ok());
    let start = Barrier::new(MANY + 1);
    std::thread::scope(|scope| {
        for place in &held_up {
            scope.spawn(|| {
                start.wait();
                drop(place.try_for(PATIENT).unwrap());
            });
        }
        start.wait();
        drop(holders);
    });
}

#[test]
fn nobody_waits_longer_than_they_said() {
    let _threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let first = place.try_for(PATIENT).unwrap();
    for patience in [Duration::ZERO, SHORT] {
        assert_eq!(place.try_for(patience).err(), held(Holder::Here));
    }
    drop(first);
    // Whoever may read the file can do that.
    let reader = place.locked(libc::F_RDLCK);
    for patience in [Duration::ZERO, SHORT, SHORT] {
        assert_eq!(place.try_for(patience).err(), held(Holder::Nameless));
    }
    // Those behind one who is held up are told who holds it, not who is before them.
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let try_it = || {
            start.wait();
            place.try_for(SHORT).err()
        };
        for one in [scope.spawn(try_it), scope.spawn(try_it)] {
            assert_eq!(one.join().unwrap(), held(Holder::Nameless));
        }
    });
    drop(reader);
    // The lock that came when nobody wanted it was given back.
    drop(place.try_for(PATIENT).unwrap());
    drop(place.locked(libc::F_WRLCK));
}

#[test]
fn who_waits_is_served_when_the_other_process_ends() {
    let place = Place::new();
    let other = place.locked(libc::F_WRLCK);
    assert_eq!(place.try_for(SHORT).err(), held(Holder::Nameless));
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                start.wait();
                drop(place.try_for(PATIENT).unwrap());
            });
        }
        start.wait();
        drop(other);
    });
}

#[test]
fn a_file_that_is_replaced_is_not_the_one_that_is_locked() {
    let place = Place::new();
    let old = place.locked(libc::F_WRLCK);
    assert_eq!(place.try_for(SHORT).err(), held(Holder::Nameless));
    // Whoever still holds the old one holds nobody up.
    std::fs::remove_file(&place.file).unwrap();
    let writing = place.try_for(PATIENT).unwrap();
    assert!(!try_lock(&place.opened(), WRITER), "the new one is locked");
    drop((writing, old));
}

#[test]
fn a_process_that_holds_the_file_is_told_by_its_number() {
    if let Some(path) = std::env::var_os(OTHER) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        fcntl_lock(&file, FlockOperation::LockShared).unwrap();
        // Not by a macro, which would be kept for the test's own report.
        std::io::stdout().write_all(b"locked\n").unwrap();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let place = Place::new();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", std::thread::current().name().unwrap()])
        .env(OTHER, &place.file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = other.stdout.take().unwrap();
    while !said.contains("locked") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let number = i32::try_from(other.id()).unwrap();
    assert_eq!(place.try_for(SHORT).err(), held(Holder::Process(number)));
    // It ends, and its lock with it.
    drop(other.stdin.take());
    assert!(place.try_for(PATIENT).is_ok());
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert!(other.wait().unwrap().success());
}
