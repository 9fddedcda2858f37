//! Images of a run: wasm files of this machine (`file:`) here, those of registries beside.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::CodeStore;
use host::code::CodeError;
use model::runtime::WasmImage;
use node::{ImageError, ImageWant, Images, PreparedImage};
use tokio::sync::mpsc::UnboundedSender;

use crate::registry_images::RegistryImages;

/// The largest wasm file; the compiler takes no larger one.
const FILE: u64 = 512 << 20;

/// Turns wasm files into images that can run.
pub(crate) struct Files {
    code: Arc<CodeStore>,
    /// Digests of files that have not changed since they were read.
    digests: Mutex<HashMap<Seen, String>>,
}

/// The images of a run: `file:` ones, each at a known path, and those of registries.
pub(crate) struct RunImages {
    files: Arc<Files>,
    paths: HashMap<String, PathBuf>,
    registries: RegistryImages,
    /// Who is told of the first image that cannot be had, where nothing is to wait for it.
    failed: Option<UnboundedSender<String>>,
}

/// What tells that a file is the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Why a file is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It is not there, or cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory or device.
    #[error("{0} is not a file")]
    NoFile(PathBuf),
    /// It is larger than any program.
    #[error("{0} is larger than {limit} MiB", limit = FILE >> 20)]
    TooLarge(PathBuf),
    /// It cannot be compiled.
    #[error(transparent)]
    Code(#[from] CodeError),
}

// === impl Files ===

impl Files {
    pub(crate) fn new(code: Arc<CodeStore>) -> Self {
        Self {
            code,
            digests: Mutex::default(),
        }
    }

    /// The image in this file, compiled now if it was not yet.
    ///
    /// # Errors
    /// [`FileError`], naming the file.
    pub(crate) async fn image(&self, path: &Path) -> Result<WasmImage, FileError> {
        let digest = self.digest(path).await?;
        self.known(path, digest).await
    }

    /// The same of a file whose digest is known.
    ///
    /// # Errors
    /// [`FileError`], naming the file.
    pub(crate) async fn known(&self, path: &Path, digest: String) -> Result<WasmImage, FileError> {
        let code = self.code.code(path, &digest).await?;
        Ok(WasmImage {
            code,
            digest,
            root: None,
        })
    }

    /// The digest of a file; one that has not been read yet is, where threads may wait.
    async fn digest(&self, path: &Path) -> Result<String, FileError> {
        let (file, seen) = self.look(path)?;
        if let Some(digest) = self.digests().get(&seen) {
            return Ok(digest.clone());
        }
        let size = usize::try_from(seen.size).unwrap_or_default();
        let hashing = tokio::task::spawn_blocking(move || {
            let mut wasm = Vec::with_capacity(size);
            file.take(FILE + 1).read_to_end(&mut wasm)?;
            Ok(engine::cache::digest(&wasm))
        });
        let digest = hashing
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| FileError::Read {
                path: path.to_owned(),
                source,
            })?;
        self.digests().insert(seen, digest.clone());
        Ok(digest)
    }

    fn digests(&self) -> MutexGuard<'_, HashMap<Seen, String>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file, and looks at it.
    fn look(&self, path: &Path) -> Result<(fs::File, Seen), FileError> {
        let read = |source| FileError::Read {
            path: path.to_owned(),
            source,
        };
        // Opened without waiting: a FIFO must not hold a pod up.
        let options = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut open = fs::File::options();
        let file = std::os::unix::fs::OpenOptionsExt::custom_flags(open.read(true), options)
            .open(path)
            .map_err(read)?;
        let about = file.metadata().map_err(read)?;
        if !about.is_file() {
            return Err(FileError::NoFile(path.to_owned()));
        }
        if about.len() > FILE {
            return Err(FileError::TooLarge(path.to_owned()));
        }
        let seen = Seen {
            device: about.dev(),
            inode: about.ino(),
            size: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
        };
        Ok((file, seen))
    }
}

// === impl RunImages ===

impl RunImages {
    /// Images by what the manifests call them, and where each lies.
    pub(crate) fn new(
        files: Arc<Files>,
        paths: HashMap<String, PathBuf>,
        registries: RegistryImages,
    ) -> Self {
        Self {
            files,
            paths,
            registries,
            failed: None,
        }
    }

    /// Tells there why an image cannot be had, and lets its container wait for whoever hears it to
    /// end the run, instead of trying again.
    pub(crate) fn telling(self, failed: UnboundedSender<String>) -> Self {
        Self {
            failed: Some(failed),
            ..self
        }
    }

    async fn find(&self, want: ImageWant) -> Result<PreparedImage, ImageError> {
        let reference = want.reference.clone();
        match reference.strip_prefix("file:") {
            Some(file) => self.file(&reference, file).await,
            None => self.registries.prepare(want).await,
        }
    }

    /// A wasm file as an image.
    async fn file(&self, reference: &str, file: &str) -> Result<PreparedImage, ImageError> {
        let path = self
            .paths
            .get(reference)
            .cloned()
            .unwrap_or_else(|| PathBuf::from(file));
        let name = path.file_name().map_or_else(
            || file.to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let (image, broken) = match self.files.image(&path).await {
            Ok(image) => (image, None),
            // The file is here: waiting for another one would be waiting for ever.
            Err(FileError::Code(error @ CodeError::BadWasm { .. })) => {
                let nothing = WasmImage {
                    code: PathBuf::new(),
                    digest: self.files.digest(&path).await.unwrap_or_default(),
                    root: None,
                };
                (nothing, Some(format!("image {reference:?}: {error}")))
            }
            Err(error) => {
                return Err(ImageError {
                    reason: "ErrImagePull".to_owned(),
                    message: format!("image {reference:?}: {error}"),
                });
            }
        };
        Ok(PreparedImage {
            image_id: format!("sha256:{}", image.digest),
            image,
            entrypoint: vec![name],
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            user: None,
            broken,
            fetched: None,
        })
    }
}

/// The refusal of an image that does not know its own user or group, as `docker run` has it. (A
/// manifest may name others.)
fn no_user(reference: &str, image: &PreparedImage) -> Option<String> {
    let user = image.user.as_ref()?;
    let why = user.no_such_user().or(user.no_such_group())?;
    Some(format!(
        "image {reference:?}: {why}; build it with a USER of names that are there or of numbers, or \
         run it from a manifest that sets securityContext.runAsUser"
    ))
}

impl Images for RunImages {
    fn prepare(
        &self,
        want: ImageWant,
    ) -> Pin<Box<dyn Future<Output = Result<PreparedImage, ImageError>> + Send + '_>> {
        Box::pin(async move {
            let reference = want.reference.clone();
            let found = self.find(want).await;
            let Some(failed) = &self.failed else {
                return found;
            };
            let why = match found {
                Ok(image) => match image.broken.clone().or(no_user(&reference, &image)) {
                    Some(why) => why,
                    None => return Ok(image),
                },
                Err(error) => error.message,
            };
            // Nobody who hears it means that the run is over.
            let _ = failed.send(why);
            std::future::pending().await
        })
    }
}
