//! `wasmpod image`: images of this machine's store, and registries.
//!
//! Thin: options come in, text goes out; what images are is decided in the crate `image`.

mod inspect;
mod local;
mod progress;
mod transfer;
mod whole;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use image::credentials::Keyring;
use image::handle::Handle;
use image::registry::{Client, Hosts};
use image::{Reference, Store};

use crate::data_dir::DataDir;
use crate::options::{Common, Image, ImageCommand};

/// Where containerd's users have their registries' settings, which we read too.
const SETTINGS: &str = "/etc/containerd/certs.d";

/// What the commands work with.
struct Room {
    data: DataDir,
    store: Store,
}

// === impl Room ===

impl Room {
    /// The names of an image: the one that was given, or all of one whose digest was.
    fn names(&self, image: &Handle) -> anyhow::Result<Vec<Reference>> {
        // Content may be here under another name than that of its digest.
        if let Some(name) = image.name(&self.store) {
            return Ok(vec![name.clone()]);
        }
        let records = image.find(&self.store)?;
        let names = records.iter().map(|it| it.reference.parse::<Reference>());
        match records.is_empty() {
            true => Err(absent(&image.to_string())),
            false => Ok(names.collect::<Result<_, _>>()?),
        }
    }

    /// The first of them.
    fn named(&self, image: &Handle) -> anyhow::Result<Reference> {
        let name = self.names(image)?.into_iter().next();
        name.ok_or_else(|| absent(&image.to_string()))
    }
}

/// Names for people.
fn listed(names: &[Reference]) -> String {
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    names.join(", ")
}

/// The name, with its digest, of an image whose digest, or the beginning of one, was given, as
/// `docker run` takes it; nothing where it is something else.
///
/// # Errors
/// When it is a digest of nothing here, or the store cannot be read.
pub(crate) fn name_of_digest(text: &str, data: &DataDir) -> anyhow::Result<Option<String>> {
    // What is wrong with it others say.
    let handle = text.parse::<Handle>().ok();
    let Some(handle) = handle.filter(Handle::may_be_digest) else {
        return Ok(None);
    };
    data.prepare()?;
    let store = Store::open(&data.content())?;
    match handle.find(&store)?.into_iter().next() {
        // That very content, whatever its name leads to when it is run.
        Some(record) => {
            let name = record.reference.parse::<Reference>()?;
            Ok(Some(name.with_digest(record.target.digest).familiar()))
        }
        None if handle.may_be_name() => Ok(None),
        None => Err(absent(&handle.to_string())),
    }
}

/// What is said of images that are not here, where no registry can be asked for them.
fn absent(images: &str) -> anyhow::Error {
    anyhow!("{images}: no such image here; see `wasmpod image ls`")
}

/// Runs it.
///
/// # Errors
/// What is wrong with the command, the image, its registry or this machine.
pub(crate) fn run(common: &Common, options: Image) -> anyhow::Result<ExitCode> {
    let data = DataDir::find(common.data_dir.as_deref())?;
    data.prepare()?;
    let store = Store::open(&data.content())?;
    let room = Room { data, store };
    match options.command {
        ImageCommand::Pull(options) => transfer::pull(&room, &options),
        ImageCommand::Push(options) => transfer::push(&room, &options),
        ImageCommand::Pack(options) => local::pack(&room, options),
        ImageCommand::Ls(options) => local::ls(&room, &options),
        ImageCommand::Tag(options) => local::tag(&room, &options),
        ImageCommand::Rm(options) => local::rm(&room, &options),
        ImageCommand::Inspect(options) => inspect::inspect(&room, &options),
        ImageCommand::Import(options) => local::import(&room, &options),
        ImageCommand::Export(options) => local::export(&room, &options),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A client that reaches registries as this machine's settings say: `WASMPOD_REGISTRIES`, else
/// containerd's directory.
pub(crate) fn client() -> Client {
    let named = std::env::var_os("WASMPOD_REGISTRIES").map(PathBuf::from);
    let directory = named.unwrap_or_else(|| PathBuf::from(SETTINGS));
    Client::new(Hosts::in_directory(&directory))
}

/// The credentials of whoever runs this: Docker's `config.json`. One that cannot be read is told and
/// left out, as Docker does: most images need none.
pub(crate) fn keyring() -> Keyring {
    let mut keyring = Keyring::anonymous();
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    if let Some(directory) = named.or_else(home)
        && let Err(error) = keyring.add_file(&directory.join("config.json"))
    {
        tracing::warn!("{error}: its credentials are not used");
    }
    keyring
}

/// Prints a line; a reader that has gone ends the program quietly.
fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(141),
        other => other.context("cannot write to standard output"),
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    let mut tenths = 0;
    while value >= 1024 && unit + 1 < units.len() {
        tenths = (value % 1024) * 10 / 1024;
        value /= 1024;
        unit += 1;
    }
    let unit_name = units.get(unit).copied().unwrap_or_default();
    match unit == 0 || value >= 100 {
        true => format!("{value} {unit_name}"),
        false => format!("{value}.{tenths} {unit_name}"),
    }
}

/// Rows in columns as wide as they need, two spaces between.
fn table(rows: &[Vec<String>]) -> anyhow::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        say(line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (52_428_800, "50.0 MiB"),
            (523_239_424, "499 MiB"),
            (u64::MAX, "16777215 TiB"),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(size(bytes), wanted);
        }
    }
}
