//! One connection of a server: hyper inside, its end decided here.
//!
//! ```text
//! serving ──drain──> no new stream for those of HTTP/2; answers of HTTP/1.1 say `Connection: close`
//!    │                  └──listener closed──> what runs is answered, and no more ──> end
//!    └─ nothing for IDLE ──> end
//! ```

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::answer::AnswerBody;
use super::limits;
use super::patience::Patient;
use super::server::{Phase, Server};
use super::tasks::Beside;

/// What a connection is doing.
#[derive(Debug)]
struct Activity {
    begun: Instant,
    /// Requests that are not answered to the end.
    requests: AtomicUsize,
    /// When the last was, in milliseconds since it began.
    idle_since: AtomicU64,
    /// A request of HTTP/2 has come.
    is_http2: AtomicBool,
    /// One has come now, to a server that drains.
    late: Notify,
}

/// A request that is not answered to the end; drop it then.
#[derive(Debug, Default)]
pub(super) struct Busy(Option<Arc<Activity>>);

/// How connections speak.
pub(super) fn builder(tasks: Beside) -> Builder<Beside> {
    let mut builder = Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE)
        .max_buf_size(limits::HEAD)
        .max_headers(limits::FIELDS_IN_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits::HEAD_LIST)
        .max_concurrent_streams(limits::STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_send_buf_size(limits::CHUNK)
        .keep_alive_interval(limits::PING)
        .keep_alive_timeout(limits::PING);
    builder
}

/// Serves a connection to its end.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream) {
    let activity = Arc::new(Activity::new());
    let mut phase = server.phase();
    let stream = TokioIo::new(Patient::new(stream, limits::STALLED));
    let service = {
        let (server, activity) = (Arc::clone(&server), Arc::clone(&activity));
        service_fn(move |request| {
            let busy = Busy::new(&activity, request_is_http2(&request));
            answer(Arc::clone(&server), request, busy)
        })
    };
    let mut connection = pin!(server.builder().serve_connection(stream, service));
    let mut is_ending = false;
    loop {
        tokio::select! {
            biased;
            // How it ended is the client's business: what went wrong inside has been told.
            _ = connection.as_mut() => return,
            () = activity.ends(&mut phase), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn request_is_http2(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2
}

async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
    busy: Busy,
) -> Result<Response<AnswerBody>, Infallible> {
    let is_http2 = request_is_http2(&request);
    if is_http2 && server.phase_now() != Phase::Serving {
        busy.is_late();
    }
    let mut answer = Arc::clone(&server).answer(request, busy).await;
    if !is_http2 && server.phase_now() != Phase::Serving {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    Ok(answer)
}

// === impl Activity ===

impl Activity {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            late: Notify::new(),
        }
    }

    /// Waits until the connection shall take no further request.
    async fn ends(&self, phase: &mut watch::Receiver<Phase>) {
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Closing => return,
                Phase::Draining if self.is_http2.load(Relaxed) => return,
                Phase::Serving | Phase::Draining => {}
            }
            let Some(until) = self.idle_until() else {
                return;
            };
            tokio::select! {
                changed = phase.changed() => if changed.is_err() { return },
                () = self.late.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// When it will have been idle for too long; none if it has.
    fn idle_until(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.requests.load(Relaxed) > 0 {
            return Some(now + limits::IDLE);
        }
        let since = self.begun + Duration::from_millis(self.idle_since.load(Relaxed));
        let until = since + limits::IDLE;
        (until > now).then_some(until)
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Busy ===

impl Busy {
    fn new(activity: &Arc<Activity>, is_http2: bool) -> Self {
        activity.requests.fetch_add(1, Relaxed);
        if is_http2 {
            activity.is_http2.store(true, Relaxed);
        }
        Self(Some(Arc::clone(activity)))
    }

    fn is_late(&self) {
        if let Some(activity) = &self.0 {
            activity.late.notify_one();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.idle_since.store(activity.milliseconds(), Relaxed);
            activity.requests.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_once_it_has_been_idle_or_its_server_closes() {
        let activity = Arc::new(Activity::new());
        let phases = watch::Sender::new(Phase::Serving);
        let begun = Instant::now();
        let busy = Busy::new(&activity, false);
        let mut phase = phases.subscribe();
        let (ends, work) = (activity.ends(&mut phase), async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(busy);
        });
        tokio::join!(ends, work);
        assert_eq!(begun.elapsed().as_secs(), 160);
        for (phase, is_http2, ends) in [
            (Phase::Draining, false, false),
            (Phase::Draining, true, true),
            (Phase::Closing, false, true),
        ] {
            let activity = Arc::new(Activity::new());
            let _busy = Busy::new(&activity, is_http2);
            phases.send_replace(phase);
            let moment = Duration::from_secs(1);
            let mut phase_of = phases.subscribe();
            let ended = tokio::time::timeout(moment, activity.ends(&mut phase_of)).await;
            assert_eq!(ended.is_ok(), ends, "{phase:?}, {is_http2}");
        }
    }
}
