//! One writer at a time in a directory.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::FsError;
use crate::fixture::{Pod, empty, mount, names, root};
use crate::{MountTable, Node};

/// Has threads take turns in a directory, and tells whether two were ever there at once.
fn are_alone(directories: [&Node; 3]) -> bool {
    let (inside, was_shared) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Barrier::new(directories.len());
    std::thread::scope(|scope| {
        for directory in directories {
            scope.spawn(|| {
                start.wait();
                for _ in 0..200 {
                    let _turn = directory.exclusive("lock").unwrap();
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
    assert_eq!(directory.exclusive("lock").err(), Some(FsError::ReadOnly));

    let table = pod.table(&[("data", "/data")]);
    let directory = table.directory("/data").unwrap();
    directory.symlink_at("elsewhere", "lock").unwrap();
    assert_eq!(directory.exclusive("lock").err(), Some(FsError::Loop));
    // The refusal gave the directory back.
    directory.unlink_file_at("lock").unwrap();
    assert!(directory.exclusive("lock").is_ok());
}
