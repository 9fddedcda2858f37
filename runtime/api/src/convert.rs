//! From a Kubernetes Pod to the pod that wasmpod runs.
//!
//! Each part is read and refused in the same place, so that nothing is lost on the way: a field is
//! carried over, or it is known to make no difference here, or it is refused with its reason
//! (`refusals`). A field that nobody has thought of is refused, too. The object has had its
//! defaults; validation is done first.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Pod;
use model::pod::{DnsConfig, DnsPolicy, Identity, RestartPolicy};

use crate::annotations;
use crate::cursor::At;
use crate::error::{ManifestError, tidied};
use crate::findings::{FieldError, Findings};
use crate::object::Object;
use crate::validate;

mod container;
mod environment;
mod probe;
mod refusals;
mod security;
mod volume;

#[cfg(test)]
mod tests;

/// The longest host name.
const LONGEST_HOSTNAME: usize = 63;

/// Makes a pod of a Pod object that has had its defaults.
///
/// # Errors
///
/// What validation finds, and every field that a wasm container cannot honour.
pub fn to_pod(object: &Object) -> Result<Pod, Vec<ManifestError>> {
    convert(object).map_err(|findings| tidied(object.errors(&findings)))
}

/// As [`to_pod`], with the findings as they are.
pub(crate) fn convert(object: &Object) -> Result<Pod, Vec<FieldError>> {
    let mut found = Findings::from(validate::findings(object));
    let pod = pod(&object.top(), &mut found);
    let errors = found.into_errors();
    if errors.is_empty() {
        Ok(pod)
    } else {
        Err(errors)
    }
}

fn pod(top: &At<'_, '_>, found: &mut Findings) -> Pod {
    let (metadata, spec) = (top.field("metadata"), top.field("spec"));
    annotations::check(&metadata.field("annotations"), &spec, found);
    refusals::pod(&spec, found);
    let security = security::of_pod(&spec.field("securityContext"), found);
    let mut containers = |list: &'static str| {
        let list = spec.field(list);
        let read = list.items();
        let read = read.map(|at| container::read(&at, &security, found));
        let mut read: Vec<_> = read.collect();
        read.shrink_to_fit();
        read
    };
    let (init_containers, all) = (containers("initContainers"), containers("containers"));
    Pod {
        identity: Identity {
            namespace: metadata.field("namespace").text().to_owned(),
            name: metadata.field("name").text().to_owned(),
            uid: metadata.field("uid").text().to_owned(),
        },
        labels: pairs(&metadata.field("labels")),
        annotations: pairs(&metadata.field("annotations")),
        init_containers,
        containers: all,
        volumes: spec
            .field("volumes")
            .items()
            .map(|at| volume::read(&at, found))
            .collect(),
        restart_policy: restart_policy(spec.field("restartPolicy").text()).unwrap_or_default(),
        grace_period: seconds(&spec.field("terminationGracePeriodSeconds")).unwrap_or_default(),
        active_deadline: seconds(&spec.field("activeDeadlineSeconds")),
        hostname: hostname(&spec, metadata.field("name").text()),
        subdomain: some(&spec.field("subdomain")),
        hostname_as_fqdn: spec.field("setHostnameAsFQDN").is_true(),
        host_aliases: host_aliases(&spec.field("hostAliases")),
        host_network: spec.field("hostNetwork").is_true(),
        dns_policy: dns_policy(spec.field("dnsPolicy").text()),
        dns_config: dns_config(&spec.field("dnsConfig")),
        security,
        node_name: some(&spec.field("nodeName")),
        service_account: spec.field("serviceAccountName").text().to_owned(),
        runtime_class: some(&spec.field("runtimeClassName")),
        image_pull_secrets: each(&spec.field("imagePullSecrets"), "name"),
        readiness_gates: each(&spec.field("readinessGates"), "conditionType"),
    }
}

/// The given host name, else the pod's name as kubelet cuts it.
fn hostname(spec: &At<'_, '_>, name: &str) -> String {
    if let Some(given) = spec.field("hostname").some_text() {
        return given.to_owned();
    }
    let end = name.floor_char_boundary(LONGEST_HOSTNAME);
    name.get(..end)
        .unwrap_or_default()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

fn host_aliases(aliases: &At<'_, '_>) -> Vec<(std::net::IpAddr, Vec<String>)> {
    aliases
        .items()
        .filter_map(|alias| {
            let address = alias.field("ip").text().parse().ok()?;
            Some((address, alias.field("hostnames").texts()))
        })
        .collect()
}

fn dns_policy(text: &str) -> DnsPolicy {
    match text {
        "ClusterFirstWithHostNet" => DnsPolicy::ClusterFirstWithHostNet,
        "Default" => DnsPolicy::Default,
        "None" => DnsPolicy::None,
        _ => DnsPolicy::ClusterFirst,
    }
}

fn dns_config(config: &At<'_, '_>) -> DnsConfig {
    let options = config.field("options");
    DnsConfig {
        nameservers: config
            .field("nameservers")
            .items()
            .filter_map(|at| at.text().parse().ok())
            .collect(),
        searches: config.field("searches").texts(),
        options: options
            .items()
            .map(|option| {
                (
                    option.field("name").text().to_owned(),
                    some(&option.field("value")),
                )
            })
            .collect(),
    }
}

/// `restartPolicy` of a pod or of a container.
fn restart_policy(text: &str) -> Option<RestartPolicy> {
    Some(match text {
        "Always" => RestartPolicy::Always,
        "OnFailure" => RestartPolicy::OnFailure,
        "Never" => RestartPolicy::Never,
        _ => return None,
    })
}

fn pairs(map: &At<'_, '_>) -> BTreeMap<String, String> {
    map.entries()
        .map(|(key, value)| (key.to_owned(), value.text().to_owned()))
        .collect()
}

/// One field of every entry of a list.
fn each(list: &At<'_, '_>, field: &'static str) -> Vec<String> {
    list.items()
        .map(|item| item.field(field).text().to_owned())
        .collect()
}

/// A text that says something.
fn some(at: &At<'_, '_>) -> Option<String> {
    at.some_text().map(str::to_owned)
}

/// A number of seconds.
fn seconds(at: &At<'_, '_>) -> Option<Duration> {
    at.integer()
        .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// A number in the range of `T`; validation has seen to the range.
fn number<T: TryFrom<i64>>(at: &At<'_, '_>) -> Option<T> {
    T::try_from(at.integer()?).ok()
}
