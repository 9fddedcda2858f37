//! Opening: kinds, flags, links, slashes, read-only mounts.

use super::directory;
use crate::fixture::{
    CREATE, DIRECTORY, NOTHING, Pod, READ, WRITE, empty, files, get, mount, names, put, root,
};
use crate::{FileKind, FsError, MountTable, Node, NodeFlags, OpenOptions, SetTime};
use model::runtime::MountSpec;

const TRUNCATE: OpenOptions = OpenOptions {
    truncate: true,
    ..NOTHING
};
const EXCLUSIVE: OpenOptions = OpenOptions {
    exclusive: true,
    ..CREATE
};

fn open(at: &Node, path: &str, follow: bool, options: &OpenOptions) -> Result<FileKind, FsError> {
    at.open_at(path, follow, options).map(|node| node.kind())
}

#[test]
fn what_opens_and_what_does_not() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    at.create_directory_at("dir").unwrap();
    for (link, target) in [
        ("to-file", "file"),
        ("to-dir", "dir"),
        ("self", "self"),
        ("dangling", "none"),
    ] {
        at.symlink_at(target, link).unwrap();
    }
    let (file, dir) = (FileKind::RegularFile, FileKind::Directory);
    for (path, follow, options, expected) in [
        ("file", false, READ, Ok(file)),
        ("file", false, NOTHING, Ok(file)),
        ("file", false, DIRECTORY, Err(FsError::NotDirectory)),
        ("file/", false, READ, Err(FsError::NotDirectory)),
        ("file///", false, CREATE, Err(FsError::NotDirectory)),
        ("dir", false, READ, Ok(dir)),
        ("dir/", false, DIRECTORY, Ok(dir)),
        (".", false, DIRECTORY, Ok(dir)),
        (".", false, WRITE, Err(FsError::IsDirectory)),
        ("dir", false, WRITE, Err(FsError::IsDirectory)),
        ("dir", false, CREATE, Err(FsError::IsDirectory)),
        ("dir", false, TRUNCATE, Err(FsError::IsDirectory)),
        ("dir/..", false, READ, Ok(dir)),
        ("..", false, READ, Err(FsError::NotPermitted)),
        ("", false, READ, Err(FsError::NoEntry)),
        ("/", false, READ, Err(FsError::NotPermitted)),
        ("file\0", false, READ, Err(FsError::Invalid)),
        ("none", false, READ, Err(FsError::NoEntry)),
        ("none/", false, CREATE, Err(FsError::IsDirectory)),
        ("none/file", false, CREATE, Err(FsError::NoEntry)),
        ("file", false, EXCLUSIVE, Err(FsError::Exist)),
        ("dir", false, EXCLUSIVE, Err(FsError::Exist)),
        (".", false, EXCLUSIVE, Err(FsError::Exist)),
        ("dangling", true, EXCLUSIVE, Err(FsError::Exist)),
        ("to-file", false, READ, Err(FsError::Loop)),
        ("to-file", true, READ, Ok(file)),
        ("to-file", true, DIRECTORY, Err(FsError::NotDirectory)),
        ("to-dir", false, DIRECTORY, Err(FsError::Loop)),
        ("to-dir", true, DIRECTORY, Ok(dir)),
        ("to-dir/", false, READ, Ok(dir)),
        ("dangling", false, DIRECTORY, Err(FsError::Loop)),
        ("dangling", false, READ, Err(FsError::Loop)),
        ("dangling", true, READ, Err(FsError::NoEntry)),
        ("self", true, READ, Err(FsError::Loop)),
    ] {
        assert_eq!(
            open(&at, path, follow, &options),
            expected,
            "{path:?} {follow} {options:?}"
        );
    }
}

#[test]
fn what_is_made() {
    let (_pod, at) = directory();
    let both = OpenOptions {
        create: true,
        ..DIRECTORY
    };
    assert_eq!(open(&at, "new", false, &both), Err(FsError::Invalid));
    // Through a dangling link its target is made, as in POSIX.
    at.symlink_at("target", "dangling").unwrap();
    for path in ["plain", "dangling"] {
        assert_eq!(open(&at, path, true, &CREATE), Ok(FileKind::RegularFile));
    }
    assert_eq!(names(&at), ["dangling", "plain", "target"]);
}

#[test]
fn flags_tell_how_it_is_open() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    let create = OpenOptions {
        create: true,
        ..NOTHING
    };
    let shown = |flags: NodeFlags| (flags.read, flags.write, flags.mutate_directory);
    for (path, options, expected) in [
        ("file", NOTHING, (true, false, false)),
        ("file", READ, (true, false, false)),
        ("file", WRITE, (false, true, false)),
        ("file", CREATE, (true, true, false)),
        ("file", create, (true, true, false)),
        (
            "file",
            OpenOptions {
                create: true,
                ..READ
            },
            (true, true, false),
        ),
        (
            "file",
            OpenOptions {
                create: true,
                ..WRITE
            },
            (false, true, false),
        ),
        (".", NOTHING, (true, false, false)),
        (".", DIRECTORY, (true, false, true)),
    ] {
        let flags = at.open_at(path, false, &options).unwrap().flags();
        assert_eq!(shown(flags), expected, "{path} {options:?}");
    }
    let synced = OpenOptions {
        file_integrity_sync: true,
        data_integrity_sync: true,
        ..WRITE
    };
    let flags = at.open_at("file", false, &synced).unwrap().flags();
    assert!(flags.file_integrity_sync && flags.data_integrity_sync && !flags.requested_write_sync);
}

#[test]
fn truncating_empties_and_a_file_is_no_directory() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    let file = at.open_at("file", false, &TRUNCATE).unwrap();
    assert_eq!(file.stat().unwrap().size, 0);
    assert!(file.flags().write);
    assert_eq!(open(&file, "x", false, &CREATE), Err(FsError::NotDirectory));
    assert_eq!(file.stat_at(".", false), Err(FsError::NotDirectory));
    assert_eq!(file.read_dir().err(), Some(FsError::NotDirectory));
}

#[test]
fn an_open_file_outlives_its_name() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    at.create_directory_at("dir").unwrap();
    let file = at.open_at("file", false, &CREATE).unwrap();
    let dir = at.open_at("dir", false, &DIRECTORY).unwrap();
    at.unlink_file_at("file").unwrap();
    at.remove_directory_at("dir").unwrap();
    assert_eq!(file.write_at(b"more", 0), Ok(4));
    assert_eq!(file.stat().unwrap().link_count, 0);
    assert_eq!(open(&dir, "x", false, &CREATE), Err(FsError::NoEntry));
    assert_eq!(open(&at, "file", false, &READ), Err(FsError::NoEntry));
    at.create_directory_at("dir").unwrap();
}

#[test]
fn the_path_is_the_containers() {
    let (_pod, at) = directory();
    at.create_directory_at("dir").unwrap();
    put(&at, "dir/file", "");
    at.symlink_at("dir", "link").unwrap();
    for (path, expected) in [
        ("dir/file", "/data/work/dir/file"),
        ("dir/../dir/file", "/data/work/dir/file"),
        ("dir", "/data/work/dir"),
        (".", "/data/work"),
    ] {
        assert_eq!(at.open_at(path, true, &READ).unwrap().path(), expected);
    }
}

/// A volume that is mounted read-only at /data and writable at /other, and files from an object.
fn read_only() -> (Pod, Node) {
    let pod = Pod::new([("data", empty()), ("config", files(&[("key", "value")]))]);
    let whole = pod.table(&[("data", "/data")]).root();
    put(&whole, "data/file", "content");
    let mounts = [
        MountSpec {
            read_only: true,
            ..mount("data", "/data")
        },
        mount("config", "/config"),
        mount("data", "/other"),
    ];
    let table = MountTable::new(&pod.volumes, root("two"), &mounts).unwrap();
    (pod, table.root())
}

#[test]
fn read_only_mounts_refuse_every_change() {
    let (_pod, top) = read_only();
    for (file, new) in [
        ("data/file", "data/new"),
        ("config/..data/key", "config/new"),
    ] {
        let open = top.open_at(file, true, &READ).unwrap();
        let now = SetTime::Now;
        let changes = [
            top.open_at(new, false, &CREATE).map(drop),
            top.open_at(file, true, &WRITE).map(drop),
            top.open_at(file, true, &TRUNCATE).map(drop),
            top.create_directory_at(new),
            top.symlink_at("x", new),
            top.link_at(file, false, &top, new),
            top.unlink_file_at(file),
            top.rename_at(file, &top, new),
            top.set_times_at(file, true, now, now),
            open.set_times(now, now),
        ];
        for (number, result) in changes.into_iter().enumerate() {
            assert_eq!(result, Err(FsError::ReadOnly), "change {number} of {file}");
        }
        assert_eq!(open.set_size(0), Err(FsError::BadDescriptor));
        // What is there is told first.
        assert_eq!(top.create_directory_at(file), Err(FsError::Exist));
        assert_eq!(top.remove_directory_at(file), Err(FsError::NotDirectory));
    }
    // The same volume is writable where it is mounted so.
    put(&top, "other/file", "changed");
    assert_eq!(get(&top, "data/file"), Ok("changed".to_owned()));
    assert_eq!(get(&top, "config/key"), Ok("value".to_owned()));
}
