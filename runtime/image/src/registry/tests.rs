//! Tests of the client, of pulling and of pushing, against a registry of a few lines that does as
//! it is told.

mod credentials;
mod fake;
mod faults;
mod mirrors;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::credentials::DockerConfig;
use crate::digest::Digest;
use crate::limits;
use crate::manifest::media;
use crate::progress::Step;
use crate::pull::{self, Image, Present, PullError};
use crate::push;
use crate::store::Store;
use crate::testing;
use fake::{Asked, Fake, Reply};

/// A store of its own with a client, and what they pull.
struct Puller {
    _folder: tempfile::TempDir,
    store: Store,
    client: Client,
    keyring: Keyring,
    progress: Progress,
    /// Bytes of blobs that it has taken.
    taken: watch::Receiver<u64>,
}

// === impl Puller ===

impl Puller {
    fn new() -> Self {
        Self::with(Hosts::plain(), Keyring::anonymous())
    }

    fn with(hosts: Hosts, keyring: Keyring) -> Self {
        let (folder, store) = testing::store();
        let (bytes, taken) = watch::channel(0);
        let progress = Progress::to(move |step| {
            if let Step::Advanced(_, more) = step {
                bytes.send_modify(|bytes| *bytes += more);
            }
        });
        Self {
            _folder: folder,
            store,
            client: Client::new(hosts),
            keyring,
            progress,
            taken,
        }
    }

    async fn pull(&self, reference: &str) -> Result<Image, PullError> {
        self.pull_with(reference, Present::Trusted).await
    }

    async fn pull_with(&self, reference: &str, present: Present) -> Result<Image, PullError> {
        let reference: Reference = reference.parse().expect("a reference");
        let lease = self.store.lease().expect("a lease");
        pull::pull(
            &self.client,
            &self.store,
            &lease,
            &reference,
            &self.keyring,
            &self.progress,
            present,
        )
        .await
    }

    async fn refused(&self, reference: &str) -> String {
        let error = self.pull(reference).await.expect_err("refused");
        error.to_string()
    }
}

/// Settings of a registry.
fn settings(registry: &str, text: &str) -> (tempfile::TempDir, Hosts) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join(registry);
    fs::create_dir(&settings).expect("made");
    fs::write(settings.join("hosts.toml"), text).expect("written");
    let hosts = Hosts::in_directory(folder.path());
    (folder, hosts)
}

fn keyring(host: &str, name: &str, password: &str) -> Keyring {
    let auth = STANDARD.encode(format!("{name}:{password}"));
    let config = json!({"auths": {host: {"auth": auth}}}).to_string();
    let mut keyring = Keyring::anonymous();
    keyring.add(DockerConfig::parse(config.as_bytes(), "test").expect("a config"));
    keyring
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test]
async fn an_artifact_is_pulled_once() {
    let fake = Fake::start().await;
    let (digest, layer) = fake.artifact("app", "1", b"\0asm....");
    let puller = Puller::new();
    let reference = format!("{}/app:1", fake.host);
    let image = puller.pull(&reference).await.expect("pulled");
    assert_eq!(image.digest, digest);
    let path = puller.store.blob_path(&layer);
    assert_eq!(fs::read(path).expect("a blob"), b"\0asm....");
    let before = fake.count(|asked| asked.path.contains("/blobs/"));
    puller.pull(&reference).await.expect("pulled again");
    assert_eq!(fake.count(|asked| asked.path.contains("/blobs/")), before);
    let pinned = format!("{}/app@{digest}", fake.host);
    assert_eq!(
        puller.pull(&pinned).await.expect("by digest").digest,
        digest
    );
    let error = puller.refused(&format!("{}/app:2", fake.host)).await;
    assert!(error.contains("not found"), "{error}");
}

#[tokio::test]
async fn what_was_changed_on_the_disk_is_pulled_again_where_it_is_looked_at() {
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", b"right");
    let mut puller = Puller::new();
    let (hashing, hashed) = mpsc::channel();
    puller.progress = Progress::to(move |step| {
        if let Step::Hashing(digest) = step {
            hashing.send(digest).expect("somebody listens");
        }
    });
    let reference = format!("{}/app:1", fake.host);
    let path = puller.store.blob_path(&layer);
    let cases = [
        // What has just come is not hashed again.
        (Present::Hashed, None, "right", false),
        (Present::Trusted, Some("wrong"), "wrong", false),
        (Present::Hashed, Some("wrong"), "right", true),
        (Present::Hashed, None, "right", true),
    ];
    for (number, (present, changed, wanted, is_hashed)) in cases.into_iter().enumerate() {
        if let Some(text) = changed {
            fs::write(&path, text).expect("written");
        }
        let pulled = puller.pull_with(&reference, present).await;
        pulled.expect("pulled");
        let found = fs::read_to_string(&path).expect("a blob");
        assert_eq!(found, wanted, "{number}");
        let layers = hashed.try_iter().filter(|digest| *digest == layer);
        assert_eq!(layers.count() > 0, is_hashed, "{number}");
    }
}

#[tokio::test]
async fn an_image_is_renewed_as_it_was_whatever_its_name_leads_to_by_now() {
    let fake = Fake::start().await;
    let (digest, layer) = fake.artifact("app", "1", b"right");
    let puller = Puller::new();
    let text = format!("{}/app:1", fake.host);
    let image = puller.pull(&text).await.expect("pulled");
    let (reference, store) = (text.parse::<Reference>().expect("one"), &puller.store);
    let lease = store.lease().expect("a lease");
    let damaged = || pull::damaged(store, &image).expect("readable");
    let none = Progress::none();
    let renew = || {
        let (client, keyring) = (&puller.client, &puller.keyring);
        pull::renew(client, store, &lease, &reference, &digest, keyring, &none)
    };
    fake.artifact("app", "1", b"another");
    assert_eq!(damaged(), None);
    for damaged_blob in [&layer, &digest, &image.manifest.config.digest] {
        let path = store.blob_path(damaged_blob);
        let whole = fs::read(&path).expect("a blob");
        fs::write(&path, vec![b'x'; whole.len()]).expect("written");
        // The configuration of an artifact is read by nobody.
        let is_read = *damaged_blob != image.manifest.config.digest;
        assert_eq!(damaged().as_ref(), is_read.then_some(damaged_blob));
        let renewed = renew().await.expect("renewed");
        assert_eq!(renewed.digest, digest);
        assert_eq!(fs::read(&path).expect("a blob"), whole);
    }
    fs::remove_file(store.blob_path(&layer)).expect("removed");
    assert_eq!(damaged().as_ref(), Some(&layer));
    let names = store.records().expect("listed");
    let names: Vec<&str> = names.iter().map(|it| it.reference.as_str()).collect();
    assert_eq!(names, [reference.to_string()], "no name more");
    // Nobody has what was packed here.
    let mine = testing::image(store, &lease, b"mine").digest;
    let (client, keyring) = (&puller.client, &puller.keyring);
    let renewed = pull::renew(client, store, &lease, &reference, &mine, keyring, &none);
    let error = renewed.await.expect_err("refused").to_string();
    assert!(error.contains("not found"), "{error}");
}

#[tokio::test]
async fn what_was_changed_on_the_disk_is_not_pushed() {
    let fake = Fake::start().await;
    let puller = Puller::new();
    let lease = puller.store.lease().expect("a lease");
    let target = testing::image(&puller.store, &lease, b"right");
    let image = pull::of_target(&puller.store, target.clone()).expect("here");
    let layer = puller.store.blob_path(&image.manifest.layers[0].digest);
    fs::write(layer, b"wrong").expect("written");
    let text = format!("{}/mine:1", fake.host);
    let reference: Reference = text.parse().expect("a reference");
    puller.store.name(&reference, &target).expect("named");
    let (client, keyring, none) = (&puller.client, &puller.keyring, Progress::none());
    let pushed = push::push(client, &puller.store, &lease, &reference, keyring, &none);
    let error = pushed.await.expect_err("refused").to_string();
    assert!(error.contains("image pull"), "{error}");
    assert_eq!(fake.count(|asked| asked.method != "HEAD"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_at_once_share_their_blobs() {
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", &vec![1; 200_000]);
    let puller = Arc::new(Puller::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (puller, reference) = (Arc::clone(&puller), format!("{}/app:1", fake.host));
        tasks.spawn(async move { puller.pull(&reference).await.map(|image| image.digest) });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task").expect("pulled");
    }
    let blob = format!("/blobs/{layer}");
    assert_eq!(fake.count(|asked| asked.path.ends_with(&blob)), 1);
}

#[tokio::test]
async fn the_image_of_an_index_that_is_for_us_is_pulled() {
    let fake = Fake::start().await;
    let (wasm, layer) = fake.artifact("app", "wasm", b"wasm");
    let (other, _) = fake.artifact("app", "other", b"other");
    let entry = |digest: &Digest, os: &str, architecture: &str| {
        let size = fake.manifest("app", &digest.to_string()).len();
        json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size,
            "platform": {"os": os, "architecture": architecture}})
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX,
        "manifests": [entry(&other, "linux", crate::kind::machine()), entry(&wasm, "wasi", "wasm")],
    });
    fake.put_manifest("app", "1", media::OCI_INDEX, index.to_string().as_bytes());
    let puller = Puller::new();
    let reference = format!("{}/app:1", fake.host);
    let image = puller.pull(&reference).await.expect("pulled");
    assert_eq!(image.digest, wasm);
    assert!(puller.store.size(&layer).is_some() && puller.store.size(&other).is_none());
    let lease = puller.store.lease().expect("a lease");
    let again = pull::local(
        &puller.store,
        &lease,
        &reference.parse().expect("a reference"),
    );
    assert_eq!(again.expect("here").digest, wasm);
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_others() {
    let fake = Fake::start().await;
    let puller = Puller::new();
    let lease = puller.store.lease().expect("a lease");
    let target = testing::image(&puller.store, &lease, &vec![3; 300_000]);
    let text = format!("{}/mine:1", fake.host);
    let reference: Reference = text.parse().expect("a reference");
    puller.store.name(&reference, &target).expect("named");
    let none = Progress::none();
    let push = || {
        push::push(
            &puller.client,
            &puller.store,
            &lease,
            &reference,
            &puller.keyring,
            &none,
        )
    };
    let pushed = push().await.expect("pushed");
    assert_eq!(
        (pushed.digest, pushed.alone),
        (target.digest.clone(), false)
    );
    let uploads = fake.count(|asked: &Asked| asked.method == "POST");
    push().await.expect("pushed again");
    assert_eq!(
        fake.count(|asked| asked.method == "POST"),
        uploads,
        "all was there"
    );
    let other = Puller::new().pull(&text).await.expect("pulled");
    assert_eq!(other.digest, target.digest);
}
