//! Claims blocks of pod addresses for this process and gives addresses out.
//!
//! A block is claimed by binding an abstract Unix socket that is named after it: such names belong
//! to the network namespace, as 127.0.0.0/8 does, need no file, and are free again when the
//! process ends however it ends. Nothing here opens a door.
//!
//! An address is given out again only after every other free one: fresh addresses come first, then
//! the one that has been free for longest, and another block is claimed while no more than a
//! quarter of the addresses is free.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::error::SwitchError;
use crate::range::{Block, PodRange};

/// The blocks of this process and the addresses in them.
#[derive(Debug)]
pub struct Blocks {
    range: PodRange,
    /// One guard per claimed block; a descriptor each.
    guards: Vec<UnixDatagram>,
    /// The block to try next.
    next: u32,
    /// The newest block, and how many of its addresses were given out.
    fresh: Option<(Block, u32)>,
    /// Addresses that were given back, the one free for longest first.
    freed: VecDeque<Ipv4Addr>,
    /// How many addresses all claimed blocks have.
    total: usize,
}

// === impl Blocks ===

impl Blocks {
    /// Claims the first block that nobody has.
    ///
    /// # Errors
    /// [`SwitchError::BadRange`], [`SwitchError::NoAddressLeft`], [`SwitchError::Guard`].
    pub fn claim(range: PodRange) -> Result<Self, SwitchError> {
        range.check()?;
        let (guards, freed) = (Vec::new(), VecDeque::new());
        let mut blocks = Self {
            range,
            guards,
            next: 0,
            fresh: None,
            freed,
            total: 0,
        };
        blocks.extend()?;
        Ok(blocks)
    }

    /// Gives an address out.
    ///
    /// # Errors
    /// [`SwitchError::NoAddressLeft`], [`SwitchError::Guard`].
    pub fn take(&mut self) -> Result<Ipv4Addr, SwitchError> {
        if let Some(address) = self.take_fresh() {
            return Ok(address);
        }
        let scarce = self.freed.len() * 4 <= self.total;
        let extended = if scarce { self.extend() } else { Ok(()) };
        match (
            self.take_fresh().or_else(|| self.freed.pop_front()),
            extended,
        ) {
            (Some(address), _) => Ok(address),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(self.exhausted()),
        }
    }

    /// Takes an address back.
    pub fn give(&mut self, address: Ipv4Addr) {
        self.freed.push_back(address);
    }

    fn take_fresh(&mut self) -> Option<Ipv4Addr> {
        let (block, given) = self.fresh.as_mut()?;
        if *given == block.pods() {
            self.fresh = None;
            return None;
        }
        *given += 1;
        Some(block.pod(*given - 1))
    }

    /// Claims one more block.
    fn extend(&mut self) -> Result<(), SwitchError> {
        while self.next < self.range.blocks() {
            let block = self.range.block(self.next);
            self.next += 1;
            if let Some(guard) = guard(block)? {
                self.guards.push(guard);
                self.total += usize::try_from(block.pods()).unwrap_or(usize::MAX);
                self.fresh = Some((block, 0));
                return Ok(());
            }
        }
        Err(self.exhausted())
    }

    fn exhausted(&self) -> SwitchError {
        let PodRange { first, prefix, .. } = self.range;
        SwitchError::NoAddressLeft {
            range: first,
            prefix,
            blocks: self.range.blocks(),
        }
    }
}

/// Claims a block; `None` where another switch has it.
fn guard(block: Block) -> Result<Option<UnixDatagram>, SwitchError> {
    let name = format!("wasmpod/pods/{}/{}", block.first, block.prefix);
    let bound = SocketAddr::from_abstract_name(&name).and_then(|at| UnixDatagram::bind_addr(&at));
    match bound {
        Ok(guard) => Ok(Some(guard)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(source) => Err(SwitchError::Guard { name, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Blocks of 5 pods; a range of its own for each test, so that tests may run side by side.
    fn range(third: u8, prefix: u8) -> PodRange {
        PodRange {
            first: Ipv4Addr::new(127, 200, third, 0),
            prefix,
            block: 29,
        }
    }

    #[test]
    fn two_never_share_a_block() {
        let range = range(0, 27);
        let mut first = Blocks::claim(range).unwrap();
        let mut second = Blocks::claim(range).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..10 {
            assert!(seen.insert(first.take().unwrap()));
            assert!(seen.insert(second.take().unwrap()));
        }
        for blocks in [&mut first, &mut second] {
            assert!(matches!(
                blocks.take(),
                Err(SwitchError::NoAddressLeft { .. })
            ));
        }
        drop(second);
        let mut third = Blocks::claim(range).unwrap();
        assert!(
            !seen.insert(third.take().unwrap()),
            "a block is free again with its process"
        );
    }

    #[test]
    fn reuse_is_as_late_as_possible() {
        let mut blocks = Blocks::claim(range(1, 28)).unwrap();
        let first = blocks.take().unwrap();
        blocks.give(first);
        let others: Vec<_> = (0..9).map(|_| blocks.take().unwrap()).collect();
        assert!(
            !others.contains(&first),
            "the second block comes before a reuse"
        );
        assert_eq!(blocks.take().unwrap(), first);
        blocks.give(others[3]);
        blocks.give(others[0]);
        assert_eq!(blocks.take().unwrap(), others[3]);
    }

    #[test]
    fn a_hundred_thousand_pods() {
        let range = PodRange {
            first: Ipv4Addr::new(127, 208, 0, 0),
            prefix: 12,
            block: 20,
        };
        let mut blocks = Blocks::claim(range).unwrap();
        let given: HashSet<_> = (0..100_000).map(|_| blocks.take().unwrap()).collect();
        assert_eq!(given.len(), 100_000);
        assert_eq!(blocks.guards.len(), 25);
    }
}
