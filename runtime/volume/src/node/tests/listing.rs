//! Listing: all entries once, by number, in bounded memory.

use std::collections::BTreeSet;

use super::directory;
use crate::FileKind;
use crate::fixture::{Pod, READ, empty, names, put};

#[test]
fn entries_have_kinds_and_inodes() {
    let (_pod, at) = directory();
    assert_eq!(names(&at), Vec::<String>::new());
    put(&at, "file", "");
    at.create_directory_at("dir").unwrap();
    at.symlink_at("..", "link").unwrap();
    let mut listing = at.read_dir().unwrap();
    let mut found = BTreeSet::new();
    while let Some(entry) = listing.next().unwrap() {
        assert_eq!(
            entry.inode,
            at.stat_at(&entry.name, false).unwrap().identity.lower,
            "{}",
            entry.name
        );
        found.insert((entry.name, format!("{:?}", entry.kind)));
    }
    let expected = [
        ("dir", "Directory"),
        ("file", "RegularFile"),
        ("link", "SymbolicLink"),
    ];
    assert_eq!(
        found,
        expected
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .into()
    );
}

#[test]
fn numbers_lead_back() {
    let (_pod, at) = directory();
    for number in 0..1500 {
        put(&at, &format!("file-{number}"), "");
    }
    let mut listing = at.read_dir().unwrap();
    let mut all = Vec::new();
    while let Some(entry) = listing.entry(all.len() as u64).unwrap() {
        all.push(entry.name);
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1500);
    // The last few, one long gone, and what is behind the end.
    for number in [1499, 1498, 1200, 3, 4, 1499, 0] {
        assert_eq!(
            listing.entry(number).unwrap().unwrap().name,
            all[usize::try_from(number).unwrap()]
        );
    }
    assert_eq!(listing.entry(1500).unwrap(), None);
    assert_eq!(listing.entry(u64::MAX).unwrap(), None);
    assert_eq!(
        listing.next().unwrap().unwrap().name,
        all[0],
        "the plain walk is its own"
    );
}

#[test]
fn names_that_no_guest_can_say_are_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let (pod, at) = directory();
    put(&at, "plain", "");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    std::fs::write(pod.path("pod/volumes/data/work").join(odd), "").unwrap();
    assert_eq!(names(&at), ["plain"]);
}

#[test]
fn a_mount_hides_what_is_under_it() {
    let pod = Pod::new([("data", empty()), ("over", empty())]);
    put(
        &pod.table(&[("data", "/data")]).root(),
        "data/point",
        "a file is in the way",
    );
    let table = pod.table(&[("data", "/data"), ("over", "/data/point")]);
    let data = table.directory("/data").unwrap();
    let mut listing = data.read_dir().unwrap();
    let entry = listing.next().unwrap().unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind),
        ("point", FileKind::Directory)
    );
    assert_eq!(
        entry.inode,
        data.stat_at("point", true).unwrap().identity.lower
    );
    assert_eq!(listing.next().unwrap(), None);
    put(&data, "point/file", "over it");
    assert_eq!(names(&table.directory("/data/point").unwrap()), ["file"]);
    assert!(data.open_at("point/file", false, &READ).is_ok());
}
