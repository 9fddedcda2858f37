//! What a command finds around it: environment and working directory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::streams::{Input, Output};

/// The environment and the working directory of one command.
///
/// The working directory is kept here and every path made absolute with it: the program itself
/// never changes its own, so that a subshell can have another one.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
}

/// Devices that a mount table need not have for scripts to use them.
enum Device {
    Null,
    Other,
}

// === impl Session ===

impl Session {
    /// That of the instance.
    pub(crate) fn of_process() -> Self {
        Self {
            env: std::env::vars().collect(),
            cwd: initial_directory(),
        }
    }

    /// An absolute path, its `..` left to the file system.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.cwd.join(text)
    }

    /// An absolute path without `.` and `..`, as `cd` and `pwd` show it.
    pub(crate) fn tidy_path(&self, text: &str) -> PathBuf {
        let mut tidy = PathBuf::new();
        for part in self.path(text).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    tidy.pop();
                }
                part => tidy.push(part),
            }
        }
        tidy
    }

    /// A file to read.
    ///
    /// # Errors
    /// When it cannot be opened, or is a directory.
    pub(crate) fn read(&self, text: &str) -> io::Result<Input> {
        let path = self.path(text);
        if let Device::Null = device(&path) {
            return Ok(Input::empty());
        }
        let file = File::open(&path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Input::file(file))
    }

    /// A file to write, made where absent; emptied unless `append`.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub(crate) fn write(&self, text: &str, append: bool) -> io::Result<Output> {
        let path = self.path(text);
        if let Device::Null = device(&path) {
            return Ok(Output::null());
        }
        let mut options = OpenOptions::new();
        options.create(true);
        match append {
            true => options.append(true),
            false => options.write(true).truncate(true),
        };
        options.open(path).map(Output::file)
    }
}

fn device(path: &Path) -> Device {
    if path == Path::new("/dev/null") {
        Device::Null
    } else {
        Device::Other
    }
}

/// The container's working directory: WASI tells it, std does not ask.
#[cfg(target_env = "p2")]
fn initial_directory() -> PathBuf {
    wasip2::cli::environment::initial_cwd().map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

#[cfg(not(target_env = "p2"))]
fn initial_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_working_directory() {
        let session = Session {
            cwd: PathBuf::from("/data/in"),
            ..Session::default()
        };
        let cases = [
            ("x", "/data/in/x"),
            ("/x", "/x"),
            ("..", "/data"),
            ("./a/../b", "/data/in/b"),
            ("../../../..", "/"),
        ];
        for (text, wanted) in cases {
            assert_eq!(session.tidy_path(text), PathBuf::from(wanted), "{text}");
        }
    }
}
