//! Decompression, metered: how much came out, and what it hashes to.

use std::io::{self, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::manifest::media::Compression;

/// The longest frame that is skipped in zstd, in bytes: they carry tables of contents.
const SKIPPED_FRAME: u64 = 64 << 20;

/// More than is allowed, on its way through an error of the standard library.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("more than {limit} {what}")]
pub(super) struct OverLimit {
    pub(super) what: &'static str,
    pub(super) limit: u64,
}

/// A reader that counts and hashes what it gives, and ends with an error where it is too much.
pub(super) struct Meter<R> {
    inner: R,
    given: u64,
    limit: u64,
    hasher: Option<Hasher>,
}

/// zstd: frames, one after the other, some of which are to be skipped.
struct Zstd<R: Read> {
    state: Option<Frame<R>>,
}

enum Frame<R: Read> {
    Between(R),
    Inside(Box<Decoder<R>>),
}

/// What reads a frame, whose first bytes were read already.
type Decoder<R> = StreamingDecoder<io::Chain<io::Cursor<Vec<u8>>, R>, FrameDecoder>;

/// What a layer's tar is read from.
///
/// # Errors
/// None yet: what is wrong with it shows when it is read.
pub(super) fn reader<'a>(
    content: impl Read + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(io::BufReader::new(content)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(
            content,
        ))),
        Compression::Zstd => Box::new(Zstd {
            state: Some(Frame::Between(io::BufReader::new(content))),
        }),
    })
}

// === impl Meter ===

impl<R: Read> Meter<R> {
    /// Lets this many bytes through.
    pub(super) fn new(inner: R, limit: u64, algorithm: Option<Algorithm>) -> Self {
        Self {
            inner,
            given: 0,
            limit,
            hasher: algorithm.map(Hasher::new),
        }
    }

    /// The digest of all that came.
    pub(super) fn digest(self) -> Option<Digest> {
        self.hasher.map(Hasher::finish)
    }
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given = self.given.saturating_add(read as u64);
        if self.given > self.limit {
            return Err(io::Error::other(OverLimit {
                what: "bytes once decompressed, for their size",
                limit: self.limit,
            }));
        }
        if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buffer.get(..read)) {
            hasher.update(bytes);
        }
        Ok(read)
    }
}

// === impl Zstd ===

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state.take() {
                None => return Ok(0),
                Some(Frame::Between(rest)) => self.state = next_frame(rest)?,
                Some(Frame::Inside(mut decoder)) => {
                    let read = decoder.read(buffer)?;
                    if read > 0 {
                        self.state = Some(Frame::Inside(decoder));
                        return Ok(read);
                    }
                    // The decoder takes no more than its frame.
                    let (_, rest) = decoder.into_inner().into_inner();
                    self.state = Some(Frame::Between(rest));
                }
            }
        }
    }
}

/// The next frame that brings something; nothing at the end.
fn next_frame<R: Read>(mut rest: R) -> io::Result<Option<Frame<R>>> {
    loop {
        let mut magic = Vec::with_capacity(4);
        rest.by_ref().take(4).read_to_end(&mut magic)?;
        if magic.is_empty() {
            return Ok(None);
        }
        let Ok(number) = <[u8; 4]>::try_from(magic.as_slice()).map(u32::from_le_bytes) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if number & 0xffff_fff0 != 0x184d_2a50 {
            let frame = io::Cursor::new(magic).chain(rest);
            let decoder = StreamingDecoder::new(frame);
            let decoder =
                decoder.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            return Ok(Some(Frame::Inside(Box::new(decoder))));
        }
        let mut length = [0; 4];
        rest.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        if length > SKIPPED_FRAME {
            return Err(io::Error::other(OverLimit {
                what: "bytes in a skipped frame",
                limit: SKIPPED_FRAME,
            }));
        }
        let skipped = io::copy(&mut rest.by_ref().take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
