//! Pulling: from a reference to an image in the store, each blob once, resumed where it broke off.
//!
//! ```text
//! sessions ─> manifest ─> index? choose, again ─> config ─> kind ─> blobs, three at a time ─> name
//! ```
//!
//! How one blob comes is in `blob`. What hashes, locks or waits for the disk is done aside, on
//! threads that may wait.

mod blob;
mod tried;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tried::Tried;

#[cfg(test)]
pub(crate) use blob::{Pace, fruitless};

use crate::credentials::Keyring;
use crate::digest::Digest;
use crate::kind::{self, Kind, KindError};
use crate::limits;
use crate::manifest::{Config, Descriptor, Document, Manifest, ManifestError, media};
use crate::progress::{Progress, Step};
use crate::reference::Reference;
use crate::registry::{Access, Client, Fetched, RegistryError, Session};
use crate::store::{Lease, Store, StoreError};

/// How many blobs of an image are fetched at once, as Docker does.
const AT_ONCE: usize = 3;

/// An image that is here, whole.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the reference leads to: a manifest or an index.
    pub target: Descriptor,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration, where it is one of a container image.
    pub config: Option<Config>,
    /// What it is.
    pub kind: Kind,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry does not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document of it is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is nothing that runs.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// Indexes in indexes.
    #[error("its indexes are nested deeper than {} levels", limits::INDEX_DEPTH)]
    Depth,
    /// No server gives it.
    #[error("{counts}; asked as well: {others}")]
    Everywhere {
        /// What the registry said, else the last one.
        counts: Box<PullError>,
        /// What the others said.
        others: String,
    },
    /// It is not here.
    #[error("{0} is not here: pull it first, import or pack it")]
    Absent(String),
}

/// What is believed of layers that are here already. Documents are always held against their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// That they are what they were when they came.
    Trusted,
    /// Nothing: they are hashed, and those that were changed on the disk fetched again.
    Hashed,
}

/// One pull; its tasks share it.
struct Pull {
    store: Store,
    lease: Lease,
    sessions: Vec<Session>,
    progress: Progress,
    present: Present,
}

/// Has an image in the store, held on the lease, and lets its name lead to it. What is here
/// already is not fetched again.
///
/// # Errors
/// [`PullError`]; what came until then stays for the next try, but where there is no room.
pub async fn pull(
    client: &Client,
    store: &Store,
    lease: &Lease,
    reference: &Reference,
    keyring: &Keyring,
    progress: &Progress,
    present: Present,
) -> Result<Image, PullError> {
    let image = fetch(client, store, lease, reference, keyring, progress, present).await?;
    let (name, target) = (reference.clone(), image.target.clone());
    store.aside(move |store| store.name(&name, &target)).await?;
    Ok(image)
}

/// Has an image whole again that is here, where parts of it were changed on the disk: what its name
/// has led to until now, `target`, and nothing else, whatever it leads to in its registry by now.
/// Names stay as they are.
///
/// # Errors
/// As [`pull`]: also where the registry does not have that very content, as for images that were
/// packed or imported.
pub async fn renew(
    client: &Client,
    store: &Store,
    lease: &Lease,
    reference: &Reference,
    target: &Digest,
    keyring: &Keyring,
    progress: &Progress,
) -> Result<Image, PullError> {
    let (pinned, present) = (reference.with_digest(target.clone()), Present::Hashed);
    fetch(client, store, lease, &pinned, keyring, progress, present).await
}

/// Has what a reference leads to in the store, without a name.
async fn fetch(
    client: &Client,
    store: &Store,
    lease: &Lease,
    reference: &Reference,
    keyring: &Keyring,
    progress: &Progress,
    present: Present,
) -> Result<Image, PullError> {
    let sessions = client
        .sessions(reference, keyring, Access::Pull, progress)
        .await?;
    let pull = Arc::new(Pull {
        store: store.clone(),
        lease: lease.clone(),
        sessions,
        progress: progress.clone(),
        present,
    });
    let (target, first) = pull.top(reference).await?;
    let mut document = pull.keep(&target, first).await?;
    let mut digest = target.digest.clone();
    for _ in 0..limits::INDEX_DEPTH {
        let Document::Index(index) = &document else {
            break;
        };
        let chosen = kind::choose(index)?.clone();
        let fetched = pull.document(&chosen).await?;
        document = pull.keep(&chosen, fetched).await?;
        digest = chosen.digest;
    }
    let Document::Manifest(manifest) = document else {
        return Err(PullError::Depth);
    };
    progress.tell(Step::Resolved {
        digest: digest.clone(),
        size: manifest.size(),
    });
    let config = manifest.config.digest.clone();
    store.aside(move |store| store.mend(&config)).await?;
    pull.blob(&manifest.config).await?;
    let describing = store.aside(move |store| describe(store, target, digest, manifest));
    let image = describing.await?;
    blobs(&pull, &image.manifest.layers).await?;
    Ok(image)
}

/// What a registry has under a name now, where it says it without being asked for the manifest.
///
/// # Errors
/// When no endpoint answers.
pub async fn resolve(
    client: &Client,
    reference: &Reference,
    keyring: &Keyring,
    progress: &Progress,
) -> Result<Option<Digest>, PullError> {
    let mut tried = Tried::default();
    for session in client
        .sessions(reference, keyring, Access::Pull, progress)
        .await?
    {
        if !session.may_say(reference) {
            continue;
        }
        match session.resolve(&reference.version()).await {
            Ok(digest) => return Ok(digest),
            Err(error) => tried.add(&session, error),
        }
    }
    Err(tried.error(|| RegistryError::NotCapable.into()))
}

/// An image that a name leads to here, without asking anybody; held on the lease. Reads and hashes
/// documents: not to be called where tasks run.
///
/// # Errors
/// When a part of it is missing or wrong.
pub fn local(store: &Store, lease: &Lease, reference: &Reference) -> Result<Image, PullError> {
    let target = target(store, reference);
    let target = target.ok_or_else(|| PullError::Absent(reference.familiar()))?;
    lease.hold(&target.digest)?;
    let image = of_target(store, target)?;
    hold(lease, &image)?;
    Ok(image)
}

/// What a reference leads to here, whether or not all of that is here. Reads a file: not to be called
/// where tasks run.
pub fn target(store: &Store, reference: &Reference) -> Option<Descriptor> {
    if let Some(record) = store.find(reference) {
        return Some(record.target);
    }
    // Whatever its name: the digest says it all.
    let digest = reference.digest()?;
    Some(Descriptor::new("", digest.clone(), store.size(digest)?))
}

/// The first blob of an image that is not here any more, or is not what it was; nothing where all of
/// them are. Hashes them: not to be called where tasks run.
///
/// # Errors
/// When one cannot be read.
pub fn damaged(store: &Store, image: &Image) -> Result<Option<Digest>, StoreError> {
    // A configuration that nobody reads may be missing.
    let config = image.config.as_ref().map(|_| &image.manifest.config.digest);
    let documents = [&image.target.digest, &image.digest];
    let layers = image.manifest.layers.iter().map(|layer| &layer.digest);
    for digest in documents.into_iter().chain(config).chain(layers) {
        if store.size(digest).is_none() || store.is_changed(digest)? {
            return Ok(Some(digest.clone()));
        }
    }
    Ok(None)
}

/// Holds all of an image that is here, each blob by its own name: should the manifest be changed on
/// the disk, they stay all the same. May wait: not to be called where tasks run.
///
/// # Errors
/// When the lease cannot be written.
pub fn hold(lease: &Lease, image: &Image) -> Result<(), StoreError> {
    lease.hold(&image.target.digest)?;
    lease.hold(&image.digest)?;
    lease.hold(&image.manifest.config.digest)?;
    let mut layers = image.manifest.layers.iter();
    layers.try_for_each(|layer| lease.hold(&layer.digest))
}

/// The image that a manifest or index here leads to.
///
/// # Errors
/// When a part of it is missing or wrong.
pub fn of_target(store: &Store, target: Descriptor) -> Result<Image, PullError> {
    let mut digest = target.digest.clone();
    let mut document = store.document(&digest)?;
    for _ in 0..limits::INDEX_DEPTH {
        let Document::Index(index) = &document else {
            break;
        };
        digest = kind::choose(index)?.digest.clone();
        document = store.document(&digest)?;
    }
    let Document::Manifest(manifest) = document else {
        return Err(PullError::Depth);
    };
    let absent = manifest
        .layers
        .iter()
        .find(|layer| store.size(&layer.digest) != Some(layer.size));
    if let Some(layer) = absent {
        return Err(StoreError::Absent(layer.digest.clone()).into());
    }
    describe(store, target, digest, manifest)
}

fn describe(
    store: &Store,
    target: Descriptor,
    digest: Digest,
    manifest: Manifest,
) -> Result<Image, PullError> {
    let config = match Kind::needs_config(&manifest) {
        true => Some(Config::parse(
            &store.read(&manifest.config.digest, limits::CONFIG)?,
        )?),
        false => None,
    };
    let kind = Kind::of(&manifest, config.as_ref())?;
    Ok(Image {
        target,
        digest,
        manifest,
        config,
        kind,
    })
}

/// Fetches blobs, a few at once; the first error ends all.
async fn blobs(pull: &Arc<Pull>, layers: &[Descriptor]) -> Result<(), PullError> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut seen: Vec<&Digest> = Vec::new();
    for layer in layers {
        if seen.contains(&&layer.digest) {
            continue;
        }
        seen.push(&layer.digest);
        let (pull, turns, layer) = (Arc::clone(pull), Arc::clone(&turns), layer.clone());
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            pull.blob(&layer).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(done) => done?,
            // A panic is a bug of ours, and takes the pull with it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }
    Ok(())
}

/// Asks one session after the other, until one has it.
async fn any<'a, T, F>(
    sessions: impl Iterator<Item = &'a Session>,
    ask: impl Fn(&'a Session) -> F,
) -> Result<T, PullError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let mut tried = Tried::default();
    for session in sessions {
        match ask(session).await {
            Ok(found) => return Ok(found),
            Err(error) if error.may_be_elsewhere() => tried.add(session, error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(tried.error(|| RegistryError::NotCapable.into()))
}

// === impl Image ===

impl Image {
    /// What its configuration says that the layers of its root are, uncompressed, in their order;
    /// nothing where it does not say it of each layer.
    pub fn diff_ids(&self) -> Vec<Digest> {
        let config = self.config.as_ref();
        let said = config.map_or(&[][..], |config| &config.rootfs.diff_ids);
        let layers = &self.manifest.layers;
        if said.len() != layers.len() {
            return Vec::new();
        }
        let all = layers.iter().zip(said);
        let of_files = all.filter(|(layer, _)| !media::is_wasm_layer(&layer.media_type));
        of_files.map(|(_, diff_id)| diff_id.clone()).collect()
    }
}

// === impl PullError ===

impl PullError {
    /// Whether there was no room for it.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Store(StoreError::Full { .. }))
    }

    /// Whether its registry does not have it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Registry(error) => matches!(error, RegistryError::NotFound { .. }),
            Self::Everywhere { counts, .. } => counts.is_not_found(),
            _ => false,
        }
    }

    /// The blob that was changed on the disk, where an image is here but for that.
    pub fn blob(&self) -> Option<&Digest> {
        match self {
            Self::Store(StoreError::Changed(digest)) => Some(digest),
            _ => None,
        }
    }
}

// === impl Pull ===

impl Pull {
    /// What the reference leads to, from the first session that has it. What a tag leads to, only
    /// those are asked that may say so.
    async fn top(&self, reference: &Reference) -> Result<(Descriptor, Bytes), PullError> {
        let version = reference.version();
        let sessions = self.sessions.iter().filter(|it| it.may_say(reference));
        let fetched = any(sessions, |session| session.manifest(&version)).await?;
        Ok((fetched.descriptor, fetched.bytes))
    }

    /// A manifest of an index.
    async fn document(&self, chosen: &Descriptor) -> Result<Bytes, PullError> {
        let version = chosen.digest.to_string();
        let sessions = self.sessions.iter().filter(|it| it.may_pull());
        let fetched: Fetched = any(sessions, |session| session.manifest(&version)).await?;
        if fetched.descriptor.size != chosen.size {
            return Err(StoreError::WrongSize {
                digest: chosen.digest.clone(),
                wanted: chosen.size,
                found: fetched.descriptor.size,
            }
            .into());
        }
        Ok(fetched.bytes)
    }

    /// Keeps a document, in the place of one that was changed on the disk as well.
    async fn keep(&self, descriptor: &Descriptor, bytes: Bytes) -> Result<Document, PullError> {
        let document = Document::parse(&bytes)?;
        let (lease, digest) = (self.lease.clone(), descriptor.digest.clone());
        let keeping = move |store: &Store| store.put_as(&lease, &digest, &bytes);
        self.store.aside(keeping).await?;
        Ok(document)
    }
}

/// What a manifest or index says it is; what its fields say where it does not.
pub(crate) fn media_type(bytes: &[u8]) -> String {
    match Document::parse(bytes) {
        Ok(Document::Index(index)) => index
            .media_type
            .unwrap_or_else(|| media::OCI_INDEX.to_owned()),
        Ok(Document::Manifest(manifest)) => manifest.media_type.unwrap_or_else(|| {
            match manifest.config.media_type == media::DOCKER_CONFIG {
                true => media::DOCKER_MANIFEST.to_owned(),
                false => media::OCI_MANIFEST.to_owned(),
            }
        }),
        Err(_) => media::OCI_MANIFEST.to_owned(),
    }
}
