//! Streams that a file or a directory fills. Each call runs where it may block; a reader that does
//! not read asks for none.

use std::io::Write as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use volume::{FsError, Node};
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult, VecBuffer};
use wasmtime_wasi::p3::bindings::filesystem::types::{DirectoryEntry, ErrorCode};

use super::super::outcome::Teller;
use super::values;
use crate::account::Held;
use crate::files::{Entries, FileCall, Files, PIECE, Piece};

/// Entries that are handed out at once where nobody says how many are wanted.
const ENTRIES: usize = 64;

/// A file read from some offset on.
pub(super) struct FileSource {
    node: Node,
    files: Files,
    offset: u64,
    /// A read under way.
    reading: Option<FileCall<Piece>>,
    /// What it brought and the guest has not taken.
    piece: Option<Piece>,
    /// What stands between it and a host's end of the stream, where that has the other.
    between: Option<Held>,
    teller: Teller<ErrorCode>,
}

/// A directory's entries.
pub(super) struct DirectorySource {
    files: Files,
    listing: Reading,
    teller: Teller<ErrorCode>,
}

enum Reading {
    /// Not begun.
    Directory(Node),
    /// More entries are being read.
    Waiting(FileCall<Entries>),
    /// Some are read.
    Ready(Entries),
    /// What comes next cannot be read.
    Failed(FsError),
    /// There are no more.
    Ended,
}

/// Waits on, unless the guest wants its call back.
fn wait(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish {
        return Poll::Ready(Ok(StreamResult::Cancelled));
    }
    Poll::Pending
}

// === impl FileSource ===

impl FileSource {
    pub(super) fn new(node: Node, files: Files, offset: u64, teller: Teller<ErrorCode>) -> Self {
        Self {
            node,
            files,
            offset,
            reading: None,
            piece: None,
            between: None,
            teller,
        }
    }

    /// The next piece; none at the end of the file.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<Option<Piece>, FsError>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Ok(Some(piece)));
        }
        let (node, offset, files) = (&self.node, self.offset, &self.files);
        let reading = self
            .reading
            .get_or_insert_with(|| files.read(node, offset, wanted));
        let piece = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(piece.map(|piece| (!piece.bytes.is_empty()).then_some(piece)))
    }
}

impl<D> StreamProducer<D> for FileSource {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let own = self.get_mut();
        let wanted = match destination.remaining(&mut store) {
            // A file is always ready.
            Some(0) => return Poll::Ready(Ok(StreamResult::Completed)),
            Some(wanted) => wanted,
            None => {
                if own.between.is_none() {
                    own.between = Some(ready!(pin!(own.files.held(PIECE)).poll(cx)));
                }
                PIECE
            }
        };
        let mut piece = match own.poll_piece(cx, wanted) {
            Poll::Ready(Ok(Some(piece))) => piece,
            Poll::Ready(outcome) => {
                own.teller.tell(outcome.map(drop).map_err(values::code));
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
            Poll::Pending => return wait(finish),
        };
        let taken = destination.as_direct(store, wanted).write(&piece.bytes)?;
        piece.bytes.advance(taken);
        own.offset = own.offset.saturating_add(taken as u64);
        if !piece.bytes.is_empty() {
            own.piece = Some(piece);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

// === impl DirectorySource ===

impl DirectorySource {
    pub(super) fn new(directory: Node, files: Files, teller: Teller<ErrorCode>) -> Self {
        Self {
            files,
            listing: Reading::Directory(directory),
            teller,
        }
    }

    /// The next entries, at most so many; none at the end.
    fn poll_entries(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<Vec<DirectoryEntry>, FsError>> {
        loop {
            match std::mem::replace(&mut self.listing, Reading::Ended) {
                Reading::Directory(node) => self.listing = Reading::Waiting(self.files.list(&node)),
                Reading::Waiting(mut list) => match Pin::new(&mut list).poll(cx) {
                    Poll::Ready(entries) => {
                        let mut entries = entries?;
                        let (taken, failed) = take(&mut entries, wanted);
                        if taken.is_empty() {
                            return Poll::Ready(failed.map_or(Ok(taken), Err));
                        }
                        self.listing = Reading::after(entries, failed);
                        return Poll::Ready(Ok(taken));
                    }
                    Poll::Pending => {
                        self.listing = Reading::Waiting(list);
                        return Poll::Pending;
                    }
                },
                Reading::Ready(mut entries) => {
                    let (taken, failed) = take(&mut entries, wanted);
                    if taken.is_empty() && failed.is_none() {
                        self.listing = Reading::Waiting(self.files.list_on(entries));
                        continue;
                    }
                    self.listing = Reading::after(entries, failed);
                    if !taken.is_empty() {
                        return Poll::Ready(Ok(taken));
                    }
                }
                Reading::Failed(error) => return Poll::Ready(Err(error)),
                Reading::Ended => return Poll::Ready(Ok(Vec::new())),
            }
        }
    }
}

impl<D> StreamProducer<D> for DirectorySource {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, DirectoryEntry, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let own = self.get_mut();
        let wanted = destination.remaining(&mut store).unwrap_or(ENTRIES);
        if wanted == 0 {
            // A directory is always ready.
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match own.poll_entries(cx, wanted) {
            Poll::Ready(Ok(entries)) if !entries.is_empty() => {
                destination.set_buffer(entries.into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(outcome) => {
                own.teller.tell(outcome.map(drop).map_err(values::code));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Pending => wait(finish),
        }
    }
}

// === impl Reading ===

impl Reading {
    /// Once some entries were taken, and the next one could be read or could not.
    fn after(entries: Entries, failed: Option<FsError>) -> Self {
        failed.map_or(Self::Ready(entries), Self::Failed)
    }
}

/// Entries that are read, at most so many, and why no more, where the next one cannot be read.
fn take(entries: &mut Entries, wanted: usize) -> (Vec<DirectoryEntry>, Option<FsError>) {
    let mut taken = Vec::new();
    while taken.len() < wanted.min(ENTRIES) {
        match entries.next_read() {
            Some(Ok(entry)) => taken.push(DirectoryEntry {
                type_: values::kind(entry.kind),
                name: entry.name,
            }),
            Some(Err(error)) => return (taken, Some(error)),
            None => break,
        }
    }
    (taken, None)
}
