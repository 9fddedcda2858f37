//! The images that a run has used: what of them has lost its name meanwhile goes when the run ends.
//!
//! `image rm` leaves what a run holds on its lease, and nobody but the next `rm` would collect it.
//! Not here: the lease, which has to be given up before.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::store::StoreError;
use image::{Digest, Store};

/// What the names of used images led to. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Used(Arc<Mutex<HashSet<Digest>>>);

// === impl Used ===

impl Used {
    /// Adds what a name leads to here; what none does has none to lose. Reads the names: not to be
    /// called where tasks run.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn add(&self, store: &Store, target: &Digest) -> Result<(), StoreError> {
        if self.used().contains(target) {
            return Ok(());
        }
        let records = store.records()?;
        if records.iter().any(|it| it.target.digest == *target) {
            self.used().insert(target.clone());
        }
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects, where an image that was used has no name any more: what others hold stays. Else
    /// nothing is touched, for half a pull is to be taken up. May wait: not to be called where tasks
    /// run.
    pub(crate) fn collect(&self, store: &Store) {
        if let Err(error) = self.collect_nameless(store) {
            tracing::warn!("an image that has no name any more stays for now: {error}");
        }
    }

    fn collect_nameless(&self, store: &Store) -> Result<(), StoreError> {
        let used = self.used();
        if used.is_empty() {
            return Ok(());
        }
        let records = store.records()?;
        let named: HashSet<&Digest> = records.iter().map(|it| &it.target.digest).collect();
        match used.iter().all(|target| named.contains(target)) {
            true => Ok(()),
            false => store.collect().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Reference;

    use super::*;

    #[test]
    fn only_what_was_used_and_has_no_name_any_more_is_collected() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lease = store.lease().unwrap();
        let put = |text: &str| store.put(&lease, "text/plain", text.as_bytes()).unwrap();
        let (image, nobodys) = (put("image"), put("nobody's"));
        let name: Reference = "app:1".parse().unwrap();
        store.name(&name, &image).unwrap();
        drop(lease);
        let used = Used::default();
        used.collect(&store);
        used.add(&store, &image.digest).unwrap();
        used.collect(&store);
        assert!(
            store.size(&nobodys.digest).is_some(),
            "all have their names"
        );
        used.add(&store, &nobodys.digest).unwrap();
        used.collect(&store);
        assert!(
            store.size(&nobodys.digest).is_some(),
            "it has never had a name"
        );
        store.forget(&name).unwrap();
        let other = store.lease().unwrap();
        other.hold(&image.digest).unwrap();
        used.collect(&store);
        assert!(store.size(&image.digest).is_some(), "another run uses it");
        drop(other);
        used.collect(&store);
        assert!(store.size(&image.digest).is_none());
    }
}
