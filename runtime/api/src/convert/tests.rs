//! Objects in, pods or refusals out.

use std::time::Duration;

use model::Container;
use model::container::{
    EnvFrom, EnvFromSource, EnvValue, EnvVar, Port, Protocol, PullPolicy, SecurityContext,
};
use model::probe::{Handler, HttpGet, PortRef, Probe};
use model::volume::{Mount, Source, Volume};

use super::*;
use crate::{defaults, manifest};

fn read(text: &str) -> Result<Pod, Vec<ManifestError>> {
    let mut object = manifest::parse(text, "x")
        .unwrap_or_else(|errors| panic!("{errors:?}"))
        .remove(0);
    defaults::apply(&mut object);
    to_pod(&object)
}

/// A pod with this spec, as flow YAML without its braces.
fn pod(spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{{spec}}}}}")
}

fn container(fields: &str) -> String {
    pod(&format!(
        "containers: [{{name: web, image: web, {fields}}}], volumes: [{{name: v}}]"
    ))
}

/// The first line of every refusal, without its place.
fn refused(text: &str) -> String {
    let errors = read(text).expect_err(text);
    let short = |error: &ManifestError| format!("{}: {}", error.field(), error.message());
    errors.iter().map(short).collect::<Vec<_>>().join("\n")
}

const WHOLE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: ns, uid: u, labels: {a: b}, annotations: {c: d}}
spec:
  restartPolicy: OnFailure
  activeDeadlineSeconds: 60
  hostname: host
  subdomain: sub
  hostAliases: [{ip: 127.0.0.1, hostnames: [x]}]
  dnsPolicy: Default
  dnsConfig: {nameservers: [127.0.0.53], searches: [a.b], options: [{name: ndots, value: '2'}, {name: edns0}]}
  securityContext: {runAsUser: 7, runAsGroup: 8, fsGroup: 9}
  nodeName: node
  runtimeClassName: wasmpod
  imagePullSecrets: [{name: pull}]
  readinessGates: [{conditionType: a/b}]
  volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  containers:
  - name: web
    image: web:1
    command: [a]
    args: [b]
    workingDir: /x/../w/.
    envFrom: [{prefix: P, secretRef: {name: s, optional: true}}]
    env: [{name: A, value: $(B)}, {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    ports: [{name: http, containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1, protocol: UDP}]
    resources: {limits: {cpu: 500m, memory: 1Gi}}
    volumeMounts: [{name: v, mountPath: /v, readOnly: true, subPath: a}]
    livenessProbe: {httpGet: {port: http, path: live, scheme: HTTPS}, terminationGracePeriodSeconds: 5}
    lifecycle: {preStop: {sleep: {seconds: 2}}}
    securityContext: {runAsUser: 70, readOnlyRootFilesystem: true}
    terminationMessagePolicy: FallbackToLogsOnError
    tty: true
";

/// What the pod says for all its containers.
fn inherited() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(7),
        run_as_group: Some(8),
        fs_group: Some(9),
        ..SecurityContext::default()
    }
}

fn expected_probe() -> Probe {
    Probe {
        handler: Handler::HttpGet(HttpGet {
            https: true,
            host: None,
            port: PortRef::Name("http".to_owned()),
            path: "/live".to_owned(),
            headers: Vec::new(),
        }),
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace_period: Some(Duration::from_secs(5)),
    }
}

fn expected_container() -> Container {
    let mut web = Container {
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        command: vec!["a".to_owned()],
        args: vec!["b".to_owned()],
        working_dir: Some("/w".to_owned()),
        env_from: vec![EnvFrom {
            prefix: "P".to_owned(),
            source: EnvFromSource::Secret("s".to_owned()),
            optional: true,
        }],
        env: vec![
            EnvVar {
                name: "A".to_owned(),
                value: EnvValue::Literal("$(B)".to_owned()),
            },
            EnvVar {
                name: "C".to_owned(),
                value: EnvValue::Field("status.podIP".to_owned()),
            },
        ],
        ports: vec![Port {
            name: Some("http".to_owned()),
            container_port: 80,
            host_port: Some(8080),
            host_ip: "127.0.0.1".parse().ok(),
            protocol: Protocol::Udp,
        }],
        mounts: vec![Mount {
            volume: "v".to_owned(),
            path: "/v".to_owned(),
            read_only: true,
            sub_path: Some("a".to_owned()),
            sub_path_expr: None,
        }],
        liveness: Some(expected_probe()),
        pre_stop: Some(Handler::Sleep(Duration::from_secs(2))),
        security: SecurityContext {
            run_as_user: Some(70),
            read_only_root: true,
            ..inherited()
        },
        termination_message_path: "/dev/termination-log".to_owned(),
        termination_message_from_logs: true,
        tty: true,
        ..Container::default()
    };
    web.resources.cpu_limit = "500m".parse().ok();
    web.resources.cpu_request = "500m".parse().ok();
    web.resources.memory_limit = "1Gi".parse().ok();
    web.resources.memory_request = "1Gi".parse().ok();
    web
}

fn expected_pod() -> Pod {
    Pod {
        identity: Identity {
            namespace: "ns".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
        },
        labels: [("a".to_owned(), "b".to_owned())].into(),
        annotations: [("c".to_owned(), "d".to_owned())].into(),
        containers: vec![expected_container()],
        volumes: vec![Volume {
            name: "v".to_owned(),
            source: Source::EmptyDir {
                memory: true,
                size_limit: "1Mi".parse().ok(),
            },
        }],
        restart_policy: RestartPolicy::OnFailure,
        grace_period: Duration::from_secs(30),
        active_deadline: Some(Duration::from_secs(60)),
        hostname: "host".to_owned(),
        subdomain: Some("sub".to_owned()),
        host_aliases: vec![("127.0.0.1".parse().unwrap(), vec!["x".to_owned()])],
        dns_policy: DnsPolicy::Default,
        dns_config: DnsConfig {
            nameservers: vec!["127.0.0.53".parse().unwrap()],
            searches: vec!["a.b".to_owned()],
            options: vec![
                ("ndots".to_owned(), Some("2".to_owned())),
                ("edns0".to_owned(), None),
            ],
        },
        security: inherited(),
        node_name: Some("node".to_owned()),
        service_account: "default".to_owned(),
        runtime_class: Some("wasmpod".to_owned()),
        image_pull_secrets: vec!["pull".to_owned()],
        readiness_gates: vec!["a/b".to_owned()],
        ..Pod::default()
    }
}

#[test]
fn a_pod_is_carried_over_whole() {
    assert_eq!(read(WHOLE).expect("right"), expected_pod());
}

/// A pod with one container and this in its spec.
fn spec(fields: &str) -> String {
    pod(&format!("containers: [{{name: a, image: x}}], {fields}"))
}

/// Where the fields are put, the fields, and how they are refused.
type Refusal = (fn(&str) -> String, &'static str, &'static str);

const REFUSALS: &[Refusal] = &[
    (
        spec,
        "hostPID: true",
        "spec.hostPID: Not possible here: a guest sees no processes, neither of the host nor of others; remove it",
    ),
    (
        spec,
        "shareProcessNamespace: true",
        "spec.shareProcessNamespace: Not possible here: guests are no processes and cannot see each other; remove it",
    ),
    (
        spec,
        "resources: {limits: {cpu: 1}}",
        "spec.resources: Not possible here: limits hold for containers, not for a pod as a whole; move them to containers[].resources",
    ),
    (
        spec,
        "os: {name: windows}",
        "spec.os.name: Not possible here: wasmpod runs on Linux only",
    ),
    (
        spec,
        "securityContext: {sysctls: [{name: a, value: b}]}",
        "spec.securityContext.sysctls: Not possible here: a guest's network is not the kernel's; remove them",
    ),
    (
        spec,
        "ephemeralContainers: [{name: d, image: x}]",
        "spec.ephemeralContainers: Not possible here: they are added to a pod that runs, never to a manifest; remove them",
    ),
    (
        container,
        "securityContext: {privileged: true}",
        "spec.containers[0].securityContext.privileged: Not possible here: a guest makes no system calls that a privilege could allow; remove it",
    ),
    (
        container,
        "securityContext: {capabilities: {add: [NET_ADMIN]}}",
        "spec.containers[0].securityContext.capabilities.add: Not possible here: a guest makes no system calls that a privilege could allow; remove it",
    ),
    (
        container,
        "securityContext: {seLinuxOptions: {level: a}}",
        "spec.containers[0].securityContext.seLinuxOptions: Not possible here: guests are no processes that SELinux could label; remove it",
    ),
    (
        container,
        "securityContext: {procMount: Unmasked}",
        "spec.containers[0].securityContext.procMount: Not possible here: a guest has no /proc; remove it",
    ),
    (
        container,
        "securityContext: {seccompProfile: {type: Localhost, localhostProfile: p}}",
        "spec.containers[0].securityContext.seccompProfile.type: Not possible here: a guest makes no system calls that a profile of the node could filter; use RuntimeDefault, or remove it",
    ),
    (
        container,
        "volumeDevices: [{name: v, devicePath: /d}]",
        "spec.containers[0].volumeDevices: Not possible here: a guest has no block devices; use a volume with volumeMounts",
    ),
    (
        container,
        "resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: 1}}",
        "spec.containers[0].resources.limits[nvidia.com/gpu]: Not possible here: this node has none of it for guests; remove it\nspec.containers[0].resources.requests[nvidia.com/gpu]: Not possible here: this node has none of it for guests; remove it",
    ),
    (
        container,
        "workingDir: ../a",
        "spec.containers[0].workingDir: Invalid value: \"../a\": must be an absolute path; begin it with a slash",
    ),
    (
        container,
        "volumeMounts: [{name: v, mountPath: a}]",
        "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"a\": must be an absolute path; begin it with a slash",
    ),
    (
        container,
        "volumeMounts: [{name: v, mountPath: /a, mountPropagation: HostToContainer}]",
        "spec.containers[0].volumeMounts[0].mountPropagation: Not possible here: a guest's mounts are not the kernel's, so none can appear later; remove it",
    ),
    (
        container,
        "ports: [{containerPort: 1, protocol: SCTP}]",
        "spec.containers[0].ports[0].protocol: Not possible here: guests have TCP and UDP; use one of them",
    ),
    (
        container,
        "lifecycle: {stopSignal: SIGUSR1}",
        "spec.containers[0].lifecycle.stopSignal: Not possible here: a guest is asked to end in one way only, as by SIGTERM; remove it",
    ),
    (
        container,
        "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]",
        "spec.containers[0].env[0].valueFrom.fileKeyRef: Not possible here: use configMapKeyRef or secretKeyRef",
    ),
    (
        spec,
        "volumes: [{name: a, nfs: {server: s, path: /p}}]",
        "spec.volumes[0].nfs: Not possible here: volumes of the network are not mounted; mount it on the machine and use hostPath",
    ),
    (
        spec,
        "volumes: [{name: a, persistentVolumeClaim: {claimName: c}}]",
        "spec.volumes[0].persistentVolumeClaim: Not possible here: nobody here could provide it; use emptyDir, or hostPath with a directory of this machine",
    ),
    (
        spec,
        "volumes: [{name: a, flocker: {datasetName: c}}]",
        "spec.volumes[0].flocker: Not possible here: wasmpod has nothing to honour this with; remove it",
    ),
    (
        spec,
        "volumes: [{name: a, emptyDir: {medium: HugePages}}]",
        "spec.volumes[0].emptyDir.medium: Not possible here: use Memory, or leave it out",
    ),
    (
        spec,
        "volumes: [{name: a, projected: {sources: [{clusterTrustBundle: {path: p}}]}}]",
        "spec.volumes[0].projected.sources[0].clusterTrustBundle: Not possible here: wasmpod has nothing to honour this with; remove it",
    ),
];

#[test]
fn what_a_guest_cannot_have_is_refused_with_a_reason() {
    for (place, fields, expected) in REFUSALS {
        assert_eq!(&refused(&place(fields)), expected, "{fields}");
    }
}

#[test]
fn what_makes_no_difference_to_a_guest_is_accepted() {
    for text in [
        container(
            "securityContext: {privileged: false, allowPrivilegeEscalation: true, procMount: Default, capabilities: {drop: [ALL]}, seccompProfile: {type: Unconfined}, appArmorProfile: {type: RuntimeDefault}}",
        ),
        pod(
            "containers: [{name: a, image: x}], hostPID: false, hostUsers: false, os: {name: linux}, overhead: {cpu: 1m}, priorityClassName: high",
        ),
        container(
            "lifecycle: {stopSignal: SIGTERM}, resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]",
        ),
    ] {
        assert!(read(&text).is_ok(), "{text}: {:?}", read(&text));
    }
}

#[test]
fn annotations_of_our_own_are_checked() {
    let annotated = |annotation: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web, annotations: {{{annotation}}}}}, spec: {{containers: [{{name: a, image: x}}]}}}}"
        )
    };
    for (annotation, expected) in [
        (
            "wasmpod.dev/runtime: linux",
            "metadata.annotations[wasmpod.dev/runtime]: Unsupported value: \"linux\": supported values: \"wasm\"",
        ),
        (
            "wasmpod.dev/network: host",
            "metadata.annotations[wasmpod.dev/network]: Invalid value: \"host\": no value is supported yet: every pod is on the network of its run; remove it",
        ),
        (
            "wasmpod.dev/network: netns",
            "metadata.annotations[wasmpod.dev/network]: Invalid value: \"netns\": no value is supported yet: every pod is on the network of its run; remove it",
        ),
        (
            "wasmpod.dev/http-reuse: '0'",
            "metadata.annotations[wasmpod.dev/http-reuse]: Invalid value: \"0\": must be a number of requests, from 1 to 4294967295",
        ),
        (
            "wasmpod.dev/capabilities: 'wasi:keyvalue/store, wasi:nn/graph'",
            "metadata.annotations[wasmpod.dev/capabilities]: Unsupported value: \"wasi:nn/graph\": supported values: \"wasi:config/runtime\", \"wasi:config/store\", \"wasi:keyvalue/atomics\", \"wasi:keyvalue/batch\", \"wasi:keyvalue/store\", \"wasi:logging/logging\", \"wasmpod:pod/identity\", \"wasmpod:pod/lifecycle\", \"wasmpod:pod/lifecycle-async\"",
        ),
        (
            "wasmpod.dev/capabilities: ''",
            "metadata.annotations[wasmpod.dev/capabilities]: Unsupported value: \"\": supported values: \"wasi:config/runtime\", \"wasi:config/store\", \"wasi:keyvalue/atomics\", \"wasi:keyvalue/batch\", \"wasi:keyvalue/store\", \"wasi:logging/logging\", \"wasmpod:pod/identity\", \"wasmpod:pod/lifecycle\", \"wasmpod:pod/lifecycle-async\"",
        ),
        (
            "wasmpod.dev/keyvalue: 'default=/data/kv'",
            "metadata.annotations[wasmpod.dev/keyvalue]: Invalid value: \"default=/data/kv\": must lie on a volume that a container of the pod mounts: add a volumeMount whose mountPath it begins with",
        ),
        (
            "wasmpod.dev/runtme: wasm",
            "metadata.annotations[wasmpod.dev/runtme]: Not possible here: wasmpod has no such annotation; did you mean \"wasmpod.dev/runtime\"?",
        ),
    ] {
        assert_eq!(refused(&annotated(annotation)), expected, "{annotation}");
    }
    let pod = read(&annotated(
        "wasmpod.dev/capabilities: 'wasi:keyvalue/store@0.2.0-draft2, wasi:logging', wasmpod.dev/http-reuse: '5', wasmpod.dev/runtime: native, other.dev/x: y z",
    ));
    let pod = pod.expect("right");
    assert_eq!(
        annotations::capabilities(&pod).collect::<Vec<_>>(),
        ["wasi:keyvalue/store@0.2.0-draft2", "wasi:logging"]
    );
    assert_eq!(annotations::http_reuse(&pod), Some(5));
    assert!(annotations::is_native(&pod));
}

#[test]
fn a_host_name_is_the_pods_name_cut_as_kubelet_cuts_it() {
    let name = format!("{}-{}", "a".repeat(62), "b".repeat(10));
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: a, image: x}}]}}}}"
    );
    assert_eq!(read(&text).expect("right").hostname, "a".repeat(62));
}
