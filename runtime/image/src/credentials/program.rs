//! Credential helpers: `docker-credential-NAME get`, a program that knows the secret.

use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

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

/// Whether it succeeded, and what it said. It is killed when nobody waits any more.
async fn answer(program: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it may know the answer all the same.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(limits::TOKEN).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}
