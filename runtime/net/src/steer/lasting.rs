//! What is made once, at its first use, and kept: the value, or the certainty that there is none.
//!
//! A failure that may pass is not kept: descriptors that are short for a moment must not decide for
//! the rest of a run.

use std::sync::OnceLock;

use super::SteerError;
use crate::lock::Lock;

/// A value, once it is made.
#[derive(Debug)]
pub(super) struct Lasting<T> {
    made: OnceLock<Result<T, SteerError>>,
    /// Held by whoever makes it.
    making: Lock<()>,
}

// === impl Lasting ===

impl<T> Lasting<T> {
    pub(super) const fn new() -> Self {
        Self {
            made: OnceLock::new(),
            making: Lock::new(()),
        }
    }

    /// The value, if it was made.
    pub(super) fn get(&self) -> Option<&T> {
        self.made.get()?.as_ref().ok()
    }

    /// The value, which is made now if it was not and may be.
    pub(super) fn get_or_make(
        &self,
        make: impl FnOnce() -> Result<T, SteerError>,
    ) -> Result<&T, SteerError> {
        let kept = match self.made.get() {
            Some(kept) => kept,
            None => self.make(make)?,
        };
        kept.as_ref().map_err(Clone::clone)
    }

    fn make(
        &self,
        make: impl FnOnce() -> Result<T, SteerError>,
    ) -> Result<&Result<T, SteerError>, SteerError> {
        let _maker = self.making.lock();
        if let Some(kept) = self.made.get() {
            return Ok(kept);
        }
        match make() {
            Err(error) if error.passes() => Err(error),
            made => Ok(self.made.get_or_init(|| made)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;
    use crate::steer::tables::refused;

    #[test]
    fn what_may_pass_is_tried_again_and_all_else_is_kept() {
        let system = |errno: Errno| refused("a test", &io::Error::from(errno));
        let wanted = io::Error::other("the kernel knows no such program");
        let cases = [
            ("made", Ok(1), Ok(1)),
            ("no descriptor", Err(system(Errno::MFILE)), Ok(2)),
            (
                "none on the node",
                Err(refused("a test", &Errno::NFILE)),
                Ok(2),
            ),
            ("no memory", Err(system(Errno::NOMEM)), Ok(2)),
            ("no place", Err(SteerError::lanes()), Ok(2)),
            ("lost on its way", Err(SteerError::lost(&wanted)), Ok(2)),
            ("no right", Err(system(Errno::PERM)), Err(())),
            ("an old kernel", Err(system(Errno::INVAL)), Err(())),
            ("unknown", Err(refused("a test", &wanted)), Err(())),
        ];
        for (name, first, second) in cases {
            let (lasting, fails) = (Lasting::new(), first.is_err());
            assert_eq!(lasting.get_or_make(|| first).is_err(), fails, "{name}");
            let again = lasting.get_or_make(|| Ok(2)).copied();
            assert_eq!(again.map_err(|_| ()), second, "{name}");
        }
    }
}
