//! Who waits how long, with turns that are counted instead of run.

use std::future::pending;

use model::runtime::Limits;

use super::super::{Shared, tick};
use super::*;

fn task(shared: &Arc<Shared>, cpu_weight: u32) -> Arc<Task> {
    let account = Account::new(Limits {
        cpu_weight,
        cpu_limit: None,
        memory: None,
        storage: None,
    });
    Task::new(Arc::clone(shared), Arc::new(account), pending::<()>(), drop)
}

fn taken(queue: &mut Queue) -> Arc<Task> {
    match queue.next() {
        Next::Run(task) => task,
        _ => panic!("nobody is in line"),
    }
}

/// The turns of others that a guest waited for, each time that it woke: it needs so much, asks again
/// in the next turn, and is beside so many guests that compute and have come after it.
fn waits(spinners: usize, weight: u32, need: Duration) -> Vec<usize> {
    let shared = Arc::new(Shared::new(1));
    let mut queue = Queue::default();
    let modest = task(&shared, weight);
    queue.push(Arc::clone(&modest));
    for _ in 0..spinners {
        queue.push(task(&shared, 100));
    }
    let (mut waits, mut turns) = (Vec::new(), 0);
    while waits.len() < 500 {
        let running = taken(&mut queue);
        if Arc::ptr_eq(&running, &modest) {
            modest.account().charge(need);
            waits.push(turns);
            // It sleeps until somebody else has had a turn.
            let other = taken(&mut queue);
            other.account().charge(tick::PERIOD);
            queue.push(Arc::clone(&modest));
            queue.push(other);
            turns = 0;
        } else {
            running.account().charge(tick::PERIOD);
            queue.push(running);
            turns += 1;
        }
    }
    waits
}

#[test]
fn who_needs_little_does_not_wait_for_a_round() {
    let us = Duration::from_micros;
    // Beside 50 others a fair share is a turn in 51: more than 40 µs each other turn.
    let cases = [
        (1, 100, 2000, 1),
        (10, 100, 40, 1),
        (50, 100, 40, 2),
        (50, 300, 100, 2),
    ];
    for (spinners, weight, need, most) in cases {
        let waits = waits(spinners, weight, us(need));
        // Its own first turn costs it more, and the next one comes later for that.
        let (first, later) = waits.split_at(2);
        let (at_first, longest) = (first.iter().max(), later.iter().max());
        assert!(
            longest <= Some(&most) && at_first <= Some(&(most + 1)),
            "{need} µs of weight {weight} beside {spinners}: {waits:?}"
        );
    }
}

#[test]
fn who_wants_more_than_its_share_gets_its_share() {
    // Every second turn whole, where one in 51 is fair.
    let waits = waits(50, 100, tick::PERIOD);
    let turns: usize = waits.iter().map(|waited| waited + 2).sum();
    let share = turns as f64 / waits.len() as f64;
    assert!((49.0..=53.0).contains(&share), "one turn in {share}");
}

#[test]
fn newcomers_to_an_empty_line_are_spread_by_their_first_turn() {
    let shared = Arc::new(Shared::new(1));
    let mut queue = Queue::default();
    let mut first = Vec::new();
    for _ in 0..10 {
        queue.push(task(&shared, 100));
        let newcomer = taken(&mut queue);
        newcomer.account().charge(tick::PERIOD);
        first.push(newcomer.account().virtual_time());
    }
    first.sort_unstable();
    let turn = u64::try_from(tick::PERIOD.as_nanos()).expect("a short turn") * 10;
    let gaps = first.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().expect("gaps");
    assert!(longest < turn / 5, "a gap of {longest} in a turn of {turn}");
}

/// One heavy account among many light ones does not bring them together.
#[test]
fn light_newcomers_are_spread_beside_a_heavy_account() {
    let shared = Arc::new(Shared::new(1));
    let mut queue = Queue::default();
    let heavy = task(&shared, 1000);
    queue.push(Arc::clone(&heavy));
    for _ in 0..50 {
        queue.push(task(&shared, 2));
    }
    let modest = task(&shared, 2);
    queue.push(Arc::clone(&modest));
    let (mut waits, mut turns) = (Vec::new(), 0);
    while waits.len() < 100 {
        let running = taken(&mut queue);
        if Arc::ptr_eq(&running, &modest) {
            modest.account().charge(Duration::from_micros(40));
            waits.push(std::mem::take(&mut turns));
        } else {
            running.account().charge(tick::PERIOD);
            turns += usize::from(!Arc::ptr_eq(&running, &heavy));
        }
        queue.push(running);
    }
    // Turns of light ones: half of them would be half a round.
    let longest = waits.iter().max();
    assert!(longest < Some(&25), "{waits:?}");
}

/// A pod that starts beside heavier ones that compute waits for a round of theirs at most.
#[test]
fn a_newcomer_waits_for_a_round_at_most() {
    let shared = Arc::new(Shared::new(1));
    for weight in [2, 10, 100, 1000] {
        let mut queue = Queue::default();
        for _ in 0..50 {
            queue.push(task(&shared, 100));
        }
        for round in 0..8 {
            let newcomer = task(&shared, weight);
            queue.push(Arc::clone(&newcomer));
            let mut turns = 0;
            loop {
                let running = taken(&mut queue);
                if Arc::ptr_eq(&running, &newcomer) {
                    break;
                }
                running.account().charge(tick::PERIOD);
                queue.push(running);
                turns += 1;
            }
            assert!(
                turns <= 52,
                "weight {weight}, newcomer {round}: {turns} turns"
            );
        }
    }
}

#[test]
fn a_newcomer_that_is_light_pays_for_what_it_used_and_no_more() {
    let shared = Arc::new(Shared::new(1));
    for weight in [2, 10, 100, 1000] {
        let mut queue = Queue::default();
        for _ in 0..2 {
            queue.push(task(&shared, weight));
            let newcomer = taken(&mut queue);
            let before = newcomer.account().virtual_time();
            newcomer.account().charge(Duration::from_micros(50));
            let paid = newcomer.account().virtual_time() - before;
            let used = 50_000 * 1000 / u64::from(weight);
            assert!((used..=2 * used).contains(&paid), "weight {weight}: {paid}");
        }
    }
}
