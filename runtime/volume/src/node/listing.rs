//! The entries of a directory, one after the other, as often as asked, in bounded memory.
//!
//! Preview 1 asks for entries by cookie and often goes back a little, because its buffer ended in
//! the middle of one. The cookie is the entry's number; the last entries are kept, and going back
//! further reads the directory again from its start. What is made or removed meanwhile may or may
//! not be seen, as in POSIX.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, Dir, DirEntry as KernelEntry, FileType};

use super::Node;
use super::opening::reopen;
use crate::FsError;
use crate::measure::is_dots;
use crate::place::Place;
use crate::stat::{DirEntry, FileKind, Identity, MetadataHash, kind_of};
use crate::table::{Found, Table};

/// How many entries are kept to go back to: some 64 KiB with names of usual length.
const KEPT: usize = 512;

/// The entries of one directory. Holds one descriptor, none for a directory that is not on disk.
///
/// `.` and `..` are left out, and names that are not UTF-8, which no guest could open. Mount points
/// are in it, whether they exist on the disk or not.
pub struct Listing {
    points: Vec<DirEntry>,
    hidden: BTreeSet<String>,
    disk: Option<Disk>,
    recent: VecDeque<DirEntry>,
    /// The number of the first entry in `recent`.
    first: u64,
    /// The number of the next entry for [`Listing::next`].
    next: u64,
    /// How many entries have been taken from where they come from.
    taken: usize,
}

struct Disk {
    directory: Dir,
    device: u64,
}

impl Node {
    /// Begins to list the directory.
    ///
    /// # Errors
    /// Not-directory; access.
    pub fn read_dir(&self) -> Result<Listing, FsError> {
        let place = self.place()?;
        let table = self.0.table.table();
        let points = points(table, &place);
        let disk = match reopen(&place)? {
            Some(directory) => Some(Disk {
                device: fs::fstat(&directory)?.st_dev,
                directory: Dir::new(directory)?,
            }),
            None => None,
        };
        Ok(Listing {
            hidden: points.iter().map(|entry| entry.name.clone()).collect(),
            points,
            disk,
            recent: VecDeque::new(),
            first: 0,
            next: 0,
            taken: 0,
        })
    }
}

/// The mount points in a directory, and the names that lead to some.
fn points(table: &Table, place: &Place) -> Vec<DirEntry> {
    let below = place
        .point
        .into_iter()
        .flat_map(|point| table.tree().all_below(point));
    below
        .map(|(name, point)| {
            let (kind, hash) = match table.tree().mount(point) {
                None => (FileKind::Directory, point_hash(table, place, name, point)),
                Some(_) => mounted(table, point),
            };
            DirEntry {
                name: name.to_owned(),
                kind,
                inode: hash.lower,
            }
        })
        .collect()
}

fn point_hash(table: &Table, place: &Place, name: &str, point: usize) -> MetadataHash {
    let found = place
        .towards_mount(name, point)
        .and_then(|place| place.stat(table));
    found.map_or_else(|_| MetadataHash::default(), |stat| stat.identity)
}

/// What is mounted at a point. A volume that cannot be opened is of unknown kind: the listing is
/// not the place to fail for it.
fn mounted(table: &Table, point: usize) -> (FileKind, MetadataHash) {
    let stat = table.step_onto(point).and_then(|found| match found {
        Found::Directory(place) => place.stat(table),
        Found::File(parent, name) => {
            let directory = parent.directory().ok_or(FsError::NoEntry)?;
            let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(crate::stat::Stat::from_kernel(&stat))
        }
    });
    stat.map_or((FileKind::Unknown, MetadataHash::default()), |stat| {
        (stat.kind, stat.identity)
    })
}

// === impl Listing ===

impl Listing {
    /// The entry with this number, counted from 0; `None` behind the last one.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn entry(&mut self, number: u64) -> Result<Option<DirEntry>, FsError> {
        if number < self.first {
            self.rewind();
        }
        loop {
            let index = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
            if let Some(entry) = self.recent.get(index) {
                return Ok(Some(entry.clone()));
            }
            let Some(entry) = self.take()? else {
                return Ok(None);
            };
            if self.recent.len() == KEPT {
                self.recent.pop_front();
                self.first += 1;
            }
            self.recent.push_back(entry);
        }
    }

    /// The next entry of a plain walk through all; `None` behind the last one.
    ///
    /// # Errors
    /// Those of the kernel.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide that `entry` moves too"
    )]
    pub fn next(&mut self) -> Result<Option<DirEntry>, FsError> {
        let entry = self.entry(self.next)?;
        self.next += u64::from(entry.is_some());
        Ok(entry)
    }

    fn rewind(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.directory.rewind();
        }
        self.recent.clear();
        self.first = 0;
        self.taken = 0;
    }

    /// The next entry from where they come from: first the mount points, then the disk.
    fn take(&mut self) -> Result<Option<DirEntry>, FsError> {
        if let Some(point) = self.points.get(self.taken) {
            self.taken += 1;
            return Ok(Some(point.clone()));
        }
        let Some(disk) = &mut self.disk else {
            return Ok(None);
        };
        while let Some(entry) = disk.directory.read() {
            let entry = entry?;
            let name = entry.file_name();
            let Ok(name) = name.to_str() else { continue };
            if is_dots(name.as_bytes()) || self.hidden.contains(name) {
                continue;
            }
            return Ok(Some(disk.entry(name, &entry)));
        }
        Ok(None)
    }
}

// === impl Disk ===

impl Disk {
    fn entry(&self, name: &str, entry: &KernelEntry) -> DirEntry {
        let kind = match entry.file_type() {
            FileType::Unknown => self.look(name),
            kind => kind.into(),
        };
        DirEntry {
            name: name.to_owned(),
            kind,
            inode: MetadataHash::of(&Identity::Object(self.device, entry.ino())).lower,
        }
    }

    /// Some file systems do not tell the kind in their entries.
    fn look(&self, name: &str) -> FileKind {
        let stat = self
            .directory
            .fd()
            .and_then(|directory| fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW));
        stat.map_or(FileKind::Unknown, |stat| kind_of(&stat))
    }
}
