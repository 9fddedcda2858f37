//! Manifests in, objects or error texts out.

use super::*;

/// The errors of a manifest without their source lines, one per line.
fn told(text: &str) -> String {
    let errors = parse(text, "pod.yaml").expect_err("it is wrong");
    let first = |error: &ManifestError| {
        let whole = error.to_string();
        whole.lines().next().unwrap_or_default().to_owned()
    };
    errors.iter().map(first).collect::<Vec<_>>().join("\n")
}

/// A pod whose only container has these further lines.
fn with_container(lines: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: web\n    image: file:web.wasm\n{lines}"
    )
}

#[test]
fn an_error_is_printed_like_a_compilers() {
    let text = with_container("    imgaePullPolicy: Always\n    stdin: \"true\"\n");
    let errors = parse(&text, "pod.yaml").expect_err("it is wrong");
    let printed: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        printed.join("\n"),
        "\
pod.yaml:9:5: error: spec.containers[0].imgaePullPolicy: unknown field; did you mean \"imagePullPolicy\"?
  9 |     imgaePullPolicy: Always
    |     ^^^^^^^^^^^^^^^
pod.yaml:10:12: error: spec.containers[0].stdin: expected true or false, found the string \"true\"; remove the quotes
  10 |     stdin: \"true\"
     |            ^^^^^^"
    );
}

#[test]
fn unknown_fields_come_with_what_was_meant() {
    for (lines, expected) in [
        (
            "    imgae: x\n",
            "9:5: error: spec.containers[0].imgae: unknown field; did you mean \"image\"?",
        ),
        (
            "    volumes: []\n",
            "9:5: error: spec.containers[0].volumes: unknown field; it belongs in spec",
        ),
        (
            "    runAsUser: 1\n",
            "9:5: error: spec.containers[0].runAsUser: unknown field; it belongs in spec.containers[0].securityContext",
        ),
        (
            "    labels: {}\n",
            "9:5: error: spec.containers[0].labels: unknown field; it belongs in metadata",
        ),
        (
            "    environment: []\n",
            "9:5: error: spec.containers[0].environment: unknown field; did you mean \"env\"?",
        ),
        (
            "    xyzzy: 1\n",
            "9:5: error: spec.containers[0].xyzzy: unknown field; Container has no such field: remove it, or mind the indentation",
        ),
        (
            "    livenessProbe:\n      exec:\n        cmd: [a]\n",
            "11:9: error: spec.containers[0].livenessProbe.exec.cmd: unknown field; ExecAction has command",
        ),
        (
            "  image: x\n",
            "9:3: error: spec.image: unknown field; it belongs in spec.containers[]",
        ),
        (
            "containers: []\n",
            "9:1: error: containers: unknown field; it belongs in spec",
        ),
    ] {
        assert_eq!(
            told(&with_container(lines)),
            format!("pod.yaml:{expected}"),
            "{lines}"
        );
    }
}

/// Lines of a container, and what is told about them.
const MISSHAPEN: &[(&str, &str)] = &[
    (
        "    env: [{name: A, value: 8080}]\n",
        "9:28: error: spec.containers[0].env[0].value: expected a string, found the number 8080; put it in quotes: \"8080\"",
    ),
    (
        "    env: [{name: A, value: yes}]\n",
        "9:28: error: spec.containers[0].env[0].value: expected a string, found yes, which means true in YAML; put it in quotes: \"yes\"",
    ),
    (
        "    env: [{name: A, value: false}]\n",
        "9:28: error: spec.containers[0].env[0].value: expected a string, found the boolean false; put it in quotes: \"false\"",
    ),
    (
        "    args: x\n",
        "9:11: error: spec.containers[0].args: expected a list, found the string \"x\"; write it as a list: [\"x\"]",
    ),
    (
        "    env:\n      name: A\n",
        "10:7: error: spec.containers[0].env: expected a list, found a mapping; begin each entry with a dash",
    ),
    (
        "    resources:\n    - limits: {}\n",
        "10:7: error: spec.containers[0].resources: expected a mapping, found a list; remove the dash before its first field",
    ),
    (
        "    ports: [{containerPort: \"80\"}]\n",
        "9:29: error: spec.containers[0].ports[0].containerPort: expected a whole number of 32 bits, found the string \"80\"; remove the quotes",
    ),
    (
        "    ports: [{containerPort: 1.5}]\n",
        "9:29: error: spec.containers[0].ports[0].containerPort: expected a whole number of 32 bits, found the number 1.5",
    ),
    (
        "    ports: [{containerPort: 99999999999}]\n",
        "9:29: error: spec.containers[0].ports[0].containerPort: expected a whole number of 32 bits, found the number 99999999999",
    ),
    (
        "    resources: {limits: {memory: 64MB}}\n",
        "9:34: error: spec.containers[0].resources.limits[memory]: \"64MB\" is not a quantity: write a number with an optional suffix, for example 500m, 0.5, 128Mi or 1G",
    ),
    (
        "    resources: {limits: {cpu: [1]}}\n",
        "9:31: error: spec.containers[0].resources.limits[cpu]: expected a quantity such as 500m or 64Mi, found a list",
    ),
    (
        "    args: [a, ~]\n",
        "9:15: error: spec.containers[0].args[1]: this entry is empty; remove its dash or give it a value",
    ),
    (
        "    ports: [{hostPort: 80}]\n",
        "9:13: error: spec.containers[0].ports[0].containerPort: Required value",
    ),
];

#[test]
fn values_must_have_the_shape_of_their_field() {
    for (lines, expected) in MISSHAPEN {
        assert_eq!(
            told(&with_container(lines)),
            format!("pod.yaml:{expected}"),
            "{lines}"
        );
    }
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: plain}\n";
    assert_eq!(
        told(secret),
        "pod.yaml:4:11: error: data[a]: not base64; encode the value, or write it plainly under stringData (Secret) or data (ConfigMap)"
    );
    let time = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, creationTimestamp: today}\n";
    assert_eq!(
        told(time),
        "pod.yaml:3:40: error: metadata.creationTimestamp: \"today\" is not a time; write it as 2026-01-31T12:00:00Z"
    );
}

#[test]
fn kinds_that_do_not_exist_come_with_what_was_meant() {
    for (text, expected) in [
        (
            "kind: Pod\n",
            "1:1: error: apiVersion: Required value: for example v1",
        ),
        (
            "apiVersion: v1\n",
            "1:1: error: kind: Required value: for example Pod",
        ),
        (
            "apiVersion: 1\nkind: Pod\n",
            "1:13: error: apiVersion: expected a string such as v1, found the number 1",
        ),
        (
            "apiVersion: v1\nkind: Pdo\n",
            "2:7: error: kind: unknown kind \"Pdo\" of v1; did you mean \"Pod\"?",
        ),
        (
            "apiVersion: v1\nkind: Deployment\n",
            "1:13: error: apiVersion: there is no Deployment in \"v1\"; write apps/v1",
        ),
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress\n",
            "1:13: error: apiVersion: there is no Ingress in \"extensions/v1beta1\"; write networking.k8s.io/v1",
        ),
        (
            "apiVersion: v2\nkind: Pods\n",
            "1:13: error: apiVersion: unknown version \"v2\"; did you mean Pod of v1?",
        ),
        (
            "apiVersion: v1\nkind: Whatever\n",
            "2:7: error: kind: unknown kind \"Whatever\" of v1",
        ),
        (
            "- a\n- b\n",
            "1:1: error: a manifest is a mapping with apiVersion, kind and metadata; found a list",
        ),
        (
            "just text\n",
            "1:1: error: a manifest is a mapping with apiVersion, kind and metadata; found the string \"just text\"",
        ),
    ] {
        assert_eq!(told(text), format!("pod.yaml:{expected}"), "{text}");
    }
    for text in ["", "# nothing\n", "---\n---\n", "~"] {
        assert_eq!(
            told(text),
            "pod.yaml: error: there is no object in it; a manifest has apiVersion, kind and metadata",
            "{text:?}"
        );
    }
}

#[test]
fn repeated_keys_are_errors_wherever_they_are() {
    assert_eq!(
        told(&with_container("    image: other\n")),
        "pod.yaml:9:5: error: spec.containers[0].image: this key is there already, in line 8; remove one of them"
    );
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  a: x\n  a: z\n";
    assert_eq!(
        told(map),
        "pod.yaml:6:3: error: data[a]: this key is there already, in line 5; remove one of them"
    );
    let custom = "apiVersion: acme.org/v1\nkind: Thing\nspec: {a: [{b: 1, b: 2}]}\n";
    assert_eq!(
        told(custom),
        "pod.yaml:3:19: error: spec.a[0].b: this key is there already, in line 3; remove one of them"
    );
}

#[test]
fn syntax_errors_say_where_and_what_came_before_is_still_told() {
    let text = "apiVersion: v1\nkind: Pdo\n---\napiVersion: v1\n\tkind: Pod\n";
    assert_eq!(
        told(text),
        "pod.yaml:2:7: error: kind: unknown kind \"Pdo\" of v1; did you mean \"Pod\"?\npod.yaml:5:1: error: a tab in the indentation; use spaces"
    );
    assert!(told("a: [1, 2").contains(
        "pod.yaml:1:4: error: this [ is not closed: the text ends too early, in line 1, column 9; is the file cut?"
    ));
    assert!(told("a: b: c").contains("error: this is not YAML: "));
    assert_eq!(
        told("a: *b\n"),
        "pod.yaml:1:4: error: this is not YAML: while parsing node, found unknown anchor"
    );
    assert_eq!(
        told("a: !thing b\n"),
        "pod.yaml:1:11: error: the tag !thing means nothing in a manifest; remove it"
    );
    assert_eq!(
        told("a: !!int b\n"),
        "pod.yaml:1:10: error: \"b\" is not what its tag !!int says"
    );
    assert_eq!(
        told("? [a]\n: b\n"),
        "pod.yaml:1:3: error: a key must be a word; put it in quotes"
    );
}

#[test]
fn limits_have_names() {
    let deep = format!("a: {}1{}", "[".repeat(200), "]".repeat(200));
    assert!(
        told(&deep).ends_with("nested deeper than 128 levels"),
        "{}",
        told(&deep)
    );
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(
        told(bomb).contains("more than 400000 values, aliases counted"),
        "{}",
        told(bomb)
    );
    let itself = "a: &a [*a]\n";
    assert!(told(itself).contains("error: "), "{}", told(itself));
    let large = " ".repeat(MAX_TEXT + 1);
    assert_eq!(
        told(&large),
        "pod.yaml: error: larger than 16 MiB; split it into several files"
    );
    let latin = parse(b"a: \xff", "pod.yaml").expect_err("it is wrong");
    assert_eq!(latin.len(), 1);
    assert_eq!(
        latin[0].to_string(),
        "pod.yaml: error: not UTF-8 text (byte 3); save it as UTF-8"
    );
}

#[test]
fn the_number_of_errors_is_capped() {
    let wrong: String = (0..30).map(|n| format!("    wrong{n}: 1\n")).collect();
    let told = told(&with_container(&wrong));
    assert_eq!(told.lines().count(), 21);
    assert!(
        told.ends_with("pod.yaml: error: 10 further errors are not shown; mend these first"),
        "{told}"
    );
}

#[test]
fn a_long_or_strange_line_is_shown_in_part_and_without_control_characters() {
    let long = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"{}\", \"nam\": 1}}, \"spec\": {{\"containers\": []}}}}",
        "x".repeat(500)
    );
    let errors = parse(&long, "pod.json").expect_err("it is wrong");
    let printed = errors[0].to_string();
    let mut lines = printed.lines();
    assert_eq!(
        lines.next(),
        Some("pod.json:1:562: error: metadata.nam: unknown field; did you mean \"name\"?")
    );
    assert!(lines.all(|line| line.len() < 140), "{printed}");
    let escape = "apiVersion: v1\nkind: \"P\u{1b}[31m\"\n";
    let printed = parse(escape, "x").map_err(|errors| errors[0].to_string());
    assert!(!printed.expect_err("it is wrong").contains('\u{1b}'));
}

#[test]
fn yaml_and_json_mean_the_same() {
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  on: \"1\"\n  8080: x\n  empty:\n  text: |\n    a\n    b\n";
    let json = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"},
      "data": {"on": "1", "8080": "x", "empty": "", "text": "a\nb\n"}}"#;
    let read = |text: &str| parse(text, "m").expect("right").remove(0).into_value();
    assert_eq!(read(yaml), read(json));
    assert_eq!(read("\u{feff}{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\\u00e9\\ud83d\\ude00\\/\"}}").pointer("/metadata/name").and_then(|v| v.as_str()), Some("é😀/"));
}

#[test]
fn values_are_kept_as_the_api_keeps_them() {
    let text = with_container(
        "    resources: {limits: {cpu: 1, memory: 0.5}}\n    workingDir: ~\n    ports: [{containerPort: 80.0}]\n    tty: yes\n  volumes: [{name: c, configMap: {name: m, defaultMode: 0644}}]\n",
    );
    let pod = parse(&text, "pod.yaml")
        .expect("right")
        .remove(0)
        .into_value();
    let container = pod.pointer("/spec/containers/0").expect("there");
    assert_eq!(
        container,
        &serde_json::json!({
            "name": "web", "image": "file:web.wasm", "tty": true,
            "resources": {"limits": {"cpu": "1", "memory": "0.5"}},
            "ports": [{"containerPort": 80}]
        })
    );
    assert_eq!(
        pod.pointer("/spec/volumes/0/configMap/defaultMode"),
        Some(&serde_json::json!(420))
    );
}

#[test]
fn lists_and_documents_are_taken_apart() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- apiVersion: v1
  kind: ConfigMapList
  items:
  - metadata: {name: b}
---
# only a comment
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: acme.org/v1
kind: Thing
metadata: {name: d}
spec: {anything: [1, {x: ~}]}
";
    let objects = parse(text, "x").expect("right");
    let names: Vec<(&str, &str)> = objects.iter().map(|o| (o.kind(), o.name())).collect();
    assert_eq!(
        names,
        [
            ("ConfigMap", "a"),
            ("ConfigMap", "b"),
            ("ConfigMap", "c"),
            ("Thing", "d")
        ]
    );
    let wrong = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {nam: a}\n";
    assert_eq!(
        told(wrong),
        "pod.yaml:6:14: error: metadata.nam: unknown field; did you mean \"name\"?"
    );
}

#[test]
fn json_that_was_cut_is_told_with_its_end() {
    let whole = "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"web\"},\n  \
                 \"spec\": {\"containers\": [{\"name\": \"web\", \"image\": \"x\"}]}\n}";
    parse(whole, "x").expect("right");
    for length in 1..whole.len() {
        let cut = &whole[..length];
        let errors = parse(cut, "x").expect_err(cut);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let (line, column) = (cut.trim_end().lines().count(), {
            let last = cut.trim_end().lines().last().unwrap_or_default();
            last.len() + 1
        });
        let (at, inside) = (
            format!("x:{line}:{column}: error: the text ends here"),
            format!("ends too early, in line {line}, column {column}"),
        );
        assert!(
            told.iter().any(|t| t.contains(&at) || t.contains(&inside)),
            "{cut}\n{told:?}"
        );
    }
}

#[test]
fn anchors_aliases_and_merge_keys_work() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: &l {app: web}, annotations: *l}
spec:
  containers:
  - &base
    name: a
    image: x
    env: [{name: A, value: &v one}, {name: B, value: *v}]
  - <<: *base
    name: b
";
    let pod = parse(text, "x").expect("right").remove(0).into_value();
    assert_eq!(
        pod.pointer("/metadata/annotations/app"),
        Some(&serde_json::json!("web"))
    );
    assert_eq!(
        pod.pointer("/spec/containers/1/name"),
        Some(&serde_json::json!("b"))
    );
    assert_eq!(
        pod.pointer("/spec/containers/1/image"),
        Some(&serde_json::json!("x"))
    );
    assert_eq!(
        pod.pointer("/spec/containers/1/env/1/value"),
        Some(&serde_json::json!("one"))
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = parse(&bytes, "x").map_err(|errors| errors.iter().map(ToString::to_string).count());
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_it_panic(
        text in "([a-c]: |- |\\[|\\]|\\{|\\}|,|&a |\\*a|<<: |!!str |\"|'|\\||>|#|\\n|  |---\\n|\t|[ax1~é]){0,40}"
    ) {
        let _ = parse(&text, "x").map_err(|errors| errors.iter().map(ToString::to_string).count());
    }

    #[test]
    fn no_damaged_pod_makes_it_panic(at in 0usize..400, damage in "[\\x00-\\x7f]{0,3}") {
        let mut text = with_container("    env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\n    livenessProbe:\n      httpGet: {port: 80}\n  volumes:\n  - name: v\n    secret: {secretName: s, items: [{key: a, path: b}]}\n");
        let at = text.floor_char_boundary(at.min(text.len()));
        text.insert_str(at, &damage);
        let _ = parse(&text, "x").map_err(|errors| errors.iter().map(ToString::to_string).count());
    }
}
