//! ConfigMaps, Secrets and keys of them that pods cannot start without and no manifest has.
//!
//! Each is told at the very reference that asks for it. The rules are kubelet's: a reference that
//! is optional asks for nothing, neither for the object nor for a key of it.

use super::{Admitted, Workload};
use crate::cursor::At;
use crate::data::{self, Contents};
use crate::error::ManifestError;
use crate::findings::Findings;

/// What references go to.
#[derive(Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
}

/// The references of one pod, looked up one by one.
struct Search<'a> {
    workload: &'a Workload,
    namespace: &'a str,
    found: Findings,
}

/// Everything that one pod's references do not find.
pub(super) fn of(workload: &Workload, admitted: &Admitted) -> Vec<ManifestError> {
    let object = &admitted.object;
    let mut search = Search {
        workload,
        namespace: object.namespace(),
        found: Findings::default(),
    };
    let top = object.top();
    let spec = top.field("spec");
    for list in [spec.field("initContainers"), spec.field("containers")] {
        list.items().for_each(|at| search.container(&at));
    }
    spec.field("volumes").items().for_each(|volume| {
        search.volume(&volume);
    });
    object.errors(&search.found.into_errors())
}

// === impl Search ===

impl Search<'_> {
    fn container(&mut self, container: &At<'_, '_>) {
        for from in container.field("envFrom").items() {
            self.whole(Kind::ConfigMap, &from.field("configMapRef"), "name");
            self.whole(Kind::Secret, &from.field("secretRef"), "name");
        }
        for variable in container.field("env").items() {
            let from = variable.field("valueFrom");
            self.key(Kind::ConfigMap, &from.field("configMapKeyRef"));
            self.key(Kind::Secret, &from.field("secretKeyRef"));
        }
    }

    fn volume(&mut self, volume: &At<'_, '_>) {
        self.files(Kind::ConfigMap, &volume.field("configMap"), "name");
        self.files(Kind::Secret, &volume.field("secret"), "secretName");
        for source in volume.field("projected").field("sources").items() {
            self.files(Kind::ConfigMap, &source.field("configMap"), "name");
            self.files(Kind::Secret, &source.field("secret"), "name");
        }
    }

    /// A reference to an object as a whole.
    fn whole(&mut self, kind: Kind, reference: &At<'_, '_>, name: &'static str) {
        if is_required(reference) {
            self.contents(kind, &reference.field(name));
        }
    }

    /// A reference to one key.
    fn key(&mut self, kind: Kind, reference: &At<'_, '_>) {
        if is_required(reference)
            && let Some(contents) = self.contents(kind, &reference.field("name"))
        {
            let name = reference.field("name").text();
            self.has(kind, name, &contents, &reference.field("key"));
        }
    }

    /// A volume of an object's keys, all or some of them.
    fn files(&mut self, kind: Kind, source: &At<'_, '_>, name: &'static str) {
        if is_required(source)
            && let Some(contents) = self.contents(kind, &source.field(name))
        {
            for item in source.field("items").items() {
                let name = source.field(name).text();
                self.has(kind, name, &contents, &item.field("key"));
            }
        }
    }

    /// The contents of the object of this name, or a finding.
    fn contents(&mut self, kind: Kind, name: &At<'_, '_>) -> Option<Contents> {
        let (workload, namespace) = (self.workload, self.namespace);
        let object = match kind {
            Kind::ConfigMap => workload
                .config_map(namespace, name.text())
                .map(data::config_map),
            Kind::Secret => workload.secret(namespace, name.text()).map(data::secret),
        };
        if object.is_none() {
            let detail = format!(
                "no manifest has this {}; add it with another -f, or mark the reference optional",
                kind.name()
            );
            self.found.not_found_because(name, &detail);
        }
        object
    }

    fn has(&mut self, kind: Kind, object: &str, contents: &Contents, key: &At<'_, '_>) {
        if !contents.contains_key(key.text()) {
            let detail = format!(
                "the {} {object:?} has no such key; add it, or mark the reference optional",
                kind.name()
            );
            self.found.not_found_because(key, &detail);
        }
    }
}

/// Whether a reference is there, and not optional.
fn is_required(reference: &At<'_, '_>) -> bool {
    reference.is_set() && !reference.field("optional").is_true()
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}
