//! What a security context asks of the user that guests' files are opened as.
//!
//! A guest is no process: it has no user, and WASI shows no owners. What `runAsUser` and its
//! companions decide is therefore the owner of files on the node, and which of them may be opened:
//! on hostPaths, since everything else is the pod's alone. The pod host does both as the user that
//! runs it.

use crate::container::Container;
use crate::pod::{Identity, Pod};
use crate::volume::Source;

/// A user of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Numbers of its further groups.
    pub groups: Vec<u32>,
}

/// A field that another user would have to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger<'a> {
    /// `runAsUser`, `runAsGroup` or `fsGroup`.
    pub field: &'static str,
    /// Its value.
    pub wanted: u32,
    /// The hostPath volume that it would matter for.
    pub volume: &'a str,
    /// Whom files are opened as instead.
    own: u32,
}

/// What a container asks that its node's user is not; nothing where it would make no difference.
pub fn stranger<'a>(pod: &Pod, container: &'a Container, own: &User) -> Option<Stranger<'a>> {
    let of_host = |name: &str| {
        let mut volumes = pod.volumes.iter();
        volumes
            .any(|volume| volume.name == name && matches!(volume.source, Source::HostPath { .. }))
    };
    let mut mounts = container.mounts.iter();
    let mount = mounts.find(|mount| of_host(&mount.volume))?;
    let security = &container.security;
    // Root may do what a member of any group may.
    let is_member = |group: u32| own.uid == 0 || own.gid == group || own.groups.contains(&group);
    let user = security.run_as_user.filter(|user| *user != own.uid);
    let group = security.run_as_group.filter(|group| *group != own.gid);
    let fs_group = security.fs_group.filter(|group| !is_member(*group));
    let (field, wanted, own) = match (user, group, fs_group) {
        (Some(user), _, _) => ("runAsUser", user, own.uid),
        (None, Some(group), _) => ("runAsGroup", group, own.gid),
        (None, None, Some(group)) => ("fsGroup", group, own.gid),
        (None, None, None) => return None,
    };
    Some(Stranger {
        field,
        wanted,
        volume: &mount.volume,
        own,
    })
}

/// `runAsNonRoot`, in kubelet's words. An image without a user of its own counts as the user that
/// runs the pod host.
///
/// # Errors
/// When the container would be root's.
pub fn check_non_root(
    identity: &Identity,
    container: &Container,
    own: &User,
) -> Result<(), String> {
    let security = &container.security;
    if security.run_as_non_root != Some(true) {
        return Ok(());
    }
    let why = match security.run_as_user {
        Some(0) => "container's runAsUser breaks non-root policy",
        None if own.uid == 0 => "container has runAsNonRoot and image will run as root",
        _ => return Ok(()),
    };
    let Identity {
        namespace,
        name,
        uid,
    } = identity;
    let container = &container.name;
    Err(format!(
        "{why} (pod: \"{name}_{namespace}({uid})\", container: {container})"
    ))
}

// === impl Stranger ===

impl Stranger<'_> {
    /// What is wrong, and the remedy.
    pub fn message(&self) -> String {
        let Self {
            field,
            wanted,
            volume,
            own,
        } = self;
        let kind = if *field == "runAsUser" {
            "user"
        } else {
            "group"
        };
        format!(
            "the files of hostPath volume {volume:?} are opened as {kind} {own}, which runs wasmpod: \
             run wasmpod as {kind} {wanted}, or leave out {field} or the volume"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::SecurityContext;
    use crate::volume::{HostPathType, Mount, Volume};

    /// A pod with one container that mounts this volume.
    fn pod(source: Source, security: SecurityContext) -> Pod {
        let container = Container {
            name: "c".to_owned(),
            security,
            mounts: vec![Mount {
                volume: "v".to_owned(),
                path: "/v".to_owned(),
                ..Mount::default()
            }],
            ..Container::default()
        };
        Pod {
            containers: vec![container],
            volumes: vec![Volume {
                name: "v".to_owned(),
                source,
            }],
            ..Pod::default()
        }
    }

    fn host_path() -> Source {
        Source::HostPath {
            path: "/srv".to_owned(),
            kind: HostPathType::Unset,
        }
    }

    fn user(uid: u32) -> User {
        User {
            uid,
            gid: uid,
            groups: vec![44],
        }
    }

    /// What a pod that asks for this user, group and fsGroup wants that `uid` is not.
    fn wanted(
        source: Source,
        (run_as_user, run_as_group, fs_group): (Option<u32>, Option<u32>, Option<u32>),
        uid: u32,
    ) -> Option<(&'static str, u32)> {
        let security = SecurityContext {
            run_as_user,
            run_as_group,
            fs_group,
            ..SecurityContext::default()
        };
        let pod = pod(source, security);
        let stranger = stranger(&pod, &pod.containers[0], &user(uid))?;
        Some((stranger.field, stranger.wanted))
    }

    #[test]
    fn another_user_matters_where_files_of_the_node_are_mounted() {
        let own = Some(1000);
        let cases = [
            ((None, None, None), 1000, None),
            ((own, None, None), 1000, None),
            ((own, own, own), 1000, None),
            ((Some(7), Some(8), None), 1000, Some(("runAsUser", 7))),
            ((Some(7), None, None), 0, Some(("runAsUser", 7))),
            ((Some(0), None, None), 1000, Some(("runAsUser", 0))),
            ((Some(0), None, None), 0, None),
            ((None, Some(8), None), 1000, Some(("runAsGroup", 8))),
            ((None, None, Some(9)), 1000, Some(("fsGroup", 9))),
            ((None, None, Some(44)), 1000, None),
            ((None, None, Some(9)), 0, None),
        ];
        let scratch = || Source::EmptyDir {
            memory: false,
            size_limit: None,
        };
        for (asks, uid, expected) in cases {
            assert_eq!(
                wanted(host_path(), asks, uid),
                expected,
                "{asks:?} as {uid}"
            );
            assert_eq!(wanted(scratch(), asks, uid), None, "{asks:?} as {uid}");
        }
    }

    #[test]
    fn who_is_not_to_be_root_is_not() {
        let breaks =
            "container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)";
        let image = "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)";
        let cases = [
            (None, Some(0), 0, None),
            (Some(false), Some(0), 0, None),
            (Some(true), Some(0), 0, Some(breaks)),
            (Some(true), Some(0), 1000, Some(breaks)),
            (Some(true), None, 0, Some(image)),
            (Some(true), None, 1000, None),
            (Some(true), Some(7), 0, None),
        ];
        let identity = Identity {
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
        };
        for (non_root, run_as_user, uid, wanted) in cases {
            let container = Container {
                name: "c".to_owned(),
                security: SecurityContext {
                    run_as_user,
                    run_as_non_root: non_root,
                    ..SecurityContext::default()
                },
                ..Container::default()
            };
            let checked = check_non_root(&identity, &container, &user(uid));
            assert_eq!(
                checked.err().as_deref(),
                wanted,
                "{non_root:?} {run_as_user:?} as {uid}"
            );
        }
    }
}
