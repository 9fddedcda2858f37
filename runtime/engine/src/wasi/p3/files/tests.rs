//! Streams of files, one end to the other, as where a guest hands one to the host again.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use model::runtime::Limits;
use volume::{MountTable, OpenOptions, PodVolumes, RootSpec};
use wasmtime::Store;

use super::*;
use crate::account::Account;
use crate::config::{self, Allocation, Kind};
use crate::files::{FileCalls, PIECE};

/// A container's files over a folder, and what they are charged to.
fn files(folder: &tempfile::TempDir) -> (Files, Arc<Account>) {
    let account = Arc::new(Account::new(Limits {
        cpu_weight: 100,
        cpu_limit: None,
        memory: None,
        storage: None,
    }));
    let volumes = PodVolumes::new(folder.path().to_owned(), BTreeMap::new());
    let root = RootSpec {
        container: "guest".to_owned(),
        ..RootSpec::default()
    };
    let table = MountTable::new(&volumes, root, &[]).expect("a table");
    let files = Files::new(table, FileCalls::new(), Arc::clone(&account));
    (files, account)
}

fn open(files: &Files, path: &str) -> Node {
    let options = OpenOptions {
        read: true,
        write: true,
        create: true,
        ..OpenOptions::default()
    };
    let node = files.table.root().open_at(path, true, &options);
    node.expect("a file")
}

/// Both were told that all went well.
fn well() -> (String, String) {
    ("Ok(())".to_owned(), "Ok(())".to_owned())
}

/// Copies a file from an offset on, and tells what its reader and its writer were told.
async fn copy(
    files: &Files,
    from: &Node,
    offset: u64,
    to: (&Node, Position),
) -> wasmtime::Result<(String, String)> {
    let engine = config::engine(Kind::Async, Allocation::OnDemand)?;
    let mut store = Store::new(&engine, ());
    let (reading, read) = Teller::new();
    let (writing, written) = Teller::new();
    let source = FileSource::new(from.clone(), files.clone(), offset, reading);
    let sink = FileSink::new(to.0.clone(), files.clone(), to.1, writing);
    store
        .run_concurrent(async move |accessor| {
            accessor.with(|mut access| {
                let stream = StreamReader::new(&mut access, source)?;
                stream.pipe(&mut access, sink)
            })?;
            let told = (read.await?, written.await?);
            wasmtime::error::Ok((format!("{:?}", told.0), format!("{:?}", told.1)))
        })
        .await?
}

#[tokio::test]
async fn a_file_is_copied_whole_and_nothing_is_held_afterwards() -> wasmtime::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, account) = files(&folder);
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 17] {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let from = open(&files, "from");
        from.set_size(0).expect("empty");
        from.write_at(&content, 0).expect("written");
        for (offset, position, expected) in [
            (0, Position::At(0), content.clone()),
            (
                1,
                Position::At(0),
                content.get(1..).unwrap_or_default().to_vec(),
            ),
            (0, Position::End, [b"before", &*content].concat()),
            (0, Position::At(8), [b"before\0\0", &*content].concat()),
        ] {
            let to = open(&files, "to");
            to.set_size(0).expect("empty");
            if expected.starts_with(b"before") {
                to.write_at(b"before", 0).expect("written");
            }
            let told = copy(&files, &from, offset, (&to, position)).await?;
            assert_eq!(told, well(), "{length} from {offset}");
            let mut found = vec![0; expected.len() + 1];
            let read = (0..).try_fold(0, |at, _| match to.read_at(&mut found[at..], at as u64) {
                Ok(0) => Err(at),
                Ok(more) => Ok(at + more),
                Err(error) => panic!("{error}"),
            });
            let read = read.expect_err("an end");
            // Where nothing was copied, nothing was made longer either.
            let expected = if content.is_empty() && read < expected.len() {
                &expected[..read]
            } else {
                &expected[..]
            };
            assert!(found[..read] == *expected, "{length} from {offset}: {read}");
        }
        assert_eq!(account.stats().memory, 0, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_told_on_its_side() -> wasmtime::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, _) = files(&folder);
    let (from, to) = (open(&files, "from"), open(&files, "to"));
    from.write_at(b"content", 0).expect("written");
    let root = files.table.root();
    // A directory has no content to read, and none can be written to it.
    let told = copy(&files, &root, 0, (&to, Position::At(0))).await?;
    assert!(told.0.starts_with("Err") && told.1 == "Ok(())", "{told:?}");
    let told = copy(&files, &from, 0, (&root, Position::At(0))).await?;
    assert!(told.0 == "Ok(())" && told.1.starts_with("Err"), "{told:?}");
    let told = copy(&files, &from, u64::MAX, (&to, Position::At(0))).await?;
    assert!(told.0.contains("Invalid") && told.1 == "Ok(())", "{told:?}");
    assert!(fs::read_dir(folder.path()).is_ok());
    Ok(())
}
