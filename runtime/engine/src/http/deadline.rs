//! How long a guest has until its answer begins.
//!
//! The clock begins anew with each piece that it takes of its request: what a client needs to send
//! a long one is not the guest's time. The client has a time of its own for each piece.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::answer::Course;
use super::limits;

/// A moment that may be put off.
#[derive(Debug)]
pub(super) struct Deadline(Mutex<Instant>);

/// The body of a request, each piece of which puts off the deadline of its answer.
pub(super) struct Upload<B> {
    body: B,
    course: Arc<Course>,
}

// === impl Deadline ===

impl Default for Deadline {
    fn default() -> Self {
        Self(Mutex::new(Instant::now() + limits::ANSWER))
    }
}

impl Deadline {
    /// When it is, as far as is known.
    pub(super) fn at(&self) -> Instant {
        *self.moment()
    }

    /// Waits until it has passed.
    pub(super) async fn passed(&self) {
        loop {
            let at = self.at();
            tokio::time::sleep_until(at).await;
            if self.at() <= at {
                return;
            }
        }
    }

    fn put_off(&self) {
        *self.moment() = Instant::now() + limits::ANSWER;
    }

    fn moment(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Upload ===

impl<B> Upload<B> {
    pub(super) fn new(body: B, course: Arc<Course>) -> Self {
        Self { body, course }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.course.deadline().put_off();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_piece_of_a_request_puts_off_the_deadline_of_its_answer() {
        let course = Arc::<Course>::default();
        let begun = Instant::now();
        let mut upload = Upload::new(Full::from("piece"), Arc::clone(&course));
        let taking = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            assert!(upload.frame().await.is_some());
        };
        tokio::join!(course.deadline().passed(), taking);
        assert_eq!(begun.elapsed(), limits::ANSWER + Duration::from_secs(40));
    }
}
