//! `image pull` and `image push`.

use anyhow::{Context as _, bail};
use image::handle::Handle;
use image::progress::Progress;
use image::pull::Present;
use image::{Reference, pull, push};
use tokio::runtime::Runtime;

use super::progress::Shown;
use super::{Room, listed, say};
use crate::options::{Pull, Push};

/// Fetches an image; prints its reference by digest.
pub(super) fn pull(room: &Room, options: &Pull) -> anyhow::Result<()> {
    let reference = &options.reference;
    let (keyring, lease) = (super::keyring(), room.store.lease()?);
    let shown = Shown::start(!options.quiet);
    let image = runtime()?.block_on(async {
        let (client, progress, present) = (super::client(), progress(&shown), Present::Hashed);
        let store = &room.store;
        pull::pull(
            &client, store, &lease, reference, &keyring, &progress, present,
        )
        .await
    });
    shown.end();
    drop(lease);
    if image.as_ref().is_err_and(pull::PullError::is_full) {
        // Parts of it that came whole would keep the disk full.
        room.store.collect()?;
    }
    let image = image.with_context(|| format!("cannot pull {reference}"))?;
    match options.quiet {
        true => say(&image.target.digest.to_string()),
        false => say(&format!("{}@{}", reference.name(), image.target.digest)),
    }
}

/// Sends an image; prints its reference by digest.
pub(super) fn push(room: &Room, options: &Push) -> anyhow::Result<()> {
    let reference = &name(room, &options.image)?;
    let (keyring, lease) = (super::keyring(), room.store.lease()?);
    let shown = Shown::start(!options.quiet);
    let pushed = runtime()?.block_on(async {
        let (client, progress) = (super::client(), progress(&shown));
        push::push(&client, &room.store, &lease, reference, &keyring, &progress).await
    });
    shown.end();
    let pushed = pushed.with_context(|| format!("cannot push {reference}"))?;
    if pushed.alone {
        tracing::warn!(
            "only the image for this machine was pushed: the others of its index are not here"
        );
    }
    match options.quiet {
        true => say(&pushed.digest.to_string()),
        false => say(&format!("{}@{}", reference.name(), pushed.digest)),
    }
}

/// The name to push an image under: a digest says not to which registry.
fn name(room: &Room, image: &Handle) -> anyhow::Result<Reference> {
    if let Some(name) = image.name(&room.store) {
        return Ok(name.clone());
    }
    let names = listed(&room.names(image)?);
    bail!(
        "cannot push {image}: that is a digest, which says not to which registry; push it under a name that it has here ({names}), or give it another with `wasmpod image tag {image} NAME`"
    )
}

fn progress(shown: &Shown) -> Progress {
    let shown = shown.clone();
    Progress::to(move |step| shown.step(&step))
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")
}
