//! Files, as a guest uses and misuses them. Plain std::fs throughout.

mod hostile;
mod plain;

use std::process::ExitCode;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("read", "PATH...: prints the content of each", plain::read),
    ("write", "PATH TEXT", plain::write),
    ("append", "PATH TEXT", plain::append),
    ("list", "DIR...: prints names and kinds, sorted", plain::list),
    ("stat", "PATH...: prints kind, length and whether writing is refused", plain::stat),
    ("mkdir", "PATH...", plain::mkdir),
    ("remove", "PATH...: files and empty directories", plain::remove),
    ("rename", "FROM TO", plain::rename),
    ("link", "FROM TO: a hard link", plain::link),
    ("symlink", "TARGET LINK", plain::symlink),
    ("readlink", "PATH...", plain::readlink),
    ("truncate", "PATH LENGTH", plain::truncate),
    ("seek", "PATH: writes, seeks, overwrites, reads back", plain::seek),
    ("wait-for", "PATH TEXT: reads again and again until TEXT is in the file", plain::wait_for),
    ("write-hold", "PATH TEXT: writes, then sleeps for ever", plain::write_hold),
    ("open", "PATH...: prints for each what came of opening it for reading", hostile::open),
    ("create", "PATH...: prints for each what came of creating it", hostile::create),
    ("escape", "DIR...: tries every way out of each directory", hostile::escape),
    ("fill", "PATH [LIMIT_MIB]: writes until no more is taken", hostile::fill),
    ("names", "DIR COUNT: creates empty files until no more are taken", hostile::names),
    ("handles", "PATH [COUNT]: opens a file until no more handles are given", hostile::handles),
    ("swap", "DIR ROUNDS OUTSIDE: replaces DIR/flip by a directory and a link to OUTSIDE, in turns", hostile::swap),
    ("chase", "DIR ROUNDS NAME: opens DIR/flip/NAME while it is swapped", hostile::chase),
    ("race-rename", "DIR ROUNDS: renames one file over another and reads it", hostile::race_rename),
];

fn main() -> ExitCode {
    case::run(CASES)
}
