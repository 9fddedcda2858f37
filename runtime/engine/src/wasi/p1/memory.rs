//! One call from a guest, and its memory: every pointer is checked before it is used.
//!
//! A pointer that leads out of the memory is EFAULT, as from a system call. Alignment is not
//! asked for. A guest's memory never shrinks and nobody else runs in it, so what was checked when
//! a call began still holds after it has waited.

use std::collections::VecDeque;
use std::ops::Range;

use wasmtime::{Caller, Extern, Memory};

use super::State;
use super::abi::IOVEC;
use super::descriptors::Descriptors;
use super::errno::Errno;
use crate::guest::Guest;

/// The most buffers that one call names: Linux' IOV_MAX.
const MAX_BUFFERS: u32 = 1024;

/// The most bytes that one call reads or writes: what Linux transfers at most. Buffers may overlap,
/// so their sum is not bounded by the memory.
const MAX_TRANSFER: usize = 0x7fff_f000;

/// The longest path, in bytes: Linux' PATH_MAX.
const MAX_PATH: u32 = 4096;

/// A call that is being answered.
pub(super) struct Call<'a> {
    caller: Caller<'a, Guest>,
    memory: Memory,
}

/// The buffers of a read or a write, consumed from the front.
#[derive(Debug)]
pub(super) struct Buffers {
    parts: VecDeque<Range<usize>>,
    left: usize,
}

/// Pointer and count of an iovec array.
pub(super) type Iovecs = (u32, u32);

/// What a guest gets for the result of a call: 0, or the error's number.
pub(super) fn answer(result: Result<(), Errno>) -> wasmtime::Result<u32> {
    Ok(result.err().map_or(0, |errno| u32::from(errno.number())))
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Errors: a module without a memory cannot make calls that point into it, which traps.
    pub(super) fn new(mut caller: Caller<'a, Guest>) -> wasmtime::Result<Self> {
        match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(Self { caller, memory }),
            _ => Err(wasmtime::format_err!(
                "the module calls WASI preview 1 and exports no memory named `memory`"
            )),
        }
    }

    pub(super) fn guest(&mut self) -> &mut Guest {
        self.caller.data_mut()
    }

    /// The guest's descriptors.
    pub(super) fn table(&mut self) -> &mut Descriptors {
        let Guest {
            p1: State { start, descriptors },
            files,
            ..
        } = self.caller.data_mut();
        descriptors.get_or_insert_with(|| Descriptors::new(start, files.table.root()))
    }

    /// The whole memory, and everything else.
    pub(super) fn split(&mut self) -> (&mut [u8], &mut Guest) {
        self.memory.data_and_store_mut(&mut self.caller)
    }

    /// Runs a file call where it may block.
    pub(super) async fn blocking<T, F>(&mut self, call: F) -> Result<T, Errno>
    where
        F: FnOnce() -> Result<T, volume::FsError> + Send + 'static,
        T: Send + 'static,
    {
        Ok(self.guest().files.call(call).await?)
    }

    /// Whether the guest may name these bytes.
    pub(super) fn check(&self, at: u32, length: u32) -> Result<(), Errno> {
        self.bytes(at, length).map(drop)
    }

    pub(super) fn bytes(&self, at: u32, length: u32) -> Result<&[u8], Errno> {
        self.memory
            .data(&self.caller)
            .get(range(at, length)?)
            .ok_or(Errno::Fault)
    }

    pub(super) fn bytes_mut(&mut self, at: u32, length: u32) -> Result<&mut [u8], Errno> {
        self.part_mut(range(at, length)?)
    }

    pub(super) fn part(&self, part: Range<usize>) -> Result<&[u8], Errno> {
        self.memory.data(&self.caller).get(part).ok_or(Errno::Fault)
    }

    pub(super) fn part_mut(&mut self, part: Range<usize>) -> Result<&mut [u8], Errno> {
        self.memory
            .data_mut(&mut self.caller)
            .get_mut(part)
            .ok_or(Errno::Fault)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Overflow)?;
        self.bytes_mut(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a `size`.
    pub(super) fn write_size(&mut self, at: u32, size: usize) -> Result<(), Errno> {
        let size = u32::try_from(size).map_err(|_| Errno::Overflow)?;
        self.write(at, &size.to_le_bytes())
    }

    /// A path, which is UTF-8 without NUL.
    pub(super) fn path(&self, at: u32, length: u32) -> Result<String, Errno> {
        if length > MAX_PATH {
            return Err(Errno::Nametoolong);
        }
        let path = std::str::from_utf8(self.bytes(at, length)?).map_err(|_| Errno::Ilseq)?;
        if path.contains('\0') {
            return Err(Errno::Inval);
        }
        Ok(path.to_owned())
    }

    /// The buffers that an iovec array names, all of them inside the memory.
    pub(super) fn buffers(&self, (at, count): Iovecs) -> Result<Buffers, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        let length = count.saturating_mul(u32::try_from(IOVEC).unwrap_or(u32::MAX));
        let mut buffers = Buffers {
            parts: VecDeque::new(),
            left: 0,
        };
        let (iovecs, _) = self.bytes(at, length)?.as_chunks::<IOVEC>();
        for [a, b, c, d, e, f, g, h] in iovecs {
            let part = range(
                u32::from_le_bytes([*a, *b, *c, *d]),
                u32::from_le_bytes([*e, *f, *g, *h]),
            )?;
            self.part(part.clone())?;
            buffers.push(part);
        }
        Ok(buffers)
    }
}

// === impl Buffers ===

impl Buffers {
    /// Bytes that they still hold.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// What of the first one is left; empty at the end.
    pub(super) fn front(&self) -> Range<usize> {
        self.parts.front().cloned().unwrap_or_default()
    }

    /// So many bytes are done.
    pub(super) fn advance(&mut self, mut done: usize) {
        self.left = self.left.saturating_sub(done);
        while let Some(front) = self.parts.front_mut() {
            if done < front.len() {
                front.start += done;
                return;
            }
            done -= front.len();
            self.parts.pop_front();
        }
    }

    /// A copy of the next bytes, `most` at most; they count as done only with
    /// [`Buffers::advance`].
    pub(super) fn gather(&self, memory: &[u8], most: usize) -> Vec<u8> {
        let mut gathered = Vec::with_capacity(most.min(self.left));
        for part in &self.parts {
            let bytes = memory.get(part.clone()).unwrap_or_default();
            let room = most - gathered.len();
            gathered.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            if gathered.len() == most {
                break;
            }
        }
        gathered
    }

    /// Puts bytes into the next buffers; what does not fit is left out.
    pub(super) fn scatter(&mut self, memory: &mut [u8], mut bytes: &[u8]) {
        while let Some((now, later)) = bytes.split_at_checked(self.front().len().min(bytes.len())) {
            if now.is_empty() {
                return;
            }
            let start = self.front().start;
            if let Some(place) = memory.get_mut(start..start + now.len()) {
                place.copy_from_slice(now);
            }
            self.advance(now.len());
            bytes = later;
        }
    }

    /// Adds a buffer, shortened where the call would transfer too much.
    fn push(&mut self, part: Range<usize>) {
        let length = part.len().min(MAX_TRANSFER - self.left);
        if length > 0 {
            self.left += length;
            self.parts.push_back(part.start..part.start + length);
        }
    }
}

/// The addresses of `length` bytes at a pointer. Where there are none the pointer may be anything.
fn range(at: u32, length: u32) -> Result<Range<usize>, Errno> {
    if length == 0 {
        return Ok(0..0);
    }
    let start = usize::try_from(at).map_err(|_| Errno::Fault)?;
    let length = usize::try_from(length).map_err(|_| Errno::Fault)?;
    Ok(start..start.checked_add(length).ok_or(Errno::Fault)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(parts: &[Range<usize>]) -> Buffers {
        let mut buffers = Buffers {
            parts: VecDeque::new(),
            left: 0,
        };
        for part in parts {
            buffers.push(part.clone());
        }
        buffers
    }

    #[test]
    fn buffers_are_consumed_in_order_and_empty_ones_skipped() {
        let memory: Vec<u8> = (0..16).collect();
        let mut buffers = buffers(&[0..2, 5..5, 8..12]);
        assert_eq!(buffers.left(), 6);
        for (most, gathered) in [
            (1, vec![0]),
            (3, vec![0, 1, 8]),
            (100, vec![0, 1, 8, 9, 10, 11]),
        ] {
            assert_eq!(buffers.gather(&memory, most), gathered);
        }
        buffers.advance(3);
        assert_eq!((buffers.front(), buffers.left()), (9..12, 3));
        buffers.advance(3);
        assert_eq!((buffers.front(), buffers.left()), (0..0, 0));
        assert!(buffers.gather(&memory, 100).is_empty());
    }

    #[test]
    fn bytes_are_scattered_over_the_buffers() {
        let mut memory = [0; 8];
        let mut buffers = buffers(&[6..8, 0..3]);
        buffers.scatter(&mut memory, &[1]);
        buffers.scatter(&mut memory, &[2, 3, 4, 5, 99]);
        assert_eq!(memory, [3, 4, 5, 0, 0, 0, 1, 2]);
        assert_eq!(buffers.left(), 0);
    }

    #[test]
    fn a_transfer_is_cut_at_linux_limit() {
        let buffers = buffers(&[0..MAX_TRANSFER - 1, 0..100, 0..100]);
        assert_eq!(buffers.left(), MAX_TRANSFER);
        assert_eq!(buffers.parts.len(), 2);
    }
}
