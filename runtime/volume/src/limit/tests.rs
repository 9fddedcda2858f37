//! The figures of a ledger against a small model of files, names and handles.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn refuses_only_growth_beyond_the_limit() {
    let ledger = Ledger::new(100);
    let now = Instant::now();
    let held = |bytes| move || Some(Measure { bytes, entries: 1 });
    for (held_bytes, growth, expected) in [
        (0, 100, true),
        (0, 101, false),
        (60, 40, true),
        (60, 41, false),
        (200, 0, true),
        (0, u64::MAX, false),
    ] {
        let mut books = Books::default();
        assert_eq!(
            ledger.admits(&mut books, growth, 0, now, held(held_bytes)),
            expected,
            "{held_bytes} + {growth}"
        );
    }
}

#[test]
fn entries_have_a_limit_of_their_own() {
    for (limit, entries) in [(0, 1024), (1 << 20, 1024), (1 << 30, 1 << 18)] {
        let ledger = Ledger::new(limit);
        let mut books = Books::default();
        let now = Instant::now();
        let mut made = 0;
        while ledger.admits(&mut books, 0, 1, now, || Some(Measure::default())) {
            books.entered();
            made += 1;
        }
        assert_eq!(made, entries, "{limit}");
        books.left();
        assert!(ledger.admits(&mut books, 0, 1, now, || None));
    }
}

#[test]
fn counts_anew_before_refusing_but_not_each_time() {
    let ledger = Ledger::new(100);
    let start = Instant::now();
    let counts = std::cell::Cell::new(0);
    let measure = |bytes| {
        counts.set(counts.get() + 1);
        Some(Measure { bytes, entries: 0 })
    };
    let mut books = Books::default();
    assert!(
        !ledger.admits(&mut books, 1, 0, start, || measure(100)),
        "full when first counted"
    );
    assert!(
        !ledger.admits(&mut books, 1, 0, start, || measure(0)),
        "too soon to look again"
    );
    assert_eq!(counts.get(), 1);
    assert!(ledger.admits(&mut books, 1, 0, start + RECOUNT_PAUSE * 2, || measure(0)));
    assert_eq!(counts.get(), 2);
    let (bytes, entries) = (LimitedResource::Bytes, LimitedResource::Entries);
    assert!(ledger.first_refusal(bytes) && !ledger.first_refusal(bytes));
    assert!(ledger.first_refusal(entries) && !ledger.first_refusal(entries));
}

/// What can happen to four files.
#[derive(Debug, Clone)]
enum Happening {
    Resize(u64, u64),
    Link(u64),
    Unlink(u64),
    Open(u64),
    Close(u64),
    Recount,
}

/// A file as the kernel would have it.
#[derive(Debug, Clone, Copy, Default)]
struct File {
    size: u64,
    names: u64,
    handles: u64,
}

fn happening() -> impl Strategy<Value = Happening> {
    let file = 0..4_u64;
    prop_oneof![
        (file.clone(), 0..1000_u64).prop_map(|(file, size)| Happening::Resize(file, size)),
        file.clone().prop_map(Happening::Link),
        file.clone().prop_map(Happening::Unlink),
        file.clone().prop_map(Happening::Open),
        file.prop_map(Happening::Close),
        Just(Happening::Recount),
    ]
}

fn happen(files: &mut BTreeMap<u64, File>, books: &mut Books, happening: &Happening) {
    match *happening {
        Happening::Resize(number, size) => {
            let file = files.entry(number).or_default();
            if file.names + file.handles > 0 {
                books.resized((0, number), (file.size, size), None);
                file.size = size;
            }
        }
        Happening::Link(number) => {
            let file = files.entry(number).or_default();
            // A file without names cannot get one again; without handles it is a new file.
            if file.names > 0 || file.handles == 0 {
                file.names += 1;
            }
        }
        Happening::Unlink(number) => {
            let file = files.entry(number).or_default();
            if file.names == 1 {
                books.unnamed((0, number), file.size);
            }
            file.names = file.names.saturating_sub(1);
        }
        Happening::Open(number) => {
            let file = files.entry(number).or_default();
            if file.names > 0 {
                file.handles += 1;
                books.opened((0, number), file.size, false);
            }
        }
        Happening::Close(number) => {
            let file = files.entry(number).or_default();
            if file.handles > 0 {
                file.handles -= 1;
                books.closed((0, number));
            }
        }
        Happening::Recount => {
            let bytes = files
                .values()
                .filter(|file| file.names > 0)
                .map(|file| file.size)
                .sum();
            books.recount(Instant::now(), || Some(Measure { bytes, entries: 0 }));
        }
    }
    files.retain(|_, file| file.names + file.handles > 0);
}

proptest! {
    #[test]
    fn bytes_are_those_of_files_with_a_name_or_a_handle(happenings in prop::collection::vec(happening(), 0..200)) {
        let mut files = BTreeMap::new();
        let mut books = Books::default();
        for one in &happenings {
            happen(&mut files, &mut books, one);
            let expected: u64 = files.values().map(|file| file.size).sum();
            prop_assert_eq!(books.bytes(), expected, "after {:?}", one);
        }
        prop_assert!(books.open.len() <= files.values().filter(|file| file.handles > 0).count());
    }
}

#[test]
fn a_file_opened_as_its_last_name_goes_is_counted() {
    let mut books = Books::default();
    books.resized((0, 1), (0, 10), None);
    // The open reached the kernel before the removal, but is entered after it.
    books.unnamed((0, 1), 10);
    books.opened((0, 1), 10, true);
    books.opened((0, 1), 10, true);
    assert_eq!(books.bytes(), 10);
    books.resized((0, 1), (10, 30), None);
    books.closed((0, 1));
    assert_eq!(books.bytes(), 30);
    books.closed((0, 1));
    assert_eq!(books.bytes(), 0);
}
