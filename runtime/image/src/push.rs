//! Pushing: what a name leads to here, to a registry. Blobs that are there are not sent again.

use bytes::Bytes;

use crate::credentials::Keyring;
use crate::digest::Digest;
use crate::limits;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::progress::{Progress, Step};
use crate::pull::{self, PullError};
use crate::reference::Reference;
use crate::registry::{Access, Client, RegistryError, Session};
use crate::store::{Lease, Store, StoreError};

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The digest that the name leads to in the registry now.
    pub digest: Digest,
    /// Whether it is one image of an index whose others are not here.
    pub alone: bool,
}

/// Pushes an image under its own name.
///
/// # Errors
/// When it is not here, or the registry does not take it.
pub async fn push(
    client: &Client,
    store: &Store,
    lease: &Lease,
    reference: &Reference,
    keyring: &Keyring,
    progress: &Progress,
) -> Result<Pushed, PullError> {
    let (name, held) = (reference.clone(), lease.clone());
    let image = store
        .aside(move |store| pull::local(store, &held, &name))
        .await?;
    let mut last = None;
    for session in client
        .sessions(reference, keyring, Access::Push, progress)
        .await?
    {
        let pushing = Push {
            store,
            session,
            progress,
        };
        match pushing.all(&image, reference).await {
            // Another credential, or endpoint, may be let in.
            Err(PullError::Registry(
                error @ (RegistryError::Denied { .. } | RegistryError::Withheld { .. }),
            )) => last = Some(error),
            other => return other,
        }
    }
    Err(last.map_or_else(
        || PullError::Absent(reference.familiar()),
        PullError::Registry,
    ))
}

struct Push<'a> {
    store: &'a Store,
    session: Session,
    progress: &'a Progress,
}

// === impl Push ===

impl Push<'_> {
    async fn all(&self, image: &pull::Image, reference: &Reference) -> Result<Pushed, PullError> {
        let version = reference.version();
        if image.target.digest == image.digest {
            self.image(&image.target, &image.manifest, &version).await?;
            return Ok(Pushed {
                digest: image.digest.clone(),
                alone: false,
            });
        }
        let digest = image.target.digest.clone();
        let reading = self.store.aside(move |store| manifests(store, &digest));
        let (whole, all) = reading.await?;
        if whole.len() < all {
            let size = self.store.size(&image.digest).unwrap_or_default();
            let target = Descriptor::new("", image.digest.clone(), size);
            let version = match reference.digest() {
                Some(_) => image.digest.to_string(),
                None => version,
            };
            self.image(&target, &image.manifest, &version).await?;
            return Ok(Pushed {
                digest: image.digest.clone(),
                alone: true,
            });
        }
        for (entry, manifest) in &whole {
            self.image(entry, manifest, &entry.digest.to_string())
                .await?;
        }
        self.document(&image.target, &version).await?;
        Ok(Pushed {
            digest: image.target.digest.clone(),
            alone: false,
        })
    }

    async fn image(
        &self,
        target: &Descriptor,
        manifest: &Manifest,
        version: &str,
    ) -> Result<(), PullError> {
        self.progress.tell(Step::Resolved {
            digest: target.digest.clone(),
            size: manifest.size(),
        });
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.blob(blob).await?;
        }
        self.document(target, version).await
    }

    async fn blob(&self, blob: &Descriptor) -> Result<(), PullError> {
        let digest = &blob.digest;
        if self.session.has_blob(digest).await? {
            self.progress.tell(Step::Present(digest.clone(), blob.size));
            return Ok(());
        }
        // Or it would be sent in full, and refused as if the registry were at fault.
        let wanted = digest.clone();
        let hashing = self.store.aside(move |store| store.is_changed(&wanted));
        if hashing.await? {
            return Err(StoreError::Changed(digest.clone()).into());
        }
        self.progress.tell(Step::Begun {
            digest: digest.clone(),
            size: blob.size,
            from: 0,
        });
        let path = self.store.blob_path(digest);
        self.session.upload(digest, &path, blob.size).await?;
        self.progress
            .tell(Step::Advanced(digest.clone(), blob.size));
        self.progress.tell(Step::Done(digest.clone()));
        Ok(())
    }

    async fn document(&self, target: &Descriptor, version: &str) -> Result<(), PullError> {
        let digest = target.digest.clone();
        let reading = self
            .store
            .aside(move |store| store.read(&digest, limits::MANIFEST));
        let bytes = reading.await?;
        let media_type = pull::media_type(&bytes);
        let sent = self
            .session
            .put_manifest(version, &media_type, Bytes::from(bytes));
        Ok(sent.await?)
    }
}

/// The manifests of an index that are here with all that they name, up to the first that is not; and
/// how many it has.
fn manifests(
    store: &Store,
    index: &Digest,
) -> Result<(Vec<(Descriptor, Manifest)>, usize), PullError> {
    let Document::Index(index) = store.document(index)? else {
        return Err(PullError::Depth);
    };
    let mut whole = Vec::new();
    for entry in &index.manifests {
        match store.document(&entry.digest) {
            Ok(Document::Manifest(manifest)) if has_all(store, &manifest) => {
                whole.push((entry.clone(), manifest));
            }
            _ => break,
        }
    }
    Ok((whole, index.manifests.len()))
}

fn has_all(store: &Store, manifest: &Manifest) -> bool {
    let mut blobs = manifest.layers.iter().chain([&manifest.config]);
    blobs.all(|blob| store.size(&blob.digest) == Some(blob.size))
}
