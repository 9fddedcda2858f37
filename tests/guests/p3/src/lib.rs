//! What a command of WASI 0.3 asks of its host, in sensible and in hostile amounts.
//!
//! Results are lines of words on standard output, errors are told on standard error and by exit
//! code 1, as the programs of WASI 0.2 do it.

mod bindings;
mod ending;
mod files;
mod hostile;
mod plain;
mod say;

use std::future::Future;
use std::pin::Pin;

use wasip3::cli::environment::get_arguments;
use wasip3::exports::cli::run::Guest;

use crate::say::complain;

/// What came of a case: an error is told and ends the program with code 1.
type Outcome = Result<(), String>;

/// The arguments after the name of the case.
struct Args(Vec<String>);

struct Program;

wasip3::cli::command::export!(Program);

impl Guest for Program {
    async fn run() -> Result<(), ()> {
        let mut arguments = get_arguments().into_iter().skip(1);
        let wanted = arguments.next().unwrap_or_default();
        let outcome = match case(&wanted, Args(arguments.collect())) {
            Some(case) => case.await,
            None => Err(format!("no case `{wanted}`")),
        };
        if let Err(error) = outcome {
            complain(&format!("error {error}")).await;
            return Err(());
        }
        Ok(())
    }
}

/// What it can do.
#[rustfmt::skip]
fn case(name: &str, args: Args) -> Option<Pin<Box<dyn Future<Output = Outcome>>>> {
    Some(match name {
        // : prints every argument, an empty line for none
        "args" => Box::pin(plain::args(args)),
        // NAME...: prints these variables
        "env" => Box::pin(plain::env(args)),
        // : prints the working directory
        "cwd" => Box::pin(plain::cwd()),
        // : gives back its input, and tells how it ended
        "stdin" => Box::pin(plain::stdin()),
        // : asks for a name, on a line without an end, and greets
        "ask" => Box::pin(plain::ask()),
        // : tells which of its streams are a terminal
        "terminal" => Box::pin(plain::terminal()),
        // : tells both clocks and their steps
        "clock" => Box::pin(plain::clock()),
        // COUNT MS: waits that long so many times at once
        "timers" => Box::pin(plain::timers(args)),
        // BYTES: asks until it has so many, tells in how many calls of each kind
        "random" => Box::pin(plain::random(args)),
        // : prints through std, which is WASI 0.2, and through 0.3
        "mixed" => Box::pin(plain::mixed()),
        // CODE: ends with any code
        "exit" => Box::pin(ending::exit(args)),
        // : fails without a word
        "fail" => Box::pin(ending::fail()),
        // : executes `unreachable`
        "trap" => Box::pin(ending::trap()),
        // : waits for what never comes
        "deadlock" => Box::pin(ending::deadlock()),
        // : works until it is asked to stop, ends with 0
        "graceful" => Box::pin(ending::graceful()),
        // : is asked to stop and does not
        "stubborn" => Box::pin(ending::stubborn()),
        // : sleeps for ever and never asks about its end
        "deaf" => Box::pin(ending::deaf()),
        // : calls itself not ready, then ready, and goes on
        "health" => Box::pin(ending::health()),
        // PATH TEXT: writes it, reads it back in one, in parts and beyond
        "write-read" => Box::pin(files::write_read(args)),
        // PATH: lists it, sorted
        "list" => Box::pin(files::list(args)),
        // FROM TO: hands the stream of one file to the other
        "copy" => Box::pin(files::copy(args)),
        // PATH MIB: writes and reads so much
        "bulk" => Box::pin(files::bulk(args)),
        // PATH: makes, renames, links and removes entries in it
        "entries" => Box::pin(files::entries(args)),
        // PATH...: tells what is said to a write to each
        "refused" => Box::pin(files::refused(args)),
        // : computes for ever
        "spin" => Box::pin(hostile::spin()),
        // : yields for ever
        "yield" => Box::pin(hostile::yield_for_ever()),
        // MIB: floods standard output through one stream
        "flood" => Box::pin(hostile::flood(args)),
        // MIB: takes memory until it has so much
        "memory" => Box::pin(hostile::memory(args)),
        // : opens streams until it is stopped; the same with the others
        "streams" => Box::pin(hostile::streams()),
        "futures" => Box::pin(hostile::futures()),
        "subtasks" => Box::pin(hostile::subtasks()),
        "pipes" => Box::pin(hostile::pipes()),
        // PATH: the same with streams of a file, that hold what was read
        "reads" => Box::pin(hostile::reads(args)),
        // LENGTH: calls with so long a path, all under way at once
        "paths" => Box::pin(hostile::paths(args)),
        _ => return None,
    })
}

// === impl Args ===

impl Args {
    fn text(&self, index: usize) -> Result<&str, String> {
        let text = self.0.get(index).map(String::as_str);
        text.ok_or_else(|| format!("argument {} is missing", index + 1))
    }

    fn number<T: std::str::FromStr>(&self, index: usize) -> Result<T, String> {
        let text = self.text(index)?;
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }
}
