//! Mount tables: what is refused, roots, parts of volumes.

use std::os::unix::fs::symlink;

use model::runtime::MountSpec;

use crate::fixture::{
    CREATE, DIRECTORY, Pod, READ, empty, file_spec, files, get, mount, names, put, root, spec,
    while_swapping,
};
use crate::{FsError, MountTable, RootSpec};

fn part(volume: &str, path: &str, sub_path: &str) -> MountSpec {
    MountSpec {
        sub_path: Some(sub_path.to_owned()),
        ..mount(volume, path)
    }
}

#[test]
fn mounts_that_kubernetes_would_refuse() {
    let pod = Pod::new([("data", empty())]);
    for (mounts, problem) in [
        (
            vec![mount("none", "/data")],
            "declare it under spec.volumes",
        ),
        (vec![mount("data", "data")], "must be absolute"),
        (vec![mount("data", "")], "must be absolute"),
        (vec![mount("data", "/a/../b")], "must not contain '..'"),
        (
            vec![mount("data", "/a"), mount("data", "/a/")],
            "must be unique",
        ),
        (
            vec![mount("data", "/"), mount("data", "//")],
            "must be unique",
        ),
        (vec![part("data", "/a", "/x")], "must be relative"),
        (
            vec![part("data", "/a", "x/../../y")],
            "must not contain '..'",
        ),
    ] {
        let made = MountTable::new(&pod.volumes, root("one"), &mounts);
        let text = made.err().unwrap().to_string();
        assert!(text.contains(problem), "{mounts:?}: {text}");
    }
    assert!(MountTable::new(&pod.volumes, root("../one"), &[]).is_err());
}

#[test]
fn roots() {
    let pod = Pod::new([("data", empty())]);
    std::fs::create_dir_all(pod.path("image/etc")).unwrap();
    std::fs::write(pod.path("image/etc/os-release"), "image").unwrap();
    let image = RootSpec {
        image: Some(pod.path("image")),
        ..root("image")
    };
    let bare = RootSpec {
        read_only: true,
        ..root("bare")
    };
    for (spec, seen, written) in [
        (image, vec!["data", "etc"], Err(FsError::ReadOnly)),
        (bare, vec!["data"], Err(FsError::ReadOnly)),
        (root("own"), vec!["data"], Ok(())),
    ] {
        let key = spec.container.clone();
        let table = MountTable::new(&pod.volumes, spec, &[mount("data", "/data")]).unwrap();
        let top = table.root();
        assert_eq!(names(&top), seen, "{key}");
        assert_eq!(
            top.open_at("file", true, &CREATE).map(drop),
            written,
            "{key}"
        );
        assert_eq!(top.create_directory_at("dir"), written, "{key}");
        put(&top, "data/file", &key);
        assert_eq!(
            get(&top, "data/file").unwrap().get(..key.len()),
            Some(key.as_str())
        );
        table.remove().unwrap();
    }
    assert_eq!(std::fs::read_dir(pod.path("image")).unwrap().count(), 1);
    // A mount on `/` takes the root's place.
    let table = pod.table(&[("data", "/")]);
    put(&table.root(), "at-the-top", "");
    assert!(pod.path("pod/volumes/data/at-the-top").exists());
}

#[test]
fn absolute_paths_of_the_host_side() {
    let pod = Pod::new([
        ("data", empty()),
        (
            "hosts",
            spec(model::runtime::VolumeSource::File(file_spec("h", "hosts"))),
        ),
    ]);
    let table = pod.table(&[("data", "/data"), ("hosts", "/etc/hosts")]);
    put(&table.root(), "data/file", "content");
    assert_eq!(
        table.read("/data/file", 7).as_deref(),
        Ok(b"content".as_slice())
    );
    assert_eq!(table.read("/data/file", 6), Err(FsError::Overflow));
    assert_eq!(
        table.read("//data//file", 100).map(|content| content.len()),
        Ok(7)
    );
    assert_eq!(table.read("data/file", 100), Err(FsError::Invalid));
    assert_eq!(table.read("/data", 100), Err(FsError::IsDirectory));
    for (path, expected) in [
        ("/", Ok("/")),
        ("/data", Ok("/data")),
        ("/data/", Ok("/data")),
        ("/etc", Ok("/etc")),
        ("/etc/hosts", Err(FsError::NotDirectory)),
        ("/data/file", Err(FsError::NotDirectory)),
        ("/none", Err(FsError::NoEntry)),
    ] {
        let found = table.directory(path).map(|node| node.path().to_owned());
        assert_eq!(found, expected.map(str::to_owned), "{path}");
    }
}

/// A volume with links of all sorts, and nothing mounted yet.
fn volume_with_links() -> Pod {
    let pod = Pod::new([("data", empty())]);
    let whole = pod.table(&[("data", "/data")]).root();
    put(&whole, "data/file", "file");
    whole.create_directory_at("data/dir").unwrap();
    put(&whole, "data/dir/inner", "inner");
    whole.symlink_at("dir/inner", "data/to-inner").unwrap();
    whole.symlink_at("../data/dir", "data/dir/around").unwrap();
    whole.symlink_at("..", "data/out").unwrap();
    whole.symlink_at("../..", "data/dir/further-out").unwrap();
    symlink("/data/dir", pod.path("pod/volumes/data/absolute")).unwrap();
    pod
}

/// A container with a part of the volume at /part.
fn with_part(pod: &Pod, sub_path: &str) -> MountTable {
    let mounts = [part("data", "/part", sub_path)];
    MountTable::new(&pod.volumes, root("one"), &mounts).unwrap()
}

#[test]
fn parts_of_volumes() {
    let pod = volume_with_links();
    for (sub_path, path, expected, refused) in [
        ("dir", "part/inner", Ok("inner"), false),
        ("file", "part", Ok("file"), false),
        ("to-inner", "part", Ok("inner"), false),
        (".", "part/file", Ok("file"), false),
        ("", "part/file", Ok("file"), false),
        ("new/below", "part/file", Err(FsError::NoEntry), false),
        ("file/below", "part/file", Err(FsError::NotDirectory), true),
        ("out/data/file", "part", Err(FsError::NotPermitted), true),
        ("dir/around", "part/inner", Err(FsError::NoEntry), true),
        (
            "dir/further-out",
            "part/file",
            Err(FsError::NotPermitted),
            true,
        ),
        ("absolute", "part/inner", Err(FsError::NotPermitted), true),
        (
            "absolute/new",
            "part/inner",
            Err(FsError::NotPermitted),
            true,
        ),
    ] {
        let table = with_part(&pod, sub_path);
        assert_eq!(
            get(&table.root(), path),
            expected.map(str::to_owned),
            "{sub_path}"
        );
        assert_eq!(table.check().is_err(), refused, "{sub_path}");
    }
}

#[test]
fn parts_are_made_and_refused_in_kubelets_words() {
    let pod = volume_with_links();
    with_part(&pod, "new/below").check().unwrap();
    let text = with_part(&pod, "out/x").check().unwrap_err().to_string();
    assert!(
        text.contains("failed to prepare subPath \"out/x\" of volume \"data\""),
        "{text}"
    );
    assert!(
        pod.path("pod/volumes/data/new/below").is_dir(),
        "what is absent is made"
    );
    // Inside a part its `..` is the part's.
    let inside = with_part(&pod, "dir").directory("/part").unwrap();
    assert_eq!(
        inside.stat_at("../file", true).err(),
        Some(FsError::NotPermitted)
    );
    assert_eq!(
        get(&with_part(&pod, "dir").root(), "part/../part/inner"),
        Ok("inner".to_owned())
    );
}

#[test]
fn a_directory_of_its_own_hides_nothing_of_the_image() {
    let pod = Pod::new([("data", empty())]);
    let image = pod.path("image");
    for folder in ["run/there", "etc"] {
        std::fs::create_dir_all(image.join(folder)).unwrap();
    }
    for (link, target) in [
        ("var", "/run"),
        ("etc/up", "../run"),
        ("away", "/nowhere/deep"),
        ("linked", "data"),
        ("loop", "loop"),
        ("etc/over", "../../../run"),
        ("etc/over-to-data", "../../../data"),
    ] {
        symlink(target, image.join(link)).unwrap();
    }
    for (number, (path, real)) in [
        ("plain/er", Some("plain/er")),
        ("run/work", Some("run/work")),
        ("var/work", Some("run/work")),
        ("var/deep/er", Some("run/deep/er")),
        ("etc/up/work", Some("run/work")),
        ("etc/over/work", Some("run/work")),
        ("etc/over/deep/er", Some("run/deep/er")),
        ("away/work", Some("nowhere/deep/work")),
        ("away", Some("nowhere/deep")),
        // Others make it there, or fail to.
        ("linked/work", None),
        ("etc/over-to-data/work", None),
        ("loop/work", None),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = RootSpec {
            image: Some(image.clone()),
            ..root(&format!("one-{number}"))
        };
        let mounts = [mount("data", "/data")];
        let absolute = format!("/{path}");
        let table = MountTable::with_directory(&pod.volumes, spec, &mounts, &absolute).unwrap();
        let top = table.root();
        let made = top.create_directory_at(&format!("{path}/new"));
        assert_eq!(made.is_ok(), real.is_some(), "{path}: {made:?}");
        if let Some(real) = real {
            let there = top.open_at(real, false, &DIRECTORY).unwrap();
            assert_eq!(names(&there), ["new"], "{path}");
        }
        let rest = top.open_at("var/there", true, &DIRECTORY);
        assert!(rest.is_ok(), "{path} hides what is behind a link");
    }
}

#[test]
fn a_directory_of_its_own_that_cannot_be_names_its_field() {
    let pod = Pod::new([("data", empty())]);
    for (path, told) in [
        (
            "/a/../b",
            "workingDir \"/a/../b\" must not contain '..'; give another workingDir",
        ),
        (
            "/",
            "workingDir \"/\" must be no mount; give another workingDir",
        ),
    ] {
        let made = MountTable::with_directory(&pod.volumes, root("one"), &[], path);
        assert_eq!(made.err().unwrap().to_string(), told);
    }
}

#[test]
fn a_part_swapped_for_a_link_stays_in_its_volume() {
    let pod = Pod::new([("data", empty())]);
    std::fs::create_dir_all(pod.path("outside/below")).unwrap();
    std::fs::write(pod.path("outside/file"), "secret").unwrap();
    let whole = pod.table(&[("data", "/data")]).root();
    whole.create_directory_at("data/part").unwrap();
    put(&whole, "data/part/file", "public");
    whole.symlink_at("../../../outside", "data/link").unwrap();
    let table =
        MountTable::new(&pod.volumes, root("two"), &[part("data", "/part", "part")]).unwrap();
    let top = table.root();
    let seen = std::cell::Cell::new(0);
    while_swapping(&pod.path("pod/volumes/data"), "part", "link", |_| {
        // Led out it finds nothing; it may never find the secret.
        if let Ok(content) = get(&top, "part/file") {
            assert_eq!(content, "public");
            seen.set(seen.get() + 1);
        }
    });
    assert!(seen.get() > 0);
}

#[test]
fn a_read_only_container_still_has_its_writable_volumes() {
    let pod = Pod::new([("data", empty()), ("config", files(&[("key", "value")]))]);
    let spec = RootSpec {
        read_only: true,
        ..root("one")
    };
    let mounts = [
        mount("data", "/var/lib/data"),
        mount("config", "/etc/config"),
    ];
    let table = MountTable::new(&pod.volumes, spec, &mounts).unwrap();
    let top = table.root();
    assert!(
        top.flags().mutate_directory,
        "something below it can be changed"
    );
    put(&top, "var/lib/data/file", "written");
    for path in ["x", "var/x", "var/lib/x", "etc/x", "etc/config/x"] {
        assert_eq!(
            top.open_at(path, true, &CREATE).err(),
            Some(FsError::ReadOnly),
            "{path}"
        );
        assert_eq!(
            top.open_at(path, true, &READ).err(),
            Some(FsError::NoEntry),
            "{path}"
        );
    }
    let var = top.open_at("var", true, &DIRECTORY).unwrap();
    assert!(!var.flags().mutate_directory);
    assert_eq!(names(&var), ["lib"]);
    let config = MountTable::new(
        &pod.volumes,
        RootSpec {
            read_only: true,
            ..root("two")
        },
        &[mount("config", "/c")],
    );
    assert!(!config.unwrap().root().flags().mutate_directory);
}
