//! hostPath types, and paths that change after they were checked.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use model::runtime::VolumeSource;
use model::volume::HostPathType;

use crate::fixture::{Pod, READ, get, mount, names, put, root, spec};
use crate::{FsError, MountTable, PodVolumes};

/// A pod with one hostPath at `path` of its temporary directory, after `prepare`.
fn with_type(path: &str, kind: HostPathType, prepare: impl FnOnce(&std::path::Path)) -> Pod {
    Pod::with(|scratch| {
        prepare(scratch);
        let source = VolumeSource::Host {
            path: scratch.join(path),
            kind,
        };
        [("host".to_owned(), spec(source))].into()
    })
}

#[test]
fn types_are_checked_and_made_as_kubelet_does() {
    use HostPathType as Type;
    for (path, kind, expected) in [
        ("dir", Type::Unset, None),
        ("file", Type::Unset, None),
        ("none/below", Type::Unset, None),
        ("dir", Type::Directory, None),
        ("to-dir", Type::Directory, None),
        ("file", Type::Directory, Some("is not a directory")),
        ("none", Type::Directory, Some("is not a directory")),
        ("none/below", Type::DirectoryOrCreate, None),
        ("file", Type::DirectoryOrCreate, Some("is not a directory")),
        ("file", Type::File, None),
        ("dir", Type::File, Some("is not a file")),
        ("none", Type::File, Some("is not a file")),
        ("none", Type::FileOrCreate, None),
        ("dir", Type::FileOrCreate, Some("is not a file")),
        ("none/below", Type::FileOrCreate, Some("cannot make file")),
        ("socket", Type::Socket, None),
        ("file", Type::Socket, Some("is not a socket file")),
        ("file", Type::CharDevice, Some("is not a character device")),
        ("file", Type::BlockDevice, Some("is not a block device")),
        ("dangling", Type::Directory, Some("is not a directory")),
        (
            "dir/../dir",
            Type::Directory,
            Some("must be absolute and without '..'"),
        ),
    ] {
        let mut listener = None;
        let pod = with_type(path, kind, |scratch| {
            std::fs::create_dir(scratch.join("dir")).unwrap();
            std::fs::write(scratch.join("file"), "").unwrap();
            symlink("dir", scratch.join("to-dir")).unwrap();
            symlink("nowhere", scratch.join("dangling")).unwrap();
            listener = Some(UnixListener::bind(scratch.join("socket")).unwrap());
        });
        let checked = pod.volumes.check().map_err(|error| error.to_string());
        match (expected, checked) {
            (None, Ok(())) => assert!(pod.path(path).exists(), "{path} {kind:?}"),
            (Some(problem), Err(text)) => {
                assert!(
                    text.contains(problem) && text.contains(path) && text.contains("\"host\""),
                    "{text}"
                );
            }
            (expected, checked) => panic!("{path} {kind:?}: {expected:?}, not {checked:?}"),
        }
    }
}

#[test]
fn what_is_made_has_kubelets_modes() {
    for (kind, mode) in [
        (HostPathType::DirectoryOrCreate, 0o755),
        (HostPathType::FileOrCreate, 0o644),
    ] {
        let pod = with_type("made", kind, |_| {});
        pod.volumes.check().unwrap();
        let found = std::fs::metadata(pod.path("made"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(found, mode, "{kind:?}");
    }
}

#[test]
fn a_missing_path_is_made_for_the_guest_that_comes_first() {
    let pod = with_type("made/below", HostPathType::DirectoryOrCreate, |_| {});
    let top = pod.table(&[("host", "/data")]).root();
    assert!(!pod.path("made").exists());
    put(&top, "data/file", "from the guest");
    assert_eq!(
        std::fs::read_to_string(pod.path("made/below/file")).unwrap(),
        "from the guest"
    );
    pod.volumes.remove().unwrap();
    assert!(
        pod.path("made/below/file").exists(),
        "what a hostPath names is the node's"
    );
}

#[test]
fn a_wrong_type_is_an_error_for_the_guest_too() {
    let pod = with_type("none", HostPathType::Directory, |_| {});
    let top = pod.table(&[("host", "/data")]).root();
    assert_eq!(top.stat_at("data/file", true).err(), Some(FsError::NoEntry));
    assert_eq!(names(&top), ["data"]);
}

#[test]
fn a_single_file_is_mounted() {
    let pod = with_type("to-file", HostPathType::File, |scratch| {
        std::fs::write(scratch.join("file"), "of the node").unwrap();
        symlink("file", scratch.join("to-file")).unwrap();
    });
    let top = pod.table(&[("host", "/etc/file")]).root();
    assert_eq!(get(&top, "etc/file"), Ok("of the node".to_owned()));
    put(&top, "etc/file", "of the guest");
    assert!(
        std::fs::read_to_string(pod.path("file"))
            .unwrap()
            .starts_with("of the guest")
    );
}

#[test]
fn a_path_is_resolved_once() {
    let pod = with_type("shared/file", HostPathType::File, |scratch| {
        std::fs::create_dir_all(scratch.join("shared/dir")).unwrap();
        std::fs::write(scratch.join("shared/file"), "public").unwrap();
        std::fs::write(scratch.join("secret"), "secret").unwrap();
    });
    pod.volumes.check().unwrap();
    let top = pod.table(&[("host", "/file")]).root();
    assert_eq!(get(&top, "file"), Ok("public".to_owned()));
    // Another mount of the same pod lets a guest put a link there.
    std::fs::remove_file(pod.path("shared/file")).unwrap();
    symlink("../secret", pod.path("shared/file")).unwrap();
    assert_eq!(get(&top, "file"), Err(FsError::Loop));
    std::fs::rename(pod.path("shared"), pod.path("moved")).unwrap();
    symlink("moved", pod.path("shared")).unwrap();
    assert_eq!(get(&top, "file"), Err(FsError::Loop));
}

#[test]
fn names_can_be_walked_without_openat2() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().canonicalize().unwrap();
    std::fs::create_dir_all(path.join("a/b")).unwrap();
    symlink("a", path.join("link")).unwrap();
    assert!(super::open_name_by_name(&path.join("a/b")).is_ok());
    for open in [super::open_name_by_name, super::open_exactly] {
        assert!(open(&path.join("link/b")).is_err());
        assert!(open(&path.join("link")).is_err());
    }
}

#[test]
fn a_directory_may_be_handed_over() {
    let pod = with_type("host", HostPathType::Directory, |scratch| {
        std::fs::create_dir(scratch.join("host")).unwrap();
        std::fs::write(scratch.join("host/file"), "handed").unwrap();
    });
    let open = || std::os::fd::OwnedFd::from(std::fs::File::open(pod.path("host")).unwrap());
    let specs = |path: &str| {
        let source = VolumeSource::Host {
            path: path.into(),
            kind: HostPathType::Directory,
        };
        [("host".to_owned(), spec(source))].into()
    };
    // The path leads nowhere in this process.
    let volumes =
        PodVolumes::new(pod.path("pod"), specs("/nowhere/at/all")).with_host_dir("host", open());
    volumes.check().unwrap();
    let table = MountTable::new(&volumes, root("one"), &[mount("host", "/data")]).unwrap();
    assert_eq!(get(&table.root(), "data/file"), Ok("handed".to_owned()));
    assert_eq!(
        table.root().open_at("data/../../x", true, &READ).err(),
        Some(FsError::NotPermitted)
    );

    let volumes =
        PodVolumes::new(pod.path("pod"), specs("/nowhere")).with_host_file("host", open(), "file");
    let table = MountTable::new(&volumes, root("one"), &[mount("host", "/one")]).unwrap();
    assert_eq!(get(&table.root(), "one"), Ok("handed".to_owned()));
}
