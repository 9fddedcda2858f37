//! Chooses what a program does by its first argument, and tells errors in one form.
//!
//! Results are lines of words on standard output, so that a test finds them without parsing much.
//! An error ends the program with code 1 and the line `error KIND: text` on standard error, where
//! KIND is the name of a [`std::io::ErrorKind`].

use std::fmt::Debug;
use std::io;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

/// One thing that a program can do: its name, its arguments for people, and how.
pub type Case = (&'static str, &'static str, fn(&Args) -> io::Result<()>);

/// The arguments after the name of the case.
pub struct Args(Vec<String>);

/// Does what the first argument names.
pub fn run(cases: &[Case]) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or_default();
    let args = Args(arguments.collect());
    let Some((.., action)) = cases.iter().find(|(name, ..)| *name == wanted) else {
        eprintln!("error: no case `{wanted}`; there are:");
        for (name, usage, _) in cases {
            eprintln!("  {name} {usage}");
        }
        return ExitCode::from(2);
    };
    match action(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error {}: {error}", kind(&error));
            ExitCode::FAILURE
        }
    }
}

/// `ok` or the kind of the error.
pub fn word<T>(outcome: &io::Result<T>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => kind(error),
    }
}

/// The kind of an error; its number behind it where std has no stable kind for it.
pub fn kind(error: &io::Error) -> String {
    let kind = format!("{:?}", error.kind());
    match error.raw_os_error() {
        Some(number) if kind == "Uncategorized" => format!("{kind}-{number}"),
        _ => kind,
    }
}

/// Never returns, without using the CPU.
pub fn sleep_forever() -> ! {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

// === impl Args ===

impl Args {
    /// The argument at this place.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn text(&self, index: usize) -> io::Result<&str> {
        let text = self.0.get(index).map(String::as_str);
        text.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("argument {} is missing", index + 1),
            )
        })
    }

    /// The argument at this place as a number, or what stands for it where it is absent.
    ///
    /// # Errors
    /// When it is no number.
    pub fn number<T: FromStr<Err: Debug>>(&self, index: usize, absent: T) -> io::Result<T> {
        let Some(text) = self.0.get(index) else {
            return Ok(absent);
        };
        text.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{text}` is no number"),
            )
        })
    }

    /// All arguments from this place on.
    pub fn from(&self, index: usize) -> impl Iterator<Item = &str> {
        self.0.iter().skip(index).map(String::as_str)
    }
}
