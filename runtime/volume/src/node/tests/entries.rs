//! Names: making, removing, renaming, linking; slashes; mount points.

use super::directory;
use crate::fixture::{DIRECTORY, Pod, empty, file_spec, files, get, names, put, spec};
use crate::{FileKind, FsError, Node};
use model::runtime::VolumeSource;

#[test]
fn directories() {
    let (_pod, at) = directory();
    put(&at, "file", "");
    at.symlink_at("..", "above").unwrap();
    for (path, expected) in [
        ("", Err(FsError::NoEntry)),
        (".", Err(FsError::Exist)),
        ("..", Err(FsError::NotPermitted)),
        ("/", Err(FsError::NotPermitted)),
        ("../q", Err(FsError::NotPermitted)),
        ("above/foo", Err(FsError::NotPermitted)),
        ("file", Err(FsError::Exist)),
        ("above", Err(FsError::Exist)),
        ("none/q", Err(FsError::NoEntry)),
        ("q", Ok(())),
        ("q", Err(FsError::Exist)),
        ("q/r///", Ok(())),
    ] {
        assert_eq!(at.create_directory_at(path), expected, "make {path:?}");
    }
    at.symlink_at("q", "link").unwrap();
    for (path, expected) in [
        ("", Err(FsError::NoEntry)),
        (".", Err(FsError::Invalid)),
        ("..", Err(FsError::NotPermitted)),
        ("/", Err(FsError::NotPermitted)),
        ("q/../../q", Err(FsError::NotPermitted)),
        ("above/q", Err(FsError::NotPermitted)),
        ("above", Err(FsError::NotDirectory)),
        ("above/", Err(FsError::NotPermitted)),
        ("link", Err(FsError::NotDirectory)),
        ("link/", Err(FsError::NotDirectory)),
        ("file", Err(FsError::NotDirectory)),
        ("file/", Err(FsError::NotDirectory)),
        ("none", Err(FsError::NoEntry)),
        ("q", Err(FsError::NotEmpty)),
        ("q/r/", Ok(())),
        ("q", Ok(())),
    ] {
        assert_eq!(at.remove_directory_at(path), expected, "remove {path:?}");
    }
}

#[test]
fn unlinking() {
    let (_pod, at) = directory();
    put(&at, "file", "");
    at.create_directory_at("dir").unwrap();
    at.symlink_at("dir", "link").unwrap();
    at.symlink_at("..", "above").unwrap();
    for (path, expected) in [
        ("", Err(FsError::NoEntry)),
        (".", Err(FsError::IsDirectory)),
        ("..", Err(FsError::NotPermitted)),
        ("/etc/passwd", Err(FsError::NotPermitted)),
        ("none", Err(FsError::NoEntry)),
        ("above/x", Err(FsError::NotPermitted)),
        ("dir", Err(FsError::IsDirectory)),
        ("dir/", Err(FsError::IsDirectory)),
        ("file/", Err(FsError::NotDirectory)),
        ("link/", Err(FsError::NotDirectory)),
        ("link", Ok(())),
        ("above", Ok(())),
        ("file", Ok(())),
    ] {
        assert_eq!(at.unlink_file_at(path), expected, "{path:?}");
    }
    assert_eq!(names(&at), ["dir"]);
}

/// Renames within one directory.
fn rename(at: &Node, old: &str, new: &str) -> Result<(), FsError> {
    at.rename_at(old, at, new)
}

#[test]
fn renaming() {
    let (_pod, at) = directory();
    put(&at, "file", "file");
    put(&at, "other", "other");
    at.create_directory_at("dir").unwrap();
    at.create_directory_at("full").unwrap();
    at.create_directory_at("empty").unwrap();
    put(&at, "full/inner", "");
    at.symlink_at("file", "link").unwrap();
    for (old, new, expected) in [
        ("file", "file", Ok(())),
        ("none", "x", Err(FsError::NoEntry)),
        (".", "x", Err(FsError::Invalid)),
        ("file", ".", Err(FsError::Invalid)),
        ("file", "../x", Err(FsError::NotPermitted)),
        ("file", "/tmp/x", Err(FsError::NotPermitted)),
        ("file", "dir", Err(FsError::IsDirectory)),
        ("file", "x/", Err(FsError::NotDirectory)),
        ("file/", "x", Err(FsError::NotDirectory)),
        ("dir", "file", Err(FsError::NotDirectory)),
        ("dir", "full", Err(FsError::NotEmpty)),
        ("dir", "dir/below", Err(FsError::Invalid)),
        ("dir", "full/inner", Err(FsError::NotDirectory)),
        ("dir", "empty", Ok(())),
        ("empty/", "dir", Ok(())),
        ("dir", "dir2/", Ok(())),
        ("dir2/", "dir/", Ok(())),
        ("file", "link", Ok(())),
        ("link", "other", Ok(())),
        ("other", "full/moved", Ok(())),
    ] {
        assert_eq!(rename(&at, old, new), expected, "{old} to {new}");
    }
    assert_eq!(get(&at, "full/moved"), Ok("file".to_owned()));
    assert_eq!(names(&at), ["dir", "full"]);
    let full = at.open_at("full", false, &DIRECTORY).unwrap();
    full.rename_at("moved", &at, "back").unwrap();
    assert_eq!(names(&at), ["back", "dir", "full"]);
}

#[test]
fn second_names() {
    let (_pod, at) = directory();
    put(&at, "file", "file");
    at.create_directory_at("dir").unwrap();
    at.symlink_at("none", "dangling").unwrap();
    at.symlink_at("file", "link").unwrap();
    at.symlink_at("..", "above").unwrap();
    for (old, follow, new, expected) in [
        (".", false, "x", Err(FsError::NotPermitted)),
        ("dir", false, "x", Err(FsError::NotPermitted)),
        ("", false, "x", Err(FsError::NoEntry)),
        ("file", false, "", Err(FsError::NoEntry)),
        ("/", false, "x", Err(FsError::NotPermitted)),
        ("file", false, "/x", Err(FsError::NotPermitted)),
        ("..", false, "x", Err(FsError::NotPermitted)),
        ("file", false, "..", Err(FsError::NotPermitted)),
        ("above/x", false, "x", Err(FsError::NotPermitted)),
        ("file", false, "above/x", Err(FsError::NotPermitted)),
        ("file", false, "file", Err(FsError::Exist)),
        ("file", false, "dir", Err(FsError::Exist)),
        ("file", false, "dangling", Err(FsError::Exist)),
        ("file", false, "new/", Err(FsError::NoEntry)),
        ("file/", false, "x", Err(FsError::NotDirectory)),
        ("dangling", true, "x", Err(FsError::NoEntry)),
        ("dangling", false, "dangling2", Ok(())),
        ("link", false, "link2", Ok(())),
        ("link", true, "file2", Ok(())),
        ("file", false, "dir/file", Ok(())),
    ] {
        assert_eq!(
            at.link_at(old, follow, &at, new),
            expected,
            "{old} {follow} to {new}"
        );
    }
    for (path, kind) in [
        ("dangling2", FileKind::SymbolicLink),
        ("link2", FileKind::SymbolicLink),
        ("file2", FileKind::RegularFile),
    ] {
        assert_eq!(at.stat_at(path, false).unwrap().kind, kind);
    }
    assert_eq!(at.stat_at("file", false).unwrap().link_count, 3);
}

#[test]
fn links() {
    let (_pod, at) = directory();
    put(&at, "file", "");
    at.create_directory_at("dir").unwrap();
    let long = "x".repeat(4096);
    for (target, path, expected) in [
        ("/", "x", Err(FsError::NotPermitted)),
        ("/etc/passwd", "x", Err(FsError::NotPermitted)),
        ("", "x", Err(FsError::NoEntry)),
        ("a\0b", "x", Err(FsError::Invalid)),
        (&long, "x", Err(FsError::NameTooLong)),
        ("a", "x/", Err(FsError::NoEntry)),
        ("a", "dir/", Err(FsError::Exist)),
        ("a", "dir", Err(FsError::Exist)),
        ("a", "file", Err(FsError::Exist)),
        ("a", "file/", Err(FsError::Exist)),
        ("a", "x", Ok(())),
    ] {
        assert_eq!(
            at.symlink_at(target, path),
            expected,
            "{target:.20} at {path}"
        );
    }
}

/// A container with mounts beside and inside each other.
fn mounted() -> (Pod, Node) {
    let hosts = VolumeSource::File(file_spec("hosts", "127.0.0.1 localhost\n"));
    let pod = Pod::new([
        ("data", empty()),
        ("other", empty()),
        ("config", files(&[("key", "value")])),
        ("hosts", spec(hosts)),
    ]);
    let table = pod.table(&[
        ("data", "/data"),
        ("other", "/data/in/other"),
        ("config", "/config"),
        ("hosts", "/etc/hosts"),
        ("data", "/again"),
    ]);
    let top = table.root();
    put(&top, "file", "root");
    put(&top, "data/file", "data");
    put(&top, "data/in/file", "beside");
    (pod, top)
}

#[test]
fn mount_points_stay() {
    let (_pod, top) = mounted();
    for path in ["data", "data/in", "data/in/other", "config", "etc"] {
        assert_eq!(top.remove_directory_at(path), Err(FsError::Busy), "{path}");
        assert_eq!(rename(&top, path, "x"), Err(FsError::Busy), "{path}");
        assert_eq!(
            top.unlink_file_at(path),
            Err(FsError::IsDirectory),
            "{path}"
        );
        assert_eq!(top.create_directory_at(path), Err(FsError::Exist), "{path}");
    }
    assert_eq!(top.unlink_file_at("etc/hosts"), Err(FsError::Busy));
    assert_eq!(rename(&top, "etc/hosts", "x"), Err(FsError::Busy));
    assert_eq!(rename(&top, "file", "etc/hosts"), Err(FsError::Busy));
    assert_eq!(top.create_directory_at("etc/hosts"), Err(FsError::Exist));
    assert_eq!(
        top.remove_directory_at("etc/hosts"),
        Err(FsError::NotDirectory)
    );
    put(&top, "etc/hosts", "127.0.0.1 me\n");
    assert!(
        get(&top, "etc/hosts")
            .unwrap()
            .starts_with("127.0.0.1 me\n")
    );
}

#[test]
fn mounts_are_apart() {
    let (pod, top) = mounted();
    for (old, new) in [
        ("file", "data/x"),
        ("data/file", "x"),
        ("data/file", "again/x"),
        ("data/file", "data/in/other/x"),
    ] {
        let apart = Err(FsError::CrossDevice);
        assert_eq!(rename(&top, old, new), apart, "{old} to {new}");
        assert_eq!(top.link_at(old, false, &top, new), apart, "{old} to {new}");
    }
    assert_eq!(
        top.link_at("etc/hosts", false, &top, "x"),
        Err(FsError::CrossDevice)
    );
    let another = pod.table(&[("data", "/data")]);
    assert_eq!(
        top.rename_at("data/file", &another.root(), "data/x"),
        Err(FsError::CrossDevice)
    );
    assert_eq!(rename(&top, "data/file", "data/in/moved"), Ok(()));
}
