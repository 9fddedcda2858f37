//! Archives made, listed and unpacked in temporary directories, and some that mean harm.

use tar::{Builder, EntryType, Header};

use crate::command::testing::Room;

/// An archive with one entry whose name is written as it is, however bad.
fn archive(name: &str, kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let raw = header.as_old_mut();
    raw.name[..name.len()].copy_from_slice(name.as_bytes());
    raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, content).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn what_goes_in_comes_out() {
    let room = Room::new();
    room.file("d/a", "A");
    room.file("d/e/b", "B");
    room.run(&["ln", "-s", "a", "d/link"]);
    let cases: [(&[&str], &str); 5] = [
        (&["tar", "cf", "x.tar", "d"], ""),
        (&["tar", "tf", "x.tar"], "d/\nd/a\nd/e/\nd/e/b\nd/link\n"),
        (&["tar", "-tf", "x.tar", "d/e"], "d/e/\nd/e/b\n"),
        (&["mkdir", "out", "flat"], ""),
        (&["tar", "-xOf", "x.tar", "d/a"], "A"),
    ];
    for (words, wanted) in cases {
        let ran = room.run(words);
        assert_eq!(
            (ran.out.as_str(), ran.err.as_str()),
            (wanted, ""),
            "{words:?}"
        );
    }
    assert_eq!(room.run(&["tar", "xf", "x.tar", "-C", "out"]).err, "");
    assert_eq!(
        (room.read("out/d/e/b"), room.read("out/d/link")),
        ("B".to_owned(), "A".to_owned())
    );
    let ran = room.run(&[
        "tar",
        "-xvf",
        "x.tar",
        "-C",
        "flat",
        "--strip-components",
        "1",
        "d/e",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "d/e/\nd/e/b\n"));
    assert_eq!(room.read("flat/e/b"), "B");
}

#[test]
fn archives_go_through_standard_streams_as_kubectl_sends_them() {
    let room = Room::new();
    room.file("d/a", "A");
    let packed = room.sh(
        "tar cf - d/a | tar xmf - -C /dev/null/none 2>/dev/null; tar cf - d/a > packed; mkdir in",
    );
    assert_eq!(packed.code, 0);
    assert_eq!(room.sh("tar -xmf - -C in < packed && cat in/d/a").out, "A");
}

#[test]
fn an_archive_does_not_get_out_of_its_directory() {
    let room = Room::new();
    room.file("in/keep", "");
    room.file("secret", "old");
    let cases = [
        ("../secret", EntryType::Regular, "", 1),
        ("a/../../secret", EntryType::Regular, "", 1),
        ("device", EntryType::Block, "", 1),
    ];
    for (name, kind, link, code) in cases {
        let ran = room.run_with(
            &["tar", "xf", "-", "-C", "in"],
            archive(name, kind, link, b"new"),
        );
        assert_eq!(ran.code, code, "{name}: {}", ran.err);
    }
    // A link to outside, then a file below it.
    let up = archive("up", EntryType::Symlink, "..", b"");
    assert_eq!(room.run_with(&["tar", "xf", "-", "-C", "in"], up).err, "");
    let below = archive("up/secret", EntryType::Regular, "", b"new");
    let ran = room.run_with(&["tar", "xf", "-", "-C", "in"], below);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "tar: up/secret: goes through the link up; refused\n")
    );
    // A link to outside, then a file of the same name: the link is replaced, not followed.
    let link = archive("way", EntryType::Symlink, "../secret", b"");
    assert_eq!(room.run_with(&["tar", "xf", "-", "-C", "in"], link).err, "");
    let file = archive("way", EntryType::Regular, "", b"new");
    assert_eq!(room.run_with(&["tar", "xf", "-", "-C", "in"], file).err, "");
    assert_eq!(
        (room.read("secret"), room.read("in/way")),
        ("old".to_owned(), "new".to_owned())
    );
    // Absolute names are taken as relative.
    let absolute = archive("/deep/file", EntryType::Regular, "", b"x");
    assert_eq!(
        room.run_with(&["tar", "xf", "-", "-C", "in"], absolute).err,
        ""
    );
    assert_eq!(room.read("in/deep/file"), "x");
}

#[test]
fn what_it_cannot_do_is_told() {
    let room = Room::new();
    let cases: [(&[&str], u8); 5] = [
        (&["tar"], 2),
        (&["tar", "cz"], 2),
        (&["tar", "cx"], 2),
        (&["tar", "c"], 2),
        (&["tar", "tf", "none"], 1),
    ];
    for (words, code) in cases {
        assert_eq!(room.run(words).code, code, "{words:?}");
    }
    assert_eq!(
        room.run_with(&["tar", "t"], "not an archive at all".repeat(50))
            .code,
        1
    );
}
