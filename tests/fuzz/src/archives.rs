//! Archives of images, as `wasmpod image import` reads them: OCI layouts and `docker save`.

use std::fs;

use image::{Digest, Reference, Store, archive};
use serde_json::{Value, json};

use crate::layers::{gzip, zstd};

pub(crate) fn run(bytes: &[u8]) {
    let folder = crate::folder();
    let path = folder.path().join("archive");
    fs::write(&path, bytes).expect("a file");
    let store = Store::open(&folder.path().join("content")).expect("a store");
    let lease = store.lease().expect("a lease");
    let name: Reference = "app:1".parse().expect("a reference");
    let Ok(images) = archive::import(&store, &lease, &path, Some(&name)) else {
        return;
    };
    // What was taken is here, whole, and goes out and comes in again.
    let mut exported = Vec::new();
    for (name, _) in &images {
        let found = image::pull::local(&store, &lease, name).expect("it was imported");
        exported.push((name.clone(), found));
    }
    archive::export(&store, &exported, fs::File::create(&path).expect("a file"))
        .expect("what is here can be exported");
    archive::import(&store, &lease, &path, None).expect("what was exported can be imported");
}

fn tarred(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, content.as_slice())
            .expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

fn blob(bytes: Vec<u8>) -> (String, Vec<u8>) {
    (format!("blobs/sha256/{}", Digest::of(&bytes).hex()), bytes)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    use image::manifest::media;
    let layer = tarred(&[("app.wasm".to_owned(), b"\0asm\x01\0\0\0".to_vec())]);
    let config = json!({
        "architecture": "wasm", "os": "wasi", "config": {"Entrypoint": ["/app.wasm"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "config": descriptor(media::OCI_CONFIG, &config),
        "layers": [descriptor(media::OCI_TAR, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(media::OCI_MANIFEST, &manifest);
    entry["annotations"] = json!({media::REF_NAME: "registry.example/app:1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let layout = tarred(&[
        blob(layer.clone()),
        blob(config.clone()),
        blob(manifest),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ]);
    let saved = json!([{"Config": "c.json", "RepoTags": ["app:2"], "Layers": ["1/layer.tar"]}]);
    let docker = tarred(&[
        ("1/layer.tar".to_owned(), layer),
        ("c.json".to_owned(), config),
        ("manifest.json".to_owned(), saved.to_string().into_bytes()),
    ]);
    vec![gzip(&layout), zstd(&docker), layout, docker]
}
