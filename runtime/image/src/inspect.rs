//! Inspecting: what an image here is, as data for people and programs.

use std::fs::File;

use serde::Serialize;

use crate::kind::{Form, Kind};
use crate::manifest::{Descriptor, Document, Execution};
use crate::pull::{Image, PullError};
use crate::root;
use crate::store::Store;
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
    /// Its program, where it is a wasm file and here as a file.
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

/// Inspects an image. A program in a root file system is told if the root is unpacked already.
/// Reads whole files: not to be called where tasks run.
///
/// # Errors
/// When a part of it is missing.
pub fn inspect(store: &Store, image: &Image) -> Result<Inspection, PullError> {
    let platforms = match store.document(&image.target.digest)? {
        Document::Index(index) => {
            let entries = index.manifests.iter();
            entries
                .filter_map(|entry| entry.platform.as_ref().map(ToString::to_string))
                .collect()
        }
        Document::Manifest(_) => Vec::new(),
    };
    let (program, untold) = match program(store, image)? {
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
fn program(store: &Store, image: &Image) -> Result<Result<Option<Program>, String>, PullError> {
    let file = match &image.kind {
        Kind::Wasm(wasm) => store.blob(&wasm.layer.digest)?,
        Kind::Root(_) => {
            let Some(whole) = &image.config else {
                return Ok(Ok(None));
            };
            let config = &whole.config;
            let Some(word) = config.entrypoint.first().or(config.cmd.first()) else {
                return Ok(Err("its configuration names no program".to_owned()));
            };
            let key = root::key(&image.manifest.layers, &whole.rootfs.diff_ids);
            let path = store.room("roots").join(key);
            let search = config.variable("PATH");
            match root::program(&path, word, search.as_deref(), &config.working_dir) {
                Ok(Some(program)) => match File::open(&program.path) {
                    Ok(file) => file,
                    Err(error) => return Ok(Err(error.to_string())),
                },
                Ok(None) => return Ok(Err(format!("its program {word:?} is not in its files"))),
                Err(_) => return Ok(Err("its files are not unpacked yet: run it once".to_owned())),
            }
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pull::of_target;
    use crate::testing;

    #[test]
    fn an_artifact_tells_its_program() {
        let (_folder, store) = testing::store();
        let lease = store.lease().expect("a lease");
        let text = "(component (import \"wasi:cli/stdout@0.2.0\" (instance $i))
            (export \"wasi:cli/run@0.2.0\" (instance $i)))";
        let target = testing::image(&store, &lease, &wat::parse_str(text).expect("wasm"));
        let image = of_target(&store, target).expect("an image");
        let told = serde_json::to_value(inspect(&store, &image).expect("told")).expect("JSON");
        assert_eq!(told["kind"], "artifact");
        assert_eq!(told["program"]["worlds"], json!(["wasi:cli/command@0.2.0"]));
        assert_eq!(told["program"]["imports"], json!(["wasi:cli/stdout@0.2.0"]));
        assert_eq!(told["layers"][0]["mediaType"], "application/wasm");
        let target = testing::image(&store, &lease, b"no wasm");
        let image = of_target(&store, target).expect("an image");
        let told = inspect(&store, &image).expect("told");
        assert!(told.program.is_none() && told.untold.is_some());
    }
}
