//! Tests of unpacking: what layers mean, and what hostile ones must not do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::testing::{Entry, gzip, tar, zstd};

fn unpack(layers: &[Vec<u8>]) -> (tempfile::TempDir, Result<Skipped, UnpackError>) {
    unpack_within(layers, Bounds::default())
}

fn unpack_within(
    layers: &[Vec<u8>],
    bounds: Bounds,
) -> (tempfile::TempDir, Result<Skipped, UnpackError>) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a root");
    let mut unpacker = Unpacker::new(&root, bounds).expect("an unpacker");
    let result = layers.iter().try_for_each(|layer| {
        unpacker.layer(
            layer.as_slice(),
            layer.len() as u64,
            Compression::None,
            None,
        )
    });
    (folder, result.map(|()| unpacker.skipped().clone()))
}

/// What comes of a layer that is unpacked alone.
fn unpack_one(
    layer: &[u8],
    compression: Compression,
    diff_id: Option<&Digest>,
    bounds: Bounds,
) -> Result<(), UnpackError> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut unpacker = Unpacker::new(folder.path(), bounds).expect("an unpacker");
    unpacker.layer(layer, layer.len() as u64, compression, diff_id)
}

/// All that lies below a root: directories end in `/`, links show where they lead.
fn listed(folder: &tempfile::TempDir) -> Vec<String> {
    let root = folder.path().join("root");
    let mut found = Vec::new();
    let mut ahead = vec![root.clone()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(&root)
                .expect("below")
                .display()
                .to_string();
            let about = fs::symlink_metadata(&path).expect("there");
            if about.is_dir() {
                found.push(format!("{name}/"));
                ahead.push(path);
            } else if about.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                found.push(format!("{name} -> {}", target.display()));
            } else {
                let text = fs::read_to_string(&path).expect("a file");
                found.push(format!("{name}={text}"));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn whiteouts_and_links_mean_what_they_say() {
    let lower = tar(&[
        Entry::File("a/one", b"1"),
        Entry::File("a/two", b"2"),
        Entry::File("c/old", b"x"),
        Entry::File("c/sub/old", b"x"),
        Entry::File("dir-to-file/x", b"x"),
        Entry::File("file-to-dir", b"x"),
    ]);
    let upper = tar(&[
        Entry::File("a/.wh.one", b""),
        Entry::File("a/two", b"new"),
        Entry::File("c/sub/kept", b"k"),
        Entry::File("c/.wh..wh..opq", b""),
        Entry::File("dir-to-file", b"f"),
        Entry::Directory("file-to-dir/"),
        Entry::File("file-to-dir/x", b"d"),
        Entry::File("no/where/.wh.x", b""),
        Entry::HardLink("a/three", "a/two"),
        Entry::Link("link", "a"),
        Entry::File("link/four", b"4"),
        Entry::File("/absolute", b"5"),
    ]);
    let (folder, result) = unpack(&[lower, upper]);
    result.expect("unpacked");
    let wanted = [
        "a/",
        "a/four=4",
        "a/three=new",
        "a/two=new",
        "absolute=5",
        "c/",
        "c/sub/",
        "c/sub/kept=k",
        "dir-to-file=f",
        "file-to-dir/",
        "file-to-dir/x=d",
        "link -> a",
    ];
    assert_eq!(listed(&folder), wanted);
}

#[test]
fn what_a_link_to_nothing_leads_to_is_made() {
    let lower = tar(&[
        Entry::Link("lib", "usr/lib"),
        Entry::Link("a/far", "/var/../srv/./one"),
        Entry::Link("a/up", "../../../up"),
        Entry::Link("first", "second/below"),
        Entry::Link("second", "third"),
        Entry::Link("usr/self", "below/self"),
    ]);
    let upper = tar(&[
        Entry::File("lib/x", b"1"),
        Entry::File("lib/y", b"2"),
        Entry::File("a/far/x", b"3"),
        Entry::File("a/up/b/x", b"4"),
        Entry::Directory("first/d"),
        Entry::File("first/x", b"5"),
        Entry::File("usr/self/x", b"6"),
    ]);
    let (folder, result) = unpack(&[lower, upper]);
    result.expect("unpacked");
    let wanted = [
        "a/",
        "a/far -> /var/../srv/./one",
        "a/up -> ../../../up",
        "first -> second/below",
        "lib -> usr/lib",
        "second -> third",
        "srv/",
        "srv/one/",
        "srv/one/x=3",
        "third/",
        "third/below/",
        "third/below/d/",
        "third/below/x=5",
        "up/",
        "up/b/",
        "up/b/x=4",
        "usr/",
        "usr/below/",
        "usr/below/self/",
        "usr/below/self/x=6",
        "usr/lib/",
        "usr/lib/x=1",
        "usr/lib/y=2",
        "usr/self -> below/self",
        "var/",
    ];
    assert_eq!(listed(&folder), wanted);
}

#[test]
fn links_to_nothing_are_bounded() {
    let long = "d/".repeat(40);
    let circle = io::Error::from(rustix::io::Errno::LOOP).to_string();
    let circle = format!("cannot unpack \"l/x\": {circle}");
    let cases = [
        ("l", "l", circle.as_str(), 100),
        ("l", "missing/../l", circle.as_str(), 100),
        ("l", long.as_str(), "entries", 30),
        ("l", long.as_str(), "entries", 60),
    ];
    for (link, target, wanted, entries) in cases {
        let layer = tar(&[Entry::Link(link, target), Entry::File("l/x", b"")]);
        let bounds = Bounds {
            entries,
            ..Bounds::default()
        };
        let (_folder, result) = unpack_within(&[layer], bounds);
        let error = result.expect_err(target).to_string();
        assert!(error.contains(wanted), "{target}: {error}");
    }
    // The kernel gives up at the first that is missing, so that it does not count these.
    for (count, is_followed) in [(40, true), (41, false)] {
        let link = |number| {
            (
                format!("l{number}"),
                format!("m{number}/../l{}", number + 1),
            )
        };
        let links: Vec<_> = (0..count).map(link).collect();
        let links = links.iter().map(|(link, target)| Entry::Link(link, target));
        let entries: Vec<_> = links.chain([Entry::File("l0/x", b"")]).collect();
        let (_folder, result) = unpack(&[tar(&entries)]);
        let error = result.err().map(|error| error.to_string());
        let wanted = circle.replace("l/x", "l0/x");
        assert_eq!(error, (!is_followed).then_some(wanted));
    }
}

#[test]
fn a_file_where_a_directory_should_be_is_named() {
    let files = tar(&[Entry::File("d", b"x"), Entry::Link("link", "d")]);
    for (path, file) in [
        ("d/x", "d"),
        ("d/x/y", "d"),
        ("./d/x/", "d"),
        ("link/x", "link"),
    ] {
        let (_folder, result) = unpack(&[files.clone(), tar(&[Entry::Directory(path)])]);
        let error = result.expect_err(path).to_string();
        let told = format!("{file:?} is a file, or a link to one, in a lower layer");
        let place = path.trim_matches(['.', '/']);
        let place = format!("{place:?} has no place");
        assert!(error.contains(&told) && error.contains(&place), "{error}");
    }
}

#[test]
fn the_first_bytes_tell_how_a_layer_is_compressed() {
    let plain = tar(&[Entry::File("a", b"x")]);
    let forms = [plain.clone(), gzip(&plain), zstd(&plain)];
    for (form, layer) in forms.iter().enumerate() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let diff_id = Some(&Digest::of(&plain));
            let result = unpack_one(layer, compression, diff_id, Bounds::default());
            // What says that it is plain is.
            let wanted = form == 0 || compression != Compression::None;
            assert_eq!(result.is_ok(), wanted, "{form} {compression:?}: {result:?}");
        }
    }
}

#[test]
fn a_layer_that_is_broken_is_told_so_without_its_bytes() {
    let whole = tar(&[Entry::File("a", &[b'x'; 2000]), Entry::File("b", b"y")]);
    let packed = gzip(&whole);
    let noise = (0..4000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    let noise = gzip(&tar(&[Entry::File("noise", &noise.collect::<Vec<u8>>())]));
    let mut no_number = whole.clone();
    no_number[148..156].copy_from_slice(&[0xff; 8]);
    let mut no_deflate = packed.clone();
    no_deflate[10..].fill(0xff);
    let cases = [
        ("text", b"no tar at all".repeat(100), Compression::Gzip),
        ("bytes", vec![0x9c; 1024], Compression::None),
        ("no number", no_number, Compression::None),
        ("cut in a file", whole[..1000].to_vec(), Compression::None),
        ("cut in a header", whole[..100].to_vec(), Compression::None),
        ("cut gzip", packed[..12].to_vec(), Compression::Gzip),
        (
            "cut gzip in a file",
            noise[..noise.len() / 2].to_vec(),
            Compression::Gzip,
        ),
        ("no deflate", no_deflate, Compression::Gzip),
        ("cut zstd", zstd(&whole)[..6].to_vec(), Compression::Zstd),
    ];
    for (what, layer, compression) in cases {
        let result = unpack_one(&layer, compression, None, Bounds::default());
        let error = result.expect_err(what);
        assert!(matches!(error, UnpackError::Broken), "{what}: {error}");
    }
}

/// A tar whose first header has these bytes somewhere, and a checksum that is right.
fn with_header(mut tar: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    tar[at..at + bytes.len()].copy_from_slice(bytes);
    let mut header = ::tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&tar[..512]);
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    tar
}

#[test]
fn what_a_whole_tar_says_wrongly_of_an_entry_is_told_with_its_path() {
    let whole = tar(&[Entry::File("a", b"x")]);
    let pax = |record: &[u8]| {
        let mut builder = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_ustar();
        header.set_path("PaxHeaders/a").expect("short");
        header.set_entry_type(::tar::EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_cksum();
        builder.append(&header, record).expect("in memory");
        let head = builder.get_ref().clone();
        [head, tar(&[Entry::File("a", b"x")])].concat()
    };
    let no_record = "\"PaxHeaders/a\" is a PAX header with a record that cannot be read";
    let cases = [
        (
            with_header(whole.clone(), 100, b"mode\0"),
            "\"a\" is of a mode that is no number",
        ),
        (
            with_header(whole.clone(), 100, &[0xff; 8]),
            "\"a\" is of a mode that is no number",
        ),
        (pax(b"99 path=b\n"), no_record),
        (pax(b"path=b\n"), no_record),
        (pax(b"9 path b\n"), no_record),
        (pax(b"10 path=bb"), no_record),
        (pax(b"0 path=b\n"), no_record),
        (pax(b"99999999999999999999 path=b\n"), no_record),
        (pax(b"10 size=9\n"), "\"a\" is of two sizes at once"),
        (pax(b"10 size=x\n"), "\"a\" is of two sizes at once"),
    ];
    for (layer, wanted) in cases {
        let result = unpack_one(&layer, Compression::None, None, Bounds::default());
        let error = result.expect_err(wanted);
        assert!(matches!(error, UnpackError::Entry { .. }), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    // What nothing can be read after is no tar.
    let no_size = with_header(whole, 124, b"size\0");
    let error = unpack_one(&no_size, Compression::None, None, Bounds::default());
    assert!(matches!(error, Err(UnpackError::Broken)), "{error:?}");
}

#[test]
fn nothing_leads_out_of_the_root() {
    let cases: [(&str, Vec<Entry<'_>>); 9] = [
        (
            "link to nothing outside",
            vec![
                Entry::Link("l", "../../beside/../new"),
                Entry::File("l/x", b"x"),
            ],
        ),
        ("dots", vec![Entry::File("../out", b"x")]),
        ("dots inside", vec![Entry::File("a/../../out", b"x")]),
        (
            "link up",
            vec![Entry::Link("l", "../.."), Entry::File("l/out", b"x")],
        ),
        (
            "absolute link",
            vec![Entry::Link("l", "/"), Entry::File("l/out", b"x")],
        ),
        (
            "link to a file",
            vec![Entry::Link("l", "../out"), Entry::File("l", b"x")],
        ),
        ("hard link", vec![Entry::HardLink("h", "../secret")]),
        (
            "hard link by link",
            vec![Entry::Link("l", ".."), Entry::HardLink("h", "l/secret")],
        ),
        (
            "whiteout by link",
            vec![Entry::Link("l", ".."), Entry::File("l/.wh.secret", b"")],
        ),
    ];
    for (what, entries) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a root");
        fs::write(folder.path().join("secret"), "s").expect("written");
        let mut unpacker = Unpacker::new(&root, Bounds::default()).expect("an unpacker");
        let layer = tar(&entries);
        let _ = unpacker.layer(layer.as_slice(), 0, Compression::None, None);
        let mut beside: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        beside.sort();
        assert_eq!(beside, ["root", "secret"], "{what}");
        let secret = fs::symlink_metadata(folder.path().join("secret")).expect("there");
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&secret), 1, "{what}");
    }
}

#[test]
fn a_directory_is_cleared_once_in_a_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = Place::open(folder.path(), 100).expect("a place");
    let path = |text: &str| -> Vec<OsString> { text.split('/').map(OsString::from).collect() };
    let name = |text: &str| OsString::from(text);
    let mut added = Added::new(100);
    place
        .file(&path("d/kept/sub"), &name("x"), 0o644)
        .expect("made");
    added.insert(&path("d/kept/sub/x")).expect("few");
    for lower in ["d/lower", "d/kept/lower", "d/kept/sub/lower"] {
        fs::write(folder.path().join(lower), "").expect("made");
    }
    place.clear(&path("d"), &mut added).expect("cleared");
    for lower in ["d/lower", "d/kept/lower", "d/kept/sub/lower"] {
        assert!(!folder.path().join(lower).exists(), "{lower}");
        // Of no lower layer, so it stays: that nobody looks again is what is tested.
        fs::write(folder.path().join(lower), "").expect("made");
    }
    assert!(folder.path().join("d/kept/sub/x").exists());
    for again in ["d", "d/kept", "d/kept/sub", "d/none"] {
        place.clear(&path(again), &mut added).expect("cleared");
    }
    assert!(folder.path().join("d/kept/sub/lower").exists());
    place
        .clear(&path("d"), &mut Added::new(100))
        .expect("by the next layer");
    assert!(!folder.path().join("d/kept").exists());
}

#[test]
fn what_is_no_file_for_wasm_is_skipped_and_named() {
    let layer = tar(&[
        Entry::Fifo("pipe"),
        Entry::Device("dev/null"),
        Entry::File("a", b"x"),
    ]);
    let (folder, result) = unpack(&[layer]);
    let skipped = result.expect("unpacked");
    assert_eq!(
        (skipped.count, skipped.names),
        (2, vec!["pipe".to_owned(), "dev/null".to_owned()])
    );
    assert_eq!(listed(&folder), ["a=x"]);
}

#[test]
fn modes_are_kept_but_not_those_that_lock_us_out_or_raise_rights() {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (path, mode) in [("plain", 0o755), ("locked", 0o000), ("setuid", 0o4755)] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(mode);
        builder
            .append_data(&mut header, path, &[][..])
            .expect("in memory");
    }
    let (folder, result) = unpack(&[builder.into_inner().expect("in memory")]);
    result.expect("unpacked");
    for (path, wanted) in [("plain", 0o755), ("locked", 0o600), ("setuid", 0o755)] {
        let about = fs::metadata(folder.path().join("root").join(path)).expect("there");
        assert_eq!(about.permissions().mode() & 0o7777, wanted, "{path}");
    }
}

#[test]
fn long_names_of_both_forms_are_read() {
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, &long, &b"x"[..])
        .expect("in memory");
    // An attribute may have any bytes, a newline among them.
    let attribute = (
        "SCHILY.xattr.security.capability",
        &b"\x01\n9 path=x\n\0"[..],
    );
    let pax = [attribute, ("path", "from/pax".as_bytes())];
    builder.append_pax_extensions(pax).expect("in memory");
    builder
        .append_data(&mut header, "ignored", &b"y"[..])
        .expect("in memory");
    let (folder, result) = unpack(&[builder.into_inner().expect("in memory")]);
    result.expect("unpacked");
    let found = listed(&folder);
    assert!(found.contains(&format!("{long}=x")) && found.contains(&"from/pax=y".to_owned()));
}

#[test]
fn too_much_of_anything_is_refused() {
    let bounds = Bounds {
        files: 1000,
        entries: 20,
        ratio: 10,
        ratio_free: 4096,
    };
    let names: Vec<String> = (0..30).map(|number| format!("f{number}")).collect();
    let many: Vec<Entry<'_>> = names.iter().map(|name| Entry::File(name, b"")).collect();
    let cases = [
        (
            "bytes of files",
            tar(&[Entry::File("a", &[1; 600]), Entry::File("b", &[1; 600])]),
        ),
        ("entries", tar(&many)),
    ];
    for (what, layer) in cases {
        let wide = Bounds {
            ratio_free: 1 << 20,
            ..bounds
        };
        let (_folder, result) = unpack_within(&[layer], wide);
        let error = result.expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
    let zeros = gzip(&tar(&[Entry::File("zeros", &[0; 100_000])]));
    let wide = Bounds {
        files: 1 << 20,
        ..bounds
    };
    let result = unpack_one(&zeros, Compression::Gzip, None, wide);
    let error = result.expect_err("a bomb").to_string();
    assert!(error.contains("once decompressed"), "{error}");
    // A long name that is as long as it likes.
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::GNULongName);
    header.set_size(3 << 20);
    header.set_cksum();
    builder
        .append(&header, io::repeat(b'a').take(3 << 20))
        .expect("in memory");
    let (_folder, result) = unpack(&[builder.into_inner().expect("in memory")]);
    let error = result.expect_err("too long").to_string();
    assert!(error.contains("in an extension"), "{error}");
}

#[test]
fn directories_that_no_entry_names_count() {
    // Of two layers, each with few enough of its own.
    let layers = ["d/".repeat(15), "e/".repeat(15)];
    let layers = layers.map(|path| tar(&[Entry::Directory(&path)]));
    for (entries, wanted) in [(30, true), (29, false)] {
        let bounds = Bounds {
            entries,
            ..Bounds::default()
        };
        let (_folder, result) = unpack_within(&layers, bounds);
        assert_eq!(result.is_ok(), wanted, "{result:?}");
        let error = result.err().map(|error| error.to_string());
        assert!(error.is_none_or(|error| error.contains("29 entries")));
    }
}

#[test]
fn links_do_not_make_a_tree_deeper_than_any() {
    let deep = "d/".repeat(200);
    let further = format!("l/{}", "e/".repeat(48));
    let link = deep.trim_end_matches('/').to_owned();
    let mut builder = ::tar::Builder::new(Vec::new());
    for (path, kind) in [
        (deep.as_str(), 'd'),
        ("l", 'l'),
        (further.as_str(), 'd'),
        ("m", 'm'),
    ] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        if kind == 'l' || kind == 'm' {
            header.set_entry_type(::tar::EntryType::Symlink);
            let target = if kind == 'l' {
                link.clone()
            } else {
                further.trim_end_matches('/').to_owned()
            };
            builder
                .append_link(&mut header, path, target)
                .expect("in memory");
        } else {
            header.set_entry_type(::tar::EntryType::Directory);
            builder
                .append_data(&mut header, path, &[][..])
                .expect("in memory");
        }
    }
    let mut header = ::tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o755);
    header.set_entry_type(::tar::EntryType::Directory);
    let path = format!("m/{}", "f/".repeat(40));
    builder
        .append_data(&mut header, path, &[][..])
        .expect("in memory");
    let (_folder, result) = unpack(&[builder.into_inner().expect("in memory")]);
    let error = result.expect_err("too deep").to_string();
    assert!(error.contains("deeper"), "{error}");
}

#[test]
fn zstd_frames_follow_each_other() {
    // A raw block: magic, header for a single segment of one byte, one last raw block.
    let frame = |byte: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, byte].to_vec();
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9].to_vec();
    let all = [frame(b'a'), skipped, frame(b'b')].concat();
    let mut text = String::new();
    let mut reader = decompress::reader(all.as_slice(), Compression::Zstd);
    reader.read_to_string(&mut text).expect("decompressed");
    assert_eq!(text, "ab");
    let mut reader = decompress::reader(&all[..15], Compression::Zstd);
    assert!(reader.read_to_string(&mut text).is_err(), "cut");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Headers with some of their bytes exchanged: an error or files below the root, no more.
    #[test]
    fn no_layer_panics_or_leaves_the_root(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        compression in 0_u8..3,
    ) {
        let mut layer = tar(&[
            Entry::Directory("a"),
            Entry::File("a/file", b"content"),
            Entry::Link("link", "a"),
            Entry::HardLink("hard", "a/file"),
            Entry::File("a/.wh.file", b""),
        ]);
        for (at, byte) in changes {
            let at = at.index(layer.len());
            layer[at] = byte;
        }
        let (layer, compression) = match compression {
            0 => (layer, Compression::None),
            1 => (gzip(&layer), Compression::Gzip),
            _ => (layer, Compression::Zstd),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a root");
        let bounds = Bounds { files: 1 << 20, entries: 1000, ratio: 100, ratio_free: 1 << 20 };
        let mut unpacker = Unpacker::new(&root, bounds).expect("an unpacker");
        let _ = unpacker.layer(layer.as_slice(), layer.len() as u64, compression, None);
        prop_assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    /// Any bytes at all.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let bounds = Bounds { files: 1 << 20, entries: 1000, ratio: 100, ratio_free: 1 << 20 };
            let _ = unpack_one(&bytes, compression, None, bounds);
        }
    }
}
