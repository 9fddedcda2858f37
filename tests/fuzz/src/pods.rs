//! Manifests of pods: YAML or JSON that a person, or a URL, brings.

use std::time::SystemTime;

use api::Workload;

pub(crate) fn run(bytes: &[u8]) {
    let mut workload = Workload::new();
    // What was right is in it even where something was not.
    if let Err(errors) = workload.add(bytes, "fuzz.yaml", SystemTime::UNIX_EPOCH) {
        assert!(!errors.is_empty());
        for error in errors {
            assert!(!error.to_string().is_empty());
        }
    }
    let _ = (
        workload.missing(),
        workload.conflicts(),
        workload.misplaced("node"),
    );
    for admitted in &workload.pods {
        let text = admitted.object.value().to_string();
        let again = api::manifest::parse(&text, "again.json");
        assert!(again.is_ok(), "{again:?}: {text}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {app: a}\n\
         spec:\n  containers:\n  - name: c\n    image: file:c.wasm\n    args: [\"$(A)\", 'b']\n    \
         env:\n    - {name: A, value: \"1\"}\n    - name: B\n      valueFrom:\n        configMapKeyRef: {name: m, key: k}\n    \
         resources: {limits: {cpu: 100m, memory: 16Mi}}\n    \
         livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 2}\n    \
         volumeMounts: [{name: v, mountPath: /v, readOnly: true}]\n  \
         volumes:\n  - name: v\n    emptyDir: {sizeLimit: 1Mi}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {generateName: b-}\nspec:\n  restartPolicy: OnFailure\n  \
         securityContext: {runAsUser: 1000, runAsNonRoot: true}\n  \
         initContainers:\n  - {name: i, image: a, restartPolicy: Always}\n  \
         containers:\n  - name: c\n    image: r.example/a:1\n    command: [\"/a\"]\n    \
         ports: [{containerPort: 80, hostPort: 8080, protocol: UDP}]\n    \
         lifecycle: {preStop: {exec: {command: [a]}}}\n  \
         volumes:\n  - name: p\n    projected:\n      sources:\n      - secret: {name: s, items: [{key: a, path: b/c}]}\n      \
         - downwardAPI: {items: [{path: l, fieldRef: {fieldPath: \"metadata.labels['a']\"}}]}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  k: |\n    text\n  l: >-\n    folded\n   \n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: Opaque\ndata: {a: YQ==}\nstringData: {b: c}\n",
        "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \
         \"metadata\": {\"name\": \"j\"}, \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\"}]}}]}",
        "a: &x [1, .5, 0x1f, ~, 2026-01-01, \"\\u00e9\"]\nb: *x\n<<: {c: d}\n? e\n: f\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
