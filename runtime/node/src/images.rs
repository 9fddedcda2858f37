//! Images, wherever they come from: wasm files of this machine, or registries.

use std::pin::Pin;

use model::container::PullPolicy;
use model::lifecycle::Fetched;
use model::runtime::WasmImage;

/// Has images ready to run.
pub trait Images: Send + Sync + 'static {
    /// Has an image here, as its pull policy says. Ready at once where nothing needs to be done.
    fn prepare(
        &self,
        want: ImageWant,
    ) -> Pin<Box<dyn Future<Output = Result<PreparedImage, ImageError>> + Send + '_>>;
}

/// An image that a container needs.
pub struct ImageWant {
    /// `image`, as the spec names it.
    pub reference: String,
    /// The first word of `command`, where the container has one: the program that is meant, if the
    /// image has several. `$(VAR)` is not filled in.
    pub command: Option<String>,
    /// `imagePullPolicy`.
    pub policy: PullPolicy,
    /// The pod's namespace, in which the pull secrets are.
    pub namespace: String,
    /// `imagePullSecrets`: names of Secrets.
    pub pull_secrets: Vec<String>,
    /// To be called when a download begins: the Event Pulling.
    pub pulling: Option<Box<dyn FnOnce() + Send>>,
}

/// An image that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedImage {
    /// What the runtime runs.
    pub image: WasmImage,
    /// The image's `Entrypoint`; the file's name for a bare module.
    pub entrypoint: Vec<String>,
    /// The image's `Cmd`.
    pub cmd: Vec<String>,
    /// The image's `Env`, names and values.
    pub env: Vec<(String, String)>,
    /// The image's `WorkingDir`; `/` where it has none.
    pub working_dir: String,
    /// `imageID`.
    pub image_id: String,
    /// Why it cannot run although it is here, where that is known. Its container then ends with
    /// StartError, instead of waiting for an image that does not change by itself.
    pub broken: Option<String>,
    /// How it came here; `None` if it already was.
    pub fetched: Option<Fetched>,
}

/// Why an image cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct ImageError {
    /// As the waiting state shows it: ErrImagePull, ErrImageNeverPull, InvalidImageName,
    /// ImageInspectError.
    pub reason: String,
    /// What went wrong and what to do.
    pub message: String,
}
