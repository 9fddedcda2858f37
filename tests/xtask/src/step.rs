//! Steps of a command: named, timed, and stopped at the first that fails.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::toolchain::root;

/// What has been done so far, in order.
#[derive(Default)]
pub(crate) struct Steps {
    /// Steps to run; all where empty.
    only: Vec<String>,
    done: Vec<(&'static str, Duration)>,
}

/// Shows a command, runs it with our own standard streams, and fails when it does.
pub(crate) fn exec(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("`{shown}` could not be started"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// The same of a command whose complaints are of interest: they are shown when it has ended, and are
/// part of the error.
pub(crate) fn exec_heard(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let ended = command
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .with_context(|| format!("`{shown}` could not be started"))?;
    let heard = String::from_utf8_lossy(&ended.stderr);
    eprint!("{heard}");
    if !ended.status.success() {
        bail!("`{shown}` ended with {}: {}", ended.status, heard.trim());
    }
    Ok(())
}

/// Shows a command, and answers how.
fn show(command: &Command) -> String {
    let shown = shown(command);
    match folder(command) {
        Some(folder) => println!("   $ (cd {folder} && {shown})"),
        None => println!("   $ {shown}"),
    }
    shown
}

/// The command as a person would type it: variables it adds, program, arguments.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let variables = command.get_envs().filter_map(|(key, value)| {
        Some(format!(
            "{}={}",
            key.to_string_lossy(),
            value?.to_string_lossy()
        ))
    });
    let arguments = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    variables
        .chain([name.to_string_lossy().into_owned()])
        .chain(arguments)
        .map(|word| {
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The folder that a command runs in, from the workspace's root; none for the root itself.
fn folder(command: &Command) -> Option<String> {
    let folder = command.get_current_dir()?.strip_prefix(root()).ok()?;
    (!folder.as_os_str().is_empty()).then(|| folder.display().to_string())
}

// === impl Steps ===

impl Steps {
    /// Steps that leave out every one not named, or run all where none is named.
    pub(crate) fn only(names: &[String]) -> Self {
        Self {
            only: names.to_vec(),
            done: Vec::new(),
        }
    }

    /// Runs one step, unless it was left out.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        action: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !self.only.is_empty() && !self.only.iter().any(|wanted| wanted == name) {
            return Ok(());
        }
        println!("\n== {name}");
        let start = Instant::now();
        action().with_context(|| format!("step `{name}` failed"))?;
        self.done.push((name, start.elapsed()));
        Ok(())
    }

    /// Prints what was done and how long each step took.
    pub(crate) fn report(&self) {
        println!();
        for (name, took) in &self.done {
            println!("{name:<12} {:>7.1} s", took.as_secs_f64());
        }
        let all: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("{:<12} {:>7.1} s", "in all", all.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["doc", "--no-deps", "a b"])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            shown(&command),
            "'RUSTDOCFLAGS=-D warnings' cargo doc --no-deps 'a b'"
        );
    }

    #[test]
    fn only_the_named_steps_run_and_a_failure_names_its_step() {
        let mut steps = Steps::only(&["clippy".to_owned()]);
        let mut ran = Vec::new();
        steps
            .run("format", || {
                ran.push("format");
                Ok(())
            })
            .unwrap();
        let error = steps.run("clippy", || bail!("no")).unwrap_err();
        assert!(ran.is_empty());
        assert_eq!(format!("{error:#}"), "step `clippy` failed: no");
    }
}
