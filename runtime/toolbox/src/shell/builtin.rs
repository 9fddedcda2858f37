//! What only the shell itself can do: change its own state, or what comes next.

use std::io::Write as _;

use super::run::{Flow, Step};
use super::{Fatal, Shell};
use crate::call::reason;
use crate::command;
use crate::streams::Streams;

type Builtin = fn(&mut Shell, &[String], &Streams) -> Step;

/// All of them, by name.
const ALL: &[(&str, Builtin)] = &[
    (".", source),
    (":", |shell, _, _| shell.done(0)),
    ("break", |shell, args, _| shell.leave(args, Flow::Break)),
    ("cd", cd),
    ("command", command_builtin),
    ("continue", |shell, args, _| {
        shell.leave(args, Flow::Continue)
    }),
    ("eval", eval),
    ("exec", exec),
    ("exit", |shell, args, _| shell.end(args, Flow::Exit)),
    ("export", export),
    ("local", local),
    ("read", read),
    ("readonly", read_only),
    ("return", |shell, args, _| shell.end(args, Flow::Return)),
    ("set", set),
    ("shift", shift),
    ("source", source),
    ("type", type_of),
    ("umask", |shell, _, _| shell.done(0)),
    ("unset", unset),
    ("wait", |shell, _, _| shell.done(0)),
];

/// The builtin with this name.
pub(super) fn find(name: &str) -> Option<Builtin> {
    ALL.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, builtin)| *builtin)
}

// === impl Shell ===

impl Shell {
    fn done(&mut self, status: u8) -> Step {
        self.status = status;
        Ok(Flow::Next)
    }

    /// Tells what went wrong; the script goes on.
    fn failed(&mut self, streams: &Streams, message: &str) -> Step {
        // When standard error is gone, the exit code still tells.
        let _ = writeln!(&streams.err, "{}: {message}", self.name);
        self.done(1)
    }

    fn leave(&mut self, args: &[String], flow: fn(u32) -> Flow) -> Step {
        self.status = 0;
        Ok(flow(
            args.first()
                .and_then(|count| count.parse().ok())
                .unwrap_or(1),
        ))
    }

    fn end(&mut self, args: &[String], flow: Flow) -> Step {
        if let Some(code) = args.first() {
            let code: i64 = code
                .parse()
                .map_err(|_| Fatal::new(format!("{code}: not an exit code")))?;
            self.status = u8::try_from(code & 0xff).unwrap_or(0);
        }
        Ok(flow)
    }

    /// Reads `NAME` and `NAME=VALUE`; the value is assigned.
    fn declare(&mut self, word: &str) -> Result<String, Fatal> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(Fatal::new(format!("{name}: not a name of a variable")));
        }
        if let Some(value) = value {
            self.assign(name, value.to_owned())?;
        }
        Ok(name.to_owned())
    }
}

fn cd(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let target = match args.first().map(String::as_str) {
        None => shell.variable("HOME").unwrap_or("/").to_owned(),
        Some("-") => shell.variable("OLDPWD").unwrap_or("/").to_owned(),
        Some(target) => target.to_owned(),
    };
    let path = shell.session().tidy_path(&target);
    match std::fs::metadata(&path) {
        Ok(data) if data.is_dir() => {
            let old = std::mem::replace(&mut shell.cwd, path);
            shell.assign("OLDPWD", old.to_string_lossy().into_owned())?;
            shell.done(0)
        }
        Ok(_) => shell.failed(streams, &format!("cd: {target}: not a directory")),
        Err(error) => shell.failed(streams, &format!("cd: {target}: {}", reason(&error))),
    }
}

/// `command -v NAME` tells what a name is; `command NAME` runs it past any function.
fn command_builtin(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    match args {
        [option, names @ ..] if option == "-v" => {
            let mut status = 0;
            for name in names {
                if shell.functions.contains_key(name)
                    || find(name).is_some()
                    || command::find_by_name(name).is_some()
                {
                    // Output that nobody gets is told by the exit code of what follows.
                    let _ = writeln!(&streams.out, "{name}");
                } else {
                    status = 127;
                }
            }
            shell.done(status)
        }
        [name, rest @ ..] => match find(name) {
            Some(builtin) => builtin(shell, rest, streams),
            None => {
                let status = command::run(&shell.session(), streams, args);
                shell.done(status)
            }
        },
        [] => shell.done(0),
    }
}

fn eval(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let commands = super::parse(&args.join(" "))?;
    shell.status = 0;
    shell.deeper()?;
    let flow = shell.list(&commands, streams);
    shell.depth -= 1;
    flow
}

/// There is no other program to become: the command runs, and the shell ends with its exit code.
fn exec(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    if args.is_empty() {
        return Err(Fatal::new(
            "exec: redirections of the whole shell are not here; redirect `{ …; }` instead",
        ));
    }
    shell.status = command::run(&shell.session(), streams, args);
    Ok(Flow::Exit)
}

fn export(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    for word in args.iter().filter(|word| *word != "-p") {
        let name = shell.declare(word)?;
        shell.variables.entry(name).or_default().exported = true;
    }
    if args.iter().all(|word| word == "-p") {
        for (name, value) in shell.session().env {
            // Output that nobody gets is told by the exit code of what follows.
            let _ = writeln!(
                &streams.out,
                "export {name}='{}'",
                value.replace('\'', "'\\''")
            );
        }
    }
    shell.done(0)
}

fn read_only(shell: &mut Shell, args: &[String], _: &Streams) -> Step {
    for word in args {
        let name = shell.declare(word)?;
        shell.variables.entry(name).or_default().read_only = true;
    }
    shell.done(0)
}

fn local(shell: &mut Shell, args: &[String], _: &Streams) -> Step {
    for word in args {
        let name = word.split('=').next().unwrap_or(word).to_owned();
        let outer = shell.variables.remove(&name);
        let Some(hidden) = shell.hidden.last_mut() else {
            return Err(Fatal::new("local: only within a function"));
        };
        hidden.push((name.clone(), outer));
        let name = shell.declare(word)?;
        shell.variables.entry(name).or_default();
    }
    shell.done(0)
}

/// Reads one line into variables; the last of them gets the rest of the line.
fn read(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let names: Vec<&String> = args.iter().filter(|word| !word.starts_with('-')).collect();
    let raw = args.iter().any(|word| word == "-r");
    let line = match streams.input.line() {
        Ok(line) => String::from_utf8_lossy(&line).into_owned(),
        Err(error) => return shell.failed(streams, &format!("read: {}", reason(&error))),
    };
    let text = line.trim_end_matches('\n');
    let text = if raw {
        text.to_owned()
    } else {
        text.replace('\\', "")
    };
    let separators = shell.separators();
    let mut rest = text.trim_matches(|c: char| c.is_whitespace() && separators.contains(c));
    for (index, name) in names.iter().enumerate() {
        let is_last = index + 1 == names.len();
        let (value, after) = match rest.split_once(|c| separators.contains(c)) {
            Some((value, after)) if !is_last => (value, after),
            _ => (rest, ""),
        };
        shell.assign(name, value.to_owned())?;
        rest = after.trim_start_matches(|c: char| c.is_whitespace() && separators.contains(c));
    }
    if names.is_empty() {
        shell.assign("REPLY", text.clone())?;
    }
    shell.done(u8::from(line.is_empty()))
}

fn set(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let mut args = args.iter();
    while let Some(word) = args.next() {
        let (letters, on) = match (word.strip_prefix('-'), word.strip_prefix('+')) {
            (Some("-"), _) => {
                shell.positional = args.cloned().collect();
                return shell.done(0);
            }
            (Some(letters), _) => (letters, true),
            (None, Some(letters)) => (letters, false),
            (None, None) => {
                shell.positional = std::iter::once(word).chain(args).cloned().collect();
                return shell.done(0);
            }
        };
        if letters == "o" {
            let name = args.next().map_or("", String::as_str);
            let letter = match name {
                "errexit" => "e",
                "nounset" => "u",
                "xtrace" => "x",
                "noglob" => "f",
                _ => return shell.failed(streams, &format!("set: option `{name}` is not here")),
            };
            shell.set_option(letter, on);
            continue;
        }
        for letter in letters.chars() {
            if !shell.set_option(&letter.to_string(), on) {
                return shell.failed(
                    streams,
                    &format!("set: option `{letter}` is not here; there are e f u x"),
                );
            }
        }
    }
    shell.done(0)
}

fn shift(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let count = args
        .first()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    if count > shell.positional.len() {
        return shell.failed(streams, "shift: there are not so many arguments");
    }
    shell.positional.drain(..count);
    shell.done(0)
}

/// Runs a file in this very shell.
fn source(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let Some(name) = args.first() else {
        return Err(Fatal::new(".: name a file"));
    };
    let text = match shell.session().read(name).and_then(|input| input.all()) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            return Err(Fatal {
                code: 1,
                message: format!("{name}: {}", reason(&error)),
            });
        }
    };
    let commands = super::parse(&text)?;
    shell.deeper()?;
    let flow = shell.list(&commands, streams);
    shell.depth -= 1;
    Ok(match flow? {
        Flow::Return => Flow::Next,
        flow => flow,
    })
}

fn type_of(shell: &mut Shell, args: &[String], streams: &Streams) -> Step {
    let mut status = 0;
    for name in args {
        let what = match () {
            () if shell.functions.contains_key(name) => "a function",
            () if find(name).is_some() => "a shell builtin",
            () if command::find_by_name(name).is_some() => "a command of wasmpod's toolbox",
            () => {
                status = 127;
                "not found"
            }
        };
        // Output that nobody gets is told by the exit code of what follows.
        let _ = writeln!(&streams.out, "{name}: {what}");
    }
    shell.done(status)
}

fn unset(shell: &mut Shell, args: &[String], _: &Streams) -> Step {
    let functions = args.first().is_some_and(|word| word == "-f");
    for name in args.iter().filter(|word| !word.starts_with('-')) {
        if functions {
            shell.functions.remove(name);
        } else if shell
            .variables
            .get(name)
            .is_some_and(|variable| variable.read_only)
        {
            return Err(Fatal::new(format!("{name}: is read-only")));
        } else {
            shell.variables.remove(name);
        }
    }
    shell.done(0)
}
