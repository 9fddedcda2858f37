//! The downward API: what a pod may learn of itself through variables and files.
//!
//! Pure: whoever asks brings the facts. Which fields may be asked for where is also what
//! validation goes by.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::container::ResourceField;
use model::{Container, Pod, Quantity};

/// The fields that a variable may show, besides single labels and annotations.
pub const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields that a file may show, besides single labels and annotations.
pub const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// The resources that both may show.
pub const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// What is known of a pod where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The node's name.
    pub node_name: &'a str,
    /// The node's addresses, the first one first.
    pub host_ips: &'a [IpAddr],
    /// The pod's addresses, the first one first; none before its network is made.
    pub pod_ips: &'a [IpAddr],
    /// What the node has for pods.
    pub allocatable: Allocatable,
}

/// What a node has for pods: the limit of a container that has none of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocatable {
    /// In cores.
    pub cpu: Quantity,
    /// In bytes.
    pub memory: Quantity,
    /// In bytes.
    pub ephemeral_storage: Quantity,
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    /// The field does not exist, or may not be shown.
    #[error("fieldPath {0:?} cannot be shown; use one of {list}", list = ENV_FIELDS.join(", "))]
    NoSuchField(String),
    /// The resource does not exist, or may not be shown.
    #[error("resource {0:?} cannot be shown; use one of {list}", list = RESOURCES.join(", "))]
    NoSuchResource(String),
    /// The pod has no container of that name.
    #[error("containerName {0:?} names no container of the pod")]
    NoSuchContainer(String),
}

/// The value of `fieldRef.fieldPath`.
///
/// A label or annotation that is not there has the empty value. All labels or annotations at once
/// come as kubelet writes them: a line `key="value"` each, in the order of the keys.
///
/// # Errors
///
/// A field that no pod has.
pub fn field(facts: &Facts<'_>, path: &str) -> Result<String, DownwardError> {
    let pod = facts.pod;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &pod.labels,
            "metadata.annotations" => &pod.annotations,
            _ => return Err(DownwardError::NoSuchField(path.to_owned())),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.identity.name.clone(),
        "metadata.namespace" => pod.identity.namespace.clone(),
        "metadata.uid" => pod.identity.uid.clone(),
        "metadata.labels" => lines(&pod.labels),
        "metadata.annotations" => lines(&pod.annotations),
        "spec.nodeName" => facts.node_name.to_owned(),
        "spec.serviceAccountName" => pod.service_account.clone(),
        "status.hostIP" => joined(facts.host_ips.get(..1)),
        "status.hostIPs" => joined(Some(facts.host_ips)),
        "status.podIP" => joined(facts.pod_ips.get(..1)),
        "status.podIPs" => joined(Some(facts.pod_ips)),
        _ => return Err(DownwardError::NoSuchField(path.to_owned())),
    })
}

/// The value of a `resourceFieldRef` in a container of this name: so many divisors, rounded up.
///
/// # Errors
///
/// A resource or container that is not there.
pub fn resource(
    facts: &Facts<'_>,
    own: &str,
    reference: &ResourceField,
) -> Result<String, DownwardError> {
    let name = reference.container.as_deref().unwrap_or(own);
    let mut containers = facts.pod.all_containers();
    let container = containers
        .find(|container| container.name == name)
        .ok_or_else(|| DownwardError::NoSuchContainer(name.to_owned()))?;
    let amount = amount(container, &reference.resource, &facts.allocatable)
        .ok_or_else(|| DownwardError::NoSuchResource(reference.resource.clone()))?;
    Ok(amount.divided_by(reference.divisor).to_string())
}

/// The map and the key of a path like `metadata.labels['app']`.
pub fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// A request, or a limit with the node's capacity in place of none.
fn amount(container: &Container, resource: &str, node: &Allocatable) -> Option<Quantity> {
    let own = &container.resources;
    let limit = |own: Option<Quantity>, node: Quantity| {
        own.filter(|limit| limit.milli() != 0).unwrap_or(node)
    };
    Some(match resource {
        "limits.cpu" => limit(own.cpu_limit, node.cpu),
        "limits.memory" => limit(own.memory_limit, node.memory),
        "limits.ephemeral-storage" => limit(own.storage_limit, node.ephemeral_storage),
        "requests.cpu" => own.cpu_request.unwrap_or_default(),
        "requests.memory" => own.memory_request.unwrap_or_default(),
        "requests.ephemeral-storage" => own.storage_request.unwrap_or_default(),
        _ => return None,
    })
}

fn joined(addresses: Option<&[IpAddr]>) -> String {
    let texts: Vec<String> = addresses
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    texts.join(",")
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    lines.join("\n")
}

/// A text in double quotes with the escapes of Go, in which kubelet writes these files.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::pod::Identity;

    fn pod() -> Pod {
        let mut web = Container {
            name: "web".to_owned(),
            ..Container::default()
        };
        web.resources.cpu_limit = "1500m".parse().ok();
        web.resources.cpu_request = "100m".parse().ok();
        let pairs = [("app", "web"), ("note", "a \"b\"\n\u{1}é")];
        Pod {
            identity: Identity {
                namespace: "default".to_owned(),
                name: "p".to_owned(),
                uid: "u".to_owned(),
            },
            labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            containers: vec![web],
            service_account: "robot".to_owned(),
            ..Pod::default()
        }
    }

    fn facts<'a>(pod: &'a Pod, ips: &'a [IpAddr]) -> Facts<'a> {
        Facts {
            pod,
            node_name: "node",
            host_ips: ips,
            pod_ips: ips,
            allocatable: Allocatable {
                cpu: Quantity::from_units(4),
                memory: "1Gi".parse().unwrap(),
                ephemeral_storage: Quantity::default(),
            },
        }
    }

    #[test]
    fn fields_of_the_pod() {
        let (pod, ips) = (
            pod(),
            ["127.3.0.2".parse().unwrap(), "::1".parse().unwrap()],
        );
        let facts = facts(&pod, &ips);
        for (path, value) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "default"),
            ("metadata.uid", "u"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            (
                "metadata.labels",
                "app=\"web\"\nnote=\"a \\\"b\\\"\\n\\x01é\"",
            ),
            ("metadata.annotations", ""),
            ("spec.nodeName", "node"),
            ("spec.serviceAccountName", "robot"),
            ("status.hostIP", "127.3.0.2"),
            ("status.podIPs", "127.3.0.2,::1"),
        ] {
            assert_eq!(field(&facts, path).as_deref(), Ok(value), "{path}");
        }
        for path in ["metadata.labels[app]", "spec.hostname", "spec.x['a']", ""] {
            assert!(field(&facts, path).is_err(), "{path}");
        }
    }

    #[test]
    fn resources_are_rounded_up_and_limits_default_to_the_node() {
        let pod = pod();
        let facts = facts(&pod, &[]);
        for (name, divisor, value) in [
            ("limits.cpu", "1", "2"),
            ("limits.cpu", "1m", "1500"),
            ("limits.cpu", "0", "2"),
            ("requests.cpu", "1m", "100"),
            ("limits.memory", "1Mi", "1024"),
            ("requests.memory", "1", "0"),
        ] {
            let reference = ResourceField {
                container: None,
                resource: name.to_owned(),
                divisor: divisor.parse().unwrap(),
            };
            let found = resource(&facts, "web", &reference);
            assert_eq!(found.as_deref(), Ok(value), "{name} / {divisor}");
        }
        let other = ResourceField {
            container: Some("other".to_owned()),
            resource: "limits.cpu".to_owned(),
            divisor: Quantity::default(),
        };
        assert_eq!(
            resource(&facts, "web", &other),
            Err(DownwardError::NoSuchContainer("other".to_owned()))
        );
    }
}
