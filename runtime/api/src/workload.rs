//! What one `wasmpod run` is given: pods, and the ConfigMaps and Secrets they read.
//!
//! Everything else is refused by name, since a `run` has no server that could act on it. So is
//! what only a server could supply: tokens, gates that a controller opens, objects that no
//! manifest holds.

mod images;
mod missing;
mod place;
mod ports;
mod users;
mod walk;

use std::collections::HashSet;
use std::time::SystemTime;

use model::security::User;
use model::{Container, Pod};

use crate::error::{ManifestError, tidied};
use crate::findings::{FieldError, Findings};
use crate::manifest::parse_all;
use crate::object::Object;
use crate::{annotations, convert, defaults, identity, validate};

/// The RuntimeClass of pods that get a process of their own.
pub const PROCESS: &str = "wasmpod-process";

/// The objects of one run, admitted.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// Pods in the order of the manifests.
    pub pods: Vec<Admitted>,
    /// ConfigMaps.
    pub config_maps: Vec<Object>,
    /// Secrets.
    pub secrets: Vec<Object>,
    /// Kind, namespace and name of everything above.
    names: HashSet<(String, String, String)>,
}

/// A pod that may run: the object as an API server would keep it, and what is made of it.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// With defaults, uid and creation time; its status is for whoever runs it to add.
    pub object: Object,
    /// The same for the node.
    pub pod: Pod,
}

// === impl Workload ===

impl Workload {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the objects of a manifest. `source` is what errors call it.
    ///
    /// # Errors
    ///
    /// Every fault of the text and of its objects, up to a capped number. What was right is added
    /// nevertheless, so that the faults of further manifests can be told as well; such a workload
    /// is not to be run.
    pub fn add(
        &mut self,
        text: impl AsRef<[u8]>,
        source: &str,
        now: SystemTime,
    ) -> Result<(), Vec<ManifestError>> {
        let parsed = parse_all(text.as_ref(), source);
        let mut errors = parsed.errors;
        for object in parsed.objects {
            errors.extend(self.admit(object, now));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(tidied(errors))
        }
    }

    /// Adds an object made by code.
    ///
    /// # Errors
    ///
    /// Every fault of the object.
    pub fn add_object(
        &mut self,
        object: Object,
        now: SystemTime,
    ) -> Result<(), Vec<ManifestError>> {
        let errors = self.admit(object, now);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(tidied(errors))
        }
    }

    /// A ConfigMap by namespace and name.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&Object> {
        named(&self.config_maps, namespace, name)
    }

    /// A Secret by namespace and name.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Object> {
        named(&self.secrets, namespace, name)
    }

    /// What pods cannot start without and no manifest has: ConfigMaps, Secrets, keys of them.
    ///
    /// In a cluster such a pod waits; here nobody could ever bring what it waits for.
    pub fn missing(&self) -> Vec<ManifestError> {
        let errors = self
            .pods
            .iter()
            .flat_map(|admitted| missing::of(self, admitted));
        tidied(errors.collect())
    }

    /// What pods of this run cannot have at once: a hostPort that another one has.
    ///
    /// In a cluster the later pod waits for a node; here there is but one.
    pub fn conflicts(&self) -> Vec<ManifestError> {
        tidied(ports::conflicts(&self.pods))
    }

    /// What containers ask of the user they run as, on files of the machine, that `own` is not.
    pub fn strangers(&self, own: &User) -> Vec<ManifestError> {
        tidied(users::strangers(&self.pods, own))
    }

    /// Pods that the node of this name cannot run: they name another one, or a RuntimeClass that is
    /// not there.
    pub fn misplaced(&self, node: &str) -> Vec<ManifestError> {
        tidied(place::misplaced(&self.pods, node))
    }

    /// Containers whose image `fault` finds fault with.
    pub fn unusable_images(
        &self,
        fault: impl Fn(&Container) -> Option<String>,
    ) -> Vec<ManifestError> {
        tidied(images::unusable(&self.pods, fault))
    }

    /// What makes no difference here although its author may think so. Warnings: the pods run.
    pub fn warnings(&self) -> Vec<ManifestError> {
        tidied(place::unscheduled(&self.pods))
    }

    /// Puts an object where it belongs, or says everything that is wrong with it.
    fn admit(&mut self, mut object: Object, now: SystemTime) -> Vec<ManifestError> {
        match self.checked(&mut object, now) {
            Err(findings) => return object.errors(&findings),
            Ok(Some(pod)) => self.pods.push(Admitted { object, pod }),
            Ok(None) if object.kind() == "Secret" => self.secrets.push(object),
            Ok(None) => self.config_maps.push(object),
        }
        Vec::new()
    }

    /// Fills an object in and checks it; makes a pod of it if it is one.
    fn checked(
        &mut self,
        object: &mut Object,
        now: SystemTime,
    ) -> Result<Option<Pod>, Vec<FieldError>> {
        only_known_kinds(object)?;
        identity::assign(object, now);
        defaults::apply(object);
        self.unique(object)?;
        if object.kind() == "Pod" {
            let pod = convert::convert(object)?;
            needs_no_server(object, &pod)?;
            return Ok(Some(pod));
        }
        let findings = validate::findings(object);
        if findings.is_empty() {
            Ok(None)
        } else {
            Err(findings)
        }
    }

    /// Refuses a second object of the same kind and name.
    fn unique(&mut self, object: &Object) -> Result<(), Vec<FieldError>> {
        let own = [object.kind(), object.namespace(), object.name()].map(str::to_owned);
        if object.name().is_empty() || self.names.insert(own.into()) {
            return Ok(());
        }
        let mut found = Findings::default();
        found.duplicate(&object.top().field("metadata").field("name"));
        Err(found.into_errors())
    }
}

/// Refuses the kinds that a run has no use for.
fn only_known_kinds(object: &Object) -> Result<(), Vec<FieldError>> {
    if object.api_version() == "v1" && ["Pod", "ConfigMap", "Secret"].contains(&object.kind()) {
        return Ok(());
    }
    let mut found = Findings::default();
    let detail = format!(
        "wasmpod run runs Pods, with the ConfigMaps and Secrets they read; write the pods of this {} as Pods, or leave it out",
        object.kind()
    );
    found.refused(&object.top().field("kind"), &detail);
    Err(found.into_errors())
}

/// Refuses what only a server or its controllers could do for a pod.
fn needs_no_server(object: &Object, pod: &Pod) -> Result<(), Vec<FieldError>> {
    let mut found = Findings::default();
    let top = object.top();
    let (metadata, spec) = (top.field("metadata"), top.field("spec"));
    if annotations::is_native(pod) {
        let detail = "wasmpod run does not run Linux containers; use wasm images";
        found.refused(
            &metadata.field("annotations").key(annotations::RUNTIME),
            detail,
        );
    }
    let gates = spec.field("schedulingGates");
    if gates.len() > 0 {
        found.refused(
            &gates,
            "there is no controller that would remove them; remove them here",
        );
    }
    for volume in spec.field("volumes").items() {
        for source in volume.field("projected").field("sources").items() {
            let token = source.field("serviceAccountToken");
            if token.is_set() {
                found.refused(
                    &token,
                    "there is no API server that could issue a token; remove it",
                );
            }
        }
    }
    let errors = found.into_errors();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn named<'o>(objects: &'o [Object], namespace: &str, name: &str) -> Option<&'o Object> {
    objects
        .iter()
        .find(|object| object.namespace() == namespace && object.name() == name)
}

#[cfg(test)]
mod tests;
