//! A module of WASI preview 1, the older form that many tools still make: a core module rather
//! than a component. It writes the page that the other container, in C, serves.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    fs::write(
        "/shared/page.txt",
        "Written by a Rust module of preview 1.\n",
    )?;
    println!("page written");
    Ok(())
}
