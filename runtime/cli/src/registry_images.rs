//! Images of registries for pods: pulled as kubelet would, unpacked, compiled.
//!
//! ```text
//! reference, policy, secrets ─> here? else pull ─> wasm layer ──────────> its blob ─┐
//!              ^                        └─> root: unpack, look at argv[0] ─> a file ─┴─> code
//!              └── what of it was changed on the disk, once more ─────────────────────────┘
//! ```
//!
//! Blobs are not hashed as long as all goes well: whoever compiles or unpacks them notices. How what was
//! changed comes back is in `renew`.
//!
//! What a run uses is on its lease, so that nobody collects it meanwhile.

mod renew;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use api::data::Contents;
use host::code::CodeError;
use image::credentials::{CredentialsError, DockerConfig, Keyring};
use image::digest::Algorithm;
use image::kind::Kind;
use image::manifest::Execution;
use image::progress::Progress;
use image::pull::{self, Image, Present, PullError};
use image::registry::{Client, RegistryError};
use image::root::{self, ProgramKind, Unpacked};
use image::store::{Lease, StoreError};
use image::user::{User, UserName};
use image::{Digest, Reference, Store};
use model::container::PullPolicy;
use model::lifecycle::Fetched;
use model::runtime::WasmImage;
use model::security::{self, ImageUser};
use model::working_dir;
use node::{ImageError, ImageNews, ImageWant, Objects, PreparedImage, ProgramWant};
use tokio::sync::OnceCell;

use crate::images::{FileError, Files};
use crate::used::Used;

/// The type of Secrets that hold a `config.json`, and their key.
const DOCKER_CONFIG: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");

/// The type of Secrets that hold its entries alone, and their key.
const DOCKER_LEGACY: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// Images of registries.
pub(crate) struct RegistryImages {
    store: Store,
    client: Client,
    /// Of whoever runs this; read when something is pulled.
    keyring: OnceCell<Keyring>,
    objects: Arc<dyn Objects>,
    files: Arc<Files>,
    /// For as long as the run.
    lease: OnceCell<Lease>,
    used: Used,
}

/// What an image runs: a wasm file, or why it runs nothing.
struct Found {
    /// Where the file lies, and its digest where that is known.
    wasm: Result<(PathBuf, Option<String>), String>,
    /// Its files.
    root: Option<PathBuf>,
    user: Option<ImageUser>,
    /// Its name where the image says no other.
    name: String,
}

/// What is pulled of a reference.
#[derive(Clone, Copy)]
enum Meant<'a> {
    /// What its name leads to in its registry.
    Named(Present),
    /// What it has led to here until now, to this digest, once more.
    Known(&'a Digest),
}

// === impl RegistryImages ===

impl RegistryImages {
    pub(crate) fn new(
        store: Store,
        client: Client,
        objects: Arc<dyn Objects>,
        files: Arc<Files>,
        used: Used,
    ) -> Self {
        Self {
            store,
            client,
            keyring: OnceCell::new(),
            objects,
            files,
            lease: OnceCell::new(),
            used,
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
        let (image, fetched) = self.fetch(&want, &reference).await?;
        self.take_up(&image).await;
        let error = match self.ready(&want, &reference, &image).await {
            Ok(ready) => return Ok(PreparedImage { fetched, ..ready }),
            Err(error) => error,
        };
        let Some(damage) = self.damage_of(image).await else {
            return Err(error);
        };
        let (image, fetched) = self.renew(&want, &reference, &damage).await?;
        self.take_up(&image).await;
        let ready = self.ready(&want, &reference, &image).await?;
        let fetched = Some(fetched);
        Ok(PreparedImage { fetched, ..ready })
    }

    /// Remembers an image for when the run ends.
    async fn take_up(&self, image: &Image) {
        let (used, target) = (self.used.clone(), image.target.digest.clone());
        let adding = self.store.aside(move |store| used.add(store, &target));
        if let Err(error) = adding.await {
            tracing::warn!("an image that loses its name meanwhile stays: {error}");
        }
    }

    /// An image that is in the store, ready to run.
    async fn ready(
        &self,
        want: &ImageWant,
        reference: &Reference,
        image: &Image,
    ) -> Result<PreparedImage, ImageError> {
        let pulled = |why: String| {
            let name = reference.familiar();
            failed("ErrImagePull", format!("image {name:?}: {why}"))
        };
        let found = self.find(image, reference, want).await.map_err(pulled)?;
        let none = Execution::default();
        let config = image.config.as_ref().map_or(&none, |config| &config.config);
        // What the name led to: the index's digest where it names one, as containerd has it.
        let image_id = format!("{}@{}", reference.name(), image.target.digest);
        let (wasm, broken) = self.compiled(&found, reference).await?;
        let entrypoint = match config.entrypoint.is_empty() && config.cmd.is_empty() {
            true => vec![found.name],
            false => config.entrypoint.clone(),
        };
        Ok(PreparedImage {
            image: WasmImage {
                root: found.root,
                ..wasm
            },
            entrypoint,
            cmd: config.cmd.clone(),
            env: config.variables(),
            working_dir: working_dir::clean(&config.working_dir),
            user: found.user,
            image_id,
            broken,
            fetched: None,
        })
    }

    /// Has an image in the store, as the policy says; and how it came there if it was not.
    async fn fetch(
        &self,
        want: &ImageWant,
        reference: &Reference,
    ) -> Result<(Image, Option<Fetched>), ImageError> {
        let name = &want.reference;
        if want.policy != PullPolicy::Always {
            let error = match self.local(reference).await {
                Ok(image) => return Ok((image, None)),
                Err(error) => error,
            };
            if let Some(damage) = self.damage_by(&error, reference).await {
                let (image, fetched) = self.renew(want, reference, &damage).await?;
                return Ok((image, Some(fetched)));
            }
            if want.policy == PullPolicy::Never {
                return Err(failed("ErrImageNeverPull", never(name)));
            }
        }
        match self
            .pull(want, reference, Meant::Named(Present::Trusted))
            .await
        {
            Ok((image, fetched)) => Ok((image, Some(fetched))),
            Err(why) => {
                let remedy = match self.local(reference).await {
                    Ok(_) => {
                        "; the image is here, and `imagePullPolicy: IfNotPresent` would use it"
                            .to_owned()
                    }
                    // Its name is here, and not all of it.
                    Err(PullError::Store(error @ StoreError::Absent(_))) => format!("; {error}"),
                    Err(_) => String::new(),
                };
                let message = format!("image {name:?}: {why}{remedy}");
                Err(failed("ErrImagePull", message))
            }
        }
    }

    /// Pulls an image with whatever credentials there are.
    async fn pull(
        &self,
        want: &ImageWant,
        reference: &Reference,
        meant: Meant<'_>,
    ) -> Result<(Image, Fetched), PullError> {
        let keyring = self.keyring(want).await.map_err(RegistryError::from)?;
        want.tell(ImageNews::Pulling);
        let begun = Instant::now();
        let image = self.pull_held(reference, &keyring, meant).await?;
        let fetched = Fetched {
            took: begun.elapsed(),
            bytes: image.manifest.size(),
        };
        Ok((image, fetched))
    }

    /// Pulls an image, and holds it for as long as the run. Of one that found no room nothing is
    /// held, so that what came of it can go.
    async fn pull_held(
        &self,
        reference: &Reference,
        keyring: &Keyring,
        meant: Meant<'_>,
    ) -> Result<Image, PullError> {
        let (client, store) = (&self.client, &self.store);
        let lease = self.lease().await?;
        let attempt = store.aside(Store::lease).await?;
        let progress = progress();
        let pulled = match meant {
            Meant::Named(present) => {
                let pulling = pull::pull(
                    client, store, &attempt, reference, keyring, &progress, present,
                );
                Box::pin(pulling).await
            }
            Meant::Known(target) => {
                let renewing = pull::renew(
                    client, store, &attempt, reference, target, keyring, &progress,
                );
                Box::pin(renewing).await
            }
        };
        match pulled {
            Ok(image) => {
                let holding = store.aside(move |_| pull::hold(&lease, &image).map(|()| image));
                Ok(holding.await?)
            }
            Err(error) => {
                drop(attempt);
                if error.is_full()
                    && let Err(error) = store.aside(Store::collect).await
                {
                    tracing::warn!("what came of the image stays: {error}");
                }
                Err(error)
            }
        }
    }

    /// An image that is here, held.
    async fn local(&self, reference: &Reference) -> Result<Image, PullError> {
        let (lease, reference) = (self.lease().await?, reference.clone());
        let finding = self
            .store
            .aside(move |store| pull::local(store, &lease, &reference));
        finding.await
    }

    /// The pod's credentials, then those of whoever runs this. A Secret that is missing is told and
    /// left out, as by kubelet: the image may be had without. One that is none fails the pull.
    async fn keyring(&self, want: &ImageWant) -> Result<Keyring, CredentialsError> {
        let mut keyring = Keyring::anonymous();
        let mut missing = Vec::new();
        for name in &want.pull_secrets {
            let source = format!("the Secret {}/{name}", want.namespace);
            let Some(data) = self.objects.secret(&want.namespace, name) else {
                missing.push(name.clone());
                continue;
            };
            let kind = self.objects.secret_type(&want.namespace, name);
            match of_secret(kind.as_deref().unwrap_or_default(), &data, &source)? {
                Ok(config) => keyring.add(config),
                Err(why) => tracing::warn!("{why}"),
            }
        }
        if !missing.is_empty() {
            want.tell(ImageNews::NoSecrets(missing));
        }
        let reading = async || {
            let reading = tokio::task::spawn_blocking(crate::image::keyring);
            reading.await.unwrap_or_default()
        };
        keyring.extend(self.keyring.get_or_init(reading).await);
        Ok(keyring)
    }

    /// The program, the files and the user of an image.
    async fn find(
        &self,
        image: &Image,
        reference: &Reference,
        want: &ImageWant,
    ) -> Result<Found, String> {
        let unpacked = self.unpacked(image, reference, want).await?;
        let root = unpacked.map(|unpacked| unpacked.path);
        let (image, files, meant) = (image.clone(), root.clone(), (want.program)());
        let looking = move |store: &Store| {
            let named = image.config.as_ref().map(|config| &config.config.user);
            let user = User::of(named.map_or("", String::as_str), files.as_deref());
            let user = user.map_err(|error| error.to_string())?.map(of_image);
            let wasm = match &image.kind {
                Kind::Wasm(wasm) => {
                    let digest = &wasm.layer.digest;
                    let known = digest.algorithm() == Algorithm::Sha256;
                    // Whoever compiles it holds it against a sha256, and nobody against another digest.
                    if !known && store.is_changed(digest).map_err(|e| e.to_string())? {
                        return Err(StoreError::Changed(digest.clone()).to_string());
                    }
                    let known = known.then(|| digest.hex().to_owned());
                    Ok((store.blob_path(digest), known))
                }
                Kind::Root(_) => program(&image, files.as_ref(), meant).map(|path| (path, None)),
            };
            Ok::<_, String>((wasm, user, image))
        };
        let (wasm, user, image) = self.store.aside(looking).await?;
        let title = match &image.kind {
            Kind::Wasm(wasm) => wasm.layer.title(),
            Kind::Root(_) => None,
        };
        Ok(Found {
            wasm,
            root,
            user,
            name: title.unwrap_or(reference.short_name()).to_owned(),
        })
    }

    /// The files of an image, where it has any.
    async fn unpacked(
        &self,
        image: &Image,
        reference: &Reference,
        want: &ImageWant,
    ) -> Result<Option<Unpacked>, String> {
        let layers = image.kind.root_layers().to_vec();
        if layers.is_empty() {
            return Ok(None);
        }
        let lease = self.lease().await.map_err(|e| e.to_string())?;
        let diff_ids = image.diff_ids();
        let unpacking = self
            .store
            .aside(move |store| root::unpack(store, &lease, &layers, &diff_ids, &progress()));
        let unpacked = unpacking.await.map_err(|error| error.to_string())?;
        let skipped = &unpacked.skipped;
        if skipped.count > 0 {
            let message = format!(
                "image {:?}: {} devices, FIFOs or sockets were left out, which wasm has no use for: {}",
                reference.familiar(),
                skipped.count,
                skipped.names.join(", ")
            );
            let reason = "SkippedDevices";
            want.tell(ImageNews::LeftOut { reason, message });
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

    async fn lease(&self) -> Result<Lease, StoreError> {
        let making = || self.store.aside(Store::lease);
        self.lease.get_or_try_init(making).await.cloned()
    }
}

fn failed(reason: &str, message: String) -> ImageError {
    ImageError {
        reason: reason.to_owned(),
        message,
    }
}

/// In kubelet's words.
fn never(name: &str) -> String {
    format!("Container image {name:?} is not present with pull policy of Never")
}

/// The credentials of a Secret; why it has none where it is not of a type that has any, whatever its
/// keys are called, as kubelet has it.
fn of_secret(
    kind: &str,
    data: &Contents,
    source: &str,
) -> Result<Result<DockerConfig, String>, CredentialsError> {
    let ((config, key), (legacy, legacy_key)) = (DOCKER_CONFIG, DOCKER_LEGACY);
    let found = match kind {
        kind if kind == config => data.get(key).map(|it| DockerConfig::parse(it, source)),
        kind if kind == legacy => data
            .get(legacy_key)
            .map(|it| DockerConfig::parse_legacy(it, source)),
        _ => None,
    };
    let why = || {
        format!(
            "{source} of imagePullSecrets is not used: it has the type {kind:?}; it needs `type: {config}` and the key {key}"
        )
    };
    found.transpose().map(|config| config.ok_or_else(why))
}

/// The user of an image as pods know it.
fn of_image(user: User) -> ImageUser {
    ImageUser {
        name: match user.name {
            UserName::Id(number) => security::UserName::Id(number),
            UserName::Name(name, number) => security::UserName::Name(name, number),
        },
        unknown_group: user.unknown_group,
    }
}

/// The wasm file that an image with a root runs, or why there is none: what the first word of argv
/// names, which is the pod's command, else the image's entry point, else the pod's arguments, which
/// take the place of the image's command.
fn program(image: &Image, root: Option<&PathBuf>, meant: ProgramWant) -> Result<PathBuf, String> {
    let config = image.config.as_ref().map(|config| &config.config);
    let (Some(root), Some(config)) = (root, config) else {
        return Err("it has no files".to_owned());
    };
    let entrypoint = config.entrypoint.first().cloned();
    let word = meant.command.or(entrypoint).or(meant.argument);
    let Some(word) = word.or(config.cmd.first().cloned()) else {
        return Err(
            "no command specified: the image names no program, and the container has no `command`"
                .to_owned(),
        );
    };
    let search = meant.path.or(config.variable("PATH"));
    let working_dir = meant.working_dir.as_ref().unwrap_or(&config.working_dir);
    let found = root::program(root, &word, search.as_deref(), working_dir);
    match found.map_err(|error| format!("exec: {word:?}: {error}"))? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_secrets_of_their_types_alone() {
        let both = [
            (".dockerconfigjson", r#"{"auths": {"r.example": {}}}"#),
            (".dockercfg", r#"{"r.example": {}, "s.example": {}}"#),
        ];
        let both = both.map(|(key, text)| (key.to_owned(), bytes::Bytes::from(text)));
        let both: Contents = both.into();
        let cases = [
            ("kubernetes.io/dockerconfigjson", Some(r#"["r.example"]"#)),
            (
                "kubernetes.io/dockercfg",
                Some(r#"["r.example", "s.example"]"#),
            ),
            ("Opaque", None),
            ("", None),
        ];
        for (kind, wanted) in cases {
            let found = of_secret(kind, &both, "the Secret a/b").expect("no fault");
            let shown = found.as_ref().ok().map(|config| format!("{config:?}"));
            assert_eq!(shown.as_deref(), wanted, "{kind}");
            let tells = found.err().is_none_or(|why| why.contains("the Secret a/b"));
            assert!(tells, "{kind}");
        }
        let none = Contents::new();
        let found = of_secret(DOCKER_CONFIG.0, &none, "x").expect("no fault");
        assert!(found.is_err());
    }
}
