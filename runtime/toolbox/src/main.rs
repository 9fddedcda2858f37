//! The toolbox: one program that is many commands, for exec and exec probes in wasm pods.
//!
//! A wasm container has no shell and no files of its own beside its mounts, so `kubectl exec POD
//! -- ls /data` runs this program as a new instance in the pod, with the container's mounts,
//! network and environment. The first word of its arguments chooses the command.
//!
//! ```text
//! argv ─> command::run ─> a command ──────────────> exit code
//!                            │ sh ─> shell::Shell ─> command::run …   (all in this one instance)
//! ```
//!
//! It is not a user land: WASI starts no process, so a pipe is a buffer between two commands that
//! run one after the other, and nothing outside of this program can be started. It sets no limits
//! of its own on files and lines: it runs within the container's memory limit, and only for those
//! who may run anything there.

mod call;
mod command;
mod regular;
mod session;
mod shell;
mod streams;
mod time;

use session::Session;
use streams::Streams;

/// The name under which the program is no command itself: its first argument is.
const OWN_NAME: &str = "toolbox";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let code = command::run(
        &Session::of_process(),
        &Streams::of_process(),
        words(&arguments),
    );
    end(code);
}

/// The command with its arguments.
fn words(arguments: &[String]) -> &[String] {
    match arguments.split_first() {
        Some((name, rest)) if base_name(name).trim_end_matches(".wasm") == OWN_NAME => rest,
        _ => arguments,
    }
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or(path)
}

/// std's own `exit` tells WASI 0.2 only success or failure; scripts and probes want the code.
#[cfg(target_env = "p2")]
fn end(code: u8) {
    wasip2::cli::exit::exit_with_code(code);
}

#[cfg(not(target_env = "p2"))]
fn end(code: u8) {
    std::process::exit(i32::from(code));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_command_unless_it_is_the_toolbox() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["ls", "-l"], &["ls", "-l"]),
            (&["toolbox", "ls", "-l"], &["ls", "-l"]),
            (&["/x/toolbox.wasm", "ls"], &["ls"]),
            (&[], &[]),
        ];
        for (arguments, wanted) in cases {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(words(&arguments), wanted, "{arguments:?}");
        }
    }
}
