//! Pieces of a file's content on their way between a guest and a disk.

use bytes::{Bytes, BytesMut};
use volume::{FsError, Node};

use super::{CALL, FileCall, Files};
use crate::account::Held;

/// The most that is read or written at once.
pub(crate) const PIECE: usize = 64 << 10;

/// What was read and is not yet the guest's. It counts as the guest's memory: one with ten
/// thousand streams could else have the host keep as many pieces.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Empty at the end of the file.
    pub(crate) bytes: Bytes,
    _held: Held,
}

/// Where a write goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Position {
    /// At this offset, which moves on.
    At(u64),
    /// At the end of the file, wherever that is by then.
    End,
}

// === impl Files ===

impl Files {
    /// Begins to read a piece: at most so many bytes, and at most [`PIECE`].
    pub(crate) fn read(&self, node: &Node, offset: u64, size: usize) -> FileCall<Piece> {
        let (node, size) = (node.clone(), size.min(PIECE));
        let held = self.hold(size + CALL);
        self.spawn(move || {
            let held = held?;
            let mut buffer = BytesMut::zeroed(size);
            let read = node.read_at(&mut buffer, offset)?;
            buffer.truncate(read);
            Ok(Piece {
                bytes: buffer.freeze(),
                _held: held,
            })
        })
    }

    /// Begins to write a piece, all of it, and moves the position on.
    pub(crate) fn write(
        &self,
        node: &Node,
        position: &mut Position,
        bytes: Bytes,
    ) -> FileCall<u64> {
        let (node, at) = (node.clone(), *position);
        let held = self.hold(bytes.len().saturating_add(CALL));
        if let Position::At(offset) = position {
            *offset = offset.saturating_add(bytes.len() as u64);
        }
        self.spawn(move || {
            let _held = held?;
            write_all(&node, at, &bytes)
        })
    }
}

/// Writes every byte, however short each single write is.
fn write_all(node: &Node, position: Position, bytes: &[u8]) -> Result<u64, FsError> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let more = match position {
            Position::At(offset) => node.write_at(rest, offset.saturating_add(written as u64))?,
            Position::End => node.append(rest)?,
        };
        if more == 0 {
            return Err(FsError::Io);
        }
        written += more;
    }
    Ok(written as u64)
}
