//! Where a path of a container really is: the links on it followed, as far as there is anything.
//!
//! What is not there keeps its names, as for container runtimes that make it (`securejoin`).

use super::Table;
use crate::FsError;
use crate::path::{self, Step};
use crate::place::Place;
use crate::stat::FileKind;
use crate::walk::{LINKS, Leaf, Walk};

/// The names from the root to what is, or would be, at a path.
///
/// # Errors
/// Loop after too many links; not-directory for a path through a file; what the kernel says.
pub(super) fn names(table: &Table, names: Vec<String>) -> Result<Vec<String>, FsError> {
    let root = table.root()?;
    let mut ahead: Vec<Step> = names.into_iter().rev().map(Step::Name).collect();
    let (mut names, mut links) = (Vec::new(), 0);
    while let Some(step) = ahead.pop() {
        let Step::Name(name) = step else {
            // Above the root is the root.
            names.pop();
            continue;
        };
        names.push(name);
        let Some(target) = target(table, &root, &names.join("/"))? else {
            continue;
        };
        links += 1;
        if links > LINKS {
            return Err(FsError::Loop);
        }
        names.pop();
        let target = path::any(&target)?;
        if target.absolute {
            names.clear();
        }
        ahead.extend(target.steps.into_iter().rev());
    }
    Ok(names)
}

/// Where the link at a path leads; nothing where there is none.
fn target(table: &Table, root: &Place, path: &str) -> Result<Option<String>, FsError> {
    match Walk::new(table, root, path)?.leaf() {
        Ok(Leaf::Entry(entry)) if !entry.mounted => match entry.kind()? {
            Some(FileKind::SymbolicLink) => entry.read_link().map(Some),
            _ => Ok(None),
        },
        Ok(_) | Err(FsError::NoEntry) => Ok(None),
        Err(error) => Err(error),
    }
}
