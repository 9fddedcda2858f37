//! Bodies: bounded where they are kept, streamed where they are large, never waited for in vain.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, timeout_at};

use super::RegistryError;
use super::connect::Body;
use super::target::Url;
use crate::aside::aside;
use crate::limits;

/// How much of a file is read at once, in bytes.
const CHUNK: usize = 128 << 10;

/// A body that is read as it comes.
pub(crate) struct Download {
    body: Incoming,
    url: String,
    /// Since when less than [`limits::PACE`] came.
    since: Instant,
    came: u64,
}

/// A file on its way out, read by a thread that may wait.
struct Upload {
    chunks: Receiver<io::Result<Bytes>>,
    left: u64,
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body in memory.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A file as a body of this size.
pub(super) async fn file(path: &Path, size: u64) -> io::Result<Body> {
    let path = path.to_owned();
    let file = aside(move || File::open(path)).await?;
    let (sender, chunks) = channel(4);
    tokio::task::spawn_blocking(move || {
        let mut file = file.take(size);
        let mut buffer = vec![0; CHUNK];
        loop {
            let chunk = match file.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(
                    buffer.get(..read).unwrap_or_default(),
                )),
                Err(error) => Err(error),
            };
            let is_over = chunk.is_err();
            // Whoever sends it may have given up.
            if sender.blocking_send(chunk).is_err() || is_over {
                return;
            }
        }
    });
    Ok(Upload { chunks, left: size }.boxed_unsync())
}

/// A whole body, if it is no larger than this.
pub(super) async fn bounded(
    response: Response<Incoming>,
    limit: u64,
    url: &Url,
) -> Result<Bytes, RegistryError> {
    let mut download = Download::new(response, url);
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(RegistryError::Protocol {
                url: url.to_string(),
                why: format!("the answer is larger than {limit} bytes"),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

// === impl Download ===

impl Download {
    pub(super) fn new(response: Response<Incoming>, url: &Url) -> Self {
        Self {
            body: response.into_body(),
            url: url.to_string(),
            since: Instant::now(),
            came: 0,
        }
    }

    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// When the connection breaks, or too little comes.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let frame = timeout_at(self.since + limits::IDLE, self.body.frame()).await;
            let frame = frame.map_err(|_| RegistryError::Silent {
                url: self.url.clone(),
                after: limits::IDLE,
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| RegistryError::Broken {
                url: self.url.clone(),
                why: error.to_string(),
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.came += data.len() as u64;
            if self.came >= limits::PACE {
                self.came = 0;
                self.since = Instant::now();
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

// === impl Upload ===

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(context).map(|chunk| match chunk {
            Some(Ok(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(error)),
            None if self.left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
