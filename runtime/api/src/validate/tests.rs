//! Pods, ConfigMaps and Secrets in, Kubernetes' messages out.

use super::*;
use crate::{defaults, manifest};

/// What is found in a manifest of one object, one finding per line.
fn found(text: &str) -> String {
    let mut objects = manifest::parse(text, "x").unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut object = objects.remove(0);
    defaults::apply(&mut object);
    let found: Vec<String> = findings(&object).iter().map(ToString::to_string).collect();
    found.join("\n")
}

/// A pod with this spec, as flow YAML without its braces, added to one container's.
fn pod(spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{{spec}}}}}")
}

/// A pod whose only container has these fields as well.
fn container(fields: &str) -> String {
    pod(&format!(
        "containers: [{{name: web, image: web, {fields}}}], volumes: [{{name: v, emptyDir: {{}}}}]"
    ))
}

fn check(manifest: fn(&str) -> String, cases: &[(&str, &str)]) {
    for (fields, expected) in cases {
        assert_eq!(&found(&manifest(fields)), expected, "{fields}");
    }
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn what_is_right_is_not_complained_about() {
    check(
        container,
        &[
            ("", ""),
            ("ports: [{containerPort: 80, name: http}], tty: true", ""),
        ],
    );
}

#[test]
fn metadata() {
    let meta = |meta: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{{meta}}}}}");
    for (fields, expected) in [
        ("name: a.b-c", ""),
        (
            "",
            "metadata.name: Required value: name or generateName is required",
        ),
        (
            "name: 'A b'",
            "metadata.name: Invalid value: \"A b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            "name: a, namespace: a.b",
            "metadata.namespace: Invalid value: \"a.b\": must not contain dots",
        ),
        (
            "name: a, labels: {app: 'a b'}",
            "metadata.labels[app]: Invalid value: \"a b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            "name: a, annotations: {/x: z}",
            "metadata.annotations: Invalid value: \"/x\": prefix part must be non-empty",
        ),
    ] {
        assert_eq!(found(&meta(fields)), expected, "{fields}");
    }
    let large = format!("name: a, annotations: {{x: {}}}", "y".repeat(256 << 10));
    assert_eq!(
        found(&meta(&large)),
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    );
}

#[test]
fn names_of_containers() {
    check(
        pod,
        &[
            ("containers: []", "spec.containers: Required value"),
            (
                "containers: [{name: a, image: x}, {name: a, image: x}]",
                "spec.containers[1].name: Duplicate value: \"a\"",
            ),
            (
                "containers: [{name: a, image: x}], initContainers: [{name: a, image: x}]",
                "spec.initContainers[0].name: Duplicate value: \"a\"",
            ),
            (
                "containers: [{name: A, image: x}]",
                &format!("spec.containers[0].name: Invalid value: \"A\": {LABEL}"),
            ),
            (
                "containers: [{name: a}]",
                "spec.containers[0].image: Required value",
            ),
            (
                "containers: [{name: a, image: ' x'}]",
                "spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace",
            ),
            (
                "containers: [{name: a, image: 'file:'}]",
                "spec.containers[0].image: Invalid value: \"file:\": must name a file, for example file:web.wasm",
            ),
            (
                "containers: [{name: a, image: x, restartPolicy: Always}]",
                "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
            ),
        ],
    );
}

#[test]
fn init_containers() {
    let init = |fields: &str| {
        pod(&format!(
            "containers: [{{name: a, image: x}}], initContainers: [{{name: b, image: x, {fields}}}]"
        ))
    };
    for (fields, expected) in [
        (
            "restartPolicy: Always, livenessProbe: {exec: {command: [x]}}",
            "",
        ),
        (
            "restartPolicy: Never",
            "spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "livenessProbe: {exec: {command: [x]}}",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "lifecycle: {preStop: {sleep: {seconds: 1}}}",
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ] {
        assert_eq!(found(&init(fields)), expected, "{fields}");
    }
}

#[test]
fn enumerated_fields() {
    check(
        pod,
        &[
            (
                "restartPolicy: always, containers: [{name: a, image: x}]",
                "spec.restartPolicy: Unsupported value: \"always\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ),
            (
                "dnsPolicy: X, containers: [{name: a, image: x}]",
                "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ),
            (
                "os: {name: dos}, containers: [{name: a, image: x}]",
                "spec.os.name: Unsupported value: \"dos\": supported values: \"linux\", \"windows\"",
            ),
        ],
    );
    check(
        container,
        &[
            (
                "imagePullPolicy: Sometimes",
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ),
            (
                "terminationMessagePolicy: X",
                "spec.containers[0].terminationMessagePolicy: Unsupported value: \"X\": supported values: \"File\", \"FallbackToLogsOnError\"",
            ),
            (
                "ports: [{containerPort: 1, protocol: tcp}]",
                "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ),
        ],
    );
}

#[test]
fn ports() {
    check(
        container,
        &[
            (
                "ports: [{containerPort: 70000}]",
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                "ports: [{containerPort: 0}]",
                "spec.containers[0].ports[0].containerPort: Required value",
            ),
            (
                "ports: [{containerPort: 1, hostPort: -1}]",
                "spec.containers[0].ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive",
            ),
            (
                "ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]",
                "spec.containers[0].ports[1].name: Duplicate value: \"a\"",
            ),
            (
                "ports: [{containerPort: 1, name: '80'}]",
                "spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
            ),
            (
                "ports: [{containerPort: 1, hostIP: x}]",
                "spec.containers[0].ports[0].hostIP: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80}]",
                "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"",
            ),
            (
                "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80, protocol: UDP}]",
                "",
            ),
        ],
    );
    check(
        pod,
        &[
            (
                "hostNetwork: true, containers: [{name: a, image: x, ports: [{containerPort: 80}]}]",
                "",
            ),
            (
                "hostNetwork: true, containers: [{name: a, image: x, ports: [{containerPort: 80, hostPort: 81}]}]",
                "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
            ),
        ],
    );
}

#[test]
fn variables() {
    check(
        container,
        &[
            ("env: [{name: a.b-c, value: x}, {name: 'A B'}]", ""),
            (
                "env: [{name: '', value: x}]",
                "spec.containers[0].env[0].name: Required value",
            ),
            (
                "env: [{name: 'A=B', value: x}]",
                "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ),
            (
                "env: [{name: A, valueFrom: {}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ),
            (
                "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ),
            (
                "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: s, key: k}}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
            ),
            (
                "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.hostname}}}]",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.hostname\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ),
            (
                "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b/c']\"}}}]",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ),
            (
                "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.name['a']\"}}}]",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name\": does not support subscript",
            ),
            (
                "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.disk}}}]",
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.disk\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
            ),
            (
                "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 10m}}}]",
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ),
            (
                "env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: a/b}}}]",
                "spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ),
            ("envFrom: [{prefix: P_, configMapRef: {name: m}}]", ""),
            (
                "envFrom: [{prefix: P_}]",
                "spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ),
            (
                "envFrom: [{secretRef: {}}]",
                "spec.containers[0].envFrom[0].secretRef.name: Required value",
            ),
        ],
    );
}

#[test]
fn probes_and_hooks() {
    check(
        container,
        &[
            (
                "livenessProbe: {}",
                "spec.containers[0].livenessProbe: Required value: must specify a handler type",
            ),
            (
                "livenessProbe: {exec: {}}",
                "spec.containers[0].livenessProbe.exec.command: Required value",
            ),
            (
                "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}",
                "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ),
            (
                "livenessProbe: {tcpSocket: {port: 0}}",
                "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                "livenessProbe: {tcpSocket: {port: Http}}",
                "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: \"Http\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            ),
            (
                "livenessProbe: {grpc: {port: 1}, successThreshold: 2}",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ),
            (
                "startupProbe: {grpc: {port: 1}, periodSeconds: -1}",
                "spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "livenessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 0}",
                "spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
            ),
            ("readinessProbe: {grpc: {port: 1}, successThreshold: 2}", ""),
            (
                "readinessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 5}",
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
            ),
            (
                "readinessProbe: {httpGet: {port: 1, scheme: http}}",
                "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"http\": supported values: \"HTTP\", \"HTTPS\"",
            ),
            (
                "readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'A B', value: x}]}}",
                "spec.containers[0].readinessProbe.httpGet.httpHeaders[0].name: Invalid value: \"A B\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ),
            (
                "lifecycle: {preStop: {sleep: {seconds: 40}}}",
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 40: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ),
            (
                "lifecycle: {postStart: {}}",
                "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
            ),
        ],
    );
}

#[test]
fn mounts() {
    check(
        container,
        &[
            ("volumeMounts: [{name: v, mountPath: /a}]", ""),
            (
                "volumeMounts: [{name: w, mountPath: /a}]",
                "spec.containers[0].volumeMounts[0].name: Not found: \"w\"",
            ),
            (
                "volumeMounts: [{name: v, mountPath: ''}]",
                "spec.containers[0].volumeMounts[0].mountPath: Required value",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a, subPath: ../x}]",
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a, subPath: /x}]",
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"/x\": must be a relative path",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a, subPath: x, subPathExpr: z}]",
                "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"z\": subPathExpr and subPath are mutually exclusive",
            ),
        ],
    );
}

/// Volumes, and what is found in them.
const VOLUMES: &[(&str, &str)] = &[
    ("{name: a}", ""),
    (
        "{name: a, emptyDir: {}, hostPath: {path: /x}}",
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    ),
    (
        "{name: a}, {name: a}",
        "spec.volumes[1].name: Duplicate value: \"a\"",
    ),
    (
        "{name: a, emptyDir: {sizeLimit: -1}}",
        "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
    ),
    (
        "{name: a, hostPath: {path: /a/../b}}",
        "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
    ),
    (
        "{name: a, hostPath: {path: /a, type: Dir}}",
        "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
    ),
    (
        "{name: a, configMap: {}}",
        "spec.volumes[0].configMap.name: Required value",
    ),
    (
        "{name: a, secret: {secretName: s, defaultMode: 512}}",
        "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
    ),
    (
        "{name: a, configMap: {name: m, items: [{key: k, path: ../p}]}}",
        "spec.volumes[0].configMap.items[0].path: Invalid value: \"../p\": must not contain '..'",
    ),
    (
        "{name: a, configMap: {name: m, items: [{key: k, path: ..p}]}}",
        "spec.volumes[0].configMap.items[0].path: Invalid value: \"..p\": must not start with '..'",
    ),
    (
        "{name: a, downwardAPI: {items: [{path: p}]}}",
        "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
    ),
    (
        "{name: a, downwardAPI: {items: [{path: p, resourceFieldRef: {resource: limits.cpu}}]}}",
        "spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
    ),
    (
        "{name: a, downwardAPI: {items: [{path: p, fieldRef: {fieldPath: status.podIP}}]}}",
        "spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
    ),
    (
        "{name: a, projected: {sources: [{secret: {name: s}, configMap: {name: m}}]}}",
        "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
    ),
    (
        "{name: a, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: {name: m, items: [{key: k, path: p}]}}]}}",
        "spec.volumes[0].projected.sources[1].configMap.items[0].path: Invalid value: \"p\": conflicting duplicate paths",
    ),
    (
        "{name: a, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 5}}]}}",
        "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
    ),
];

#[test]
fn volumes() {
    let volume = |fields: &str| {
        pod(&format!(
            "containers: [{{name: a, image: x}}], volumes: [{fields}]"
        ))
    };
    for (fields, expected) in VOLUMES {
        assert_eq!(&found(&volume(fields)), expected, "{fields}");
    }
}

#[test]
fn resources() {
    check(
        container,
        &[
            (
                "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}",
                "",
            ),
            (
                "resources: {limits: {cpu: 1}, requests: {cpu: 2}}",
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ),
            (
                "resources: {requests: {memory: -1}}",
                "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                "resources: {requests: {cpus: 1}}",
                "spec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified\nspec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource for containers",
            ),
            ("resources: {requests: {acme.org/gpu: 1}}", ""),
        ],
    );
}

#[test]
fn the_pod_as_a_whole() {
    let spec = |fields: &str| pod(&format!("containers: [{{name: a, image: x}}], {fields}"));
    for (fields, expected) in [
        (
            "terminationGracePeriodSeconds: -1",
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "activeDeadlineSeconds: 0",
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "hostname: a.b",
            "spec.hostname: Invalid value: \"a.b\": must not contain dots",
        ),
        (
            "subdomain: A",
            &*format!("spec.subdomain: Invalid value: \"A\": {LABEL}"),
        ),
        (
            "hostAliases: [{ip: x, hostnames: [a]}]",
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "dnsPolicy: None",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "dnsPolicy: None, dnsConfig: {searches: [a]}",
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}",
            "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers",
        ),
        (
            "securityContext: {runAsUser: -1}",
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive",
        ),
        (
            "securityContext: {seccompProfile: {type: Localhost}}",
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            "nodeSelector: {a: 'x y'}",
            "spec.nodeSelector[a]: Invalid value: \"x y\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            "schedulingGates: [{name: a}, {name: a}]",
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
        ),
    ] {
        assert_eq!(found(&spec(fields)), expected, "{fields}");
    }
}

#[test]
fn config_maps_and_secrets() {
    let large = "x".repeat((1 << 20) + 1);
    for (text, expected) in [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a.b-c: x}}".to_owned(), ""),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a/b: x}}".to_owned(), "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: x}, binaryData: {a: eA==}}".to_owned(), "data[a]: Invalid value: \"a\": duplicate of key present in binaryData: a"),
        (format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m}}, data: {{a: {large}}}}}"), ": Too long: may not be more than 1048576 bytes"),
        (format!("{{apiVersion: v1, kind: Secret, metadata: {{name: m}}, stringData: {{a: {large}}}}}"), "data: Too long: may not be more than 1048576 bytes"),
        ("{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: m}, stringData: {tls.crt: x}}".to_owned(), "data[tls.key]: Required value"),
    ] {
        assert_eq!(found(&text), expected, "{}", &text[..60]);
    }
}
