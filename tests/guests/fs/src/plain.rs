//! What any program does with files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::thread::sleep;
use std::time::Duration;

use case::Args;

/// How often `wait-for` looks: WASI has no way to be told of changes.
const PAUSE: Duration = Duration::from_millis(20);
const ATTEMPTS: usize = 1_500;

pub(crate) fn read(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        match fs::read_to_string(path) {
            Ok(text) => println!("read {path} {}", text.trim_end().escape_debug()),
            Err(error) => println!("read {path} error {}", case::kind(&error)),
        }
    }
    Ok(())
}

pub(crate) fn write(args: &Args) -> io::Result<()> {
    fs::write(args.text(0)?, args.text(1)?)?;
    println!("wrote {}", args.text(0)?);
    Ok(())
}

pub(crate) fn append(args: &Args) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(args.text(0)?)?;
    writeln!(file, "{}", args.text(1)?)?;
    println!("appended {}", args.text(0)?);
    Ok(())
}

pub(crate) fn list(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        let mut lines = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            lines.push(format!(
                "{} {}",
                entry.file_name().to_string_lossy(),
                kind(entry.file_type()?)
            ));
        }
        lines.sort();
        println!("list {path} {}", lines.len());
        lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

pub(crate) fn stat(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        match fs::symlink_metadata(path) {
            Ok(data) => println!("stat {path} {} {}", kind(data.file_type()), data.len()),
            Err(error) => println!("stat {path} error {}", case::kind(&error)),
        }
    }
    Ok(())
}

fn kind(kind: fs::FileType) -> &'static str {
    match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
        (true, ..) => "directory",
        (_, true, _) => "file",
        (.., true) => "symlink",
        _ => "other",
    }
}

/// Does the same with every path and prints what came of it.
fn each(what: &str, args: &Args, action: fn(&str) -> io::Result<()>) -> io::Result<()> {
    for path in args.from(0) {
        println!("{what} {path} {}", case::word(&action(path)));
    }
    Ok(())
}

pub(crate) fn mkdir(args: &Args) -> io::Result<()> {
    each("mkdir", args, |path| fs::create_dir(path))
}

pub(crate) fn remove(args: &Args) -> io::Result<()> {
    each("remove", args, |path| {
        match fs::symlink_metadata(path)?.is_dir() {
            true => fs::remove_dir(path),
            false => fs::remove_file(path),
        }
    })
}

pub(crate) fn rename(args: &Args) -> io::Result<()> {
    let outcome = fs::rename(args.text(0)?, args.text(1)?);
    println!("rename {}", case::word(&outcome));
    Ok(())
}

pub(crate) fn link(args: &Args) -> io::Result<()> {
    let outcome = fs::hard_link(args.text(0)?, args.text(1)?);
    println!("link {}", case::word(&outcome));
    Ok(())
}

#[expect(
    deprecated,
    reason = "std has no other stable way to make a symlink on WASI"
)]
pub(crate) fn make_symlink(target: &str, link: &str) -> io::Result<()> {
    fs::soft_link(target, link)
}

pub(crate) fn symlink(args: &Args) -> io::Result<()> {
    let outcome = make_symlink(args.text(0)?, args.text(1)?);
    println!("symlink {}", case::word(&outcome));
    Ok(())
}

pub(crate) fn readlink(args: &Args) -> io::Result<()> {
    for path in args.from(0) {
        match fs::read_link(path) {
            Ok(target) => println!("readlink {path} {}", target.display()),
            Err(error) => println!("readlink {path} error {}", case::kind(&error)),
        }
    }
    Ok(())
}

pub(crate) fn truncate(args: &Args) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(args.text(0)?)?;
    file.set_len(args.number(1, 0)?)?;
    println!("length {}", file.metadata()?.len());
    Ok(())
}

pub(crate) fn seek(args: &Args) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(args.text(0)?)?;
    file.write_all(b"0123456789")?;
    file.seek(SeekFrom::Start(3))?;
    file.write_all(b"abc")?;
    file.seek(SeekFrom::End(-2))?;
    let mut tail = String::new();
    file.read_to_string(&mut tail)?;
    file.rewind()?;
    let mut all = String::new();
    file.read_to_string(&mut all)?;
    file.sync_all()?;
    println!("seek {all} tail {tail}");
    Ok(())
}

pub(crate) fn wait_for(args: &Args) -> io::Result<()> {
    let (path, text) = (args.text(0)?, args.text(1)?);
    for _ in 0..ATTEMPTS {
        if fs::read_to_string(path).is_ok_and(|content| content.contains(text)) {
            println!("saw {text}");
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{path} never held {text:?}"),
    ))
}

pub(crate) fn write_hold(args: &Args) -> io::Result<()> {
    let mut file = File::create(args.text(0)?)?;
    file.write_all(args.text(1)?.as_bytes())?;
    println!("wrote {}", args.text(0)?);
    case::sleep_forever()
}
