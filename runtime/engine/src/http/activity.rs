//! What a connection is doing, and so when it is to end.
//!
//! It is told of each request and looks at how the answers are taken; it ends nothing itself.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use net::{PeerEnd, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::limits;
use super::linger::Unread;
use super::pace::Pace;
use super::server::Phase;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Requests that are not answered to the end.
    open: Mutex<Vec<Arc<Pace>>>,
    /// When the last was, in milliseconds since it began.
    idle_since: AtomicU64,
    /// A request has come.
    is_asked: AtomicBool,
    /// A request of HTTP/2 has come.
    is_http2: AtomicBool,
    /// One has come now, to a server that drains.
    pub(super) late: Notify,
    /// When the client was found to have sent all that it sends.
    finished: OnceLock<Instant>,
    /// Whether the last of HTTP/1.1 was read to its end.
    pub(super) unread: Unread,
}

/// How a connection is to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Once what was asked is answered.
    Gently,
    /// Now: nobody waits for it, or its client takes nothing.
    Cut,
}

/// A request that is not answered to the end; drop it then.
#[derive(Debug, Default)]
pub(super) struct Busy {
    activity: Option<Arc<Activity>>,
    pace: Arc<Pace>,
    /// Who wants to hear of that.
    told: Option<oneshot::Sender<()>>,
}

// === impl Activity ===

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            open: Mutex::default(),
            idle_since: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            late: Notify::new(),
            finished: OnceLock::new(),
            unread: Unread::default(),
        }
    }

    /// Whether its client may still be sending what nobody reads. Over HTTP/2 it may go on.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.is_some() && !self.is_http2.load(Relaxed)
    }

    /// Where nothing is asked, hyper has taken what was not read of the last request: else it would
    /// have closed.
    pub(super) fn forget_unread(&self) {
        if self.idle_since().is_some() {
            self.unread.clear();
        }
    }

    /// Waits until the client has ended. hyper hears of it itself unless it answers over HTTP/1:
    /// then it does not read, since the client may have said all and wait.
    pub(super) async fn client_ends(&self, client: &TcpStream) -> PeerEnd {
        poll_fn(|cx| {
            let is_heard = self.is_http2.load(Relaxed) || self.open().is_empty();
            match is_heard {
                true => Poll::Pending,
                false => client.poll_peer_ended(cx),
            }
        })
        .await
    }

    /// The client has sent all that it sends.
    pub(super) fn finishes(&self) {
        // It was not before.
        let _ = self.finished.set(Instant::now());
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.get().is_some()
    }

    /// Waits until the connection shall take no further request, or, where it has been `ending`
    /// since then, until it shall not be waited for any longer.
    pub(super) async fn ends(
        &self,
        phase: &mut watch::Receiver<Phase>,
        ending: Option<Instant>,
    ) -> End {
        loop {
            let now = *phase.borrow_and_update();
            self.look_at_answers();
            let end = match ending {
                None => self.end(now),
                Some(since) => self.is_over(since).then_some(End::Cut),
            };
            if let Some(end) = end {
                return end;
            }
            tokio::select! {
                changed = phase.changed() => if changed.is_err() { return End::Cut },
                () = self.late.notified() => {}
                () = tokio::time::sleep_until(self.look_again(ending)) => {}
            }
        }
    }

    /// Whether one that serves shall end.
    fn end(&self, phase: Phase) -> Option<End> {
        if self.is_stalled() || self.is_forsaken() {
            return Some(End::Cut);
        }
        let is_called_off = match phase {
            Phase::Closing => true,
            Phase::Draining => self.is_http2.load(Relaxed),
            Phase::Serving => false,
        };
        let is_idle = self
            .idle_since()
            .is_some_and(|since| is_past(since + limits::IDLE));
        (is_called_off || is_idle).then_some(End::Gently)
    }

    /// Whether one that has been ending for so long shall be cut.
    fn is_over(&self, ending: Instant) -> bool {
        // Half of a head is no request, and hyper would wait for the other half. Where there was a
        // request before, it does not.
        let never_asked = !self.is_asked.load(Relaxed);
        // All is answered, but the client does not take what hyper still holds of it.
        let is_left = self
            .idle_since()
            .is_some_and(|since| is_past(since.max(ending) + limits::STALLED));
        never_asked || is_left || self.is_stalled() || self.is_forsaken()
    }

    /// Whether the client does not take one of its answers. Of HTTP/1.1 the stream tells, and
    /// knows of every byte.
    fn is_stalled(&self) -> bool {
        self.oldest_piece()
            .is_some_and(|since| is_past(since + limits::STALLED))
    }

    /// Whether the client, which may only have said all, or have left, has heard nothing of an
    /// answer for too long since.
    fn is_forsaken(&self) -> bool {
        self.longest_silence()
            .is_some_and(|since| is_past(since + limits::AFTERWARDS))
    }

    /// Gives up those answers that nobody would end.
    fn look_at_answers(&self) {
        for pace in self.open().iter() {
            pace.look();
        }
    }

    /// The first moment at which something may have to end of which nobody tells. What begins later
    /// than now is not due before.
    fn look_again(&self, ending: Option<Instant>) -> Instant {
        let due = match (self.idle_since(), ending) {
            (Some(since), None) => since + limits::IDLE,
            (Some(since), Some(ending)) => since.max(ending) + limits::STALLED,
            (None, _) => self.oldest_piece().unwrap_or_else(Instant::now) + limits::STALLED,
        };
        match self.is_finished() {
            true => {
                let silence = self.longest_silence().unwrap_or_else(Instant::now);
                due.min(silence + limits::AFTERWARDS)
            }
            false => due,
        }
    }

    /// Since when the client hears nothing of the answer that is silent for longest, where that
    /// counts: from its end on.
    fn longest_silence(&self) -> Option<Instant> {
        let finished = *self.finished.get()?;
        let open = self.open();
        let silences = open.iter().filter_map(|pace| pace.silent_since());
        silences.min().map(|since| since.max(finished))
    }

    /// Since when the piece that waits longest for the client waits, where that counts.
    fn oldest_piece(&self) -> Option<Instant> {
        let open = self.open();
        let counts = self.is_http2.load(Relaxed);
        let pieces = open.iter().filter_map(|pace| pace.untaken_since());
        pieces.min().filter(|_| counts)
    }

    /// Since when nothing is asked; none while something is.
    fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.open().is_empty();
        let since = Duration::from_millis(self.idle_since.load(Relaxed));
        is_idle.then(|| self.begun + since)
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Pace>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_past(moment: Instant) -> bool {
    moment <= Instant::now()
}

// === impl Busy ===

impl Busy {
    pub(super) fn new(activity: &Arc<Activity>, is_http2: bool) -> Self {
        let pace = Arc::<Pace>::default();
        activity.open().push(Arc::clone(&pace));
        activity.is_asked.store(true, Relaxed);
        if is_http2 {
            activity.is_http2.store(true, Relaxed);
        } else {
            activity.unread.clear();
        }
        Self {
            activity: Some(Arc::clone(activity)),
            pace,
            told: None,
        }
    }

    /// Tells when it is answered to the end, or given up.
    pub(super) fn end_told(&mut self) -> oneshot::Receiver<()> {
        let (told, end) = oneshot::channel();
        self.told = Some(told);
        end
    }

    /// How the answer is taken.
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            // Where the request was read to its end, nobody waits.
            let _ = told.send(());
        }
        if let Some(activity) = &self.activity {
            activity.idle_since.store(activity.milliseconds(), Relaxed);
            activity
                .open()
                .retain(|pace| !Arc::ptr_eq(pace, &self.pace));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::super::watched::{Leftover, Watched};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_once_it_has_been_idle_or_its_server_closes() {
        let activity = Arc::new(Activity::new());
        let phases = watch::Sender::new(Phase::Serving);
        let begun = Instant::now();
        let busy = Busy::new(&activity, false);
        let mut phase = phases.subscribe();
        let (ends, work) = (activity.ends(&mut phase, None), async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(busy);
        });
        assert_eq!(tokio::join!(ends, work).0, End::Gently);
        assert_eq!(begun.elapsed().as_secs(), 110);
        for (phase, is_http2, ends) in [
            (Phase::Draining, false, false),
            (Phase::Draining, true, true),
            (Phase::Closing, false, true),
        ] {
            let activity = Arc::new(Activity::new());
            let _busy = Busy::new(&activity, is_http2);
            let end = activity.end(phase);
            assert_eq!(end.is_some(), ends, "{phase:?}, {is_http2}");
        }
    }

    #[tokio::test]
    async fn what_was_not_read_of_a_request_counts_until_hyper_has_taken_it() {
        let activity = Arc::new(Activity::new());
        let unread = || {
            drop(Watched::new(
                Full::<Bytes>::from("x"),
                Leftover::Noted(activity.unread.clone()),
            ))
        };
        let busy = Busy::new(&activity, false);
        unread();
        activity.forget_unread();
        assert!(activity.is_unread(), "it is not answered yet");
        drop(busy);
        activity.forget_unread();
        assert!(!activity.is_unread(), "another could have been asked");
        unread();
        let busy = Busy::new(&activity, false);
        assert!(!activity.is_unread(), "another was asked");
        unread();
        drop((busy, Busy::new(&activity, true)));
        assert!(!activity.is_unread(), "of HTTP/2 it is a stream's business");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_holds_up_no_server_and_a_request_does() {
        let (activity, now) = (Arc::new(Activity::new()), Instant::now());
        assert!(activity.is_over(now));
        let busy = Busy::new(&activity, false);
        assert!(!activity.is_over(now));
        // What hyper has of its answer is still to be sent.
        drop(busy);
        assert!(!activity.is_over(now));
        tokio::time::advance(limits::STALLED).await;
        assert!(activity.is_over(now));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_or_half_is_heard_for_so_long() {
        let activity = Arc::new(Activity::new());
        let phases = watch::Sender::new(Phase::Serving);
        let (mut phase, begun) = (phases.subscribe(), Instant::now());
        assert_eq!(activity.ends(&mut phase, None).await, End::Gently);
        assert_eq!(begun.elapsed(), limits::IDLE);
        let ends = activity.ends(&mut phase, Some(Instant::now()));
        assert_eq!(ends.await, End::Cut);
        assert_eq!(begun.elapsed(), limits::IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_http2_that_is_not_taken_cuts_its_connection() {
        for (is_http2, ending) in [(true, false), (true, true), (false, false)] {
            let activity = Arc::new(Activity::new());
            let phases = watch::Sender::new(Phase::Serving);
            let mut phase = phases.subscribe();
            let (taken, untaken) = (
                Busy::new(&activity, is_http2),
                Busy::new(&activity, is_http2),
            );
            taken.pace().awaited();
            untaken.pace().given();
            let begun = Instant::now();
            let ends = activity.ends(&mut phase, ending.then(Instant::now));
            let ended = tokio::time::timeout(limits::STALLED * 2, ends).await;
            let wanted = is_http2.then_some(End::Cut);
            assert_eq!(ended.ok(), wanted, "{is_http2}, {ending}");
            // Neither early nor late, and without looking in between.
            assert!(!is_http2 || begun.elapsed() == limits::STALLED, "{ending}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_all_waits_for_his_answer_and_not_for_ever() {
        let (short, long) = (limits::AFTERWARDS / 2, limits::AFTERWARDS * 2);
        for (pauses, is_begun, wanted) in [
            // Before the head it is the guest's time that counts.
            (&[limits::ANSWER][..], false, None),
            (&[short; 9], true, None),
            (&[short, long], true, Some(End::Cut)),
        ] {
            let activity = Arc::new(Activity::new());
            let phases = watch::Sender::new(Phase::Serving);
            let mut phase = phases.subscribe();
            let busy = Busy::new(&activity, false);
            let gives = || {
                busy.pace().given();
                busy.pace().awaited();
            };
            if is_begun {
                gives();
                tokio::time::advance(limits::AFTERWARDS * 3).await;
            }
            assert_eq!(activity.end(Phase::Serving), None, "a client that listens");
            activity.finishes();
            let begun = Instant::now();
            let work = async {
                for pause in pauses {
                    tokio::time::sleep(*pause).await;
                    if is_begun {
                        gives();
                    }
                }
            };
            let ended = tokio::select! {
                biased;
                end = activity.ends(&mut phase, None) => Some(end),
                () = work => None,
            };
            assert_eq!(ended, wanted, "{pauses:?} {is_begun}");
            let is_in_time = begun.elapsed() == short + limits::AFTERWARDS;
            assert!(wanted.is_none() || is_in_time, "{:?}", begun.elapsed());
        }
    }
}
