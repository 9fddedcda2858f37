//! What of an image was changed on the disk, once more.
//!
//! It is as good as not here, and fetched anew where the policy lets us: the same content, by its
//! digest, for what its name leads to by now may be another image. That one is the next best where the
//! registry has the digest no more. Of what is missing nothing is known but its name.

use image::pull::{self, Image, Present, PullError};
use image::store::StoreError;
use image::{Digest, Reference, Store};
use model::container::PullPolicy;
use model::lifecycle::Fetched;
use node::{ImageError, ImageWant};

use super::{Meant, RegistryImages, failed, never};

/// An image that is here but for a part of it.
pub(super) struct Damage {
    /// What its name leads to here.
    target: Digest,
    /// A blob that is not what it was.
    blob: Digest,
    /// Whether that is because it is not here at all.
    is_missing: bool,
}

// === impl RegistryImages ===

impl RegistryImages {
    /// Fetches anew what was changed on the disk of an image, where the policy lets us.
    pub(super) async fn renew(
        &self,
        want: &ImageWant,
        reference: &Reference,
        damage: &Damage,
    ) -> Result<(Image, Fetched), ImageError> {
        let (name, blob, known) = (&want.reference, &damage.blob, reference.familiar());
        let damaged = format!("its blob {blob} was changed or deleted on the disk");
        let remedy = format!(
            "`wasmpod image pull {known}` fetches it again; where it is of no registry, import or pack it again"
        );
        if want.policy == PullPolicy::Never {
            let message = format!("{}: {damaged}; {remedy}", never(name));
            return Err(failed("ErrImageNeverPull", message));
        }
        self.fetch_anew(want, reference, damage)
            .await
            .map_err(|why| {
                let message = format!(
                    "image {name:?}: {damaged}, and cannot be fetched anew: {why}; {remedy}"
                );
                failed("ErrImagePull", message)
            })
    }

    async fn fetch_anew(
        &self,
        want: &ImageWant,
        reference: &Reference,
        damage: &Damage,
    ) -> Result<(Image, Fetched), PullError> {
        if !damage.is_missing {
            let known = Meant::Known(&damage.target);
            match self.pull(want, reference, known).await {
                // A name with a digest leads nowhere else.
                Err(error) if error.is_not_found() && reference.digest().is_none() => {}
                pulled => return pulled,
            }
        }
        // What was changed may be a part of that, too.
        let named = Meant::Named(Present::Hashed);
        self.pull(want, reference, named).await
    }

    /// What is damaged of an image that cannot be made ready; nothing where it is as it was.
    pub(super) async fn damage_of(&self, image: Image) -> Option<Damage> {
        let looking = move |store: &Store| {
            let blob = pull::damaged(store, &image)?;
            let target = image.target.digest;
            Ok::<_, StoreError>(blob.map(|blob| Damage {
                target,
                is_missing: store.size(&blob).is_none(),
                blob,
            }))
        };
        let damage = self.store.aside(looking).await;
        damage.unwrap_or_else(|error| {
            tracing::warn!("whether its image was changed on the disk cannot be told: {error}");
            None
        })
    }

    /// The same of one that cannot be had here, by why. One of which something is missing is not here.
    pub(super) async fn damage_by(
        &self,
        error: &PullError,
        reference: &Reference,
    ) -> Option<Damage> {
        let blob = error.blob()?.clone();
        let reference = reference.clone();
        let looking = move |store: &Store| {
            let target = pull::target(store, &reference);
            Ok::<_, StoreError>(target.map(|target| target.digest))
        };
        let target = self.store.aside(looking).await.ok().flatten()?;
        Some(Damage {
            target,
            blob,
            is_missing: false,
        })
    }
}
