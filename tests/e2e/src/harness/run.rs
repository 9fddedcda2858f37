//! `wasmpod run` as a process: prepared, started, listened to, signalled, waited for.

use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::alone::Place;
use super::said::{container_of, ready_address};
use super::{Line, PATIENCE, Said, guest, root, wasmpod};

/// A run that is being prepared.
pub(crate) struct Run {
    /// Everything of this run: manifests, and the data directory where it is a private one.
    home: TempDir,
    arguments: Vec<String>,
    stdin: Option<String>,
    data: PathBuf,
    is_json: bool,
    user: Option<u32>,
    is_on_one_cpu: bool,
    is_alone: bool,
    is_unread: bool,
    variables: Vec<(String, OsString)>,
}

/// A run under way. Dropping it kills what still runs.
pub(crate) struct Running {
    child: Child,
    incoming: Receiver<Line>,
    /// What was said until now.
    pub(crate) said: Said,
    /// Standard output, where nobody reads it.
    unread: Option<ChildStdout>,
    home: TempDir,
    /// Held until the run has ended.
    _place: Place,
}

/// A run that has ended.
pub(crate) struct Ended {
    /// Its exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that was said.
    pub(crate) said: Said,
    /// The folder of the run, with what it left behind.
    pub(crate) home: TempDir,
}

// === impl Run ===

impl Run {
    /// `wasmpod run --output json`, with the compiled code that all tests share.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("wasmpod-e2e-").tempdir()?;
        let data = root().join("target/e2e");
        fs::create_dir_all(&data)?;
        Ok(Self {
            home,
            arguments: Vec::new(),
            stdin: None,
            data,
            is_json: true,
            user: None,
            is_on_one_cpu: false,
            is_alone: false,
            is_unread: false,
            variables: Vec::new(),
        })
    }

    /// A run of one manifest; see [`Self::file`].
    pub(crate) fn of(manifest: impl Display) -> anyhow::Result<Self> {
        let run = Self::new()?.file("pod.yaml", &manifest.to_string())?;
        let path = run.path("pod.yaml");
        Ok(run.args(["-f", &path]))
    }

    /// Writes a file into the run's folder. `guest:NAME` in it becomes the image of that guest.
    pub(crate) fn file(self, name: &str, text: &str) -> anyhow::Result<Self> {
        let path = self.home.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, with_images(text)?)?;
        Ok(self)
    }

    /// The full path of something in the run's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_string_lossy().into_owned()
    }

    /// Further arguments.
    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// With the pod host in one of [`super::PLACEMENTS`].
    pub(crate) fn placed(self, placement: &str) -> Self {
        self.args(["--placement", placement])
    }

    /// What comes in on standard input; `guest:NAME` in it becomes the image of that guest.
    pub(crate) fn stdin(mut self, text: &str) -> anyhow::Result<Self> {
        self.stdin = Some(with_images(text)?);
        Ok(self)
    }

    /// A data directory of its own, to look into it afterwards.
    pub(crate) fn private_data(mut self) -> Self {
        self.data = self.home.path().join("data");
        self
    }

    /// The data directory of another run.
    pub(crate) fn data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// Output for a person instead of JSON.
    pub(crate) fn for_a_person(mut self) -> Self {
        self.is_json = false;
        self
    }

    /// While no other run of these tests is under way: for those that measure, or look
    /// at what a run leaves behind.
    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Output for a person, with a standard output that nobody reads.
    pub(crate) fn unread(mut self) -> Self {
        self.is_unread = true;
        self.for_a_person()
    }

    /// With a variable in the program's own environment.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// On the first CPU only.
    pub(crate) fn on_one_cpu(mut self) -> Self {
        self.is_on_one_cpu = true;
        self
    }

    /// As a user without rights, with a data directory of its own. Root only.
    pub(crate) fn by_user(self, user: u32) -> anyhow::Result<Self> {
        let mut run = self.private_data();
        fs::create_dir_all(&run.data)?;
        for path in [run.home.path(), &run.data] {
            std::os::unix::fs::chown(path, Some(user), Some(user))
                .with_context(|| format!("{} cannot be given away", path.display()))?;
        }
        run.user = Some(user);
        Ok(run)
    }

    /// Starts it.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        let place = Place::take(self.is_alone);
        let mut command = self.command()?;
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        if let (Some(text), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes())?;
        }
        let (sender, incoming) = channel();
        let mut unread = child.stdout.take();
        if let Some(out) = unread.take_if(|_| !self.is_unread) {
            listen(out, Line::of_stdout, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            listen(err, Line::Text, sender);
        }
        Ok(Running {
            child,
            incoming,
            said: Said::default(),
            unread,
            home: self.home,
            _place: place,
        })
    }

    /// Starts it and waits for its end.
    pub(crate) fn finish(self) -> anyhow::Result<Ended> {
        self.start()?.finish()
    }

    fn command(&self) -> anyhow::Result<Command> {
        let wasmpod = wasmpod()?;
        let mut command = Command::new(if self.is_on_one_cpu {
            Path::new("taskset")
        } else {
            wasmpod
        });
        if self.is_on_one_cpu {
            command.args(["--cpu-list", "0"]).arg(wasmpod);
        }
        command.arg("run").arg("--data-dir").arg(&self.data);
        if self.is_json {
            command.args(["--output", "json"]);
        }
        let has_input = self.stdin.is_some();
        command
            .args(&self.arguments)
            .current_dir(self.home.path())
            .envs(self.variables.iter().cloned())
            .stdin(if has_input {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        Ok(command)
    }
}

// === impl Running ===

impl Running {
    /// The first line, of those said already and those to come, in which `find` finds something.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        find: impl Fn(&Line) -> Option<T>,
    ) -> anyhow::Result<T> {
        if let Some(found) = self.said.lines.iter().find_map(&find) {
            return Ok(found);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(line) = self.next(deadline, what)? {
            let found = find(&line);
            self.said.lines.push(line);
            if let Some(found) = found {
                return Ok(found);
            }
        }
        bail!(
            "the run ended without {what}; it said:\n{}",
            self.said.transcript()
        )
    }

    /// Waits for the Ready condition of a pod, and answers its address.
    pub(crate) fn wait_ready(&mut self, pod: &str) -> anyhow::Result<IpAddr> {
        let what = format!("pod {pod} ready");
        self.wait_for(&what, |line| ready_address(line.status(pod)?))
    }

    /// Waits for a line of a container's log that contains a text, and answers the line.
    pub(crate) fn wait_log(
        &mut self,
        pod: &str,
        container: &str,
        text: &str,
    ) -> anyhow::Result<String> {
        let what = format!("`{text}` in the log of {pod}/{container}");
        self.wait_for(&what, |line| {
            line.log(pod, container)
                .filter(|log| log.contains(text))
                .map(str::to_owned)
        })
    }

    /// Waits until a container's status is as `is` wants it, and answers it.
    pub(crate) fn wait_container(
        &mut self,
        pod: &str,
        container: &str,
        what: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> anyhow::Result<serde_json::Value> {
        self.wait_for(what, |line| {
            let status = container_of(line.status(pod)?, container);
            is(status).then(|| status.clone())
        })
    }

    /// Whoever should have read standard output goes.
    pub(crate) fn leave(&mut self) {
        self.unread = None;
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.process(), signal)?)
    }

    /// Its process.
    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The run's folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> anyhow::Result<Ended> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(line) = self.next(deadline, "an end")? {
            self.said.lines.push(line);
        }
        let status = self.child.wait()?;
        let said = std::mem::take(&mut self.said);
        let home = std::mem::replace(&mut self.home, TempDir::with_prefix("wasmpod-e2e-")?);
        Ok(Ended {
            code: status.code(),
            said,
            home,
        })
    }

    /// The next line; none at the end of both streams.
    fn next(&self, deadline: Instant, what: &str) -> anyhow::Result<Option<Line>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.incoming.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!(
                "waited {} s in vain for {what}; the run said:\n{}",
                PATIENCE.as_secs(),
                self.said.transcript()
            ),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends every line of a stream, read on a thread of its own.
fn listen(stream: impl Read + Send + 'static, line: fn(String) -> Line, sender: Sender<Line>) {
    std::thread::spawn(move || {
        for text in BufReader::new(stream).split(b'\n') {
            let Ok(text) = text else { return };
            let text = String::from_utf8_lossy(&text).into_owned();
            if sender.send(line(text)).is_err() {
                return;
            }
        }
    });
}

/// The text with every `guest:NAME` replaced by the image of that guest; `guest:NAME@p1` is its
/// build for WASI preview 1.
fn with_images(text: &str) -> anyhow::Result<String> {
    let mut parts = text.split("guest:");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_end = |c: char| !c.is_alphanumeric() && c != '-' && c != '@';
        let (name, rest) = part.split_at(part.find(is_end).unwrap_or(part.len()));
        write!(whole, "file:{}{rest}", guest(name)?.display())?;
    }
    Ok(whole)
}
