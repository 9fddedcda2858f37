//! A registry in memory that speaks just enough HTTP/1.1, and lets a test answer in its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::digest::Digest;
use crate::limits;
use crate::manifest::{Descriptor, media};

/// Turns of the runtime after which a client has read what a reply sent it: a reader, hyper's
/// connection and who waits for it need a few each.
const TURNS: usize = 64;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    /// Of which registry a proxy is asked: containerd's `?ns=`.
    pub(super) namespace: Option<String>,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    drip: Option<usize>,
    /// Bytes of a drop.
    drop: usize,
    /// The bytes that the client has taken, all in all.
    taken: Option<watch::Receiver<u64>>,
}

type Intercept = Box<dyn Fn(&Asked) -> Option<Reply> + Send>;

/// The registry.
pub(super) struct Fake {
    pub(super) host: String,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Vec<u8>>,
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    asked: Vec<Asked>,
    intercept: Option<Intercept>,
}

/// A blob as it is, or a part of it where that is asked for.
pub(super) fn ranged(asked: &Asked, content: &[u8]) -> Reply {
    let from = asked.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            Reply::new(206)
                .with("Content-Range", &range)
                .body(&content[from..])
        }
        None => Reply::new(200).body(content),
    }
}

// === impl Asked ===

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

// === impl Reply ===

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
            drip: None,
            drop: 1,
            taken: None,
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// The connection breaks after so many bytes of the body.
    pub(super) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// After so many bytes of the body one comes each half a minute, of time that stands still
    /// otherwise: that of tests which pause it.
    pub(super) fn drip(mut self, after: usize) -> Self {
        self.drip = Some(after);
        self
    }

    /// So many bytes come at a time then, and each time is waited for until the client has taken
    /// what came before.
    pub(super) fn by(mut self, bytes: usize, taken: &watch::Receiver<u64>) -> Self {
        self.drop = bytes;
        self.taken = Some(taken.clone());
        self
    }

    async fn send(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
        let whole = self.body.len();
        let until = self.cut.or(self.drip).unwrap_or(whole).min(whole);
        let mut wanted = self.taken.as_ref().map_or(0, |taken| *taken.borrow());
        stream.write_all(&self.body[..until]).await?;
        if self.cut.is_some() {
            return stream.flush().await;
        }
        wanted += until as u64;
        for drop in self.body[until..].chunks(self.drop) {
            stream.flush().await?;
            self.are_taken(wanted, stream).await?;
            tokio::time::advance(limits::IDLE / 2).await;
            stream.write_all(drop).await?;
            wanted += drop.len() as u64;
        }
        Ok(())
    }

    /// Waits until the client has what was sent before the clock goes on.
    async fn are_taken(
        &self,
        wanted: u64,
        stream: &mut BufReader<TcpStream>,
    ) -> std::io::Result<()> {
        let Some(mut taken) = self.taken.clone() else {
            for _ in 0..TURNS {
                // Each looks at the sockets.
                tokio::task::yield_now().await;
            }
            return Ok(());
        };
        tokio::select! {
            heard = taken.wait_for(|taken| *taken >= wanted) => {
                heard.map(drop).map_err(std::io::Error::other)
            }
            // It says nothing more until it is answered, unless it hangs up.
            _ = stream.fill_buf() => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }
}

// === impl Fake ===

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self {
            host,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Answers in its place where this answers something.
    pub(super) fn intercept(&self, with: impl Fn(&Asked) -> Option<Reply> + Send + 'static) {
        lock(&self.state).intercept = Some(Box::new(with));
    }

    pub(super) fn count(&self, is: impl Fn(&Asked) -> bool) -> usize {
        lock(&self.state)
            .asked
            .iter()
            .filter(|asked| is(asked))
            .count()
    }

    /// A wasm artifact; answers the digests of its manifest and layer.
    pub(super) fn artifact(&self, repository: &str, tag: &str, content: &[u8]) -> (Digest, Digest) {
        let layer = Descriptor::of(media::WASM, content);
        let config = json!({"layerDigests": [layer.digest]}).to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": Descriptor::of(media::WASM_CONFIG, config.as_bytes()), "layers": [layer],
        });
        {
            let mut state = lock(&self.state);
            state
                .blobs
                .insert(layer.digest.to_string(), content.to_vec());
            state.blobs.insert(
                Digest::of(config.as_bytes()).to_string(),
                config.into_bytes(),
            );
        }
        let manifest = manifest.to_string().into_bytes();
        self.put_manifest(repository, tag, media::OCI_MANIFEST, &manifest);
        (Digest::of(&manifest), layer.digest)
    }

    /// An ordinary image of one layer; answers its reference.
    pub(super) fn image(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        let config = json!({
            "architecture": "wasm", "os": "wasi", "config": {"Entrypoint": ["/app.wasm"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": Descriptor::of(media::OCI_CONFIG, &config),
            "layers": [Descriptor::of(media::OCI_TAR, layer)],
        });
        for content in [layer, &config] {
            let digest = Digest::of(content).to_string();
            lock(&self.state).blobs.insert(digest, content.to_vec());
        }
        let manifest = manifest.to_string();
        self.put_manifest(repository, tag, media::OCI_MANIFEST, manifest.as_bytes());
        format!("{}/{repository}:{tag}", self.host)
    }

    pub(super) fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let mut state = lock(&self.state);
        for version in [tag.to_owned(), Digest::of(bytes).to_string()] {
            let value = (media_type.to_owned(), bytes.to_vec());
            state
                .manifests
                .insert((repository.to_owned(), version), value);
        }
    }

    pub(super) fn manifest(&self, repository: &str, version: &str) -> Vec<u8> {
        let key = (repository.to_owned(), version.to_owned());
        lock(&self.state).manifests[&key].1.clone()
    }
}

// === impl State ===

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.asked.push(asked.clone());
        if let Some(reply) = self.intercept.as_ref().and_then(|it| it(asked)) {
            return reply;
        }
        let path = asked.path.trim_start_matches("/v2/");
        if let Some((repository, version)) = path.split_once("/manifests/") {
            return self.manifest(asked, repository, version);
        }
        if path.contains("/blobs/uploads/") {
            return match (asked.method.as_str(), path.split_once("digest=")) {
                ("PUT", Some((_, digest))) if digest == Digest::of(&asked.body).to_string() => {
                    self.blobs.insert(digest.to_owned(), asked.body.clone());
                    Reply::new(201)
                }
                ("PUT", _) => Reply::new(400),
                _ => Reply::new(202).with("Location", "/v2/x/blobs/uploads/1?state=s"),
            };
        }
        match path
            .split_once("/blobs/")
            .and_then(|(_, digest)| self.blobs.get(digest))
        {
            Some(content) => ranged(asked, content),
            None => Reply::new(404),
        }
    }

    fn manifest(&mut self, asked: &Asked, repository: &str, version: &str) -> Reply {
        if asked.method == "PUT" {
            let media_type = asked.header("content-type").unwrap_or_default().to_owned();
            for version in [version.to_owned(), Digest::of(&asked.body).to_string()] {
                let value = (media_type.clone(), asked.body.clone());
                self.manifests
                    .insert((repository.to_owned(), version), value);
            }
            return Reply::new(201);
        }
        match self
            .manifests
            .get(&(repository.to_owned(), version.to_owned()))
        {
            Some((media_type, bytes)) => Reply::new(200)
                .with("Content-Type", media_type)
                .with("Docker-Content-Digest", &Digest::of(bytes).to_string())
                .body(bytes),
            None => Reply::new(404)
                .body(br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        let reply = lock(&state).answer(&asked);
        let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
        if stream.write_all(head.as_bytes()).await.is_err() || asked.method == "HEAD" {
            continue;
        }
        if reply.send(&mut stream).await.is_err() || reply.cut.is_some() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|it: &String| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let (path, namespace) = match path.split_once("?ns=") {
        Some((path, namespace)) => (path.to_owned(), Some(namespace.to_owned())),
        None => (path, None),
    };
    Some(Asked {
        method,
        path,
        namespace,
        headers,
        body,
    })
}
