//! Tests of the store: names, leases, collecting, resuming, one flight.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::manifest::media;
use crate::testing::{image, store};

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

#[test]
fn names_lead_to_blobs_and_collecting_keeps_what_they_lead_to() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let kept = image(&store, &lease, b"kept");
    let dropped = image(&store, &lease, b"dropped");
    store.name(&reference("kept:1"), &kept).expect("named");
    store
        .name(&reference("dropped:1"), &dropped)
        .expect("named");
    assert_eq!(store.records().expect("listed").len(), 2);
    assert!(store.forget(&reference("dropped:1")).expect("forgotten"));
    assert!(!store.forget(&reference("dropped:1")).expect("gone already"));
    assert_eq!(
        store.collect().expect("collected").blobs,
        0,
        "a lease holds all"
    );
    drop(lease);
    assert_eq!(store.collect().expect("collected").blobs, 3);
    assert!(store.size(&dropped.digest).is_none());
    let Document::Manifest(manifest) = store.document(&kept.digest).expect("it") else {
        panic!("no manifest");
    };
    assert!(store.size(&manifest.layers[0].digest).is_some());
    let found = store.find(&reference("kept:1")).expect("a record");
    assert_eq!(found.target, kept);
    assert!(store.find(&reference("kept:2")).is_none());
}

#[test]
fn a_name_with_a_digest_leads_to_nothing_else() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let (right, wrong) = (
        image(&store, &lease, b"right"),
        image(&store, &lease, b"wrong"),
    );
    let pinned = reference(&format!("app:1@{}", right.digest));
    let error = store.name(&pinned, &wrong).expect_err("refused");
    assert!(error.to_string().contains("leave the digest"), "{error}");
    store.name(&pinned, &right).expect("named");
    assert_eq!(store.find(&pinned).expect("a record").target, right);
    let record = Record {
        reference: pinned.to_string(),
        target: wrong,
        updated: 0,
    };
    let text = serde_json::to_vec(&record).expect("text");
    fs::write(store.record_path(&pinned), text).expect("written");
    assert!(store.find(&pinned).is_none());
    let local = crate::pull::local(&store, &lease, &pinned).expect("by its digest");
    assert_eq!(local.digest, right.digest);
}

#[test]
fn a_lease_of_its_manifest_holds_an_image() {
    let (_folder, store) = store();
    let first = store.lease().expect("a lease");
    let target = image(&store, &first, b"x");
    let second = store.lease().expect("a lease");
    second.hold(&target.digest).expect("held");
    drop(first);
    assert_eq!(store.collect().expect("collected").blobs, 0);
    drop(second);
    assert_eq!(store.collect().expect("collected").blobs, 3);
    assert_eq!(
        fs::read_dir(store.room("leases")).expect("a room").count(),
        1
    );
}

#[test]
fn what_has_another_digest_never_gets_a_name() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let digest = Digest::of(b"right");
    let error = store
        .put_as(&lease, &digest, b"wrong")
        .expect_err("refused");
    assert!(matches!(error, StoreError::WrongDigest { .. }), "{error}");
    assert!(store.size(&digest).is_none());
    store.put_as(&lease, &digest, b"right").expect("taken");
    fs::write(store.blob_path(&digest), b"wrung").expect("changed");
    let error = store.read(&digest, 100).expect_err("found out");
    assert!(matches!(error, StoreError::WrongDigest { .. }), "{error}");
}

#[test]
fn half_a_blob_is_resumed_and_too_much_of_one_refused() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let digest = Digest::of(b"0123456789");
    let ours = |claim| match claim {
        Claim::Ours(ingest) => ingest,
        Claim::Present => panic!("it is not here"),
    };
    let claim = || store.claim_blocking(&lease, &digest, 10).expect("a claim");
    let mut ingest = ours(claim());
    ingest.write(b"01234").expect("written");
    drop(ingest);
    store.collect().expect("collected");
    let mut ingest = ours(claim());
    assert_eq!(ingest.written(), 5);
    assert!(ingest.write(b"567890123").is_err(), "more than its size");
    assert_eq!(ingest.written(), 0);
    ingest.write(b"0123456789").expect("written");
    ingest.finish().expect("whole");
    assert!(matches!(claim(), Claim::Present));
    assert!(
        store.claim_blocking(&lease, &digest, 11).is_err(),
        "of another size"
    );
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    /// What is said of something that is in the way, and what puts it there.
    type Case = (&'static str, fn(&Store, &Descriptor) -> PathBuf);
    let cases: [Case; 4] = [
        // A directory is read by nobody, whoever they are.
        ("no record", |store, _| {
            let path = store.room("references").join("half");
            fs::write(&path, "{\"refer").expect("written");
            path
        }),
        ("cannot read", |store, _| {
            let path = store.room("references").join("unreadable");
            fs::create_dir(&path).expect("made");
            path
        }),
        ("is no digest", |store, _| {
            let lease = store.lease().expect("a lease");
            lease.line("sha256:abc").expect("a half line");
            std::mem::forget(lease);
            PathBuf::from("/nowhere")
        }),
        ("has the digest", |store, target| {
            fs::write(store.blob_path(&target.digest), "changed").expect("written");
            PathBuf::from("/nowhere")
        }),
    ];
    for (wanted, break_it) in cases {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let target = image(&store, &lease, b"x");
        store.put(&lease, media::WASM, b"nobody's").expect("put");
        store.name(&reference("app:1"), &target).expect("named");
        drop(lease);
        let in_the_way = break_it(&store, &target);
        let error = store.collect().expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
        assert_eq!(store.blobs().expect("listed").len(), 4, "{wanted}");
        let _ = fs::remove_file(&in_the_way).or_else(|_| fs::remove_dir(&in_the_way));
        if in_the_way.starts_with("/nowhere") {
            continue;
        }
        assert_eq!(store.collect().expect("collected").blobs, 1, "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_want_a_blob_bring_it_once() {
    let (folder, store) = store();
    // Another store of the same folder is what another process has.
    let other = Store::open(folder.path()).expect("a store");
    let content = vec![7; 100_000];
    let digest = Digest::of(&content);
    let brought = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let store = if number % 2 == 0 {
            store.clone()
        } else {
            other.clone()
        };
        let (digest, content, brought) = (digest.clone(), content.clone(), Arc::clone(&brought));
        tasks.spawn(async move {
            let lease = store.lease().expect("a lease");
            let claim = store
                .claim(&lease, &digest, 100_000, || {})
                .await
                .expect("a claim");
            if let Claim::Ours(mut ingest) = claim {
                ingest.write(&content).expect("written");
                ingest.finish().expect("whole");
                brought.fetch_add(1, Relaxed);
            }
            assert!(store.size(&digest).is_some());
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task");
    }
    assert_eq!(brought.load(Relaxed), 1);
}

#[test]
fn what_dead_processes_left_goes() {
    let (_folder, store) = store();
    let dead = store.room("leases").join("lease-1-0.tmp");
    let text = Digest::of(b"x").to_string();
    fs::write(&dead, text).expect("written");
    let stage = store.room("ingest").join("record-999999999-0.tmp");
    fs::write(&stage, "half").expect("written");
    let lease = store.lease().expect("a lease");
    store.put(&lease, media::WASM, b"x").expect("put");
    drop(lease);
    assert_eq!(store.collect().expect("collected").blobs, 1);
    assert!(!dead.exists() && !stage.exists());
}
