//! Defaults, written into an object as Kubernetes writes them.
//!
//! Nearly all of them are data: the schema table says which field of which type takes what, so
//! they hold in a pod as in the template of a Deployment. Only what depends on other fields is
//! code: the pull policy on the image's tag, a volume without a source, a pod's requests on its
//! limits. What admission adds to a pod (service account, priority) is added here too, since a
//! `run` has no other admission; the token volume is not, since there is nobody to ask for tokens.

use serde_json::{Map, Value, json};

use crate::object::Object;
use crate::schema::{self, DefaultValue, Shape, Type};

type Fields = Map<String, Value>;

/// Fills in what is absent.
pub fn apply(object: &mut Object) {
    let Some(ty) = schema::kind(object.api_version(), object.kind()) else {
        return;
    };
    fill(object.value_mut(), Shape::Object(ty.name()));
    if ty.name() == "core/v1.Pod"
        && let Some(spec) = object
            .value_mut()
            .get_mut("spec")
            .and_then(Value::as_object_mut)
    {
        pod(spec);
    }
}

/// A value and everything below it, by the table.
fn fill(value: &mut Value, shape: Shape) {
    match (shape, value) {
        (Shape::Object(name), Value::Object(fields)) => {
            if let Some(ty) = schema::named(name) {
                fill_object(fields, ty);
            }
        }
        (Shape::List(entry), Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|item| fill(item, Shape::of(entry)));
        }
        (Shape::Map(entry), Value::Object(entries)) => {
            entries
                .values_mut()
                .for_each(|value| fill(value, Shape::of(entry)));
        }
        _ => {}
    }
}

fn fill_object(fields: &mut Fields, ty: Type) {
    for field in ty.defaulted() {
        if let Some(default) = field
            .default()
            .filter(|d| takes(fields.get(field.name), *d))
        {
            let value = serde_json::from_str(default.json).unwrap_or_default();
            fields.insert(field.name.to_owned(), value);
        }
    }
    match ty.name() {
        "core/v1.Volume" => volume(fields),
        "core/v1.Container" | "core/v1.EphemeralContainer" => pull_policy(fields),
        _ => {}
    }
    for (key, value) in fields.iter_mut() {
        if (value.is_object() || value.is_array())
            && let Some(field) = ty.field(key)
        {
            fill(value, field.shape);
        }
    }
}

/// Whether a default takes the place of what is there.
fn takes(value: Option<&Value>, default: DefaultValue) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => default.replaces_empty && text.is_empty(),
        Some(Value::Number(number)) => default.replaces_empty && number.as_f64() == Some(0.0),
        Some(_) => false,
    }
}

/// A volume that names no source is an empty directory.
fn volume(fields: &mut Fields) {
    if fields
        .iter()
        .all(|(key, value)| key == "name" || value.is_null())
    {
        fields.insert("emptyDir".to_owned(), json!({}));
    }
}

/// An image whose tag is `latest`, said or meant, is asked for at every start.
fn pull_policy(fields: &mut Fields) {
    let given = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    if given("imagePullPolicy").is_empty() {
        let policy = if is_latest(given("image")) {
            "Always"
        } else {
            "IfNotPresent"
        };
        fields.insert("imagePullPolicy".to_owned(), json!(policy));
    }
}

/// Whether an image reference names no digest and no tag other than `latest`.
///
/// A file of this machine has no tag and nowhere to be pulled from.
fn is_latest(image: &str) -> bool {
    if image.is_empty() || image.contains('@') || image.starts_with("file:") {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// What only a pod is given, and not a template of pods.
fn pod(spec: &mut Fields) {
    let on_host = spec
        .get("hostNetwork")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(resources) = container
                .get_mut("resources")
                .and_then(Value::as_object_mut)
            {
                requests(resources);
            }
            if on_host {
                host_ports(container);
            }
        }
    }
    let mut fill = |key: &str, value: Value| {
        if spec
            .get(key)
            .is_none_or(|there| there.is_null() || *there == json!(""))
        {
            spec.insert(key.to_owned(), value);
        }
    };
    fill("enableServiceLinks", json!(true));
    service_account(spec);
    priority(spec);
}

/// A request that is not given is as large as the limit.
fn requests(resources: &mut Fields) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (resource, limit) in limits {
            requests.entry(resource).or_insert(limit);
        }
    }
}

/// On the host's network a container's port is the host's port.
fn host_ports(container: &mut Value) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        let given = port
            .get("hostPort")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        if given == 0
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

/// The service account under its name and under its old name.
fn service_account(spec: &mut Fields) {
    let given = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .filter_map(|key| spec.get(key)?.as_str())
        .find(|name| !name.is_empty());
    let name = given.unwrap_or("default").to_owned();
    for key in ["serviceAccountName", "serviceAccount"] {
        spec.insert(key.to_owned(), json!(name));
    }
}

/// The priority of a pod that names no class.
fn priority(spec: &mut Fields) {
    let named = spec
        .get("priorityClassName")
        .and_then(Value::as_str)
        .is_some_and(|n| !n.is_empty());
    if !named {
        spec.entry("priority").or_insert_with(|| json!(0));
        spec.entry("preemptionPolicy")
            .or_insert_with(|| json!("PreemptLowerPriority"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(value: Value) -> Value {
        let mut object = Object::new(value).unwrap();
        apply(&mut object);
        object.into_value()
    }

    #[test]
    fn a_bare_pod_gets_what_kubernetes_gives_it() {
        let pod = defaulted(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "web"}], "volumes": [{"name": "tmp"}]}
        }));
        assert_eq!(
            pod.get("spec"),
            Some(&json!({
                "containers": [{
                    "name": "web", "image": "web", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
                }],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "enableServiceLinks": true,
                "schedulerName": "default-scheduler", "securityContext": {},
                "terminationGracePeriodSeconds": 30,
                "serviceAccountName": "default", "serviceAccount": "default",
                "priority": 0, "preemptionPolicy": "PreemptLowerPriority"
            }))
        );
    }

    #[test]
    fn what_is_inside_a_container_is_filled_in_too() {
        let pod = defaulted(json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {"hostNetwork": true, "containers": [{
                "image": "web:1",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0, "timeoutSeconds": 5}
            }]}
        }));
        let container = pod.pointer("/spec/containers/0").unwrap();
        assert_eq!(
            container.get("imagePullPolicy"),
            Some(&json!("IfNotPresent"))
        );
        assert_eq!(
            container.get("ports"),
            Some(&json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]))
        );
        assert_eq!(
            container.pointer("/resources/requests"),
            Some(&json!({"cpu": "500m", "memory": "1Gi"}))
        );
        assert_eq!(
            container.get("livenessProbe"),
            Some(&json!({
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 5,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
            }))
        );
    }

    #[test]
    fn a_template_is_filled_in_without_what_only_pods_get() {
        let deployment = defaulted(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [
                {"image": "a/b:latest", "resources": {"limits": {"cpu": "1"}}}
            ]}}}
        }));
        let spec = deployment.pointer("/spec/template/spec").unwrap();
        assert_eq!(spec.pointer("/restartPolicy"), Some(&json!("Always")));
        assert_eq!(
            spec.pointer("/containers/0/imagePullPolicy"),
            Some(&json!("Always"))
        );
        assert_eq!(spec.pointer("/containers/0/resources/requests"), None);
        assert_eq!(spec.get("enableServiceLinks"), None);
    }

    #[test]
    fn only_a_tag_that_can_move_is_pulled_always() {
        for (image, latest) in [
            ("web", true),
            ("web:latest", true),
            ("localhost:5000/web", true),
            ("localhost:5000/web:1", false),
            ("web@sha256:abc", false),
            ("web:latest@sha256:abc", false),
            ("file:web.wasm", false),
            ("", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
