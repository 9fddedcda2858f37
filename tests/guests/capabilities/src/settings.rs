//! Configuration.

use std::io;

use case::Args;

use crate::bindings::wasi::config::store;

pub(crate) fn config(args: &Args) -> io::Result<()> {
    let failed = |error: store::Error| io::Error::other(format!("{error:?}"));
    let mut asked = args.from(0).peekable();
    if asked.peek().is_none() {
        let mut all = store::get_all().map_err(failed)?;
        all.sort();
        for (key, value) in all {
            println!("config {key}={}", value.escape_debug());
        }
    }
    for key in asked {
        match store::get(key).map_err(failed)? {
            Some(value) => println!("config {key}={}", value.escape_debug()),
            None => println!("config {key} none"),
        }
    }
    Ok(())
}
