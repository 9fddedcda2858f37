//! Which ConfigMaps and Secrets a pod needs before it can start.

use std::collections::{BTreeMap, BTreeSet};

use model::container::{EnvFromSource, EnvValue, KeyRef};
use model::volume::{ObjectFiles, Projection, Source};
use model::{Container, Pod};

/// The objects a pod refers to, by name in its own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Need>,
    /// Secrets, those for pulling images not among them.
    pub secrets: BTreeMap<String, Need>,
}

/// How much of an object is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Whether some reference to it is not optional: without it the pod cannot start.
    pub is_required: bool,
    /// Keys without which the pod cannot start.
    pub keys: BTreeSet<String>,
}

/// Everything that a pod's containers and volumes refer to.
pub fn of(pod: &Pod) -> References {
    let mut references = References::default();
    for container in pod.all_containers() {
        references.of_container(container);
    }
    for volume in &pod.volumes {
        if let Source::Projected { sources, .. } = &volume.source {
            for source in sources {
                match source {
                    Projection::ConfigMap(files) => files_of(&mut references.config_maps, files),
                    Projection::Secret(files) => files_of(&mut references.secrets, files),
                    Projection::DownwardApi(_) | Projection::ServiceAccountToken { .. } => {}
                }
            }
        }
    }
    references
}

// === impl References ===

impl References {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.config_maps.is_empty() && self.secrets.is_empty()
    }

    fn of_container(&mut self, container: &Container) {
        for from in &container.env_from {
            let (objects, name) = match &from.source {
                EnvFromSource::ConfigMap(name) => (&mut self.config_maps, name),
                EnvFromSource::Secret(name) => (&mut self.secrets, name),
            };
            need(objects, name, from.optional);
        }
        for variable in &container.env {
            match &variable.value {
                EnvValue::ConfigMapKey(key) => key_of(&mut self.config_maps, key),
                EnvValue::SecretKey(key) => key_of(&mut self.secrets, key),
                EnvValue::Literal(_) | EnvValue::Field(_) | EnvValue::Resource(_) => {}
            }
        }
    }
}

type Objects = BTreeMap<String, Need>;

fn need<'o>(objects: &'o mut Objects, name: &str, optional: bool) -> &'o mut Need {
    let need = objects.entry(name.to_owned()).or_default();
    need.is_required |= !optional;
    need
}

fn key_of(objects: &mut Objects, key: &KeyRef) {
    let need = need(objects, &key.name, key.optional);
    if !key.optional {
        need.keys.insert(key.key.clone());
    }
}

fn files_of(objects: &mut Objects, files: &ObjectFiles) {
    let need = need(objects, &files.name, files.optional);
    if !files.optional {
        need.keys
            .extend(files.items.iter().map(|item| item.key.clone()));
    }
}
