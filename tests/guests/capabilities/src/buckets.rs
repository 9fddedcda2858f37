//! Key-value buckets, used as they are meant to be.

use std::io;
use std::process::exit;

use case::Args;

use crate::bindings::wasi::keyvalue::atomics::{self, Cas, CasError};
use crate::bindings::wasi::keyvalue::batch;
use crate::bindings::wasi::keyvalue::store::{self, Bucket, Error};

pub(crate) fn open(args: &Args) -> io::Result<Bucket> {
    store::open(args.text(0)?).map_err(failed)
}

/// An error as the line of a case that failed.
pub(crate) fn failed(error: Error) -> io::Error {
    io::Error::other(word(&error))
}

/// An error as words.
pub(crate) fn word(error: &Error) -> String {
    match error {
        Error::NoSuchStore => "no-such-store".to_owned(),
        Error::AccessDenied => "access-denied".to_owned(),
        Error::Other(why) => why.clone(),
    }
}

/// How a call came out, in words.
pub(crate) fn outcome<T>(done: &Result<T, Error>) -> String {
    match done {
        Ok(_) => "ok".to_owned(),
        Err(error) => word(error),
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).escape_debug().to_string()
}

pub(crate) fn set(args: &Args) -> io::Result<()> {
    let (key, value) = (args.text(1)?, args.text(2)?);
    println!(
        "set {key} {}",
        outcome(&open(args)?.set(key, value.as_bytes()))
    );
    Ok(())
}

pub(crate) fn get(args: &Args) -> io::Result<()> {
    let bucket = open(args)?;
    for key in args.from(1) {
        match bucket.get(key).map_err(failed)? {
            Some(value) => println!("get {key} {}", text(&value)),
            None => println!("get {key} none"),
        }
        let exists = bucket.exists(key).map_err(failed)?;
        println!("exists {key} {exists}");
    }
    Ok(())
}

pub(crate) fn delete(args: &Args) -> io::Result<()> {
    let bucket = open(args)?;
    for key in args.from(1) {
        println!("delete {key} {}", outcome(&bucket.delete(key)));
    }
    Ok(())
}

/// All keys, page by page, sorted.
pub(crate) fn all_keys(bucket: &Bucket) -> Result<Vec<String>, Error> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor.as_deref())?;
        all.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            all.sort();
            return Ok(all);
        }
    }
}

pub(crate) fn keys(args: &Args) -> io::Result<()> {
    let keys = all_keys(&open(args)?).map_err(failed)?;
    println!("keys {}: {}", keys.len(), keys.join(" "));
    Ok(())
}

pub(crate) fn batch(args: &Args) -> io::Result<()> {
    let bucket = open(args)?;
    let pairs = ["a", "b"].map(|key| (key.to_owned(), key.repeat(2).into_bytes()));
    println!("set-many {}", outcome(&batch::set_many(&bucket, &pairs)));
    let keys = ["b", "none", "a"].map(str::to_owned);
    for found in batch::get_many(&bucket, &keys).map_err(failed)? {
        match found {
            Some((key, value)) => println!("get-many {key} {}", text(&value)),
            None => println!("get-many none"),
        }
    }
    println!(
        "delete-many {}",
        outcome(&batch::delete_many(&bucket, &keys))
    );
    println!("left {}", all_keys(&bucket).map_err(failed)?.len());
    let many: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    println!("too many {}", outcome(&batch::get_many(&bucket, &many)));
    Ok(())
}

pub(crate) fn count(args: &Args) -> io::Result<()> {
    let (bucket, key) = (open(args)?, args.text(1)?);
    let mut counted = 0;
    for _ in 0..args.number(2, 1_u64)? {
        counted = atomics::increment(&bucket, key, 1).map_err(failed)?;
    }
    println!("counted {counted}");
    Ok(())
}

fn number(value: Option<Vec<u8>>) -> u64 {
    let text = value.map(|value| text(&value)).unwrap_or_default();
    text.parse().unwrap_or_default()
}

pub(crate) fn swap(args: &Args) -> io::Result<()> {
    let (bucket, key) = (open(args)?, args.text(1)?);
    let mut next = 0;
    for _ in 0..args.number(2, 1_u64)? {
        let mut cas = Cas::new(&bucket, key).map_err(failed)?;
        loop {
            next = number(cas.current().map_err(failed)?) + 1;
            match atomics::swap(cas, next.to_string().as_bytes()) {
                Ok(()) => break,
                Err(CasError::CasFailed(newer)) => cas = newer,
                Err(CasError::StoreError(error)) => return Err(failed(error)),
            }
        }
    }
    println!("counted {next}");
    Ok(())
}

pub(crate) fn late(args: &Args) -> io::Result<()> {
    let (bucket, key) = (open(args)?, args.text(1)?);
    let cas = Cas::new(&bucket, key).map_err(failed)?;
    bucket.set(key, b"somebody else's").map_err(failed)?;
    match atomics::swap(cas, b"mine") {
        Err(CasError::CasFailed(newer)) => {
            println!(
                "late, there is {}",
                text(&newer.current().map_err(failed)?.unwrap_or_default())
            );
            println!("again {}", atomics::swap(newer, b"mine").is_ok());
        }
        other => println!("not late: {:?}", other.is_ok()),
    }
    println!(
        "now {}",
        text(&bucket.get(key).map_err(failed)?.unwrap_or_default())
    );
    Ok(())
}

pub(crate) fn lives(args: &Args) -> io::Result<()> {
    let (bucket, key) = (open(args)?, args.text(1)?);
    let life = atomics::increment(&bucket, key, 1).map_err(failed)?;
    println!("life {life}");
    if life < args.number(2, 1)? {
        exit(1);
    }
    Ok(())
}
