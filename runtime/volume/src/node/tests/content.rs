//! Content: reading, writing, sizes, and calls on the wrong thing.

use super::directory;
use crate::fixture::{CREATE, READ, WRITE, put};
use crate::{Advice, FsError};

#[test]
fn reads_and_writes_at_offsets() {
    let (_pod, at) = directory();
    let file = at.open_at("file", false, &CREATE).unwrap();
    assert_eq!(file.write_at(b"hello!", 0), Ok(6));
    assert_eq!(file.write_at(b"byeee", 0), Ok(5));
    assert_eq!(file.append(b" laters"), Ok(7));
    let mut buffer = [0; 32];
    for (offset, expected) in [(0, "byeee! laters"), (7, "laters"), (13, ""), (100, "")] {
        let read = file.read_at(&mut buffer, offset).unwrap();
        assert_eq!(&buffer[..read], expected.as_bytes());
    }
    assert_eq!(file.read_at(&mut [], 5), Ok(0));
    assert_eq!(file.write_at(b"x", 15), Ok(1));
    assert_eq!(file.read_at(&mut buffer, 12), Ok(4));
    assert_eq!(&buffer[..4], b"s\0\0x");
    for offset in [u64::MAX, u64::MAX - 40, 1 << 63] {
        assert_eq!(file.read_at(&mut buffer, offset), Err(FsError::Invalid));
        assert_eq!(file.write_at(b"x", offset), Err(FsError::Invalid));
    }
    file.sync().unwrap();
    file.sync_data().unwrap();
    at.sync().unwrap();
    at.sync_data().unwrap();
}

#[test]
fn sizes_change() {
    let (_pod, at) = directory();
    let file = at.open_at("file", false, &CREATE).unwrap();
    let other = at.open_at("file", false, &READ).unwrap();
    let size = || (file.stat().unwrap().size, other.stat().unwrap().size);
    file.set_size(42).unwrap();
    assert_eq!(size(), (42, 42));
    file.allocate(0, 100).unwrap();
    assert_eq!(size(), (100, 100));
    file.allocate(10, 10).unwrap();
    assert_eq!(size(), (100, 100), "never shorter");
    file.allocate(90, 20).unwrap();
    assert_eq!(size(), (110, 110));
    assert_eq!(file.set_size(u64::MAX), Err(FsError::FileTooLarge));
    assert_eq!(file.allocate(u64::MAX, 2), Err(FsError::FileTooLarge));
    assert_eq!(file.allocate(0, 0), Err(FsError::Invalid));
    for advice in [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ] {
        for (offset, len) in [(0, 0), (10, 50), (5000, 4096)] {
            assert_eq!(file.advise(offset, len, advice), Ok(()));
        }
    }
}

#[test]
fn calls_that_it_is_not_open_for() {
    let (_pod, at) = directory();
    put(&at, "file", "content");
    let reader = at.open_at("file", false, &READ).unwrap();
    let writer = at.open_at("file", false, &WRITE).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(reader.write_at(b"x", 0), Err(FsError::BadDescriptor));
    assert_eq!(reader.append(b"x"), Err(FsError::BadDescriptor));
    assert_eq!(reader.set_size(0), Err(FsError::BadDescriptor));
    assert_eq!(reader.allocate(0, 1), Err(FsError::BadDescriptor));
    assert_eq!(writer.read_at(&mut buffer, 0), Err(FsError::BadDescriptor));

    assert_eq!(at.read_at(&mut buffer, 0), Err(FsError::IsDirectory));
    assert_eq!(at.write_at(b"x", 0), Err(FsError::IsDirectory));
    assert_eq!(at.append(b"x"), Err(FsError::IsDirectory));
    assert_eq!(at.set_size(0), Err(FsError::BadDescriptor));
    assert_eq!(at.allocate(0, 1), Err(FsError::BadDescriptor));
    assert_eq!(at.advise(0, 0, Advice::Normal), Err(FsError::BadDescriptor));
}
