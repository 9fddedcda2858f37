//! What one container sees: its root, and the mounts on it.
//!
//! The mounts are known by their paths from the container's root, in a tree of names; the longest
//! one that a path leads through wins. A mount point need not exist in what it is mounted on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use model::runtime::{MountSpec, VolumeSource, VolumeSpec};
use model::volume::HostPathType;

use crate::charges::Payer;
use crate::limit::LimitedPlace;
use crate::node::Node;
use crate::place::Place;
use crate::pod::PodVolumes;
use crate::stat::{OpenOptions, Timestamp};
use crate::volume::files::FileSet;
use crate::volume::{Body, Opened, Volume, to_guest, unique};
use crate::{FsError, VolumeError, path};

mod real_path;
mod sub_path;
mod tree;

use sub_path::SubPath;
use tree::Tree;

/// The root of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootSpec {
    /// A name that no other container run of the pod has had, such as the instance's number. It
    /// becomes a directory's name.
    pub container: String,
    /// The image's files: a directory that is the read-only root. Without one the root is an empty
    /// scratch directory of the container.
    pub image: Option<PathBuf>,
    /// `readOnlyRootFilesystem`: nothing can be made outside volumes.
    pub read_only: bool,
    /// The most bytes that the scratch directory may hold, where limited.
    pub size_limit: Option<u64>,
}

/// A container's files; a cheap clone. Holds no descriptor.
#[derive(Clone)]
pub struct MountTable(Arc<Table>);

/// What the clones of a table share.
pub(crate) struct Table {
    /// Unique in this process.
    pub(crate) id: u64,
    /// When it was made: the times of directories that are nowhere on the disk.
    pub(crate) made_at: Timestamp,
    tree: Tree,
    mounts: Vec<Mount>,
    /// The first mount holds an image's files.
    has_image: bool,
    scratch: PathBuf,
    own: Vec<Arc<Volume>>,
    payer: OnceLock<Arc<dyn Payer>>,
}

/// A volume, or a part of one, at a place of the tree.
pub(crate) struct Mount {
    /// Which volume.
    pub(crate) volume: Arc<Volume>,
    read_only: bool,
    sub_path: Option<SubPath>,
}

/// What a step onto a mount point finds.
pub(crate) enum Found {
    /// A directory.
    Directory(Place),
    /// Anything else: a place to look it up in, and its name there.
    File(Place, OsString),
}

// === impl MountTable ===

impl MountTable {
    /// The table of one container. Only names are looked at: nothing is made or opened.
    ///
    /// # Errors
    /// A mount of a volume that the pod does not have; a mountPath or subPath that Kubernetes would
    /// refuse; two mounts at one path.
    pub fn new(
        volumes: &PodVolumes,
        root: RootSpec,
        mounts: &[MountSpec],
    ) -> Result<Self, VolumeError> {
        Ok(Self(Arc::new(Table::new(volumes, root, mounts)?)))
    }

    /// The same with an empty directory of the container's own at an absolute path, which its
    /// image's files lack: it may be written to, as far as the root's size limit allows. Links above
    /// it are followed, so that nothing of the image is hidden; where they lead into a mount, or
    /// nowhere, the table is one without it. Looks at the disk.
    ///
    /// # Errors
    /// As [`Self::new`]; a path with `..`, or that Linux does not take; where something is there.
    pub fn with_directory(
        volumes: &PodVolumes,
        root: RootSpec,
        mounts: &[MountSpec],
        path: &str,
    ) -> Result<Self, VolumeError> {
        let (container, limit) = (root.container.clone(), root.size_limit);
        let wrong = |problem| VolumeError::WorkingDir {
            path: path.to_owned(),
            problem,
        };
        let mut table = Table::new(volumes, root, mounts)?;
        let names = path::names(path).map_err(wrong)?;
        let names = match real_path::names(&table, names) {
            Ok(names) if table.tree.nearest(&names) == Some(0) => names,
            // Whoever makes it there, or fails to, says why.
            _ => return Ok(Self(Arc::new(table))),
        };
        if !table.tree.insert(&names, table.mounts.len()) {
            return Err(wrong("must be no mount"));
        }
        let directory = Arc::new(Volume::with(
            &format!("directory of {container}"),
            LimitedPlace::Container(container),
            Body::Empty(table.scratch.join("directory")),
            limit,
            Arc::clone(volumes.observer()),
        ));
        table.own.push(Arc::clone(&directory));
        table.mounts.push(Mount {
            volume: directory,
            read_only: false,
            sub_path: None,
        });
        Ok(Self(Arc::new(table)))
    }

    /// Who pays for what is written to volumes in memory; without one nobody does. The first one
    /// stays.
    #[must_use]
    pub fn paid_by(self, payer: Arc<dyn Payer>) -> Self {
        if self.0.payer.set(payer).is_err() {
            tracing::warn!("a container's files were given a second payer; the first one stays");
        }
        self
    }

    /// Resolves every subPath now, and makes those that are absent, so that a wrong one is told
    /// before the container starts (kubelet's CreateContainerConfigError).
    ///
    /// # Errors
    /// The first that cannot be resolved.
    pub fn check(&self) -> Result<(), VolumeError> {
        self.0
            .mounts
            .iter()
            .filter(|mount| mount.sub_path.is_some())
            .try_for_each(|mount| mount.open().map(|_| ()))
    }

    /// The container's root: the descriptor that a guest is given as `/`. It holds no kernel
    /// descriptor and touches no disk until it is used.
    pub fn root(&self) -> Node {
        Node::of_point(self, Tree::ROOT, "/")
    }

    /// The directory at an absolute path: like [`Self::root`] if something is mounted there, else
    /// opened.
    ///
    /// # Errors
    /// As [`Self::open`]; not-directory for a mounted file.
    pub fn directory(&self, path: &str) -> Result<Node, FsError> {
        let names = path::names(path).map_err(|_| FsError::Invalid)?;
        if let Some(point) = self
            .0
            .tree
            .find(&names)
            .filter(|&point| self.0.tree.mount(point).is_some())
        {
            return match self.0.step_onto(point)? {
                Found::Directory(_) => Ok(Node::of_point(
                    self,
                    point,
                    &format!("/{}", names.join("/")),
                )),
                Found::File(..) => Err(FsError::NotDirectory),
            };
        }
        let options = OpenOptions {
            read: true,
            mutate_directory: true,
            directory: true,
            ..OpenOptions::default()
        };
        self.open(path, &options)
    }

    /// Opens an absolute path, following links.
    ///
    /// # Errors
    /// As [`Node::open_at`]; invalid for a path that is not absolute.
    pub fn open(&self, path: &str, options: &OpenOptions) -> Result<Node, FsError> {
        let below = path
            .strip_prefix('/')
            .ok_or(FsError::Invalid)?
            .trim_start_matches('/');
        let below = if below.is_empty() { "." } else { below };
        self.root().open_at(below, true, options)
    }

    /// Whether an absolute path lies on one of the mounts, by its names: a link on the way is not
    /// looked at. What is not lies in the container's own root.
    pub fn is_mounted(&self, path: &str) -> bool {
        let Ok(names) = path::names(path) else {
            return false;
        };
        path.starts_with('/') && self.0.tree.nearest(&names) != Some(0)
    }

    /// The whole content of a file at an absolute path.
    ///
    /// # Errors
    /// As [`Self::open`]; overflow if it is longer than `at_most` bytes.
    pub fn read(&self, path: &str, at_most: u64) -> Result<Vec<u8>, FsError> {
        let options = OpenOptions {
            read: true,
            ..OpenOptions::default()
        };
        self.open(path, &options)?.read_whole(at_most)
    }

    /// Bytes in the container's own root.
    pub fn usage(&self) -> u64 {
        self.0.mounts.first().map_or(0, |root| root.volume.used())
    }

    /// Deletes what the container wrote outside volumes. Nothing of the table opens afterwards
    /// what was its own.
    ///
    /// # Errors
    /// What could not be deleted.
    pub fn remove(&self) -> Result<(), VolumeError> {
        self.0.own.iter().for_each(|volume| volume.close());
        PodVolumes::remove_directory(&self.0.scratch)
    }

    /// What the clones share.
    pub(crate) fn table(&self) -> &Table {
        &self.0
    }

    /// Whether both are one table.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The volume that a container's root is: its image's files, its own scratch directory, or nothing.
fn root_volume(volumes: &PodVolumes, scratch: &std::path::Path, root: RootSpec) -> Arc<Volume> {
    let place = LimitedPlace::Container(root.container.clone());
    let observer = Arc::clone(volumes.observer());
    let name = format!("root of {}", root.container);
    let volume = match root.image {
        Some(path) => {
            let source = VolumeSource::Host {
                path,
                kind: HostPathType::Directory,
            };
            let spec = VolumeSpec {
                source,
                size_limit: None,
            };
            Volume::new(&name, spec, scratch, volumes.memory(), observer)
        }
        None if root.read_only => Volume::with(&name, place, Body::Nothing, None, observer),
        None => Volume::with(
            &name,
            place,
            Body::Empty(scratch.join("root")),
            root.size_limit,
            observer,
        ),
    };
    Arc::new(volume)
}

// === impl Table ===

impl Table {
    fn new(
        volumes: &PodVolumes,
        root: RootSpec,
        mounts: &[MountSpec],
    ) -> Result<Self, VolumeError> {
        let scratch = volumes.container_directory(&root.container)?;
        let has_image = root.image.is_some();
        let root_mount = Mount {
            read_only: root.read_only || has_image,
            volume: root_volume(volumes, &scratch, root),
            sub_path: None,
        };
        let mut table = Self {
            id: unique(),
            made_at: Timestamp::now(),
            tree: Tree::default(),
            own: vec![Arc::clone(&root_mount.volume)],
            mounts: vec![root_mount],
            has_image,
            scratch,
            payer: OnceLock::new(),
        };
        for spec in mounts {
            table.add(volumes, spec)?;
        }
        Ok(table)
    }

    /// A table of one volume alone, for looking up names inside it.
    pub(crate) fn of_volume(volume: &Arc<Volume>) -> Self {
        Self {
            id: unique(),
            made_at: Timestamp::default(),
            tree: Tree::default(),
            mounts: vec![Mount {
                volume: Arc::clone(volume),
                read_only: false,
                sub_path: None,
            }],
            has_image: false,
            scratch: PathBuf::new(),
            own: Vec::new(),
            payer: OnceLock::new(),
        }
    }

    /// The names of mount points.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Who pays for what is written to volumes in memory.
    pub(crate) fn payer(&self) -> Option<&Arc<dyn Payer>> {
        self.payer.get()
    }

    /// A mount by its number.
    pub(crate) fn mount(&self, mount: usize) -> Result<&Mount, FsError> {
        self.mounts.get(mount).ok_or(FsError::BadDescriptor)
    }

    /// Whether writing below a mount is refused.
    pub(crate) fn is_read_only(&self, mount: usize) -> bool {
        self.mounts
            .get(mount)
            .is_none_or(|mount| mount.read_only || mount.volume.is_read_only())
    }

    /// Whether anything at all can be written.
    pub(crate) fn is_all_read_only(&self) -> bool {
        (0..self.mounts.len()).all(|mount| self.is_read_only(mount))
    }

    /// The volume whose root is at a place of the tree.
    pub(crate) fn volume_at(&self, point: usize) -> Option<u64> {
        let mount = self.mounts.get(self.tree.mount(point)?)?;
        mount.sub_path.is_none().then_some(mount.volume.id)
    }

    /// How often files of any of its volumes have been replaced.
    pub(crate) fn generation(&self) -> u64 {
        self.mounts
            .iter()
            .map(|mount| mount.volume.generation())
            .fold(0, u64::wrapping_add)
    }

    /// The container's root.
    pub(crate) fn root(&self) -> Result<Place, FsError> {
        match self.step_onto(Tree::ROOT)? {
            Found::Directory(place) => Ok(place),
            Found::File(..) => Err(FsError::NotDirectory),
        }
    }

    /// Whether nothing lies above a place, so that `..` there leads nowhere else: at the root of an
    /// image, whose links and programs are made for Linux. Of any other root WASI's rule holds, which
    /// is that what leads above it is refused.
    pub(crate) fn is_own_parent(&self, place: &Place) -> bool {
        let is_image = self.has_image && self.tree.mount(Tree::ROOT) == Some(0);
        is_image && place.point == Some(Tree::ROOT)
    }

    /// The directory or file that is mounted at a place of the tree. Errors: no-entry if nothing is.
    pub(crate) fn step_onto(&self, point: usize) -> Result<Found, FsError> {
        let number = self.tree.mount(point).ok_or(FsError::NoEntry)?;
        let opened = self
            .mount(number)?
            .look()
            .map_err(|error| to_guest(&error))?;
        Ok(match opened {
            Some(Opened::Directory(directory)) => {
                Found::Directory(Place::real(number, Some(point), directory))
            }
            Some(Opened::File(directory, name)) => {
                Found::File(Place::real(number, None, directory), name)
            }
            None => Found::Directory(Place::unmade(number, point)),
        })
    }

    fn add(&mut self, volumes: &PodVolumes, spec: &MountSpec) -> Result<(), VolumeError> {
        let wrong = |problem| VolumeError::Path {
            volume: spec.volume.clone(),
            field: "mountPath",
            path: spec.path.clone(),
            problem,
        };
        if !spec.path.starts_with('/') {
            return Err(wrong("must be absolute"));
        }
        let names = path::names(&spec.path).map_err(wrong)?;
        let volume = volumes.volume(&spec.volume)?;
        let (volume, sub_path) = match spec.sub_path.as_deref().filter(|path| !path.is_empty()) {
            None => (Arc::clone(volume), None),
            Some(sub_path) => self.part_of(volume, sub_path)?,
        };
        // A mount on `/` takes the place of the container's own root.
        let mount = Mount {
            volume,
            read_only: spec.read_only,
            sub_path,
        };
        if names.is_empty() && self.tree.mount(Tree::ROOT) == Some(0) {
            self.tree.mount_on_root(self.mounts.len());
        } else if !self.tree.insert(&names, self.mounts.len()) {
            return Err(wrong("must be unique among the container's mounts"));
        }
        self.mounts.push(mount);
        Ok(())
    }

    /// The volume and the path in it for a mount with a subPath. For files from objects that is a
    /// copy of the part that is mounted, as they are now: a subPath never sees an update.
    fn part_of(
        &mut self,
        volume: &Arc<Volume>,
        sub_path: &str,
    ) -> Result<(Arc<Volume>, Option<SubPath>), VolumeError> {
        let parsed = SubPath::new(volume.name(), sub_path)?;
        let Body::Files(files) = volume.body() else {
            return Ok((Arc::clone(volume), Some(parsed)));
        };
        let part = parsed.part_of(files.files());
        let directory = self.scratch.join(format!("sub-path-{}", self.mounts.len()));
        let copy = Arc::new(Volume::with(
            volume.name(),
            volume.place().clone(),
            Body::Files(FileSet::new(directory, part)),
            None,
            Arc::clone(volume.observer()),
        ));
        self.own.push(Arc::clone(&copy));
        Ok((copy, Some(parsed)))
    }
}

// === impl Mount ===

impl Mount {
    /// Opens its root if there is anything to open; an unused volume is not made for it.
    pub(crate) fn look(&self) -> Result<Option<Opened>, VolumeError> {
        match &self.sub_path {
            None => self.volume.look(),
            Some(_) => self.open().map(Some),
        }
    }

    /// Opens its root, and makes it where it is not.
    pub(crate) fn open(&self) -> Result<Opened, VolumeError> {
        match &self.sub_path {
            None => self.volume.open(),
            Some(sub_path) => sub_path.open(&self.volume),
        }
    }
}

#[cfg(test)]
mod tests;
