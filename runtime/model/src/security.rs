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

/// The user that an image names: its configuration's `User`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// Who it is.
    pub name: UserName,
    /// Its group, where that is a name that the image's own `/etc/group` does not have. Any other
    /// makes no difference: a guest has no group.
    pub unknown_group: Option<String>,
}

/// How an image names a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserName {
    /// By number.
    Id(u32),
    /// By name, and the number that the image's own `/etc/passwd` has for it, if it has one.
    Name(String, Option<u32>),
}

/// A field that another user would have to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger<'a> {
    /// `runAsUser`, `runAsGroup` or `fsGroup`.
    pub field: &'static str,
    /// Whether the image says it, by its `User`.
    is_image: bool,
    /// Its value.
    pub wanted: u32,
    /// The hostPath volume that it would matter for.
    pub volume: &'a str,
    /// Whom files are opened as instead.
    own: u32,
}

/// What a container, or else its image, asks that its node's user is not; nothing where it would
/// make no difference.
pub fn stranger<'a>(
    pod: &Pod,
    container: &'a Container,
    image: Option<&ImageUser>,
    own: &User,
) -> Option<Stranger<'a>> {
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
    // An image's root is whoever runs it, where that is nobody else's root.
    let of_image = image.and_then(ImageUser::number).filter(|user| *user != 0);
    let is_image = security.run_as_user.is_none();
    let asked = security.run_as_user.or(of_image);
    let user = asked.filter(|user| *user != own.uid);
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
        is_image: is_image && user.is_some(),
        wanted,
        volume: &mount.volume,
        own,
    })
}

/// `runAsNonRoot`, in kubelet's words. An image without a user of its own counts as the user that
/// runs the pod host; one with a user by name can be anybody, as kubelet does not look it up.
///
/// # Errors
/// When the container would be root's, or nobody can tell.
pub fn check_non_root(
    identity: &Identity,
    container: &Container,
    image: Option<&ImageUser>,
    own: &User,
) -> Result<(), String> {
    let security = &container.security;
    if security.run_as_non_root != Some(true) {
        return Ok(());
    }
    let image_is_root = "container has runAsNonRoot and image will run as root";
    let why = match (security.run_as_user, image.map(|image| &image.name)) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), _) => return Ok(()),
        (None, Some(UserName::Id(0))) => image_is_root.to_owned(),
        (None, Some(UserName::Name(name, _))) => format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        ),
        (None, None) if own.uid == 0 => image_is_root.to_owned(),
        (None, _) => return Ok(()),
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

/// The user that an image names must be one, where the container names no other.
///
/// # Errors
/// When the image names somebody whom it does not know.
pub fn check_image_user(container: &Container, image: Option<&ImageUser>) -> Result<(), String> {
    let of_image = image.filter(|_| container.security.run_as_user.is_none());
    match of_image.and_then(ImageUser::no_such_user) {
        Some(why) => Err(format!("{why}; set securityContext.runAsUser to a number")),
        None => Ok(()),
    }
}

// === impl ImageUser ===

impl ImageUser {
    /// Its number, where anybody can tell.
    pub fn number(&self) -> Option<u32> {
        match &self.name {
            UserName::Id(number) => Some(*number),
            UserName::Name(_, number) => *number,
        }
    }

    /// That the image does not know its own user, if so; the remedy is the caller's.
    pub fn no_such_user(&self) -> Option<String> {
        match &self.name {
            UserName::Name(name, None) => Some(format!(
                "unable to find user {name}: no matching entries in the image's /etc/passwd"
            )),
            _ => None,
        }
    }

    /// The same of its group.
    pub fn no_such_group(&self) -> Option<String> {
        let name = self.unknown_group.as_ref()?;
        Some(format!(
            "unable to find group {name}: no matching entries in the image's /etc/group"
        ))
    }
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
            is_image,
        } = self;
        let kind = if *field == "runAsUser" {
            "user"
        } else {
            "group"
        };
        let remedy = match is_image {
            true => format!("which the image names as its user, or set runAsUser to {own}"),
            false => format!("or leave out {field} or the volume"),
        };
        format!(
            "the files of hostPath volume {volume:?} are opened as {kind} {own}, which runs wasmpod: \
             run wasmpod as {kind} {wanted}, {remedy}"
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
        let stranger = stranger(&pod, &pod.containers[0], None, &user(uid))?;
        Some((stranger.field, stranger.wanted))
    }

    fn of_image(name: UserName) -> Option<ImageUser> {
        Some(ImageUser {
            name,
            unknown_group: None,
        })
    }

    fn named(number: Option<u32>) -> Option<ImageUser> {
        of_image(UserName::Name("app".to_owned(), number))
    }

    fn numbered(number: u32) -> Option<ImageUser> {
        of_image(UserName::Id(number))
    }

    #[test]
    fn the_user_of_an_image_counts_where_the_container_names_none() {
        let cases = [
            (None, 1000, None),
            (numbered(1000), 1000, None),
            (numbered(7), 1000, Some(7)),
            (numbered(7), 0, Some(7)),
            (numbered(0), 1000, None),
            (named(Some(7)), 0, Some(7)),
            (named(None), 0, None),
        ];
        for (image, uid, wanted) in cases {
            let mut pod = pod(host_path(), SecurityContext::default());
            let own = user(uid);
            let found = stranger(&pod, &pod.containers[0], image.as_ref(), &own);
            let message = found.as_ref().map(Stranger::message);
            assert_eq!(found.map(|it| it.wanted), wanted, "{image:?} as {uid}");
            let remedy = format!("set runAsUser to {uid}");
            assert!(message.is_none_or(|text| text.contains(&remedy)));
            pod.containers[0].security.run_as_user = Some(uid);
            let found = stranger(&pod, &pod.containers[0], image.as_ref(), &own);
            assert_eq!(found, None, "{image:?} as {uid}");
        }
        let mut container = Container::default();
        let unknown = named(None);
        let error = check_image_user(&container, unknown.as_ref()).expect_err("nobody");
        assert!(error.contains("unable to find user app"), "{error}");
        assert!(check_image_user(&container, named(Some(7)).as_ref()).is_ok());
        container.security.run_as_user = Some(7);
        assert!(check_image_user(&container, unknown.as_ref()).is_ok());
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
        let unknown = "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root (pod: \"p_ns(u)\", container: c)";
        let (root, other) = (numbered(0), numbered(7));
        let cases = [
            (None, Some(0), None, 0, None),
            (Some(false), Some(0), None, 0, None),
            (Some(true), Some(0), None, 0, Some(breaks)),
            (Some(true), Some(0), other.clone(), 1000, Some(breaks)),
            (Some(true), None, None, 0, Some(image)),
            (Some(true), None, None, 1000, None),
            (Some(true), Some(7), None, 0, None),
            (Some(true), None, root.clone(), 1000, Some(image)),
            (Some(true), Some(7), root.clone(), 0, None),
            (Some(true), None, other, 0, None),
            (Some(true), None, named(Some(7)), 0, Some(unknown)),
            (Some(true), Some(7), named(None), 0, None),
            (None, None, root, 0, None),
        ];
        let identity = Identity {
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
        };
        for (non_root, run_as_user, user_of_image, uid, wanted) in cases {
            let container = Container {
                name: "c".to_owned(),
                security: SecurityContext {
                    run_as_user,
                    run_as_non_root: non_root,
                    ..SecurityContext::default()
                },
                ..Container::default()
            };
            let own = user(uid);
            let checked = check_non_root(&identity, &container, user_of_image.as_ref(), &own);
            assert_eq!(
                checked.err().as_deref(),
                wanted,
                "{non_root:?} {run_as_user:?} as {uid}"
            );
        }
    }
}
