//! Packing: a wasm file to CNCF's wasm artifact, with files beside it where asked.
//!
//! Layer 0 is the wasm file as it is. Files are a tar after it, which the artifact's first version
//! does not know: whoever wants to be read by everybody packs none.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde_json::{Map, json};

use crate::manifest::{Descriptor, Manifest, media};
use crate::store::{Lease, Store, StoreError};
use crate::wasm::{Wasm, WasmError};

/// What is packed.
#[derive(Debug, Clone, Default)]
pub struct Parcel {
    /// The wasm file.
    pub wasm: PathBuf,
    /// Files and directories, each with its absolute path in the image.
    pub files: Vec<(PathBuf, String)>,
    /// Who made it.
    pub author: Option<String>,
    /// Notes of the manifest.
    pub annotations: Vec<(String, String)>,
}

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The wasm file is none.
    #[error("{path}: {source}")]
    Wasm {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: WasmError,
    },
    /// A file beside it cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the artifact in the store, and answers its manifest. The same files give the same digests.
/// Reads whole files: not to be called where tasks run.
///
/// # Errors
/// When a file cannot be read, or is no wasm.
pub fn pack(store: &Store, lease: &Lease, parcel: &Parcel) -> Result<Descriptor, PackError> {
    let path = parcel.wasm.clone();
    let (wasm, bytes) = Wasm::open(&path).map_err(|source| PackError::Wasm { path, source })?;
    let mut layer = store.put(lease, media::WASM, &bytes)?;
    let name = parcel.wasm.file_name();
    if let Some(name) = name.and_then(|name| name.to_str()) {
        layer
            .annotations
            .insert(media::TITLE.to_owned(), name.to_owned());
    }
    let mut layers = vec![layer];
    if !parcel.files.is_empty() {
        let tar = tar_of(&parcel.files)?;
        layers.push(store.put(lease, media::OCI_TAR_GZIP, &tar)?);
    }
    let digests: Vec<String> = layers
        .iter()
        .map(|layer| layer.digest.to_string())
        .collect();
    let component = wasm.component.then(|| {
        let target = wasm.worlds().first().cloned();
        json!({"exports": wasm.exports, "imports": wasm.imports, "target": target})
    });
    let mut config = Map::from_iter([
        ("architecture".to_owned(), json!("wasm")),
        ("os".to_owned(), json!(wasm.os())),
        ("layerDigests".to_owned(), json!(digests)),
    ]);
    config.extend(
        parcel
            .author
            .as_ref()
            .map(|author| ("author".to_owned(), json!(author))),
    );
    config.extend(component.map(|component| ("component".to_owned(), component)));
    let config = serde_json::to_vec(&config).unwrap_or_default();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: store.put(lease, media::WASM_CONFIG, &config)?,
        layers,
        annotations: parcel.annotations.iter().cloned().collect(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap_or_default();
    Ok(store.put(lease, media::OCI_MANIFEST, &manifest)?)
}

/// A layer of files, compressed; times and owners are left out, so that it is always the same.
fn tar_of(files: &[(PathBuf, String)]) -> Result<Vec<u8>, PackError> {
    let encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut builder = tar::Builder::new(encoder);
    builder.mode(tar::HeaderMode::Deterministic);
    builder.follow_symlinks(false);
    for (path, inside) in files {
        add(&mut builder, path, Path::new(inside.trim_matches('/'))).map_err(|source| {
            let path = path.clone();
            PackError::File { path, source }
        })?;
    }
    let whole = builder.into_inner().and_then(GzEncoder::finish);
    whole.map_err(|source| PackError::File {
        path: PathBuf::from("the layer"),
        source,
    })
}

/// A file, or a directory with all in it, in the order of names.
fn add(
    builder: &mut tar::Builder<GzEncoder<Vec<u8>>>,
    path: &Path,
    inside: &Path,
) -> io::Result<()> {
    let mut ahead = vec![(path.to_owned(), inside.to_owned())];
    while let Some((path, inside)) = ahead.pop() {
        let about = std::fs::symlink_metadata(&path)?;
        if about.is_dir() {
            if !inside.as_os_str().is_empty() {
                builder.append_dir(&inside, &path)?;
            }
            let entries = std::fs::read_dir(&path)?;
            let mut names: Vec<_> = entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<_>>()?;
            // The last of them is taken next.
            names.sort_by(|one, other| other.cmp(one));
            ahead.extend(
                names
                    .iter()
                    .map(|name| (path.join(name), inside.join(name))),
            );
        } else if about.is_symlink() {
            builder.append_path_with_name(&path, &inside)?;
        } else if about.is_file() {
            builder.append_file(&inside, &mut File::open(&path)?)?;
        } else {
            return Err(io::Error::other("it is no file, directory or link"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::progress::Progress;
    use crate::{pull, root, testing};

    #[test]
    fn what_is_packed_is_an_artifact_that_is_read_again() {
        let (folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let wasm = folder.path().join("app.wasm");
        let text = "(module (func (export \"_start\")))";
        std::fs::write(&wasm, wat::parse_str(text).expect("a module")).expect("written");
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("sub")).expect("made");
        std::fs::write(data.join("sub/file"), "f").expect("written");
        let parcel = Parcel {
            wasm,
            files: vec![(data, "/srv/data".to_owned())],
            author: Some("me".to_owned()),
            annotations: vec![("a".to_owned(), "b".to_owned())],
        };
        let target = pack(&store, &lease, &parcel).expect("packed");
        assert_eq!(
            target,
            pack(&store, &lease, &parcel).expect("packed"),
            "always the same"
        );
        let image = pull::of_target(&store, target).expect("an image");
        let Kind::Wasm(wasm) = &image.kind else {
            panic!("{image:?}")
        };
        assert_eq!(wasm.layer.title(), Some("app.wasm"));
        let files = root::unpack(&store, &lease, &wasm.files, &[], &Progress::none());
        let files = files.expect("unpacked").path;
        assert_eq!(
            std::fs::read_to_string(files.join("srv/data/sub/file")).expect("there"),
            "f"
        );
    }

    #[test]
    fn what_is_no_wasm_is_not_packed() {
        let (folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let wasm = folder.path().join("app.wasm");
        std::fs::write(&wasm, "#!/bin/sh").expect("written");
        let error = pack(
            &store,
            &lease,
            &Parcel {
                wasm,
                ..Parcel::default()
            },
        );
        let error = error.expect_err("refused").to_string();
        assert!(
            error.contains("app.wasm") && error.contains("not wasm"),
            "{error}"
        );
    }
}
