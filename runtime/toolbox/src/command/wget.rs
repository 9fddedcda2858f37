//! wget: fetches over http, for looking at servers of the pod and its neighbours. No TLS.
//!
//! It speaks HTTP/1.0, so that every answer ends with its connection or after its length. The
//! small client libraries keep their deadlines with a thread, which a guest does not have.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::base_name;
use crate::call::{Call, Failure, Options, Outcome};
use crate::command::sleep::length;

/// Exit code of wget where the server answers with an error.
const SERVER_ERROR: u8 = 8;

/// Redirections that are followed; more is a circle.
const REDIRECTIONS: u32 = 10;

/// Bytes of an answer's head that are read: servers of all kinds keep to 8 or 16 KiB.
const HEAD_LIMIT: u64 = 64 * 1024;

const SPEC: &str = "q,quiet O:,output-document: T:,timeout: S,server-response header: post-data: spider U:,user-agent: Y:";

/// `http://host:port/path`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    /// As in the Host header.
    authority: String,
    path: String,
}

/// The head of an answer, and the stream from where its body begins.
struct Answer {
    status: u16,
    reason: String,
    length: Option<u64>,
    location: Option<String>,
    body: BufReader<TcpStream>,
}

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options(SPEC)?;
    let time = options.value("T").map(length).transpose()?;
    let text = match options.one("")? {
        "" => return Err(Failure::usage("name a URL")),
        text => text.to_owned(),
    };
    let mut url = Url::parse(&text)?;
    for _ in 0..REDIRECTIONS {
        let answer = ask(&url, &options, time).map_err(|error| Failure::at(url.shown(), &error))?;
        let status = format!("{} {}", answer.status, answer.reason);
        if options.has("S") {
            call.warn(format!("{}: {status}", url.shown()));
        }
        match (answer.status, &answer.location) {
            (300..=399, Some(location)) => url = url.join(location)?,
            (200..=299, _) if options.has("spider") => return Ok(0),
            (200..=299, _) => return save(call, &options, &text, answer),
            _ => {
                return Err(Failure {
                    code: SERVER_ERROR,
                    message: format!("{}: {status}", url.shown()),
                });
            }
        }
    }
    Err(Failure::new(format!(
        "{text}: more than {REDIRECTIONS} redirections"
    )))
}

/// Sends the request and reads the head of the answer.
fn ask(url: &Url, options: &Options, time: Option<Duration>) -> io::Result<Answer> {
    let stream = connect(url, time)?;
    let body = options.value("post-data").unwrap_or("");
    let method = match (options.has("post-data"), options.has("spider")) {
        (true, _) => "POST",
        (false, true) => "HEAD",
        (false, false) => "GET",
    };
    let agent = options.value("U").unwrap_or("wasmpod-toolbox");
    let mut request = format!(
        "{method} {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n",
        url.path, url.authority
    );
    if options.has("post-data") {
        let length = body.len();
        request += &format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
        );
    }
    for header in options.values("header") {
        request += &format!("{header}\r\n");
    }
    (&stream).write_all(format!("{request}\r\n{body}").as_bytes())?;
    read_head(stream)
}

/// Connects to the first address of the host that answers.
fn connect(url: &Url, time: Option<Duration>) -> io::Result<TcpStream> {
    let (host, port) = url
        .host_and_port()
        .ok_or_else(|| io::Error::other("not a host and a port"))?;
    let Some(time) = time else {
        return TcpStream::connect((host, port));
    };
    let mut last = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => {
                stream.set_read_timeout(Some(time))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_head(stream: TcpStream) -> io::Result<Answer> {
    let mut body = BufReader::new(stream);
    let mut head = body.by_ref().take(HEAD_LIMIT).lines();
    let first = head.next().transpose()?.unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|status| status.parse().ok());
    let status = status.filter(|_| version.starts_with("HTTP/1."));
    let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    let reason = words.next().unwrap_or_default().to_owned();
    let (mut length, mut location) = (None, None);
    for line in head {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "location" => location = Some(value.trim().to_owned()),
            "transfer-encoding" => {
                return Err(io::Error::other(
                    "the answer is in chunks, against HTTP/1.0",
                ));
            }
            _ => {}
        }
    }
    Ok(Answer {
        status,
        reason,
        length,
        location,
        body,
    })
}

/// Writes the body where it belongs, as it comes.
fn save(call: &Call<'_>, options: &Options, url: &str, answer: Answer) -> Outcome {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let name =
        options
            .value("O")
            .unwrap_or_else(|| match path.contains('/') && !path.ends_with('/') {
                true => base_name(path),
                false => "index.html",
            });
    let file = match name {
        "-" => None,
        name => Some(
            call.session
                .write(name, false)
                .map_err(|error| Failure::at(name, &error))?,
        ),
    };
    let mut out = file.as_ref().unwrap_or(&call.streams.out);
    let copied = io::copy(
        &mut answer.body.take(answer.length.unwrap_or(u64::MAX)),
        &mut out,
    )?;
    out.flush()?;
    if answer.length.is_some_and(|length| copied < length) {
        return Err(Failure::new(format!(
            "{url}: broke off after {copied} bytes"
        )));
    }
    if file.is_some() && !options.has("q") {
        call.warn(format!("saved {name}, {copied} bytes"));
    }
    Ok(0)
}

// === impl Url ===

impl Url {
    fn parse(text: &str) -> Result<Self, Failure> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                let remedy = "use http, or kubectl port-forward and your own client";
                return Err(Failure::usage(format!("{scheme} is not here; {remedy}")));
            }
            None => text,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Where a redirection from here leads.
    fn join(&self, location: &str) -> Result<Self, Failure> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let path = match location.starts_with('/') {
            true => location.to_owned(),
            false => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        Ok(Self {
            path,
            ..self.clone()
        })
    }

    /// `[::1]:80`, `host:80` and `host`.
    fn host_and_port(&self) -> Option<(&str, u16)> {
        let bracketed = self
            .authority
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, port)) => (host, port),
            None => self
                .authority
                .split_at(self.authority.find(':').unwrap_or(self.authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => 80,
        };
        (!host.is_empty()).then_some((host, port))
    }

    fn shown(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::Url;
    use crate::command::testing::Room;

    /// Answers this many requests; tells their first lines.
    fn server(count: usize) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |mut stream: std::net::TcpStream| {
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let first = lines.next().unwrap();
                lines.take_while(|line| !line.is_empty()).count();
                let head = match first.split(' ').nth(1) {
                    Some("/none") => "404 Not Found",
                    Some("/old") => "302 Found\r\nLocation: new",
                    Some("/short") => "200 OK\r\nContent-Length: 50",
                    Some("/length") => "200 OK\r\nContent-Length: 4",
                    _ => "200 OK",
                };
                write!(stream, "HTTP/1.1 {head}\r\n\r\npage\n").unwrap();
                first
            };
            (0..count)
                .map(|_| answer(listener.accept().unwrap().0))
                .collect()
        });
        (address, thread)
    }

    #[test]
    fn pages_are_fetched_to_where_they_belong() {
        let room = Room::new();
        let (address, thread) = server(8);
        let url = |path: &str| format!("{address}{path}");
        let ran = room.run(&["wget", "-qO-", &url("/x")]);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (0, "page\n", "")
        );
        assert_eq!(room.run(&["wget", "-q", &url("/a/b.txt")]).code, 0);
        assert_eq!(room.read("b.txt"), "page\n");
        let ran = room.run(&["wget", "-T", "5", &url("/none")]);
        assert_eq!(ran.code, 8);
        assert!(ran.err.contains("404 Not Found"), "{}", ran.err);
        assert_eq!(
            room.run(&["wget", "-q", "--post-data", "a=1", "-O", "out", &url("/")])
                .code,
            0
        );
        assert_eq!(room.run(&["wget", "-qO-", &url("/old")]).out, "page\n");
        assert_eq!(room.run(&["wget", "-qO-", &url("/length")]).out, "page");
        let ran = room.run(&["wget", "-qO-", &url("/short")]);
        assert!(
            ran.code == 1 && ran.err.contains("broke off after 5 bytes"),
            "{ran:?}"
        );
        let requests = thread.join().unwrap();
        assert_eq!(requests[0], "GET /x HTTP/1.0");
        assert_eq!(requests[3], "POST / HTTP/1.0");
        assert_eq!(requests[5], "GET /new HTTP/1.0");
    }

    #[test]
    fn what_cannot_be_fetched_is_told() {
        let room = Room::new();
        assert_eq!(room.run(&["wget", "https://x/"]).code, 2);
        assert_eq!(room.run(&["wget"]).code, 2);
        let ran = room.run(&["wget", "http://127.0.0.1:1/"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("refused"), "{}", ran.err);
    }

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("http://a", Some(("a", 80)), "/"),
            ("a:81/x/y", Some(("a", 81)), "/x/y"),
            ("http://[::1]:82/", Some(("::1", 82)), "/"),
            ("http://[::1]/", Some(("::1", 80)), "/"),
            ("http://a:x/", None, "/"),
            ("http:///x", None, "/x"),
        ];
        for (text, host, path) in cases {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.host_and_port(), url.path.as_str()),
                (host, path),
                "{text}"
            );
        }
        let url = Url::parse("http://a/b/c").unwrap();
        assert_eq!(url.join("d").unwrap().shown(), "http://a/b/d");
        assert_eq!(url.join("/d").unwrap().shown(), "http://a/d");
        assert_eq!(url.join("http://e/d").unwrap().shown(), "http://e/d");
    }
}
