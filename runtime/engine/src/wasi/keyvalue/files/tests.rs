//! Buckets on volumes: what they keep, what they refuse, and two writers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use model::runtime::{Limits, MountSpec, VolumeSource, VolumeSpec};
use model::volume::HostPathType;
use tempfile::TempDir;
use volume::{PodVolumes, RootSpec};

use super::*;
use crate::account::Account;
use crate::files::{FileCalls, Files};
use crate::wasi::keyvalue::bucket::Bucket;
use crate::wasi::keyvalue::limits;

/// The table of a container that has this directory at /data, in a pod of its own.
fn table(directory: &Path, size_limit: Option<u64>, read_only: bool) -> MountTable {
    let source = match size_limit {
        Some(_) => VolumeSource::Empty { memory: false },
        None => VolumeSource::Host {
            path: directory.to_owned(),
            kind: HostPathType::Directory,
        },
    };
    let spec = VolumeSpec { source, size_limit };
    let specs = BTreeMap::from([("data".to_owned(), spec)]);
    let volumes = PodVolumes::new(directory.join("pod"), specs);
    let root = RootSpec {
        container: "guest".to_owned(),
        ..RootSpec::default()
    };
    let mount = MountSpec {
        volume: "data".to_owned(),
        path: "/data".to_owned(),
        read_only,
        ..MountSpec::default()
    };
    MountTable::new(&volumes, root, &[mount]).expect("a table")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The bucket at /data/kv of a container.
fn bucket(folder: &TempDir) -> Place {
    Place::new(&table(folder.path(), None, false), "/data/kv").expect("it is mounted")
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned()).expect("a key")
}

fn value(place: &Place, text: &str) -> Option<Vec<u8>> {
    place
        .get(&key(text))
        .expect("read")
        .map(|found| found.value)
}

/// Every file below, by its path, without those of the pod itself.
fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let path = path.strip_prefix(directory).expect("below");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn any_key_is_kept_and_none_leads_out() {
    let folder = folder();
    let place = bucket(&folder);
    let long = "k".repeat(limits::KEY);
    let keys = [
        "",
        "a",
        "../../x",
        "/etc/passwd",
        "a\0b",
        "lock",
        "new",
        "é/..",
        &long,
    ];
    for (number, text) in keys.iter().enumerate() {
        assert_eq!(value(&place, text), None, "{text:?}");
        place.set(&key(text), &[0]).expect("written");
        place
            .set(&key(text), number.to_string().as_bytes())
            .expect("written");
        assert!(place.exists(&key(text)).expect("looked"));
    }
    // Another container of another pod, later.
    let later = bucket(&folder);
    for (number, text) in keys.iter().enumerate() {
        let kept = value(&later, text).expect("kept");
        assert_eq!(kept, number.to_string().as_bytes(), "{text:?}");
    }
    let (listed, cursor) = later.list(None).expect("listed");
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!((listed, cursor), (keys.into(), None));
    let files = files_below(folder.path());
    assert!(
        files.iter().all(|file| file.starts_with("kv/")),
        "{files:?}"
    );
    assert_eq!(
        files.len(),
        keys.len() + 1,
        "the entries and the lock: {files:?}"
    );
    for text in keys {
        later.delete(&key(text)).expect("deleted");
        later.delete(&key(text)).expect("nothing to delete");
        assert_eq!(value(&place, text), None);
    }
    assert_eq!(files_below(folder.path()), ["kv/lock"]);
}

#[test]
fn what_is_only_looked_at_makes_nothing() {
    let folder = folder();
    let place = bucket(&folder);
    assert_eq!(value(&place, "k"), None);
    place.delete(&key("k")).expect("nothing to delete");
    assert_eq!(place.list(None).expect("listed"), (Vec::new(), None));
    assert!(!folder.path().join("kv").exists());
    for (path, is_place) in [
        ("/data", true),
        ("/data/a/b", true),
        ("/", false),
        ("/dat", false),
    ] {
        let table = table(folder.path(), None, false);
        assert_eq!(Place::new(&table, path).is_some(), is_place, "{path}");
    }
}

#[test]
fn a_read_only_mount_can_be_read() {
    let folder = folder();
    bucket(&folder).set(&key("k"), b"kept").expect("written");
    let table = table(folder.path(), None, true);
    let place = Place::new(&table, "/data/kv").expect("it is mounted");
    assert_eq!(value(&place, "k"), Some(b"kept".to_vec()));
    let counted = place.increment(&key("n"), 1, &(0..=9)).map(drop);
    for refused in [place.set(&key("k"), b"x"), place.delete(&key("k")), counted] {
        let Err(FileFailure::Files(error)) = refused else {
            panic!("written: {refused:?}");
        };
        let told = Failure::of_files(&place.path, error);
        assert!(matches!(told, Failure::AccessDenied), "{told:?}");
    }
}

#[test]
fn a_full_volume_keeps_the_old_value_and_gives_back_the_rest() {
    let folder = folder();
    let table = table(folder.path(), Some(256 << 10), false);
    let place = Place::new(&table, "/data").expect("it is mounted");
    place.set(&key("k"), b"old").expect("written");
    let big = vec![1; 300 << 10];
    let refused = place.set(&key("k"), &big);
    assert!(
        matches!(refused, Err(FileFailure::Files(FsError::InsufficientSpace))),
        "{refused:?}"
    );
    assert_eq!(value(&place, "k"), Some(b"old".to_vec()));
    // What was begun is gone: most of the volume is free.
    place
        .set(&key("k"), &big[..200 << 10])
        .expect("there is room");
    let refused = (0..)
        .map(|n| place.set(&key(&n.to_string()), b""))
        .find_map(Result::err);
    assert!(
        matches!(
            refused,
            Some(FileFailure::Files(FsError::InsufficientSpace))
        ),
        "as many files as the limit allows: {refused:?}"
    );
    place.delete(&key("3")).expect("one less");
    place
        .set(&key("again"), b"")
        .expect("there is room for one");
}

#[test]
fn what_a_crash_left_half_written_is_not_seen_and_goes() {
    let folder = folder();
    let place = bucket(&folder);
    place.set(&key("k"), b"whole").expect("written");
    let left = folder.path().join("kv/new/00112233445566ff");
    std::fs::write(&left, b"wasmpod1 half").expect("left behind");
    let foreign = folder.path().join("kv/new/folder");
    std::fs::create_dir(&foreign).expect("made");
    assert_eq!(value(&place, "k"), Some(b"whole".to_vec()));
    assert_eq!(place.list(None).expect("listed").0, ["k"]);
    place.set(&key("k"), b"next").expect("written");
    assert!(!left.exists());
    assert!(foreign.exists());
    assert_eq!(
        files_below(folder.path()).len(),
        2,
        "the entry and the lock"
    );
}

#[test]
fn writers_without_the_lock_tear_no_value() {
    let folder = folder();
    bucket(&folder).set(&key("k"), b"").expect("written");
    let values = [vec![1; 64 << 10], vec![2; 32 << 10]];
    let (folder, values) = (&folder, &values);
    std::thread::scope(|scope| {
        for value in values {
            scope.spawn(move || {
                let place = bucket(folder);
                // As if each had lost it: nobody waits.
                let directory = place.directory().expect("opened").expect("made");
                let shard = made(&directory, shard_name(&key("k"))).expect("a shard");
                let unnamed = made(&directory, NEW).expect("a folder");
                for _ in 0..50 {
                    let bytes = format::encode(&key("k"), 1, value);
                    let name = format!("{:016x}", chance().expect("chance"));
                    put(&unnamed, &name, &bytes).expect("written");
                    let named = unnamed.rename_at(&name, &shard, &key("k").digest.name());
                    named.expect("named");
                    let found = super::entry(&directory, &key("k")).expect("whole");
                    assert!(values.contains(&found.expect("there").value));
                }
            });
        }
    });
}

#[test]
fn foreign_files_and_links_are_told_and_not_followed() {
    let folder = folder();
    let place = bucket(&folder);
    place.set(&key("k"), b"v").expect("written");
    let name = key("k").digest.name();
    let file = folder
        .path()
        .join("kv")
        .join(shard_name(&key("k")))
        .join(&name);
    std::fs::write(file.with_file_name("notes.txt"), "mine").expect("written");
    assert_eq!(place.list(None).expect("listed").0, ["k"]);
    std::fs::write(&file, "damaged").expect("written");
    let Err(FileFailure::Guest(Failure::Other(why))) = place.get(&key("k")) else {
        panic!("read");
    };
    assert!(
        why.contains(&name) && why.contains("delete the key"),
        "{why}"
    );
    place.set(&key("k"), b"mended").expect("written");
    assert_eq!(value(&place, "k"), Some(b"mended".to_vec()));

    std::fs::write(folder.path().join("secret"), "x").expect("written");
    std::fs::remove_file(&file).expect("removed");
    std::os::unix::fs::symlink(folder.path().join("secret"), &file).expect("a link");
    let read = place.get(&key("k"));
    assert!(
        matches!(read, Err(FileFailure::Files(FsError::Loop))),
        "{read:?}"
    );
    place
        .set(&key("k"), b"instead of the link")
        .expect("written");
    let secret = std::fs::read_to_string(folder.path().join("secret"));
    assert_eq!(secret.expect("there"), "x");
}

#[test]
fn who_is_held_up_is_told_by_whom_and_has_written_nothing() {
    let folder = folder();
    let mut place = bucket(&folder);
    place.set(&key("k"), b"old").expect("written");
    place.patience = Duration::ZERO;
    let directory = place.directory().expect("opened").expect("made");
    let alone = directory.exclusive(LOCK, limits::PATIENCE);
    let alone = alone.expect("nobody else writes");
    let counted = place.increment(&key("n"), 1, &(0..=9)).map(drop);
    let swapped = place.swap(&key("k"), None, b"new").map(drop);
    let writes = [
        place.set(&key("k"), b"new"),
        place.delete(&key("k")),
        counted,
        swapped,
    ];
    for refused in writes {
        let Err(FileFailure::Guest(Failure::Other(why))) = refused else {
            panic!("written: {refused:?}");
        };
        for part in [
            "/data/kv/lock is locked by other writers of this host, and a write waits 0 s",
            "try again later, or write less often to this bucket",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
    }
    // Who only reads waits for nobody.
    assert_eq!(value(&place, "k"), Some(b"old".to_vec()));
    drop(alone);
    place.set(&key("k"), b"new").expect("written");
}

#[test]
fn who_cannot_wait_is_told_why() {
    let folder = folder();
    let Failure::Other(why) = bucket(&folder).no_thread(Holder::Process(7)) else {
        panic!("another failure");
    };
    for part in ["/data/kv/lock is locked by the process 7, and", "pids.max"] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn two_writers_lose_no_step() {
    let folder = folder();
    let steps = 100;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Each in a pod of its own that mounts the same directory.
            scope.spawn(|| {
                let place = bucket(&folder);
                for _ in 0..steps {
                    place
                        .increment(&key("n"), 1, &(0..=i128::MAX))
                        .expect("counted");
                    swap_until_done(&place);
                }
            });
        }
    });
    let place = bucket(&folder);
    for name in ["n", "cas"] {
        let counted = value(&place, name).expect("a number");
        assert_eq!(counted, (2 * steps).to_string().into_bytes(), "{name}");
    }
}

fn swap_until_done(place: &Place) {
    loop {
        let now = place.get(&key("cas")).expect("read");
        let text = now.as_ref().map(|now| &*now.value);
        let next = counter::next(text, 1, &(0..=i128::MAX)).expect("a number");
        let version = now.as_ref().map(|now| now.version);
        let next = next.to_string();
        if place
            .swap(&key("cas"), version, next.as_bytes())
            .expect("written")
        {
            return;
        }
    }
}

#[test]
fn pages_show_every_key_once() {
    let folder = folder();
    let table = table(folder.path(), Some(64 << 20), false);
    let place = Place::new(&table, "/data").expect("it is mounted");
    let wanted = limits::PAGE * 2 + 10;
    for n in 0..wanted {
        place.set(&key(&n.to_string()), b"").expect("written");
    }
    let (mut all, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let (keys, next) = place.list(cursor).expect("listed");
        assert!(keys.len() <= limits::PAGE);
        pages += 1;
        for key in keys {
            assert!(all.insert(key), "told twice");
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((all.len(), pages), (wanted, 3));
}

#[tokio::test]
async fn what_a_call_and_a_handle_hold_counts_until_they_go() {
    let folder = folder();
    let account = Arc::new(Account::new(Limits {
        cpu_weight: 100,
        cpu_limit: None,
        memory: Some(1 << 20),
        storage: None,
    }));
    let used = || account.stats().memory;
    let table = table(folder.path(), None, false);
    let place = Place::new(&table, "/data/kv").expect("it is mounted");
    let files = Files::new(table, FileCalls::new(), Arc::clone(&account));
    let held = files.held(8).await;
    let bucket = Bucket::on_volume(place, files, held);
    assert_eq!(used(), 8);
    let value = vec![1; 400 << 10];
    let set = bucket.set("k".to_owned(), value.clone());
    set.await.expect("written");
    let found = bucket.get("k".to_owned()).await.expect("read");
    assert_eq!(found, Some(value));
    assert_eq!(used(), 8, "all was given back");
    assert!(account.stats().memory_peak > 800 << 10);
    {
        // The value and its file are more than there is: the guest was ended, and hears nothing.
        let mut set = pin!(bucket.set("k".to_owned(), vec![2; 600 << 10]));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(set.as_mut().poll(&mut cx).is_pending());
        assert!(account.is_over());
    }
    drop(bucket);
    assert_eq!(used(), 0);
}
