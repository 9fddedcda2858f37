//! Tests of the store: names, leases, collecting, resuming, one flight.

use std::io::Write as _;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::manifest::media;
use crate::reference::Reference;
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
    fs::write(store.record_path(&pinned.to_string()), text).expect("written");
    assert!(store.find(&pinned).is_none());
    let local = crate::pull::local(&store, &lease, &pinned).expect("by its digest");
    assert_eq!(local.digest, right.digest);
}

#[test]
fn no_name_reads_like_a_digest() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let target = image(&store, &lease, b"x");
    for (name, is_good) in [
        ("library/sha256:0123456789ab", false),
        ("docker.io/library/sha512", false),
        ("sha256:latest", false),
        ("sha256:1/app:1", true),
        ("acme/sha256:0123456789ab", true),
        ("r.example/library/sha256:1", true),
        ("sha384:1", true),
    ] {
        let named = store.name(&reference(name), &target);
        assert_eq!(named.is_ok(), is_good, "{name}: {named:?}");
    }
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
    assert!(matches!(error, StoreError::Changed(_)), "{error}");
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
    type Case = (&'static str, fn(&Store) -> PathBuf);
    let cases: [Case; 3] = [
        // A directory is read by nobody, whoever they are.
        ("no record", |store| {
            let path = store.room("references").join("half");
            fs::write(&path, "{\"refer").expect("written");
            path
        }),
        ("cannot read", |store| {
            let path = store.room("references").join("unreadable");
            fs::create_dir(&path).expect("made");
            path
        }),
        ("is no digest", |store| {
            let lease = store.lease().expect("a lease");
            lease.line("sha256:abc").expect("a half line");
            std::mem::forget(lease);
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
        let in_the_way = break_it(&store);
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
fn a_manifest_that_was_changed_on_the_disk_stops_nothing() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let name = reference("app:1");
    let target = image(&store, &lease, b"x");
    let blobs = store.blobs().expect("listed");
    store.name(&name, &target).expect("named");
    store.put(&lease, media::WASM, b"nobody's").expect("put");
    drop(lease);
    let user = store.lease().expect("a lease");
    crate::pull::local(&store, &user, &name).expect("in use");
    fs::write(store.blob_path(&target.digest), "changed").expect("written");
    assert_eq!(store.collect().expect("collected").blobs, 1);
    assert_eq!(store.blobs().expect("listed").len(), blobs.len(), "in use");
    drop(user);
    assert_eq!(store.collect().expect("collected").blobs, 2);
    assert!(store.size(&target.digest).is_some(), "named");
    store.mend(&target.digest).expect("mended");
    assert!(store.size(&target.digest).is_none());
}

#[test]
fn only_what_was_changed_is_mended_however_large_it_is() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let mut content = vec![7; usize::try_from(limits::MANIFEST).expect("small") + 9];
    let layer = store.put(&lease, media::WASM, &content).expect("put");
    let path = store.blob_path(&layer.digest);
    store.mend(&layer.digest).expect("nothing to mend");
    assert_eq!(store.size(&layer.digest), Some(layer.size), "it is right");
    *content.last_mut().expect("a byte") = 8;
    fs::write(&path, &content).expect("written");
    store.mend(&layer.digest).expect("mended");
    assert_eq!(store.size(&layer.digest), None);
    store.mend(&layer.digest).expect("not here");
}

#[test]
fn a_blob_that_was_cut_on_the_disk_is_brought_again() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let blob = store.put(&lease, media::WASM, b"right").expect("put");
    fs::write(store.blob_path(&blob.digest), "").expect("written");
    store.put(&lease, media::WASM, b"right").expect("put again");
    assert_eq!(store.size(&blob.digest), Some(5));
    // A descriptor that says another size deletes nothing.
    let claim = store.claim_blocking(&lease, &blob.digest, 4);
    assert!(claim.is_err() && store.size(&blob.digest) == Some(5));
}

#[test]
fn what_somebody_brings_meanwhile_is_not_deleted() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let blob = store.put(&lease, media::WASM, b"right").expect("put");
    let path = store.blob_path(&blob.digest);
    fs::write(&path, "wrong").expect("written");
    let bringing = store.lock_ingest(&blob.digest).expect("locked");
    std::thread::scope(|scope| {
        let mending = scope.spawn(|| store.mend(&blob.digest));
        fs::write(&path, "right").expect("written");
        drop(bringing);
        mending.join().expect("a thread").expect("nothing to mend");
    });
    assert_eq!(fs::read(&path).expect("it stays"), b"right");
}

#[test]
fn names_that_nobody_uses_are_forgotten() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    for content in ["used", "unused"] {
        let target = image(&store, &lease, content.as_bytes());
        store.name(&reference(content), &target).expect("named");
    }
    drop(lease);
    let user = store.lease().expect("a lease");
    crate::pull::local(&store, &user, &reference("used")).expect("in use");
    let forgotten = store.forget_unused().expect("forgotten");
    let names: Vec<&str> = forgotten.iter().map(|it| it.reference.as_str()).collect();
    assert_eq!(names, ["docker.io/library/unused:latest"]);
    assert_eq!(store.collect().expect("collected").blobs, 3);
    drop(user);
    assert_eq!(store.forget_unused().expect("forgotten").len(), 1);
    assert!(store.records().expect("listed").is_empty());
}

#[test]
fn what_somebody_works_on_stays_whichever_process_that_is() {
    let (_folder, store) = store();
    let stages = || fs::read_dir(store.room("ingest")).expect("a room").count();
    let mut file = store.stage_file("record").expect("a stage");
    let directory = store.stage_directory("root").expect("a stage");
    fs::write(directory.path().join("x"), "x").expect("written");
    store.collect().expect("collected");
    assert_eq!(stages(), 2);
    file.file().write_all(b"whole").expect("written");
    let target = store.room("kept");
    file.keep(&target).expect("kept");
    assert_eq!(fs::read(&target).expect("it"), b"whole");
    drop(directory);
    assert_eq!(stages(), 0, "what was not kept is gone");
    let left = store.stage_directory("root").expect("a stage");
    let path = left.path().to_owned();
    store.collect().expect("collected");
    assert!(path.exists());
}

#[test]
fn of_what_nothing_came_nothing_stays() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let left = || fs::read_dir(store.room("ingest")).expect("a room").count();
    let digest = Digest::of(b"right");
    let claimed = || store.claim_blocking(&lease, &digest, 5).expect("a claim");
    drop(claimed());
    assert_eq!(left(), 0, "not begun");
    store
        .put_as(&lease, &digest, b"wrong")
        .expect_err("refused");
    assert_eq!(left(), 0, "dropped as wrong");
    store.put_as(&lease, &digest, b"right").expect("put");
    fs::write(store.blob_path(&digest), "wrong").expect("written");
    assert!(store.mend(&digest).expect("mended"));
    assert_eq!(left(), 0, "mended");
    let Claim::Ours(mut half) = claimed() else {
        panic!("it is not here");
    };
    half.write(b"rig").expect("written");
    drop(half);
    assert_eq!(left(), 1, "for whoever is next");
}

#[test]
fn a_file_that_came_whole_takes_the_place_of_half_a_blob() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let digest = Digest::of(b"right");
    let staged = |content: &[u8]| {
        let mut stage = store.stage_file("member").expect("a stage");
        stage.file().write_all(content).expect("written");
        (stage, Digest::of(content), content.len() as u64)
    };
    let ours = || match store.claim_blocking(&lease, &digest, 5) {
        Ok(Claim::Ours(ingest)) => ingest,
        other => panic!("it is not here: {other:?}"),
    };
    let mut half = ours();
    half.write(b"rig").expect("written");
    drop(half);
    for (content, wanted) in [
        (&b"wrong"[..], "has the digest"),
        (&b"rig"[..], "should have 5"),
    ] {
        let (stage, found, size) = staged(content);
        let error = ours().replace(stage, found, size).expect_err("refused");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert_eq!(ours().written(), 3, "half of it is still there");
    let (stage, found, size) = staged(b"right");
    ours().replace(stage, found, size).expect("kept");
    assert_eq!(store.read(&digest, 5).expect("a blob"), b"right");
    assert_eq!(
        fs::read_dir(store.room("ingest")).expect("a room").count(),
        0
    );
}

#[test]
fn a_blob_that_finds_no_room_leaves_none_taken() {
    let (_folder, store) = store();
    let lease = store.lease().expect("a lease");
    let digest = Digest::of(b"0123456789");
    let Ok(Claim::Ours(mut ingest)) = store.claim_blocking(&lease, &digest, 10) else {
        panic!("it is not here");
    };
    ingest.write(b"01234").expect("written");
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let error = ingest.gave_up(failed("write", Path::new("a"))(full));
    let text = error.to_string();
    assert!(matches!(error, StoreError::Full { .. }), "{text}");
    assert!(text.contains("image rm --unused"), "{text}");
    let left = fs::read_dir(store.room("ingest")).expect("a room").count();
    assert_eq!(left, 0);
    drop(ingest);
    let other = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = failed("write", Path::new("a"))(other);
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn what_dead_processes_left_goes() {
    let (_folder, store) = store();
    let dead = store.room("leases").join("lease-1-0.tmp");
    let text = Digest::of(b"x").to_string();
    fs::write(&dead, text).expect("written");
    let stage = store.room("ingest").join("record-1-0.tmp");
    fs::write(&stage, "half").expect("written");
    let tree = store.room("ingest").join("root-1-1.tmp");
    fs::create_dir_all(tree.join("a/b")).expect("made");
    // Of what an import brought nobody takes anything up.
    let member = store.room("ingest").join("member-1-2.tmp");
    fs::write(&member, "half").expect("written");
    // A claim of which nothing came.
    let begun = store
        .room("ingest")
        .join(format!("sha256-{}", "0".repeat(64)));
    fs::write(&begun, "").expect("written");
    let lease = store.lease().expect("a lease");
    store.put(&lease, media::WASM, b"x").expect("put");
    drop(lease);
    assert_eq!(store.collect().expect("collected").blobs, 1);
    let left = [dead, stage, tree, member, begun];
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
}
