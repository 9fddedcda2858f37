//! An archive that is compressed: read as it comes, and no more than its size explains.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::decompress;
use crate::limits;
use crate::manifest::media::Compression;

/// What comes out of a compressed archive. It may come from a pipe, so its size is what was read of
/// it until now.
pub(super) struct Bounded<'a> {
    inner: Box<dyn Read + 'a>,
    taken: Rc<Cell<u64>>,
    given: u64,
    /// What any archive may have, whatever its ratio.
    free: u64,
}

struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

// === impl Bounded ===

impl<'a> Bounded<'a> {
    pub(super) fn new(reader: impl Read + 'a, compression: Compression) -> Self {
        let taken = Rc::new(Cell::new(0));
        let inner = Counted {
            inner: reader,
            taken: Rc::clone(&taken),
        };
        Self {
            inner: decompress::reader(inner, compression),
            taken,
            given: 0,
            free: limits::RATIO_FREE,
        }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given = self.given.saturating_add(read as u64);
        let explained = self.taken.get().saturating_mul(limits::RATIO);
        let limit = explained.max(self.free).min(limits::IMAGE);
        match self.given > limit {
            true => Err(io::Error::other(format!(
                "it has more than {limit} bytes once decompressed, for its size"
            ))),
            false => Ok(read),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken.set(self.taken.get().saturating_add(read as u64));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gzip, zstd};

    #[test]
    fn zeros_without_end_are_refused() {
        let mut zeros = Vec::new();
        for _ in 0..64 {
            // A block of 128 KiB that says one byte.
            zeros.extend(zstd(&[0; 128 << 10]));
        }
        let archives = [
            (Compression::Gzip, gzip(b"content"), gzip(&vec![0; 8 << 20])),
            (Compression::Zstd, zstd(b"content"), zeros),
        ];
        for (compression, small, zeros) in archives {
            let mut text = String::new();
            let read = Bounded::new(small.as_slice(), compression).read_to_string(&mut text);
            assert_eq!((read.ok(), text.as_str()), (Some(7), "content"));
            for (free, wanted) in [(1 << 10, false), (8 << 20, true)] {
                let mut reader = Bounded::new(zeros.as_slice(), compression);
                reader.free = free;
                let copied = io::copy(&mut reader, &mut io::sink());
                assert_eq!(copied.is_ok(), wanted, "{copied:?}");
            }
        }
    }
}
