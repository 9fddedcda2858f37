//! Debian's `docker-registry` on a port of its own, and a proxy before it that makes faults.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// The name and password of registries that ask for them.
pub(crate) const USER: (&str, &str) = ("me", "secret");

/// The same as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/docker-registry";

/// A registry. Dropping it ends it.
pub(crate) struct Registry {
    child: Child,
    /// Host and port, as references have them.
    pub(crate) host: String,
    _home: TempDir,
}

/// What a proxy does to a request before the registry sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection breaks after so many bytes of the answer.
    Cut(usize),
    /// The last byte of the answer is another one.
    Changed,
    /// 429, with this Retry-After.
    Busy(u64),
}

/// A proxy before a registry.
pub(crate) struct Proxy {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

// === impl Registry ===

impl Registry {
    /// Starts one, with a password where that is asked for; nothing where there is no program.
    pub(crate) fn start(with_password: bool) -> anyhow::Result<Option<Self>> {
        Self::start_with(with_password, None)
    }

    /// Starts one that speaks TLS with this certificate and key.
    pub(crate) fn start_tls(certificate: &Path, key: &Path) -> anyhow::Result<Option<Self>> {
        Self::start_with(false, Some((certificate, key)))
    }

    fn start_with(
        with_password: bool,
        tls: Option<(&Path, &Path)>,
    ) -> anyhow::Result<Option<Self>> {
        if !Path::new(PROGRAM).is_file() {
            super::skip("there is no docker-registry here: apt-get install docker-registry")?;
            return Ok(None);
        }
        let home = tempfile::Builder::new()
            .prefix("wasmpod-registry-")
            .tempdir()?;
        let path = |name: &str| home.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n",
            path("data")
        );
        if let Some((certificate, key)) = tls {
            let (certificate, key) = (certificate.display(), key.display());
            config.push_str(&format!(
                "  tls:\n    certificate: {certificate}\n    key: {key}\n"
            ));
        }
        if with_password {
            fs::write(path("htpasswd"), HTPASSWD)?;
            let htpasswd = path("htpasswd");
            config.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {htpasswd}\n"
            ));
        }
        fs::write(path("config.yml"), config)?;
        let mut child = Command::new(PROGRAM)
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context(PROGRAM)?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        let host = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("{PROGRAM} ended: {said}");
            };
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
            said.push_str(&line);
        };
        // It must not wait for a reader of what it logs.
        std::thread::spawn(move || lines.count());
        Ok(Some(Self {
            child,
            host,
            _home: home,
        }))
    }

    /// A proxy before it, which asks `fault` about each request: its method, path and the number of
    /// equal ones before it.
    pub(crate) fn proxy(
        &self,
        fault: impl Fn(&str, &str, usize) -> Fault + Send + Sync + 'static,
    ) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let registry: SocketAddr = self.host.parse()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (shared, fault) = (Arc::clone(&asked), Arc::new(fault));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, fault) = (Arc::clone(&shared), Arc::clone(&fault));
                std::thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = pass(stream, registry, &asked, &*fault);
                });
            }
        });
        Ok(Proxy { host, asked })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It has ended already where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Proxy ===

impl Proxy {
    /// How many requests contained this in their method and path.
    pub(crate) fn count(&self, text: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| asked.contains(text)).count()
    }
}

/// A folder with a `config.json` that has the password of a registry.
pub(crate) fn docker_config(folder: &Path, host: &str) -> anyhow::Result<PathBuf> {
    let (username, password) = USER;
    let config = serde_json::json!({"auths": {host: {"username": username, "password": password}}});
    fs::create_dir_all(folder)?;
    fs::write(folder.join("config.json"), config.to_string())?;
    Ok(folder.to_owned())
}

/// Passes one request on, and closes the connection after its answer.
fn pass(
    mut client: TcpStream,
    registry: SocketAddr,
    asked: &Mutex<Vec<String>>,
    fault: &(impl Fn(&str, &str, usize) -> Fault + ?Sized),
) -> anyhow::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let name = format!("{method} {path}");
    let before = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = asked.iter().filter(|it| **it == name).count();
        asked.push(name);
        before
    };
    let fault = fault(method, path, before);
    if let Fault::Busy(seconds) = fault {
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return Ok(client.write_all(answer.as_bytes())?);
    }
    let mut server = TcpStream::connect(registry)?;
    // One request for each connection: what follows is the body, and the answer ends with it.
    let head = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes())?;
    let (mut body, mut upstream) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut body, &mut upstream));
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fault {
        Fault::Cut(after) => answer.truncate(after),
        Fault::Changed => {
            if let Some(last) = answer.last_mut() {
                *last = last.wrapping_add(1);
            }
        }
        Fault::None | Fault::Busy(_) => {}
    }
    client.write_all(&answer)?;
    Ok(client.shutdown(std::net::Shutdown::Both)?)
}
