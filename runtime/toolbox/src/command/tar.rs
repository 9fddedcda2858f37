//! tar: makes, unpacks and lists archives. `kubectl cp` stands on it.
//!
//! Only files, directories and symbolic links: nothing else can be in a wasm container. Owners and
//! modes are dropped, because WASI has none. No compression.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use crate::call::{Call, Failure, Options, Outcome};
use crate::command::ln::symlink;
use crate::session::Session;

/// Modes that everything gets.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

const SPEC: &str = "c,create x,extract t,list f:,file: C:,directory: v,verbose m,touch p,preserve-permissions \
                    z,gzip j O,to-stdout h,dereference no-same-owner no-same-permissions overwrite \
                    strip-components:";

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let args = dashed(call.args);
    let call = &Call {
        args: &args,
        ..*call
    };
    let options = call.options(SPEC)?;
    if options.has("z") || options.has("j") {
        return Err(Failure::usage(
            "compression is not here; compress outside of the pod",
        ));
    }
    let session = Session {
        cwd: call.session.path(options.value("C").unwrap_or(".")),
        ..call.session.clone()
    };
    let outcome = match (options.has("c"), options.has("x"), options.has("t")) {
        (true, false, false) => create(call, &options, &session),
        (false, true, false) => extract(call, &options, &session),
        (false, false, true) => list(call, &options),
        _ => return Err(Failure::usage("name one of c, x and t")),
    };
    outcome?;
    Ok(0)
}

/// The old form without a dash: `tar xf -` is `tar -xf -`.
fn dashed(args: &[String]) -> Vec<String> {
    let mut args = args.to_vec();
    if let Some(first) = args.first_mut()
        && !first.starts_with('-')
    {
        first.insert(0, '-');
    }
    args
}

// --- making one ---

fn create(call: &Call<'_>, options: &Options, session: &Session) -> Result<(), Failure> {
    let file = match options.value("f").unwrap_or("-") {
        "-" => None,
        name => Some(
            call.session
                .write(name, false)
                .map_err(|error| Failure::at(name, &error))?,
        ),
    };
    let mut out = file.as_ref().unwrap_or(&call.streams.out);
    let mut builder = Builder::new(out);
    if options.operands.is_empty() {
        return Err(Failure::usage("name what to put into the archive"));
    }
    for name in &options.operands {
        // Names in an archive are relative, so that it can be unpacked anywhere.
        let inside = name.trim_start_matches('/');
        let inside = if inside.is_empty() { "." } else { inside };
        add(call, options, &mut builder, inside, &session.path(name))
            .map_err(|error| Failure::at(name, &error))?;
    }
    builder.finish()?;
    drop(builder);
    out.flush()?;
    Ok(())
}

fn add(
    call: &Call<'_>,
    options: &Options,
    builder: &mut Builder<impl io::Write>,
    name: &str,
    path: &Path,
) -> io::Result<()> {
    if options.has("v") {
        writeln!(&call.streams.err, "{name}")?;
    }
    let data = if options.has("h") {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    }?;
    let mut header = Header::new_gnu();
    header.set_mtime(data.modified().ok().and_then(seconds).unwrap_or(0));
    if data.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(FILE_MODE);
        header.set_size(0);
        return builder.append_link(&mut header, name, fs::read_link(path)?);
    }
    if data.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(DIRECTORY_MODE);
        header.set_size(0);
        builder.append_data(
            &mut header,
            format!("{}/", name.trim_end_matches('/')),
            io::empty(),
        )?;
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let below = format!(
                "{}/{}",
                name.trim_end_matches('/'),
                entry.file_name().to_string_lossy()
            );
            add(call, options, builder, &below, &entry.path())?;
        }
        return Ok(());
    }
    header.set_entry_type(EntryType::Regular);
    header.set_mode(FILE_MODE);
    header.set_size(data.len());
    // A file that grows meanwhile must not write over the next one's header.
    builder.append_data(&mut header, name, fs::File::open(path)?.take(data.len()))
}

fn seconds(time: std::time::SystemTime) -> Option<u64> {
    Some(
        time.duration_since(std::time::SystemTime::UNIX_EPOCH)
            .ok()?
            .as_secs(),
    )
}

// --- reading one ---

fn archive<'a>(call: &Call<'a>, options: &Options) -> Result<Archive<Box<dyn Read + 'a>>, Failure> {
    let reader: Box<dyn Read> = match options.value("f").unwrap_or("-") {
        "-" => Box::new(&call.streams.input),
        name => {
            let path = call.session.path(name);
            Box::new(io::BufReader::new(
                fs::File::open(path).map_err(|error| Failure::at(name, &error))?,
            ))
        }
    };
    Ok(Archive::new(reader))
}

fn list(call: &Call<'_>, options: &Options) -> Result<(), Failure> {
    let mut archive = archive(call, options)?;
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if !is_wanted(&name, &options.operands) {
            continue;
        }
        let details = match options.has("v") {
            true => format!("{:>10} ", entry.size()),
            false => String::new(),
        };
        writeln!(&call.streams.out, "{details}{name}")?;
    }
    Ok(())
}

fn extract(call: &Call<'_>, options: &Options, session: &Session) -> Result<(), Failure> {
    let skipped = options.number("strip-components", 0)?;
    let mut archive = archive(call, options)?;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let shown = name.to_string_lossy().into_owned();
        if !is_wanted(&shown, &options.operands) {
            continue;
        }
        if options.has("v") {
            writeln!(&call.streams.err, "{shown}")?;
        }
        if options.has("O") {
            io::copy(&mut entry, &mut &call.streams.out)?;
            continue;
        }
        let Some(inside) = inside(&name, skipped).map_err(Failure::new)? else {
            continue;
        };
        through_no_link(&session.cwd, &inside)
            .and_then(|()| unpack(&mut entry, &session.cwd.join(inside)))
            .map_err(|error| Failure::at(shown, &error))?;
    }
    Ok(())
}

/// Whether a name is one of those asked for, or below one.
fn is_wanted(name: &str, wanted: &[String]) -> bool {
    let name = Path::new(name);
    wanted.is_empty()
        || wanted
            .iter()
            .any(|wanted| name.starts_with(wanted.trim_end_matches('/')))
}

/// The path below the target; nothing where all of it is stripped.
///
/// An archive comes from outside: a name that would leave the target is refused.
fn inside(name: &Path, skipped: usize) -> Result<Option<PathBuf>, String> {
    let mut inside = PathBuf::new();
    let parts = name
        .components()
        .filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    for part in parts.skip(skipped) {
        match part {
            Component::Normal(part) => inside.push(part),
            _ => {
                return Err(format!(
                    "{}: leads out of the directory; refused",
                    name.display()
                ));
            }
        }
    }
    let stripped = skipped > 0 && inside.as_os_str().is_empty();
    Ok((!stripped).then_some(inside))
}

/// A link that an earlier entry made, or that lay there, must not lead out of the target.
fn through_no_link(target: &Path, inside: &Path) -> io::Result<()> {
    let parents = inside
        .ancestors()
        .skip(1)
        .filter(|parent| !parent.as_os_str().is_empty());
    for parent in parents {
        if fs::symlink_metadata(target.join(parent)).is_ok_and(|data| data.is_symlink()) {
            return Err(io::Error::other(format!(
                "goes through the link {}; refused",
                parent.display()
            )));
        }
    }
    Ok(())
}

fn unpack(entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.header().entry_type() {
        EntryType::Directory => fs::create_dir_all(path),
        EntryType::Symlink => {
            let target = entry
                .link_name()?
                .ok_or_else(|| io::Error::other("a link without a target"))?;
            remove_existing(path)?;
            symlink(&target.to_string_lossy(), path)
        }
        EntryType::Regular | EntryType::Continuous => {
            // A link that an earlier entry made here must not decide where this one is written.
            remove_existing(path)?;
            io::copy(entry, &mut fs::File::create(path)?).map(|_| ())
        }
        other => Err(io::Error::other(format!(
            "{other:?}: a kind of file that cannot be in a wasm container"
        ))),
    }
}

fn remove_existing(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_symlink() => fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
