//! What happens when a storage limit is reached: the write has failed, and the pod is evicted.
//!
//! kubelet looks at what is used from time to time and evicts a pod that is over a limit; here
//! nothing gets over it, and the first write that would is what evicts. A volume in memory is a
//! tmpfs of that size to Kubernetes: writes fail there, and nothing else happens.

use std::time::Duration;

use model::lifecycle::{Event, Place};
use model::runtime::StoragePlace;
use model::volume::Source;

use super::Worker;

/// How long containers have when their pod is evicted for a limit: kubelet's
/// `immediateEvictionGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(1);

impl Worker {
    /// Evicts the pod, or tells that a volume in memory is full.
    pub(super) fn storage_full(&mut self, place: &StoragePlace, limit: u64) {
        let message = match place {
            StoragePlace::Volume(name) => {
                let mut volumes = self.pod.volumes.iter();
                match volumes
                    .find(|volume| volume.name == *name)
                    .map(|found| &found.source)
                {
                    Some(Source::EmptyDir {
                        memory: false,
                        size_limit: Some(size),
                    }) => {
                        // With kubelet's space at the end.
                        format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{size}\". ")
                    }
                    _ => return self.memory_full(name, limit),
                }
            }
            StoragePlace::Instance(instance) => {
                let place = self.places.get(instance).copied();
                let Some(container) = place.and_then(|place: Place| place.of(&self.pod)) else {
                    return;
                };
                let Some(size) = container.resources.storage_limit else {
                    return;
                };
                let name = &container.name;
                format!("Container {name} exceeded its local ephemeral storage limit \"{size}\". ")
            }
        };
        self.step(Event::Evict {
            reason: "Evicted".to_owned(),
            message,
            grace: GRACE,
        });
    }

    fn memory_full(&self, volume: &str, limit: u64) {
        let message = format!(
            "emptyDir volume {volume:?} of medium Memory holds its {limit} bytes: further writes \
             fail with no space left; raise its sizeLimit, or the memory limits of the containers"
        );
        self.tell(None, true, "StorageLimitReached", message);
    }
}
