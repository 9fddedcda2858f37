//! The descriptors of a preview 1 module: small numbers, the lowest free one first, as in POSIX.
//!
//! ```text
//! 0 stdin   1 stdout   2 stderr   3 … one listener per declared port   then the directory "/"
//! ```
//!
//! Listeners are where sd_listen_fds(3) says, so that a program finds the first at 3 whatever is
//! mounted. A module that is given none has the directory at 3.
//!
//! A descriptor is never shared: preview 1 has no dup, and `fd_renumber` moves one whole. So
//! offsets and flags lie in the table itself.

use volume::{Listing, Node};

use super::Start;
use super::abi::{FdStat, FileType, fdflags, rights};
use super::errno::Errno;
use super::sockets::{Connection, Listener};
use super::stdio::{Input, StandardOutput};

/// Descriptors open at once: what Linux lets a process have unless told otherwise, which is what
/// programs reckon with. Each file holds one of the host's.
const MAX_DESCRIPTORS: usize = 1024;

/// The path that the preopened directory stands for.
pub(super) const PREOPEN: &str = "/";

/// The table.
pub(super) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
}

/// What a number stands for.
pub(super) enum Descriptor {
    Input(Input),
    Output(StandardOutput),
    Directory(Directory),
    File(File),
    Listener(Listener),
    Connection(Connection),
}

/// An open directory.
pub(super) struct Directory {
    pub(super) node: Node,
    /// Whether it is there from the start, under the name [`PREOPEN`].
    pub(super) preopened: bool,
    /// Where `fd_readdir` reads on; it holds a descriptor of the host until the end is reached.
    pub(super) listing: Option<Listing>,
}

/// An open file.
pub(super) struct File {
    pub(super) node: Node,
    /// Where the next read or write begins.
    pub(super) offset: u64,
    /// Whether writes go to the end, wherever the offset is.
    pub(super) append: bool,
    /// Told back and otherwise without effect, as on Linux: files never say EAGAIN.
    pub(super) nonblocking: bool,
}

// === impl Descriptors ===

impl Descriptors {
    /// What a program starts with.
    pub(super) fn new(start: &mut Start, root: Node) -> Self {
        let directory = Directory {
            node: root,
            preopened: true,
            listing: None,
        };
        let mut slots = vec![
            Some(Descriptor::Input(Input::new(start.stdin.take()))),
            Some(Descriptor::Output(StandardOutput::new(start.out.clone()))),
            Some(Descriptor::Output(StandardOutput::new(start.err.clone()))),
        ];
        slots.extend(
            start
                .listeners()
                .map(|(_, port)| Some(Descriptor::Listener(Listener::new(port)))),
        );
        slots.push(Some(Descriptor::Directory(directory)));
        Self { slots }
    }

    /// Errors: too many files. Asked before anything is opened that would be lost without a place.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        let full = self.slots.len() >= MAX_DESCRIPTORS && self.slots.iter().all(Option::is_some);
        if full { Err(Errno::Mfile) } else { Ok(()) }
    }

    /// Gives a descriptor the lowest free number.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        self.check_room()?;
        let place = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.slots.len());
        match self.slots.get_mut(place) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        u32::try_from(place).map_err(|_| Errno::Mfile)
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.slots.get(fd));
        slot.and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    pub(super) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slot(fd)?.as_mut().ok_or(Errno::Badf)
    }

    /// Takes a descriptor out; dropping it closes it.
    pub(super) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.slot(fd)?.take().ok_or(Errno::Badf)
    }

    /// Moves a descriptor over another one, which is closed.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        let moved = self.remove(from)?;
        *self.slot(to)? = Some(moved);
        Ok(())
    }

    /// All open ones with their numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Descriptor)> {
        (0..)
            .zip(&mut self.slots)
            .filter_map(|(fd, slot)| slot.as_mut().map(|open| (fd, open)))
    }

    /// An open file. Errors: illegal seek for streams, bad descriptor for directories.
    pub(super) fn file(&mut self, fd: u32) -> Result<&mut File, Errno> {
        match self.get_mut(fd)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Directory(_) => Err(Errno::Badf),
            _ => Err(Errno::Spipe),
        }
    }

    /// An open directory. Errors: not a directory.
    pub(super) fn directory(&mut self, fd: u32) -> Result<&mut Directory, Errno> {
        match self.get_mut(fd)? {
            Descriptor::Directory(directory) => Ok(directory),
            _ => Err(Errno::Notdir),
        }
    }

    /// The node of a file or directory. Errors: invalid for streams, which have none.
    pub(super) fn node(&self, fd: u32) -> Result<Node, Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok(file.node.clone()),
            Descriptor::Directory(directory) => Ok(directory.node.clone()),
            _ => Err(Errno::Inval),
        }
    }

    fn slot(&mut self, fd: u32) -> Result<&mut Option<Descriptor>, Errno> {
        let slot = usize::try_from(fd)
            .ok()
            .and_then(|fd| self.slots.get_mut(fd));
        slot.ok_or(Errno::Badf)
    }
}

// === impl Descriptor ===

impl Descriptor {
    /// Its `fdstat`.
    pub(super) fn stat(&self) -> FdStat {
        let nonblocking = if self.is_nonblocking() {
            fdflags::NONBLOCK
        } else {
            0
        };
        let stream = |file_type, rights| FdStat {
            file_type,
            flags: nonblocking,
            rights,
            inheriting: 0,
        };
        match self {
            Self::Input(input) => stream(input.file_type(), rights::STREAM | rights::FD_READ),
            Self::Output(output) => stream(output.file_type(), rights::STREAM | rights::FD_WRITE),
            Self::Listener(_) => {
                stream(FileType::SocketStream, rights::STREAM | rights::SOCK_ACCEPT)
            }
            Self::Connection(_) => stream(
                FileType::SocketStream,
                rights::STREAM | rights::FD_READ | rights::FD_WRITE | rights::SOCK_SHUTDOWN,
            ),
            Self::Directory(directory) => directory.stat(),
            Self::File(file) => file.stat(nonblocking),
        }
    }

    fn is_nonblocking(&self) -> bool {
        match self {
            Self::Input(input) => input.nonblocking,
            Self::Output(output) => output.nonblocking,
            Self::Directory(_) => false,
            Self::File(file) => file.nonblocking,
            Self::Listener(listener) => listener.nonblocking,
            Self::Connection(connection) => connection.nonblocking,
        }
    }

    /// Sets the flags that can be set once it is open. How writes reach the disk is fixed by then:
    /// such flags may be named if they are set, and stay set if they are not named.
    pub(super) fn set_flags(&mut self, flags: u16) -> Result<(), Errno> {
        if flags & !fdflags::ALL != 0 || flags & fdflags::SYNCS & !self.stat().flags != 0 {
            return Err(Errno::Inval);
        }
        let nonblocking = flags & fdflags::NONBLOCK != 0;
        match self {
            Self::Input(input) => input.nonblocking = nonblocking,
            Self::Output(output) => output.nonblocking = nonblocking,
            Self::Directory(_) => {}
            Self::File(file) => {
                file.nonblocking = nonblocking;
                file.append = flags & fdflags::APPEND != 0;
            }
            Self::Listener(listener) => listener.nonblocking = nonblocking,
            Self::Connection(connection) => connection.nonblocking = nonblocking,
        }
        Ok(())
    }
}

// === impl Directory ===

impl Directory {
    fn stat(&self) -> FdStat {
        // A directory that was opened may be read even where it was not asked for; the preopened
        // one says less, because programs ask for its rights when they open it again.
        let read = if self.preopened { 0 } else { rights::FD_READ };
        FdStat {
            file_type: FileType::Directory,
            flags: 0,
            rights: rights::DIRECTORY | read,
            inheriting: rights::DIRECTORY | rights::FILE,
        }
    }
}

// === impl File ===

impl File {
    fn stat(&self, nonblocking: u16) -> FdStat {
        let open = self.node.flags();
        let flags = [
            (self.append, fdflags::APPEND),
            (open.data_integrity_sync, fdflags::DSYNC),
            (open.requested_write_sync, fdflags::RSYNC),
            (open.file_integrity_sync, fdflags::SYNC),
        ];
        let not_read = if open.read { 0 } else { rights::FD_READ };
        let not_written = if open.write { 0 } else { rights::WRITING };
        let rights = rights::FILE & !not_read & !not_written;
        FdStat {
            file_type: self.node.kind().into(),
            flags: flags
                .iter()
                .filter(|(set, _)| *set)
                .fold(nonblocking, |all, (_, flag)| all | flag),
            rights,
            inheriting: rights,
        }
    }
}
