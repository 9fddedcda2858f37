//! Streams whose file calls come to odd ends.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use model::runtime::Limits;
use volume::{MountTable, OpenOptions, Payer as _, PodVolumes, RootSpec};

use super::*;
use crate::account::Account;
use crate::files::FileCalls;

/// Whether the stream says that it is ready, asked once.
fn is_ready(stream: &mut FileWriter) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(stream.ready()).poll(&mut context).is_ready()
}

/// A writer of a container whose memory is used up, or not.
fn writer(folder: &tempfile::TempDir, is_over: bool) -> (FileWriter, Arc<Account>) {
    let account = Arc::new(Account::new(Limits {
        cpu_weight: 100,
        cpu_limit: None,
        memory: Some(1 << 20),
        storage: None,
    }));
    if is_over {
        assert!(account.take(2 << 20).is_err());
    }
    let volumes = PodVolumes::new(folder.path().to_owned(), BTreeMap::new());
    let root = RootSpec {
        container: "guest".to_owned(),
        ..RootSpec::default()
    };
    let table = MountTable::new(&volumes, root, &[]).expect("a table");
    let options = OpenOptions {
        write: true,
        create: true,
        ..OpenOptions::default()
    };
    let node = table.root().open_at("file", true, &options);
    let files = Files::new(table, FileCalls::new(), Arc::clone(&account));
    let writer = FileWriter::new(node.expect("a file"), files, Position::At(0));
    (writer, account)
}

/// A write that has ended so.
async fn ended(account: Arc<Account>, result: Result<u64, FsError>) -> Writing {
    let write = tokio::spawn(async move { result });
    while !write.is_finished() {
        tokio::task::yield_now().await;
    }
    Writing::Waiting(FileCall::new(write, account))
}

#[tokio::test]
async fn a_write_that_has_ended_its_guest_is_never_ready_however_often_it_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut stream, account) = writer(&folder, true);
    stream.state = ended(account, Err(FsError::InsufficientMemory)).await;
    for _ in 0..3 {
        assert!(!is_ready(&mut stream));
        assert!(matches!(stream.check_write(), Ok(0)));
        assert!(stream.flush().is_ok());
    }
}

#[tokio::test]
async fn a_write_that_has_failed_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for is_over in [true, false] {
        let (mut stream, account) = writer(&folder, is_over);
        stream.state = ended(account, Err(FsError::Io)).await;
        assert!(is_ready(&mut stream));
        assert!(matches!(
            stream.check_write(),
            Err(StreamError::LastOperationFailed(_))
        ));
        assert!(is_ready(&mut stream));
        assert!(matches!(stream.check_write(), Ok(PIECE)));
    }
}
