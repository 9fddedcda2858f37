//! A thread that may read no file.
//!
//! The loader reads and parses the types of the whole kernel (`/sys/kernel/btf/vmlinux`: 126,000
//! types, 5 MiB, tens of milliseconds) whenever it is made, and goes on without where it cannot.
//! Our program names no type, and a guest waits meanwhile.

use std::io;

use landlock::{ABI, AccessFs, Ruleset, RulesetAttr as _};

/// Runs something on a thread of its own that may read no file from its start. A kernel without
/// Landlock lets it read all the same: it then only takes longer.
///
/// # Errors
/// When there is no thread, or it panicked.
pub(super) fn without_files<T: Send>(act: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let name = "wasmpod-steer".to_owned();
        let builder = std::thread::Builder::new().name(name);
        let thread = builder.spawn_scoped(scope, || {
            if let Err(error) = read_nothing() {
                tracing::debug!(%error, "the loader reads the kernel's types, which takes longer");
            }
            act()
        })?;
        let done = thread.join();
        done.map_err(|_| io::Error::other("the thread that loads the program panicked"))
    })
}

fn read_nothing() -> Result<(), landlock::RulesetError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_read(ABI::V1))?;
    rules.create()?.restrict_self()?;
    Ok(())
}
