//! Key-value buckets, used as they are not meant to be.

use std::io;

use case::Args;

use crate::bindings::wasi::keyvalue::atomics;
use crate::bindings::wasi::keyvalue::store;
use crate::buckets::{all_keys, failed, open, outcome, word};

pub(crate) fn keys(args: &Args) -> io::Result<()> {
    let bucket = open(args)?;
    let mib = "k".repeat(1 << 20);
    for (name, key) in [
        ("up", "../../escaped"),
        ("absolute", "/escaped"),
        ("nul", "a\0b"),
        ("empty", ""),
        ("lock", "lock"),
        ("long", &mib),
    ] {
        println!("{name} {}", outcome(&bucket.set(key, b"value")));
    }
    let value = vec![0; (1 << 20) + 1];
    println!("value {}", outcome(&bucket.set("big", &value)));
    println!("largest {}", outcome(&bucket.set("largest", &value[1..])));
    println!(
        "number {}",
        outcome(&atomics::increment(&bucket, "lock", 1))
    );
    println!("cursor {}", outcome(&bucket.list_keys(Some("../.."))));
    println!("kept {}", all_keys(&bucket).map_err(failed)?.len());
    for path in ["/none/of/mine", "/data/../escaped", "/"] {
        println!("open {path} {}", outcome(&store::open(path)));
    }
    println!("name {}", outcome(&store::open(&mib[..1000])));
    Ok(())
}

pub(crate) fn fill(args: &Args) -> io::Result<()> {
    let bucket = open(args)?;
    let value = vec![b'v'; args.number(2, 0_usize)?];
    let wanted = args.number(1, 1_u64)?;
    for number in 0..wanted {
        if let Err(error) = bucket.set(&number.to_string(), &value) {
            println!("refused after {number}: {}", word(&error));
            println!("delete {}", outcome(&bucket.delete("0")));
            println!("again {}", outcome(&bucket.set("0", &value)));
            return Ok(());
        }
    }
    println!("filled {wanted}");
    Ok(())
}

pub(crate) fn handles(args: &Args) -> io::Result<()> {
    let mut open = Vec::new();
    loop {
        match store::open(args.text(0)?) {
            Ok(bucket) => open.push(bucket),
            Err(error) => {
                println!("refused after {}: {}", open.len(), word(&error));
                break;
            }
        }
    }
    open.pop();
    println!("again {}", outcome(&store::open(args.text(0)?)));
    Ok(())
}

pub(crate) fn buckets(args: &Args) -> io::Result<()> {
    for number in 0..args.number(0, 100_u64)? {
        if let Err(error) = store::open(&format!("bucket-{number}")) {
            println!("refused after {number}: {}", word(&error));
            return Ok(());
        }
    }
    println!("all opened");
    Ok(())
}
