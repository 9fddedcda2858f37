//! Every structure against its layout in the witx files.

use volume::MetadataHash;

use super::*;

#[test]
fn fdstat_has_its_fields_in_place() {
    let stat = FdStat {
        file_type: FileType::Directory,
        flags: 0x0102,
        rights: 0x1122_3344,
        inheriting: 0x5566,
    };
    let mut expected = [0; 24];
    expected[0] = 3;
    expected[2..4].copy_from_slice(&[0x02, 0x01]);
    expected[8..12].copy_from_slice(&[0x44, 0x33, 0x22, 0x11]);
    expected[16..18].copy_from_slice(&[0x66, 0x55]);
    assert_eq!(stat.pack(), expected);
}

#[test]
fn filestat_has_its_fields_in_place() {
    let stat = Stat {
        kind: FileKind::SymbolicLink,
        link_count: 2,
        size: 3,
        accessed: Timestamp {
            seconds: 1,
            nanoseconds: 5,
        },
        modified: Timestamp {
            seconds: -1,
            nanoseconds: 0,
        },
        changed: Timestamp {
            seconds: i64::MAX,
            nanoseconds: 0,
        },
        identity: MetadataHash {
            lower: 9,
            upper: 10,
        },
    };
    let packed = pack_stat(&stat);
    let (words, _) = packed.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    assert_eq!(words, [DEVICE, 9, 7, 2, 3, 1_000_000_005, 0, u64::MAX]);
}

#[test]
fn dirent_and_prestat_have_their_fields_in_place() {
    let dirent = pack_dirent(7, 9, "name", FileType::RegularFile);
    assert_eq!(
        dirent,
        [
            7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0
        ]
    );
    let directory = pack_prestat(PreopenType::Directory, 1);
    assert_eq!(directory, [0, 0, 0, 0, 1, 0, 0, 0]);
    let listener = pack_prestat(PreopenType::Listener, 0);
    assert_eq!(listener, [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn subscriptions_are_read() {
    let mut clock = [0; SUBSCRIPTION];
    clock[0] = 5;
    clock[16] = 1;
    clock[24..32].copy_from_slice(&1_000_u64.to_le_bytes());
    clock[32] = 77;
    let relative = SubscribedTo::Clock {
        id: 1,
        timeout: 1000,
        absolute: false,
    };
    let absolute = SubscribedTo::Clock {
        id: 1,
        timeout: 1000,
        absolute: true,
    };
    let cases: [(&[(usize, u8)], _); 5] = [
        (&[], Ok(relative)),
        (&[(40, 1)], Ok(absolute)),
        (&[(8, 1), (16, 4)], Ok(SubscribedTo::Read(4))),
        (&[(8, 2), (16, 6)], Ok(SubscribedTo::Write(6))),
        (&[(8, 3)], Err(Errno::Inval)),
    ];
    for (changes, expected) in cases {
        let mut bytes = clock;
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        let expected = expected.map(|to| Subscription { userdata: 5, to });
        assert_eq!(Subscription::unpack(&bytes), expected);
    }
}

#[test]
fn events_have_their_fields_in_place() {
    let event = Event {
        userdata: 3,
        error: Some(Errno::Badf),
        of: SubscribedTo::Write(1),
        bytes: 513,
        flags: HANGUP,
    };
    let mut expected = [0; EVENT];
    expected[0] = 3;
    expected[8] = 8;
    expected[10] = 2;
    expected[16..18].copy_from_slice(&[1, 2]);
    expected[24] = 1;
    assert_eq!(event.pack(), expected);
}

#[test]
fn rights_are_the_bits_that_programs_expect() {
    // What the conformance tests want of a preopened directory, and of what is opened below it.
    assert_eq!(rights::DIRECTORY & !rights::FD_SYNC, 0x07b7_fe00);
    assert_eq!(rights::FILE & !rights::DIRECTORY, 0x0840_01ef);
    assert_eq!(
        rights::DIRECTORY & (rights::FD_SEEK | rights::FD_FILESTAT_SET_SIZE),
        0
    );
    assert_eq!(rights::FILE & rights::WRITING, rights::WRITING);
}
