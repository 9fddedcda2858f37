//! Inspecting: what an image here is, as data for people and programs.

use std::fs::File;

use serde::Serialize;

use crate::kind::{Form, Kind};
use crate::limits;
use crate::manifest::{Descriptor, Document, Execution};
use crate::progress::Progress;
use crate::pull::{Image, PullError};
use crate::root::{self, ProgramKind, RootError};
use crate::store::{Lease, Store, StoreError};
use crate::unpack::{self, Bounds, UnpackError};
use crate::wasm::Wasm;

/// What an image is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The digest that its name leads to.
    pub digest: String,
    /// The digest of the manifest, another one where the name leads to an index.
    pub manifest: String,
    /// `artifact`, `old artifact`, `wasm layers` or `root file system`.
    pub kind: &'static str,
    /// All its blobs, in bytes.
    pub size: u64,
    /// The platforms of the index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// Its program, where it is a wasm file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Why the program is not told, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// How it is run, where its configuration says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Execution>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Its digest.
    pub digest: String,
    /// What it is.
    pub media_type: String,
    /// Its size in bytes, compressed.
    pub size: u64,
    /// The file name that its maker gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// The wasm file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// sha256 of the file in hex: compiled code is named by it.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// The WASI that it is for.
    pub os: &'static str,
    /// The worlds that it fits.
    pub worlds: Vec<String>,
    /// Its outside.
    #[serde(flatten)]
    pub wasm: Wasm,
}

/// Inspects an image. The root file system that a program is in is unpacked, and held on the lease, if
/// it is not too large for that; where it cannot be, all else is told. Reads whole files: not to be
/// called where tasks run.
///
/// # Errors
/// When a part of it is missing, or was changed on the disk.
pub fn inspect(store: &Store, lease: &Lease, image: &Image) -> Result<Inspection, PullError> {
    let platforms = match store.document(&image.target.digest)? {
        Document::Index(index) => {
            let entries = index.manifests.iter();
            entries
                .filter_map(|entry| entry.platform.as_ref().map(ToString::to_string))
                .collect()
        }
        Document::Manifest(_) => Vec::new(),
    };
    let (program, untold) = match program(store, lease, image)? {
        Ok(program) => (program, None),
        Err(why) => (None, Some(why)),
    };
    Ok(Inspection {
        digest: image.target.digest.to_string(),
        manifest: image.digest.to_string(),
        kind: match &image.kind {
            Kind::Wasm(wasm) => match wasm.form {
                Form::Artifact => "artifact",
                Form::OldArtifact => "old artifact",
                Form::Layers => "wasm layers",
            },
            Kind::Root(_) => "root file system",
        },
        size: image.manifest.size(),
        platforms,
        layers: image.manifest.layers.iter().map(layer).collect(),
        program,
        untold,
        config: image.config.as_ref().map(|config| config.config.clone()),
    })
}

fn layer(layer: &Descriptor) -> Layer {
    Layer {
        digest: layer.digest.to_string(),
        media_type: layer.media_type.clone(),
        size: layer.size,
        title: layer.title().map(str::to_owned),
    }
}

/// The program, or why it is not told.
fn program(
    store: &Store,
    lease: &Lease,
    image: &Image,
) -> Result<Result<Option<Program>, String>, PullError> {
    let file = match &image.kind {
        Kind::Wasm(wasm) => store.blob(&wasm.layer.digest)?,
        Kind::Root(_) => match in_root(store, lease, image)? {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Ok(None)),
            Err(why) => return Ok(Err(why)),
        },
    };
    Ok(match Wasm::read(file) {
        Ok((wasm, bytes)) => Ok(Some(Program {
            sha256: crate::Digest::of(&bytes).hex().to_owned(),
            size: bytes.len() as u64,
            os: wasm.os(),
            worlds: wasm.worlds(),
            wasm,
        })),
        Err(error) => Err(error.to_string()),
    })
}

/// The file of the program among an image's files, or why it is not told.
fn in_root(
    store: &Store,
    lease: &Lease,
    image: &Image,
) -> Result<Result<Option<File>, String>, PullError> {
    let Some(whole) = &image.config else {
        return Ok(Ok(None));
    };
    let config = &whole.config;
    let Some(word) = config.entrypoint.first().or(config.cmd.first()) else {
        return Ok(Err("its configuration names no program".to_owned()));
    };
    let (layers, diff_ids) = (image.kind.root_layers(), image.diff_ids());
    let path = store.room("roots").join(root::key(layers, &diff_ids));
    // Hardly any files are smaller than what they are packed in.
    if !path.is_dir() && image.manifest.size() > limits::LOOK {
        return Ok(Err(too_large()));
    }
    let bounds = Bounds {
        files: limits::LOOK,
        ..Bounds::default()
    };
    let none = Progress::none();
    let unpacked = match root::unpack_within(store, lease, layers, &diff_ids, bounds, &none) {
        Ok(unpacked) => unpacked,
        Err(error) => return Ok(Err(without_files(error)?)),
    };
    let search = config.variable("PATH");
    let found = root::program(&unpacked.path, word, search.as_deref(), &config.working_dir);
    let what = match found {
        Ok(Some(program)) => match program.kind {
            ProgramKind::Wasm => {
                let file = File::open(&program.path);
                return Ok(file.map(Some).map_err(|error| error.to_string()));
            }
            ProgramKind::Elf => "a Linux program",
            ProgramKind::Script => "a script",
            ProgramKind::Other => "no wasm file",
        },
        Ok(None) => "not among its files",
        Err(error) => return Ok(Err(format!("its program {word:?}: {error}"))),
    };
    Ok(Err(format!("its program {word:?} is {what}")))
}

/// Why the program is not told of an image that has no files here; an error where the image is not
/// whole.
fn without_files(error: RootError) -> Result<String, StoreError> {
    match error {
        RootError::Store(error @ (StoreError::Absent(_) | StoreError::Changed(_))) => Err(error),
        RootError::Unpack {
            source:
                UnpackError::TooMuch {
                    what: unpack::FILES,
                    ..
                },
            ..
        } => Ok(too_large()),
        error => Ok(error.to_string()),
    }
}

fn too_large() -> String {
    let limit = limits::LOOK >> 20;
    format!("its files are not unpacked yet, and larger than {limit} MiB: run it once")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::media;
    use crate::pull::of_target;
    use crate::testing::{self, Entry, tar};

    #[test]
    fn an_artifact_tells_its_program() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let text = "(component (import \"wasi:cli/stdout@0.2.0\" (instance $i))
            (export \"wasi:cli/run@0.2.0\" (instance $i)))";
        let target = testing::image(&store, &lease, &wat::parse_str(text).expect("wasm"));
        let image = of_target(&store, target).expect("an image");
        let told =
            serde_json::to_value(inspect(&store, &lease, &image).expect("told")).expect("JSON");
        assert_eq!(told["kind"], "artifact");
        assert_eq!(told["program"]["worlds"], json!(["wasi:cli/command@0.2.0"]));
        assert_eq!(told["program"]["imports"], json!(["wasi:cli/stdout@0.2.0"]));
        assert_eq!(told["layers"][0]["mediaType"], "application/wasm");
        let target = testing::image(&store, &lease, b"no wasm");
        let image = of_target(&store, target).expect("an image");
        let told = inspect(&store, &lease, &image).expect("told");
        assert!(told.program.is_none() && told.untold.is_some());
    }

    #[test]
    fn a_program_among_files_is_told_before_it_has_run() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let wasm = wat::parse_str("(module (func (export \"_start\")))").expect("wasm");
        let files = tar(&[
            Entry::File("app.wasm", &wasm),
            Entry::File("elf", b"\x7fELF"),
            Entry::Link("link", "/app.wasm"),
        ]);
        let layer = store.put(&lease, media::OCI_TAR, &files).expect("put");
        let cases = [
            ("/app.wasm", None),
            ("link", None),
            ("elf", Some("a Linux program")),
            ("/none", Some("not among its files")),
        ];
        for (word, wanted) in cases {
            let config = json!({
                "architecture": "amd64", "os": "linux", "config": {"Entrypoint": [word]},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            });
            let config = store.put(&lease, media::OCI_CONFIG, config.to_string().as_bytes());
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
                "config": config.expect("put"), "layers": [layer],
            });
            let target = store.put(&lease, media::OCI_MANIFEST, manifest.to_string().as_bytes());
            let image = of_target(&store, target.expect("put")).expect("an image");
            let told = inspect(&store, &lease, &image).expect("told");
            let worlds = told.program.map(|program| program.worlds);
            let is_told = worlds == Some(vec!["WASI preview 1 command".to_owned()]);
            assert_eq!(is_told, wanted.is_none(), "{word}: {:?}", told.untold);
            let untold = told.untold.unwrap_or_default();
            assert!(untold.contains(wanted.unwrap_or_default()), "{untold}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_not_told_and_all_else_is() {
        let digest = crate::Digest::of(b"x");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = std::path::Path::new("/roots/x");
        let too_much = |what| RootError::Unpack {
            layer: digest.clone(),
            source: UnpackError::TooMuch { what, limit: 7 },
        };
        let cases = [
            (
                RootError::from(crate::store::failed("write", path)(full)),
                "no room",
            ),
            (too_much(unpack::FILES), "larger than 256 MiB: run it once"),
            (too_much("entries"), "more than 7 entries"),
        ];
        for (error, wanted) in cases {
            let why = without_files(error).expect("told");
            assert!(why.contains(wanted), "{why}");
        }
        let not_whole: [fn(crate::Digest) -> StoreError; 2] =
            [StoreError::Absent, StoreError::Changed];
        for error in not_whole {
            without_files(error(digest.clone()).into()).expect_err("it is not whole");
        }
    }

    #[test]
    fn an_image_is_told_where_its_files_find_no_place() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let layer = store.put(&lease, media::OCI_TAR, &tar(&[Entry::File("a", b"x")]));
        let layer = layer.expect("put");
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/a"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        });
        let config = store.put(&lease, media::OCI_CONFIG, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": config.expect("put"), "layers": [layer],
        });
        let target = store.put(&lease, media::OCI_MANIFEST, manifest.to_string().as_bytes());
        let image = of_target(&store, target.expect("put")).expect("an image");
        let roots = store.room("roots");
        std::fs::remove_dir(&roots).expect("empty");
        std::fs::write(&roots, "in the way").expect("written");
        let told = inspect(&store, &lease, &image).expect("told");
        let untold = told.untold.unwrap_or_default();
        assert!(untold.contains("cannot keep"), "{untold}");
        assert_eq!(told.layers.len(), 1);
    }
}
