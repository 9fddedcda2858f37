//! What this machine lets a process have.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `vm.max_map_count` where it cannot be read: Linux' default.
const MAPPINGS: usize = 65_530;

/// Memory mappings that a process may have.
pub(crate) fn mappings() -> usize {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count");
    let count = text.ok().and_then(|text| text.trim().parse().ok());
    count.unwrap_or(MAPPINGS)
}

/// Lets this process, and what it starts, open as many files as its hard limit allows. The soft one is
/// low for the sake of programs that use select(2).
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the soft limit of open files stays as it is");
    }
}
