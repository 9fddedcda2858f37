//! Every target over its seeds, and over seeds that were cut, changed or crossed: always the same
//! ones, so that a failure is one for everybody.

use super::*;

/// Changed seeds of each target: as many as take a second or two without a coverage to follow.
const CHANGED: u64 = 2000;

/// Numbers without chance: a linear congruential generator (Knuth's constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = usize::try_from(self.0 >> 33).expect("31 bits");
        number % limit.max(1)
    }

    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => bytes.insert(at, b"\0\xff/.:\"{-\n0"[self.below(10)]),
            }
        }
        bytes
    }
}

#[test]
fn seeds_and_what_is_near_them_are_met() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in &seeds {
            (target.run)(seed);
        }
        let mut numbers = Numbers(1);
        for _ in 0..CHANGED {
            (target.run)(&numbers.changed(&seeds));
        }
    }
}

#[test]
fn targets_have_names_of_their_own() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
}
