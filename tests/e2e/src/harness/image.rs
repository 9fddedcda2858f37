//! `wasmpod image` as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

use super::wasmpod;

/// A data directory, and how its commands are run.
pub(crate) struct Images {
    data: PathBuf,
    environment: Vec<(String, PathBuf)>,
}

/// How a command came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Images ===

impl Images {
    /// In this data directory, without the credentials of whoever runs the tests.
    pub(crate) fn new(data: &Path) -> Self {
        let nowhere = data.join("nowhere");
        Self {
            data: data.to_owned(),
            environment: vec![
                ("DOCKER_CONFIG".to_owned(), nowhere.clone()),
                ("WASMPOD_REGISTRIES".to_owned(), nowhere),
            ],
        }
    }

    /// With a variable.
    pub(crate) fn with(mut self, name: &str, value: &Path) -> Self {
        self.environment.retain(|(of, _)| of != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        let output = Command::new(wasmpod()?)
            .arg("image")
            .arg("--data-dir")
            .arg(&self.data)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        })
    }

    /// Runs a command that succeeds, and answers what it printed.
    pub(crate) fn good(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let outcome = self.run(arguments)?;
        ensure!(outcome.code == Some(0), "{arguments:?}: {outcome:?}");
        Ok(outcome.stdout)
    }

    /// Runs a command that fails, and answers its error.
    pub(crate) fn bad(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let outcome = self.run(arguments)?;
        ensure!(outcome.code == Some(125), "{arguments:?}: {outcome:?}");
        Ok(outcome.stderr)
    }
}
