//! Limits: what counts, what is given back, who is told.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use model::runtime::VolumeSource;

use crate::fixture::{CREATE, NOTHING, Pod, empty, get, limited, mount, put, root, spec};
use crate::{
    FsError, LimitExceeded, LimitedPlace, LimitedResource, MountTable, Node, OpenOptions,
    OverLimit, Payer, RootSpec,
};

const LIMIT: u64 = 10_000;

/// A way of giving bytes back.
type Way<'a> = &'a dyn Fn() -> Result<(), FsError>;

/// A pod with a limited volume at /data, and what it was told.
fn limited_pod() -> (Pod, Node, Arc<Mutex<Vec<LimitExceeded>>>) {
    let mut pod = Pod::new([("data", limited(LIMIT))]);
    let told = Arc::<Mutex<Vec<LimitExceeded>>>::default();
    let teller = Arc::clone(&told);
    pod.volumes = pod
        .volumes
        .clone()
        .on_limit(move |exceeded| teller.lock().unwrap().push(exceeded));
    let top = pod.table(&[("data", "/data")]).root();
    (pod, top, told)
}

#[test]
fn growth_is_refused_and_told_once() {
    let (pod, top, told) = limited_pod();
    let file = top.open_at("data/file", false, &CREATE).unwrap();
    assert_eq!(file.write_at(&[1; 10_000], 0), Ok(10_000));
    assert_eq!(
        file.write_at(&[2; 10_000], 0),
        Ok(10_000),
        "what is there may be written over"
    );
    assert_eq!(file.write_at(&[3], 10_000), Err(FsError::InsufficientSpace));
    assert_eq!(file.append(&[3]), Err(FsError::InsufficientSpace));
    assert_eq!(file.set_size(10_001), Err(FsError::InsufficientSpace));
    assert_eq!(file.allocate(0, 10_001), Err(FsError::InsufficientSpace));
    assert_eq!(
        file.write_at(&[3], 1 << 40),
        Err(FsError::InsufficientSpace),
        "a hole counts"
    );
    assert_eq!(file.stat().unwrap().size, 10_000);
    assert_eq!(pod.volumes.usage("data").unwrap(), LIMIT);
    let exceeded = |resource, used| LimitExceeded {
        place: LimitedPlace::Volume("data".to_owned()),
        resource,
        limit: LIMIT,
        used,
    };
    let bytes = exceeded(LimitedResource::Bytes, LIMIT);
    assert_eq!(*told.lock().unwrap(), std::slice::from_ref(&bytes));
    // What there are too many of is told apart.
    for number in 0..2_000 {
        let _refused = top.open_at(&format!("data/{number}"), false, &CREATE);
    }
    let entries = exceeded(LimitedResource::Entries, LIMIT);
    assert_eq!(*told.lock().unwrap(), [bytes, entries]);
}

#[test]
fn what_goes_is_given_back() {
    let (_pod, top, _told) = limited_pod();
    let full = |path: &str| {
        top.open_at(path, false, &CREATE)
            .unwrap()
            .write_at(&[0; 10_000], 0)
    };
    let truncate = OpenOptions {
        truncate: true,
        ..NOTHING
    };
    let ways: [(&str, Way<'_>); 4] = [
        ("unlink", &|| top.unlink_file_at("data/file")),
        ("truncate", &|| {
            top.open_at("data/file", false, &truncate).map(drop)
        }),
        ("set_size", &|| {
            top.open_at("data/file", false, &CREATE)?.set_size(0)
        }),
        ("rename over", &|| {
            put(&top, "data/small", "");
            top.rename_at("data/small", &top, "data/file")
        }),
    ];
    for (way, give_back) in ways {
        assert_eq!(full("data/file"), Ok(10_000), "{way}");
        assert_eq!(full("data/other"), Err(FsError::InsufficientSpace), "{way}");
        give_back().unwrap();
        assert_eq!(full("data/other"), Ok(10_000), "{way}");
        top.unlink_file_at("data/other").unwrap();
    }
}

#[test]
fn bytes_stay_while_a_name_or_a_handle_does() {
    let (_pod, top, _told) = limited_pod();
    let file = top.open_at("data/file", false, &CREATE).unwrap();
    file.write_at(&[0; 6000], 0).unwrap();
    top.link_at("data/file", false, &top, "data/again").unwrap();
    let other = top.open_at("data/other", false, &CREATE).unwrap();
    assert_eq!(
        other.write_at(&[0; 4000], 0),
        Ok(4000),
        "two names, one object"
    );
    top.unlink_file_at("data/file").unwrap();
    assert_eq!(
        other.append(&[0]),
        Err(FsError::InsufficientSpace),
        "one name is left"
    );
    top.unlink_file_at("data/again").unwrap();
    assert_eq!(
        other.append(&[0]),
        Err(FsError::InsufficientSpace),
        "it is still open"
    );
    assert_eq!(
        file.append(&[0]),
        Err(FsError::InsufficientSpace),
        "without a name it counts too"
    );
    file.set_size(5000).unwrap();
    assert_eq!(other.append(&[0; 1000]), Ok(1000));
    drop(file);
    assert_eq!(other.append(&[0; 5000]), Ok(5000));
    // Renaming one of two names over the other leaves both, and the bytes.
    top.link_at("data/other", false, &top, "data/twin").unwrap();
    top.rename_at("data/other", &top, "data/twin").unwrap();
    assert_eq!(other.append(&[0]), Err(FsError::InsufficientSpace));
}

#[test]
fn empty_files_have_a_limit_too() {
    let (_pod, top, told) = limited_pod();
    let refused = (0..2000)
        .map(|number| {
            top.open_at(&format!("data/{number}"), false, &CREATE)
                .map(drop)
        })
        .position(|made| made == Err(FsError::InsufficientSpace));
    assert_eq!(refused, Some(1024));
    assert_eq!(
        top.create_directory_at("data/dir"),
        Err(FsError::InsufficientSpace)
    );
    assert_eq!(
        top.symlink_at("x", "data/link"),
        Err(FsError::InsufficientSpace)
    );
    assert_eq!(
        top.link_at("data/1", false, &top, "data/link"),
        Err(FsError::InsufficientSpace)
    );
    top.unlink_file_at("data/1").unwrap();
    top.create_directory_at("data/dir").unwrap();
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[test]
fn what_was_there_counts() {
    let (pod, top, _told) = limited_pod();
    put(&top, "data/file", &"x".repeat(6000));
    drop(top);
    // Another process, as after a restart of the node agent.
    let specs = [("data".to_owned(), limited(LIMIT))].into();
    let volumes = crate::PodVolumes::new(pod.path("pod"), specs);
    let table = MountTable::new(&volumes, root("two"), &[mount("data", "/data")]).unwrap();
    let other = table.root().open_at("data/other", false, &CREATE).unwrap();
    assert_eq!(
        other.write_at(&[0; 4001], 0),
        Err(FsError::InsufficientSpace)
    );
    assert_eq!(other.write_at(&[0; 4000], 0), Ok(4000));
}

#[test]
fn a_containers_own_root_is_limited_apart() {
    let (pod, _, told) = limited_pod();
    let one = RootSpec {
        size_limit: Some(100),
        ..root("limited")
    };
    let table = MountTable::new(&pod.volumes, one, &[mount("data", "/data")]).unwrap();
    let top = table.root();
    put(&top, "data/file", &"x".repeat(5000));
    put(&top, "file", &"x".repeat(100));
    assert_eq!(table.usage(), 100);
    let file = top.open_at("file", false, &CREATE).unwrap();
    assert_eq!(file.append(b"x"), Err(FsError::InsufficientSpace));
    assert_eq!(
        told.lock().unwrap()[0].place,
        LimitedPlace::Container("limited".to_owned())
    );
    assert_eq!(get(&top, "file").unwrap().len(), 100);
}

#[test]
fn racing_writers_do_not_outrun_the_figures() {
    let (pod, top, _told) = limited_pod();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let top = &top;
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let path = format!("data/{}", (number + round) % 3);
                    let Ok(file) = top.open_at(&path, false, &CREATE) else {
                        continue;
                    };
                    // Whether it fits does not matter, only that the figures stay right.
                    let _refused = file.write_at(&[0; 3000], round * 10);
                    let _refused = file.append(&[0; 100]);
                    if round % 3 == number % 3 {
                        let _gone = top.unlink_file_at(&path);
                        let _refused = file.append(&[0; 50]);
                    }
                    if round % 7 == 0 {
                        file.set_size(round).unwrap_or_default();
                    }
                }
            });
        }
    });
    let held: u64 = std::fs::read_dir(pod.path("pod/volumes/data"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(held <= LIMIT, "{held}");
    let counted = pod
        .volumes
        .volume("data")
        .unwrap()
        .ledger()
        .unwrap()
        .shared()
        .bytes();
    assert_eq!(counted, held, "the figures, without counting anew");
}

/// A container that may use so many bytes.
struct Purse {
    limit: u64,
    used: AtomicU64,
}

impl Payer for Purse {
    fn take(&self, bytes: u64) -> Result<(), OverLimit> {
        if self.used.load(Relaxed) + bytes > self.limit {
            return Err(OverLimit);
        }
        self.used.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// Two containers with a volume in memory and one on disk.
fn payers() -> (Pod, [(Node, Arc<Purse>); 2]) {
    let memory = spec(VolumeSource::Empty { memory: true });
    let mut pod = Pod::new([("shm", memory), ("disk", empty())]);
    let base = pod.path("shm");
    std::fs::create_dir(&base).unwrap();
    pod.volumes = pod.volumes.clone().with_memory_dir(base);
    let containers = ["one", "two"].map(|name| {
        let purse = Arc::new(Purse {
            limit: LIMIT,
            used: AtomicU64::new(0),
        });
        let mounts = [mount("shm", "/shm"), mount("disk", "/disk")];
        let table = MountTable::new(&pod.volumes, root(name), &mounts).unwrap();
        let payer: Arc<dyn Payer> = purse.clone();
        (table.paid_by(payer).root(), purse)
    });
    (pod, containers)
}

#[test]
fn what_is_written_to_memory_is_paid_by_its_writer() {
    let (_pod, [(one, ones), (two, twos)]) = payers();
    let used = || (ones.used.load(Relaxed), twos.used.load(Relaxed));
    let open = |top: &Node, path| top.open_at(path, true, &CREATE).unwrap();

    put(&one, "disk/file", &"x".repeat(20_000));
    assert_eq!(used(), (0, 0), "the disk costs no memory");

    let file = open(&one, "shm/file");
    assert_eq!(file.write_at(&[1; 6_000], 0), Ok(6_000));
    assert_eq!(file.write_at(&[2; 6_000], 0), Ok(6_000));
    assert_eq!(used(), (6_000, 0), "written over is paid once");
    assert_eq!(open(&two, "shm/file").append(&[3; 3_000]), Ok(3_000));
    assert_eq!(used(), (6_000, 3_000), "who makes it longer pays");
    assert_eq!(file.append(&[1; 4_001]), Err(FsError::InsufficientMemory));
    assert_eq!(file.set_size(13_001), Err(FsError::InsufficientMemory));
    assert_eq!(
        file.allocate(0, 13_001),
        Err(FsError::InsufficientMemory),
        "what is promised counts"
    );
    assert_eq!(used(), (6_000, 3_000), "what was refused costs nothing");
    assert_eq!(file.append(&[1; 4_000]), Ok(4_000));

    // Whoever takes it away, it is given back to whom it cost: first to who made it longer last.
    assert_eq!(open(&two, "shm/file").set_size(8_000), Ok(()));
    assert_eq!(used(), (5_000, 3_000));
    assert_eq!(open(&two, "shm/file").set_size(2_000), Ok(()));
    assert_eq!(used(), (0, 2_000));
    two.unlink_file_at("shm/file").unwrap();
    assert_eq!(used(), (0, 2_000), "open still");
    drop(file);
    assert_eq!(used(), (0, 0));
}

#[test]
fn what_a_container_has_left_behind_costs_no_other() {
    let (_pod, [(one, ones), (two, twos)]) = payers();
    put(&one, "shm/file", "left behind");
    drop((one, ones));
    assert_eq!(get(&two, "shm/file"), Ok("left behind".to_owned()));
    let file = two.open_at("shm/file", true, &CREATE).unwrap();
    assert_eq!(file.append(b" and on"), Ok(7));
    assert_eq!(twos.used.load(Relaxed), 7);
    drop(file);
    two.unlink_file_at("shm/file").unwrap();
    assert_eq!(twos.used.load(Relaxed), 0);
}
