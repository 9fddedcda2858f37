//! Images of registries for pods: pulled as kubelet would, unpacked, compiled.
//!
//! ```text
//! reference, policy, secrets ─> here? else pull ─> wasm layer ──────────> its blob ─┐
//!                                       └─> root: unpack, look at argv[0] ─> a file ─┴─> code
//! ```
//!
//! What a run uses is on its lease, so that nobody collects it meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use host::code::CodeError;
use image::credentials::{DockerConfig, Keyring};
use image::digest::Algorithm;
use image::kind::Kind;
use image::manifest::Execution;
use image::progress::Progress;
use image::pull::{self, Image};
use image::registry::Client;
use image::root::{self, ProgramKind, Unpacked};
use image::store::Lease;
use image::{Reference, Store};
use model::container::PullPolicy;
use model::lifecycle::Fetched;
use model::runtime::WasmImage;
use node::{ImageError, ImageWant, Objects, PreparedImage};

use crate::images::{FileError, Files};

/// The key of a Secret of the type kubernetes.io/dockerconfigjson.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// The key of a Secret of the type kubernetes.io/dockercfg.
const DOCKER_LEGACY: &str = ".dockercfg";

/// Images of registries.
pub(crate) struct RegistryImages {
    store: Store,
    client: Client,
    /// Of whoever runs this; read when something is pulled.
    keyring: OnceLock<Keyring>,
    objects: Arc<dyn Objects>,
    files: Arc<Files>,
    /// For as long as the run.
    lease: OnceLock<Arc<Lease>>,
}

/// What an image runs: a wasm file, or why it runs nothing.
struct Found {
    /// Where the file lies, and its digest where that is known.
    wasm: Result<(PathBuf, Option<String>), String>,
    /// Its files.
    root: Option<PathBuf>,
    /// Its name where the image says no other.
    name: String,
}

// === impl RegistryImages ===

impl RegistryImages {
    pub(crate) fn new(
        store: Store,
        client: Client,
        objects: Arc<dyn Objects>,
        files: Arc<Files>,
    ) -> Self {
        Self {
            store,
            client,
            keyring: OnceLock::new(),
            objects,
            files,
            lease: OnceLock::new(),
        }
    }

    /// Has an image ready to run.
    ///
    /// # Errors
    /// With the reasons that kubelet gives.
    pub(crate) async fn prepare(&self, want: ImageWant) -> Result<PreparedImage, ImageError> {
        let reference: Reference = want.reference.parse().map_err(|error| ImageError {
            reason: "InvalidImageName".to_owned(),
            message: format!(
                "Failed to apply default image tag {:?}: couldn't parse image name: {error}",
                want.reference
            ),
        })?;
        let command = want.command.clone();
        let (image, fetched) = self.fetch(want, &reference).await?;
        let pulled = |why: String| ImageError {
            reason: "ErrImagePull".to_owned(),
            message: format!("image {:?}: {why}", reference.familiar()),
        };
        let found = self
            .find(&image, &reference, command)
            .await
            .map_err(pulled)?;
        let none = Execution::default();
        let config = image.config.as_ref().map_or(&none, |config| &config.config);
        let image_id = format!("{}@{}", reference.name(), image.digest);
        let (wasm, broken) = self.compiled(&found, &reference).await?;
        let entrypoint = match config.entrypoint.is_empty() && config.cmd.is_empty() {
            true => vec![found.name],
            false => config.entrypoint.clone(),
        };
        let working_dir = match config.working_dir.starts_with('/') {
            true => config.working_dir.clone(),
            false => format!("/{}", config.working_dir),
        };
        Ok(PreparedImage {
            image: WasmImage {
                root: found.root,
                ..wasm
            },
            entrypoint,
            cmd: config.cmd.clone(),
            env: config.variables(),
            working_dir,
            image_id,
            broken,
            fetched,
        })
    }

    /// Has an image in the store, as the policy says; and how it came there if it was not.
    async fn fetch(
        &self,
        want: ImageWant,
        reference: &Reference,
    ) -> Result<(Image, Option<Fetched>), ImageError> {
        let failed = |reason: &str, message: String| ImageError {
            reason: reason.to_owned(),
            message,
        };
        let lease = self
            .lease()
            .map_err(|error| failed("ErrImagePull", error.to_string()))?;
        if want.policy != PullPolicy::Always {
            match pull::local(&self.store, &lease, reference) {
                Ok(image) => return Ok((image, None)),
                Err(_) if want.policy == PullPolicy::Never => {
                    let message = format!(
                        "Container image {:?} is not present with pull policy of Never",
                        want.reference
                    );
                    return Err(failed("ErrImageNeverPull", message));
                }
                Err(_) => {}
            }
        }
        let keyring = self.keyring(&want);
        if let Some(pulling) = want.pulling {
            pulling();
        }
        let (begun, progress) = (Instant::now(), progress());
        let pulled = pull::pull(
            &self.client,
            &self.store,
            &lease,
            reference,
            &keyring,
            &progress,
        );
        let image = pulled.await.map_err(|error| {
            let name = &want.reference;
            failed("ErrImagePull", format!("image {name:?}: {error}"))
        })?;
        let fetched = Fetched {
            took: begun.elapsed(),
            bytes: image.manifest.size(),
        };
        Ok((image, Some(fetched)))
    }

    /// The pod's credentials, then those of whoever runs this. A Secret that is missing or none is
    /// told and left out, as by kubelet: the image may be had without.
    fn keyring(&self, want: &ImageWant) -> Keyring {
        let mut keyring = Keyring::anonymous();
        for name in &want.pull_secrets {
            let source = format!("the Secret {}/{name}", want.namespace);
            let Some(data) = self.objects.secret(&want.namespace, name) else {
                tracing::warn!("{source} of imagePullSecrets is missing: the pull may not succeed");
                continue;
            };
            let config = match (data.get(DOCKER_CONFIG), data.get(DOCKER_LEGACY)) {
                (Some(bytes), _) => DockerConfig::parse(bytes, &source),
                (None, Some(bytes)) => DockerConfig::parse_legacy(bytes, &source),
                (None, None) => {
                    tracing::warn!("{source} of imagePullSecrets has no {DOCKER_CONFIG}");
                    continue;
                }
            };
            match config {
                Ok(config) => keyring.add(config),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        keyring.extend(self.keyring.get_or_init(crate::image::keyring));
        keyring
    }

    /// The program and the files of an image.
    async fn find(
        &self,
        image: &Image,
        reference: &Reference,
        command: Option<String>,
    ) -> Result<Found, String> {
        let unpacked = self.unpacked(image, reference).await?;
        let root = unpacked.map(|unpacked| unpacked.path);
        if let Kind::Wasm(wasm) = &image.kind {
            let digest = &wasm.layer.digest;
            let known = digest.algorithm() == Algorithm::Sha256;
            return Ok(Found {
                wasm: Ok((
                    self.store.blob_path(digest),
                    known.then(|| digest.hex().to_owned()),
                )),
                root,
                name: wasm
                    .layer
                    .title()
                    .unwrap_or(reference.short_name())
                    .to_owned(),
            });
        }
        let wasm = program(image, root.as_ref(), command);
        Ok(Found {
            wasm: wasm.map(|path| (path, None)),
            root,
            name: reference.short_name().to_owned(),
        })
    }

    /// The files of an image, where it has any.
    async fn unpacked(
        &self,
        image: &Image,
        reference: &Reference,
    ) -> Result<Option<Unpacked>, String> {
        let layers = image.kind.root_layers().to_vec();
        if layers.is_empty() {
            return Ok(None);
        }
        let (store, lease) = (self.store.clone(), self.lease().map_err(|e| e.to_string())?);
        let diff_ids = match (&image.kind, &image.config) {
            (Kind::Root(_), Some(config)) => config.rootfs.diff_ids.clone(),
            _ => Vec::new(),
        };
        let unpacking = tokio::task::spawn_blocking(move || {
            root::unpack(&store, &lease, &layers, &diff_ids, &progress())
        });
        let unpacked = unpacking.await.map_err(|error| error.to_string())?;
        let unpacked = unpacked.map_err(|error| error.to_string())?;
        let skipped = &unpacked.skipped;
        if skipped.count > 0 {
            tracing::warn!(
                "image {}: {} devices, FIFOs or sockets were left out: {}",
                reference.familiar(),
                skipped.count,
                skipped.names.join(", ")
            );
        }
        Ok(Some(unpacked))
    }

    /// Code for what was found; an image that never runs is told so.
    async fn compiled(
        &self,
        found: &Found,
        reference: &Reference,
    ) -> Result<(WasmImage, Option<String>), ImageError> {
        let broken = |why: String| {
            let nothing = WasmImage {
                code: PathBuf::new(),
                digest: String::new(),
                root: None,
            };
            let name = reference.familiar();
            Ok((nothing, Some(format!("image {name:?}: {why}"))))
        };
        let (path, digest) = match &found.wasm {
            Ok(wasm) => wasm,
            Err(why) => return broken(why.clone()),
        };
        let compiled = match digest {
            Some(digest) => self.files.known(path, digest.clone()).await,
            None => self.files.image(path).await,
        };
        match compiled {
            Ok(image) => Ok((image, None)),
            Err(FileError::Code(error @ CodeError::BadWasm { .. })) => broken(error.to_string()),
            Err(error) => Err(ImageError {
                reason: "ErrImagePull".to_owned(),
                message: format!("image {:?}: {error}", reference.familiar()),
            }),
        }
    }

    fn lease(&self) -> Result<Arc<Lease>, image::store::StoreError> {
        if let Some(lease) = self.lease.get() {
            return Ok(Arc::clone(lease));
        }
        let made = Arc::new(self.store.lease()?);
        Ok(Arc::clone(self.lease.get_or_init(|| made)))
    }
}

/// The wasm file that an image with a root runs: what the pod's command names, else the image's
/// own; or why there is none.
fn program(
    image: &Image,
    root: Option<&PathBuf>,
    command: Option<String>,
) -> Result<PathBuf, String> {
    let config = image.config.as_ref().map(|config| &config.config);
    let (Some(root), Some(config)) = (root, config) else {
        return Err("it has no files".to_owned());
    };
    let own = config.entrypoint.first().or(config.cmd.first()).cloned();
    let Some(word) = command.or(own) else {
        return Err(
            "no command specified: the image names no program, and the container has no `command`"
                .to_owned(),
        );
    };
    let search = config.variable("PATH");
    let found = root::program(root, &word, search.as_deref(), &config.working_dir);
    match found.map_err(|error| error.to_string())? {
        None => Err(format!("exec: {word:?}: no such file in the image")),
        Some(program) => match program.kind {
            ProgramKind::Wasm => Ok(program.path),
            ProgramKind::Elf => Err(format!(
                "exec: {word:?} is a Linux program, and this version runs wasm only: use an image whose program is a wasm file"
            )),
            ProgramKind::Script => Err(format!(
                "exec: {word:?} is a script, which needs a Linux shell: this version runs wasm only"
            )),
            ProgramKind::Other => Err(format!(
                "exec: {word:?}: exec format error: it is no wasm file"
            )),
        },
    }
}

/// Retries and waits are the log's: a run shows Events.
fn progress() -> Progress {
    Progress::to(|step| tracing::debug!(?step, "an image"))
}
