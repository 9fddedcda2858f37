//! Manifests as tests write them: pods of guests with their arguments, as JSON documents.

use std::fmt;

use serde_json::{Value, json};

/// The manifest of a pod, restartPolicy Never unless a test says otherwise.
#[derive(Clone)]
pub(crate) struct Pod(Value);

// === impl Pod ===

impl Pod {
    /// A pod without containers yet.
    pub(crate) fn new(name: &str) -> Self {
        Self(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "containers": []},
        }))
    }

    /// A pod `p` with one container `c`: what most tests need.
    pub(crate) fn one(guest: &str, args: &[&str], fields: Value) -> Self {
        Self::new("p").container("c", guest, args, fields)
    }

    /// Further fields of the spec; those given already are replaced.
    pub(crate) fn spec(mut self, fields: Value) -> Self {
        merge(&mut self.0["spec"], fields);
        self
    }

    /// Further fields of the metadata.
    pub(crate) fn metadata(mut self, fields: Value) -> Self {
        merge(&mut self.0["metadata"], fields);
        self
    }

    /// A container that runs a guest with arguments, and further fields.
    pub(crate) fn container(self, name: &str, guest: &str, args: &[&str], fields: Value) -> Self {
        self.add("containers", name, guest, args, fields)
    }

    /// An init container likewise.
    pub(crate) fn init(self, name: &str, guest: &str, args: &[&str], fields: Value) -> Self {
        self.add("initContainers", name, guest, args, fields)
    }

    /// Another image for the last container.
    pub(crate) fn image(mut self, image: &str) -> Self {
        let last = self.0["spec"]["containers"]
            .as_array_mut()
            .and_then(|all| all.last_mut());
        if let Some(container) = last {
            container["image"] = json!(image);
        }
        self
    }

    fn add(mut self, list: &str, name: &str, guest: &str, args: &[&str], fields: Value) -> Self {
        let mut container = json!({"name": name, "image": format!("guest:{guest}"), "args": args});
        merge(&mut container, fields);
        let list = &mut self.0["spec"][list];
        match list.as_array_mut() {
            Some(containers) => containers.push(container),
            None => *list = json!([container]),
        }
        self
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "---\n{:#}", self.0)
    }
}

/// Several pods as one manifest.
pub(crate) fn pods<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> String {
    pods.into_iter().map(Pod::to_string).collect()
}

/// Sets the fields of one object in another; `null` sets nothing.
fn merge(object: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else {
        return;
    };
    for (key, value) in fields {
        object[key] = value;
    }
}
