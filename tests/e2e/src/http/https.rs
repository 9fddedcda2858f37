//! Requests to outside over https, with openssl as the server.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, PLACEMENTS, Pod, Run, skip};

/// A server that shows a page to whoever asks; ended when dropped.
struct Server(Child);

/// What a certificate for localhost is made of.
const CERTIFICATE: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = ext\n\
    [name]\nCN = localhost\n\
    [ext]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical,CA:FALSE\n";

#[test]
fn https_trusts_the_roots_of_the_machine_and_nobody_else() -> anyhow::Result<()> {
    if !has_openssl() {
        return skip("there is no openssl");
    }
    let home = tempfile::TempDir::with_prefix("wasmpod-e2e-")?;
    make_certificate(home.path())?;
    let (_server, port) = serve(home.path())?;
    let url = format!("https://localhost:{port}/");
    let pod = client(&["get", &url]);
    let certificate = home.path().join("certificate.pem");
    // A directory as `openssl rehash` leaves it: a link that leads out of it.
    let rehashed = home.path().join("rehashed");
    std::fs::create_dir(&rehashed)?;
    std::os::unix::fs::symlink("../certificate.pem", rehashed.join("2ae6433e.0"))?;
    for placement in PLACEMENTS {
        for (variable, roots, wanted) in [
            ("SSL_CERT_FILE", &*certificate, "200 "),
            ("SSL_CERT_DIR", &rehashed, "200 "),
            (
                "SSL_CERT_FILE",
                Path::new("/etc/hostname"),
                "error TlsCertificateError",
            ),
        ] {
            let run = Run::of(&pod)?.placed(placement);
            let ended = run.variable(variable, roots).finish()?;
            let transcript = ended.said.transcript();
            let logs = ended.said.logs("p", "c");
            let is_told = logs.first().is_some_and(|line| line.starts_with(wanted));
            ensure!(
                is_told,
                "{placement}, {variable} {}: {transcript}",
                roots.display()
            );
        }
    }
    Ok(())
}

/// A pod that calls others on this machine, to which the pod's own network does not lead.
pub(super) fn client(args: &[&str]) -> Pod {
    Pod::one("http-client", args, Value::Null).spec(json!({"hostNetwork": true}))
}

/// Whether certificates can be made.
pub(super) fn has_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_ok()
}

/// `key.pem`, and `certificate.pem` for localhost, which it has signed itself.
pub(super) fn make_certificate(home: &Path) -> anyhow::Result<()> {
    std::fs::write(home.join("request.cnf"), CERTIFICATE)?;
    let mut command = Command::new("openssl");
    command
        .args([
            "req",
            "-x509",
            "-config",
            "request.cnf",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(home);
    let answer = command.output()?;
    ensure!(answer.status.success(), "{command:?}: {answer:?}");
    Ok(())
}

/// Starts a server, and waits until it listens.
fn serve(home: &Path) -> anyhow::Result<(Server, u16)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let mut command = Command::new("openssl");
    command
        .args([
            "s_server",
            "-www",
            "-quiet",
            "-key",
            "key.pem",
            "-cert",
            "certificate.pem",
        ])
        .args(["-accept", &port.to_string()])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = Server(command.spawn().context("openssl")?);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(Instant::now() < deadline, "openssl does not listen");
        std::thread::yield_now();
    }
    Ok((server, port))
}

// === impl Server ===

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
