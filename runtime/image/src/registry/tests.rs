//! Tests of the client, of pulling and of pushing, against a registry of a few lines that does as
//! it is told.

mod fake;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::credentials::DockerConfig;
use crate::digest::Digest;
use crate::limits;
use crate::manifest::media;
use crate::pull::{self, Image, PullError};
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
}

// === impl Puller ===

impl Puller {
    fn new() -> Self {
        Self::with(Hosts::plain(), Keyring::anonymous())
    }

    fn with(hosts: Hosts, keyring: Keyring) -> Self {
        let (folder, store) = testing::store();
        let client = Client::new(hosts);
        Self {
            _folder: folder,
            store,
            client,
            keyring,
        }
    }

    async fn pull(&self, reference: &str) -> Result<Image, PullError> {
        let reference: Reference = reference.parse().expect("a reference");
        let lease = Arc::new(self.store.lease().expect("a lease"));
        let progress = Progress::none();
        pull::pull(
            &self.client,
            &self.store,
            &lease,
            &reference,
            &self.keyring,
            &progress,
        )
        .await
    }

    async fn refused(&self, reference: &str) -> String {
        let error = self.pull(reference).await.expect_err("refused");
        error.to_string()
    }
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
async fn a_token_is_fetched_once_and_its_server_alone_sees_the_password() {
    let tokens = Fake::start().await;
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let realm = format!("http://{}/token", tokens.host);
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    fake.intercept(move |asked| {
        (asked.header("authorization") != Some("Bearer good"))
            .then(|| Reply::new(401).with("WWW-Authenticate", &challenge))
    });
    tokens.intercept(|asked| {
        let is_known = asked.header("authorization") == Some(basic("me", "pw").as_str());
        let body: &[u8] = if is_known {
            br#"{"token": "good"}"#
        } else {
            br#"{"token": "bad"}"#
        };
        Some(Reply::new(200).body(body))
    });
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    puller
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    assert_eq!(tokens.count(|_| true), 1);
    assert_eq!(
        tokens.count(|asked| asked.path.contains("scope=repository%3Aapp%3Apull")),
        1
    );
    assert_eq!(
        fake.count(|asked| asked
            .header("authorization")
            .is_some_and(|it| it.starts_with("Basic"))),
        0
    );
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(
        error.contains("access denied") && error.contains("imagePullSecrets"),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_is_shown_where_it_is_asked_for() {
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    fake.intercept(|asked| {
        let wanted = basic("me", "pw");
        (asked.header("authorization") != Some(wanted.as_str()))
            .then(|| Reply::new(401).with("WWW-Authenticate", "Basic realm=\"r\""))
    });
    let reference = format!("{}/app:1", fake.host);
    let right = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    right.pull(&reference).await.expect("pulled");
    let wrong = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "no"));
    let error = wrong.refused(&reference).await;
    assert!(error.contains("to \"me\""), "{error}");
}

#[tokio::test]
async fn redirects_carry_no_credentials_to_another_host() {
    let storage = Fake::start().await;
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", b"content");
    let target = format!("http://{}/elsewhere", storage.host);
    let blob = format!("/blobs/{layer}");
    fake.intercept(move |asked| {
        let wanted = basic("me", "pw");
        if asked.header("authorization") != Some(wanted.as_str()) {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic"));
        }
        asked
            .path
            .ends_with(&blob)
            .then(|| Reply::new(307).with("Location", &target))
    });
    storage.intercept(|_| Some(Reply::new(200).body(b"content")));
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    puller
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    assert_eq!(storage.count(|_| true), 1);
    assert_eq!(
        storage.count(|asked| asked.header("authorization").is_some()),
        0
    );
    let here = format!("http://{}/again", fake.host);
    fake.intercept(move |_| Some(Reply::new(302).with("Location", &here)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("leads on"), "{error}");
}

#[tokio::test]
async fn a_host_that_was_led_to_is_told_no_secret_whatever_it_asks() {
    let (thief, storage) = (Fake::start().await, Fake::start().await);
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", b"content");
    let realm = format!("Bearer realm=\"http://{}/token\"", thief.host);
    storage.intercept(move |_| Some(Reply::new(401).with("WWW-Authenticate", &realm)));
    let target = format!("http://{}/elsewhere", storage.host);
    let blob = format!("/blobs/{layer}");
    fake.intercept(move |asked| {
        if asked.method == "POST" {
            return Some(Reply::new(202).with("Location", &target));
        }
        let is_blob = asked.method == "GET" && asked.path.ends_with(&blob);
        is_blob.then(|| Reply::new(307).with("Location", &target))
    });
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    let reference = format!("{}/app:1", fake.host);
    let error = puller.refused(&reference).await;
    assert!(error.contains("access denied"), "{error}");
    let lease = puller.store.lease().expect("a lease");
    let target = testing::image(&puller.store, &lease, b"mine");
    let reference: Reference = format!("{}/mine:1", fake.host).parse().expect("one");
    puller.store.name(&reference, &target).expect("named");
    let (client, store, none) = (&puller.client, &puller.store, &Progress::none());
    let pushed = push::push(client, store, &lease, &reference, &puller.keyring, none).await;
    pushed.expect_err("refused");
    assert_eq!(thief.count(|_| true), 0);
    let is_put = |asked: &Asked| asked.method == "PUT";
    assert!(storage.count(is_put) > 0 && storage.count(|asked| !is_put(asked)) > 0);
    let is_told = |asked: &Asked| asked.header("authorization").is_some();
    assert_eq!(storage.count(is_told), 0);
}

#[test]
fn a_grant_that_is_over_is_fetched_again() {
    let now = tokio::time::Instant::now();
    let (text, other) = ("Bearer a", "Bearer b");
    let header = |text: &str| http::HeaderValue::from_str(text).expect("a header");
    let second = std::time::Duration::from_secs(1);
    let grant = |until| auth::Grant {
        header: header(text),
        until,
    };
    let cases = [
        (None, None, false),
        (Some(grant(None)), None, true),
        (Some(grant(None)), Some(other), true),
        (Some(grant(None)), Some(text), false),
        (Some(grant(Some(now + second))), None, true),
        (Some(grant(Some(now))), None, false),
        (Some(grant(Some(now))), Some(other), false),
    ];
    for (number, (grant, used, wanted)) in cases.into_iter().enumerate() {
        let used = used.map(header);
        let renewed = session::is_renewed(grant.as_ref(), used.as_ref(), now);
        assert_eq!(renewed, wanted, "case {number}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    for has_ranges in [true, false] {
        let fake = Fake::start().await;
        let content: Vec<u8> = (0..300_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let (_, layer) = fake.artifact("app", "1", &content);
        let blob = format!("/blobs/{layer}");
        let (left, whole) = (AtomicUsize::new(2), content.clone());
        fake.intercept(move |asked| {
            if !asked.path.ends_with(&blob) {
                return None;
            }
            let cuts = left
                .fetch_update(Relaxed, Relaxed, |it| it.checked_sub(1))
                .is_ok();
            let reply = if has_ranges {
                fake::ranged(asked, &whole)
            } else {
                Reply::new(200).body(&whole)
            };
            Some(if cuts { reply.cut(100_000) } else { reply })
        });
        let puller = Puller::new();
        puller
            .pull(&format!("{}/app:1", fake.host))
            .await
            .expect("pulled");
        assert_eq!(
            fs::read(puller.store.blob_path(&layer)).expect("a blob"),
            content
        );
        let ranges = fake.count(|asked| asked.header("range").is_some());
        assert_eq!(ranges, 2, "each cut was resumed");
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_should_be_is_refused() {
    let fake = Fake::start().await;
    let (digest, layer) = fake.artifact("app", "1", b"right");
    let blob = format!("/blobs/{layer}");
    let cases: [(&str, &[u8], &str); 2] = [
        (&blob, b"wrong", "has the digest"),
        (&blob, b"much too long", "should have 5"),
    ];
    for (path, body, wanted) in cases {
        let (path, body) = (path.to_owned(), body.to_vec());
        fake.intercept(move |asked| {
            asked
                .path
                .ends_with(&path)
                .then(|| Reply::new(200).body(&body))
        });
        let puller = Puller::new();
        let error = puller.refused(&format!("{}/app:1", fake.host)).await;
        assert!(error.contains(wanted), "{error}");
        assert!(puller.store.size(&layer).is_none());
        assert!(puller.store.records().expect("listed").is_empty());
    }
    let other = fake.artifact("other", "1", b"other").0;
    let other = fake.manifest("other", &other.to_string());
    fake.intercept(move |asked| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Reply::new(200).body(&other))
    });
    let error = Puller::new()
        .refused(&format!("{}/app@{digest}", fake.host))
        .await;
    assert!(error.contains("is not what the reference says"), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again() {
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let left = AtomicUsize::new(2);
    fake.intercept(move |_| {
        let is_busy = left
            .fetch_update(Relaxed, Relaxed, |it| it.checked_sub(1))
            .is_ok();
        is_busy.then(|| Reply::new(429).with("Retry-After", "0"))
    });
    Puller::new()
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    fake.intercept(|_| Some(Reply::new(429).with("Retry-After", "3600")));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("try again in 3600 s"), "{error}");
}

#[test]
fn waits_grow_and_end() {
    let busy = |after| RegistryError::Busy {
        url: String::new(),
        status: http::StatusCode::TOO_MANY_REQUESTS,
        after,
    };
    let seconds = std::time::Duration::from_secs;
    let millis = std::time::Duration::from_millis;
    let cases = [
        (busy(None), 1, Some(millis(500))),
        (busy(None), 3, Some(seconds(2))),
        (busy(None), limits::TRIES, None),
        (busy(Some(seconds(7))), 1, Some(seconds(7))),
        (busy(Some(seconds(0))), 2, Some(seconds(1))),
        (busy(Some(seconds(61))), 1, None),
    ];
    for (error, tries, wanted) in cases {
        assert_eq!(session::wait(&error, tries), wanted, "{error} {tries}");
    }
}

#[tokio::test]
async fn answers_without_end_are_not_kept() {
    let fake = Fake::start().await;
    let large = vec![b' '; usize::try_from(limits::MANIFEST).expect("small") + 10];
    fake.intercept(move |_| Some(Reply::new(200).body(&large)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("larger than"), "{error}");
    let large = vec![b'x'; usize::try_from(limits::ERROR_BODY).expect("small") + 10];
    fake.intercept(move |_| Some(Reply::new(400).body(&large)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("400") && error.len() < 500, "{error}");
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
async fn a_mirror_is_asked_first_and_gets_no_credentials_of_others() {
    let mirror = Fake::start().await;
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join(&fake.host);
    fs::create_dir(&settings).expect("made");
    let text = format!(
        "[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        mirror.host
    );
    fs::write(settings.join("hosts.toml"), text).expect("written");
    fake.intercept(|asked| {
        asked
            .header("authorization")
            .is_none()
            .then(|| Reply::new(401).with("WWW-Authenticate", "Basic"))
    });
    let hosts = Hosts::in_directory(folder.path());
    let puller = Puller::with(hosts, keyring(&fake.host, "me", "pw"));
    puller
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled from the registry");
    assert!(mirror.count(|_| true) > 0);
    assert_eq!(
        mirror.count(|asked| asked.header("authorization").is_some()),
        0
    );
}

#[tokio::test]
async fn what_a_mirror_has_wrong_comes_from_the_registry() {
    for wrong in [&b"wrong"[..], b"much too long"] {
        let (mirror, fake) = (Fake::start().await, Fake::start().await);
        let (_, layer) = fake.artifact("app", "1", b"right");
        mirror.artifact("app", "1", b"right");
        let blob = format!("/blobs/{layer}");
        mirror.intercept(move |asked| {
            let is_it = asked.path.ends_with(&blob);
            is_it.then(|| Reply::new(200).body(wrong))
        });
        let folder = tempfile::tempdir().expect("a folder");
        let settings = folder.path().join(&fake.host);
        fs::create_dir(&settings).expect("made");
        let text = format!("[host.\"http://{}\"]\n", mirror.host);
        fs::write(settings.join("hosts.toml"), text).expect("written");
        let puller = Puller::with(Hosts::in_directory(folder.path()), Keyring::anonymous());
        // Half of it was here, and wrong too.
        let lease = puller.store.lease().expect("a lease");
        let claim = puller.store.claim_blocking(&lease, &layer, 5);
        if let Ok(crate::store::Claim::Ours(mut half)) = claim {
            half.write(b"wr").expect("written");
        }
        let image = puller.pull(&format!("{}/app:1", fake.host)).await;
        image.expect("pulled from the registry");
        let found = fs::read(puller.store.blob_path(&layer)).expect("a blob");
        assert_eq!(found, b"right");
        let is_blob = |asked: &Asked| asked.path.ends_with(layer.hex());
        assert!(mirror.count(is_blob) > 0 && fake.count(is_blob) == 1);
    }
}

#[test]
fn a_connection_counts_that_brings_what_one_has_to() {
    let cases = [
        (0, limits::PACE, 1),
        (4, limits::PACE, 1),
        (4, limits::PACE - 1, 5),
        (0, 1, 1),
        (1, 1, 2),
        (1, 0, 2),
    ];
    for (tries, came, wanted) in cases {
        assert_eq!(pull::fruitless(tries, came), wanted, "{tries} {came}");
    }
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
