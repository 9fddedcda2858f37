//! Open files, directories and descriptors.

use super::*;
use crate::wasi::p1::abi::{DIRENT, fdflags, oflags, rights};
use crate::wasi::p1::errno::Errno;

const READ_WRITE: u64 = rights::FD_READ | rights::FD_WRITE;

fn errno<T>(result: Result<T, u32>) -> Option<u32> {
    result.err()
}

fn is(errno: Errno) -> u32 {
    u32::from(errno.number())
}

#[tokio::test]
async fn several_buffers_are_written_and_read_in_order() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    let fd = probe
        .open("data/file", oflags::CREAT, READ_WRITE, 0)
        .await
        .unwrap();
    probe.put(1000, b"one, two");
    let [iovs, count] = probe.iovecs(&[(1005, 3), (1000, 0), (1003, 2), (1000, 3)]);
    probe.done("fd_write", &[i(fd), iovs, count, i(0)]).await;
    assert_eq!(probe.number(0), 8);
    assert_eq!(std::fs::read(pod.data().join("file")).unwrap(), b"two, one");
    probe.done("fd_tell", &[i(fd), i(0)]).await;
    assert_eq!(probe.long(0), 8);
    probe
        .done("fd_seek", &[i(fd), l((-5_i64).cast_unsigned()), i(2), i(0)])
        .await;
    assert_eq!(probe.long(0), 3);
    let [iovs, count] = probe.iovecs(&[(2000, 1), (3000, 100)]);
    probe.done("fd_read", &[i(fd), iovs, count, i(0)]).await;
    assert_eq!(probe.number(0), 5);
    assert_eq!(
        (probe.get(2000, 1), probe.get(3000, 5)),
        (b",".to_vec(), b" one\0".to_vec())
    );
    assert_eq!(probe.read(fd, 10).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_transfer_of_many_chunks_is_whole() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    let fd = probe
        .open("data/file", oflags::CREAT, READ_WRITE, 0)
        .await
        .unwrap();
    assert_eq!(probe.write(fd, &bytes).await, Ok(300_000));
    assert_eq!(std::fs::read(pod.data().join("file")).unwrap(), bytes);
    probe.done("fd_seek", &[i(fd), l(7), i(0), i(0)]).await;
    probe.put(1 << 16, &[0; 300_000]);
    assert_eq!(probe.read(fd, 300_000).await.unwrap(), bytes[7..]);
}

#[tokio::test]
async fn reading_and_writing_at_an_offset_leaves_the_descriptors_own() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123456789").unwrap();
    let fd = probe.open("data/file", 0, READ_WRITE, 0).await.unwrap();
    probe.put(1000, b"ab");
    let [iovs, count] = probe.iovecs(&[(1000, 2)]);
    probe
        .done("fd_pwrite", &[i(fd), iovs, count, l(4), i(0)])
        .await;
    probe
        .done("fd_pread", &[i(fd), iovs, count, l(5), i(0)])
        .await;
    assert_eq!(probe.get(1000, 2), b"b6");
    assert_eq!(probe.read(fd, 100).await.unwrap(), b"0123ab6789");
}

#[tokio::test]
async fn appending_ignores_the_offset_until_it_is_switched_off() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let fd = probe
        .open("data/file", 0, READ_WRITE, u32::from(fdflags::APPEND))
        .await
        .unwrap();
    assert_eq!(probe.write(fd, b"ab").await, Ok(2));
    probe.done("fd_tell", &[i(fd), i(0)]).await;
    assert_eq!(probe.long(0), 6);
    probe.done("fd_seek", &[i(fd), l(1), i(0), i(0)]).await;
    probe.done("fd_fdstat_set_flags", &[i(fd), i(0)]).await;
    assert_eq!(probe.write(fd, b"X").await, Ok(1));
    assert_eq!(std::fs::read(pod.data().join("file")).unwrap(), b"0X23ab");
}

#[tokio::test]
async fn pointers_out_of_the_memory_are_faults_and_change_nothing() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let fd = probe.open("data/file", 0, READ_WRITE, 0).await.unwrap();
    for (part, at, out) in [
        ((MEMORY - 2, 4), 16, 0),
        ((u32::MAX, u32::MAX), 16, 0),
        ((1000, 2), MEMORY - 4, 0),
        ((1000, 2), 16, MEMORY - 3),
    ] {
        probe.iovecs(&[part]);
        for call in ["fd_read", "fd_write"] {
            let args = [i(fd), i(at), i(1), i(out)];
            assert_eq!(
                probe.call(call, &args).await,
                is(Errno::Fault),
                "{call} {args:?}"
            );
        }
    }
    assert_eq!(probe.read(fd, 100).await.unwrap(), b"0123");
    let too_many = [i(fd), i(16), i(1025), i(0)];
    assert_eq!(probe.call("fd_read", &too_many).await, is(Errno::Inval));
    for call in [
        "fd_fdstat_get",
        "fd_filestat_get",
        "fd_tell",
        "fd_prestat_get",
    ] {
        let fd = if call == "fd_prestat_get" { ROOT } else { fd };
        assert_eq!(
            probe.call(call, &[i(fd), i(MEMORY - 1)]).await,
            is(Errno::Fault),
            "{call}"
        );
    }
}

/// Makes calls that must fail.
async fn refused(probe: &mut Probe, cases: Vec<(&str, Vec<Val>, Errno)>) {
    for (name, args, expected) in cases {
        assert_eq!(
            probe.call(name, &args).await,
            is(expected),
            "{name} {args:?}"
        );
    }
}

#[tokio::test]
async fn a_descriptor_transfers_only_as_its_kind_and_its_opening_allow() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let file = probe
        .open("data/file", 0, rights::FD_READ, 0)
        .await
        .unwrap();
    let write_only = probe
        .open("data/file", 0, rights::FD_WRITE, 0)
        .await
        .unwrap();
    let [iovs, count] = probe.iovecs(&[(1000, 4)]);
    let transfer = |fd| vec![i(fd), iovs, count, i(0)];
    let transfer_at = |fd| vec![i(fd), iovs, count, l(0), i(0)];
    let cases = vec![
        ("fd_read", transfer(1), Errno::Badf),
        ("fd_read", transfer(ROOT), Errno::Isdir),
        ("fd_read", transfer(write_only), Errno::Badf),
        ("fd_read", transfer(77), Errno::Badf),
        ("fd_write", transfer(0), Errno::Badf),
        ("fd_write", transfer(ROOT), Errno::Badf),
        ("fd_write", transfer(file), Errno::Badf),
        ("fd_write", transfer(u32::MAX), Errno::Badf),
        ("fd_pread", transfer_at(0), Errno::Spipe),
        ("fd_pread", transfer_at(write_only), Errno::Badf),
        ("fd_pwrite", transfer_at(1), Errno::Spipe),
        ("fd_pwrite", transfer_at(ROOT), Errno::Badf),
    ];
    refused(&mut probe, cases).await;
}

#[tokio::test]
async fn numbers_beyond_what_a_file_can_have_are_refused() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let file = probe.open("data/file", 0, READ_WRITE, 0).await.unwrap();
    let [iovs, count] = probe.iovecs(&[(1000, 4)]);
    for far in [u64::MAX, u64::MAX - 4, 1 << 63, (1 << 63) - 1] {
        for (name, args) in [
            ("fd_pwrite", vec![i(file), iovs, count, l(far), i(0)]),
            ("fd_allocate", vec![i(file), l(far), l(far)]),
            ("fd_filestat_set_size", vec![i(file), l(far)]),
        ] {
            let errno = probe.call(name, &args).await;
            // An input/output error would be a call that broke off.
            assert!(
                errno != 0 && errno != is(Errno::Io),
                "{name} {far}: {errno}"
            );
        }
        probe
            .call("fd_pread", &[i(file), iovs, count, l(far), i(0)])
            .await;
        probe
            .call("fd_advise", &[i(file), l(far), l(far), i(0)])
            .await;
    }
    assert_eq!(probe.read(file, 100).await.unwrap(), b"0123");
    // Where there are no bytes a pointer may be anything.
    for args in [
        [i(file), i(MEMORY + 8), i(0), i(0)],
        [i(file), i(16), i(1), i(0)],
    ] {
        probe.iovecs(&[(u32::MAX, 0)]);
        probe.done("fd_write", &args).await;
        assert_eq!(probe.number(0), 0);
    }
}

#[tokio::test]
async fn a_descriptor_refuses_what_its_kind_cannot_do() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let file = probe
        .open("data/file", 0, rights::FD_READ, 0)
        .await
        .unwrap();
    let cases = vec![
        ("fd_seek", vec![i(0), l(0), i(0), i(0)], Errno::Spipe),
        ("fd_seek", vec![i(ROOT), l(0), i(0), i(0)], Errno::Badf),
        ("fd_seek", vec![i(file), l(0), i(3), i(0)], Errno::Inval),
        (
            "fd_seek",
            vec![i(file), l(u64::MAX), i(0), i(0)],
            Errno::Inval,
        ),
        (
            "fd_seek",
            vec![i(file), l(u64::MAX >> 1), i(2), i(0)],
            Errno::Inval,
        ),
        ("fd_advise", vec![i(file), l(0), l(0), i(6)], Errno::Inval),
        (
            "fd_fdstat_set_flags",
            vec![i(file), i(u32::from(fdflags::SYNC))],
            Errno::Inval,
        ),
        (
            "fd_fdstat_set_flags",
            vec![i(file), i(1 << 16)],
            Errno::Inval,
        ),
        (
            "fd_fdstat_set_rights",
            vec![i(file), l(0), l(0)],
            Errno::Notsup,
        ),
        ("fd_fdstat_set_rights", vec![i(99), l(0), l(0)], Errno::Badf),
        (
            "fd_readdir",
            vec![i(file), i(1000), i(100), l(0), i(0)],
            Errno::Notdir,
        ),
        ("fd_prestat_get", vec![i(4), i(0)], Errno::Badf),
        (
            "fd_prestat_dir_name",
            vec![i(ROOT), i(0), i(0)],
            Errno::Nametoolong,
        ),
        ("fd_close", vec![i(99)], Errno::Badf),
        ("fd_renumber", vec![i(file), i(99)], Errno::Badf),
        ("fd_renumber", vec![i(99), i(file)], Errno::Badf),
    ];
    refused(&mut probe, cases).await;
}

#[tokio::test]
async fn descriptors_say_what_they_are() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let file = probe
        .open("data/file", 0, rights::FD_READ, 0)
        .await
        .unwrap();
    let written = u32::from(fdflags::APPEND | fdflags::SYNC | fdflags::NONBLOCK);
    let log = probe
        .open("data/log", oflags::CREAT, rights::FD_WRITE, written)
        .await
        .unwrap();
    for (fd, file_type, flags, has, has_not) in [
        (0, 0, 0, rights::FD_READ, rights::FD_WRITE | rights::FD_SEEK),
        (1, 0, 0, rights::FD_WRITE, rights::FD_READ | rights::FD_TELL),
        (
            ROOT,
            3,
            0,
            rights::DIRECTORY,
            rights::FD_READ | rights::FD_WRITE,
        ),
        (file, 4, 0, rights::FILE & !rights::WRITING, rights::WRITING),
        (
            log,
            4,
            written,
            rights::FILE & !rights::FD_READ,
            rights::FD_READ,
        ),
    ] {
        probe.done("fd_fdstat_get", &[i(fd), i(200)]).await;
        assert_eq!(probe.get(200, 1), [file_type], "type of {fd}");
        assert_eq!(probe.number(202) & 0xffff, flags, "flags of {fd}");
        assert_eq!(probe.long(208) & (has | has_not), has, "rights of {fd}");
        probe.done("fd_filestat_get", &[i(fd), i(200)]).await;
        assert_eq!(probe.get(216, 1), [file_type], "type of {fd}");
    }
    probe.done("fd_filestat_get", &[i(file), i(200)]).await;
    assert_eq!(probe.long(232), 4);
    probe.done("fd_prestat_get", &[i(ROOT), i(0)]).await;
    assert_eq!(probe.get(0, 8), [0, 0, 0, 0, 1, 0, 0, 0]);
    probe
        .done("fd_prestat_dir_name", &[i(ROOT), i(0), i(9)])
        .await;
    assert_eq!(probe.get(0, 1), b"/");
}

#[tokio::test]
async fn renumbering_moves_a_descriptor_with_its_offset() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    std::fs::write(pod.data().join("file"), "0123").unwrap();
    let file = probe
        .open("data/file", 0, rights::FD_READ, 0)
        .await
        .unwrap();
    probe.read(file, 2).await.unwrap();
    probe.done("fd_renumber", &[i(file), i(0)]).await;
    assert_eq!(probe.read(0, 2).await.unwrap(), b"23");
    assert_eq!(errno(probe.read(file, 2).await), Some(is(Errno::Badf)));
    probe.done("fd_renumber", &[i(0), i(0)]).await;
    // The lowest free number is the next one.
    assert_eq!(probe.open("data/file", 0, 0, 0).await, Ok(file));
    probe.done("fd_close", &[i(1)]).await;
    assert_eq!(probe.open("data/file", 0, 0, 0).await, Ok(1));
}

#[tokio::test]
async fn the_table_of_descriptors_has_an_end() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    let mut open = ROOT + 1;
    let refused = loop {
        match probe.open(".", 0, 0, 0).await {
            Ok(fd) => assert_eq!(fd, open),
            Err(errno) => break errno,
        }
        open += 1;
    };
    assert_eq!((open, refused), (1024, is(Errno::Mfile)));
    assert_eq!(
        errno(probe.open("data/file", oflags::CREAT, 0, 0).await),
        Some(is(Errno::Mfile))
    );
    assert!(!pod.data().join("file").exists());
    probe.done("fd_close", &[i(500)]).await;
    assert_eq!(probe.open(".", 0, 0, 0).await, Ok(500));
}

#[tokio::test]
async fn sizes_and_times_are_set() {
    let pod = Pod::new();
    let mut probe = pod.probe().await;
    let fd = probe
        .open("data/file", oflags::CREAT, READ_WRITE, 0)
        .await
        .unwrap();
    probe.done("fd_allocate", &[i(fd), l(10), l(90)]).await;
    assert_eq!(
        std::fs::metadata(pod.data().join("file")).unwrap().len(),
        100
    );
    probe.done("fd_filestat_set_size", &[i(fd), l(5)]).await;
    probe.done("fd_advise", &[i(fd), l(0), l(5), i(3)]).await;
    probe.done("fd_sync", &[i(fd)]).await;
    probe.done("fd_datasync", &[i(fd)]).await;
    probe
        .done(
            "fd_filestat_set_times",
            &[i(fd), l(0), l(3_000_000_007), i(4)],
        )
        .await;
    probe.done("fd_filestat_get", &[i(fd), i(200)]).await;
    assert_eq!((probe.long(232), probe.long(248)), (5, 3_000_000_007));
}

/// Entries of a directory as a guest reads them, with so large a buffer.
async fn entries(probe: &mut Probe, fd: u32, length: u32) -> Vec<(String, u64)> {
    let (mut found, mut cookie) = (Vec::new(), 0);
    loop {
        probe
            .done(
                "fd_readdir",
                &[i(fd), i(1 << 16), i(length), l(cookie), i(0)],
            )
            .await;
        let used = probe.number(0);
        let bytes = probe.get(1 << 16, used as usize);
        let mut rest = bytes.as_slice();
        while rest.len() >= DIRENT {
            let name = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(text) = rest.get(DIRENT..DIRENT + name) else {
                break;
            };
            cookie = u64::from_le_bytes(rest[..8].try_into().unwrap());
            let inode = u64::from_le_bytes(rest[8..16].try_into().unwrap());
            found.push((String::from_utf8(text.to_vec()).unwrap(), inode));
            rest = &rest[DIRENT + name..];
        }
        if used < length {
            return found;
        }
    }
}

#[tokio::test]
async fn a_directory_is_listed_whole_however_small_or_large_the_buffer() {
    let pod = Pod::new();
    let mut names = vec![".".to_owned(), "..".to_owned()];
    for n in 0..1500 {
        names.push(format!("a rather long name, so that it fills its room {n}"));
    }
    names.sort();
    for name in names.iter().filter(|name| name.len() > 2) {
        std::fs::write(pod.data().join(name), "").unwrap();
    }
    let mut probe = pod.probe().await;
    let fd = probe
        .open("data", oflags::DIRECTORY, rights::FD_READDIR, 0)
        .await
        .unwrap();
    // A name with its header has 74 bytes: entries are cut in the first, chunks joined in the last.
    for length in [130, 4096, 200_000] {
        let mut found: Vec<String> = entries(&mut probe, fd, length)
            .await
            .into_iter()
            .map(|e| e.0)
            .collect();
        found.sort();
        assert_eq!(found, names, "buffer of {length}");
    }
    let listed = entries(&mut probe, fd, 4096).await;
    let (name, inode) = &listed[700];
    let [at, length] = probe.path(format!("data/{name}"));
    probe
        .done("path_filestat_get", &[i(ROOT), i(0), at, length, i(200)])
        .await;
    assert_eq!(probe.long(208), *inode);
    // Beginning anew shows what has changed, and a cookie beyond the end shows nothing.
    std::fs::write(pod.data().join("new"), "").unwrap();
    assert_eq!(entries(&mut probe, fd, 4096).await.len(), names.len() + 1);
    probe
        .done(
            "fd_readdir",
            &[i(fd), i(1 << 16), i(4096), l(u64::MAX), i(0)],
        )
        .await;
    assert_eq!(probe.number(0), 0);
}
