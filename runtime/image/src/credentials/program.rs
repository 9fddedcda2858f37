//! Credential helpers: `docker-credential-NAME get`, a program that knows the secret.
//!
//! It may start others, which belong to its process group. One that hangs is ended with all of them;
//! what it leaves behind when it has answered is its own business, such as an agent.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{Auth, CredentialsError};
use crate::limits;

/// What a helper calls an identity token's owner.
const TOKEN: &str = "<token>";

/// What helpers say where they know nothing.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The group of a helper that has not answered yet: it ends when it is dropped.
struct Group(Option<Pid>);

/// Asks a helper; nothing where it has nothing.
pub(super) async fn ask(name: &str, server: &str) -> Result<Option<Auth>, CredentialsError> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| CredentialsError::Helper {
        program: program.clone(),
        server: server.to_owned(),
        why,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(failed("that is no name of a helper".to_owned()));
    }
    let asking = tokio::time::timeout(limits::HELPER, answer(&program, server));
    let (success, output) = match asking.await {
        Ok(answer) => answer.map_err(|error| failed(error.to_string()))?,
        Err(_) => {
            return Err(failed(format!(
                "no answer within {} s",
                limits::HELPER.as_secs()
            )));
        }
    };
    if !success {
        let text = String::from_utf8_lossy(&output);
        let text = text.trim();
        return match text.contains(NOT_FOUND) {
            true => Ok(None),
            false => Err(failed(text.chars().take(200).collect())),
        };
    }
    let answer: Answer =
        serde_json::from_slice(&output).map_err(|_| failed("its answer is no JSON".to_owned()))?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username == TOKEN {
        true => Auth::Identity(answer.secret),
        false => Auth::Password {
            name: answer.username,
            password: answer.secret,
        },
    }))
}

/// Whether it succeeded, and what it said. It is ended when nobody waits any more.
async fn answer(program: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    // Dropped before the child is, whose number nobody else can have until then.
    let group = Group::of(&child);
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it may know the answer all the same.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(limits::TOKEN).read_to_end(&mut output).await?;
    }
    let status = child.wait().await?;
    group.keep();
    Ok((status.success(), output))
}

// === impl Group ===

impl Group {
    fn of(leader: &Child) -> Self {
        let leader = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(leader.and_then(Pid::from_raw))
    }

    /// It has answered.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Where it fails there is nobody left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{self, Read as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, Mode, mkfifoat};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// How long a busy machine may take.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A helper that is this script, which finds pipes beside it.
    fn helper(folder: &Path, script: &str) -> String {
        let program = folder.join("helper");
        fs::write(&program, format!("#!/bin/sh\ncd \"${{0%/*}}\"\n{script}\n")).expect("written");
        fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("made a program");
        program.to_str().expect("text").to_owned()
    }

    fn pipe(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
        path
    }

    /// What such work gives, where it may wait. It has a thread of its own, so that one that waits for
    /// ever fails its test.
    async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> T {
        let (told, done) = oneshot::channel();
        thread::spawn(move || told.send(work()));
        let done = timeout(PATIENCE, done).await.expect("in time");
        done.expect("no panic").expect("done")
    }

    /// One test: a program that is written while another is started would be busy.
    #[tokio::test]
    async fn a_helper_that_hangs_is_ended_with_what_it_has_started_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let held = pipe(folder, "held");
        // Both have the pipe open until they end.
        let hangs = helper(folder, "exec 3>held; sleep 1000 & echo begun >&3; wait");
        let begun = aside(move || {
            let mut held = File::open(held)?;
            held.read_exact(&mut [0; "begun\n".len()])?;
            Ok(held)
        });
        let mut held = tokio::select! {
            answer = answer(&hangs, "r.example") => panic!("it does not answer: {answer:?}"),
            held = begun => held,
        };
        let left = aside(move || held.read_to_end(&mut Vec::new())).await;
        assert_eq!(left, 0, "it ends without another word");

        let (ask, told) = (pipe(folder, "ask"), pipe(folder, "told"));
        let answers = helper(folder, "(exec >/dev/null; cat ask >told) & cat");
        let (is_well, said) = answer(&answers, "r.example").await.expect("an answer");
        assert_eq!((is_well, said.as_slice()), (true, &b"r.example"[..]));
        let telling = aside(move || fs::write(ask, "still here"));
        let hearing = aside(move || fs::read_to_string(told));
        assert_eq!(tokio::join!(telling, hearing).1, "still here");
    }
}
