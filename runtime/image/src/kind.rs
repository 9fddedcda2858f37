//! What an image is: a wasm file in a layer of its own, or a root file system with a program in it.
//!
//! The manifest and the configuration say it, two small documents; whether the program of a root is
//! wasm, its first bytes say later, never its name. Which image of an index is meant, the platforms
//! say: wasm first, then this machine's.

use std::collections::BTreeSet;

use crate::manifest::{Config, Descriptor, Index, Manifest, Platform, media};

/// The most platforms, or media types, of an index that are told.
const TOLD: usize = 16;

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A wasm file, with files beside it where further layers bring some.
    Wasm(Wasm),
    /// Layers of a root file system.
    Root(Root),
}

/// An image whose wasm file is a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wasm {
    /// Which of the forms it is.
    pub form: Form,
    /// The wasm file.
    pub layer: Descriptor,
    /// Layers of files for its read-only root.
    pub files: Vec<Descriptor>,
}

/// The ways in which a wasm file is put into a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CNCF's artifact.
    Artifact,
    /// The artifact before CNCF's.
    OldArtifact,
    /// runwasi's: an OCI configuration with wasm layers.
    Layers,
}

/// An image that is a root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Whether its platform says wasm. Where it does not, the program may be wasm all the same.
    pub says_wasm: bool,
}

/// An image that we cannot run, or cannot tell what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// An application for Spin.
    #[error(
        "it is an application for Spin, which needs Spin's own interfaces: pack its component with `wasmpod image pack FILE.wasm -t REFERENCE`, or run it with Spin"
    )]
    Spin,
    /// A wasm artifact without a wasm file.
    #[error("it is a wasm artifact without a layer of {expected}: pack it again", expected = media::WASM)]
    NoWasm,
    /// Several modules.
    #[error(
        "it has {0} wasm files, and which of them is the program nobody says: make an image of each"
    )]
    SeveralModules(usize),
    /// Layers that we cannot unpack.
    #[error(
        "its layer {digest} is of the type {media_type:?}, which is no tar and no wasm file: rebuild the image with a tool that writes OCI layers"
    )]
    Layer {
        /// Which one.
        digest: String,
        /// What it says it is.
        media_type: String,
    },
    /// A configuration of a sort that is no program's.
    #[error(
        "its configuration is of the type {0:?}: it is no container image and no wasm artifact"
    )]
    Configuration(String),
    /// Tars and their digests do not go together.
    #[error("it has {layers} layers and its configuration tells digests of {diff_ids}: rebuild it")]
    DiffIds {
        /// Layers of the manifest.
        layers: usize,
        /// Digests of the configuration.
        diff_ids: usize,
    },
    /// There is no image in the index: nothing at all, or only attestations of images.
    #[error(
        "there is no image in its index, which is empty or has attestations only: build or push it anew"
    )]
    Empty,
    /// Nothing in the index is an image, by the media types.
    #[error(
        "there is no image in its index, only what is of the media type {0}: build or push it anew"
    )]
    NoImage(String),
    /// No image of the index is for us.
    #[error("it has no image for wasm or for {machine}, only for {platforms}")]
    NoPlatform {
        /// What this machine is.
        machine: String,
        /// What there is.
        platforms: String,
    },
}

// === impl Kind ===

impl Kind {
    /// What an image is, by its manifest and configuration. `config` is the parsed configuration
    /// where [`Self::needs_config`] says so.
    ///
    /// # Errors
    /// [`KindError`]: why it is nothing that runs.
    pub fn of(manifest: &Manifest, config: Option<&Config>) -> Result<Self, KindError> {
        let types = || {
            manifest
                .layers
                .iter()
                .map(|layer| layer.media_type.as_str())
        };
        let config_type = manifest.config.media_type.as_str();
        let is_spin = |media_type: &str| media_type.starts_with("application/vnd.fermyon.spin.");
        if is_spin(config_type) || types().any(is_spin) {
            return Err(KindError::Spin);
        }
        let wasm: Vec<&Descriptor> = manifest
            .layers
            .iter()
            .filter(|layer| media::is_wasm_layer(&layer.media_type))
            .collect();
        let form = match config_type {
            media::WASM_CONFIG => Form::Artifact,
            media::OLD_WASM_CONFIG => Form::OldArtifact,
            _ if !wasm.is_empty() => Form::Layers,
            _ if media::is_image_config(config_type) => {
                return root(manifest, config).map(Self::Root);
            }
            other => return Err(KindError::Configuration(other.to_owned())),
        };
        let layer = match wasm.as_slice() {
            [] => return Err(KindError::NoWasm),
            [layer] => (*layer).clone(),
            several => return Err(KindError::SeveralModules(several.len())),
        };
        let files: Vec<Descriptor> = manifest
            .layers
            .iter()
            .filter(|layer| !media::is_wasm_layer(&layer.media_type))
            .cloned()
            .collect();
        check_tars(&files)?;
        Ok(Self::Wasm(Wasm { form, layer, files }))
    }

    /// Whether the configuration has to be read to tell.
    pub fn needs_config(manifest: &Manifest) -> bool {
        media::is_image_config(&manifest.config.media_type)
    }

    /// The layers of its root file system, the lowest first; none where it has none.
    pub fn root_layers(&self) -> &[Descriptor] {
        match self {
            Self::Wasm(wasm) => &wasm.files,
            Self::Root(root) => &root.layers,
        }
    }
}

fn root(manifest: &Manifest, config: Option<&Config>) -> Result<Root, KindError> {
    check_tars(&manifest.layers)?;
    let Some(config) = config else {
        return Err(KindError::Configuration(manifest.config.media_type.clone()));
    };
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(KindError::DiffIds { layers, diff_ids });
    }
    let platform = Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        variant: None,
    };
    Ok(Root {
        layers: manifest.layers.clone(),
        says_wasm: rank_of_wasm(&platform).is_some(),
    })
}

fn check_tars(layers: &[Descriptor]) -> Result<(), KindError> {
    let strange = layers
        .iter()
        .find(|layer| media::tar_layer(&layer.media_type).is_none());
    match strange {
        Some(layer) => Err(KindError::Layer {
            digest: layer.digest.to_string(),
            media_type: shortened(&layer.media_type),
        }),
        None => Ok(()),
    }
}

/// A media type for people.
fn shortened(media_type: &str) -> String {
    media_type.chars().take(100).collect()
}

/// How much we like a wasm platform, the best first; nothing for one that is none.
fn rank_of_wasm(platform: &Platform) -> Option<usize> {
    let is_wasm = matches!(platform.architecture.as_str(), "wasm" | "wasm32");
    let systems = ["wasip2", "wasi", "wasip1", "wasip3", "linux", "js", ""];
    let os = platform.os.to_lowercase();
    let found = systems.iter().position(|system| *system == os);
    is_wasm.then(|| found.unwrap_or(systems.len()))
}

/// This machine's architecture as images name it.
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The image of an index that is meant here: wasm, else this machine's Linux; one that names no
/// platform where nothing else is there.
///
/// # Errors
/// When there is none, with what there is.
pub fn choose(index: &Index) -> Result<&Descriptor, KindError> {
    let is_image =
        |entry: &&Descriptor| !entry.annotations.contains_key(media::DOCKER_REFERENCE_TYPE);
    let rank = |entry: &&Descriptor| -> Option<usize> {
        let Some(platform) = &entry.platform else {
            return (media::is_manifest(&entry.media_type) || media::is_index(&entry.media_type))
                .then_some(200);
        };
        if let Some(rank) = rank_of_wasm(platform) {
            return Some(rank);
        }
        (platform.os == "linux" && platform.architecture == machine()).then_some(100)
    };
    let images: Vec<&Descriptor> = index.manifests.iter().filter(is_image).collect();
    let best = images
        .iter()
        .filter_map(|entry| Some((rank(entry)?, *entry)));
    let best = best.min_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry).ok_or_else(|| none_of(&images))
}

/// Why none of what an index has is for us.
fn none_of(images: &[&Descriptor]) -> KindError {
    let platforms = images.iter().filter_map(|entry| entry.platform.as_ref());
    let platforms: Vec<String> = platforms.take(TOLD).map(Platform::to_string).collect();
    if !platforms.is_empty() {
        return KindError::NoPlatform {
            machine: format!("linux/{}", machine()),
            platforms: platforms.join(", "),
        };
    }
    let types: BTreeSet<&str> = images.iter().map(|it| it.media_type.as_str()).collect();
    let types = types.into_iter().take(TOLD);
    let types: Vec<String> = types.map(|it| format!("{:?}", shortened(it))).collect();
    match types.is_empty() {
        true => KindError::Empty,
        false => KindError::NoImage(types.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    fn layer(media_type: &str) -> Descriptor {
        Descriptor::of(media_type, media_type.as_bytes())
    }

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: layer(config),
            layers: layers.iter().map(|it| layer(it)).collect(),
            annotations: Default::default(),
        }
    }

    fn told(config: &str, layers: &[&str]) -> String {
        let manifest = manifest(config, layers);
        let mut parsed = Config {
            architecture: "wasm".to_owned(),
            os: "wasi".to_owned(),
            ..Config::default()
        };
        let tars = layers.iter().filter(|it| media::tar_layer(it).is_some());
        parsed.rootfs.diff_ids = tars.map(|it| Digest::of(it.as_bytes())).collect();
        match Kind::of(&manifest, Some(&parsed)) {
            Ok(Kind::Wasm(wasm)) => format!("{:?} and {}", wasm.form, wasm.files.len()),
            Ok(Kind::Root(root)) => format!("root of {}, {}", root.layers.len(), root.says_wasm),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_form_of_the_field_is_told() {
        let cases: [(&str, &[&str], &str); 12] = [
            (media::WASM_CONFIG, &[media::WASM], "Artifact and 0"),
            (
                media::WASM_CONFIG,
                &[media::WASM, media::OCI_TAR_GZIP],
                "Artifact and 1",
            ),
            (
                media::WASM_CONFIG,
                &[media::WASM, media::WASM],
                "2 wasm files",
            ),
            (media::WASM_CONFIG, &[], "without a layer"),
            (
                media::OLD_WASM_CONFIG,
                &[media::OLD_WASM],
                "OldArtifact and 0",
            ),
            (
                media::OCI_CONFIG,
                &[media::RUNWASI_COMPONENT],
                "Layers and 0",
            ),
            (
                media::OCI_CONFIG,
                &[media::OCI_TAR, media::OCI_TAR_ZSTD],
                "root of 2, true",
            ),
            (
                media::DOCKER_CONFIG,
                &[media::DOCKER_TAR_GZIP],
                "root of 1, true",
            ),
            (media::SPIN_CONFIG, &[media::OLD_WASM], "for Spin"),
            (
                media::OCI_CONFIG,
                &["application/octet-stream"],
                "is no tar",
            ),
            (
                "application/vnd.cncf.helm.config.v1+json",
                &[],
                "no container image",
            ),
            (
                media::WASM_CONFIG,
                &[media::WASM, "text/plain"],
                "is no tar",
            ),
        ];
        for (config, layers, wanted) in cases {
            let told = told(config, layers);
            assert!(told.contains(wanted), "{config} {layers:?}: {told}");
        }
        let manifest = manifest(media::OCI_CONFIG, &[media::OCI_TAR]);
        let error = Kind::of(&manifest, Some(&Config::default())).expect_err("no digest of it");
        assert!(matches!(error, KindError::DiffIds { .. }));
    }

    #[test]
    fn wasm_is_chosen_first_and_this_machine_next() {
        let chosen = |platforms: &[&str]| {
            let entries = platforms.iter().map(|text| {
                let (os, architecture) = text.split_once('/').expect("os/architecture");
                let mut entry = layer(match os {
                    "type" => text,
                    _ => media::OCI_MANIFEST,
                });
                if !matches!(os, "none" | "type") {
                    let platform = json!({"os": os, "architecture": architecture});
                    entry.platform = serde_json::from_value(platform).expect("a platform");
                }
                if os == "unknown" {
                    let attestation = "attestation-manifest".to_owned();
                    entry
                        .annotations
                        .insert(media::DOCKER_REFERENCE_TYPE.to_owned(), attestation);
                }
                entry
            });
            let index = Index {
                schema_version: 2,
                media_type: None,
                manifests: entries.collect(),
                annotations: Default::default(),
            };
            match choose(&index) {
                Ok(entry) => entry
                    .platform
                    .as_ref()
                    .map_or("none".to_owned(), |p| p.to_string()),
                Err(error) => error.to_string(),
            }
        };
        let here = format!("linux/{}", machine());
        let here = here.as_str();
        let nothing = "there is no image in its index, which is empty or has attestations only: build or push it anew";
        let cases: [(&[&str], &str); 11] = [
            (&[here, "wasi/wasm"], "wasi/wasm"),
            (&["wasi/wasm32", "wasip2/wasm", here], "wasip2/wasm"),
            (&["unknown/unknown", here], here),
            (&["linux/wasm", "windows/amd64"], "linux/wasm"),
            (&["none/none"], "none"),
            (
                &["windows/amd64", "linux/s390x"],
                "only for windows/amd64, linux/s390x",
            ),
            (&[], nothing),
            (&["unknown/unknown"], nothing),
            (
                &["type/b", "type/a", "type/b", "unknown/unknown"],
                "only what is of the media type \"type/a\" or \"type/b\": build or push it anew",
            ),
            (&["type/a", "windows/amd64"], "only for windows/amd64"),
            (&["type/a", "none/none"], "none"),
        ];
        for (platforms, wanted) in cases {
            let chosen = chosen(platforms);
            assert!(chosen.ends_with(wanted), "{platforms:?}: {chosen}");
        }
    }
}
