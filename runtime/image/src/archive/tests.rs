//! Tests of archives: both forms of `docker save`, layouts, and what is none of them.

use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::kind::Kind;
use crate::limits;
use crate::manifest::{Descriptor, media};
use crate::pull::{local, of_target};
use crate::reference::Reference;
use crate::testing::{self, Entry, gzip, tar, zstd};

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// What Docker builds `FROM scratch` with one wasm file: configuration and layer.
fn scratch() -> (Vec<u8>, Vec<u8>) {
    let layer = tar(&[Entry::File("app.wasm", b"\0asm\x01\0\0\0")]);
    let config = json!({
        "architecture": "wasm", "os": "wasi",
        "config": {"Entrypoint": ["/app.wasm"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    (config.to_string().into_bytes(), layer)
}

fn saved(config: &str, tags: &Value, layers: &[&str]) -> Vec<u8> {
    json!([{"Config": config, "RepoTags": tags, "Layers": layers}])
        .to_string()
        .into_bytes()
}

fn imported(archive: &[u8], name: Option<&str>) -> Result<Vec<String>, String> {
    let (folder, store) = testing::store();
    let lease = store.lease().expect("a lease");
    let path = folder.path().join("archive.tar");
    std::fs::write(&path, archive).expect("written");
    let name = name.map(reference);
    let found = import(&store, &lease, &path, name.as_ref()).map_err(|error| error.to_string())?;
    for (name, _) in &found {
        let image = local(&store, &lease, name).expect("it is here");
        let Kind::Root(root) = &image.kind else {
            panic!("{image:?}")
        };
        assert!(root.says_wasm);
        let diff_ids = &image
            .config
            .as_ref()
            .expect("a configuration")
            .rootfs
            .diff_ids;
        let layers = &image.manifest.layers;
        let none = crate::progress::Progress::none();
        let root = crate::root::unpack(&store, &lease, layers, diff_ids, &none).expect("unpacked");
        assert!(root.path.join("app.wasm").is_file());
    }
    Ok(found.iter().map(|(name, _)| name.familiar()).collect())
}

#[test]
fn the_old_form_of_docker_save_is_read() {
    let (config, layer) = scratch();
    let tags = json!(["app:1", "r.example/app:2"]);
    let list = saved("c.json", &tags, &["0/layer.tar", "1/layer.tar"]);
    let twice = String::from_utf8(config.clone()).expect("text");
    let id = Digest::of(&layer).to_string();
    let twice = twice.replace(&format!("[\"{id}\"]"), &format!("[\"{id}\",\"{id}\"]"));
    let archive = tar(&[
        Entry::Directory("0/"),
        Entry::File("0/layer.tar", &layer),
        Entry::Link("1/layer.tar", "../0/layer.tar"),
        Entry::File("c.json", twice.as_bytes()),
        Entry::File("manifest.json", &list),
    ]);
    let wanted = Ok(vec!["app:1".to_owned(), "r.example/app:2".to_owned()]);
    assert_eq!(imported(&archive, None), wanted);
    assert_eq!(imported(&gzip(&archive), None), wanted);
    assert_eq!(imported(&zstd(&archive), None), wanted);
    let skipped = [
        &[0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7],
        zstd(&archive).as_slice(),
    ]
    .concat();
    assert_eq!(imported(&skipped, None), wanted);
}

#[test]
fn what_is_exported_is_imported_again() {
    let (folder, store) = testing::store();
    let lease = store.lease().expect("a lease");
    let (config, layer) = scratch();
    let archive = tar(&[
        Entry::File("c.json", &config),
        Entry::File("l.tar", &layer),
        Entry::File(
            "manifest.json",
            &saved("c.json", &json!(["app:1"]), &["l.tar"]),
        ),
    ]);
    let path = folder.path().join("in.tar");
    std::fs::write(&path, archive).expect("written");
    import(&store, &lease, &path, None).expect("imported");
    let artifact = testing::image(&store, &lease, b"\0asm\x01\0\0\0");
    let images = [
        (
            reference("app:1"),
            local(&store, &lease, &reference("app:1")).expect("here"),
        ),
        (
            reference("r.example/wasm:1"),
            of_target(&store, artifact).expect("here"),
        ),
    ];
    let out = folder.path().join("out.tar");
    export(&store, &images, std::fs::File::create(&out).expect("made")).expect("exported");
    let (_other_folder, other) = testing::store();
    let lease = other.lease().expect("a lease");
    let found = import(&other, &lease, &out, None).expect("imported");
    let names: Vec<String> = found.iter().map(|(name, _)| name.familiar()).collect();
    assert_eq!(names, ["app:1", "r.example/wasm:1"]);
    assert_eq!(found[0].1.digest, images[0].1.digest);
    // A directory with the same layout.
    let unpacked = folder.path().join("layout");
    let mut out = ::tar::Archive::new(std::fs::File::open(&out).expect("opened"));
    out.unpack(&unpacked).expect("unpacked");
    let (_third_folder, third) = testing::store();
    let lease = third.lease().expect("a lease");
    assert_eq!(
        import(&third, &lease, &unpacked, None).expect("imported"),
        found
    );
}

#[test]
fn what_was_changed_on_the_disk_is_not_exported() {
    let (folder, store) = testing::store();
    let lease = store.lease().expect("a lease");
    let target = testing::image(&store, &lease, b"right");
    let image = of_target(&store, target).expect("here");
    let layer = store.blob_path(&image.manifest.layers[0].digest);
    std::fs::write(layer, b"wrong").expect("written");
    let out = std::fs::File::create(folder.path().join("out.tar")).expect("made");
    let error = export(&store, &[(reference("a:1"), image)], out).expect_err("refused");
    assert!(error.to_string().contains("image pull"), "{error}");
}

#[test]
fn an_archive_of_more_images_than_any_is_refused() {
    let image = json!({"Config": "c.json", "Layers": [], "RepoTags": null});
    let named = json!({"Config": "c.json", "RepoTags": vec!["a:1"; limits::ARCHIVE_IMAGES + 1]});
    for images in [
        json!(vec![image; limits::ARCHIVE_IMAGES + 1]),
        json!([named]),
    ] {
        let archive = tar(&[
            Entry::File("c.json", b"{}"),
            Entry::File("manifest.json", images.to_string().as_bytes()),
        ]);
        let error = imported(&archive, None).expect_err("refused");
        assert!(error.contains("more than 1024 images"), "{error}");
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let (config, _) = scratch();
    let list = |layers: &[&str]| saved("c.json", &json!(null), layers);
    let wrong = tar(&[Entry::File("other", b"x")]);
    let cases = [
        (tar(&[Entry::File("a.txt", b"x")]), "no archive of images"),
        (
            tar(&[Entry::File("manifest.json", &list(&["l.tar"]))]),
            "\"c.json\"",
        ),
        (
            tar(&[
                Entry::File("c.json", &config),
                Entry::File("manifest.json", &list(&["l.tar"])),
            ]),
            "\"l.tar\"",
        ),
        (
            tar(&[
                Entry::File("c.json", &config),
                Entry::File("l.tar", &wrong),
                Entry::File("manifest.json", &list(&["l.tar"])),
            ]),
            "says another",
        ),
        (
            tar(&[Entry::File(
                &format!("blobs/sha256/{}", "0".repeat(64)),
                b"x",
            )]),
            "has the digest",
        ),
        (
            tar(&[Entry::File("index.json", b"{}")]),
            "neither config nor manifests",
        ),
        (
            tar(&[Entry::File("manifest.json", b"[{}]")]),
            "manifest.json",
        ),
        (
            tar(&[Entry::File("manifest.json", b"[null]")]),
            "expected an object",
        ),
        (b"no tar at all\n".repeat(100), "neither a tar"),
    ];
    for (archive, wanted) in cases {
        let error = imported(&archive, None).expect_err(wanted);
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

/// Images of an archive, by their configurations, with their names; the name that is given; with
/// what the names begin that they have then.
type Names<'a> = (
    &'a [(&'a str, &'a [&'a str])],
    Option<&'a str>,
    Result<&'a [&'a str], &'a str>,
);

const BOTH: &[&str] = &["app:1", "app:2"];
const GIVEN: Option<&str> = Some("given:1");
const BY_DIGEST: &str = "localhost/imported@sha256:";

const NAMES: [Names<'_>; 9] = [
    (&[("c.json", &[])], GIVEN, Ok(&["given:1"])),
    (&[("c.json", BOTH)], GIVEN, Ok(&["given:1"])),
    // The same image twice.
    (
        &[("c.json", BOTH), ("c.json", &[])],
        GIVEN,
        Ok(&["given:1"]),
    ),
    (
        &[("c.json", BOTH), ("d.json", &[])],
        GIVEN,
        Ok(&["app:1", "app:2", "given:1"]),
    ),
    (
        &[("c.json", BOTH), ("d.json", &["other:1"])],
        GIVEN,
        Err("it holds 2 images"),
    ),
    (
        &[("c.json", &[]), ("d.json", &[])],
        GIVEN,
        Err("it holds 2 images"),
    ),
    (
        &[("c.json", &[]), ("d.json", &[])],
        None,
        Ok(&[BY_DIGEST, BY_DIGEST]),
    ),
    (
        &[("c.json", &[]), ("d.json", &["other:1"]), ("c.json", &[])],
        None,
        Ok(&[BY_DIGEST, "other:1"]),
    ),
    (
        &[("c.json", &[]), ("c.json", &["app:1"])],
        None,
        Ok(&["app:1"]),
    ),
];

#[test]
fn images_have_the_names_that_are_given_or_their_digests() {
    let (config, layer) = scratch();
    let other = config.strip_suffix(b"}").expect("an object");
    let other = [other, b",\"author\":\"me\"}"].concat();
    for (images, name, wanted) in NAMES {
        let images = images
            .iter()
            .map(|(config, tags)| json!({"Config": config, "RepoTags": tags, "Layers": ["l.tar"]}));
        let list = Value::from_iter(images).to_string();
        let archive = tar(&[
            Entry::File("c.json", &config),
            Entry::File("d.json", &other),
            Entry::File("l.tar", &layer),
            Entry::File("manifest.json", list.as_bytes()),
        ]);
        let found = imported(&archive, name);
        match (&found, &wanted) {
            (Ok(found), Ok(wanted)) => {
                assert_eq!(found.len(), wanted.len(), "{list}: {found:?}");
                let mut pairs = found.iter().zip(*wanted);
                let are_they = pairs.all(|(it, start)| it.starts_with(start));
                assert!(are_they, "{list}: {found:?}");
            }
            (Err(found), Err(wanted)) => assert!(found.contains(wanted), "{found}"),
            _ => panic!("{list}: {found:?}"),
        }
    }
}

#[test]
fn what_was_changed_on_the_disk_is_imported_again() {
    let (config, layer) = scratch();
    let list = saved("c.json", &json!(["app:1"]), &["l.tar"]);
    let archive = tar(&[
        Entry::File("c.json", &config),
        Entry::File("l.tar", &layer),
        Entry::File("manifest.json", &list),
    ]);
    let (folder, store) = testing::store();
    let path = folder.path().join("archive.tar");
    std::fs::write(&path, archive).expect("written");
    let lease = store.lease().expect("a lease");
    for _ in 0..2 {
        let found = import(&store, &lease, &path, None).expect("imported");
        for content in [&config, &layer] {
            let digest = Digest::of(content);
            let bytes = store.read(&digest, content.len() as u64);
            assert_eq!(&bytes.expect("whole"), content);
        }
        let manifest = &found[0].1.digest;
        assert!(!store.is_changed(manifest).expect("readable"));
        for digest in [&Digest::of(&config), &Digest::of(&layer), manifest] {
            let path = store.blob_path(digest);
            let size = store.size(digest).expect("here");
            let wrong = vec![b'x'; usize::try_from(size).expect("small")];
            std::fs::write(path, wrong).expect("written");
        }
    }
}

#[test]
fn an_archive_that_fails_leaves_nothing_half_done() {
    let (config, layer) = scratch();
    let named = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
    let (own, other) = (named(&layer), named(b"another"));
    let whole = tar(&[Entry::File("l.tar", &layer)]);
    let cases = [
        ("cut", tar(&[Entry::File(&own, &layer)])[..700].to_vec()),
        ("cut, of the old form", whole[..700].to_vec()),
        ("of another digest", tar(&[Entry::File(&other, &layer)])),
        ("of no image", tar(&[Entry::File(&own, &layer)])),
        ("without its layer", {
            let list = saved("c.json", &json!(["app:1"]), &["none.tar"]);
            tar(&[
                Entry::File("c.json", &config),
                Entry::File("l.tar", &layer),
                Entry::File("manifest.json", &list),
            ])
        }),
    ];
    for (what, archive) in cases {
        let (folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let path = folder.path().join("archive.tar");
        std::fs::write(&path, archive).expect("written");
        // Of a pull that was broken off: it is taken up again.
        let puller = store.lease().expect("a lease");
        let half = store.put(&puller, media::OCI_TAR, b"half").expect("put");
        drop(puller);
        import(&store, &lease, &path, None).expect_err(what);
        let left = std::fs::read_dir(store.room("ingest")).expect("a room");
        assert_eq!(left.count(), 0, "{what}");
        let left = std::fs::read_dir(store.room("blobs").join("sha256"));
        assert_eq!(left.expect("a room").count(), 1, "{what}");
        assert!(store.size(&half.digest).is_some(), "{what}");
    }
}

#[test]
fn what_others_hold_of_an_archive_that_fails_stays() {
    let (config, layer) = scratch();
    let archive = tar(&[
        Entry::File("c.json", &config),
        Entry::File("l.tar", &layer),
        Entry::File(
            "manifest.json",
            &saved("c.json", &json!(["sha256:latest"]), &["l.tar"]),
        ),
    ]);
    let (folder, store) = testing::store();
    let path = folder.path().join("archive.tar");
    std::fs::write(&path, archive).expect("written");
    let lease = store.lease().expect("a lease");
    let failing = || {
        let error = import(&store, &lease, &path, None).expect_err("refused");
        assert!(error.to_string().contains("reads like a digest"), "{error}");
    };
    let (here, brought) = (Digest::of(&layer), Digest::of(&config));
    failing();
    assert!(store.size(&here).is_none() && store.size(&brought).is_none());
    // It was here before, and nobody holds it.
    let puller = store.lease().expect("a lease");
    store.put(&puller, media::OCI_TAR, &layer).expect("put");
    drop(puller);
    failing();
    assert!(store.size(&here).is_some() && store.size(&brought).is_none());
    let other = store.lease().expect("a lease");
    other.hold(&brought).expect("held");
    failing();
    assert!(store.size(&brought).is_some(), "another holds it");
}

/// An OCI layout with two images: `app:1`, and `other` whose layer is there or not.
fn two(other: &str, is_whole: bool) -> Vec<u8> {
    let (config, layer) = scratch();
    let second = tar(&[Entry::File("app.wasm", b"\0asm\x0d\0\x01\0")]);
    let mut files = vec![config.clone(), layer.clone()];
    let mut entries = Vec::new();
    for (name, layer) in [("app:1", &layer), (other, &second)] {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": Descriptor::of(media::OCI_CONFIG, &config),
            "layers": [Descriptor::of(media::OCI_TAR, layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = json!(Descriptor::of(media::OCI_MANIFEST, &manifest));
        entry["annotations"] = json!({ media::CONTAINERD_NAME: name });
        entries.push(entry);
        files.push(manifest);
    }
    if is_whole {
        files.push(second);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries,
    });
    let names: Vec<String> = files
        .iter()
        .map(|it| format!("blobs/sha256/{}", Digest::of(it).hex()))
        .collect();
    let index = index.to_string();
    let mut members = vec![Entry::File("index.json", index.as_bytes())];
    let blobs = names.iter().zip(&files);
    members.extend(blobs.map(|(name, content)| Entry::File(name, content)));
    tar(&members)
}

#[test]
fn nothing_gets_a_name_unless_all_of_it_is_right() {
    let pinned = format!("app@{}", Digest::of(b"something else"));
    let cases = [
        ("other:1", true, None),
        ("other:1", false, Some("is not here")),
        ("sha256:latest", true, Some("reads like a digest")),
        (pinned.as_str(), true, Some("says by its digest")),
    ];
    for (other, is_whole, wanted) in cases {
        let (folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let before = testing::image(&store, &lease, b"before");
        let app = reference("app:1");
        store.name(&app, &before).expect("named");
        let path = folder.path().join("archive.tar");
        std::fs::write(&path, two(other, is_whole)).expect("written");
        let error = import(&store, &lease, &path, None).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.is_empty(), wanted.is_none(), "{other}: {error}");
        assert!(error.contains(wanted.unwrap_or_default()), "{error}");
        let target = store.find(&app).expect("it has its name").target;
        assert_eq!(target == before, wanted.is_some(), "{other}");
        let names = store.records().expect("listed").len();
        assert_eq!(names, if wanted.is_some() { 1 } else { 2 }, "{other}");
    }
}

#[test]
fn an_image_without_a_name_stays_until_it_is_forgotten() {
    let (config, layer) = scratch();
    let (folder, store) = testing::store();
    let path = folder.path().join("archive.tar");
    let archive = tar(&[
        Entry::File("c.json", &config),
        Entry::File("l.tar", &layer),
        Entry::File("manifest.json", &saved("c.json", &json!([]), &["l.tar"])),
    ]);
    std::fs::write(&path, archive).expect("written");
    let lease = store.lease().expect("a lease");
    let found = import(&store, &lease, &path, None).expect("imported");
    drop(lease);
    store.collect().expect("collected");
    let (name, target) = &found[0];
    assert!(of_target(&store, target.clone()).is_ok(), "collected");
    // By its digest it is found as any other.
    let handle: crate::handle::Handle = target.digest.hex().parse().expect("a handle");
    let records = handle.find(&store).expect("found");
    assert_eq!(records[0].reference, name.to_string());
    store.forget(name).expect("forgotten");
    store.collect().expect("collected");
    assert!(of_target(&store, target.clone()).is_err(), "kept");
}
