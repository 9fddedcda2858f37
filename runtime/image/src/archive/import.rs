//! Importing: images of an archive to the store, each with its names.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::bounded::Bounded;
use super::members::Members;
use super::{ArchiveError, failed};
use crate::decompress;
use crate::digest::Digest;
use crate::manifest::media::Compression;
use crate::manifest::{Config, Descriptor, Document, ManifestError, media};
use crate::pull::{self, PullError};
use crate::reference::Reference;
use crate::store::{self, Lease, Store};
use crate::{kind, limits};

/// An image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "an object")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Brings the images of an archive (a tar, one compressed with gzip or zstd, or a directory with an
/// OCI layout; `-` for standard input) into the store, and answers their names. `name` is what its
/// one image is called, whatever the archive calls it; of several, the one that has no name. Others
/// without one are called by their digests, as `docker load` takes them. Reads all of it: not to be
/// called where tasks run.
///
/// # Errors
/// [`ArchiveError`]: what is wrong with it. Nothing gets a name unless all of it is right, and what came
/// of it goes again, but what others hold by then.
pub fn import(
    store: &Store,
    lease: &Lease,
    path: &Path,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Descriptor)>, ArchiveError> {
    // One of its own, which can be given up whoever has the other.
    let attempt = store.lease()?;
    let mut members = Members::new(store, &attempt);
    let imported = read(&mut members, path).and_then(|()| images(store, lease, &mut members, name));
    let brought = members.into_brought();
    drop(attempt);
    if imported.is_err()
        && let Err(error) = store.collect_of(brought)
    {
        tracing::warn!("what came of the archive stays until the next `wasmpod image rm`: {error}");
    }
    imported
}

/// Reads an archive to its end.
fn read(members: &mut Members<'_>, path: &Path) -> Result<(), ArchiveError> {
    if path == Path::new("-") {
        return read_tar(members, std::io::stdin().lock());
    }
    if path.is_dir() {
        return members.read_directory(path);
    }
    let file = File::open(path).map_err(failed(format!("open {}", path.display())))?;
    read_tar(members, file)
}

/// Names the images of what was read, and holds them.
fn images(
    store: &Store,
    lease: &Lease,
    members: &mut Members<'_>,
    name: Option<&Reference>,
) -> Result<Vec<(Reference, Descriptor)>, ArchiveError> {
    let saved = members.json("manifest.json").map(<[u8]>::to_vec);
    let found = if let Some(index) = members.json("index.json") {
        layout(store, members, index, saved.as_deref())?
    } else {
        docker(store, members, &saved.ok_or(ArchiveError::NoImages)?)?
    };
    let found = named(found, name)?;
    for (names, target) in &found {
        // Told now rather than when it is run.
        pull::of_target(store, target.clone())?;
        for name in names {
            store::check_name(name, target)?;
        }
    }
    let mut imported = Vec::new();
    for (names, target) in found {
        lease.hold(&target.digest)?;
        for name in names {
            store.name(&name, &target)?;
            imported.push((name, target.clone()));
        }
    }
    match imported.is_empty() {
        true => Err(ArchiveError::NoImages),
        false => Ok(imported),
    }
}

/// Images with the name that was given to one of them, and one by digest for those without any.
fn named(found: Found, name: Option<&Reference>) -> Result<Found, ArchiveError> {
    let mut found = match name {
        Some(name) => given(found, name)?,
        None => found,
    };
    let named = found.iter().filter(|(names, _)| !names.is_empty());
    let mut named: Vec<Digest> = named.map(|(_, it)| it.digest.clone()).collect();
    for (names, target) in found.iter_mut().filter(|(names, _)| names.is_empty()) {
        // It may be there twice, and with a name elsewhere.
        if !named.contains(&target.digest) {
            names.push(Reference::nameless(target.digest.clone()));
            named.push(target.digest.clone());
        }
    }
    Ok(found)
}

fn given(mut found: Found, name: &Reference) -> Result<Found, ArchiveError> {
    let first = found.first().map(|(_, target)| target.digest.clone());
    // An image of several names may be there once for each.
    if found
        .iter()
        .all(|(_, it)| Some(&it.digest) == first.as_ref())
    {
        found.truncate(1);
    }
    let count = found.len();
    let mut meant = found
        .iter_mut()
        .filter(|(names, _)| count == 1 || names.is_empty());
    match (meant.next(), meant.next()) {
        (Some((names, _)), None) => *names = vec![name.clone()],
        _ if count == 0 => {}
        _ => return Err(ArchiveError::OneName(count)),
    }
    Ok(found)
}

fn read_tar(members: &mut Members<'_>, reader: impl Read) -> Result<(), ArchiveError> {
    let told = decompress::told(reader);
    let (compression, whole) = told.map_err(failed("read the archive"))?;
    let whole = BufReader::new(whole);
    match compression {
        Compression::None => members.read_tar(whole),
        packed => members.read_tar(Bounded::new(whole, packed)),
    }
}

type Found = Vec<(Vec<Reference>, Descriptor)>;

/// An OCI layout. Docker's own list of names beside it counts too.
fn layout(
    store: &Store,
    members: &Members<'_>,
    index: &[u8],
    saved: Option<&[u8]>,
) -> Result<Found, ArchiveError> {
    let Document::Index(index) = Document::parse(index)? else {
        return Err(ArchiveError::Member {
            member: "index.json".to_owned(),
            why: "it is no index".to_owned(),
        });
    };
    let saved = saved.map(parse_saved).transpose()?.unwrap_or_default();
    let mut found = Vec::new();
    for entry in &index.manifests {
        if entry.annotations.contains_key(media::DOCKER_REFERENCE_TYPE) {
            continue;
        }
        if !members.holds(&entry.digest) {
            return Err(ArchiveError::Missing(format!("blobs/{}", entry.digest)));
        }
        let name = entry.annotations.get(media::CONTAINERD_NAME);
        let whole = entry.annotations.get(media::REF_NAME);
        // A reference name without a repository is a tag, of what nobody says.
        let whole = whole.filter(|text| text.contains(['/', ':']));
        let mut names = Vec::new();
        if let Some(name) = name.or(whole) {
            names.push(reference(name)?);
        } else {
            let config = config_name(store, entry)?;
            let tags = saved
                .iter()
                .filter(|saved| config.as_ref() == Some(&saved.config));
            for tag in tags.flat_map(|saved| saved.repo_tags.iter().flatten()) {
                names.push(reference(tag)?);
            }
        }
        let mut target = entry.clone();
        target.annotations.clear();
        target.platform = None;
        found.push((names, target));
    }
    Ok(found)
}

/// Where a layout holds the configuration of an entry.
fn config_name(store: &Store, entry: &Descriptor) -> Result<Option<String>, ArchiveError> {
    let document = match store.document(&entry.digest)? {
        Document::Index(index) => {
            let chosen = kind::choose(&index).map_err(PullError::from)?;
            store.document(&chosen.digest)?
        }
        manifest => manifest,
    };
    let Document::Manifest(manifest) = document else {
        return Ok(None);
    };
    let digest = manifest.config.digest;
    Ok(Some(format!(
        "blobs/{}/{}",
        digest.algorithm().as_str(),
        digest.hex()
    )))
}

/// The form of `docker save` before it wrote layouts.
fn docker(store: &Store, members: &mut Members<'_>, saved: &[u8]) -> Result<Found, ArchiveError> {
    let mut found = Vec::new();
    for image in parse_saved(saved)? {
        let missing = || ArchiveError::Missing(image.config.clone());
        let config = match members.json(&image.config) {
            Some(bytes) => bytes.to_vec(),
            None => {
                let (digest, _) = members.blob(&image.config).ok_or_else(missing)?;
                store.read(&digest, limits::CONFIG)?
            }
        };
        let diff_ids = Config::parse(&config)?.rootfs.diff_ids;
        if image.layers.len() > limits::LAYERS {
            return Err(ManifestError::TooMany {
                what: "layers",
                count: image.layers.len() as u64,
                limit: limits::LAYERS as u64,
            }
            .into());
        }
        let mut layers = Vec::new();
        for (number, layer) in image.layers.iter().enumerate() {
            let missing = || ArchiveError::Missing(layer.clone());
            let (digest, size) = members.blob(layer).ok_or_else(missing)?;
            if diff_ids
                .get(number)
                .is_some_and(|wanted| wanted.algorithm() == digest.algorithm() && *wanted != digest)
            {
                return Err(ArchiveError::Member {
                    member: layer.clone(),
                    why: format!("it has the digest {digest}, and the configuration says another"),
                });
            }
            layers.push(Descriptor::new(media::OCI_TAR, digest, size));
        }
        let config = members.put(media::OCI_CONFIG, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        let target = members.put(media::OCI_MANIFEST, manifest.to_string().as_bytes())?;
        let tags = image.repo_tags.unwrap_or_default();
        let names: Result<Vec<Reference>, _> = tags.iter().map(|tag| reference(tag)).collect();
        found.push((names?, target));
    }
    Ok(found)
}

fn parse_saved(bytes: &[u8]) -> Result<Vec<Saved>, ArchiveError> {
    let parsed = serde_json::from_slice(bytes).map_err(|error| ArchiveError::Member {
        member: "manifest.json".to_owned(),
        why: error.to_string(),
    });
    let saved: Vec<Saved> = parsed?;
    let names = saved
        .iter()
        .map(|image| image.repo_tags.iter().flatten().count());
    // One without a name counts as well.
    match names.map(|count| count.max(1)).sum::<usize>() > limits::ARCHIVE_IMAGES {
        true => Err(ArchiveError::TooMany {
            what: "images and names of images",
            limit: limits::ARCHIVE_IMAGES,
        }),
        false => Ok(saved),
    }
}

fn reference(name: &str) -> Result<Reference, ArchiveError> {
    name.parse().map_err(|source| ArchiveError::Name {
        name: name.to_owned(),
        source,
    })
}
