//! What guests can do, by the rules that the WASI test-suite holds runtimes to; one file for each
//! file of operations, and one for hostile guests.

mod attributes;
mod content;
mod entries;
mod exclusive;
mod hostile;
mod limits;
mod listing;
mod opening;

use crate::Node;
use crate::fixture::{DIRECTORY, Pod, empty};

/// A pod with one volume, and a directory in it.
fn directory() -> (Pod, Node) {
    let pod = Pod::new([("data", empty())]);
    let top = pod.table(&[("data", "/data")]).root();
    top.create_directory_at("data/work").unwrap();
    let directory = top.open_at("data/work", false, &DIRECTORY).unwrap();
    (pod, directory)
}
