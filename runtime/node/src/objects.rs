//! ConfigMaps and Secrets, wherever they come from: a manifest now, the API's cache later.

use std::collections::HashMap;
use std::sync::Arc;

use api::data::{self, Contents};

/// Keys and contents of one object, shared.
pub type Data = Arc<Contents>;

/// Finds the objects that a pod refers to. Answers from memory.
pub trait Objects: Send + Sync + 'static {
    /// The contents of a ConfigMap; nothing where there is none of that name.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Data>;
    /// Its `data` alone, without `binaryData`: all that variables are made from.
    fn config_map_texts(&self, namespace: &str, name: &str) -> Option<Data>;
    /// The contents of a Secret; nothing where there is none of that name.
    fn secret(&self, namespace: &str, name: &str) -> Option<Data>;
    /// The `type` of a Secret, `Opaque` where it says none; nothing where there is none of that
    /// name.
    fn secret_type(&self, namespace: &str, name: &str) -> Option<String>;
}

/// The kinds of objects that pods refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// The objects of a run's manifests, which do not change.
#[derive(Debug, Default)]
pub struct ManifestObjects {
    config_maps: Named,
    config_map_texts: Named,
    secrets: Named,
    secret_types: HashMap<(String, String), String>,
}

/// Contents by namespace and name.
type Named = HashMap<(String, String), Data>;

// === impl ManifestObjects ===

impl ManifestObjects {
    /// The objects that came with the pods.
    pub fn new(workload: &api::Workload) -> Self {
        let key = |object: &api::Object| (object.namespace().to_owned(), object.name().to_owned());
        let config_maps = workload.config_maps.iter();
        let texts = workload.config_maps.iter();
        let secrets = workload.secrets.iter();
        let types = workload.secrets.iter();
        Self {
            config_maps: config_maps
                .map(|object| (key(object), Arc::new(data::config_map(object))))
                .collect(),
            config_map_texts: texts
                .map(|object| (key(object), Arc::new(data::config_map_texts(object))))
                .collect(),
            secrets: secrets
                .map(|object| (key(object), Arc::new(data::secret(object))))
                .collect(),
            secret_types: types
                .map(|object| (key(object), data::secret_type(object).to_owned()))
                .collect(),
        }
    }
}

impl Objects for ManifestObjects {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Data> {
        find(&self.config_maps, namespace, name)
    }

    fn config_map_texts(&self, namespace: &str, name: &str) -> Option<Data> {
        find(&self.config_map_texts, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Data> {
        find(&self.secrets, namespace, name)
    }

    fn secret_type(&self, namespace: &str, name: &str) -> Option<String> {
        let key = (namespace.to_owned(), name.to_owned());
        self.secret_types.get(&key).cloned()
    }
}

fn find(objects: &Named, namespace: &str, name: &str) -> Option<Data> {
    objects
        .get(&(namespace.to_owned(), name.to_owned()))
        .cloned()
}
