//! Files.

use futures::join;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip3::wit_stream;

use crate::say::say;
use crate::{Args, Outcome};

/// What a program for WASI 0.2 would write in one call.
const PIECE: usize = 100_000;

/// The root of what it sees.
pub(crate) fn root() -> Result<Descriptor, String> {
    let directories = get_directories();
    let root = directories.into_iter().find(|(_, path)| path == "/");
    root.map(|(root, _)| root)
        .ok_or_else(|| "no root".to_owned())
}

fn told(what: &str) -> impl FnOnce(ErrorCode) -> String {
    let what = what.to_owned();
    move |code| format!("{what}: {code:?}")
}

async fn open(
    path: &str,
    open: OpenFlags,
    access: DescriptorFlags,
) -> Result<Descriptor, ErrorCode> {
    let root = root().map_err(|_| ErrorCode::NoEntry)?;
    let path = path.trim_start_matches('/').to_owned();
    root.open_at(PathFlags::SYMLINK_FOLLOW, path, open, access)
        .await
}

pub(crate) async fn open_read(path: &str) -> Result<Descriptor, String> {
    let opened = open(path, OpenFlags::empty(), DescriptorFlags::READ).await;
    opened.map_err(told(path))
}

async fn open_write(path: &str) -> Result<Descriptor, ErrorCode> {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    open(path, flags, DescriptorFlags::READ | DescriptorFlags::WRITE).await
}

/// Writes all of it from an offset on; at the end without one.
async fn write(file: &Descriptor, offset: Option<u64>, bytes: Vec<u8>) -> Result<(), ErrorCode> {
    let (mut writer, reader) = wit_stream::new();
    let written = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    let write = async move {
        writer.write_all(bytes).await;
    };
    join!(write, async { written.await }).1
}

async fn read(file: &Descriptor, offset: u64) -> Result<Vec<u8>, ErrorCode> {
    let (stream, ended) = file.read_via_stream(offset);
    let bytes = stream.collect().await;
    ended.await.map(|()| bytes)
}

pub(crate) async fn write_read(args: Args) -> Outcome {
    let (path, text) = (args.text(0)?, args.text(1)?);
    let file = open_write(path).await.map_err(told(path))?;
    let half = text.len() / 2;
    let (first, second) = text.as_bytes().split_at(half);
    let written = write(&file, Some(0), first.to_vec()).await;
    written.map_err(told("write"))?;
    let appended = write(&file, None, second.to_vec()).await;
    appended.map_err(told("append"))?;
    let bytes = read(&file, 0).await.map_err(told("read"))?;
    say(&format!("all {}", String::from_utf8_lossy(&bytes))).await;
    let (mut stream, ended) = file.read_via_stream(1);
    let mut parts = Vec::new();
    loop {
        let (_, part) = stream.read(Vec::with_capacity(3)).await;
        if part.is_empty() {
            break;
        }
        parts.push(String::from_utf8_lossy(&part).into_owned());
    }
    ended.await.map_err(told("read"))?;
    say(&format!("parts {}", parts.join("|"))).await;
    let beyond = read(&file, 1 << 40).await.map_err(told("beyond"))?;
    say(&format!("beyond {}", beyond.len())).await;
    let stat = file.stat().await.map_err(told("stat"))?;
    say(&format!("size {} {:?}", stat.size, stat.type_)).await;
    file.sync().await.map_err(told("sync"))
}

pub(crate) async fn list(args: Args) -> Outcome {
    let access = DescriptorFlags::READ;
    let folder = open(args.text(0)?, OpenFlags::DIRECTORY, access).await;
    let (stream, ended) = folder.map_err(told("open"))?.read_directory();
    let mut entries: Vec<String> = stream
        .collect()
        .await
        .into_iter()
        .map(|entry| format!("entry {} {:?}", entry.name, entry.type_))
        .collect();
    ended.await.map_err(told("list"))?;
    entries.sort();
    say(&format!("entries {}", entries.len())).await;
    for entry in entries.iter().take(5) {
        say(entry).await;
    }
    Ok(())
}

pub(crate) async fn copy(args: Args) -> Outcome {
    let from = open_read(args.text(0)?).await?;
    let to = open_write(args.text(1)?).await.map_err(told("open"))?;
    let (stream, read) = from.read_via_stream(0);
    let written = to.write_via_stream(stream, 0);
    written.await.map_err(told("write"))?;
    read.await.map_err(told("read"))?;
    let stat = to.stat().await.map_err(told("stat"))?;
    say(&format!("copied {}", stat.size)).await;
    Ok(())
}

pub(crate) async fn bulk(args: Args) -> Outcome {
    let (path, mib): (_, usize) = (args.text(0)?, args.number(1)?);
    let total = mib << 20;
    let file = open_write(path).await.map_err(told(path))?;
    let (mut writer, reader) = wit_stream::new();
    let written = file.write_via_stream(reader, 0);
    let write = async move {
        let mut done = 0;
        while done < total {
            let piece: Vec<u8> = (done..total.min(done + PIECE)).map(byte).collect();
            done += piece.len();
            if !writer.write_all(piece).await.is_empty() {
                break;
            }
        }
    };
    let (_, written) = join!(write, async { written.await });
    written.map_err(told("write"))?;
    let (mut stream, ended) = file.read_via_stream(0);
    let (mut read, mut right) = (0, true);
    loop {
        let (_, piece) = stream.read(Vec::with_capacity(PIECE)).await;
        if piece.is_empty() {
            break;
        }
        right &= piece
            .iter()
            .enumerate()
            .all(|(at, b)| *b == byte(read + at));
        read += piece.len();
    }
    ended.await.map_err(told("read"))?;
    say(&format!("bulk {read} right {right}")).await;
    Ok(())
}

/// The byte at a place, of a pattern that no piece divides.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

pub(crate) async fn entries(args: Args) -> Outcome {
    let folder = open(
        args.text(0)?,
        OpenFlags::DIRECTORY,
        DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
    );
    let folder = folder.await.map_err(told("open"))?;
    let text = |text: &str| text.to_owned();
    let none = PathFlags::empty();
    let made = folder.create_directory_at(text("made")).await;
    made.map_err(told("create"))?;
    let file = folder.open_at(
        none,
        text("made/a"),
        OpenFlags::CREATE,
        DescriptorFlags::READ | DescriptorFlags::WRITE,
    );
    let file = file.await.map_err(told("open"))?;
    write(&file, Some(3), b"abc".to_vec())
        .await
        .map_err(told("write"))?;
    file.set_size(2).await.map_err(told("size"))?;
    let linked = folder.link_at(none, text("made/a"), &folder, text("b"));
    linked.await.map_err(told("link"))?;
    let renamed = folder.rename_at(text("made/a"), &folder, text("c"));
    renamed.await.map_err(told("rename"))?;
    let symlinked = folder.symlink_at(text("b"), text("link"));
    symlinked.await.map_err(told("symlink"))?;
    let target = folder.readlink_at(text("link")).await;
    say(&format!("target {}", target.map_err(told("readlink"))?)).await;
    let one = folder
        .stat_at(none, text("b"))
        .await
        .map_err(told("stat"))?;
    say(&format!("size {} links {}", one.size, one.link_count)).await;
    let other = folder.open_at(none, text("c"), OpenFlags::empty(), DescriptorFlags::READ);
    let other = other.await.map_err(told("open"))?;
    say(&format!("same {}", file.is_same_object(&other).await)).await;
    let hashes = (
        file.metadata_hash().await.map_err(told("hash"))?,
        folder
            .metadata_hash_at(none, text("c"))
            .await
            .map_err(told("hash"))?,
    );
    let is_same = hashes.0.lower == hashes.1.lower && hashes.0.upper == hashes.1.upper;
    say(&format!("hash {is_same}")).await;
    for name in ["b", "c", "link"] {
        folder
            .unlink_file_at(text(name))
            .await
            .map_err(told(name))?;
    }
    let removed = folder.remove_directory_at(text("made")).await;
    removed.map_err(told("remove"))
}

pub(crate) async fn refused(args: Args) -> Outcome {
    for path in &args.0 {
        let written = match open_write(path).await {
            Ok(file) => write(&file, Some(0), vec![b'x'; 1 << 20]).await,
            Err(code) => Err(code),
        };
        say(&format!("write {path} {written:?}")).await;
    }
    // What is no file for it is told by the future.
    let root = root()?;
    let (stream, ended) = root.read_via_stream(0);
    let read = (stream.collect().await.len(), ended.await);
    say(&format!("read / {read:?}")).await;
    let written = write(&root, Some(0), b"x".to_vec()).await;
    say(&format!("write / {written:?}")).await;
    Ok(())
}
