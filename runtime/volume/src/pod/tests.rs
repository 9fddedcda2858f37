//! A pod's volumes from nothing to nothing.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use model::runtime::VolumeSource;

use crate::fixture::{
    CREATE, DIRECTORY, Pod, empty, file_spec, files, get, mount, names, put, root, spec,
};
use crate::{FsError, MountTable, PodVolumes, VolumeError};

fn hosts() -> model::runtime::VolumeSpec {
    spec(VolumeSource::File(file_spec(
        "hosts",
        "127.0.0.1 localhost\n",
    )))
}

#[test]
fn nothing_is_made_for_a_look() {
    let pod = Pod::new([
        ("data", empty()),
        ("config", files(&[("key", "value")])),
        ("hosts", hosts()),
    ]);
    let table = pod.table(&[
        ("data", "/data"),
        ("config", "/config"),
        ("hosts", "/etc/hosts"),
    ]);
    let top = table.root();
    pod.volumes.check().unwrap();
    assert!(!pod.path("pod").exists());
    assert_eq!(
        top.stat_at("data", true).unwrap().kind,
        crate::FileKind::Directory
    );
    assert_eq!(top.stat_at("tmp", true).err(), Some(FsError::NoEntry));
    assert_eq!(
        top.open_at("data/file", true, &crate::fixture::READ).err(),
        Some(FsError::NoEntry)
    );
    assert_eq!(
        names(&top.open_at("data", true, &DIRECTORY).unwrap()),
        Vec::<String>::new()
    );
    assert_eq!(top.unlink_file_at("data/x"), Err(FsError::NoEntry));
    assert_eq!((table.usage(), pod.volumes.usage("data").unwrap()), (0, 0));
    assert!(!pod.path("pod").exists());

    put(&top, "data/file", "first");
    assert!(pod.path("pod/volumes/data/file").exists());
    assert!(!pod.path("pod/containers").exists() && !pod.path("pod/volumes/config").exists());
    put(&top, "file", "in the container");
    assert!(pod.path("pod/containers/one/root/file").exists());
    assert_eq!(get(&top, "config/key"), Ok("value".to_owned()));
    assert_eq!(
        std::fs::metadata(pod.path("pod"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    assert_eq!(
        std::fs::metadata(pod.path("pod/volumes/data"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o777
    );
}

#[test]
fn nothing_is_held_when_nothing_is_open() {
    let pod = Pod::new([
        ("data", empty()),
        ("config", files(&[("key", "value")])),
        ("hosts", hosts()),
    ]);
    let table = pod.table(&[
        ("data", "/data"),
        ("config", "/config"),
        ("hosts", "/etc/hosts"),
    ]);
    let top = table.root();
    let data = table.directory("/data").unwrap();
    put(&data, "file", "content");
    assert_eq!(get(&top, "config/key"), Ok("value".to_owned()));
    assert_eq!(names(&top), ["config", "data", "etc"]);
    assert_eq!(pod.descriptors(), Vec::<std::path::PathBuf>::new());
    let open = data.open_at("file", true, &CREATE).unwrap();
    assert_eq!(pod.descriptors(), [pod.path("pod/volumes/data/file")]);
    drop(open);
    assert_eq!(pod.descriptors(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn memory_lies_in_shared_memory() {
    let pod = Pod::new([("fast", spec(VolumeSource::Empty { memory: true }))]);
    let top = pod.table(&[("fast", "/fast")]).root();
    put(&top, "fast/file", "content");
    let path = pod.volumes.node_path("fast").unwrap();
    if path.starts_with("/dev/shm") {
        let parent = path.parent().unwrap();
        assert_eq!(
            std::fs::metadata(parent).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
    assert_eq!(
        std::fs::read_to_string(path.join("file")).unwrap(),
        "content"
    );
    // Elsewhere, if the process may not write there.
    std::fs::create_dir(pod.path("shm")).unwrap();
    let specs = [(
        "fast".to_owned(),
        spec(VolumeSource::Empty { memory: true }),
    )]
    .into();
    let elsewhere = PodVolumes::new(pod.path("pod"), specs).with_memory_dir(pod.path("shm"));
    assert!(
        elsewhere
            .node_path("fast")
            .unwrap()
            .starts_with(pod.path("shm"))
    );
    elsewhere.remove().unwrap();
    assert_eq!(std::fs::read_dir(pod.path("shm")).unwrap().count(), 0);
    // A later process removes what this one has made.
    let specs = [(
        "fast".to_owned(),
        spec(VolumeSource::Empty { memory: true }),
    )]
    .into();
    PodVolumes::new(pod.path("pod"), specs).remove().unwrap();
    assert!(!path.exists() && !path.parent().is_some_and(Path::exists));
}

#[test]
fn shared_memory_of_somebody_else_is_not_used() {
    let pod = Pod::new([]);
    let parent = super::Memory::new(&pod.path("pod")).directory();
    if !parent.starts_with("/dev/shm") {
        return;
    }
    for prepare in [
        (|parent: &Path| {
            std::fs::create_dir(parent).unwrap();
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o777)).unwrap();
        }) as fn(&Path),
        |parent| symlink("/tmp", parent).unwrap(),
    ] {
        prepare(&parent);
        let specs = [(
            "fast".to_owned(),
            spec(VolumeSource::Empty { memory: true }),
        )]
        .into();
        let volumes = PodVolumes::new(pod.path("pod"), specs);
        let text = volumes.node_path("fast").unwrap_err().to_string();
        assert!(text.contains("belongs to somebody else"), "{text}");
        PodVolumes::remove_directory(&parent).unwrap();
        assert!(volumes.node_path("fast").is_ok());
        PodVolumes::remove_directory(&parent).unwrap();
    }
}

#[test]
fn one_file_is_written_read_and_reset() {
    let pod = Pod::new([(
        "log",
        spec(VolumeSource::File(file_spec(
            "/dev/termination-log",
            "first",
        ))),
    )]);
    let read = |at_most| String::from_utf8(pod.volumes.read_file("log", at_most).unwrap()).unwrap();
    let top = |key| {
        let mounts = [mount("log", "/dev/termination-log")];
        MountTable::new(&pod.volumes, root(key), &mounts)
            .unwrap()
            .root()
    };
    assert_eq!((read(100).as_str(), read(2).as_str()), ("first", "st"));
    assert!(!pod.path("pod").exists());
    let log = top("one")
        .open_at("dev/termination-log", true, &crate::fixture::WRITE)
        .unwrap();
    log.append(b" and last words").unwrap();
    assert_eq!(
        (read(100).as_str(), read(5).as_str()),
        ("first and last words", "words")
    );
    assert_eq!(
        get(&top("two"), "dev/termination-log"),
        Ok("first and last words".to_owned())
    );
    pod.volumes.reset_file("log").unwrap();
    assert_eq!(
        get(&top("two"), "dev/termination-log"),
        Ok("first".to_owned())
    );
    assert_eq!(log.append(b"x"), Ok(1), "the old one is still open");
    assert_eq!(read(100), "first");
    // A guest cannot make the node read something else.
    std::fs::remove_file(pod.path("pod/volumes/log/termination-log")).unwrap();
    symlink("/etc/passwd", pod.path("pod/volumes/log/termination-log")).unwrap();
    assert!(pod.volumes.read_file("log", 100).is_err());
}

#[test]
fn removal_takes_everything_and_nothing_else() {
    let pod = Pod::new([("data", empty()), ("config", files(&[("key", "value")]))]);
    std::fs::create_dir(pod.path("outside")).unwrap();
    std::fs::write(pod.path("outside/file"), "kept").unwrap();
    let mut part = mount("config", "/part");
    part.sub_path = Some("key".to_owned());
    let mounts = [mount("data", "/data"), mount("config", "/config"), part];
    let one = MountTable::new(&pod.volumes, root("one"), &mounts).unwrap();
    let two = MountTable::new(&pod.volumes, root("two"), &mounts).unwrap();
    for table in [&one, &two] {
        put(&table.root(), "file", "own");
        assert_eq!(get(&table.root(), "part"), Ok("value".to_owned()));
        assert_eq!(get(&table.root(), "config/key"), Ok("value".to_owned()));
    }
    put(&one.root(), "data/file", "shared");
    one.root()
        .symlink_at("../../../outside", "data/link")
        .unwrap();
    let open = one.root().open_at("data/file", true, &CREATE).unwrap();

    one.remove().unwrap();
    assert!(
        !pod.path("pod/containers/one").exists()
            && pod.path("pod/containers/two/root/file").exists()
    );
    assert_eq!(
        one.root().open_at("file", true, &CREATE).err(),
        Some(FsError::NoEntry)
    );
    assert_eq!(get(&two.root(), "data/file"), Ok("shared".to_owned()));

    pod.volumes.remove().unwrap();
    assert!(!pod.path("pod").exists());
    assert_eq!(
        std::fs::read_to_string(pod.path("outside/file")).unwrap(),
        "kept"
    );
    for path in ["data/new", "data/file", "config/key"] {
        assert_eq!(
            two.root().open_at(path, true, &CREATE).err(),
            Some(FsError::NoEntry),
            "{path}"
        );
    }
    assert_eq!(open.append(b"x"), Ok(1));
    let late = pod
        .volumes
        .update_files("config", crate::fixture::file_specs(&[("key", "late")]));
    assert!(matches!(late, Err(VolumeError::Removed { .. })), "{late:?}");
    assert!(!pod.path("pod").exists());
    pod.volumes.remove().unwrap();
}

#[test]
fn a_pod_whose_memory_cannot_be_deleted_is_not_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, base) = (scratch.path().join("pod"), scratch.path().join("memory"));
    std::fs::create_dir(&directory).unwrap();
    // Nothing can be looked for below a file, not even by root.
    std::fs::write(&base, "").unwrap();
    let memory = spec(VolumeSource::Empty { memory: true });
    let volumes = PodVolumes::new(directory.clone(), [("m".to_owned(), memory)].into())
        .with_memory_dir(base.clone());
    let refused = volumes.remove();
    assert!(
        matches!(refused, Err(VolumeError::Remove { .. })),
        "{refused:?}"
    );
    assert!(directory.exists(), "whoever tries again looks for it");
    std::fs::remove_file(base).unwrap();
    volumes.remove().unwrap();
    assert!(!directory.exists());
}

#[test]
fn orders_that_do_not_fit() {
    let pod = Pod::new([("data", empty()), ("config", files(&[]))]);
    let shown = |result: Result<(), VolumeError>| result.unwrap_err().to_string();
    for (text, expected) in [
        (
            shown(pod.volumes.update_files("data", Vec::new())),
            "does not hold files from objects",
        ),
        (
            shown(pod.volumes.reset_file("config")),
            "is not a single file",
        ),
        (
            shown(pod.volumes.read_file("data", 1).map(drop)),
            "is not a single file",
        ),
        (
            shown(pod.volumes.usage("none").map(drop)),
            "declare it under spec.volumes",
        ),
        (
            shown(pod.volumes.node_path("../data").map(drop)),
            "must be a single file name",
        ),
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let odd = Pod::new([("../odd", empty())]);
    assert!(shown(odd.volumes.check()).contains("must be a single file name"));
}
