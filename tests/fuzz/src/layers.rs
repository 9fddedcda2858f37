//! Layers: tars that are unpacked into a directory which nothing may lead out of.
//!
//! The first byte says how the rest is compressed. A second layer of known names lies below, so that
//! whiteouts and links have something to meet.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use image::manifest::media::Compression;
use image::unpack::{Bounds, Unpacker};
use tar::EntryType;

/// Small, so that running into a bound is common and filling a disk is not.
const BOUNDS: Bounds = Bounds {
    files: 256 << 10,
    entries: 64,
    ratio: 20,
    ratio_free: 512 << 10,
};

/// What lies beside the root, and must be there afterwards.
const OUTSIDE: &str = "outside";

pub(crate) fn run(bytes: &[u8]) {
    let Some((first, content)) = bytes.split_first() else {
        return;
    };
    let compression = match first % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Zstd,
    };
    let folder = crate::folder();
    let outside = folder.path().join(OUTSIDE);
    fs::write(&outside, OUTSIDE).expect("a file beside the root");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a root");
    let mut unpacker = Unpacker::new(&root, BOUNDS).expect("an empty directory");
    let lower = lower();
    unpacker
        .layer(
            lower.as_slice(),
            lower.len() as u64,
            Compression::None,
            None,
        )
        .expect("a layer of ours");
    let _ = unpacker.layer(content, content.len() as u64, compression, None);
    assert_eq!(fs::read_to_string(&outside).ok().as_deref(), Some(OUTSIDE));
    assert_eq!(
        fs::read_dir(folder.path()).map(Iterator::count).ok(),
        Some(2)
    );
    let (bytes, entries) = weighed(&root);
    assert!(bytes <= BOUNDS.files, "{bytes} bytes of files");
    assert!(entries <= BOUNDS.entries, "{entries} entries");
}

/// The bytes of files and the number of entries below a directory.
fn weighed(directory: &Path) -> (u64, u64) {
    let (mut bytes, mut entries) = (0, 0);
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).expect("a directory of the root") {
            let path = entry.expect("an entry").path();
            let about = fs::symlink_metadata(&path).expect("it is there");
            entries += 1;
            if about.is_dir() {
                ahead.push(path);
            } else if about.is_file() {
                use std::os::unix::fs::MetadataExt as _;
                bytes += about.len() / about.nlink();
            }
        }
    }
    (bytes, entries)
}

fn lower() -> Vec<u8> {
    tarred(&[
        (EntryType::Regular, "a/one", "", b"1"),
        (EntryType::Regular, "a/b/two", "", b"2"),
        (EntryType::Symlink, "up", "../..", b""),
        (EntryType::Symlink, "here", "a", b""),
    ])
}

/// A kind, a path, where it leads, and content.
type Entry<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

fn tarred(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, link, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        // As it is: the library refuses what the targets are to meet.
        let bytes = header.as_mut_bytes();
        for (at, text) in [(0, path), (157, link)] {
            let places = bytes.iter_mut().skip(at).take(100);
            places.zip(text.bytes()).for_each(|(to, from)| *to = from);
        }
        header.set_cksum();
        builder.append(&header, *content).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let pax = b"18 path=a/long/on\n13 size=00003\n";
    let tars = [
        tarred(&[
            (EntryType::Directory, "c/", "", b""),
            (EntryType::Regular, "c/x", "", b"content"),
            (EntryType::Link, "hard", "a/one", b""),
            (EntryType::Symlink, "s", "/etc", b""),
            (EntryType::Regular, "s/passwd", "", b"x"),
        ]),
        tarred(&[
            (EntryType::Regular, "a/.wh.one", "", b""),
            (EntryType::Regular, "a/.wh..wh..opq", "", b""),
            (EntryType::Regular, "up/out", "", b"x"),
        ]),
        tarred(&[
            (
                EntryType::GNULongName,
                "././@LongLink",
                "",
                b"a/long/name/of/it\0",
            ),
            (EntryType::Regular, "a", "", b"x"),
            (EntryType::XHeader, "pax", "", pax),
            (EntryType::Regular, "b", "", b"xyz"),
            (EntryType::Fifo, "fifo", "", b""),
            (EntryType::Char, "device", "", b""),
        ]),
        tarred(&[(EntryType::Regular, "../out", "", b"x")]),
    ];
    let plain = tars.iter().map(|tar| [b"\0", tar.as_slice()].concat());
    let packed = tars
        .iter()
        .map(|tar| [b"\x01", gzip(tar).as_slice()].concat());
    let frames = tars
        .iter()
        .map(|tar| [b"\x02", zstd(tar).as_slice()].concat());
    plain.chain(packed).chain(frames).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A frame of one block as it is: there is no compressor here, and none is needed.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    // One segment, whose size takes four bytes.
    frame.push(0xa0);
    let size = u32::try_from(bytes.len()).unwrap_or_default();
    frame.extend(size.to_le_bytes());
    // The last block, raw.
    let header = (size << 3) | 1;
    frame.extend(header.to_le_bytes().iter().take(3));
    frame.extend(bytes);
    frame
}
