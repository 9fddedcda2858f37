//! A connection against a queue of bytes, its ends as a table, and its memory to the last byte.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::*;
use crate::budget::Budget;
use crate::limits::{PIPE_BUDGET_PER_POD, PIPE_CAPACITY, PIPE_FLOOR};

fn funds() -> Funds {
    Funds {
        pool: Arc::default(),
        budget: Budget::default(),
    }
}

fn pair(funds: &Funds) -> (MemoryEnd, MemoryEnd) {
    MemoryEnd::pair(funds.clone(), funds.clone())
}

fn used(funds: &Funds) -> usize {
    PIPE_BUDGET_PER_POD - funds.budget.left(PIPE_BUDGET_PER_POD)
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Permitted,
    Read(usize),
    Peek(usize),
    ReadBytes(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0usize..300, 0usize..20_000, 0usize..300_000];
    prop_oneof![
        2 => size.clone().prop_map(Step::Write),
        1 => Just(Step::Permitted),
        1 => size.clone().prop_map(Step::Read),
        1 => size.clone().prop_map(Step::Peek),
        1 => size.prop_map(Step::ReadBytes),
    ]
}

/// Bytes that tell where they belong.
fn payload(from: usize, size: usize) -> Vec<u8> {
    let byte = |n: usize| u8::try_from(n % 251).unwrap();
    (from..from + size).map(byte).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes come out as they went in, a promise is kept, and an empty connection costs nothing,
    /// whatever part of the budget others have taken.
    #[test]
    fn keeps_order_and_promises(
        steps in proptest::collection::vec(step(), 0..60),
        taken in prop_oneof![Just(0usize), PIPE_BUDGET_PER_POD - 300_000..=PIPE_BUDGET_PER_POD],
    ) {
        let funds = funds();
        prop_assert!(funds.budget.take(taken, PIPE_BUDGET_PER_POD));
        let (left, right) = pair(&funds);
        let (mut model, mut sent) = (VecDeque::new(), 0);
        let mut buffer = BytesMut::new();
        for step in steps {
            match step {
                Step::Write(size) => {
                    let bytes = payload(sent, size);
                    match left.write(&bytes, false) {
                        Ok(count) => {
                            prop_assert!(count > 0 || size == 0);
                            model.extend(&bytes[..count]);
                            sent += count;
                        }
                        Err(error) => {
                            prop_assert_eq!(error, NetError::WouldBlock);
                            prop_assert!(model.len() >= PIPE_FLOOR, "no progress at {}", model.len());
                        }
                    }
                }
                Step::Permitted => {
                    let bytes = payload(sent, left.writable().unwrap());
                    prop_assert_eq!(left.write(&bytes, true), Ok(bytes.len()));
                    model.extend(&bytes);
                    sent += bytes.len();
                }
                Step::Read(max) | Step::Peek(max) | Step::ReadBytes(max) => {
                    let mut into = vec![0; max];
                    let result = match step {
                        Step::Read(_) => right.read(&mut into).map(|n| into[..n].to_vec()),
                        Step::Peek(_) => right.peek(&mut into).map(|n| into[..n].to_vec()),
                        _ => right.read_bytes(max, &mut buffer).map(|bytes| bytes.to_vec()),
                    };
                    match result {
                        Ok(bytes) => {
                            prop_assert!(!bytes.is_empty() || max == 0);
                            let expected: Vec<u8> = model.iter().copied().take(bytes.len()).collect();
                            prop_assert!(bytes == expected, "other bytes");
                            if !matches!(step, Step::Peek(_)) {
                                model.drain(..bytes.len());
                            }
                        }
                        Err(error) => {
                            prop_assert_eq!(error, NetError::WouldBlock);
                            prop_assert!(model.is_empty());
                        }
                    }
                }
            }
            prop_assert!(model.len() <= PIPE_CAPACITY);
            prop_assert!(!model.is_empty() || used(&funds) == taken, "empty, but it holds memory");
        }
        drop((left, right));
        prop_assert_eq!(used(&funds), taken);
    }
}

/// Two threads copy at once, in pieces of every size, and nothing is lost or moved.
#[test]
fn threads_do_not_disturb_each_other() {
    const TOTAL: usize = 32 << 20;
    let funds = funds();
    let (left, right) = pair(&funds);
    let wait = |poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(std::future::poll_fn(poll));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let left = left;
            let mut sent = 0;
            for size in [1, 63, 1000, 5000, 9000, 20_000, 65_536, 200_000]
                .into_iter()
                .cycle()
            {
                let bytes = payload(sent, size.min(TOTAL - sent));
                match left.write(&bytes, false) {
                    Ok(count) => sent += count,
                    Err(_) => wait(&mut |cx| left.poll_write_ready(cx)),
                }
                if sent == TOTAL {
                    return;
                }
            }
        });
        let (mut received, mut buffer) = (0, BytesMut::new());
        for max in [65_536, 100, 3000, 30_000, 100_000].into_iter().cycle() {
            match right.read_bytes(max, &mut buffer) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    assert!(bytes == payload(received, bytes.len()), "at {received}");
                    received += bytes.len();
                }
                Err(_) => wait(&mut |cx| right.poll_read_ready(cx)),
            }
        }
        assert_eq!(received, TOTAL);
    });
    assert_eq!(used(&funds), 0);
}

/// What happens to a reader and a writer when the other side ends, as a table.
#[test]
fn ends() {
    type Change = fn(&mut Pipe);
    type Reads = &'static [Result<usize, NetError>];
    let abandon: Change = |pipe| assert!(pipe.abandon(), "something was unread");
    let cases: [(&str, Change, Reads, Result<usize, NetError>); 4] = [
        (
            "finish",
            Pipe::finish,
            &[Ok(3), Ok(0), Ok(0)],
            Err(NetError::ConnectionBroken),
        ),
        (
            "reset",
            Pipe::reset,
            &[Ok(3), Err(NetError::ConnectionReset), Ok(0)],
            Err(NetError::ConnectionReset),
        ),
        ("deafen", Pipe::deafen, &[Ok(0), Ok(0)], Ok(2)),
        (
            "abandon",
            abandon,
            &[Ok(0)],
            Err(NetError::ConnectionBroken),
        ),
    ];
    for (name, change, reads, write) in cases {
        let funds = funds();
        let (left, right) = pair(&funds);
        left.write(b"abc", false).unwrap();
        right.incoming().change(change);
        assert_eq!(left.write(b"de", false), write, "{name}: write");
        for (n, expected) in reads.iter().enumerate() {
            assert!(
                right.incoming().pipe.lock().is_readable(),
                "{name}: read {n} is announced"
            );
            assert_eq!(right.read(&mut [0; 8]), *expected, "{name}: read {n}");
        }
    }
}

/// A writer that fills a chunk while the connection ends loses it, and its memory comes back.
#[test]
fn an_end_in_the_middle() {
    type Change = fn(&mut Pipe);
    let abandon: Change = |pipe| assert!(!pipe.abandon(), "nothing has arrived");
    let changes: [(Change, _); 3] = [
        (Pipe::deafen, Ok(())),
        (Pipe::reset, Err(NetError::ConnectionReset)),
        (abandon, Err(NetError::ConnectionBroken)),
    ];
    for (change, expected) in changes {
        let (funds, mut pipe) = (funds(), Pipe::default());
        let bytes = payload(0, LARGEST);
        let Ok(Write::Fill(mut chunk, count)) = pipe.write(&bytes, &funds, false) else {
            panic!("a large write is copied outside the lock");
        };
        chunk.append(&bytes[..count]);
        change(&mut pipe);
        assert_eq!(pipe.hand_over(chunk), expected);
        assert_eq!((used(&funds), pipe.available()), (0, 0));
    }
    let (funds, mut pipe) = (funds(), Pipe::default());
    let Ok(Write::Fill(mut chunk, count)) = pipe.write(&[1; LARGEST], &funds, false) else {
        panic!("a large write is copied outside the lock");
    };
    chunk.append(&[1; LARGEST][..count]);
    pipe.hand_over(chunk).unwrap();
    let Ok(Read::Copy(chunk)) = pipe.read(&mut [0; LARGEST]) else {
        panic!("a large read is copied outside the lock");
    };
    assert!(!pipe.is_readable(), "others wait for this reader");
    assert!(matches!(pipe.read(&mut [0; 8]), Err(NetError::WouldBlock)));
    pipe.deafen();
    pipe.put_back(chunk, 10);
    assert_eq!(
        (used(&funds), pipe.writable(&funds)),
        (0, Ok(PIPE_CAPACITY))
    );
}

/// A full connection reports itself writable again only when a good piece fits.
#[test]
fn low_water() {
    let funds = funds();
    let (left, right) = pair(&funds);
    assert_eq!(left.writable(), Ok(PIPE_CAPACITY));
    assert_eq!(
        left.write(&vec![1; 2 * PIPE_CAPACITY], false),
        Ok(PIPE_CAPACITY)
    );
    assert_eq!(left.write(b"x", false), Err(NetError::WouldBlock));
    right.read(&mut vec![0; LARGEST - 1]).unwrap();
    assert_eq!(left.writable(), Ok(0));
    right.read(&mut [0; 1]).unwrap();
    assert_eq!(left.writable(), Ok(LARGEST));
}

/// The other side ends, with bytes of its own on the way, and whoever waits for that is woken.
#[test]
fn the_end_of_the_other_side_is_told_before_its_bytes_are_read() {
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    type Ends = fn(MemoryEnd) -> Option<MemoryEnd>;
    let says_all: Ends = |end| {
        end.shutdown(Shutdown::Write);
        Some(end)
    };
    let closes: Ends = |_| None;
    for (name, leaves_unread, ends, wanted) in [
        ("all is said", false, says_all, PeerEnd::Finished),
        ("closed", false, closes, PeerEnd::Finished),
        (
            "closed with something unread",
            true,
            closes,
            PeerEnd::Broken,
        ),
    ] {
        let (near, far) = pair(&funds());
        far.write(b"on its way", false).unwrap();
        if leaves_unread {
            near.write(b"never read", false).unwrap();
        }
        let woken = Arc::new(Woken(false.into()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(near.poll_peer_ended(&mut context).is_pending(), "{name}");
        let _far = ends(far);
        assert!(woken.0.load(Ordering::Relaxed), "{name}");
        let ended = near.poll_peer_ended(&mut context);
        assert_eq!(ended, Poll::Ready(wanted), "{name}");
    }
}
