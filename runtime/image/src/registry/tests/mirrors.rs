//! Servers beside the one that a reference names.

use super::*;

/// A client of a registry with these settings.
fn settled(registry: &Fake, text: &str, keyring: Keyring) -> (tempfile::TempDir, Puller) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join(&registry.host);
    fs::create_dir(&settings).expect("made");
    fs::write(settings.join("hosts.toml"), text).expect("written");
    let puller = Puller::with(Hosts::in_directory(folder.path()), keyring);
    (folder, puller)
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
