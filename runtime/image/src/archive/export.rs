//! Exporting: images of the store as an OCI layout in a tar, which `docker load` reads as well.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::{ArchiveError, failed};
use crate::digest::Digest;
use crate::manifest::{Document, media};
use crate::pull::Image;
use crate::reference::Reference;
use crate::store::{Store, StoreError};

/// Writes images, each under its name. Blobs of other platforms that are not here are left out, and
/// with them the index that names them. Writes all of it: not to be called where tasks run.
///
/// # Errors
/// When a blob is missing, or the archive cannot be written.
pub fn export(
    store: &Store,
    images: &[(Reference, Image)],
    writer: impl Write,
) -> Result<(), ArchiveError> {
    let mut export = Export {
        store,
        builder: tar::Builder::new(writer),
        written: HashSet::new(),
    };
    let (mut entries, mut saved) = (Vec::new(), Vec::new());
    export.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for (reference, image) in images {
        let digest = match export.is_whole(&image.target.digest) {
            true => &image.target.digest,
            false => &image.digest,
        };
        export.tree(digest)?;
        entries.push(export.entry(reference, digest)?);
        if media::is_image_config(&image.manifest.config.media_type) {
            let layers = image.manifest.layers.iter();
            saved.push(json!({
                "Config": name(&image.manifest.config.digest),
                "RepoTags": reference.tag().map(|_| vec![reference.familiar()]),
                "Layers": layers.map(|layer| name(&layer.digest)).collect::<Vec<_>>(),
            }));
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
    export.file("index.json", index.to_string().as_bytes())?;
    if !saved.is_empty() {
        export.file("manifest.json", Value::from(saved).to_string().as_bytes())?;
    }
    let mut writer = export
        .builder
        .into_inner()
        .map_err(failed("write the archive"))?;
    writer.flush().map_err(failed("write the archive"))
}

struct Export<'a, W: Write> {
    store: &'a Store,
    builder: tar::Builder<W>,
    written: HashSet<Digest>,
}

// === impl Export ===

impl<W: Write> Export<'_, W> {
    /// Whether all is here that a manifest or index leads to.
    fn is_whole(&self, digest: &Digest) -> bool {
        match self.store.document(digest) {
            Ok(Document::Index(index)) => index
                .manifests
                .iter()
                .all(|entry| self.is_whole_manifest(&entry.digest)),
            Ok(Document::Manifest(_)) => self.is_whole_manifest(digest),
            Err(_) => false,
        }
    }

    fn is_whole_manifest(&self, digest: &Digest) -> bool {
        match self.store.document(digest) {
            Ok(document @ Document::Manifest(_)) => {
                let mut children = document.children();
                children.all(|child| self.store.size(&child.digest) == Some(child.size))
            }
            _ => false,
        }
    }

    fn tree(&mut self, digest: &Digest) -> Result<(), ArchiveError> {
        let document = self.store.document(digest)?;
        for child in document.children() {
            match &document {
                Document::Index(_) => self.tree(&child.digest)?,
                Document::Manifest(_) => self.blob(&child.digest)?,
            }
        }
        self.blob(digest)
    }

    fn blob(&mut self, digest: &Digest) -> Result<(), ArchiveError> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        if self.store.is_changed(digest)? {
            return Err(StoreError::Changed(digest.clone()).into());
        }
        let file = self.store.blob(digest)?;
        let size = file.metadata().map_err(failed("look at a blob"))?.len();
        self.append(&name(digest), size, file)
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        self.append(name, content.len() as u64, content)
    }

    fn append(&mut self, name: &str, size: u64, content: impl Read) -> Result<(), ArchiveError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        let appended = header.set_path(name).and_then(|()| {
            header.set_cksum();
            self.builder.append(&header, content)
        });
        appended.map_err(|error: io::Error| failed("write the archive")(error))
    }

    fn entry(&self, reference: &Reference, digest: &Digest) -> Result<Value, ArchiveError> {
        let bytes = self.store.read(digest, crate::limits::MANIFEST)?;
        let mut annotations = BTreeMap::from([(media::CONTAINERD_NAME, reference.to_string())]);
        if let Some(tag) = reference.tag() {
            annotations.insert(media::REF_NAME, tag.to_owned());
        }
        Ok(json!({
            "mediaType": crate::pull::media_type(&bytes),
            "digest": digest,
            "size": bytes.len(),
            "annotations": annotations,
        }))
    }
}

fn name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}
