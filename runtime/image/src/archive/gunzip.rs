//! An archive that is compressed: read as it comes, and no more than its size explains.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::limits;

/// What comes out of gzip. The archive may come from a pipe, so its size is what was read of it.
pub(super) struct Gunzip<R> {
    inner: MultiGzDecoder<Counted<R>>,
    given: u64,
    /// What any archive may have, whatever its ratio.
    free: u64,
}

struct Counted<R> {
    inner: R,
    taken: u64,
}

// === impl Gunzip ===

impl<R: Read> Gunzip<R> {
    pub(super) fn new(reader: R) -> Self {
        let inner = Counted {
            inner: reader,
            taken: 0,
        };
        Self {
            inner: MultiGzDecoder::new(inner),
            given: 0,
            free: limits::RATIO_FREE,
        }
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given = self.given.saturating_add(read as u64);
        let explained = self.inner.get_ref().taken.saturating_mul(limits::RATIO);
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
        self.taken = self.taken.saturating_add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gzip;

    #[test]
    fn zeros_without_end_are_refused() {
        let small = gzip(b"content");
        let mut text = String::new();
        let read = Gunzip::new(small.as_slice()).read_to_string(&mut text);
        assert_eq!((read.ok(), text.as_str()), (Some(7), "content"));
        let zeros = gzip(&vec![0; 8 << 20]);
        for (free, wanted) in [(1 << 10, false), (8 << 20, true)] {
            let mut reader = Gunzip::new(zeros.as_slice());
            reader.free = free;
            let copied = io::copy(&mut reader, &mut io::sink());
            assert_eq!(copied.is_ok(), wanted, "{copied:?}");
        }
    }
}
