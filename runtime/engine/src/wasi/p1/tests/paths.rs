//! Files and directories by name.

use super::*;
use crate::wasi::p1::abi::{oflags, rights};
use crate::wasi::p1::errno::Errno;

/// A call with a name below the root.
async fn at(probe: &mut Probe, call: &str, path: impl AsRef<[u8]>) -> u32 {
    let [at, length] = probe.path(path);
    probe.call(call, &[i(ROOT), at, length]).await
}

#[tokio::test]
async fn names_are_checked_before_they_are_used() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    let long = "a/".repeat(3000);
    let cases: [(&[u8], Errno); 6] = [
        (b"/etc", Errno::Perm),
        (b"../etc", Errno::Perm),
        (b"data/../../etc", Errno::Perm),
        (b"data/\0", Errno::Inval),
        (b"data/\xff", Errno::Ilseq),
        (long.as_bytes(), Errno::Nametoolong),
    ];
    for (path, expected) in cases {
        for call in ["path_create_directory", "path_unlink_file"] {
            let path_text = String::from_utf8_lossy(path);
            assert_eq!(
                at(&mut probe, call, path).await,
                u32::from(expected.number()),
                "{call} {path_text}"
            );
        }
    }
    let outside = [i(ROOT), i(MEMORY - 1), i(2)];
    assert_eq!(
        probe.call("path_create_directory", &outside).await,
        u32::from(Errno::Fault.number())
    );
    for fd in [0, 77] {
        let [at, length] = probe.path("data/x");
        let expected = if fd == 0 { Errno::Notdir } else { Errno::Badf };
        let args = [i(fd), at, length];
        assert_eq!(
            probe.call("path_create_directory", &args).await,
            u32::from(expected.number())
        );
    }
}

#[tokio::test]
async fn entries_are_made_renamed_and_removed() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    assert_eq!(at(&mut probe, "path_create_directory", "data/dir").await, 0);
    assert_eq!(
        at(&mut probe, "path_create_directory", "data/dir").await,
        u32::from(Errno::Exist.number())
    );
    let fd = probe
        .open(
            "data/dir/file",
            oflags::CREAT | oflags::EXCL,
            rights::FD_WRITE,
            0,
        )
        .await
        .unwrap();
    assert_eq!(probe.write(fd, b"text").await, Ok(4));
    let old = probe.path("data/dir/file");
    probe.put(6000, b"data/moved");
    let [old_at, old_length] = old;
    let rename = [i(ROOT), old_at, old_length, i(ROOT), i(6000), i(10)];
    probe.done("path_rename", &rename).await;
    assert_eq!(std::fs::read(pod.data().join("moved")).unwrap(), b"text");
    let [at_, length] = probe.path("data/moved");
    probe.put(6000, b"data/linked");
    probe
        .done(
            "path_link",
            &[i(ROOT), i(0), at_, length, i(ROOT), i(6000), i(11)],
        )
        .await;
    assert_eq!(at(&mut probe, "path_unlink_file", "data/moved").await, 0);
    assert_eq!(std::fs::read(pod.data().join("linked")).unwrap(), b"text");
    assert_eq!(at(&mut probe, "path_remove_directory", "data/dir").await, 0);
    assert!(!pod.data().join("dir").exists());
}

#[tokio::test]
async fn links_are_followed_only_where_asked() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "12345").unwrap();
    let [at, length] = probe.path("data/link");
    probe.put(6000, b"file");
    probe
        .done("path_symlink", &[i(6000), i(4), i(ROOT), at, length])
        .await;
    for (lookup, file_type, size) in [(0, 7, 4), (1, 4, 5)] {
        let args = [i(ROOT), i(lookup), at, length, i(200)];
        probe.done("path_filestat_get", &args).await;
        assert_eq!(
            (probe.get(216, 1), probe.long(232)),
            (vec![file_type], size),
            "lookup {lookup}"
        );
    }
    let refused = [i(ROOT), i(2), at, length, i(200)];
    assert_eq!(
        probe.call("path_filestat_get", &refused).await,
        u32::from(Errno::Inval.number())
    );
    let times = [i(ROOT), i(1), at, length, l(0), l(9_000_000_000), i(4)];
    probe.done("path_filestat_set_times", &times).await;
    let modified = std::fs::metadata(pod.data().join("file"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(modified, std::time::UNIX_EPOCH + Duration::from_secs(9));
}

#[tokio::test]
async fn a_links_target_is_cut_where_the_buffer_ends() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::os::unix::fs::symlink("file", pod.data().join("link")).unwrap();
    let [at, length] = probe.path("data/link");
    for (room, cut) in [(100, "file"), (2, "fi"), (0, "")] {
        probe.put(200, &[b'-'; 8]);
        probe
            .done(
                "path_readlink",
                &[i(ROOT), at, length, i(200), i(room), i(0)],
            )
            .await;
        assert_eq!(probe.number(0) as usize, cut.len());
        assert_eq!(
            probe.get(200, cut.len() + 1),
            format!("{cut}-").into_bytes()
        );
    }
}

#[tokio::test]
async fn a_link_never_leads_out_of_the_container() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "inside").unwrap();
    for (name, target, expected) in [
        // From the container's own root.
        (
            "data/absolute",
            "/etc/passwd",
            Err(u32::from(Errno::Noent.number())),
        ),
        ("data/own", "/data/file", Ok(b"inside".to_vec())),
        (
            "data/relative",
            "../../../../../etc/passwd",
            Err(u32::from(Errno::Perm.number())),
        ),
    ] {
        std::os::unix::fs::symlink(target, pod.directory.path().join(name)).unwrap();
        let opened = probe.open(name, 0, rights::FD_READ, 0).await;
        let read = match opened {
            Ok(fd) => probe.read(fd, 100).await,
            Err(errno) => Err(errno),
        };
        assert_eq!(read, expected, "{name}");
    }
}
