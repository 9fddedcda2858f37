//! Every command, by name, and what happens when one is called.
//!
//! A command is a function from a [`Call`] to an exit code; one file each. None of them ends the
//! program or touches the real working directory, so one may call another.

mod base64;
mod basename;
mod cat;
mod cp;
mod cut;
mod date;
mod du;
mod echo;
mod env;
mod find;
mod grep;
mod head;
mod help;
mod id;
mod ln;
mod ls;
mod mkdir;
mod mv;
mod nc;
mod nslookup;
mod printf;
mod realpath;
mod rm;
mod sed;
mod seq;
mod sh;
mod sha256sum;
mod sleep;
mod sort;
mod stat;
mod tail;
mod tar;
mod tee;
mod test;
mod touch;
mod tr;
mod uniq;
mod wc;
mod wget;
mod xargs;

use std::io::Write as _;

use crate::base_name;
use crate::call::{Call, Failure, Outcome};
use crate::session::Session;
use crate::streams::Streams;

/// One command.
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its options and operands, for people.
    pub(crate) usage: &'static str,
    /// What it does, for people.
    pub(crate) about: &'static str,
    run: fn(&Call<'_>) -> Outcome,
}

/// Exit code where no such command exists, as POSIX has it.
pub(crate) const NOT_FOUND: u8 = 127;

/// Exit code where it exists and cannot be run.
pub(crate) const CANNOT_RUN: u8 = 126;

const fn command(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Call<'_>) -> Outcome,
) -> Command {
    Command {
        name,
        usage,
        about,
        run,
    }
}

/// All of them, by name.
#[rustfmt::skip]
pub(crate) const ALL: &[Command] = &[
    command("[", "EXPRESSION ]", "the same as test", test::run),
    command("base64", "[-d] [FILE]", "writes bytes as base64, or back", base64::run),
    command("basename", "PATH [SUFFIX]", "the last part of a path", basename::last),
    command("cat", "[-n] [FILE]...", "writes files one after the other", cat::run),
    command("cp", "[-r] FROM... TO", "copies files, with -r directories too", cp::run),
    command("cut", "-f LIST [-d C] | -c LIST [FILE]...", "parts of every line", cut::run),
    command("date", "[-u] [-d @SECONDS] [+FORMAT]", "the time, in UTC", date::run),
    command("dirname", "PATH", "a path without its last part", basename::parent),
    command("du", "[-s] [-h] [PATH]...", "bytes in files, with all below", du::run),
    command("echo", "[-n] [-e] [WORD]...", "writes its words", echo::run),
    command("env", "[-i] [NAME=VALUE]... [COMMAND]", "runs a command with variables, or shows them", env::env),
    command("false", "", "fails", |_| Ok(1)),
    command("find", "[PATH]... [-name|-iname|-path GLOB] [-type f|d|l] [-mindepth|-maxdepth N] [!] [-print|-delete|-exec … ;]", "files below a path", find::run),
    command("grep", "[-EFivnclqowxrhs] [-e RE] RE [FILE]...", "lines that match", grep::run),
    command("head", "[-n N | -c N] [FILE]...", "the first lines or bytes", head::run),
    command("help", "[COMMAND]", "lists the commands, or tells of one", help::run),
    command("hostname", "", "the pod's host name", id::hostname),
    command("id", "[-u] [-g]", "user and group", id::id),
    command("ln", "[-s] [-f] TARGET LINK", "makes a link", ln::run),
    command("ls", "[-l] [-a] [-1] [-d] [-R] [PATH]...", "names in directories", ls::run),
    command("mkdir", "[-p] PATH...", "makes directories", mkdir::make),
    command("mv", "[-f] FROM... TO", "moves files and directories", mv::run),
    command("nc", "[-z] [-u] [-w SECONDS] HOST PORT | -l [-p] PORT", "sends input to a port, writes the answer", nc::run),
    command("nslookup", "NAME", "the addresses of a name", nslookup::run),
    command("printenv", "[NAME]...", "shows variables", env::printenv),
    command("printf", "FORMAT [WORD]...", "writes words in a form", printf::run),
    command("pwd", "", "the working directory", realpath::pwd),
    command("realpath", "PATH...", "absolute paths without links", realpath::run),
    command("rm", "[-r] [-f] PATH...", "removes files, with -r directories too", rm::run),
    command("rmdir", "PATH...", "removes empty directories", mkdir::remove),
    command("sed", "[-n] [-E] [-i] [-e] SCRIPT [FILE]...", "edits lines: s///, d, p, q with addresses", sed::run),
    command("seq", "[FIRST [STEP]] LAST", "numbers", seq::run),
    command("sh", "[-c TEXT [NAME [WORD]...]] [-eux] [FILE [WORD]...]", "a shell; pipes are buffers, nothing runs in the background", sh::run),
    command("sha256sum", "[-c] [FILE]...", "checksums, or checks them", sha256sum::run),
    command("sleep", "SECONDS", "waits", sleep::run),
    command("sort", "[-n] [-r] [-u] [-f] [-t C] [-k N] [FILE]...", "lines in order", sort::run),
    command("stat", "[-c FORMAT] PATH...", "what is known of a file", stat::run),
    command("tail", "[-n [+]N | -c N] [-f] [FILE]...", "the last lines or bytes", tail::run),
    command("tar", "c|x|t [-v] [-f FILE] [-C DIR] [PATH]...", "makes, unpacks or lists an archive", tar::run),
    command("tee", "[-a] FILE...", "copies input to files and on", tee::run),
    command("test", "EXPRESSION", "succeeds if the expression is true", test::run),
    command("touch", "[-c] PATH...", "makes files, or renews their time", touch::run),
    command("tr", "[-d] [-s] [-c] SET [SET]", "replaces, deletes or squeezes characters", tr::run),
    command("true", "", "succeeds", |_| Ok(0)),
    command("uniq", "[-c] [-d] [-u] [FILE]", "lines that differ from the one before", uniq::run),
    command("wc", "[-l] [-w] [-c] [FILE]...", "counts lines, words and bytes", wc::run),
    command("wget", "[-q] [-O FILE] [-T SECONDS] [--header H] [--post-data D] [--spider] URL", "fetches over http", wget::run),
    command("which", "COMMAND...", "tells where commands are", help::which),
    command("whoami", "", "the user", id::whoami),
    command("xargs", "[-n N] [-I WORD] [COMMAND]", "runs a command with words from its input", xargs::run),
];

/// Commands that a wasm pod cannot have, why, and what does it instead.
pub(crate) const ABSENT: &[(&str, &str)] = &[
    (
        "apk",
        "there is no package to install: a wasm container is one file",
    ),
    (
        "apt",
        "there is no package to install: a wasm container is one file",
    ),
    ("bash", "use `sh`"),
    (
        "chmod",
        "WASI has no permissions; set defaultMode on the volume in the manifest",
    ),
    ("chown", "WASI has no owners"),
    (
        "curl",
        "use `wget -qO- URL`, or kubectl port-forward and your own curl",
    ),
    (
        "df",
        "WASI does not tell of free space; `du` tells what is used",
    ),
    (
        "kill",
        "WASI has no signals; end the pod with `kubectl delete pod`, or Ctrl-C of `wasmpod run`",
    ),
    ("mount", "mounts are in the manifest: volumeMounts"),
    ("ping", "WASI has no raw sockets; use `nc -z HOST PORT`"),
    (
        "ps",
        "a container is one instance without a process table; use `kubectl get pod` and `kubectl top pod`",
    ),
    ("su", "WASI has no users"),
    (
        "top",
        "a container is one instance without a process table; use `kubectl top pod`",
    ),
    ("vi", "no editor; use `sed -i`, or `kubectl cp`"),
];

/// Runs a command and answers its exit code; what went wrong is on standard error by then.
pub(crate) fn run(session: &Session, streams: &Streams, words: &[String]) -> u8 {
    let Some((name, args)) = words.split_first() else {
        return tell(
            streams,
            "toolbox",
            &Failure::usage("name a command; `help` lists them"),
        );
    };
    let outcome = match find_by_name(name) {
        Some(command) => (command.run)(&Call {
            name: command.name,
            args,
            session,
            streams,
        }),
        None => Err(unknown(session, name)),
    };
    let flushed = (&streams.out).flush();
    let code = match outcome {
        Err(failure) => tell(streams, name, &failure),
        // Output that nobody gets is a failure of a command that would have succeeded.
        Ok(0) if flushed.is_err() => 1,
        Ok(code) => code,
    };
    // When standard error is gone, the exit code still tells.
    let _ = (&streams.err).flush();
    code
}

/// The command with this name, or at this path in the usual folders.
pub(crate) fn find_by_name(name: &str) -> Option<&'static Command> {
    let base = match name.contains('/') {
        false => name,
        true => ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/"]
            .iter()
            .find_map(|folder| name.strip_prefix(folder))?,
    };
    ALL.iter().find(|command| command.name == base)
}

/// Why there is no such command, and what to do.
fn unknown(session: &Session, name: &str) -> Failure {
    if let Some((_, remedy)) = ABSENT.iter().find(|(absent, _)| *absent == base_name(name)) {
        return Failure {
            code: NOT_FOUND,
            message: format!("not here: {remedy}"),
        };
    }
    if name.contains('/') && session.path(name).is_file() {
        return Failure {
            code: CANNOT_RUN,
            message: "a program in a wasm pod cannot start another one; \
                      exec it directly: kubectl exec POD -- PATH (it must be a .wasm command)"
                .to_owned(),
        };
    }
    Failure {
        code: NOT_FOUND,
        message: format!("no such command; there are: {}", names()),
    }
}

/// The names of all commands.
pub(crate) fn names() -> String {
    ALL.iter()
        .map(|command| command.name)
        .collect::<Vec<_>>()
        .join(" ")
}

fn tell(streams: &Streams, name: &str, failure: &Failure) -> u8 {
    // What was written before the failure comes before it on a terminal, too. When standard error
    // is gone, the exit code still tells.
    let _ = (&streams.out).flush();
    if !failure.message.is_empty() {
        let _ = writeln!(&streams.err, "{name}: {}", failure.message);
    }
    failure.code
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::Room;
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let names: Vec<&str> = ALL.iter().map(|command| command.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        let absent: Vec<&str> = ABSENT.iter().map(|(name, _)| *name).collect();
        assert!(absent.is_sorted_by(|a, b| a < b), "{absent:?}");
        assert!(absent.iter().all(|name| find_by_name(name).is_none()));
    }

    #[test]
    fn what_is_not_here_says_so_and_names_the_remedy() {
        let room = Room::new();
        room.file("tool.wasm", "\0asm");
        let tool = room.path("tool.wasm");
        let cases = [
            ("nonsense", 127, "there are: [ base64 "),
            ("ps", 127, "kubectl top"),
            ("/usr/bin/curl", 127, "wget"),
            ("/no/such", 127, "no such command"),
            (tool.as_str(), 126, "exec it directly"),
        ];
        for (name, code, text) in cases {
            let ran = room.run(&[name]);
            assert_eq!(ran.code, code, "{name}");
            assert!(ran.err.contains(text), "{name}: {}", ran.err);
        }
        assert_eq!(room.run(&["/bin/true"]).code, 0);
    }

    #[test]
    fn an_unknown_option_is_told_with_the_help() {
        let ran = Room::new().run(&["ls", "-?"]);
        assert_eq!(
            (ran.code, ran.err.as_str()),
            (2, "ls: no option `?`; see `help ls`\n")
        );
    }
}
