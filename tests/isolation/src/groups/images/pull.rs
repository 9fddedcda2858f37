//! An artifact of 50 MB from a registry of this machine to the disk: `wasmpod image pull`, and
//! `skopeo copy` to an OCI layout, each into an empty folder.
//!
//! Both verify each blob against its digest, and leave the same blobs. wasmpod has them on the disk
//! when it ends (fsync), which skopeo leaves to the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::GROUP;
use super::registry::Registry;
use crate::bench::Bench;
use crate::peers::Peer;
use crate::process;
use crate::report::{Case, Figure, ratios};
use crate::samples::{Better, Samples};

const CASE: Case = Case {
    group: GROUP,
    name: "pull-50mb",
    unit: "us",
    better: Better::Lower,
};

/// The size of the artifact's one layer, about that of a JavaScript engine with its program.
const SIZE: usize = 50_000_000;

/// The most bytes of a custom section's name and sizes, and of the file before it.
const HEAD: usize = 32;

/// Makes the command of one sample, given an empty folder.
type MakeCommand = Box<dyn Fn(&Path) -> Command>;

/// Someone who fetches the artifact.
struct Contender {
    name: &'static str,
    command: MakeCommand,
    /// Where its blobs lie in its folder.
    blobs: &'static str,
    times: Vec<f64>,
}

/// The artifact in its registry.
struct Artifact {
    /// Its reference.
    reference: String,
    /// The layer's sha256 in hex.
    layer: String,
    _registry: Registry,
}

/// Measures wasmpod and skopeo in turns.
///
/// # Errors
/// When wasmpod does not pull what was pushed. Without a registry nothing is measured, which the
/// figures tell.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let registry = match &bench.registry {
        Ok(registry) => registry,
        Err(reason) => {
            let absent = ["wasmpod", "skopeo"].map(|name| CASE.absent(name, reason));
            return Ok(absent.into());
        }
    };
    let home = bench.paths.work.join("pull");
    // What a run left that was ended.
    remove(&home)?;
    fs::create_dir_all(&home)?;
    let artifact = Artifact::push(bench, registry, &home)?;
    let mut contenders = vec![wasmpod(bench, &artifact)];
    let mut absent = Vec::new();
    match &bench.skopeo {
        Ok(peer) => contenders.push(skopeo(peer, &artifact)),
        Err(reason) => absent.push(CASE.absent("skopeo", reason)),
    }
    // The first turn warms the registry's files and is not counted.
    for number in 0..=bench.amount.processes {
        for contender in &mut contenders {
            let took = contender.sample(&home, &artifact.layer)?;
            if number > 0 {
                contender.times.push(took);
            }
        }
    }
    let measured = contenders.into_iter();
    let measured = measured.map(|it| CASE.measured(it.name, &Samples::new(it.times)));
    let mut figures: Vec<Figure> = measured.chain(absent).collect();
    figures.extend(ratios(&figures));
    remove(&home)?;
    Ok(figures)
}

// === impl Artifact ===

impl Artifact {
    /// Packs a wasm file of nothing but noise, and pushes it.
    fn push(bench: &Bench, registry: &Peer, home: &Path) -> anyhow::Result<Self> {
        let registry = Registry::start(registry, home)?;
        let wasm = noise()?;
        let file = home.join("noise.wasm");
        fs::write(&file, &wasm)?;
        let reference = format!("{}/noise:1", registry.host);
        let data = home.join("packed");
        let run = |words: &[&str]| {
            let mut command = Command::new(&bench.programs.wasmpod);
            command.args(["image"]).args(words);
            process::run(with_data(command, &data))
        };
        run(&["pack", &file.display().to_string(), "-t", &reference])?;
        run(&["push", "--quiet", &reference])?;
        remove(&data)?;
        Ok(Self {
            reference,
            layer: engine::cache::digest(&wasm),
            _registry: registry,
        })
    }
}

// === impl Contender ===

impl Contender {
    /// Microseconds until it has fetched all of it.
    fn sample(&self, home: &Path, layer: &str) -> anyhow::Result<f64> {
        let folder = home.join(self.name);
        fs::create_dir(&folder)?;
        let ended = process::run((self.command)(&folder))?;
        let blob = folder.join(self.blobs).join(layer);
        let size = fs::metadata(&blob).with_context(|| format!("{} left no blob", self.name))?;
        ensure!(
            size.len() == SIZE as u64,
            "{} left {} bytes",
            self.name,
            size.len()
        );
        remove(&folder)?;
        Ok(ended.took.as_secs_f64() * 1e6)
    }
}

fn wasmpod(bench: &Bench, artifact: &Artifact) -> Contender {
    let (program, reference) = (bench.programs.wasmpod.clone(), artifact.reference.clone());
    Contender {
        name: "wasmpod",
        command: Box::new(move |folder| {
            let mut command = Command::new(&program);
            command.args(["image", "pull", "--quiet", &reference]);
            with_data(command, folder)
        }),
        blobs: "content/blobs/sha256",
        times: Vec::new(),
    }
}

fn skopeo(peer: &Peer, artifact: &Artifact) -> Contender {
    let (program, reference): (PathBuf, _) = (peer.path.clone(), artifact.reference.clone());
    Contender {
        name: "skopeo",
        command: Box::new(move |folder| {
            let mut command = Command::new(&program);
            command.args(["copy", "--quiet", "--src-tls-verify=false"]);
            // The machine may have no policy; this one is the usual.
            command.arg("--insecure-policy");
            command.arg(format!("docker://{reference}"));
            command.arg(format!("oci:{}:1", folder.display()));
            command
        }),
        blobs: "blobs/sha256",
        times: Vec::new(),
    }
}

/// A wasmpod that reads no settings of the person who runs the bench.
fn with_data(mut command: Command, data: &Path) -> Command {
    command
        .arg("--data-dir")
        .arg(data)
        .env("DOCKER_CONFIG", data)
        .env("WASMPOD_REGISTRIES", data);
    command
}

/// A module with one custom section of bytes that nothing compresses; as long as the case says.
fn noise() -> anyhow::Result<Vec<u8>> {
    let mut wasm = b"\0asm\x01\0\0\0\0".to_vec();
    // The section's size always takes five bytes.
    let section = SIZE - wasm.len() - 5;
    for shift in [0, 7, 14, 21, 28] {
        let more = if shift < 28 { 0x80 } else { 0 };
        wasm.push(u8::try_from((section >> shift) & 0x7f)? | more);
    }
    wasm.extend(b"\x05noise");
    ensure!(wasm.len() < HEAD, "a longer head than was thought");
    // xorshift, Marsaglia's numbers.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    while wasm.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        wasm.extend(state.to_le_bytes());
    }
    wasm.truncate(SIZE);
    Ok(wasm)
}

/// Deletes a folder, if it is there.
fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("cannot delete {}: {error}", folder.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_one_section_that_ends_with_the_file() -> anyhow::Result<()> {
        let wasm = noise()?;
        assert_eq!(wasm.len(), SIZE);
        let size = [0, 7, 14, 21, 28].iter().zip(&wasm[9..14]);
        let size: usize = size
            .map(|(shift, byte)| usize::from(byte & 0x7f) << shift)
            .sum();
        assert_eq!(size, wasm.len() - 14);
        assert_eq!(&wasm[14..20], b"\x05noise");
        Ok(())
    }
}
