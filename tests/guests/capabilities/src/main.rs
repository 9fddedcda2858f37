//! What a guest asks of `wasi:config`, `wasi:keyvalue` and `wasi:logging`, in sensible and in hostile
//! amounts.

mod bindings;
mod buckets;
mod hostile;
mod messages;
mod settings;

use std::process::ExitCode;

/// What it can do.
#[rustfmt::skip]
const CASES: &[case::Case] = &[
    ("config", "[KEY...]: prints these settings, or all, sorted", settings::config),
    ("log", "LEVEL CONTEXT MESSAGE", messages::log),
    ("log-lines", "COUNT: messages and lines of standard error in turn", messages::lines),
    ("log-forged", ": a message that looks like several, and clears a terminal", messages::forged),
    ("log-flood", "MIB: so many bytes of messages", messages::flood),
    ("set", "BUCKET KEY VALUE", buckets::set),
    ("get", "BUCKET KEY...", buckets::get),
    ("delete", "BUCKET KEY...", buckets::delete),
    ("keys", "BUCKET: prints all keys, sorted", buckets::keys),
    ("batch", "BUCKET: sets, gets and deletes several at once", buckets::batch),
    ("count", "BUCKET KEY TIMES: increments so often, prints what it has come to", buckets::count),
    ("swap", "BUCKET KEY TIMES: the same by compare-and-swap", buckets::swap),
    ("late", "BUCKET KEY: a swap that comes too late, and one after it", buckets::late),
    ("lives", "BUCKET KEY LIVES: fails until it was started so often", buckets::lives),
    ("hostile", "BUCKET: keys and values that lead out or are too long", hostile::keys),
    ("fill", "BUCKET COUNT [BYTES]: so many keys, until one is refused", hostile::fill),
    ("handles", "BUCKET: opens it until that is refused", hostile::handles),
    ("buckets", "COUNT: opens so many, until one is refused", hostile::buckets),
];

fn main() -> ExitCode {
    case::run(CASES)
}
