//! Manifests as people write them, and what a run refuses.

use std::time::UNIX_EPOCH;

use super::*;

/// Every manifest of `testdata`, by name.
fn corpus() -> Vec<(String, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let mut files: Vec<(String, String)> = std::fs::read_dir(directory)
        .expect("testdata")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read_to_string(path).expect("a text"))
        })
        .collect();
    files.sort();
    files
}

fn refused(text: &str) -> String {
    let errors = Workload::new().add(text, "x", UNIX_EPOCH).expect_err(text);
    let first = |error: &ManifestError| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    errors.iter().map(first).collect::<Vec<_>>().join("\n")
}

#[test]
fn manifests_as_people_write_them_are_admitted() {
    let corpus = corpus();
    assert!(corpus.len() >= 12, "{} manifests", corpus.len());
    for (name, text) in corpus {
        let mut workload = Workload::new();
        if let Err(errors) = workload.add(&text, &name, UNIX_EPOCH) {
            panic!(
                "{}",
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        }
        assert!(!workload.pods.is_empty(), "{name}");
        assert!(
            workload.missing().is_empty(),
            "{name}: {:?}",
            workload.missing()
        );
        for admitted in &workload.pods {
            assert_eq!(admitted.object.name(), admitted.pod.identity.name, "{name}");
            assert!(!admitted.pod.identity.uid.is_empty(), "{name}");
        }
    }
}

#[test]
fn admitting_what_was_admitted_changes_nothing() {
    for (name, text) in corpus() {
        let mut first = Workload::new();
        first.add(&text, &name, UNIX_EPOCH).expect("right");
        for admitted in first.pods {
            let printed = admitted.object.value().to_string();
            let mut again = Workload::new();
            again
                .add(&printed, "printed", UNIX_EPOCH)
                .unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            let mut second = again.pods.remove(0);
            assert_ne!(second.pod.identity.uid, admitted.pod.identity.uid);
            // All but the uid, which is new each time.
            second
                .pod
                .identity
                .uid
                .clone_from(&admitted.pod.identity.uid);
            assert_eq!(second.pod, admitted.pod, "{name}");
            let uid = admitted.object.value()["metadata"]["uid"].clone();
            second.object.value_mut()["metadata"]["uid"] = uid;
            assert_eq!(second.object.value(), admitted.object.value(), "{name}");
        }
    }
}

#[test]
fn the_rest_of_many_faults_is_counted_once_and_last() {
    let ports: String = (0..30)
        .map(|n| format!("    - containerPort: {}\n", 70_000 + n))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: a\n    image: x\n    ports:\n{ports}"
    );
    let told = refused(&text);
    assert_eq!(told.lines().count(), 21, "{told}");
    assert_eq!(
        told.lines().last(),
        Some("x: error: 10 further errors are not shown; mend these first")
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    assert_eq!(
        refused(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {}, template: {}}\n"
        ),
        "x:2:7: error: kind: Not possible here: wasmpod run runs Pods, with the ConfigMaps and Secrets they read; write the pods of this Deployment as Pods, or leave it out"
    );
    assert!(
        refused("apiVersion: acme.org/v1\nkind: Pod\nmetadata: {name: d}\n")
            .contains("kind: Not possible here")
    );
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let text = "
apiVersion: v1
kind: Pod
metadata:
  name: Web
spec:
  hostPID: true
  containers:
  - name: web
    imgae: x
    ports: [{containerPort: 70000}]
---
apiVersion: v1
kind: Service
metadata: {name: s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data: {a/b: c}
";
    let told = refused(text);
    for expected in [
        "x:5:9: error: metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 subdomain",
        "x:7:12: error: spec.hostPID: Not possible here:",
        "x:9:5: error: spec.containers[0].image: Required value",
        "x:10:5: error: spec.containers[0].imgae: unknown field; did you mean \"image\"?",
        "x:11:29: error: spec.containers[0].ports[0].containerPort: Invalid value: 70000:",
        "x:14:7: error: kind: Not possible here: wasmpod run runs Pods",
        "x:20:13: error: data[a/b]: Invalid value: \"a/b\":",
    ] {
        assert!(
            told.lines().any(|line| line.starts_with(expected)),
            "{expected}\nnot in\n{told}"
        );
    }
    assert_eq!(told.lines().count(), 7, "{told}");
}

#[test]
fn the_same_name_twice_is_refused() {
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: x}}]}}\n"
        )
    };
    let mut workload = Workload::new();
    workload.add(pod("a"), "one", UNIX_EPOCH).expect("right");
    workload.add(pod("b"), "two", UNIX_EPOCH).expect("right");
    let errors = workload
        .add(pod("a"), "three", UNIX_EPOCH)
        .expect_err("twice");
    assert_eq!(
        errors[0].to_string().lines().next(),
        Some("three:3:18: error: metadata.name: Duplicate value: \"a\"")
    );
}

#[test]
fn what_only_a_server_could_do_is_refused() {
    let pod = |meta: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: a, {meta}}}, spec: {{containers: [{{name: a, image: x}}], {spec}}}}}"
        )
    };
    for (text, expected) in [
        (
            pod("", "schedulingGates: [{name: g}]"),
            "there is no controller that would remove them; remove them here",
        ),
        (
            pod("annotations: {wasmpod.dev/runtime: native}", ""),
            "wasmpod run does not run Linux containers; use wasm images",
        ),
        (
            pod(
                "",
                "volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
            ),
            "there is no API server that could issue a token; remove it",
        ),
    ] {
        assert!(refused(&text).ends_with(expected), "{}", refused(&text));
    }
}

#[test]
fn references_that_nobody_can_meet_are_told() {
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - name: a
    image: x
    envFrom:
    - configMapRef: {name: absent}
    - secretRef: {name: s}
    - secretRef: {name: nobody, optional: true}
    env:
    - {name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}
    - {name: B, valueFrom: {secretKeyRef: {name: s, key: other}}}
    - {name: C, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}
  volumes:
  - name: v
    secret: {secretName: s, items: [{key: other, path: p}, {key: more, path: q}]}
  - name: w
    projected: {sources: [{configMap: {name: none}}, {secret: {name: s, items: [{key: l, path: l}]}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {other: ''}
";
    let mut workload = Workload::new();
    workload.add(pod, "x", UNIX_EPOCH).expect("right");
    assert_eq!(
        first_lines(&workload.missing()),
        [
            "x:10:28: error: spec.containers[0].envFrom[0].configMapRef.name: Not found: \"absent\": no manifest has this ConfigMap; add it with another -f, or mark the reference optional",
            "x:14:58: error: spec.containers[0].env[0].valueFrom.secretKeyRef.key: Not found: \"k\": the Secret \"s\" has no such key; add it, or mark the reference optional",
            "x:19:66: error: spec.volumes[0].secret.items[1].key: Not found: \"more\": the Secret \"s\" has no such key; add it, or mark the reference optional",
            "x:21:46: error: spec.volumes[1].projected.sources[0].configMap.name: Not found: \"none\": no manifest has this ConfigMap; add it with another -f, or mark the reference optional",
            "x:21:87: error: spec.volumes[1].projected.sources[1].secret.items[0].key: Not found: \"l\": the Secret \"s\" has no such key; add it, or mark the reference optional",
        ]
    );
}

/// Errors without the lines that they show.
fn first_lines(errors: &[ManifestError]) -> Vec<String> {
    let first = |error: &ManifestError| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    errors.iter().map(first).collect()
}

#[test]
fn pods_of_another_place_are_told() {
    let pod = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{\ncontainers: [{{name: a, image: x}}],\n{spec}}}}}\n---\n"
        )
    };
    let text = [
        pod("a", "nodeName: here, runtimeClassName: wasmpod"),
        pod("b", "nodeName: there"),
        pod("c", "runtimeClassName: kata"),
        pod(
            "d",
            "runtimeClassName: wasmpod-process, schedulerName: default-scheduler",
        ),
        pod("e", "schedulerName: mine"),
    ];
    let mut workload = Workload::new();
    workload.add(text.concat(), "x", UNIX_EPOCH).expect("right");
    assert_eq!(
        first_lines(&workload.misplaced("here")),
        [
            "x:7:11: error: spec.nodeName: Not possible here: this node is \"here\", and a node runs the pods that name it and no others; remove nodeName, or name this one",
            "x:11:19: error: spec.runtimeClassName: Not found: \"kata\": no such RuntimeClass; remove it, or name one that is here: wasmpod, wasmpod-process",
        ]
    );
    assert_eq!(
        first_lines(&workload.warnings()),
        [
            "x:19:16: warning: spec.schedulerName: Not possible here: wasmpod run has no scheduler; the pod runs here at once",
        ]
    );
}

#[test]
fn images_are_told_at_their_place() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  initContainers:
  - {name: i, image: bad}
  containers:
  - {name: a, image: good}
  - {name: b, image: bad}
";
    let mut workload = Workload::new();
    workload.add(text, "x", UNIX_EPOCH).expect("right");
    let fault = |container: &Container| (container.image == "bad").then(|| "why".to_owned());
    assert_eq!(
        first_lines(&workload.unusable_images(fault)),
        [
            "x:7:22: error: spec.initContainers[0].image: Invalid value: \"bad\": why",
            "x:10:22: error: spec.containers[1].image: Invalid value: \"bad\": why",
        ]
    );
}

/// Two pods, `a` and `b`, in files of those names: each with one container with these ports.
fn of_ports(first: &str, second: &str) -> Vec<String> {
    let mut workload = Workload::new();
    for (name, ports) in [("a", first), ("b", second)] {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{\n{ports}}}}}"
        );
        workload.add(&text, name, UNIX_EPOCH).expect(&text);
    }
    let first_line = |error: &ManifestError| error.to_string().lines().next().unwrap().to_owned();
    workload.conflicts().iter().map(first_line).collect()
}

#[test]
fn a_host_port_is_one_pods() {
    let containers = |ports: &str| format!("containers: [{{name: c, image: x, ports: [{ports}]}}]");
    let init = |policy: &str, ports: &str| {
        format!(
            "initContainers: [{{name: i, image: x, {policy} ports: [{ports}]}}], containers: [{{name: c, image: x}}]"
        )
    };
    let eighty = "{containerPort: 1, hostPort: 80}";
    let cases = [
        (containers(eighty), containers(eighty), true),
        (
            containers(eighty),
            containers("{containerPort: 1, hostPort: 81}"),
            false,
        ),
        (containers(eighty), containers("{containerPort: 80}"), false),
        (
            containers(eighty),
            containers("{containerPort: 1, hostPort: 80, protocol: UDP}"),
            false,
        ),
        // 0.0.0.0 is every address.
        (
            containers(eighty),
            containers("{containerPort: 1, hostPort: 80, hostIP: 127.0.0.1}"),
            true,
        ),
        (
            containers("{containerPort: 1, hostPort: 80, hostIP: 127.0.0.2}"),
            containers("{containerPort: 1, hostPort: 80, hostIP: 127.0.0.1}"),
            false,
        ),
        // Sidecars count, init containers end.
        (
            containers(eighty),
            init("restartPolicy: Always,", eighty),
            true,
        ),
        (containers(eighty), init("", eighty), false),
        // On the host's network a container's port is the host's.
        (
            containers(eighty),
            format!("hostNetwork: true, {}", containers("{containerPort: 80}")),
            true,
        ),
    ];
    for (first, second, conflict) in cases {
        assert_eq!(
            !of_ports(&first, &second).is_empty(),
            conflict,
            "{first}\n{second}"
        );
    }
}

#[test]
fn a_host_port_that_is_taken_names_both_pods_and_their_places() {
    let ports = "containers: [{name: c, image: x, ports: [{containerPort: 1, hostPort: 80}]}]";
    assert_eq!(
        of_ports(ports, ports),
        [
            "b:2:71: error: spec.containers[0].ports[0].hostPort: Not possible here: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. TCP port 80, which Pod default/b asks for, is Pod default/a's (a:2:71); give one of them another hostPort, or run them one after the other"
        ]
    );
}

#[test]
fn a_user_that_the_run_is_not_is_told_where_it_was_asked_for() {
    let pod = |pod: &str, container: &str, volume: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  securityContext: {{{pod}}}\n  containers:\n  - name: c\n    image: x\n    securityContext: {{{container}}}\n    volumeMounts: [{{name: v, mountPath: /v}}]\n  volumes:\n  - {{name: v, {volume}}}\n"
        )
    };
    let host = "hostPath: {path: /srv}";
    let cases = [
        (
            pod("runAsUser: 7", "", host),
            "x:5:32: error: spec.securityContext.runAsUser: Not possible here:",
        ),
        (
            pod("runAsUser: 7", "runAsUser: 8", host),
            "x:9:34: error: spec.containers[0].securityContext.runAsUser: Not possible here:",
        ),
        (
            pod("fsGroup: 7", "", host),
            "x:5:30: error: spec.securityContext.fsGroup: Not possible here:",
        ),
        (pod("runAsUser: 1000, runAsGroup: 1000", "", host), ""),
        (pod("runAsUser: 7, fsGroup: 7", "", "emptyDir: {}"), ""),
    ];
    let own = User {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
    };
    for (text, wanted) in cases {
        let mut workload = Workload::new();
        workload.add(&text, "x", UNIX_EPOCH).expect(&text);
        let told: Vec<String> = workload
            .strangers(&own)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told.len(),
            usize::from(!wanted.is_empty()),
            "{text}{told:?}"
        );
        assert!(told.iter().all(|told| told.starts_with(wanted)), "{told:?}");
    }
}

#[test]
fn an_object_made_by_code_is_named_in_its_errors() {
    let run = crate::single::Single {
        image: "web".to_owned(),
        name: Some("web".to_owned()),
        memory: Some("-1".to_owned()),
        ..Default::default()
    };
    let mut workload = Workload::new();
    let errors = workload
        .add_object(crate::single::single(&run), UNIX_EPOCH)
        .expect_err("negative");
    assert_eq!(
        errors[0].to_string(),
        "error: Pod default/web: spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0"
    );
}

proptest::proptest! {
    /// A manifest with a line lost, doubled or given another value goes all the way, or is refused.
    #[test]
    fn no_damaged_manifest_makes_it_panic(
        file in proptest::prelude::any::<proptest::sample::Index>(),
        line in proptest::prelude::any::<proptest::sample::Index>(),
        damage in 0..3,
        value in "(-?[0-9]{1,20}|[a-z/.$(]{0,8}|\\[\\]|\\{\\}|~|\"\"|é+)",
    ) {
        let corpus = corpus();
        let (name, text) = file.get(&corpus);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        match damage {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            _ => if let Some((key, _)) = lines[at].clone().split_once(": ") {
                lines[at] = format!("{key}: {value}");
            },
        }
        let mut workload = Workload::new();
        if let Err(errors) = workload.add(lines.join("\n"), name, UNIX_EPOCH) {
            proptest::prop_assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
        workload.missing();
    }
}
