//! `poll_oneoff`: waits for clocks, files, standard streams, listeners and connections at once.
//!
//! ```text
//! subscriptions ─> conditions ─┬─ failed, or a file: an event now
//!                              ├─ a point in time      ┐
//!                              └─ a stream: its waiter ┴─> wait ─> every event that holds by then
//! ```
//!
//! What cannot be waited for is an event with an error, as poll(2) has POLLNVAL, and not a failure
//! of the call.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use net::{NetError, PodNet, TcpStream};
use wasmtime::Linker;

use super::MODULE;
use super::abi::{EVENT, Event, HANGUP, SUBSCRIPTION, SubscribedTo, Subscription};
use super::descriptors::{Descriptor, Descriptors};
use super::errno::Errno;
use super::memory::{Call, answer};
use super::process::{MONOTONIC, REALTIME, time};
use crate::executor::yield_now;
use crate::guest::Guest;
use crate::listening::Listening;

/// Subscriptions of one call: reading and writing for every descriptor that a guest may have, and
/// as many clocks.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// Bytes that are looked at to tell how many wait in a connection.
const LOOK: usize = 4096;

/// When a subscription has its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// Now: it cannot be waited for.
    Failed(Errno),
    /// Now: files are always ready.
    Always,
    /// Then.
    At(Deadline),
    /// When the stream is ready.
    Stream(Interest),
}

/// A point in time on one of the clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Monotonic(u64),
    Realtime(u64),
}

/// A descriptor, and whether writing to it is meant rather than reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Interest {
    fd: u32,
    write: bool,
}

/// One stream that is waited for, however many subscriptions name it.
struct Watch<'a> {
    interest: Interest,
    waiter: Waiter<'a>,
    ready: bool,
}

enum Waiter<'a> {
    Standard(Pin<Box<dyn Future<Output = ()> + Send + 'a>>),
    Acceptable(Option<Arc<Listening>>),
    Readable(TcpStream),
    Writable(TcpStream),
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |caller, (subscriptions, events, count, out): (u32, u32, u32, u32)| {
            Box::new(async move {
                answer(
                    poll_oneoff(&mut Call::new(caller)?, subscriptions, events, count, out).await,
                )
            })
        },
    )?;
    Ok(())
}

async fn poll_oneoff(
    call: &mut Call<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Result<(), Errno> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    call.check(out, 4)?;
    call.check(events, bytes_of(EVENT, count))?;
    let subscriptions =
        read_subscriptions(call.bytes(subscriptions, bytes_of(SUBSCRIPTION, count))?)?;
    let net = call.guest().net.clone();
    let table = call.table();
    let mut conditions = Vec::with_capacity(subscriptions.len());
    for subscription in &subscriptions {
        conditions.push(condition(table, &net, subscription.to).await);
    }
    let mut packed = Vec::with_capacity(EVENT);
    let mut happened = 0_u32;
    while happened == 0 {
        let ready = wait(call.table(), &conditions).await;
        for (subscription, condition) in subscriptions.iter().zip(&conditions) {
            if let Some(event) = event(call, *subscription, *condition, &ready).await {
                packed.extend_from_slice(&event.pack());
                happened += 1;
            }
        }
        if happened == 0 {
            // Woken for nothing: somebody else's turn before another look.
            yield_now().await;
        }
    }
    call.write(events, &packed)?;
    call.write(out, &happened.to_le_bytes())
}

fn bytes_of(one: usize, count: u32) -> u32 {
    u32::try_from(one).unwrap_or(u32::MAX).saturating_mul(count)
}

fn read_subscriptions(bytes: &[u8]) -> Result<Vec<Subscription>, Errno> {
    let (chunks, _) = bytes.as_chunks::<SUBSCRIPTION>();
    chunks.iter().map(Subscription::unpack).collect()
}

/// What to wait for. A listener is bound here if it was not yet.
async fn condition(table: &mut Descriptors, net: &PodNet, to: SubscribedTo) -> Condition {
    let (fd, write) = match to {
        SubscribedTo::Clock {
            id,
            timeout,
            absolute,
        } => {
            return Deadline::new(id, timeout, absolute)
                .map_or_else(Condition::Failed, Condition::At);
        }
        SubscribedTo::Read(fd) => (fd, false),
        SubscribedTo::Write(fd) => (fd, true),
    };
    match (table.get_mut(fd), write) {
        (Err(errno), _) => Condition::Failed(errno),
        (Ok(Descriptor::File(_) | Descriptor::Directory(_)), _) => Condition::Always,
        (Ok(Descriptor::Listener(listener)), false) => match listener.open(net).await {
            Ok(_) => Condition::Stream(Interest { fd, write }),
            Err(error) => Condition::Failed(error.into()),
        },
        (Ok(Descriptor::Input(_)), false)
        | (Ok(Descriptor::Output(_)), true)
        | (Ok(Descriptor::Connection(_)), _) => Condition::Stream(Interest { fd, write }),
        (Ok(Descriptor::Input(_) | Descriptor::Listener(_)), true)
        | (Ok(Descriptor::Output(_)), false) => Condition::Failed(Errno::Badf),
    }
}

/// Waits until any of the conditions may hold, and tells which streams are ready.
async fn wait(table: &mut Descriptors, conditions: &[Condition]) -> BTreeSet<Interest> {
    let now = conditions
        .iter()
        .any(|c| matches!(c, Condition::Failed(_) | Condition::Always));
    let mut watches = watches(table, conditions);
    loop {
        let left = conditions.iter().filter_map(Condition::left).min();
        let at_once = now || left == Some(Duration::ZERO);
        let mut timer = left
            .filter(|_| !at_once)
            .map(|left| Box::pin(tokio::time::sleep(left)));
        poll_fn(|cx| {
            let ready = watches
                .iter_mut()
                .filter_map(|watch| watch.poll(cx).then_some(()))
                .count();
            let rang = timer
                .as_mut()
                .is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if ready > 0 || at_once || rang {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let ready: BTreeSet<Interest> = watches
            .iter()
            .filter(|w| w.ready)
            .map(|w| w.interest)
            .collect();
        // The real-time clock may have been set back meanwhile: then the timer rang early.
        let due = conditions
            .iter()
            .filter_map(Condition::left)
            .any(|left| left.is_zero());
        if at_once || due || !ready.is_empty() {
            return ready;
        }
    }
}

/// One waiter for each stream that a condition names.
fn watches<'a>(table: &'a mut Descriptors, conditions: &[Condition]) -> Vec<Watch<'a>> {
    let wanted: BTreeSet<Interest> = conditions.iter().filter_map(Condition::stream).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut watches = Vec::with_capacity(wanted.len());
    for (fd, descriptor) in table.iter_mut() {
        let read = wanted.contains(&Interest { fd, write: false });
        let write = wanted.contains(&Interest { fd, write: true });
        let mut watch = |write, waiter| {
            watches.push(Watch {
                interest: Interest { fd, write },
                waiter,
                ready: false,
            });
        };
        match descriptor {
            Descriptor::Input(input) if read => {
                watch(false, Waiter::Standard(Box::pin(input.ready())))
            }
            Descriptor::Output(output) if write => {
                watch(true, Waiter::Standard(Box::pin(output.ready())))
            }
            Descriptor::Listener(listener) if read => {
                watch(false, Waiter::Acceptable(listener.listening()));
            }
            Descriptor::Connection(connection) => {
                if read {
                    watch(false, Waiter::Readable(connection.stream.clone()));
                }
                if write {
                    watch(true, Waiter::Writable(connection.stream.clone()));
                }
            }
            _ => {}
        }
    }
    watches
}

/// The event of a subscription, if its condition holds.
async fn event(
    call: &mut Call<'_>,
    subscription: Subscription,
    condition: Condition,
    ready: &BTreeSet<Interest>,
) -> Option<Event> {
    let told = match condition {
        Condition::Failed(errno) => Err(errno),
        Condition::Always => of_file(call, subscription.to).await,
        Condition::At(deadline) if deadline.left().is_zero() => Ok((0, 0)),
        Condition::Stream(interest) if ready.contains(&interest) => {
            Ok(of_stream(call.table(), interest)?)
        }
        Condition::At(_) | Condition::Stream(_) => return None,
    };
    let (bytes, flags) = told.unwrap_or_default();
    let Subscription { userdata, to: of } = subscription;
    Some(Event {
        userdata,
        error: told.err(),
        of,
        bytes,
        flags,
    })
}

/// Bytes up to the end of a file, where there is nothing more to read.
async fn of_file(call: &mut Call<'_>, to: SubscribedTo) -> Result<(u64, u16), Errno> {
    let SubscribedTo::Read(fd) = to else {
        return Ok((1, 0));
    };
    let Descriptor::File(file) = call.table().get(fd)? else {
        return Ok((0, 0));
    };
    let (node, offset) = (file.node.clone(), file.offset);
    let size = call.blocking(move || node.stat()).await?.size;
    Ok(told(size.saturating_sub(offset)))
}

/// Bytes that can be read from or written to a stream now; nothing if it is not ready after all.
fn of_stream(table: &mut Descriptors, interest: Interest) -> Option<(u64, u16)> {
    let available = match table.get_mut(interest.fd).ok()? {
        Descriptor::Input(input) => input.available(),
        Descriptor::Output(output) => Some(output.room()).filter(|room| *room > 0),
        // How many connections wait is not known; one does.
        Descriptor::Listener(_) => Some(1),
        Descriptor::Connection(connection) => {
            let stream = &connection.stream;
            let now = if interest.write {
                stream.writable()
            } else {
                stream.try_peek(&mut [0; LOOK])
            };
            match now {
                Ok(0) if interest.write => None,
                Ok(bytes) => Some(bytes),
                Err(NetError::WouldBlock) => None,
                // The read or write that follows tells the error.
                Err(_) => Some(0),
            }
        }
        Descriptor::File(_) | Descriptor::Directory(_) => None,
    };
    Some(told(u64::try_from(available?).unwrap_or(u64::MAX)))
}

/// A stream that is ready and has no bytes has ended.
fn told(bytes: u64) -> (u64, u16) {
    (bytes, if bytes == 0 { HANGUP } else { 0 })
}

// === impl Condition ===

impl Condition {
    fn left(&self) -> Option<Duration> {
        if let Self::At(deadline) = self {
            Some(deadline.left())
        } else {
            None
        }
    }

    fn stream(&self) -> Option<Interest> {
        if let Self::Stream(interest) = self {
            Some(*interest)
        } else {
            None
        }
    }
}

// === impl Deadline ===

impl Deadline {
    /// Errors: not supported for the clocks of CPU time, which nobody can wait for; invalid for
    /// clocks that there are not.
    fn new(id: u32, timeout: u64, absolute: bool) -> Result<Self, Errno> {
        match (id, absolute) {
            (REALTIME, true) => Ok(Self::Realtime(timeout)),
            (MONOTONIC, true) => Ok(Self::Monotonic(timeout)),
            // A duration is one whatever the real-time clock is set to meanwhile.
            (REALTIME | MONOTONIC, false) => {
                Ok(Self::Monotonic(time(MONOTONIC).saturating_add(timeout)))
            }
            (2 | 3, _) => Err(Errno::Notsup),
            _ => Err(Errno::Inval),
        }
    }

    fn left(self) -> Duration {
        Duration::from_nanos(match self {
            Self::Monotonic(at) => at.saturating_sub(time(MONOTONIC)),
            Self::Realtime(at) => at.saturating_sub(time(REALTIME)),
        })
    }
}

// === impl Watch ===

impl Watch<'_> {
    /// Whether it is ready; wakes when that changes.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.ready {
            self.ready = match &mut self.waiter {
                Waiter::Standard(ready) => ready.as_mut().poll(cx),
                Waiter::Acceptable(Some(listening)) => listening.poll_acceptable(cx),
                // Nobody has opened it: nothing can come.
                Waiter::Acceptable(None) => Poll::Pending,
                Waiter::Readable(stream) => stream.poll_read_ready(cx),
                Waiter::Writable(stream) => stream.poll_write_ready(cx),
            }
            .is_ready();
        }
        self.ready
    }
}
