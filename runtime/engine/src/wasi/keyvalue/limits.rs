//! What guests may have of key-value buckets, and why so much.

use std::time::Duration;

/// Bytes of a key: what the most generous of the well-known stores takes.
pub(super) const KEY: usize = 2048;

/// Bytes of a value. It is read and written whole, and the host holds it meanwhile.
pub(super) const VALUE: usize = 1 << 20;

/// Keys of one batch: on a volume each is a file.
pub(super) const BATCH: usize = 1000;

/// Bytes that one `get-many` answers: the host holds all of them at once.
pub(super) const ANSWER: usize = 4 << 20;

/// Keys that one `list-keys` answers: with the longest ones some 2 MiB.
pub(super) const PAGE: usize = 1000;

/// Buckets and `cas` handles that one instance may have open. A `cas` holds its key.
pub(super) const HANDLES: usize = 1000;

/// Bytes of the name of a bucket in memory.
pub(super) const NAME: usize = 256;

/// Buckets in memory that one pod may have. They stay until it goes.
pub(super) const BUCKETS: usize = 64;

/// Bytes that all buckets in memory of one pod may hold, also those that nobody pays for any more
/// because their writers have ended. More belongs on a volume.
pub(super) const POD: u64 = 256 << 20;

/// Bytes that an entry in memory costs the host beyond its key and value.
pub(super) const ENTRY: u64 = 192;

/// How long a write on a volume waits for other writers. Each takes as long as the disk does to sync
/// two files, and no process comes again before those that wait; who holds a bucket for seconds has
/// hung, or means to, and meanwhile each write that waits takes one of the few threads that the pod
/// has for its files.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
