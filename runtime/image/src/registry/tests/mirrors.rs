//! Servers beside the one that a reference names.

use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A client of a registry with these settings.
fn settled(registry: &Fake, text: &str, keyring: Keyring) -> (tempfile::TempDir, Puller) {
    let (folder, hosts) = settings(&registry.host, text);
    (folder, Puller::with(hosts, keyring))
}

/// The table of a mirror.
fn table(mirror: &Fake, capabilities: &str) -> String {
    format!(
        "[host.\"http://{}\"]\ncapabilities = [{capabilities}]\n",
        mirror.host
    )
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_gets_no_credentials_of_others() {
    let mirror = Fake::start().await;
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let text = table(&mirror, "\"pull\", \"resolve\"");
    fake.intercept(|asked| {
        asked
            .header("authorization")
            .is_none()
            .then(|| Reply::new(401).with("WWW-Authenticate", "Basic"))
    });
    let mine = keyring(&fake.host, "me", "pw");
    let (_folder, puller) = settled(&fake, &text, mine);
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
async fn a_proxy_is_told_of_which_registry_and_nobody_else() {
    let (mirror, fake) = (Fake::start().await, Fake::start().await);
    let (right, _) = fake.artifact("app", "1", b"right");
    // It has the tag, and not the content.
    let manifest = fake.manifest("app", "1");
    mirror.put_manifest("app", "1", media::OCI_MANIFEST, &manifest);
    let text = table(&mirror, "\"pull\", \"resolve\"");
    let (_folder, puller) = settled(&fake, &text, Keyring::anonymous());
    let image = puller.pull(&format!("{}/app:1", fake.host)).await;
    assert_eq!(image.expect("pulled").digest, right);
    let registry = fake.host.replace(':', "%3A");
    let is_told = |asked: &Asked| asked.namespace.as_deref() == Some(registry.as_str());
    let is_blob = |asked: &Asked| asked.path.contains("/blobs/") && is_told(asked);
    assert!(mirror.count(is_blob) > 0);
    assert_eq!(mirror.count(is_told), mirror.count(|_| true));
    assert_eq!(fake.count(|asked| asked.namespace.is_some()), 0);
}

#[test]
fn whose_server_is_a_proxy_is_told_as_containerd_does() {
    let cases = [
        ("docker.io", "https://registry-1.docker.io", None),
        ("docker.io", "https://m.example", Some("docker.io")),
        ("r.example", "http://r.example", None),
        ("r.example", "https://r.example:5000", Some("r.example")),
    ];
    for (registry, server, wanted) in cases {
        let (_folder, hosts) = settings(registry, &format!("server = \"{server}\"\n"));
        let endpoints = hosts.endpoints(registry).expect("endpoints");
        let told = endpoints[0].namespace.as_deref();
        assert_eq!(told, wanted, "{registry} at {server}");
    }
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
        let text = format!("[host.\"http://{}\"]\n", mirror.host);
        let (_folder, puller) = settled(&fake, &text, Keyring::anonymous());
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

#[tokio::test]
async fn what_a_tag_leads_to_only_those_say_who_may() {
    let (mirror, fake) = (Fake::start().await, Fake::start().await);
    let (right, layer) = fake.artifact("app", "1", b"right");
    fake.artifact("app", "other", b"old");
    // It has the right content, and an old tag.
    mirror.artifact("app", "2", b"right");
    let (old, _) = mirror.artifact("app", "1", b"old");
    let tagged = format!("{}/app:1", fake.host);
    let is_tag = |asked: &Asked| asked.path.ends_with("/manifests/1");
    let is_layer = |asked: &Asked| asked.path.ends_with(layer.hex());
    let only_pulls = table(&mirror, "\"pull\"");
    let (_folder, puller) = settled(&fake, &only_pulls, Keyring::anonymous());
    let image = puller.pull(&tagged).await.expect("pulled");
    assert_eq!(image.digest, right);
    assert_eq!((mirror.count(is_tag), fake.count(is_tag)), (0, 1));
    assert_eq!((mirror.count(is_layer), fake.count(is_layer)), (1, 0));
    let (_folder, puller) = settled(&fake, &only_pulls, Keyring::anonymous());
    let pinned = format!("{}/app@{right}", fake.host);
    puller.pull(&pinned).await.expect("pulled");
    assert_eq!(fake.count(|asked| asked.path.contains("/manifests/")), 1);
    // A mirror that may say it is believed, and gives no content where it may not.
    let only_resolves = table(&mirror, "\"resolve\"");
    let (_folder, puller) = settled(&fake, &only_resolves, Keyring::anonymous());
    let before = mirror.count(|asked| asked.path.contains("/blobs/"));
    let image = puller.pull(&tagged).await.expect("pulled");
    assert_eq!(image.digest, old);
    let after = mirror.count(|asked| asked.path.contains("/blobs/"));
    assert_eq!(after, before);
    let nobody = "capabilities = [\"push\"]\n".to_owned() + &only_pulls;
    let (_folder, puller) = settled(&fake, &nobody, Keyring::anonymous());
    let error = puller.refused(&tagged).await;
    assert!(error.contains("name the image by its digest"), "{error}");
}

#[tokio::test]
async fn what_each_server_said_is_told() {
    let (mirror, fake) = (Fake::start().await, Fake::start().await);
    mirror.intercept(|_| Some(Reply::new(403).body(b"not for you")));
    // Without a scheme it is https, which nobody speaks there.
    let text = table(&mirror, "\"pull\", \"resolve\"");
    let text = format!("{text}[host.\"127.0.0.1:1\"]\n");
    // What the registry says counts, also where it is asked before.
    let registry = table(&fake, "\"pull\", \"resolve\"");
    for text in [format!("{registry}{text}"), text.clone()] {
        let (_folder, puller) = settled(&fake, &text, Keyring::anonymous());
        let error = puller.refused(&format!("{}/app:1", fake.host)).await;
        let wanted = ["not found", &fake.host, "not for you", "127.0.0.1:1"];
        for wanted in wanted {
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        let told = error.find("not found") < error.find("asked as well: ");
        assert!(told, "{error}");
    }
    let (_folder, puller) = settled(&fake, &text, Keyring::anonymous());
    // Content that is wrong does not say by itself from where it came.
    mirror.intercept(|_| None);
    let (_, layer) = fake.artifact("app", "1", b"right");
    mirror.artifact("app", "1", b"right");
    let blob = format!("/blobs/{layer}");
    let other = blob.clone();
    mirror.intercept(move |asked| {
        let is_it = asked.path.ends_with(&blob);
        is_it.then(|| Reply::new(200).body(b"wrong"))
    });
    fake.intercept(move |asked| asked.path.ends_with(&other).then(|| Reply::new(404)));
    let error = puller.refused(&format!("{}/app:1", fake.host)).await;
    let wrong = format!("{}: the content of", mirror.host);
    assert!(error.contains(&wrong), "{error}");
}

#[tokio::test]
async fn mirrors_are_asked_in_the_order_of_the_file() {
    let (first, second, fake) = (
        Fake::start().await,
        Fake::start().await,
        Fake::start().await,
    );
    fake.artifact("app", "1", b"x");
    for mirrors in [[&first, &second], [&second, &first]] {
        let text = mirrors
            .map(|mirror| table(mirror, "\"pull\", \"resolve\""))
            .concat();
        mirrors[0].artifact("app", "1", b"x");
        let (_folder, puller) = settled(&fake, &text, Keyring::anonymous());
        let before = mirrors[1].count(|_| true);
        let image = puller.pull(&format!("{}/app:1", fake.host)).await;
        image.expect("pulled from the first");
        assert_eq!(mirrors[1].count(|_| true), before);
        assert_eq!(fake.count(|_| true), 0);
    }
}

#[tokio::test]
async fn settings_that_are_slow_to_read_hold_up_nobody_else() {
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let (folder, puller) = settled(&fake, "", Keyring::anonymous());
    // Read until somebody writes to it, as from a network that hangs.
    let path = folder.path().join(&fake.host).join("hosts.toml");
    fs::remove_file(&path).expect("removed");
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("a pipe");
    let (ran, others) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let have_run = others.recv_timeout(Duration::from_secs(10)).is_ok();
        fs::write(&path, "").expect("written");
        have_run
    });
    let reference = format!("{}/app:1", fake.host);
    let other = async {
        // Where it does not come in time, the writer says so.
        let _ = ran.send(());
    };
    let (image, ()) = tokio::join!(puller.pull(&reference), other);
    image.expect("pulled");
    assert!(writer.join().expect("a thread"), "the other task has run");
}
