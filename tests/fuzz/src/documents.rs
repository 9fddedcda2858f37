//! Manifests, indexes and configurations of images: JSON that a registry or an archive brings.

use image::kind::{self, Kind};
use image::manifest::{Config, Document, media};
use image::{Digest, root};
use serde_json::{Value, json};

/// A manifest or an index. What is read of one and written again is the same.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes) else {
        return;
    };
    let _ = document.children().count();
    let again = match &document {
        Document::Manifest(manifest) => {
            let _ = manifest.size();
            let _ = root::key(&manifest.layers, &[]);
            let config = config_for(manifest.layers.len());
            if let Ok(kind) = Kind::of(manifest, Some(&config)) {
                assert!(kind.root_layers().len() <= manifest.layers.len());
            }
            serde_json::to_vec(manifest)
        }
        Document::Index(index) => {
            if let Ok(chosen) = kind::choose(index) {
                assert!(index.manifests.contains(chosen));
            }
            serde_json::to_vec(index)
        }
    };
    let again = again.unwrap_or_default();
    assert_eq!(Document::parse(&again).as_ref(), Ok(&document));
}

/// A configuration.
pub(crate) fn run_config(bytes: &[u8]) {
    let Ok(config) = Config::parse(bytes) else {
        return;
    };
    for (name, value) in config.config.variables() {
        assert!(!name.is_empty() && config.config.variable(&name).is_some());
        let _ = value;
    }
    let again = serde_json::to_vec(&config).unwrap_or_default();
    assert_eq!(Config::parse(&again).as_ref(), Ok(&config));
}

/// One that goes with so many layers.
fn config_for(layers: usize) -> Config {
    let mut config = Config::default();
    config.rootfs.diff_ids = vec![Digest::of(b""); layers];
    config
}

fn descriptor(media_type: &str) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(media_type.as_bytes()),
        "size": media_type.len(),
        "annotations": {media::TITLE: "app.wasm"},
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let manifest = |config: &str, layers: &[&str]| {
        let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "artifactType": config,
            "config": descriptor(config),
            "layers": layers,
        })
    };
    let entry = |os: &str, architecture: &str| {
        let mut entry = descriptor(media::OCI_MANIFEST);
        entry["platform"] = json!({"os": os, "architecture": architecture, "variant": "v8"});
        entry
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": [entry("wasip2", "wasm"), entry("linux", kind::machine()), descriptor(media::OCI_INDEX)],
    });
    let documents = [
        manifest(media::WASM_CONFIG, &[media::WASM]),
        manifest(media::OLD_WASM_CONFIG, &[media::OLD_WASM, media::OCI_TAR]),
        manifest(
            media::OCI_CONFIG,
            &[media::OCI_TAR_GZIP, media::OCI_TAR_ZSTD],
        ),
        manifest(media::DOCKER_CONFIG, &[media::DOCKER_TAR_GZIP]),
        manifest(media::SPIN_CONFIG, &[media::OLD_WASM]),
        json!({"schemaVersion": 1, "fsLayers": []}),
        index,
    ];
    documents
        .iter()
        .map(|it| it.to_string().into_bytes())
        .collect()
}

pub(crate) fn seeds_of_configs() -> Vec<Vec<u8>> {
    let configs = [
        json!({
            "architecture": "wasm", "os": "wasip1", "created": "2026-01-01T00:00:00Z",
            "config": {
                "Env": ["PATH=/bin", "A=b=c", "=x"], "Entrypoint": ["/app.wasm"], "Cmd": null,
                "WorkingDir": "/a", "User": "1000:1000", "Labels": null,
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"")]},
        }),
        json!({"config": null, "rootfs": {"diff_ids": null}}),
        json!({"layerDigests": [Digest::of(b"")]}),
    ];
    configs
        .iter()
        .map(|it| it.to_string().into_bytes())
        .collect()
}
