//! Which processors answer and which ask, where both run at once.
//!
//! A process that may run anywhere shares every processor with the one that asks it, and each answer
//! wakes a thread on the other: on a virtual machine that costs more than the answer, and comes out
//! differently each time. So the last processor asks and all others answer, and what is measured is
//! their work. Where there is only one, it does both.

use std::panic;
use std::thread;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One side of a division of the processors that this process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// All but the last.
    Answers,
    /// The last.
    Asks,
}

/// Does something on processors of one side, in a thread of its own; processes that it starts stay
/// there.
///
/// # Errors
/// When the system does not let threads be bound, and what `work` says.
pub(crate) fn on<T: Send>(
    side: Side,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let bound = || {
        let all = sched_getaffinity(None).context("cannot ask for this process' processors")?;
        sched_setaffinity(None, &part(&all, side)).context("cannot bind a thread to processors")?;
        work()
    };
    let done = thread::scope(|scope| scope.spawn(bound).join());
    done.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

fn part(all: &CpuSet, side: Side) -> CpuSet {
    let mut part = *all;
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu)) else {
        return part;
    };
    match side {
        _ if all.count() < 2 => {}
        Side::Answers => part.unset(last),
        Side::Asks => {
            part.clear();
            part.set(last);
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_processor_asks_and_the_others_answer() {
        for (all, answer, ask) in [
            (&[0, 1][..], &[0][..], &[1][..]),
            (&[0, 2, 5, 7], &[0, 2, 5], &[7]),
            (&[3], &[3], &[3]),
        ] {
            let set = |cpus: &[usize]| {
                let mut set = CpuSet::new();
                cpus.iter().for_each(|cpu| set.set(*cpu));
                set
            };
            assert_eq!(part(&set(all), Side::Answers), set(answer), "{all:?}");
            assert_eq!(part(&set(all), Side::Asks), set(ask), "{all:?}");
        }
    }
}
