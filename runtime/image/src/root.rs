//! Root file systems: layers unpacked once, shared by all containers of the image. Which program is
//! run in one, `program` finds.

mod program;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, syncfs};

pub use program::{Program, ProgramError, ProgramKind, program};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::manifest::{Descriptor, media};
use crate::progress::{Progress, Step};
use crate::store::{Lease, Store, StoreError, failed, is_full, is_still, open_lock};
use crate::unpack::{Bounds, Skipped, UnpackError, Unpacker};

/// Changes when layers are unpacked otherwise than before: old roots are then not used.
const REVISION: &str = "1";

/// A root that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Its directory.
    pub path: PathBuf,
    /// What was left out, where it was unpacked just now.
    pub skipped: Skipped,
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The store cannot have it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer cannot be unpacked.
    #[error("layer {layer}: {source}")]
    Unpack {
        /// Its digest.
        layer: Digest,
        /// Why not.
        source: UnpackError,
    },
}

/// The name of the root that these layers make, which are what the configuration says: another that
/// says something else of them is not believed for what one said before.
pub fn key(layers: &[Descriptor], diff_ids: &[Digest]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(REVISION.as_bytes());
    let layers = layers.iter().enumerate();
    for (number, layer) in layers.filter(|(_, it)| media::tar_layer(&it.media_type).is_some()) {
        hasher.update(format!("\n{} {}", layer.media_type, layer.digest).as_bytes());
        if let Some(diff_id) = diff_ids.get(number) {
            hasher.update(format!(" {diff_id}").as_bytes());
        }
    }
    hasher.finish().hex().to_owned()
}

/// Has layers unpacked, and holds the root on the lease. May take long: not to be called where
/// tasks run. Whoever wants the same root meanwhile, in whichever process, waits.
///
/// # Errors
/// When a layer is not here or cannot be unpacked, with its digest.
pub fn unpack(
    store: &Store,
    lease: &Lease,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    progress: &Progress,
) -> Result<Unpacked, RootError> {
    let bounds = Bounds::default();
    unpack_within(store, lease, layers, diff_ids, bounds, progress)
}

/// The same of what is no larger than this, where it is not unpacked already.
///
/// # Errors
/// As [`unpack`], and when it is larger.
pub fn unpack_within(
    store: &Store,
    lease: &Lease,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    bounds: Bounds,
    progress: &Progress,
) -> Result<Unpacked, RootError> {
    let key = key(layers, diff_ids);
    lease.hold_root(&key)?;
    let path = store.room("roots").join(&key);
    let lock = store.room("ingest").join(format!("root-{key}.lock"));
    let _alone = alone(&lock)?;
    if path.is_dir() {
        let skipped = Skipped::default();
        return Ok(Unpacked { path, skipped });
    }
    let stage = store.stage_directory("root")?;
    let staged = stage.path();
    let filled = fill(store, staged, bounds, layers, diff_ids, progress);
    let skipped = filled.map_err(|error| match error {
        RootError::Unpack {
            source: UnpackError::Io { source, .. },
            ..
        } if is_full(&source) => failed("write", &path)(source).into(),
        error => error,
    })?;
    sync(staged).map_err(failed("sync", staged))?;
    stage.keep(&path)?;
    Ok(Unpacked { path, skipped })
}

/// Has the disk hold all of a tree before it gets its name: half a root after a power cut would be
/// taken for a whole one. One call for the file system costs less than one for each file.
fn sync(tree: &Path) -> io::Result<()> {
    let tree = openat(
        CWD,
        tree,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(syncfs(&tree)?)
}

/// The lock of a root, once nobody else has it.
fn alone(lock: &Path) -> Result<File, StoreError> {
    loop {
        let file = open_lock(lock).map_err(failed("open", lock))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| failed("lock", lock)(e.into()))?;
        if is_still(lock, &file) {
            return Ok(file);
        }
    }
}

fn fill(
    store: &Store,
    directory: &Path,
    bounds: Bounds,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    progress: &Progress,
) -> Result<Skipped, RootError> {
    let failed = |layer: &Descriptor| {
        let layer = layer.digest.clone();
        move |source| RootError::Unpack { layer, source }
    };
    let Some(first) = layers.first() else {
        return Ok(Skipped::default());
    };
    let unpacker = Unpacker::new(directory, bounds);
    let mut unpacker = unpacker.map_err(failed(first))?;
    for (number, layer) in layers.iter().enumerate() {
        progress.tell(Step::Unpacking(number + 1, layers.len()));
        let Some(compression) = media::tar_layer(&layer.media_type) else {
            continue;
        };
        let diff_id = diff_ids.get(number);
        // What its tar should be nobody says, so it is held against its own digest.
        if diff_id.is_none() && store.is_changed(&layer.digest)? {
            return Err(StoreError::Changed(layer.digest.clone()).into());
        }
        let content = store.blob(&layer.digest)?;
        let unpacked = unpacker.layer(content, layer.size, compression, diff_id);
        // What is wrong with it may be the disk's fault, however it shows.
        let is_of_content = unpacked.as_ref().is_err_and(UnpackError::is_of_content);
        if is_of_content && store.is_changed(&layer.digest)? {
            return Err(StoreError::Changed(layer.digest.clone()).into());
        }
        unpacked.map_err(failed(layer))?;
    }
    Ok(unpacker.skipped().clone())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::pull;
    use crate::reference::Reference;
    use crate::testing::{Entry, gzip, store, tar, zstd};
    use crate::unpack::FILES;

    #[test]
    fn layers_are_unpacked_once_and_go_with_their_lease() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let lower = tar(&[Entry::File("a", b"x"), Entry::Fifo("pipe")]);
        let packed = gzip(&lower);
        let layer = store
            .put(&lease, media::OCI_TAR_GZIP, &packed)
            .expect("put");
        let layers = [layer];
        let diff_ids = [Digest::of(&lower)];
        let none = Progress::none();
        let first = unpack(&store, &lease, &layers, &diff_ids, &none).expect("unpacked");
        assert_eq!(
            (first.skipped.count, first.skipped.names.as_slice()),
            (1, &["pipe".to_owned()][..])
        );
        let again = unpack(&store, &lease, &layers, &diff_ids, &none).expect("there");
        assert_eq!(
            (again.path.as_path(), again.skipped.count),
            (first.path.as_path(), 0)
        );
        drop(lease);
        assert_eq!(store.collect().expect("collected").roots, 1);
        assert!(!first.path.exists());
    }

    #[test]
    fn what_is_larger_than_it_may_be_is_not_kept() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let files = tar(&[Entry::File("a", b"12"), Entry::File("b", b"34")]);
        let packed = gzip(&files);
        let layer = store.put(&lease, media::OCI_TAR_GZIP, &packed);
        let layers = [layer.expect("put")];
        let diff_ids = [Digest::of(&files)];
        let unpacked = |files: u64| {
            let bounds = Bounds {
                files,
                ..Bounds::default()
            };
            let none = Progress::none();
            unpack_within(&store, &lease, &layers, &diff_ids, bounds, &none)
        };
        let error = unpacked(3).expect_err("too large");
        let is_larger = matches!(
            error,
            RootError::Unpack {
                source: UnpackError::TooMuch { what: FILES, .. },
                ..
            }
        );
        assert!(is_larger, "{error}");
        let roots = fs::read_dir(store.room("roots")).expect("a room");
        assert_eq!(roots.count(), 0);
        unpacked(4).expect("unpacked");
        unpacked(3).expect("it is there already");
    }

    #[test]
    fn files_beside_a_wasm_layer_are_held_against_the_configuration_too() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let files = tar(&[Entry::File("a", b"x")]);
        let put = |media_type: &str, bytes: &[u8]| store.put(&lease, media_type, bytes);
        let wasm = put(media::WASM, b"\0asm\x01\0\0\0").expect("put");
        let layer = put(media::OCI_TAR, &files).expect("put");
        let (right, wrong) = (Digest::of(&files), Digest::of(b"something else"));
        let cases = [
            (vec![&wasm.digest, &right], true),
            (vec![&wasm.digest, &wrong], false),
            // Of which layers these are nobody says.
            (vec![&wrong], true),
            (vec![], true),
        ];
        for (number, (diff_ids, is_taken)) in cases.into_iter().enumerate() {
            let config = json!({
                "architecture": "wasm", "os": "wasi",
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            });
            let config = put(media::OCI_CONFIG, config.to_string().as_bytes()).expect("put");
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
                "config": config, "layers": [wasm, layer],
            });
            let manifest = put(media::OCI_MANIFEST, manifest.to_string().as_bytes());
            let target = manifest.expect("put");
            let name: Reference = format!("app:{number}").parse().expect("a reference");
            store.name(&name, &target).expect("named");
            let image = pull::of_target(&store, target).expect("an image");
            let (layers, none) = (image.kind.root_layers(), Progress::none());
            let unpacked = unpack(&store, &lease, layers, &image.diff_ids(), &none);
            assert_eq!(unpacked.is_ok(), is_taken, "{diff_ids:?}");
        }
        drop(lease);
        // Names hold what was unpacked of their images.
        assert_eq!(store.collect().expect("collected").roots, 0);
    }

    #[test]
    fn many_that_want_a_root_unpack_it_once_whatever_is_collected() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let content = tar(&[Entry::Fifo("pipe"), Entry::File("a", &[7; 100_000])]);
        let layer = store.put(&lease, media::OCI_TAR, &content).expect("put");
        let layers = [layer];
        let unpacked = || {
            let root = unpack(&store, &lease, &layers, &[], &Progress::none()).expect("unpacked");
            assert!(root.path.join("a").is_file());
            // Only the one that unpacks it knows what it left out.
            root.skipped.count
        };
        let total: u64 = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8).map(|_| scope.spawn(unpacked)).collect();
            for _ in 0..20 {
                store.collect().expect("collected");
            }
            let counts = tasks.into_iter().map(|task| task.join().expect("a thread"));
            counts.sum()
        });
        assert_eq!(total, 1);
    }

    #[test]
    fn a_layer_of_which_nobody_says_what_it_is_is_held_against_its_digest() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let (right, wrong) = (
            tar(&[Entry::File("a", b"right")]),
            tar(&[Entry::File("a", b"wrong")]),
        );
        let layers = [store.put(&lease, media::OCI_TAR, &right).expect("put")];
        fs::write(store.blob_path(&layers[0].digest), &wrong).expect("written");
        let none = Progress::none();
        let error = unpack(&store, &lease, &layers, &[], &none).expect_err("refused");
        let is_told = matches!(error, RootError::Store(StoreError::Changed(_)));
        assert!(is_told, "{error}");
        // Where the configuration says what it is, the tar shows it, and the image is not blamed.
        let outside = tar(&[Entry::File("../a", b"right")]);
        let nowhere = tar(&[Entry::HardLink("a", "b")]);
        for changed in [wrong, outside, nowhere, vec![7; 1024]] {
            fs::write(store.blob_path(&layers[0].digest), changed).expect("written");
            let error = unpack(&store, &lease, &layers, &[Digest::of(&right)], &none);
            let is_told = matches!(error, Err(RootError::Store(StoreError::Changed(_))));
            assert!(is_told, "{error:?}");
        }
        fs::write(store.blob_path(&layers[0].digest), right).expect("written");
        unpack(&store, &lease, &layers, &[], &none).expect("unpacked");
    }

    #[test]
    fn a_changed_layer_that_still_decompresses_is_not_blamed_on_the_image() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let right = tar(&[Entry::File("a", b"right")]);
        let packed = zstd(&right);
        let layers = [store
            .put(&lease, media::OCI_TAR_ZSTD, &packed)
            .expect("put")];
        let diff_ids = [Digest::of(&right)];
        let at = packed.len() - 1;
        let mut changed = packed.clone();
        changed[at] ^= 1;
        let blob = store.blob_path(&layers[0].digest);
        fs::write(&blob, changed).expect("written");
        let none = Progress::none();
        let error = unpack(&store, &lease, &layers, &diff_ids, &none);
        let is_told = matches!(error, Err(RootError::Store(StoreError::Changed(_))));
        assert!(is_told, "{error:?}");
        fs::write(&blob, packed).expect("written");
        unpack(&store, &lease, &layers, &diff_ids, &none).expect("unpacked");
    }

    #[test]
    fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
        let (_folder, store) = store();
        let lease = store.lease().expect("a lease");
        let layer = store
            .put(&lease, media::OCI_TAR, &tar(&[Entry::File("a", b"x")]))
            .expect("put");
        let wrong = [Digest::of(b"something else")];
        let none = Progress::none();
        let layers = [layer];
        let error = unpack(&store, &lease, &layers, &wrong, &none).expect_err("refused");
        assert!(
            error.to_string().contains("the configuration says"),
            "{error}"
        );
        assert_eq!(
            fs::read_dir(store.room("roots")).expect("a room").count(),
            0
        );
        // Nor where another image has the same layer unpacked already.
        let right = [Digest::of(&tar(&[Entry::File("a", b"x")]))];
        unpack(&store, &lease, &layers, &right, &none).expect("unpacked");
        unpack(&store, &lease, &layers, &wrong, &none).expect_err("refused again");
    }
}
