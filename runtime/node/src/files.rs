//! A pod's volumes as the runtime takes them, and the files that every container gets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use api::downward::{self, DownwardError, Facts};
use bytes::Bytes;
use model::runtime::{FileSpec, Resolver, VolumeSource, VolumeSpec};
use model::volume::{FieldSource, ObjectFiles, Projection, Source, Volume};
use model::{Container, Pod};

use crate::objects::{Data, Objects};

/// Names of the volumes that no manifest names: not DNS labels, so they clash with none.
pub(crate) const HOSTS: &str = "etc.hosts";
/// See [`HOSTS`].
pub(crate) const HOSTNAME: &str = "etc.hostname";
/// See [`HOSTS`].
pub(crate) const RESOLV_CONF: &str = "etc.resolv-conf";

/// Why a volume cannot be filled: kubelet's FailedMount, the pod stays ContainerCreating.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    /// An object that is not there.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {kind} {name:?} not found")]
    NoObject {
        /// The volume.
        volume: String,
        /// configmap or secret.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that the object does not have.
    #[error(
        "MountVolume.SetUp failed for volume {volume:?} : {kind} {name:?} references non-existent key: {key}"
    )]
    NoKey {
        /// The volume.
        volume: String,
        /// configmap or secret.
        kind: &'static str,
        /// The object.
        name: String,
        /// The key.
        key: String,
    },
    /// A field that cannot be shown.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Downward {
        /// The volume.
        volume: String,
        /// Why not.
        source: DownwardError,
    },
    /// A token that nobody issues here.
    #[error(
        "MountVolume.SetUp failed for volume {volume:?} : there is no API server to issue a service account token: leave the serviceAccountToken source out"
    )]
    NoToken {
        /// The volume.
        volume: String,
    },
}

/// All volumes of a pod.
///
/// # Errors
/// The first volume that cannot be filled.
pub(crate) fn volumes(
    facts: &Facts<'_>,
    objects: &dyn Objects,
) -> Result<BTreeMap<String, VolumeSpec>, VolumeError> {
    let all = facts.pod.volumes.iter();
    all.map(|volume| Ok((volume.name.clone(), spec(volume, facts, objects)?)))
        .collect()
}

/// One volume.
///
/// # Errors
/// See [`VolumeError`].
pub(crate) fn spec(
    volume: &Volume,
    facts: &Facts<'_>,
    objects: &dyn Objects,
) -> Result<VolumeSpec, VolumeError> {
    Ok(match &volume.source {
        Source::EmptyDir { memory, size_limit } => VolumeSpec {
            source: VolumeSource::Empty { memory: *memory },
            size_limit: if *memory {
                memory_limit(*size_limit, facts)
            } else {
                of_size(*size_limit)
            },
        },
        Source::HostPath { path, kind } => VolumeSpec {
            source: VolumeSource::Host {
                path: PathBuf::from(path),
                kind: *kind,
            },
            size_limit: None,
        },
        Source::Projected { .. } => VolumeSpec {
            source: VolumeSource::Files(of(volume, facts, objects)?),
            size_limit: None,
        },
    })
}

/// The volumes that are filled from ConfigMaps and Secrets.
pub(crate) fn from_objects(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let objects =
        |from: &Projection| matches!(from, Projection::ConfigMap(_) | Projection::Secret(_));
    pod.volumes.iter().filter(move |volume| {
        matches!(&volume.source, Source::Projected { sources, .. } if sources.iter().any(objects))
    })
}

/// The files of a projected volume, by path; of those with the same path the last. Other volumes
/// have none.
///
/// # Errors
/// See [`VolumeError`].
pub(crate) fn of(
    volume: &Volume,
    facts: &Facts<'_>,
    objects: &dyn Objects,
) -> Result<Vec<FileSpec>, VolumeError> {
    let Source::Projected {
        sources,
        default_mode,
    } = &volume.source
    else {
        return Ok(Vec::new());
    };
    let mut files = BTreeMap::new();
    for projection in sources {
        for file in projected(&volume.name, projection, *default_mode, facts, objects)? {
            files.insert(file.path.clone(), file);
        }
    }
    Ok(files.into_values().collect())
}

fn projected(
    volume: &str,
    projection: &Projection,
    mode: u32,
    facts: &Facts<'_>,
    objects: &dyn Objects,
) -> Result<Vec<FileSpec>, VolumeError> {
    let namespace = &facts.pod.identity.namespace;
    match projection {
        Projection::ConfigMap(from) => keys(
            volume,
            "configmap",
            from,
            mode,
            objects.config_map(namespace, &from.name),
        ),
        Projection::Secret(from) => keys(
            volume,
            "secret",
            from,
            mode,
            objects.secret(namespace, &from.name),
        ),
        Projection::DownwardApi(files) => files
            .iter()
            .map(|file| {
                let content = match &file.field {
                    FieldSource::Field(path) => downward::field(facts, path),
                    FieldSource::Resource(field) => downward::resource(facts, "", field),
                };
                let content = content.map_err(|source| VolumeError::Downward {
                    volume: volume.to_owned(),
                    source,
                })?;
                Ok(FileSpec {
                    path: file.path.clone(),
                    content: content.into(),
                    mode: file.mode.unwrap_or(mode),
                })
            })
            .collect(),
        Projection::ServiceAccountToken { .. } => Err(VolumeError::NoToken {
            volume: volume.to_owned(),
        }),
    }
}

fn keys(
    volume: &str,
    kind: &'static str,
    from: &ObjectFiles,
    mode: u32,
    contents: Option<Data>,
) -> Result<Vec<FileSpec>, VolumeError> {
    let Some(contents) = contents else {
        return match from.optional {
            true => Ok(Vec::new()),
            false => Err(VolumeError::NoObject {
                volume: volume.to_owned(),
                kind,
                name: from.name.clone(),
            }),
        };
    };
    if from.items.is_empty() {
        let all = contents.iter();
        return Ok(all
            .map(|(path, content)| FileSpec {
                path: path.clone(),
                content: content.clone(),
                mode,
            })
            .collect());
    }
    let mut files = Vec::new();
    for item in &from.items {
        match contents.get(&item.key).cloned() {
            Some(content) => {
                files.push(FileSpec {
                    path: item.path.clone(),
                    content,
                    mode: item.mode.unwrap_or(mode),
                });
            }
            None if from.optional => {}
            None => {
                return Err(VolumeError::NoKey {
                    volume: volume.to_owned(),
                    kind,
                    name: from.name.clone(),
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(files)
}

/// What a volume in memory may hold: its sizeLimit, but no more than the pod's containers may use
/// together, and no more than the node has. Kubelet's rule.
///
/// While a container runs, what it writes there counts against its own limit too; this one bounds
/// what containers that have ended leave behind.
fn memory_limit(size_limit: Option<model::Quantity>, facts: &Facts<'_>) -> Option<u64> {
    let of_node = Some(facts.allocatable.memory.bytes()).filter(|bytes| *bytes > 0);
    [of_size(size_limit), pod_memory(facts.pod), of_node]
        .into_iter()
        .flatten()
        .min()
}

/// What a pod's containers may use together: those that run side by side, or an init container with
/// the sidecars before it, whichever is more. Nothing if any of them has no limit.
fn pod_memory(pod: &Pod) -> Option<u64> {
    let limit = |container: &Container| {
        let limit = container.resources.memory_limit;
        limit.map(model::Quantity::bytes).filter(|bytes| *bytes > 0)
    };
    let (mut sidecars, mut most) = (0_u64, 0_u64);
    for container in &pod.init_containers {
        let alone = limit(container)?;
        if container.is_sidecar() {
            sidecars = sidecars.saturating_add(alone);
        } else {
            most = most.max(sidecars.saturating_add(alone));
        }
    }
    let mut limits = pod.containers.iter().map(limit);
    let together = limits.try_fold(sidecars, |sum, limit| Some(sum.saturating_add(limit?)))?;
    Some(most.max(together))
}

/// A size as a limit: 0 is none, as in kubelet.
pub(crate) fn of_size(size: Option<model::Quantity>) -> Option<u64> {
    size.map(model::Quantity::bytes).filter(|bytes| *bytes > 0)
}

/// One writable file as a volume.
pub(crate) fn file(content: impl Into<Bytes>, mode: u32) -> VolumeSpec {
    let file = FileSpec {
        path: "file".to_owned(),
        content: content.into(),
        mode,
    };
    VolumeSpec {
        source: VolumeSource::File(file),
        size_limit: None,
    }
}

/// /etc/hosts as kubelet writes it.
pub(crate) fn hosts(pod: &Pod, addresses: &[IpAddr], fqdn: Option<&str>) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for address in addresses {
        // Writing to a string does not fail.
        let _ = match fqdn {
            Some(fqdn) => writeln!(text, "{address}\t{fqdn}\t{}", pod.hostname),
            None => writeln!(text, "{address}\t{}", pod.hostname),
        };
    }
    if !pod.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for (address, names) in &pod.host_aliases {
        let _ = writeln!(text, "{address}\t{}", names.join("\t"));
    }
    text
}

/// /etc/resolv.conf.
pub(crate) fn resolv_conf(resolver: &Resolver) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    if !resolver.searches.is_empty() {
        let _ = writeln!(text, "search {}", resolver.searches.join(" "));
    }
    for server in &resolver.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.options.is_empty() {
        let _ = writeln!(text, "options {}", resolver.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use model::Quantity;
    use model::pod::RestartPolicy;

    use super::*;

    /// A container with this limit in MiB; none for 0.
    fn container(mebibytes: i64, sidecar: bool) -> Container {
        let mut container = Container {
            restart_policy: sidecar.then_some(RestartPolicy::Always),
            ..Container::default()
        };
        let limit = (mebibytes > 0).then(|| Quantity::from_units(mebibytes << 20));
        container.resources.memory_limit = limit;
        container
    }

    /// Init containers, whether each is a sidecar; main ones; what the pod may use. All in MiB.
    type Case<'a> = (&'a [(i64, bool)], &'a [i64], Option<u64>);

    #[test]
    fn a_pod_may_use_what_its_containers_may_use_at_one_time() {
        let cases: &[Case<'_>] = &[
            (&[], &[8], Some(8)),
            (&[], &[8, 16], Some(24)),
            (&[], &[8, 0], None),
            (&[(64, false)], &[8], Some(64)),
            (&[(64, false), (32, false)], &[8, 80], Some(88)),
            (&[(4, true)], &[8], Some(12)),
            (&[(4, true), (64, false)], &[8], Some(68)),
            (&[(64, false), (4, true)], &[8], Some(64)),
            (&[(0, false)], &[8], None),
            (&[(0, true)], &[8], None),
        ];
        for (inits, mains, expected) in cases {
            let pod = Pod {
                init_containers: inits
                    .iter()
                    .map(|(limit, sidecar)| container(*limit, *sidecar))
                    .collect(),
                containers: mains.iter().map(|limit| container(*limit, false)).collect(),
                ..Pod::default()
            };
            let found = pod_memory(&pod).map(|bytes| bytes >> 20);
            assert_eq!(found, *expected, "{inits:?} {mains:?}");
        }
    }
}
