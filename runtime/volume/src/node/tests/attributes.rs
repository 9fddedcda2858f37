//! Attributes: stat, times, links' targets, identity.

use std::os::unix::fs::symlink;

use super::directory;
use crate::fixture::{DIRECTORY, Pod, READ, empty, put};
use crate::{FileKind, FsError, SetTime, Timestamp};

const EARLY: Timestamp = Timestamp {
    seconds: 42,
    nanoseconds: 7,
};
const BEFORE: Timestamp = Timestamp {
    seconds: -1,
    nanoseconds: 999_999_999,
};

#[test]
fn stat_by_path() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    at.symlink_at("file", "link").unwrap();
    at.symlink_at("..", "above").unwrap();
    for (path, follow, expected) in [
        ("file", false, Ok((FileKind::RegularFile, 7))),
        ("link", false, Ok((FileKind::SymbolicLink, 4))),
        ("link", true, Ok((FileKind::RegularFile, 7))),
        ("above", false, Ok((FileKind::SymbolicLink, 2))),
        ("above", true, Err(FsError::NotPermitted)),
        ("above/work", true, Err(FsError::NotPermitted)),
        ("above/", false, Err(FsError::NotPermitted)),
        ("file/", false, Err(FsError::NotDirectory)),
        ("", false, Err(FsError::NoEntry)),
        ("none", true, Err(FsError::NoEntry)),
        ("/", true, Err(FsError::NotPermitted)),
        ("/etc/passwd", true, Err(FsError::NotPermitted)),
        ("..", true, Err(FsError::NotPermitted)),
    ] {
        let found = at.stat_at(path, follow).map(|stat| (stat.kind, stat.size));
        assert_eq!(found, expected, "{path} {follow}");
    }
    assert_eq!(at.stat_at(".", false), at.stat());
}

#[test]
fn times_are_set_on_the_link_or_behind_it() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    at.symlink_at("file", "link").unwrap();
    let before = at.stat_at("file", false).unwrap();
    let link = at.stat_at("link", false).unwrap();

    at.set_times_at("link", false, SetTime::NoChange, SetTime::At(EARLY))
        .unwrap();
    assert_eq!(at.stat_at("link", false).unwrap().modified, EARLY);
    assert_eq!(at.stat_at("file", false).unwrap().modified, before.modified);
    assert_eq!(at.stat_at("link", false).unwrap().accessed, link.accessed);

    at.set_times_at("link", true, SetTime::At(BEFORE), SetTime::NoChange)
        .unwrap();
    let after = at.stat_at("file", false).unwrap();
    assert_eq!((after.accessed, after.modified), (BEFORE, before.modified));

    let file = at.open_at("file", false, &READ).unwrap();
    file.set_times(SetTime::At(EARLY), SetTime::Now).unwrap();
    let after = file.stat().unwrap();
    assert_eq!(after.accessed, EARLY);
    assert!(after.modified >= before.modified);

    let too_many = SetTime::At(Timestamp {
        seconds: 0,
        nanoseconds: 1_000_000_000,
    });
    assert_eq!(
        file.set_times(too_many, SetTime::NoChange),
        Err(FsError::Invalid)
    );
    at.set_times(SetTime::At(EARLY), SetTime::At(EARLY))
        .unwrap();
    assert_eq!(at.stat().unwrap().modified, EARLY);
    for (path, error) in [
        ("none", FsError::NoEntry),
        ("", FsError::NoEntry),
        ("/", FsError::NotPermitted),
        ("..", FsError::NotPermitted),
        ("../foo", FsError::NotPermitted),
    ] {
        assert_eq!(
            at.set_times_at(path, true, SetTime::Now, SetTime::Now),
            Err(error),
            "{path}"
        );
    }
}

#[test]
fn targets_of_links() {
    let (pod, at) = directory();
    put(&at, "file", "content");
    at.symlink_at("../x/./y/", "link").unwrap();
    symlink("/etc", pod.path("pod/volumes/data/work/absolute")).unwrap();
    for (path, expected) in [
        ("link", Ok("../x/./y/".to_owned())),
        ("absolute", Err(FsError::NotPermitted)),
        ("file", Err(FsError::Invalid)),
        (".", Err(FsError::Invalid)),
        ("none", Err(FsError::NoEntry)),
    ] {
        assert_eq!(at.readlink_at(path), expected, "{path}");
    }
}

#[test]
fn identity_is_the_objects() {
    let (_pod, at) = directory();
    put(&at, "a", "a");
    put(&at, "b", "b");
    at.link_at("a", false, &at, "also-a").unwrap();
    let open = |path| at.open_at(path, true, &READ).unwrap();
    let (a, b, also) = (open("a"), open("b"), open("also-a"));
    assert!(a.is_same_object(&also) && a.is_same_object(&a));
    assert!(!a.is_same_object(&b) && !a.is_same_object(&at));
    assert!(at.is_same_object(&open(".")));
    assert_eq!(a.metadata_hash(), at.metadata_hash_at("also-a", false));
    assert_ne!(a.metadata_hash(), b.metadata_hash());
    assert_eq!(at.metadata_hash_at("/", true), Err(FsError::NotPermitted));
    assert_eq!(at.metadata_hash_at("", true), Err(FsError::NoEntry));
}

#[test]
fn a_directory_stays_itself_when_it_becomes_real() {
    let pod = Pod::new([("data", empty())]);
    let table = pod.table(&[("data", "/mnt/data"), ("data", "/same")]);
    let top = table.root();
    for path in [".", "mnt", "mnt/data"] {
        let before = top.stat_at(path, true).unwrap();
        assert_eq!(before.kind, FileKind::Directory);
        let opened = top.open_at(path, true, &DIRECTORY).unwrap();
        put(&top, &format!("{path}/file"), "now it is real");
        assert_eq!(
            top.stat_at(path, true).unwrap().identity,
            before.identity,
            "{path}"
        );
        assert!(opened.is_same_object(&top.open_at(path, true, &DIRECTORY).unwrap()));
    }
    let same = |one, other| {
        table
            .directory(one)
            .unwrap()
            .is_same_object(&table.directory(other).unwrap())
    };
    assert!(same("/mnt/data", "/same") && !same("/mnt", "/same") && !same("/", "/mnt"));
}
