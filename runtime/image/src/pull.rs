//! Pulling: from a reference to an image in the store, each blob once, resumed where it broke off.
//!
//! ```text
//! sessions ─> manifest ─> index? choose, again ─> config ─> kind ─> blobs, three at a time ─> name
//! ```

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::credentials::Keyring;
use crate::digest::Digest;
use crate::kind::{self, Kind, KindError};
use crate::limits;
use crate::manifest::{Config, Descriptor, Document, Manifest, ManifestError, media};
use crate::progress::{Progress, Step};
use crate::reference::Reference;
use crate::registry::{Access, Client, Fetched, RegistryError, Session};
use crate::store::{Claim, Ingest, Lease, Store, StoreError};

/// How many blobs of an image are fetched at once, as Docker does.
const AT_ONCE: usize = 3;

/// Chunks of a blob that wait for the thread that writes them.
const CHUNKS: usize = 16;

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
    /// It is not here.
    #[error("{0} is not here: pull it first, or import it")]
    Absent(String),
}

/// One pull.
struct Pull<'a> {
    store: &'a Store,
    lease: &'a Lease,
    sessions: Vec<Session>,
    progress: &'a Progress,
}

/// Has an image in the store, held on the lease, and lets its name lead to it. What is here
/// already is not fetched again.
///
/// # Errors
/// [`PullError`]; what came until then stays for the next try.
pub async fn pull(
    client: &Client,
    store: &Store,
    lease: &Arc<Lease>,
    reference: &Reference,
    keyring: &Keyring,
    progress: &Progress,
) -> Result<Image, PullError> {
    let sessions = client
        .sessions(reference, keyring, Access::Pull, progress)
        .await?;
    let pull = Pull {
        store,
        lease,
        sessions,
        progress,
    };
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
    let pull = Arc::new(Owned {
        store: store.clone(),
        lease: Arc::clone(lease),
        sessions: pull.sessions,
        progress: progress.clone(),
    });
    pull.blob(&manifest.config).await?;
    let image = describe(store, target, digest, manifest)?;
    blobs(&pull, &image.manifest.layers).await?;
    store.name(reference, &image.target)?;
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
    let mut last = None;
    for session in client
        .sessions(reference, keyring, Access::Pull, progress)
        .await?
    {
        match session.resolve(&reference.version()).await {
            Ok(digest) => return Ok(digest),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => Ok(None),
    }
}

/// An image that a name leads to here, without asking anybody; held on the lease.
///
/// # Errors
/// When a part of it is missing or wrong.
pub fn local(store: &Store, lease: &Lease, reference: &Reference) -> Result<Image, PullError> {
    let absent = || PullError::Absent(reference.familiar());
    let target = match (store.find(reference), reference.digest()) {
        (Some(record), _) => record.target,
        // Whatever its name: the digest says it all.
        (None, Some(digest)) => {
            let size = store.size(digest).ok_or_else(absent)?;
            Descriptor::new("", digest.clone(), size)
        }
        (None, None) => return Err(absent()),
    };
    lease.hold(&target.digest)?;
    of_target(store, target)
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

// === impl Pull ===

impl Pull<'_> {
    /// What the reference leads to, from the first session that has it; that one stays first.
    async fn top(&self, reference: &Reference) -> Result<(Descriptor, Bytes), PullError> {
        let version = reference.version();
        let fetched = any(&self.sessions, |session| session.manifest(&version)).await?;
        Ok((fetched.descriptor, fetched.bytes))
    }

    /// A manifest of an index.
    async fn document(&self, chosen: &Descriptor) -> Result<Bytes, PullError> {
        let version = chosen.digest.to_string();
        let fetched: Fetched = any(&self.sessions, |session| session.manifest(&version)).await?;
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

    async fn keep(&self, descriptor: &Descriptor, bytes: Bytes) -> Result<Document, PullError> {
        let document = Document::parse(&bytes)?;
        let claim = self
            .store
            .claim(self.lease, &descriptor.digest, bytes.len() as u64, || {
                self.progress.tell(Step::Waiting(descriptor.digest.clone()));
            });
        if let Claim::Ours(mut ingest) = claim.await? {
            ingest.restart()?;
            ingest.write(&bytes)?;
            ingest.finish()?;
        }
        Ok(document)
    }
}

/// What the tasks of a pull share.
struct Owned {
    store: Store,
    lease: Arc<Lease>,
    sessions: Vec<Session>,
    progress: Progress,
}

/// Asks one session after the other, until one has it. The error of the last that was reached
/// counts: the registry itself comes last.
async fn any<'a, T, F>(
    sessions: &'a [Session],
    ask: impl Fn(&'a Session) -> F,
) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let mut last = None;
    for session in sessions {
        match ask(session).await {
            Ok(found) => return Ok(found),
            Err(error) if error.may_be_elsewhere() => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| RegistryError::Protocol {
        url: "the registry".to_owned(),
        why: "nobody was asked".to_owned(),
    }))
}

/// Fetches blobs, a few at once; the first error ends all.
async fn blobs(pull: &Arc<Owned>, layers: &[Descriptor]) -> Result<(), PullError> {
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
        done.unwrap_or_else(|error| Err(lost_thread(&error).into()))?;
    }
    Ok(())
}

fn lost_thread(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Io {
        what: "wait for",
        path: "a task".into(),
        source: std::io::Error::other(error.to_string()),
    }
}

// === impl Owned ===

impl Owned {
    /// Has a blob here.
    async fn blob(&self, blob: &Descriptor) -> Result<(), PullError> {
        let digest = &blob.digest;
        if blob.size > limits::BLOB {
            return Err(ManifestError::TooMany {
                what: "bytes in one blob",
                count: blob.size,
                limit: limits::BLOB,
            }
            .into());
        }
        let waiting = || self.progress.tell(Step::Waiting(digest.clone()));
        let claim = self
            .store
            .claim(&self.lease, digest, blob.size, waiting)
            .await?;
        let Claim::Ours(ingest) = claim else {
            self.progress.tell(Step::Present(digest.clone(), blob.size));
            return Ok(());
        };
        self.bring(blob, ingest).await
    }

    /// Brings a blob that is ours to bring, from the first session that has it, as it should be.
    async fn bring(&self, blob: &Descriptor, mut ingest: Ingest) -> Result<(), PullError> {
        let digest = &blob.digest;
        self.progress.tell(Step::Begun {
            digest: digest.clone(),
            size: blob.size,
            from: ingest.written(),
        });
        let mut last = None;
        for session in &self.sessions {
            let (back, result) = self.verified(session, blob, ingest).await;
            ingest = back;
            match result {
                Ok(()) => {
                    finish(ingest).await?;
                    self.progress.tell(Step::Done(digest.clone()));
                    return Ok(());
                }
                Err(error) if may_be_elsewhere(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| PullError::Absent(digest.to_string())))
    }

    /// Brings all that is missing from one session. Content that is not what it should be is
    /// dropped; where a part of it was here before, that may be what is wrong, and the session is
    /// asked for all of it.
    async fn verified(
        &self,
        session: &Session,
        blob: &Descriptor,
        mut ingest: Ingest,
    ) -> (Ingest, Result<(), PullError>) {
        loop {
            let was_here = ingest.written();
            let fault = match self.transfer(session, blob, ingest).await {
                Ok(whole) => {
                    ingest = whole;
                    ingest.fault().map(PullError::from)
                }
                Err((back, error)) => {
                    ingest = back;
                    Some(error)
                }
            };
            let Some(fault) = fault else {
                return (ingest, Ok(()));
            };
            if is_wrong(&fault) {
                if let Err(error) = ingest.restart() {
                    return (ingest, Err(error.into()));
                }
                if was_here > 0 {
                    continue;
                }
            }
            return (ingest, Err(fault));
        }
    }

    /// Brings all that is missing; a connection that breaks is taken up where it broke, as long
    /// as each brings something, and a few times where it does not.
    async fn transfer(
        &self,
        session: &Session,
        blob: &Descriptor,
        mut ingest: Ingest,
    ) -> Result<Ingest, (Ingest, PullError)> {
        let mut tries = 0;
        while ingest.written() < ingest.size() {
            let before = ingest.written();
            let (back, result) = self.stretch(session, blob, ingest).await;
            ingest = back;
            let error = match result {
                Ok(()) if ingest.written() == ingest.size() => break,
                Ok(()) => RegistryError::Broken {
                    url: blob.digest.to_string(),
                    why: "the body ended before its end".to_owned(),
                },
                Err(PullError::Registry(error)) => error,
                Err(error) => return Err((ingest, error)),
            };
            tries = fruitless(tries, ingest.written().saturating_sub(before));
            if !error.may_pass() || tries >= limits::TRIES {
                return Err((ingest, error.into()));
            }
            let after = limits::BACK_OFF.saturating_mul(1 << (tries - 1));
            let why = error.to_string();
            self.progress.tell(Step::Retrying { after, why });
            tokio::time::sleep_until(Instant::now() + after).await;
        }
        Ok(ingest)
    }

    /// One request's worth. Hashing and writing are another thread's.
    async fn stretch(
        &self,
        session: &Session,
        blob: &Descriptor,
        mut ingest: Ingest,
    ) -> (Ingest, Result<(), PullError>) {
        let from = ingest.written();
        let (mut download, begins) = match session.blob(&blob.digest, from).await {
            Ok(found) => found,
            Err(error) => return (ingest, Err(error.into())),
        };
        if begins == 0
            && from > 0
            && let Err(error) = ingest.restart()
        {
            return (ingest, Err(error.into()));
        }
        let (sender, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = chunks.blocking_recv() {
                if let Err(error) = ingest.write(&chunk) {
                    return (ingest, Err(error));
                }
            }
            (ingest, Ok(()))
        });
        let read = async {
            while let Some(chunk) = download.chunk().await? {
                let length = chunk.len() as u64;
                if sender.send(chunk).await.is_err() {
                    // The writer says why.
                    break;
                }
                self.progress
                    .tell(Step::Advanced(blob.digest.clone(), length));
            }
            Ok::<_, RegistryError>(())
        };
        let read = read.await;
        drop(sender);
        match writing.await {
            Ok((ingest, Err(error))) => (ingest, Err(error.into())),
            Ok((ingest, Ok(()))) => (ingest, read.map_err(PullError::Registry)),
            // A panic of the writer is a bug of ours, and takes the task with it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }
}

/// How many tries in a row brought too little, after one that brought this much. A byte of each
/// connection is as good as none: by it a pull would never end.
pub(crate) fn fruitless(tries: u32, came: u64) -> u32 {
    match came >= limits::PACE {
        true => 1,
        false => tries + 1,
    }
}

/// Whether content came that is not what it should be.
fn is_wrong(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Store(StoreError::WrongDigest { .. } | StoreError::WrongSize { .. })
    )
}

/// Whether another session may bring what this one did not.
fn may_be_elsewhere(error: &PullError) -> bool {
    match error {
        PullError::Registry(error) => error.may_be_elsewhere(),
        error => is_wrong(error),
    }
}

/// Verifies and keeps a blob, which syncs it: on a thread that may wait.
async fn finish(ingest: Ingest) -> Result<(), StoreError> {
    let finishing = tokio::task::spawn_blocking(move || ingest.finish());
    finishing
        .await
        .unwrap_or_else(|error| Err(lost_thread(&error)))
}

/// Whether a target is an index, by what its record says.
pub fn is_index(target: &Descriptor) -> bool {
    media::is_index(&target.media_type)
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
