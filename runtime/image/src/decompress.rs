//! Decompression: gzip and zstd, read as they come. How much may come out, whoever reads decides.

use std::io::{self, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::manifest::media::Compression;

/// The longest frame that is skipped in zstd, in bytes: they carry tables of contents.
const SKIPPED_FRAME: u64 = 64 << 20;

/// How many bytes tell how something is compressed.
const MAGIC: u64 = 4;

/// More than is allowed, on its way through an error of the standard library.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("more than {limit} {what}")]
pub(crate) struct OverLimit {
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
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

/// What is in something that is compressed so. What is wrong with it shows when it is read.
pub(crate) fn reader<'a>(content: impl Read + 'a, compression: Compression) -> Box<dyn Read + 'a> {
    match compression {
        Compression::None => Box::new(io::BufReader::new(content)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(
            content,
        ))),
        Compression::Zstd => Box::new(Zstd {
            state: Some(Frame::Between(io::BufReader::new(content))),
        }),
    }
}

/// How something is compressed, told by its first bytes, and all of it.
///
/// # Errors
/// When its beginning cannot be read.
pub(crate) fn told<R: Read>(mut content: R) -> io::Result<(Compression, impl Read + use<R>)> {
    let mut start = Vec::new();
    content.by_ref().take(MAGIC).read_to_end(&mut start)?;
    let compression = told_by(&start);
    Ok((compression, io::Cursor::new(start).chain(content)))
}

/// How something is compressed that begins so.
fn told_by(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or one that is skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
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
