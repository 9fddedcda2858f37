//! Paths through mounts, against tables and against the kernel's own resolution.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Leaf, Walk};
use crate::fixture::{DIRECTORY, Pod, empty, files, get, host, mount, names, put, root};
use crate::{FileKind, FsError, MountTable, Node, RootSpec};

/// ```text
/// /            scratch
/// /data        emptyDir, with file, dir/inner
/// /data/deep/config   files, below a directory that does not exist
/// /etc/one     one file of `config`
/// ```
fn container() -> (Pod, MountTable) {
    let pod = Pod::new([("data", empty()), ("config", files(&[("key", "value")]))]);
    let mut one = mount("config", "/etc/one");
    one.sub_path = Some("key".to_owned());
    let mounts = [
        mount("data", "/data"),
        mount("config", "/data/deep/config"),
        one,
    ];
    let table = MountTable::new(&pod.volumes, root("one"), &mounts).unwrap();
    let top = table.root();
    top.create_directory_at("home").unwrap();
    put(&top, "home/note", "at home");
    put(&top, "data/file", "data");
    top.create_directory_at("data/dir").unwrap();
    put(&top, "data/dir/inner", "inner");
    (pod, table)
}

#[test]
fn paths_lead_across_mounts() {
    let (_pod, table) = container();
    let top = table.root();
    for (link, target) in [
        ("home/to-data", "../data/file"),
        ("home/up", ".."),
        ("data/to-home", "../home"),
        ("data/to-config", "deep/config/key"),
        ("data/out", "../../outside"),
        ("loop", "loop"),
        ("dangling", "nowhere"),
        ("slash", "home/"),
        ("file-slash", "data/file/"),
    ] {
        top.symlink_at(target, link).unwrap();
    }
    for (path, expected) in [
        ("home/note", Ok("at home")),
        ("data/file", Ok("data")),
        ("data/../home/note", Ok("at home")),
        ("data/dir/../../home/note", Ok("at home")),
        ("data/deep/config/key", Ok("value")),
        ("data/deep/config/../../file", Ok("data")),
        ("data/deep/../file", Ok("data")),
        ("etc/one", Ok("value")),
        ("etc/../data/file", Ok("data")),
        ("home/to-data", Ok("data")),
        ("home/up/data/file", Ok("data")),
        ("home/up/home/up/data/dir/inner", Ok("inner")),
        ("data/to-home/note", Ok("at home")),
        ("data/to-home/../data/file", Ok("data")),
        ("data/to-config", Ok("value")),
        ("slash/note", Ok("at home")),
        ("data/out", Err(FsError::NotPermitted)),
        ("../data/file", Err(FsError::NotPermitted)),
        ("data/../../data/file", Err(FsError::NotPermitted)),
        ("/data/file", Err(FsError::NotPermitted)),
        ("loop", Err(FsError::Loop)),
        ("loop/x", Err(FsError::Loop)),
        ("dangling", Err(FsError::NoEntry)),
        ("data/file/", Err(FsError::NotDirectory)),
        ("data/file/.", Err(FsError::NotDirectory)),
        ("data/file/..", Err(FsError::NotDirectory)),
        ("etc/one/x", Err(FsError::NotDirectory)),
        ("etc/one/", Err(FsError::NotDirectory)),
        ("file-slash", Err(FsError::NotDirectory)),
        ("etc/two", Err(FsError::NoEntry)),
        ("data/deep/other", Err(FsError::NoEntry)),
        ("home", Err(FsError::IsDirectory)),
        ("data/deep", Err(FsError::IsDirectory)),
    ] {
        assert_eq!(get(&top, path), expected.map(str::to_owned), "{path}");
    }
}

#[test]
fn absolute_links_start_at_the_containers_root() {
    let pod = Pod::with_host();
    let table = pod.table(&[("host", "/data")]);
    let top = table.root();
    put(&top, "secret", "of the root");
    put(&top, "data/file", "data");
    let data = pod.path("host");
    symlink("/secret", data.join("absolute")).unwrap();
    symlink("/data/file", data.join("home-again")).unwrap();
    symlink("/data/..", data.join("above")).unwrap();
    symlink(pod.path("outside"), data.join("of-the-node")).unwrap();
    std::fs::write(pod.path("outside"), "of the node").unwrap();

    assert_eq!(get(&top, "data/absolute"), Ok("of the root".to_owned()));
    assert_eq!(get(&top, "data/home-again"), Ok("data".to_owned()));
    assert_eq!(get(&top, "data/above/secret"), Ok("of the root".to_owned()));
    assert_eq!(get(&top, "data/of-the-node"), Err(FsError::NoEntry));

    // Relative to a directory the result must lie in it.
    let data = top.open_at("data", true, &DIRECTORY).unwrap();
    assert_eq!(get(&data, "home-again"), Ok("data".to_owned()));
    assert_eq!(get(&data, "absolute"), Err(FsError::NotPermitted));
    assert_eq!(get(&data, "above/secret"), Err(FsError::NotPermitted));
    assert_eq!(get(&data, "above/data/file"), Ok("data".to_owned()));
    assert_eq!(data.readlink_at("absolute"), Err(FsError::NotPermitted));
}

/// A container of an image, with a hostPath at /data and a file of the node beside both; and a path
/// that leads to that file from as deep as links of the two lie, if anything leads above the root.
fn of_an_image() -> (Pod, MountTable, String) {
    let pod = Pod::with_host();
    for folder in ["image/etc", "image/app/deep", "host/deep"] {
        std::fs::create_dir_all(pod.path(folder)).unwrap();
    }
    std::fs::write(pod.path("image/etc/note"), "of the image").unwrap();
    std::fs::write(pod.path("host/file"), "data").unwrap();
    std::fs::write(pod.path("outside"), "of the node").unwrap();
    let spec = RootSpec {
        image: Some(pod.path("image")),
        ..root("one")
    };
    let table = MountTable::new(&pod.volumes, spec, &[mount("host", "/data")]).unwrap();
    let above = "../".repeat(30);
    let out = format!("{above}{}", pod.path("outside").display());
    (pod, table, out)
}

#[test]
fn an_images_root_is_its_own_parent() {
    let (pod, table, out) = of_an_image();
    for (link, target) in [
        ("image/top", ".."),
        ("image/app/note", "../../../etc/note"),
        ("image/app/deep/chain", "../../../app/note"),
        ("image/app/data", "../../data/file"),
        ("image/app/absolute", "/../../etc/note"),
        ("image/app/nothing", "../../../nothing"),
        ("image/app/out", out.as_str()),
        ("host/root", "../.."),
        ("host/deep/note", "../../../../etc/note"),
        ("host/deep/out", out.as_str()),
    ] {
        symlink(target, pod.path(link)).unwrap();
    }
    let top = table.root();
    for (path, expected) in [
        ("top/etc/note", Ok("of the image")),
        ("top/top/../etc/note", Ok("of the image")),
        ("app/note", Ok("of the image")),
        ("app/deep/chain", Ok("of the image")),
        ("app/data", Ok("data")),
        ("app/absolute", Ok("of the image")),
        ("data/root/etc/note", Ok("of the image")),
        ("data/root/data/file", Ok("data")),
        ("data/deep/note", Ok("of the image")),
        ("../etc/note", Ok("of the image")),
        ("app/../../data/../../etc/note", Ok("of the image")),
        ("app/nothing", Err(FsError::NoEntry)),
        ("app/out", Err(FsError::NoEntry)),
        ("data/deep/out", Err(FsError::NoEntry)),
        (out.as_str(), Err(FsError::NoEntry)),
        ("/etc/note", Err(FsError::NotPermitted)),
    ] {
        assert_eq!(get(&top, path), expected.map(str::to_owned), "{path}");
    }
    let above = top.open_at("../../app/..", true, &DIRECTORY).unwrap();
    assert!(above.is_same_object(&top));
    assert_eq!(above.path(), "/");

    // Relative to a directory the result must lie in it.
    let app = top.open_at("app", true, &DIRECTORY).unwrap();
    for path in ["note", "deep/chain", "absolute", "out", "../app/note"] {
        assert_eq!(get(&app, path), Err(FsError::NotPermitted), "{path}");
    }
}

#[test]
fn links_in_a_circle_over_an_images_root_end() {
    let (pod, table, _) = of_an_image();
    for (link, target) in [
        ("image/loop", "../loop"),
        ("image/app/one", "../../data/two"),
        ("host/two", "../../../app/one"),
        ("image/longer", "../longer/../longer"),
    ] {
        symlink(target, pod.path(link)).unwrap();
    }
    for number in 0..45 {
        let link = pod.path(&format!("image/link{number}"));
        symlink(format!("../../link{}", number + 1), link).unwrap();
    }
    symlink("etc/note", pod.path("image/link45")).unwrap();
    let top = table.root();
    for path in [
        "loop",
        "loop/x",
        "app/one",
        "data/two",
        "data/two/x",
        "longer",
        "link5",
    ] {
        assert_eq!(get(&top, path), Err(FsError::Loop), "{path}");
    }
    assert_eq!(get(&top, "link6"), Ok("of the image".to_owned()));
}

#[test]
fn what_is_no_image_has_nothing_above_its_root() {
    let pod = Pod::with_host();
    std::fs::create_dir_all(pod.path("image/etc")).unwrap();
    std::fs::create_dir_all(pod.path("host/etc")).unwrap();
    symlink("../etc", pod.path("image/link")).unwrap();
    symlink("../etc", pod.path("host/link")).unwrap();
    let of_image = || RootSpec {
        image: Some(pod.path("image")),
        ..root("image")
    };
    let on_root = [mount("host", "/")];
    for (spec, mounts, expected) in [
        (of_image(), &[][..], Ok(())),
        // A volume that is mounted on the root of an image hides it.
        (of_image(), &on_root[..], Err(FsError::NotPermitted)),
        (root("volume"), &on_root[..], Err(FsError::NotPermitted)),
    ] {
        let name = spec.container.clone();
        let table = MountTable::new(&pod.volumes, spec, mounts).unwrap();
        for path in ["link", "../etc"] {
            let opened = table.root().open_at(path, true, &DIRECTORY).map(drop);
            assert_eq!(opened, expected, "{path} of {name} with {mounts:?}");
        }
    }
}

#[test]
fn mount_points_are_listed_and_found_where_nothing_is_on_the_disk() {
    let (pod, table) = container();
    let top = table.root();
    assert_eq!(names(&top), ["data", "etc", "home"]);
    assert_eq!(
        names(&top.open_at("data", false, &DIRECTORY).unwrap()),
        ["deep", "dir", "file"]
    );
    assert_eq!(names(&table.directory("/data/deep").unwrap()), ["config"]);
    assert_eq!(names(&table.directory("/etc").unwrap()), ["one"]);
    assert!(
        !pod.path("pod/volumes/data/deep").exists(),
        "a look makes nothing"
    );
    for (path, kind) in [
        ("data/deep", FileKind::Directory),
        ("data/deep/config", FileKind::Directory),
        ("etc", FileKind::Directory),
        ("etc/one", FileKind::RegularFile),
    ] {
        assert_eq!(
            top.stat_at(path, false).map(|stat| stat.kind),
            Ok(kind),
            "{path}"
        );
    }
    // What is made in such a directory makes it.
    put(&top, "data/deep/made", "here");
    assert_eq!(get(&top, "data/deep/made"), Ok("here".to_owned()));
    assert!(pod.path("pod/volumes/data/deep/made").exists());
    assert_eq!(
        names(&table.directory("/data/deep").unwrap()),
        ["config", "made"]
    );
}

#[test]
fn long_paths_and_many_links_end() {
    let pod = Pod::new([("data", empty())]);
    let top = pod.table(&[("data", "/data")]).root();
    let mut at = top.open_at("data", false, &DIRECTORY).unwrap();
    for _ in 0..300 {
        at.create_directory_at("d").unwrap();
        at = at.open_at("d", false, &DIRECTORY).unwrap();
    }
    put(&at, "file", "deep");
    let deep = format!("data/{}file", "d/".repeat(300));
    assert_eq!(get(&top, &deep), Ok("deep".to_owned()));
    // With `..` every place has to be kept, and that many are not.
    assert_eq!(
        get(&top, &format!("data/{}../d/file", "d/".repeat(300))),
        Err(FsError::NameTooLong)
    );

    for number in 0..45 {
        top.symlink_at(&format!("link{}", number + 1), &format!("link{number}"))
            .unwrap();
    }
    put(&top, "link45", "end");
    assert_eq!(get(&top, "link5"), Ok("end".to_owned()));
    assert_eq!(get(&top, "link4"), Err(FsError::Loop));
}

/// A tree of a few names, as paths of the container: what is there.
type Plan = BTreeMap<PathBuf, Thing>;

#[derive(Debug, Clone)]
enum Thing {
    Directory { mounted: bool },
    File,
    Link(String),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

/// A relative path of names, `.`, `..` and slashes.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![6 => name().prop_map(str::to_owned), 2 => Just("..".to_owned()), 1 => Just(".".to_owned())];
    (prop::collection::vec(part, 1..6), prop::bool::weighted(0.1))
        .prop_map(|(parts, slash)| format!("{}{}", parts.join("/"), if slash { "/" } else { "" }))
}

/// The target of a link of an image: as [`path`], from the root, or from above it.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => path(),
        2 => path().prop_map(|path| format!("../../../{path}")),
        1 => path().prop_map(|path| format!("/{path}")),
    ]
}

fn thing(target: impl Strategy<Value = String>) -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => any::<bool>().prop_map(|mounted| Thing::Directory { mounted }),
        1 => Just(Thing::File),
        4 => target.prop_map(Thing::Link),
    ]
}

fn plan(target: impl Strategy<Value = String>) -> impl Strategy<Value = Plan> {
    let at =
        prop::collection::vec(name(), 1..4).prop_map(|names| names.iter().collect::<PathBuf>());
    prop::collection::vec((at, thing(target)), 1..14).prop_map(|things| {
        let mut plan = Plan::new();
        // Sorted by length, so that what is above comes first; below anything but a directory
        // nothing can be.
        let mut things = things;
        things.sort_by_key(|(path, _)| path.components().count());
        for (path, thing) in things {
            let above = path.parent().unwrap_or(Path::new(""));
            if above == Path::new("") || matches!(plan.get(above), Some(Thing::Directory { .. })) {
                plan.insert(path, thing);
            }
        }
        plan
    })
}

/// Marks an object by its time, so that it can be known again in another tree.
fn mark(path: &Path, number: usize) {
    let time = Timespec {
        tv_sec: 1_000_000 + i64::try_from(number).unwrap(),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Where a path of the container lies, when each mounted directory is a directory of its own.
fn split(base: &Path, plan: &Plan, path: &Path) -> PathBuf {
    let mount = path
        .ancestors()
        .find(|above| matches!(plan.get(*above), Some(Thing::Directory { mounted: true })));
    match mount {
        Some(mount) => base
            .join(mount_name(mount))
            .join(path.strip_prefix(mount).unwrap()),
        None => base.join("root").join(path),
    }
}

fn mount_name(path: &Path) -> String {
    format!("mount-{}", path.to_str().unwrap().replace('/', "-"))
}

fn make(at: &Path, thing: &Thing) {
    match thing {
        Thing::Directory { .. } => std::fs::create_dir_all(at).unwrap(),
        Thing::File => std::fs::write(at, "file").unwrap(),
        Thing::Link(target) => symlink(target, at).unwrap(),
    }
}

/// The tree in one piece, and as a container with mounts, whose root is an image's or a volume.
fn build(plan: &Plan, has_image: bool) -> (Pod, MountTable) {
    let pod = Pod::with(|scratch| {
        std::fs::create_dir(scratch.join("whole")).unwrap();
        std::fs::create_dir(scratch.join("root")).unwrap();
        let mut specs = BTreeMap::from([("root".to_owned(), host(scratch.join("root")))]);
        for (path, thing) in plan {
            make(&scratch.join("whole").join(path), thing);
            make(&split(scratch, plan, path), thing);
            if matches!(thing, Thing::Directory { mounted: true }) {
                specs.insert(mount_name(path), host(split(scratch, plan, path)));
            }
        }
        // Children first: making one changes its parent's time.
        for (number, path) in plan
            .keys()
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            mark(&scratch.join("whole").join(path), number);
            mark(&split(scratch, plan, path), number);
        }
        specs
    });
    let spec = RootSpec {
        image: has_image.then(|| pod.path("root")),
        ..root("one")
    };
    let mut mounts = Vec::new();
    if !has_image {
        mounts.push(mount("root", "/"));
    }
    for (path, thing) in plan {
        if matches!(thing, Thing::Directory { mounted: true }) {
            mounts.push(mount(&mount_name(path), &format!("/{}", path.display())));
        }
    }
    let table = MountTable::new(&pod.volumes, spec, &mounts).unwrap();
    (pod, table)
}

/// What the kernel makes of a path that must stay below a directory: the mark, or the error.
fn by_kernel(directory: &Path, path: &str, rule: ResolveFlags) -> Result<i64, FsError> {
    let top = rustix::fs::open(directory, OFlags::PATH, Mode::empty()).unwrap();
    let resolve = rule | ResolveFlags::NO_MAGICLINKS;
    let found = loop {
        match rustix::fs::openat2(&top, path, OFlags::PATH, Mode::empty(), resolve) {
            // Somebody on this machine renamed or mounted something meanwhile, and the kernel
            // does not say where.
            Err(Errno::AGAIN) => {}
            found => break found,
        }
    };
    match found {
        Ok(found) if same(&found, &top) => Ok(0),
        Ok(found) => Ok(rustix::fs::fstat(&found).unwrap().st_mtime),
        Err(Errno::XDEV) => Err(FsError::NotPermitted),
        Err(errno) => Err(errno.into()),
    }
}

fn same(one: &impl std::os::fd::AsFd, other: &impl std::os::fd::AsFd) -> bool {
    let (one, other) = (
        rustix::fs::fstat(one).unwrap(),
        rustix::fs::fstat(other).unwrap(),
    );
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn by_table(top: &Node, path: &str) -> Result<i64, FsError> {
    let stat = top.stat_at(path, true)?;
    if stat.identity == top.stat().unwrap().identity {
        return Ok(0);
    }
    Ok(stat.modified.seconds)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mounts_resolve_like_one_tree_in_the_kernel(
        plan in plan(path()),
        paths in prop::collection::vec(path(), 20),
    ) {
        let (pod, table) = build(&plan, false);
        let (top, whole) = (table.root(), pod.path("whole"));
        for path in &paths {
            let wanted = by_kernel(&whole, path, ResolveFlags::BENEATH);
            prop_assert_eq!(by_table(&top, path), wanted, "{}", path);
            prop_assert_eq!(walked(&table, path, false), walked(&table, path, true), "{}", path);
        }
    }

    #[test]
    fn an_image_and_mounts_resolve_like_one_root_in_the_kernel(
        plan in plan(target()),
        paths in prop::collection::vec(path(), 20),
    ) {
        let (pod, table) = build(&plan, true);
        let (top, whole) = (table.root(), pod.path("whole"));
        for path in &paths {
            let wanted = by_kernel(&whole, path, ResolveFlags::IN_ROOT);
            prop_assert_eq!(by_table(&top, path), wanted, "{}", path);
            prop_assert_eq!(walked(&table, path, false), walked(&table, path, true), "{}", path);
        }
    }
}

/// Where a walk ends: the last name and what is there.
fn walked(
    table: &MountTable,
    path: &str,
    by_steps: bool,
) -> Result<(OsString, Option<FileKind>), FsError> {
    let table = table.table();
    let mut walk = Walk::new(table, &table.root()?, path)?;
    walk.by_steps = by_steps;
    match walk.leaf_following()? {
        Leaf::Entry(entry) => {
            let kind = entry.kind()?;
            Ok((entry.name, kind))
        }
        Leaf::Directory { .. } => Ok((OsString::new(), None)),
    }
}
