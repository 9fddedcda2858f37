//! How a guest's path becomes a directory and a name in it.
//!
//! ```text
//! base ── step ── step ── … ── last name            a trail of open directories
//!           │       └─ link: its target's steps come first; absolute: a new trail from `/`
//!           └─ `..`: one back on the trail; before its start: not-permitted, but an image's `/`
//!              is its own parent, as a root of Linux is
//! ```
//!
//! Each step opens one name relative to an open directory without following it, so that nobody
//! who swaps directories and links meanwhile can lead the walk out. Where no mount point lies
//! below and no `..` remains, `openat2` takes all steps but the last at once and the kernel keeps
//! to the same rule (RESOLVE_BENEATH); if it finds the rule broken, the walk finds out by steps
//! whether a mount or the container's root makes it right.
//!
//! The last name is left to the caller: it may be absent, and is never followed by accident.

use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Stat as KernelStat};
use rustix::io::Errno;

use crate::FsError;
use crate::path::{self, Step, Steps};
use crate::place::Place;
use crate::stat::{FileKind, kind_of};
use crate::table::{Found, Table};
use crate::volume::PLACE;

/// Most links on one path, as in Linux.
pub(crate) const LINKS: u32 = 40;
/// Longest trail: each place on it is an open descriptor of the node. Plain paths are not bound by
/// it, `openat2` takes them at once.
const TRAIL: usize = 128;

/// One path being resolved.
pub(crate) struct Walk<'a> {
    table: &'a Table,
    base: Place,
    path: Steps,
    trail: Vec<Stop>,
    /// Steps to come, the next one last.
    ahead: Vec<Step>,
    /// Only a directory will do at the end.
    pub(crate) directory: bool,
    links: u32,
    links_from_root: LinksFromRoot,
    by_steps: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Leaf {
    /// To a directory that the walk had to enter: `.`, `..`, a mount point or what lies above one.
    Directory {
        /// It.
        place: Place,
        /// The last step was a name, so that the directory has an entry above it.
        named: bool,
    },
    /// To a name.
    Entry(Entry),
}

/// A name in a directory. Nothing may have it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory.
    pub(crate) parent: Place,
    /// The name, a single one.
    pub(crate) name: OsString,
    /// A file is mounted here, and `parent` is the directory that the file lies in, elsewhere.
    pub(crate) mounted: bool,
}

/// A place on the trail.
struct Stop {
    place: Place,
    name: String,
    /// Reached by several steps at once, so that the place before it is not the one above it.
    jumped: bool,
}

/// What links to absolute paths mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinksFromRoot {
    /// From the container's root; none has been met.
    Allowed,
    /// One has been met; the end must be found to lie below the base.
    Followed,
    /// They lead out.
    Refused,
}

/// Set when the kernel or a sandbox has no `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

// === impl Walk ===

impl<'a> Walk<'a> {
    /// Resolves `path` relative to `base`, in the name space of the container.
    pub(crate) fn new(table: &'a Table, base: &Place, path: &str) -> Result<Self, FsError> {
        Ok(Self::of(
            table,
            base,
            path::relative(path)?,
            LinksFromRoot::Allowed,
        ))
    }

    /// Resolves `path` inside one volume.
    pub(crate) fn inside(table: &'a Table, root: &Place, path: &str) -> Result<Self, FsError> {
        Ok(Self::of(
            table,
            root,
            path::relative(path)?,
            LinksFromRoot::Refused,
        ))
    }

    fn of(table: &'a Table, base: &Place, path: Steps, links_from_root: LinksFromRoot) -> Self {
        let mut walk = Self {
            table,
            base: base.clone(),
            path,
            trail: Vec::new(),
            ahead: Vec::new(),
            directory: false,
            links: 0,
            links_from_root,
            by_steps: NO_OPENAT2.load(Ordering::Relaxed),
        };
        walk.begin();
        walk
    }

    /// The names from the base, or from the root where a link led there, to what a leaf with this
    /// last name is: for messages.
    pub(crate) fn names(&self) -> (bool, String) {
        let names: Vec<&str> = self
            .trail
            .iter()
            .skip(1)
            .map(|stop| stop.name.as_str())
            .collect();
        (
            self.links_from_root == LinksFromRoot::Followed,
            names.join("/"),
        )
    }

    /// Goes on to the end of the path. May be called again after [`Self::follow`].
    pub(crate) fn leaf(&mut self) -> Result<Leaf, FsError> {
        let mut named = false;
        while let Some(step) = self.ahead.pop() {
            named = matches!(step, Step::Name(_));
            match step {
                Step::Up => self.up()?,
                Step::Name(name) if self.ahead.is_empty() => {
                    if let Some(entry) = self.last(&name)? {
                        self.must_be_beneath()?;
                        return Ok(Leaf::Entry(entry));
                    }
                }
                Step::Name(name) => self.enter(name)?,
            }
        }
        self.must_be_beneath()?;
        let place = self.here()?.clone();
        Ok(Leaf::Directory { place, named })
    }

    /// The end of the path, with a link there followed.
    pub(crate) fn leaf_following(&mut self) -> Result<Leaf, FsError> {
        loop {
            match self.leaf()? {
                Leaf::Entry(entry) if entry.kind()? == Some(FileKind::SymbolicLink) => {
                    self.follow(&entry)?
                }
                leaf => return Ok(leaf),
            }
        }
    }

    /// Takes the link that the leaf is. Errors: loop after too many, or if a mounted file is one.
    pub(crate) fn follow(&mut self, entry: &Entry) -> Result<(), FsError> {
        if entry.mounted {
            return Err(FsError::Loop);
        }
        let target = match entry.read_link() {
            // It was one a moment ago; whatever it is now comes next.
            Err(FsError::Invalid) => entry.name.to_string_lossy().into_owned(),
            target => target?,
        };
        if self.trail.last().is_some_and(|stop| stop.jumped) {
            // The kernel may have come to a place that is more than a directory to us.
            self.start_by_steps();
            return Ok(());
        }
        self.splice(&target)
    }

    fn start_by_steps(&mut self) {
        self.by_steps = true;
        self.begin();
    }

    fn begin(&mut self) {
        self.trail = vec![Stop {
            place: self.base.clone(),
            name: String::new(),
            jumped: false,
        }];
        self.ahead = self.path.steps.iter().rev().cloned().collect();
        self.directory = self.path.directory;
        self.links = 0;
        if self.links_from_root == LinksFromRoot::Followed {
            self.links_from_root = LinksFromRoot::Allowed;
        }
    }

    fn here(&self) -> Result<&Place, FsError> {
        self.trail
            .last()
            .map(|stop| &stop.place)
            .ok_or(FsError::NotPermitted)
    }

    fn push(&mut self, name: String, place: Place, jumped: bool) -> Result<(), FsError> {
        if self.trail.len() >= TRAIL {
            return Err(FsError::NameTooLong);
        }
        if let Some(directory) = place.directory() {
            let volume = &self.table.mount(place.mount)?.volume;
            volume.refuse_procfs(directory)?;
        }
        self.trail.push(Stop {
            place,
            name,
            jumped,
        });
        Ok(())
    }

    /// `..`
    fn up(&mut self) -> Result<(), FsError> {
        if let [start] = self.trail.as_slice()
            && self.table.is_own_parent(&start.place)
        {
            return Ok(());
        }
        let Some(stop) = self.trail.pop() else {
            return Err(FsError::NotPermitted);
        };
        if stop.jumped {
            self.start_by_steps();
            return Ok(());
        }
        if self.trail.is_empty() {
            Err(FsError::NotPermitted)
        } else {
            Ok(())
        }
    }

    /// The last name. `None` if it had to be entered.
    fn last(&mut self, name: &str) -> Result<Option<Entry>, FsError> {
        let here = self.here()?.clone();
        let Some(point) = here
            .point
            .and_then(|point| self.table.tree().below(point, name))
        else {
            return Ok(Some(Entry::new(here, name.into(), false)));
        };
        match self.onto(&here, name, point)? {
            Found::Directory(place) => {
                self.push(name.to_owned(), place, false)?;
                Ok(None)
            }
            Found::File(parent, name) => Ok(Some(Entry::new(parent, name, true))),
        }
    }

    /// A name on the way.
    fn enter(&mut self, name: String) -> Result<(), FsError> {
        let here = self.here()?.clone();
        if let Some(point) = here
            .point
            .and_then(|point| self.table.tree().below(point, &name))
        {
            return match self.onto(&here, &name, point)? {
                Found::Directory(place) => self.push(name, place, false),
                Found::File(..) => Err(FsError::NotDirectory),
            };
        }
        let Some(directory) = here.directory() else {
            return Err(FsError::NoEntry);
        };
        if !self.by_steps && !self.ahead.contains(&Step::Up) {
            match self.jump(&here, directory, &name) {
                Err(Errno::XDEV | Errno::LOOP | Errno::AGAIN) => self.by_steps = true,
                Err(Errno::NOSYS | Errno::PERM) => {
                    NO_OPENAT2.store(true, Ordering::Relaxed);
                    self.by_steps = true;
                }
                Err(errno) => return Err(errno.into()),
                Ok((name, place)) => return self.push(name, place, true),
            }
        }
        match fs::openat(directory, &name, PLACE, Mode::empty()) {
            Ok(below) => self.push(name, Place::real(here.mount, None, below.into()), false),
            // With O_NOFOLLOW and O_DIRECTORY a link is "not a directory" too.
            Err(Errno::NOTDIR | Errno::LOOP) => match read_link(directory, name.as_ref()) {
                Ok(target) => self.splice(&target),
                Err(FsError::Invalid) => Err(FsError::NotDirectory),
                Err(error) => Err(error),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// All names ahead but the last at once. Links are taken only where no mount lies below, for
    /// the kernel knows none of ours.
    fn jump(
        &mut self,
        here: &Place,
        directory: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(String, Place), Errno> {
        let mut names = vec![name];
        names.extend(
            self.ahead
                .iter()
                .skip(1)
                .rev()
                .filter_map(|step| match step {
                    Step::Name(name) => Some(name.as_str()),
                    Step::Up => None,
                }),
        );
        let names = names.join("/");
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if here
            .point
            .is_some_and(|point| self.table.tree().has_any_below(point))
        {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = fs::openat2(directory, &names, flags, Mode::empty(), resolve)?;
        self.ahead.truncate(1);
        Ok((names, Place::real(here.mount, None, below.into())))
    }

    /// One name onto or towards a mount point.
    fn onto(&self, here: &Place, name: &str, point: usize) -> Result<Found, FsError> {
        if self.table.tree().mount(point).is_some() {
            return self.table.step_onto(point);
        }
        here.towards_mount(name, point).map(Found::Directory)
    }

    /// Puts a link's target before the steps to come.
    fn splice(&mut self, target: &str) -> Result<(), FsError> {
        self.links += 1;
        if self.links > LINKS {
            return Err(FsError::Loop);
        }
        let target = path::any(target)?;
        if target.absolute {
            self.start_from_root()?;
        }
        if self.ahead.is_empty() {
            self.directory |= target.directory;
        }
        self.ahead.extend(target.steps.into_iter().rev());
        Ok(())
    }

    fn start_from_root(&mut self) -> Result<(), FsError> {
        if self.links_from_root == LinksFromRoot::Refused {
            return Err(FsError::NotPermitted);
        }
        let root = self.table.root()?;
        if !root.is(&self.base, self.table)? {
            // The base must be found again on the trail, so no place may be jumped over.
            self.links_from_root = LinksFromRoot::Followed;
            self.by_steps = true;
        }
        self.trail.clear();
        self.push(String::new(), root, false)
    }

    fn must_be_beneath(&self) -> Result<(), FsError> {
        if self.links_from_root != LinksFromRoot::Followed {
            return Ok(());
        }
        for stop in &self.trail {
            if stop.place.is(&self.base, self.table)? {
                return Ok(());
            }
        }
        Err(FsError::NotPermitted)
    }
}

// === impl Entry ===

impl Entry {
    fn new(parent: Place, name: OsString, mounted: bool) -> Self {
        Self {
            parent,
            name,
            mounted,
        }
    }

    /// The open directory that it is in. Errors: no-entry if that is not on the disk, so that
    /// nothing is in it.
    pub(crate) fn directory(&self) -> Result<BorrowedFd<'_>, FsError> {
        self.parent.directory().ok_or(FsError::NoEntry)
    }

    /// What the kernel says of it, a link not followed. `None` if it is absent.
    pub(crate) fn stat(&self) -> Result<Option<KernelStat>, FsError> {
        let Some(directory) = self.parent.directory() else {
            return Ok(None);
        };
        match fs::statat(directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What it is. `None` if it is absent.
    pub(crate) fn kind(&self) -> Result<Option<FileKind>, FsError> {
        Ok(self.stat()?.as_ref().map(kind_of))
    }

    /// The target of the link that it is. Errors: invalid if it is none.
    pub(crate) fn read_link(&self) -> Result<String, FsError> {
        read_link(self.directory()?, &self.name)
    }

    /// Opens the directory that it is, to look up names in it.
    pub(crate) fn open_place(&self) -> Result<OwnedFd, FsError> {
        Ok(fs::openat(
            self.directory()?,
            &self.name,
            PLACE,
            Mode::empty(),
        )?)
    }
}

fn read_link(directory: BorrowedFd<'_>, name: &OsStr) -> Result<String, FsError> {
    let target = fs::readlinkat(directory, name, Vec::new())?;
    target
        .into_string()
        .map_err(|_| FsError::IllegalByteSequence)
}

#[cfg(test)]
mod tests;
