//! What `wasmpod image` does without a registry: pack, ls, tag, rm, import, export.

use std::collections::HashSet;
use std::io::{BufWriter, IsTerminal as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use image::kind::Kind;
use image::pack::Parcel;
use image::pull::Image;
use image::store::Record;
use image::{Reference, archive, pack, pull};
use serde_json::json;

use super::whole::Whole;
use super::{Room, listed, say, size, table};
use crate::options::{Export, Import, Ls, Pack, Rm, Tag};

/// How much of a digest a table shows, as Docker does.
const SHORT: usize = 12;

/// Makes an image of a wasm file; prints its reference by digest.
pub(super) fn pack(room: &Room, options: Pack) -> anyhow::Result<()> {
    let lease = room.store.lease()?;
    let parcel = Parcel {
        wasm: options.file,
        files: options.file_layer,
        author: options.author,
        annotations: options.annotation,
    };
    let target = pack::pack(&room.store, &lease, &parcel).context("cannot pack")?;
    room.store.name(&options.tag, &target)?;
    say(&format!("{}@{}", options.tag.name(), target.digest))
}

/// Lists what is here.
pub(super) fn ls(room: &Room, options: &Ls) -> anyhow::Result<()> {
    let records = room.store.records()?;
    if options.quiet {
        return records
            .iter()
            .try_for_each(|record| say(&record.target.digest.to_string()));
    }
    if options.output.is_some() {
        return records.iter().try_for_each(|record| {
            let about = about(room, record);
            let object = json!({
                "reference": record.reference,
                "digest": record.target.digest,
                "kind": about.0,
                "size": about.1,
                "updated": record.updated,
            });
            say(&object.to_string())
        });
    }
    let heads = ["REPOSITORY", "TAG", "DIGEST", "KIND", "SIZE"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for record in &records {
        let (kind, bytes) = about(room, record);
        let Ok(reference) = record.reference.parse::<Reference>() else {
            continue;
        };
        let familiar = reference
            .with_digest(record.target.digest.clone())
            .familiar();
        rows.push(vec![
            familiar.split('@').next().unwrap_or_default().to_owned(),
            reference.tag().unwrap_or("<none>").to_owned(),
            record.target.digest.hex().chars().take(SHORT).collect(),
            kind.to_owned(),
            bytes.map_or_else(|| "-".to_owned(), size),
        ]);
    }
    table(&rows)
}

/// What an image is, and its size; a word where it is not whole.
fn about(room: &Room, record: &Record) -> (&'static str, Option<u64>) {
    match pull::of_target(&room.store, record.target.clone()) {
        Ok(image) => {
            let kind = match &image.kind {
                Kind::Wasm(_) => "wasm",
                Kind::Root(root) if root.says_wasm => "wasm in a root",
                Kind::Root(_) => "root",
            };
            (kind, Some(image.manifest.size()))
        }
        Err(_) => ("incomplete", None),
    }
}

/// Lets another name lead to an image; prints it.
pub(super) fn tag(room: &Room, options: &Tag) -> anyhow::Result<()> {
    let lease = room.store.lease()?;
    let image = pull::local(&room.store, &lease, &room.named(&options.source)?)?;
    room.store.name(&options.name, &image.target)?;
    say(&format!(
        "{} {}",
        options.name.familiar(),
        image.target.digest
    ))
}

/// Forgets images, and deletes what nothing else needs.
pub(super) fn rm(room: &Room, options: &Rm) -> anyhow::Result<()> {
    let (mut absent, mut names) = (Vec::new(), Vec::new());
    // All of them before any goes: `ls --quiet` has the digest of an image once for each name.
    for image in &options.images {
        let records = image.find(&room.store)?;
        if records.is_empty() {
            absent.push(image.to_string());
        }
        if records.len() > 1 && !options.force {
            let names = listed(&room.names(image)?);
            bail!(
                "{image} is an image of several names: {names}; name the one that is to go, or let all of them go with --force"
            );
        }
        names.extend(records.into_iter().map(|record| record.reference));
    }
    names.sort();
    names.dedup();
    if options.unused {
        for record in room.store.forget_unused()? {
            let reference = record.reference.parse::<Reference>();
            let name = reference.map_or(record.reference, |reference| reference.familiar());
            say(&format!("Untagged: {name}"))?;
        }
    }
    for name in &names {
        let reference = name.parse::<Reference>()?;
        if room.store.forget(&reference)? {
            say(&format!("Untagged: {}", reference.familiar()))?;
        }
    }
    if !names.is_empty() || options.unused {
        let gone = room.store.collect()?;
        say(&format!(
            "Deleted: {} blobs, {}",
            gone.blobs,
            size(gone.bytes)
        ))?;
    }
    if !absent.is_empty() {
        return Err(super::absent(&absent.join(", ")));
    }
    Ok(())
}

/// Takes images from an archive; prints their names.
pub(super) fn import(room: &Room, options: &Import) -> anyhow::Result<()> {
    let lease = room.store.lease()?;
    let name = options.tag.as_ref();
    let found = archive::import(&room.store, &lease, &options.file, name);
    let found = found.with_context(|| format!("cannot import {}", options.file.display()))?;
    for (reference, target) in found {
        say(&format!("{} {}", reference.familiar(), target.digest))?;
    }
    Ok(())
}

/// Writes images to an archive.
pub(super) fn export(room: &Room, options: &Export) -> anyhow::Result<()> {
    let lease = room.store.lease()?;
    let (mut images, mut seen) = (Vec::new(), HashSet::new());
    for image in &options.images {
        // Each once: `ls --quiet` has the digest of an image once for each of its names.
        for name in room.names(image)? {
            if !seen.insert(name.clone()) {
                continue;
            }
            let image = pull::local(&room.store, &lease, &name)?;
            images.push((name, image));
        }
    }
    match &options.output {
        Some(path) => export_to(room, &images, path),
        None if std::io::stdout().is_terminal() => {
            bail!("an archive is not for terminals: name a file with --output, or use a pipe")
        }
        None => {
            let writer = BufWriter::new(std::io::stdout().lock());
            Ok(archive::export(&room.store, &images, writer)?)
        }
    }
}

/// The same to a file.
fn export_to(room: &Room, images: &[(Reference, Image)], path: &Path) -> anyhow::Result<()> {
    let whole = Whole::begin(path);
    let whole = whole.with_context(|| format!("cannot make {}", path.display()))?;
    archive::export(&room.store, images, BufWriter::new(whole.file()))?;
    let kept = whole.keep();
    kept.with_context(|| format!("cannot write {}", path.display()))
}
