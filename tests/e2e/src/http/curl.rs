//! curl as a client.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::harness::PATIENCE;

/// A call of curl that is being prepared.
pub(super) struct Curl {
    arguments: Vec<String>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status line and fields, as curl shows them.
    pub(super) head: String,
    pub(super) body: String,
}

/// A call under way; dropped, it is ended.
pub(super) struct Calling(Option<Child>);

/// Whether this machine has it.
pub(super) fn has_curl() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("curl").is_file())
}

// === impl Curl ===

impl Curl {
    pub(super) fn new() -> Self {
        let patience = PATIENCE.as_secs().to_string();
        Self {
            arguments: Vec::new(),
        }
        .args(["--silent", "--show-error", "--max-time", &patience])
    }

    pub(super) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    pub(super) fn field(self, name: &str, value: &str) -> Self {
        self.args(["--header", &format!("{name}: {value}")])
    }

    /// Asks for one path.
    pub(super) fn get(self, address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
        self.spawn(address, path)?.answer()
    }

    /// Asks for several, over one connection, and gives their bodies.
    pub(super) fn get_all(self, address: SocketAddr, paths: &[&str]) -> anyhow::Result<String> {
        let urls: Vec<String> = paths.iter().map(|path| url(address, path)).collect();
        let mut command = self.args(urls.iter().map(String::as_str)).command();
        let answer = command.output().context("curl")?;
        ensure!(answer.status.success(), "{command:?}: {answer:?}");
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// Asks where no whole answer comes: curl's exit code.
    pub(super) fn fails(self, address: SocketAddr, path: &str) -> anyhow::Result<i32> {
        let mut command = self.args([&*url(address, path)]).command();
        let answer = command.output().context("curl")?;
        let code = answer.status.code().unwrap_or_default();
        ensure!(code != 0, "{command:?} succeeded: {answer:?}");
        Ok(code)
    }

    /// Begins to ask for a path.
    pub(super) fn spawn(self, address: SocketAddr, path: &str) -> anyhow::Result<Calling> {
        let mut command = self.args(["--include", &*url(address, path)]).command();
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Calling(Some(child)))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("curl");
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

// === impl Calling ===

impl Calling {
    /// Waits for the answer.
    pub(super) fn answer(mut self) -> anyhow::Result<Answer> {
        let child = self.0.take().context("it is asked once")?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "curl: {output:?}");
        let whole = String::from_utf8_lossy(&output.stdout).into_owned();
        // Interim answers come before it.
        let mut rest = whole.as_str();
        loop {
            let (head, body) = rest.split_once("\r\n\r\n").context("no head")?;
            let status = head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
            let status = status.with_context(|| head.to_owned())?;
            if status >= 200 {
                return Ok(Answer {
                    status,
                    head: head.to_owned(),
                    body: body.to_owned(),
                });
            }
            rest = body;
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It has ended already where the test went well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}
