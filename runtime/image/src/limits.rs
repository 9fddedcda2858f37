//! The limits of everything that comes from outside, each with its reason.

use std::time::Duration;

/// The largest manifest or index, in bytes: what registries themselves take.
pub const MANIFEST: u64 = 4 << 20;

/// The largest configuration of an image, in bytes: histories of long builds have some hundred KiB.
pub const CONFIG: u64 = 4 << 20;

/// How deep indexes may lie in indexes: one that names itself has to end somewhere.
pub const INDEX_DEPTH: usize = 3;

/// The most manifests of one index: platforms, each with its attestations, and then some.
pub const INDEX_ENTRIES: usize = 1024;

/// The most layers of one image: overlay mounts end at 500, builders at 127.
pub const LAYERS: usize = 512;

/// The largest single blob, in bytes: images with a model in one layer have some GiB.
pub const BLOB: u64 = 32 << 30;

/// The largest image, all blobs together, in bytes.
pub const IMAGE: u64 = 64 << 30;

/// The largest wasm file, in bytes; the compiler takes no larger one.
pub const WASM: u64 = 512 << 20;

/// The largest `/etc/passwd` or `/etc/group` of an image that is read, in bytes: machines with a
/// thousand users have a tenth of it.
pub const USERS: u64 = 1 << 20;

/// The largest unpacked root file system, in bytes.
pub const ROOT: u64 = 64 << 30;

/// The most bytes of files that are unpacked to look at an image's program: whoever asks what it is does
/// not want gigabytes written.
pub const LOOK: u64 = 256 << 20;

/// The most entries of an unpacked root: a distribution with everything has some hundred thousand.
pub const ENTRIES: u64 = 1_000_000;

/// How many times larger than the layer its files may be, beyond [`RATIO_FREE`]. Text compresses
/// ten to one; only zeros come near this.
pub const RATIO: u64 = 200;

/// What any layer may unpack to, in bytes, whatever its ratio: a small file of zeros is no attack.
pub const RATIO_FREE: u64 = 256 << 20;

/// The longest path in a layer, in bytes: PATH_MAX.
pub const PATH: usize = 4096;

/// The deepest path in a layer: each directory on it is looked up by name.
pub const DEPTH: usize = 256;

/// The longest extension record of a tar entry, in bytes: a long path, a long link, and extended
/// attributes, which may have 64 KiB.
pub const TAR_EXTENSION: u64 = 1 << 20;

/// The most bytes of a registry's error that are read and shown in part.
pub const ERROR_BODY: u64 = 64 << 10;

/// How long the body of a registry's error is waited for: its status is known by then, and it comes
/// with that or not at all.
pub const ERROR_WAIT: Duration = Duration::from_secs(5);

/// The largest answer of a token server or credential helper, in bytes: tokens have some KiB.
pub const TOKEN: u64 = 256 << 10;

/// The largest credentials file, in bytes: a Secret holds 1 MiB at most.
pub const CREDENTIALS: u64 = 1 << 20;

/// How long a connection may take to be made, TLS and all.
pub const CONNECT: Duration = Duration::from_secs(30);

/// How long a registry may be silent while it owes us something.
pub const IDLE: Duration = Duration::from_secs(60);

/// The least that has to come within [`IDLE`], in bytes: a body that drips is as good as none.
pub const PACE: u64 = 16 << 10;

/// The least that a blob has to come at on the whole, in bytes per second, retries and waits
/// included: meanwhile nobody else who wants it can bring it. Three at once are a line of 0.8 Mbit/s.
pub const BLOB_PACE: u64 = 32 << 10;

/// For how long [`BLOB_PACE`] is not asked for: caches that fetch a blob themselves begin slowly, and
/// lines fail for some minutes.
pub const BLOB_START: Duration = Duration::from_secs(600);

/// How long a credential helper may take: some ask a cloud's service.
pub const HELPER: Duration = Duration::from_secs(60);

/// How often a request, or a download that brings nothing, is tried before its error is told.
pub const TRIES: u32 = 5;

/// The longest wait that a registry may ask for before we tell the error instead: whoever wanted
/// the image has a back-off of their own.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The first wait after a failed try; each further one is twice as long.
pub const BACK_OFF: Duration = Duration::from_millis(500);

/// The most redirects of one request.
pub const REDIRECTS: usize = 5;

/// The most entries of an archive that is imported: blobs of many images, and their folders.
pub const ARCHIVE_ENTRIES: usize = 100_000;

/// The most images of an archive, and names of all of them: machines with everything have some
/// hundred, and each is read and written.
pub const ARCHIVE_IMAGES: usize = 1024;

/// What is kept of an archive in memory until its end is read, in bytes: its small files, and the
/// names of all.
pub const ARCHIVE_MEMORY: u64 = 64 << 20;

/// The most small files of an archive that are kept in memory until its end is read.
pub const ARCHIVE_SMALL: usize = 4096;
