//! WASI 0.2: sockets and files.

pub(crate) mod file_streams;
pub(crate) mod files;
pub(crate) mod sockets;

pub(crate) use sockets::HasSockets;
use wasmtime::component::{HasData, Resource, ResourceTable};

use crate::files::Files;
use crate::guest::Guest;

/// What the file interfaces need of a guest.
pub(crate) struct FilesView<'a> {
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) files: &'a Files,
}

/// Marks [`FilesView`] for the linker.
pub(crate) struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = FilesView<'a>;
}

impl Guest {
    /// The file interfaces' view.
    pub(crate) fn files_view(&mut self) -> FilesView<'_> {
        FilesView {
            table: &mut self.table,
            files: &self.files,
        }
    }
}

/// The same table entry under our own type: wasmtime-wasi's traits name their types, the table
/// holds ours.
pub(crate) fn ours<Theirs: 'static, Ours: 'static>(resource: &Resource<Theirs>) -> Resource<Ours> {
    if resource.owned() {
        Resource::new_own(resource.rep())
    } else {
        Resource::new_borrow(resource.rep())
    }
}

/// An own entry of our type, as the type that wasmtime-wasi's traits name.
pub(crate) fn theirs<Ours: 'static, Theirs: 'static>(resource: Resource<Ours>) -> Resource<Theirs> {
    Resource::new_own(resource.rep())
}
