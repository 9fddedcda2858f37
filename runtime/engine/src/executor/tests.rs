//! The executor with plain futures for guests.

use std::future::pending;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use model::runtime::Limits;

use super::*;

/// The longest that a test waits for what must happen: only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn account(cpu_weight: u32, cpu_limit: Option<u32>) -> Arc<Account> {
    Arc::new(Account::new(Limits {
        cpu_weight,
        cpu_limit,
        memory: None,
        storage: None,
    }))
}

/// Computes until it has been throttled, yielding as a guest does at each tick.
async fn spin_until_throttled(account: Arc<Account>) {
    let mut number = 1_u64;
    while account.stats().throttled.is_zero() {
        for _ in 0..100_000 {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_future_runs_to_its_end_and_is_told() {
    let executor = Executor::start().expect("threads");
    let (sender, receiver) = mpsc::channel();
    executor.spawn(account(100, None), async { 7 }, move |result| {
        sender.send(result).expect("a receiver")
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Some(7)));
}

#[test]
fn timers_wake_guests() {
    let executor = Executor::start().expect("threads");
    let (sender, receiver) = mpsc::channel();
    let nap = async { tokio::time::sleep(Duration::from_millis(1)).await };
    executor.spawn(account(100, None), nap, move |result| {
        sender.send(result).expect("a receiver")
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Some(())));
}

#[test]
fn a_waiting_guest_is_killed_at_once_and_its_future_dropped_first() {
    struct Noisy(mpsc::Sender<&'static str>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.send("dropped").expect("a receiver");
        }
    }
    let executor = Executor::start().expect("threads");
    let (sender, receiver) = mpsc::channel();
    let noisy = Noisy(sender.clone());
    let started = sender.clone();
    let future = async move {
        let _noisy = noisy;
        started.send("started").expect("a receiver");
        pending::<()>().await;
    };
    let done = move |result: Option<()>| {
        sender
            .send(if result.is_none() { "killed" } else { "ended" })
            .expect("a receiver")
    };
    let task = executor.spawn(account(100, None), future, done);
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("started"));
    task.kill();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("dropped"));
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("killed"));
}

#[test]
fn a_paused_guest_waits_until_it_is_resumed() {
    let executor = Executor::start().expect("threads");
    let paused = account(100, None);
    paused.set_paused(true);
    let (sender, receiver) = mpsc::channel();
    let told = sender.clone();
    executor.spawn(Arc::clone(&paused), async {}, move |_| {
        told.send("paused").expect("a receiver")
    });
    // Served after the paused one was passed over, whichever worker takes it.
    executor.spawn(account(100, None), async {}, move |_| {
        sender.send("other").expect("a receiver")
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("other"));
    assert!(receiver.try_recv().is_err());
    paused.set_paused(false);
    executor.resume();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("paused"));
}

#[test]
fn a_guest_that_wakes_itself_is_polled_again() {
    let executor = Executor::start().expect("threads");
    let (sender, receiver) = mpsc::channel();
    let mut polls = 0;
    let future = std::future::poll_fn(move |cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls == 1000 {
            Poll::Ready(polls)
        } else {
            Poll::Pending
        }
    });
    executor.spawn(account(100, None), future, move |result| {
        sender.send(result).expect("a receiver")
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Some(1000)));
}

#[test]
fn a_cpu_limit_throttles_and_the_wait_is_counted() {
    let executor = Executor::start().expect("threads");
    let limited = account(100, Some(100));
    let (sender, receiver) = mpsc::channel();
    // A budget of 10 ms per 100 ms: two such budgets cannot be had without waiting.
    let future = spin_until_throttled(Arc::clone(&limited));
    executor.spawn(Arc::clone(&limited), future, move |_| {
        sender.send(()).expect("a receiver")
    });
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(()));
    assert!(limited.stats().cpu >= Duration::from_millis(10));
}

#[test]
fn no_task_is_left_lying_whether_workers_sleep_or_look() {
    let executor = Executor::start().expect("threads");
    let (sender, receiver) = mpsc::channel();
    for round in 0..2000_u32 {
        if round % 3 == 0 {
            executor.expect();
        }
        // One alone, then a crowd that one call must bring through.
        for _ in 0..=(round % 5) {
            let sender = sender.clone();
            let work = async { tokio::task::yield_now().await };
            executor.spawn(account(100, None), work, move |result| {
                sender.send(result).expect("a receiver")
            });
        }
        for _ in 0..=(round % 5) {
            assert_eq!(
                receiver.recv_timeout(PATIENCE),
                Ok(Some(())),
                "round {round}"
            );
        }
    }
}

#[test]
fn timers_are_heard_while_a_guest_keeps_the_thread_that_heard_of_it() {
    for _ in 0..20 {
        let executor = Executor::with_workers(2).expect("threads");
        let (sender, receiver) = mpsc::channel();
        let (other, wanted) = mpsc::channel();
        let keeps = async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // As a call into the host does that takes long.
            wanted.recv_timeout(PATIENCE)
        };
        executor.spawn(account(100, None), keeps, move |result| {
            sender.send(result).expect("a receiver")
        });
        let waits = async { tokio::time::sleep(Duration::from_millis(10)).await };
        executor.spawn(account(100, None), waits, move |_| {
            other.send(()).expect("a receiver")
        });
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Some(Ok(()))));
    }
}

#[test]
fn a_guest_that_wakes_two_and_keeps_its_thread_runs_beside_one_of_them() {
    let executor = Arc::new(Executor::with_workers(2).expect("threads"));
    for _ in 0..20 {
        let (sender, receiver) = mpsc::channel();
        let (other, wanted) = mpsc::channel();
        let spawner = Arc::clone(&executor);
        let wakes = async move {
            for _ in 0..2 {
                let other = other.clone();
                spawner.spawn(account(100, None), async {}, move |_| {
                    // The second one's comes when nobody listens any more.
                    let _ = other.send(());
                });
            }
            wanted.recv_timeout(PATIENCE)
        };
        executor.spawn(account(100, None), wakes, move |result| {
            sender.send(result).expect("a receiver")
        });
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Some(Ok(()))));
    }
}
