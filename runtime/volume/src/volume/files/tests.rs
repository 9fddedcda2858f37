//! Files from objects: kubelet's layout, and changes seen whole.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::{DIRECTORY, Pod, file_specs, files, get, mount, names, root};
use crate::{FileKind, FsError, MountTable, PodVolumes, VolumeError};

#[test]
fn the_layout_is_kubelets() {
    let pod = Pod::new([(
        "config",
        files(&[("a.conf", "A"), ("d/b.conf", "B"), ("d/e/c", "C")]),
    )]);
    let top = pod.table(&[("config", "/etc/config")]).root();
    for (path, content) in [
        ("a.conf", "A"),
        ("d/b.conf", "B"),
        ("d/e/c", "C"),
        ("..data/a.conf", "A"),
    ] {
        assert_eq!(
            get(&top, &format!("etc/config/{path}")),
            Ok(content.to_owned())
        );
    }
    let directory = top.open_at("etc/config", true, &DIRECTORY).unwrap();
    let found = names(&directory);
    assert_eq!(found.len(), 4);
    assert!(
        found[0].starts_with("..") && found[1..] == ["..data", "a.conf", "d"],
        "{found:?}"
    );
    assert_eq!(
        directory.readlink_at("..data").as_deref(),
        Ok(found[0].as_str())
    );
    assert_eq!(
        directory.readlink_at("a.conf").as_deref(),
        Ok("..data/a.conf")
    );
    assert_eq!(directory.readlink_at("d").as_deref(), Ok("..data/d"));
    assert_eq!(
        directory.stat_at("a.conf", true).unwrap().kind,
        FileKind::RegularFile
    );
}

#[test]
fn modes_are_exact() {
    let mut specs = file_specs(&[("secret", "x"), ("open", "y")]);
    specs[0].mode = 0o400;
    specs[1].mode = 0o666;
    let pod = Pod::new([(
        "secrets",
        crate::fixture::spec(model::runtime::VolumeSource::Files(specs)),
    )]);
    let path = pod.volumes.node_path("secrets").unwrap();
    for (name, mode) in [("secret", 0o400), ("open", 0o666), ("..data", 0o755)] {
        let found = std::fs::metadata(path.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777;
        assert_eq!(found, mode, "{name}");
    }
}

#[test]
fn updates_replace_everything_at_once() {
    let pod = Pod::new([(
        "config",
        files(&[
            ("old", "1"),
            ("same", "1"),
            ("becomes/dir", "1"),
            ("was-dir/x", "1"),
        ]),
    )]);
    // Before the first use nothing is on the disk.
    pod.volumes
        .update_files(
            "config",
            file_specs(&[("old", "2"), ("same", "1"), ("was-dir/x", "2")]),
        )
        .unwrap();
    assert!(!pod.path("pod").exists());
    let top = pod.table(&[("config", "/config")]).root();
    assert_eq!(get(&top, "config/old"), Ok("2".to_owned()));
    let before = top.readlink_at("config/..data").unwrap();

    pod.volumes
        .update_files(
            "config",
            file_specs(&[("new/x", "3"), ("same", "1"), ("was-dir", "3")]),
        )
        .unwrap();
    let after = top.readlink_at("config/..data").unwrap();
    assert_ne!(before, after);
    let directory = top.open_at("config", true, &DIRECTORY).unwrap();
    assert_eq!(
        names(&directory),
        [after.as_str(), "..data", "new", "same", "was-dir"]
    );
    assert_eq!(get(&top, "config/new/x"), Ok("3".to_owned()));
    assert_eq!(get(&top, "config/was-dir"), Ok("3".to_owned()));
    assert_eq!(get(&top, "config/old"), Err(FsError::NoEntry));

    pod.volumes
        .update_files(
            "config",
            file_specs(&[("new/x", "3"), ("same", "1"), ("was-dir", "3")]),
        )
        .unwrap();
    assert_eq!(
        top.readlink_at("config/..data").unwrap(),
        after,
        "the same files are no change"
    );
    pod.volumes.update_files("config", Vec::new()).unwrap();
    assert_eq!(names(&directory).len(), 2);
}

#[test]
fn a_reader_sees_one_generation_whole() {
    const ROUNDS: usize = 300;
    let generation = |number: usize| {
        let text = format!("{number} ").repeat(4000);
        file_specs(&[("a", &text), ("d/b", &text)])
    };
    let pod = Pod::new([(
        "config",
        crate::fixture::spec(model::runtime::VolumeSource::Files(generation(0))),
    )]);
    let top = pod.table(&[("config", "/config")]).root();
    let whole = |text: &str| {
        let number = text.split(' ').next().unwrap().to_owned();
        assert_eq!(text, format!("{number} ").repeat(4000));
        number
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=ROUNDS {
                pod.volumes
                    .update_files("config", generation(number))
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !done.load(Ordering::Acquire) {
            // By its name a file is always there, and never older than before.
            let number: usize = whole(&get(&top, "config/a").unwrap()).parse().unwrap();
            assert!(number >= last);
            last = number;
            // In an open generation both files are of it, as long as it lasts.
            let data = top.open_at("config/..data", true, &DIRECTORY).unwrap();
            if let (Ok(a), Ok(b)) = (get(&data, "a"), get(&data, "d/b")) {
                assert_eq!(whole(&a), whole(&b));
            }
        }
    });
    assert!(
        get(&top, "config/d/b")
            .unwrap()
            .starts_with(&format!("{ROUNDS} "))
    );
}

#[test]
fn a_sub_path_never_sees_an_update() {
    let pod = Pod::new([("config", files(&[("a", "1"), ("d/b", "1"), ("d/c", "1")]))]);
    let part = |path: &str, sub_path: &str| {
        let mut part = mount("config", path);
        part.sub_path = Some(sub_path.to_owned());
        part
    };
    let mounts = [
        mount("config", "/all"),
        part("/a", "a"),
        part("/d", "d"),
        part("/b", "d/b"),
        part("/none", "x/y"),
    ];
    let table = MountTable::new(&pod.volumes, root("one"), &mounts).unwrap();
    let top = table.root();
    pod.volumes
        .update_files("config", file_specs(&[("a", "2"), ("d/b", "2")]))
        .unwrap();
    for (path, expected) in [
        ("all/a", Ok("2")),
        ("all/d/b", Ok("2")),
        ("all/d/c", Err(FsError::NoEntry)),
        ("a", Ok("1")),
        ("d/b", Ok("1")),
        ("d/c", Ok("1")),
        ("b", Ok("1")),
        ("none", Err(FsError::IsDirectory)),
    ] {
        assert_eq!(get(&top, path), expected.map(str::to_owned), "{path}");
    }
    // A container that starts again sees the new files.
    let table = MountTable::new(&pod.volumes, root("two"), &mounts).unwrap();
    assert_eq!(get(&table.root(), "a"), Ok("2".to_owned()));
}

#[test]
fn paths_that_kubernetes_refuses() {
    let many = "x/".repeat(3000);
    for (paths, problem) in [
        (vec!["../a"], "must not contain '..'"),
        (vec!["a/../b"], "must not contain '..'"),
        (vec!["/a"], "must be relative"),
        (vec!["..data/x"], "must not start with '..'"),
        (vec!["..x"], "must not start with '..'"),
        (vec![""], "is empty"),
        (vec!["."], "must not start with '..'"),
        (
            vec!["a", "a/b"],
            "is a file, and another path needs it as a directory",
        ),
        (vec![many.as_str()], "is longer than Linux allows"),
    ] {
        let specs: Vec<_> = paths.iter().map(|path| (*path, "content")).collect();
        let pod = Pod::new([("config", files(&specs))]);
        let text = pod.volumes.check().unwrap_err().to_string();
        assert!(
            text.contains(problem) && text.contains("\"config\""),
            "{paths:?}: {text}"
        );
        let top = pod.table(&[("config", "/config")]).root();
        assert!(top.stat_at("config/x", true).is_err());
        assert!(
            !pod.path("x").exists()
                && !pod.path("pod/x").exists()
                && !pod.path("pod/volumes/x").exists()
        );
    }
    // Of two files with one path the later wins; `a..b` is a plain name.
    let pod = Pod::new([("config", files(&[("a", "1"), ("a..b", "x"), ("a", "2")]))]);
    let top = pod.table(&[("config", "/config")]).root();
    assert_eq!(get(&top, "config/a"), Ok("2".to_owned()));
}

#[test]
fn a_failed_update_leaves_the_old_files() {
    let pod = Pod::new([("config", files(&[("a", "1")]))]);
    let top = pod.table(&[("config", "/config")]).root();
    assert_eq!(get(&top, "config/a"), Ok("1".to_owned()));
    assert!(matches!(
        pod.volumes
            .update_files("config", file_specs(&[("../a", "2")])),
        Err(VolumeError::Path { .. })
    ));
    assert_eq!(get(&top, "config/a"), Ok("1".to_owned()));
    assert!(matches!(
        pod.volumes.update_files("none", Vec::new()),
        Err(VolumeError::Unknown { .. })
    ));
}

#[test]
fn what_an_earlier_process_left_is_replaced() {
    let pod = Pod::new([("config", files(&[("a", "1"), ("gone", "1")]))]);
    let path = pod.volumes.node_path("config").unwrap();
    std::fs::create_dir(path.join("..half-written")).unwrap();
    std::fs::write(path.join("..data_tmp"), "in the way").unwrap();
    let volumes = PodVolumes::new(
        pod.path("pod"),
        [("config".to_owned(), files(&[("a", "2")]))].into(),
    );
    let top = MountTable::new(&volumes, root("two"), &[mount("config", "/config")])
        .unwrap()
        .root();
    assert_eq!(get(&top, "config/a"), Ok("2".to_owned()));
    let found = names(&top.open_at("config", true, &DIRECTORY).unwrap());
    assert_eq!(found[1..], ["..data", "a"], "{found:?}");
}
