//! Who pays for what a worker's thread spends.
//!
//! Asking the kernel what a thread has spent costs as much as a short turn. So what one account
//! spends in turns that follow each other is charged together, and late by a moment at most: others
//! in line wait for longer than their share by no more than that.
//!
//! ```text
//! a turn of A ── another of A ──┬── one of B: A is charged
//!                               └── a moment is over, one has ended, or none comes: A is charged
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::{Account, thread_time};

/// What was not charged yet; it is when this is dropped.
pub(super) struct Bill {
    begun: Instant,
    /// Charges are not put off beyond that.
    moment: Duration,
    is_over: bool,
    /// Who pays for what the thread has spent since it had spent so much.
    payer: Option<(Arc<Account>, Duration)>,
}

// === impl Bill ===

impl Bill {
    /// One that charges at once what comes later than so much after `begun`.
    pub(super) fn new(begun: Instant, moment: Duration) -> Self {
        Self {
            begun,
            moment,
            is_over: false,
            payer: None,
        }
    }

    /// A turn of this account's begins.
    pub(super) fn begin(&mut self, account: &Arc<Account>) {
        let since = match &self.payer {
            Some((payer, _)) if Arc::ptr_eq(payer, account) => return,
            Some(_) => self.settle(),
            None => None,
        };
        let since = since.unwrap_or_else(thread_time);
        self.payer = Some((Arc::clone(account), since));
    }

    /// The turn is over, and what it belongs to may have ended.
    pub(super) fn end(&mut self, has_ended: bool) {
        self.is_over |= self.begun.elapsed() >= self.moment;
        if self.is_over || has_ended {
            self.settle();
        }
    }

    /// Whether its moment is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Charges what is not charged, and tells what the thread has spent until now.
    fn settle(&mut self) -> Option<Duration> {
        let (payer, since) = self.payer.take()?;
        let now = thread_time();
        payer.charge(now.saturating_sub(since));
        Some(now)
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use model::runtime::Limits;

    use super::*;

    const TURN: Duration = Duration::from_millis(2);

    fn account() -> Arc<Account> {
        Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: None,
            storage: None,
        }))
    }

    fn compute() {
        let begun = thread_time();
        while thread_time().saturating_sub(begun) < TURN {}
    }

    fn cpu(account: &Account) -> Duration {
        account.stats().cpu
    }

    #[test]
    fn turns_of_one_account_are_charged_together_once_another_has_its() {
        let (one, other) = (account(), account());
        let mut bill = Bill::new(Instant::now(), Duration::MAX);
        for _ in 0..2 {
            bill.begin(&one);
            compute();
            bill.end(false);
        }
        assert_eq!(cpu(&one), Duration::ZERO);
        bill.begin(&other);
        assert!(cpu(&one) >= 2 * TURN);
        compute();
        bill.end(false);
        assert_eq!(cpu(&other), Duration::ZERO);
        let first = cpu(&one);
        drop(bill);
        assert!(cpu(&other) >= TURN);
        assert_eq!(cpu(&one), first);
    }

    #[test]
    fn what_ends_and_what_takes_long_is_charged_at_once() {
        for (moment, has_ended) in [(Duration::MAX, true), (TURN, false)] {
            let one = account();
            let mut bill = Bill::new(Instant::now(), moment);
            bill.begin(&one);
            compute();
            bill.end(has_ended);
            assert!(cpu(&one) >= TURN);
            assert_eq!(bill.is_over(), !has_ended);
        }
    }
}
