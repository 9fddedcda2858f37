//! What no program should get through with: ways out of its mounts, races, and too much of everything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};

use case::{Args, word};

use crate::plain::make_symlink;

const MIB: usize = 1024 * 1024;

/// More of anything than a host gives one guest.
const MANY: usize = 10_000_000;

/// Paths that lead out of a directory, if anything does.
const WAYS_OUT: [&str; 8] = [
    "..",
    "../..",
    "../../../../../../../../etc/passwd",
    "./../etc/passwd",
    "x/../../etc/passwd",
    "//etc/passwd",
    "/proc/self/root/etc/passwd",
    "/proc/self/environ",
];

/// Targets of symlinks that lead out, if anything does.
const TARGETS: [&str; 4] = [
    "..",
    "/",
    "/etc/passwd",
    "../../../../../../../../etc/passwd",
];

pub(crate) fn open(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        println!("open {path} {}", word(&File::open(path)));
    }
    Ok(())
}

pub(crate) fn create(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        let outcome = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        println!("create {path} {}", word(&outcome));
    }
    Ok(())
}

pub(crate) fn escape(args: &Args) -> io::Result<()> {
    for directory in args.from(0) {
        for way in WAYS_OUT {
            let path = if way.starts_with('/') {
                way.to_owned()
            } else {
                format!("{directory}/{way}")
            };
            tell(&path);
        }
        for (number, target) in TARGETS.iter().enumerate() {
            let link = format!("{directory}/way-out-{number}");
            println!("symlink {target} {}", word(&make_symlink(target, &link)));
            tell(&link);
            tell(&format!("{link}/etc/passwd"));
            let moved = fs::rename(&link, format!("{directory}/../way-out"));
            println!("rename {link} out {}", word(&moved));
        }
    }
    Ok(())
}

/// Prints what a path shows: the names of a directory, the first line of a file, or an error.
fn tell(path: &str) {
    let shown = match fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect::<Vec<_>>()
            .join(","),
        Err(_) => match fs::read_to_string(path) {
            Ok(text) => text.lines().next().unwrap_or_default().to_owned(),
            Err(error) => return println!("escape {path} {}", case::kind(&error)),
        },
    };
    println!("escape {path} shows {shown}");
}

pub(crate) fn fill(args: &Args) -> io::Result<()> {
    let mut file = File::create(args.text(0)?)?;
    let limit = args.number(1, 1024_usize)? * MIB;
    let chunk = vec![1; 64 * 1024];
    let mut written = 0;
    let reason = loop {
        if written >= limit {
            break "limit".to_owned();
        }
        match file.write(&chunk) {
            Ok(length) => written += length,
            Err(error) => break case::kind(&error),
        }
    };
    println!("written_bytes {written} {reason}");
    Ok(())
}

pub(crate) fn names(args: &Args) -> io::Result<()> {
    let directory = args.text(0)?;
    for number in 0..args.number(1, MANY)? {
        if let Err(error) = File::create(format!("{directory}/{number}")) {
            println!("names {number} {}", case::kind(&error));
            return Ok(());
        }
    }
    println!("names {} ok", args.number(1, MANY)?);
    Ok(())
}

pub(crate) fn handles(args: &Args) -> io::Result<()> {
    let path = args.text(0)?;
    let mut files = Vec::new();
    for _ in 0..args.number(1, MANY)? {
        match File::open(path) {
            Ok(file) => files.push(file),
            Err(error) => {
                println!("handles {} {}", files.len(), case::kind(&error));
                return Ok(());
            }
        }
    }
    println!("handles {} ok", files.len());
    Ok(())
}

pub(crate) fn swap(args: &Args) -> io::Result<()> {
    let (directory, outside) = (args.text(0)?, args.text(2)?);
    let (flip, inner, link) = (
        format!("{directory}/flip"),
        format!("{directory}/inner"),
        format!("{directory}/link"),
    );
    fs::create_dir_all(&inner)?;
    make_symlink(outside, &link)?;
    println!("swapping");
    for round in 0..args.number(1, 10_000_usize)? {
        // Whichever is not there stands at `flip` just now.
        let next = if round % 2 == 0 { &inner } else { &link };
        let _ = fs::rename(next, &flip);
        let _ = fs::rename(&flip, next);
    }
    println!("swapped");
    Ok(())
}

pub(crate) fn chase(args: &Args) -> io::Result<()> {
    let path = format!("{}/flip/{}", args.text(0)?, args.text(2)?);
    let mut caught = 0;
    let rounds = args.number(1, 10_000_usize)?;
    for _ in 0..rounds {
        let mut text = String::new();
        if File::open(&path).is_ok_and(|mut file| file.read_to_string(&mut text).is_ok()) {
            caught += 1;
            println!("caught {}", text.lines().next().unwrap_or_default());
        }
    }
    println!("chased {rounds} caught {caught}");
    Ok(())
}

pub(crate) fn race_rename(args: &Args) -> io::Result<()> {
    let directory = args.text(0)?;
    let (new, current) = (format!("{directory}/new"), format!("{directory}/current"));
    fs::write(&current, "0")?;
    for round in 1..=args.number(1, 1_000_usize)? {
        fs::write(&new, round.to_string())?;
        fs::rename(&new, &current)?;
        let seen = fs::read_to_string(&current)?;
        if seen != round.to_string() {
            return Err(io::Error::other(format!("round {round} reads {seen:?}")));
        }
    }
    println!("renamed {}", args.number(1, 1_000_usize)?);
    Ok(())
}
