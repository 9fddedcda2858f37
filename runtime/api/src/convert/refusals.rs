//! What a wasm container cannot honour, and why: one table per type.
//!
//! A field of the types below is honoured (read elsewhere, or without effect here whatever it
//! says), or it has a rule, or it is unknown and refused for that. Being told beats being ignored:
//! who asks for a privilege or a device relies on it.

use crate::cursor::At;
use crate::findings::Findings;

/// When a field is refused, and what its author is told.
struct Rule {
    field: &'static str,
    when: When,
    why: &'static str,
}

/// What a field must say to be refused.
enum When {
    /// Anything.
    Set,
    /// `true`.
    True,
    /// A list or map with something in it.
    NotEmpty,
    /// Anything but these.
    NotOneOf(&'static [&'static str]),
}

use When::{NotEmpty, NotOneOf, Set, True};

const fn rule(field: &'static str, when: When, why: &'static str) -> Rule {
    Rule { field, when, why }
}

/// Scheduling and priority make no difference on one node; the scheduler of `up` reads them.
const POD_HONOURED: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "hostUsers",
    "hostname",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "schedulingGroup",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

const POD: &[Rule] = &[
    rule(
        "hostPID",
        True,
        "a guest sees no processes, neither of the host nor of others; remove it",
    ),
    rule(
        "hostIPC",
        True,
        "a guest has no System V IPC or POSIX queues; remove it",
    ),
    rule(
        "shareProcessNamespace",
        True,
        "guests are no processes and cannot see each other; remove it",
    ),
    rule(
        "ephemeralContainers",
        NotEmpty,
        "they are added to a pod that runs, never to a manifest; remove them",
    ),
    rule(
        "resourceClaims",
        NotEmpty,
        "there are no devices for guests; remove the claims",
    ),
    rule(
        "resources",
        NotEmpty,
        "limits hold for containers, not for a pod as a whole; move them to containers[].resources",
    ),
    rule(
        "hostnameOverride",
        Set,
        "use hostname, with subdomain and setHostnameAsFQDN if need be",
    ),
];

const CONTAINER_HONOURED: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeMounts",
    "workingDir",
];

const CONTAINER: &[Rule] = &[
    rule(
        "volumeDevices",
        NotEmpty,
        "a guest has no block devices; use a volume with volumeMounts",
    ),
    rule(
        "restartPolicyRules",
        NotEmpty,
        "restarts go by restartPolicy alone; remove the rules",
    ),
];

const SECURITY_HONOURED: &[&str] = &[
    // Permissions of system calls: a guest makes none, so allowing and forbidding them is the same.
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
];

const NO_PRIVILEGE: &str = "a guest makes no system calls that a privilege could allow; remove it";
const NO_SELINUX: &str = "guests are no processes that SELinux could label; remove it";
const NO_WINDOWS: &str = "wasmpod runs on Linux; remove it";
const NO_PROFILE: &str = "a guest makes no system calls that a profile of the node could filter; use RuntimeDefault, or remove it";

const SECURITY: &[Rule] = &[
    rule("privileged", True, NO_PRIVILEGE),
    rule(
        "procMount",
        NotOneOf(&["Default"]),
        "a guest has no /proc; remove it",
    ),
    rule("seLinuxOptions", NotEmpty, NO_SELINUX),
    rule("windowsOptions", NotEmpty, NO_WINDOWS),
];

const POD_SECURITY_HONOURED: &[&str] = &[
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxChangePolicy",
];

const POD_SECURITY: &[Rule] = &[
    rule("seLinuxOptions", NotEmpty, NO_SELINUX),
    rule("windowsOptions", NotEmpty, NO_WINDOWS),
    rule(
        "supplementalGroups",
        NotEmpty,
        "files are opened by wasmpod, not with a guest's groups; use fsGroup, or remove them",
    ),
    rule(
        "supplementalGroupsPolicy",
        NotOneOf(&["Merge"]),
        "a guest has no groups from its image; remove it",
    ),
    rule(
        "sysctls",
        NotEmpty,
        "a guest's network is not the kernel's; remove them",
    ),
];

const CAPABILITIES: &[Rule] = &[rule("add", NotEmpty, NO_PRIVILEGE)];
const PROFILE: &[Rule] = &[rule(
    "type",
    NotOneOf(&["RuntimeDefault", "Unconfined"]),
    NO_PROFILE,
)];
const OS: &[Rule] = &[rule(
    "name",
    NotOneOf(&["linux"]),
    "wasmpod runs on Linux only",
)];

const MOUNT: &[Rule] = &[rule(
    "mountPropagation",
    NotOneOf(&["None"]),
    "a guest's mounts are not the kernel's, so none can appear later; remove it",
)];
const MOUNT_HONOURED: &[&str] = &[
    "mountPath",
    "name",
    "readOnly",
    "recursiveReadOnly",
    "subPath",
    "subPathExpr",
];

const LIFECYCLE: &[Rule] = &[rule(
    "stopSignal",
    NotOneOf(&["SIGTERM"]),
    "a guest is asked to end in one way only, as by SIGTERM; remove it",
)];

const RESOURCES: &[Rule] = &[rule(
    "claims",
    NotEmpty,
    "there are no devices for guests; remove them",
)];

const VALUE_FROM: &[Rule] = &[rule(
    "fileKeyRef",
    Set,
    "use configMapKeyRef or secretKeyRef",
)];

const VOLUME_HONOURED: &[&str] = &[
    "name",
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "projected",
    "secret",
];

const NO_API: &str =
    "nobody here could provide it; use emptyDir, or hostPath with a directory of this machine";
const NO_NETWORK_VOLUME: &str =
    "volumes of the network are not mounted; mount it on the machine and use hostPath";

const VOLUME: &[Rule] = &[
    rule("persistentVolumeClaim", Set, NO_API),
    rule("ephemeral", Set, NO_API),
    rule("csi", Set, NO_API),
    rule("nfs", Set, NO_NETWORK_VOLUME),
    rule("iscsi", Set, NO_NETWORK_VOLUME),
    rule("cephfs", Set, NO_NETWORK_VOLUME),
    rule("glusterfs", Set, NO_NETWORK_VOLUME),
    rule("rbd", Set, NO_NETWORK_VOLUME),
    rule(
        "image",
        Set,
        "volumes of images are not served; put the files into the container's image or a ConfigMap",
    ),
    rule(
        "gitRepo",
        Set,
        "clone the repository in an init container, into an emptyDir",
    ),
];

const EMPTY_DIR: &[Rule] = &[rule(
    "medium",
    NotOneOf(&["", "Memory"]),
    "use Memory, or leave it out",
)];
const EMPTY_DIR_HONOURED: &[&str] = &["sizeLimit"];

const PROJECTION_HONOURED: &[&str] = &["configMap", "downwardAPI", "secret", "serviceAccountToken"];

/// Checks a pod's spec.
pub(crate) fn pod(spec: &At<'_, '_>, found: &mut Findings) {
    check(spec, &[POD_HONOURED, &["os"]], POD, found);
    check(&spec.field("os"), &[], OS, found);
}

/// Checks a pod's security context.
pub(crate) fn pod_security(context: &At<'_, '_>, found: &mut Findings) {
    check(
        context,
        &[POD_SECURITY_HONOURED, PROFILES],
        POD_SECURITY,
        found,
    );
    profiles(context, found);
}

/// Checks what a container is, its security context apart.
pub(crate) fn container(container: &At<'_, '_>, found: &mut Findings) {
    check(container, &[CONTAINER_HONOURED], CONTAINER, found);
    check(
        &container.field("lifecycle"),
        &[&["postStart", "preStop"]],
        LIFECYCLE,
        found,
    );
    check(
        &container.field("resources"),
        &[&["limits", "requests"]],
        RESOURCES,
        found,
    );
}

/// Checks a container's security context.
pub(crate) fn security(context: &At<'_, '_>, found: &mut Findings) {
    check(
        context,
        &[SECURITY_HONOURED, PROFILES, &["capabilities"]],
        SECURITY,
        found,
    );
    check(
        &context.field("capabilities"),
        &[&["drop"]],
        CAPABILITIES,
        found,
    );
    profiles(context, found);
}

/// Checks where a variable's value comes from.
pub(crate) fn value_from(from: &At<'_, '_>, found: &mut Findings) {
    let honoured = &[
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "secretKeyRef",
    ];
    check(from, &[honoured], VALUE_FROM, found);
}

/// Checks a mount.
pub(crate) fn mount(mount: &At<'_, '_>, found: &mut Findings) {
    check(mount, &[MOUNT_HONOURED], MOUNT, found);
}

/// Checks a volume.
pub(crate) fn volume(volume: &At<'_, '_>, found: &mut Findings) {
    check(volume, &[VOLUME_HONOURED], VOLUME, found);
    check(
        &volume.field("emptyDir"),
        &[EMPTY_DIR_HONOURED],
        EMPTY_DIR,
        found,
    );
}

/// Checks a source of a projected volume.
pub(crate) fn projection(source: &At<'_, '_>, found: &mut Findings) {
    check(source, &[PROJECTION_HONOURED], &[], found);
}

const PROFILES: &[&str] = &["seccompProfile", "appArmorProfile"];

fn profiles(context: &At<'_, '_>, found: &mut Findings) {
    for name in PROFILES {
        check(
            &context.field(name),
            &[&["localhostProfile"]],
            PROFILE,
            found,
        );
    }
}

/// Every field that is set is honoured, or passes its rule, or is refused.
fn check(at: &At<'_, '_>, honoured: &[&[&str]], rules: &[Rule], found: &mut Findings) {
    for field in at.fields().filter(At::is_set) {
        if honoured
            .iter()
            .any(|names| names.iter().any(|name| field.is_field(name)))
        {
            continue;
        }
        match rules.iter().find(|rule| field.is_field(rule.field)) {
            Some(rule) if !rule.when.holds(&field) => {}
            Some(rule) => found.refused(&field, rule.why),
            None => found.refused(&field, "wasmpod has nothing to honour this with; remove it"),
        }
    }
}

// === impl When ===

impl When {
    fn holds(&self, at: &At<'_, '_>) -> bool {
        match self {
            Self::Set => true,
            Self::True => at.is_true(),
            Self::NotEmpty => at.len() > 0,
            Self::NotOneOf(allowed) => !allowed.contains(&at.text()),
        }
    }
}
