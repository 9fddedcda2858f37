//! Guests, and others who share a directory with them, that try to get out or to hold us up.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};

use crate::fixture::{CREATE, Pod, READ, WRITE, get, mount, put, root, while_swapping};
use crate::{FileKind, FsError, MountTable, Node, RootSpec};

/// A hostPath at /data with the secret beside it on the node, and a guest inside.
fn beside_a_secret() -> (Pod, Node) {
    let pod = Pod::with_host();
    std::fs::create_dir(pod.path("outside")).unwrap();
    std::fs::write(pod.path("outside/file"), "secret").unwrap();
    let top = pod.table(&[("host", "/data")]).root();
    (pod, top)
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let (pod, top) = beside_a_secret();
    let data = pod.path("host");
    std::fs::create_dir_all(data.join("dir/below")).unwrap();
    std::fs::write(data.join("dir/file"), "public").unwrap();
    for (target, path) in [
        ("../outside".to_owned(), "data/dir/file"),
        ("../outside".to_owned(), "data/dir/below/../file"),
        (
            pod.path("outside").to_str().unwrap().to_owned(),
            "data/dir/file",
        ),
        ("../outside/.".to_owned(), "data/dir/./file"),
    ] {
        symlink(&target, data.join("link")).unwrap();
        while_swapping(&data, "dir", "link", |_| match get(&top, path) {
            Ok(content) => assert_eq!(content, "public"),
            Err(error) => assert!(
                matches!(
                    error,
                    FsError::NotPermitted
                        | FsError::NoEntry
                        | FsError::NotDirectory
                        | FsError::Busy
                ),
                "{error:?}"
            ),
        });
        let link = if data.join("link").is_symlink() {
            "link"
        } else {
            "dir"
        };
        std::fs::remove_file(data.join(link)).unwrap();
        if link == "dir" {
            std::fs::rename(data.join("link"), data.join("dir")).unwrap();
        }
    }
}

#[test]
fn a_directory_swapped_for_a_link_above_an_images_root_leads_nowhere() {
    let (pod, _) = beside_a_secret();
    let data = pod.path("host");
    std::fs::create_dir(pod.path("image")).unwrap();
    std::fs::create_dir_all(data.join("dir/below")).unwrap();
    std::fs::write(data.join("dir/file"), "public").unwrap();
    let spec = RootSpec {
        image: Some(pod.path("image")),
        ..root("one")
    };
    let table = MountTable::new(&pod.volumes, spec, &[mount("host", "/data")]).unwrap();
    let top = table.root();
    let above = "../".repeat(30);
    let outside = format!("{above}{}", pod.path("outside").display());
    symlink(outside, data.join("link")).unwrap();
    let seen = std::cell::Cell::new(0);
    while_swapping(&data, "dir", "link", |round| {
        let path = ["data/dir/file", "data/dir/below/../file"][round % 2];
        match get(&top, path) {
            Ok(content) => {
                assert_eq!(content, "public");
                seen.set(seen.get() + 1);
            }
            Err(error) => assert!(
                matches!(
                    error,
                    FsError::NoEntry | FsError::NotDirectory | FsError::Busy
                ),
                "{error:?}"
            ),
        }
    });
    assert!(seen.get() > 0);
}

#[test]
fn nothing_is_made_or_removed_through_a_swapped_directory() {
    let (pod, top) = beside_a_secret();
    let data = pod.path("host");
    std::fs::create_dir(data.join("dir")).unwrap();
    symlink("../outside", data.join("link")).unwrap();
    while_swapping(&data, "dir", "link", |round| {
        let name = format!("data/dir/made-{round}");
        // Each may succeed or fail; what counts is where.
        let _either = top.open_at(&name, true, &CREATE);
        let _either = top.create_directory_at(&format!("{name}-d"));
        let _either = top.symlink_at("x", &format!("{name}-l"));
        let _either = top.rename_at("data/dir/file", &top, &format!("{name}-r"));
        let _either = top.unlink_file_at("data/dir/file");
        let _either = top.link_at(
            "data/dir/file",
            false,
            &top,
            &format!("data/linked-{round}"),
        );
    });
    let outside: Vec<_> = std::fs::read_dir(pod.path("outside"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(outside, ["file"]);
    assert_eq!(
        std::fs::read_to_string(pod.path("outside/file")).unwrap(),
        "secret"
    );
    assert!(!std::fs::exists(data.join("linked-0")).unwrap());
}

#[test]
fn a_file_swapped_for_a_link_or_a_fifo_neither_leads_out_nor_blocks() {
    let (pod, top) = beside_a_secret();
    let data = pod.path("host");
    std::fs::write(data.join("file"), "public").unwrap();
    symlink("../outside/file", data.join("link")).unwrap();
    while_swapping(&data, "file", "link", |_| match get(&top, "data/file") {
        Ok(content) => assert_eq!(content, "public"),
        // The link's target names something of the container, where nothing is.
        Err(error) => assert!(
            matches!(error, FsError::NoEntry | FsError::Busy),
            "{error:?}"
        ),
    });
    let file = if data.join("link").is_symlink() {
        "file"
    } else {
        "link"
    };
    fifo(&data.join("fifo"));
    while_swapping(&data, file, "fifo", |round| {
        let options = [READ, WRITE, CREATE][round % 3];
        match top.open_at(&format!("data/{file}"), true, &options) {
            Ok(node) => assert_eq!(node.kind(), FileKind::RegularFile),
            Err(error) => assert!(
                matches!(error, FsError::NoSuchDevice | FsError::Busy),
                "{error:?}"
            ),
        }
    });
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

#[test]
fn only_files_and_directories_open() {
    let (pod, top) = beside_a_secret();
    let data = pod.path("host");
    fifo(&data.join("fifo"));
    let _listener = UnixListener::bind(data.join("socket")).unwrap();
    symlink("fifo", data.join("link")).unwrap();
    for (name, kind) in [
        ("fifo", FileKind::Fifo),
        ("socket", FileKind::Socket),
        ("link", FileKind::Fifo),
    ] {
        let path = format!("data/{name}");
        for options in [READ, WRITE, CREATE] {
            assert_eq!(
                top.open_at(&path, true, &options).err(),
                Some(FsError::NoSuchDevice),
                "{name}"
            );
        }
        assert_eq!(top.stat_at(&path, true).unwrap().kind, kind);
    }
    // They can be renamed and removed like any name.
    top.rename_at("data/fifo", &top, "data/renamed").unwrap();
    top.unlink_file_at("data/renamed").unwrap();
}

#[test]
fn devices_lead_nowhere() {
    let pod = Pod::new([("dev", crate::fixture::host("/dev".into()))]);
    let top = pod.table(&[("dev", "/dev")]).root();
    for path in ["dev/null", "dev/zero"] {
        assert_eq!(
            top.open_at(path, true, &READ).err(),
            Some(FsError::NoSuchDevice),
            "{path}"
        );
    }
}

#[test]
fn a_moved_directory_does_not_take_its_descriptor_out() {
    let (pod, top) = beside_a_secret();
    put(&top, "data/note", "in the volume");
    top.create_directory_at("data/a").unwrap();
    top.create_directory_at("data/a/b").unwrap();
    let inner = top
        .open_at("data/a/b", false, &crate::fixture::DIRECTORY)
        .unwrap();
    // Moved out of the volume by somebody on the node: what is above it is the node's.
    std::fs::rename(pod.path("host/a/b"), pod.path("outside/b")).unwrap();
    for path in ["../file", "../../host/note", ".."] {
        assert_eq!(
            inner.stat_at(path, true).err(),
            Some(FsError::NotPermitted),
            "{path}"
        );
    }
    symlink("../file", pod.path("outside/b/link")).unwrap();
    assert_eq!(get(&inner, "link"), Err(FsError::NotPermitted));
}

#[test]
fn processes_of_the_machine_are_no_files_wherever_a_path_comes_to_them() {
    let pod = Pod::new([("machine", crate::fixture::host("/".into()))]);
    let top = pod.table(&[("machine", "/m")]).root();
    // The memory of the process that opens it; a link to a process; what is told of another.
    for path in [
        "m/proc",
        "m/proc/self",
        "m/proc/self/mem",
        "m/proc/self/maps",
        "m/proc/self/../1/environ",
        "m/proc/thread-self/mem",
        "m/proc/sys/kernel/hostname",
        "m/etc/../proc/self/mem",
    ] {
        for options in [&READ, &WRITE] {
            let opened = top.open_at(path, true, options).map(drop);
            let refused = [Err(FsError::Access), Err(FsError::IsDirectory)];
            assert!(refused.contains(&opened), "{path}: {opened:?}");
        }
    }
    assert_eq!(top.readlink_at("m/proc/self/exe"), Err(FsError::Access));
    assert!(top.open_at("m/etc/passwd", true, &READ).is_ok());
}

#[test]
fn no_host_path_is_of_a_process() {
    for path in ["/proc", "/proc/self", "/proc/self/mem", "/proc/1"] {
        let source = model::runtime::VolumeSource::Host {
            path: path.into(),
            kind: model::volume::HostPathType::Unset,
        };
        let pod = Pod::new([("proc", crate::fixture::spec(source))]);
        let error = pod.volumes.check().expect_err(path);
        assert!(error.to_string().contains("is of /proc"), "{error}");
    }
}
