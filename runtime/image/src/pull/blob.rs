//! One blob of a pull: which session brings it, how often it is tried, what is kept of it.
//!
//! ```text
//! blob: here? ─> bring: one session after the other ─> verified: the right content
//!                   ─> transfer: taken up where it broke ─> stretch: one request's bytes
//! ```

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::tried::Tried;
use super::{Present, Pull, PullError};
use crate::digest::Digest;
use crate::limits;
use crate::manifest::{Descriptor, ManifestError};
use crate::progress::Step;
use crate::registry::{RegistryError, Session};
use crate::store::{Claim, Ingest, StoreError};

/// How fast a blob comes from one session, on the whole.
pub(crate) struct Pace {
    begun: Instant,
    came: u64,
}

/// Chunks of a blob that wait for the thread that writes them.
const CHUNKS: usize = 16;

// === impl Pull ===

impl Pull {
    /// Has a blob here.
    pub(super) async fn blob(&self, blob: &Descriptor) -> Result<(), PullError> {
        let digest = &blob.digest;
        if blob.size > limits::BLOB {
            return Err(ManifestError::TooMany {
                what: "bytes in one blob",
                count: blob.size,
                limit: limits::BLOB,
            }
            .into());
        }
        if self.present == Present::Hashed {
            self.hash(digest).await?;
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

    /// Looks at what is here of a blob, and takes it away where it was changed on the disk.
    async fn hash(&self, digest: &Digest) -> Result<(), StoreError> {
        if self.store.size(digest).is_none() {
            return Ok(());
        }
        self.progress.tell(Step::Hashing(digest.clone()));
        let wanted = digest.clone();
        self.store.aside(move |store| store.mend(&wanted)).await?;
        Ok(())
    }

    /// Brings a blob that is ours to bring, from the first session that has it, as it should be.
    async fn bring(&self, blob: &Descriptor, mut ingest: Ingest) -> Result<(), PullError> {
        let digest = &blob.digest;
        self.progress.tell(Step::Begun {
            digest: digest.clone(),
            size: blob.size,
            from: ingest.written(),
        });
        let mut tried = Tried::default();
        for session in self.sessions.iter().filter(|it| it.may_pull()) {
            let (back, result) = self.verified(session, blob, ingest).await;
            ingest = back;
            match result {
                Ok(()) => {
                    // Syncs the disk.
                    self.store.aside(|_| ingest.finish()).await?;
                    self.progress.tell(Step::Done(digest.clone()));
                    return Ok(());
                }
                Err(error) if may_be_elsewhere(&error) => tried.add(session, error),
                Err(error) => return Err(error),
            }
        }
        Err(tried.error(|| PullError::Absent(digest.to_string())))
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
        let (mut tries, mut pace) = (0, Pace::new());
        while ingest.written() < ingest.size() {
            let before = ingest.written();
            let (back, result) = self.stretch(session, blob, ingest, &mut pace).await;
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
        pace: &mut Pace,
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
                pace.came(length);
                if let Some(rate) = pace.too_slow(Instant::now()) {
                    return Err(session.slow(&blob.digest, rate));
                }
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

// === impl Pace ===

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            came: 0,
        }
    }

    pub(crate) fn came(&mut self, bytes: u64) {
        self.came = self.came.saturating_add(bytes);
    }

    /// The bytes per second until now, if they are too few.
    pub(crate) fn too_slow(&self, now: Instant) -> Option<u64> {
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        let counted = seconds.checked_sub(limits::BLOB_START.as_secs())?;
        let is_slow = self.came < limits::BLOB_PACE.saturating_mul(counted);
        is_slow.then(|| self.came / seconds.max(1))
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
