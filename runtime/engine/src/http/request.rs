//! One request: checked, given to a guest, answered.
//!
//! ```text
//! wait for a place ──> instance ──> handle ──┬─ head set ──> answer; the guest goes on in its own task
//!                                            ├─ ended without ──> 500
//!                                            ├─ head does not come ──> 504, the guest is ended
//!                                            └─ client gone ──> the guest goes on for a while
//! ```
//!
//! Until the head is set the guest runs inside the task of its connection, so that a short request
//! costs no further task. A request that has begun goes on even if its client leaves, since nobody
//! knows what it was in the middle of: as long as one whose answer is sent, and no longer than it had
//! for its answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use model::runtime::Exit;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

use super::activity::Busy;
use super::answer::{
    AnswerBody, Course, Head, Out, Uncut, drain, status_of, text, withhold, without_text,
};
use super::deadline::Upload;
use super::instances::{self, Serving};
use super::length::Measured;
use super::limits;
use super::patience::PatientBody;
use super::server::{Admitted, Server};
use super::watched::RequestBody;
use crate::account::OOM_KILLED;
use crate::instance::failed;

/// A guest at its request: whether it was done.
type Guest = Pin<Box<dyn Future<Output = bool> + Send>>;

/// What comes of a guest first.
enum Came {
    Head(Option<Head>),
    /// It has ended, well or not.
    End {
        well: bool,
        head: Option<Head>,
    },
}

/// A guest at its request, with its place among those that are answered at once. Dropped before it
/// is done, it goes on in a task of its own.
struct Running {
    server: Arc<Server>,
    asked: Arc<Asked>,
    course: Arc<Course>,
    guest: Option<(Guest, Admitted)>,
}

/// What was asked, for the log.
struct Asked {
    method: Method,
    uri: Uri,
}

impl Server {
    /// Answers a request.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<RequestBody>,
        busy: Busy,
    ) -> Response<AnswerBody> {
        let is_head = request.method() == Method::HEAD;
        let answer = self.answer_in_full(request, busy).await;
        if is_head {
            without_text(answer)
        } else {
            answer
        }
    }

    async fn answer_in_full(
        self: Arc<Self>,
        mut request: Request<RequestBody>,
        busy: Busy,
    ) -> Response<AnswerBody> {
        if let Err(why) = check(&mut request) {
            return text(StatusCode::BAD_REQUEST, why, busy);
        }
        let place = match self.place().await {
            Ok(place) => place,
            Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, why, busy),
        };
        let course = Arc::new(Course::new(busy.pace()));
        let (mut running, head) = Running::begin(self, request, place, course);
        let Some(came) = running.come(head).await else {
            running.end("no answer came in time").await;
            let why = "the component did not answer in time";
            return text(StatusCode::GATEWAY_TIMEOUT, why, busy);
        };
        let (head, well) = match came {
            Came::Head(mut head) => {
                let withheld = running.withhold(&mut head);
                running.go_on(withheld);
                (head, true)
            }
            Came::End { well, mut head } => {
                drop(running.withhold(&mut head));
                (head, well)
            }
        };
        // What a guest that has failed began to say is not begun to be sent.
        let head = match head.filter(|_| well) {
            Some(Ok(answer)) if answer.status().is_informational() => {
                running.log("it answered with a status of 1xx").await;
                let why = "a status of 1xx is no answer".to_owned();
                Some(Err(Error::InternalError(Some(why))))
            }
            head => head,
        };
        if !matches!(head, Some(Ok(_))) {
            running.course.has_no_body();
        }
        match head {
            Some(Ok(head)) => {
                let course = Arc::clone(&running.course);
                let head = running.measured(head);
                head.map(|body| AnswerBody::of_guest(body, course, busy))
            }
            Some(Err(error)) => {
                let why = format!("the component gives no answer: {error}");
                text(status_of(&error), &why, busy)
            }
            None if well => {
                running.log("it ended without an answer").await;
                let why = "the component ended without an answer";
                text(StatusCode::INTERNAL_SERVER_ERROR, why, busy)
            }
            None => {
                let why = "the component failed; its container's log tells how";
                text(StatusCode::INTERNAL_SERVER_ERROR, why, busy)
            }
        }
    }

    /// A guest handles a request; whether it was done. What went wrong is told.
    async fn handle(
        self: Arc<Self>,
        asked: Arc<Asked>,
        request: Box<instances::Asked>,
        out: Out,
        course: Arc<Course>,
    ) -> bool {
        let handled = self.try_handle(request, out, course).await;
        let Err(error) = handled else {
            return true;
        };
        let exit = failed(&error);
        if exit.reason == OOM_KILLED {
            // As everywhere: the whole container ends, and this task with it.
            self.program().account.end_all(&exit);
        }
        self.log(&asked, &told(exit)).await;
        false
    }

    async fn try_handle(
        &self,
        request: Box<instances::Asked>,
        out: Out,
        course: Arc<Course>,
    ) -> wasmtime::Result<()> {
        let mut instance: Serving = self.instance().await?;
        // Dropped before the instance is, in whichever way this ends: the body of its answer, which
        // ends with it, is then known not to be whole.
        let mut uncut = Uncut::new(Arc::clone(&course));
        let handled = instance.handle(request, out, course.pace()).await;
        self.learn(&instance);
        handled?;
        uncut.keep();
        self.instances().give_back(instance);
        Ok(())
    }

    /// A line of the container's standard error.
    async fn log(&self, asked: &Asked, what: &str) {
        self.tell(asked.line(what)).await;
    }
}

// === impl Asked ===

impl Asked {
    /// What is said of it.
    fn line(&self, what: &str) -> String {
        let Self { method, uri } = self;
        let mut target = uri.to_string();
        target.truncate(target.floor_char_boundary(limits::TARGET_IN_LOG));
        format!("{method} {target}: {what}\n")
    }
}

// === impl Running ===

impl Running {
    /// Gives the request to a guest, which does not run yet.
    fn begin(
        server: Arc<Server>,
        request: Request<RequestBody>,
        place: Admitted,
        course: Arc<Course>,
    ) -> (Self, oneshot::Receiver<Head>) {
        let asked = Arc::new(Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
        });
        // Behind a pointer, as each future on its way would hold it once more.
        let request = Box::new(request.map(|body| {
            let body = PatientBody::new(body, limits::STALLED).at_least(limits::UPLOAD);
            Upload::new(body, Arc::clone(&course))
        }));
        let (out, head) = oneshot::channel();
        let guest =
            Arc::clone(&server).handle(Arc::clone(&asked), request, out, Arc::clone(&course));
        let running = Self {
            server,
            asked,
            course,
            guest: Some((Box::pin(guest), place)),
        };
        (running, head)
    }

    /// Runs the guest until there is a head, or it has ended; nothing if that takes too long.
    async fn come(&mut self, mut head: oneshot::Receiver<Head>) -> Option<Came> {
        let course = Arc::clone(&self.course);
        let comes = poll_fn(|cx| {
            if let Some((guest, _)) = &mut self.guest
                && let Poll::Ready(well) = guest.as_mut().poll(cx)
            {
                self.guest = None;
                let head = head.try_recv().ok();
                return Poll::Ready(Came::End { well, head });
            }
            let head = std::task::ready!(Pin::new(&mut head).poll(cx));
            // Without one the guest has let go of the request and runs on all the same.
            Poll::Ready(Came::Head(head.ok()))
        });
        tokio::select! {
            biased;
            came = comes => Some(came),
            () = course.deadline().passed() => None,
        }
    }

    /// Keeps back the body of an answer that shall have none.
    fn withhold(&self, head: &mut Option<Head>) -> Option<WasiBody> {
        match head {
            Some(Ok(answer)) => withhold(answer, &self.asked.method),
            _ => None,
        }
    }

    /// An answer whose body is held against the length that its head declares.
    fn measured(&self, answer: Response<WasiBody>) -> Response<Measured> {
        let (head, body) = answer.into_parts();
        let (server, asked) = (Arc::clone(&self.server), Arc::clone(&self.asked));
        let course = Arc::clone(&self.course);
        let body = Measured::new(body, &head.headers, move |length| {
            // Why there is less of it has been told.
            if !course.is_cut() {
                let what = "its answer's body is not as long as its Content-Length says";
                server.tell_beside(asked.line(&format!("{what}, {length} bytes")));
            }
        });
        Response::from_parts(head, body)
    }

    /// Ends the guest.
    async fn end(&mut self, why: &str) {
        self.guest = None;
        self.log(&format!("{why}: it is ended")).await;
    }

    /// Has the guest go on in a task of its own until it ends, or for so long after its answer. A
    /// body that was withheld is taken from it there. One that its client does not take is gone
    /// when its connection is cut for that.
    fn go_on(&mut self, withheld: Option<WasiBody>) {
        let Some((mut guest, place)) = self.guest.take() else {
            return;
        };
        let (server, asked) = (Arc::clone(&self.server), Arc::clone(&self.asked));
        let course = Arc::clone(&self.course);
        self.server.tasks().spawn(async move {
            let _place = place;
            let late = async {
                match withheld {
                    Some(body) => drain(body).await,
                    None => course.body_gone().await,
                }
                tokio::time::sleep(limits::AFTERWARDS).await;
            };
            tokio::select! {
                biased;
                _ = &mut guest => return,
                () = late => {}
            }
            drop(guest);
            let why = "it went on for too long after its answer: it is ended";
            server.log(&asked, why).await;
        });
    }

    async fn log(&mut self, what: &str) {
        self.server.log(&self.asked, what).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((mut guest, place)) = self.guest.take() else {
            return;
        };
        let (server, asked) = (Arc::clone(&self.server), Arc::clone(&self.asked));
        let until = self.course.deadline().at();
        let until = until.min(Instant::now() + limits::AFTERWARDS);
        self.server.tasks().spawn(async move {
            let _place = place;
            let ended = tokio::time::timeout_at(until, &mut guest).await;
            if ended.is_err() {
                drop(guest);
                let why = "no answer came in time, and its client has left: it is ended";
                server.log(&asked, why).await;
            }
        });
    }
}

/// How a request ended, for the log.
fn told(exit: Exit) -> String {
    if exit.message.is_empty() {
        format!("it ended itself with code {}", exit.code)
    } else {
        exit.message
    }
}

/// Makes sure that a guest finds one authority, which WASI wants every request to have.
///
/// # Errors
/// What is wrong with the request (RFC 9112, 3.2).
fn check<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        // Who routed it may have gone by the other one.
        return Err("there is more than one Host field");
    }
    if request.uri().authority().is_some() {
        return Ok(());
    }
    match host {
        Some(host) if Authority::try_from(host.as_bytes()).is_ok() => Ok(()),
        Some(_) => Err("the Host field names no host"),
        None if request.version() < Version::HTTP_11 => {
            let host = HeaderValue::from_static("localhost");
            request.headers_mut().insert(HOST, host);
            Ok(())
        }
        None => Err("the Host field is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_an_authority_or_is_too_old_to_need_one() {
        let request = |version, uri: &str, hosts: &[&[u8]]| {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            request.body(()).unwrap()
        };
        for (version, uri, hosts, good) in [
            (Version::HTTP_11, "/", &[&b"a:80"[..]][..], true),
            (Version::HTTP_11, "/", &[b"[::1]:80"], true),
            (Version::HTTP_11, "/", &[b"\xff"], false),
            (Version::HTTP_11, "/", &[b""], false),
            (Version::HTTP_11, "/", &[b"a/b"], false),
            (Version::HTTP_11, "/", &[b"a", b"a"], false),
            (Version::HTTP_11, "http://a/", &[b"a", b"b"], false),
            (Version::HTTP_11, "/", &[], false),
            (Version::HTTP_11, "http://a/", &[], true),
            (Version::HTTP_2, "http://a/", &[], true),
            (Version::HTTP_10, "/", &[], true),
        ] {
            let mut request = request(version, uri, hosts);
            assert_eq!(
                check(&mut request).is_ok(),
                good,
                "{version:?} {uri} {hosts:?}"
            );
            let known = request.uri().authority().is_some() || request.headers().contains_key(HOST);
            assert!(known || !good);
        }
    }
}
