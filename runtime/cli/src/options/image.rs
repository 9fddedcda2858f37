//! The command line of `wasmpod image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use image::Reference;
use image::handle::Handle;

/// `wasmpod image`.
#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Fetch an image from its registry.
    Pull(Pull),
    /// Send an image to its registry.
    Push(Push),
    /// Make an image of a wasm file: CNCF's wasm artifact.
    Pack(Pack),
    /// List the images that are here.
    Ls(Ls),
    /// Give an image that is here another name.
    Tag(Tag),
    /// Forget images, and delete what nothing else needs.
    Rm(Rm),
    /// Show what an image is: its program's worlds, imports and exports, its layers.
    ///
    /// Where the program is one of the image's files, those are unpacked for that, up to 256 MiB, and stay
    /// until the image is removed.
    Inspect(Inspect),
    /// Take images from an archive: of `docker save`, or an OCI layout, packed or as a directory.
    Import(Import),
    /// Write images to an archive: an OCI layout, which `docker load` takes too.
    Export(Export),
}

/// `pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The image, for example registry.example/app:1.
    #[arg(value_name = "REFERENCE", value_parser = reference)]
    pub(crate) reference: Reference,
    /// Print nothing but the digest.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image, by the name that it is to have in its registry.
    #[arg(value_name = "REFERENCE", value_parser = handle)]
    pub(crate) image: Handle,
    /// Print nothing but the digest.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `pack`.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The wasm file.
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// What the image is called.
    #[arg(short, long, value_name = "REFERENCE", value_parser = reference)]
    pub(crate) tag: Reference,
    /// A file or directory of this machine at a path of the image, in a layer after the program's.
    #[arg(long, value_name = "HOST:PATH", value_parser = file)]
    pub(crate) file_layer: Vec<(PathBuf, String)>,
    /// Who made it.
    #[arg(long)]
    pub(crate) author: Option<String>,
    /// A note of its manifest.
    #[arg(long, value_name = "K=V", value_parser = super::variable)]
    pub(crate) annotation: Vec<(String, String)>,
}

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print JSON instead of a table.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<ImageOutput>,
    /// Print digests alone.
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) quiet: bool,
}

/// `tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image: by name, by digest, or by at least the first 12 digits of one.
    #[arg(value_name = "REFERENCE", value_parser = handle)]
    pub(crate) source: Handle,
    /// What else it is called.
    #[arg(value_name = "NEW", value_parser = reference)]
    pub(crate) name: Reference,
}

/// `rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// The images: each by name, by digest, or by at least the first 12 digits of one.
    #[arg(value_name = "REFERENCE", required_unless_present = "unused", value_parser = handle)]
    pub(crate) images: Vec<Handle>,
    /// All images that no run uses at the moment.
    #[arg(long, conflicts_with = "images")]
    pub(crate) unused: bool,
    /// All names of an image that is named by its digest, where it has several.
    #[arg(short, long, conflicts_with = "unused")]
    pub(crate) force: bool,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The image: by name, by digest, or by at least the first 12 digits of one.
    #[arg(value_name = "REFERENCE", value_parser = handle)]
    pub(crate) image: Handle,
    /// Print JSON instead of text.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<ImageOutput>,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive, a directory with an OCI layout, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What its image is called, whatever its name in there; of several, the one that has none. Without
    /// it, one that has none is called localhost/imported@DIGEST.
    #[arg(short, long, value_name = "REFERENCE", value_parser = reference)]
    pub(crate) tag: Option<Reference>,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The images: each by name, or, for all of its names, by digest or by at least the first 12 digits
    /// of one.
    #[arg(value_name = "REFERENCE", required = true, value_parser = handle)]
    pub(crate) images: Vec<Handle>,
    /// The archive; standard output without it, unless that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageOutput {
    /// JSON.
    Json,
}

fn reference(text: &str) -> Result<Reference, image::reference::ReferenceError> {
    text.parse()
}

fn handle(text: &str) -> Result<Handle, image::reference::ReferenceError> {
    text.parse()
}

/// `HOST:PATH`.
fn file(text: &str) -> Result<(PathBuf, String), String> {
    match text.rsplit_once(':') {
        Some((host, path)) if !host.is_empty() && path.starts_with('/') => {
            Ok((PathBuf::from(host), path.to_owned()))
        }
        _ => Err("write it as HOST:PATH, with an absolute path in the image".to_owned()),
    }
}
