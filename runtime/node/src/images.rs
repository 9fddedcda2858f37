//! Images, wherever they come from: wasm files of this machine, or registries.

use std::pin::Pin;

use model::container::PullPolicy;
use model::lifecycle::Fetched;
use model::runtime::WasmImage;
use model::security::ImageUser;

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
    /// Which program is meant, if the image has several: asked where it is looked for.
    pub program: Box<dyn Fn() -> ProgramWant + Send + Sync>,
    /// `imagePullPolicy`.
    pub policy: PullPolicy,
    /// The pod's namespace, in which the pull secrets are.
    pub namespace: String,
    /// `imagePullSecrets`: names of Secrets.
    pub pull_secrets: Vec<String>,
    /// Who is told what happens on the way.
    pub told: Option<Box<dyn Fn(ImageNews) + Send + Sync>>,
}

/// Something on an image's way that its pod's Events tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageNews {
    /// A download begins: the Event Pulling.
    Pulling,
    /// These `imagePullSecrets` are not there: the Event FailedToRetrieveImagePullSecret.
    NoSecrets(Vec<String>),
    /// Something of the image is left out, with the reason of its Event and its message.
    LeftOut {
        /// The Event's reason.
        reason: &'static str,
        /// Its message.
        message: String,
    },
}

/// What a container says of the program that it means, `$(VAR)` filled in as in its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramWant {
    /// The first word of `command`: the program, whatever the image says.
    pub command: Option<String>,
    /// The first word of `args`: the program where there is no `command` and the image has no entry
    /// point.
    pub argument: Option<String>,
    /// Its variable `PATH`, before the image's.
    pub path: Option<String>,
    /// `workingDir`, before the image's.
    pub working_dir: Option<String>,
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
    /// The image's `User`.
    pub user: Option<ImageUser>,
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

// === impl ImageWant ===

impl ImageWant {
    /// Tells somebody, if anybody wants to be told.
    pub fn tell(&self, news: ImageNews) {
        if let Some(told) = &self.told {
            told(news);
        }
    }
}
