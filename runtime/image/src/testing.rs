//! What tests of several rooms share.

use std::io::Write as _;

use serde_json::json;
use tempfile::TempDir;

use crate::manifest::{Descriptor, media};
use crate::store::{Lease, Store};

/// An empty store.
pub(crate) fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    (folder, store)
}

/// A wasm artifact whose one layer has this content.
pub(crate) fn image(store: &Store, lease: &Lease, content: &[u8]) -> Descriptor {
    let layer = store.put(lease, media::WASM, content).expect("a layer");
    let config = json!({"layerDigests": [layer.digest.to_string()]}).to_string();
    let config = store
        .put(lease, media::WASM_CONFIG, config.as_bytes())
        .expect("a config");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let manifest = manifest.to_string();
    store
        .put(lease, media::OCI_MANIFEST, manifest.as_bytes())
        .expect("a manifest")
}

/// One entry of a layer.
pub(crate) enum Entry<'a> {
    Directory(&'a str),
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Fifo(&'a str),
    Device(&'a str),
}

/// A tar of entries, their paths as they are, however wrong.
pub(crate) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let (path, kind, link, content): (&str, _, &str, &[u8]) = match entry {
            Entry::Directory(path) => (path, tar::EntryType::Directory, "", &[]),
            Entry::File(path, content) => (path, tar::EntryType::Regular, "", content),
            Entry::Link(path, link) => (path, tar::EntryType::Symlink, link, &[]),
            Entry::HardLink(path, link) => (path, tar::EntryType::Link, link, &[]),
            Entry::Fifo(path) => (path, tar::EntryType::Fifo, "", &[]),
            Entry::Device(path) => (path, tar::EntryType::Char, "", &[]),
        };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

/// The same compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// The same in zstd, each run of one byte as a block that says so: there is no compressor here.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    let size = u32::try_from(bytes.len()).expect("small");
    frame.extend(size.to_le_bytes());
    let is_run = bytes.len() > 1 && bytes.iter().all(|byte| *byte == bytes[0]);
    let kind = if is_run { 1 << 1 } else { 0 };
    let header = size << 3 | kind | 1;
    frame.extend(&header.to_le_bytes()[..3]);
    frame.extend(if is_run { &bytes[..1] } else { bytes });
    frame
}
