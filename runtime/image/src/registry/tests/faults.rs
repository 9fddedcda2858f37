//! What goes wrong on the way, and what is made of it.

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::registry::target::Url;

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    for has_ranges in [true, false] {
        let fake = Fake::start().await;
        let content: Vec<u8> = (0..300_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let (_, layer) = fake.artifact("app", "1", &content);
        let blob = format!("/blobs/{layer}");
        let (left, whole) = (AtomicUsize::new(2), content.clone());
        fake.intercept(move |asked| {
            if !asked.path.ends_with(&blob) {
                return None;
            }
            let cuts = left
                .fetch_update(Relaxed, Relaxed, |it| it.checked_sub(1))
                .is_ok();
            let reply = if has_ranges {
                fake::ranged(asked, &whole)
            } else {
                Reply::new(200).body(&whole)
            };
            Some(if cuts { reply.cut(100_000) } else { reply })
        });
        let puller = Puller::new();
        puller
            .pull(&format!("{}/app:1", fake.host))
            .await
            .expect("pulled");
        assert_eq!(
            fs::read(puller.store.blob_path(&layer)).expect("a blob"),
            content
        );
        let ranges = fake.count(|asked| asked.header("range").is_some());
        assert_eq!(ranges, 2, "each cut was resumed");
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_should_be_is_refused() {
    let fake = Fake::start().await;
    let (digest, layer) = fake.artifact("app", "1", b"right");
    let blob = format!("/blobs/{layer}");
    let cases: [(&str, &[u8], &str); 2] = [
        (&blob, b"wrong", "has the digest"),
        (&blob, b"much too long", "should have 5"),
    ];
    for (path, body, wanted) in cases {
        let (path, body) = (path.to_owned(), body.to_vec());
        fake.intercept(move |asked| {
            asked
                .path
                .ends_with(&path)
                .then(|| Reply::new(200).body(&body))
        });
        let puller = Puller::new();
        let error = puller.refused(&format!("{}/app:1", fake.host)).await;
        assert!(error.contains(wanted), "{error}");
        assert!(puller.store.size(&layer).is_none());
        assert!(puller.store.records().expect("listed").is_empty());
    }
    let other = fake.artifact("other", "1", b"other").0;
    let other = fake.manifest("other", &other.to_string());
    fake.intercept(move |asked| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Reply::new(200).body(&other))
    });
    let error = Puller::new()
        .refused(&format!("{}/app@{digest}", fake.host))
        .await;
    assert!(error.contains("is not what the reference says"), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again() {
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let left = AtomicUsize::new(2);
    fake.intercept(move |_| {
        let is_busy = left
            .fetch_update(Relaxed, Relaxed, |it| it.checked_sub(1))
            .is_ok();
        is_busy.then(|| Reply::new(429).with("Retry-After", "0"))
    });
    Puller::new()
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    fake.intercept(|_| Some(Reply::new(429).with("Retry-After", "3600")));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("try again in 3600 s"), "{error}");
    let broken = br#"{"errors":[{"code":"UNKNOWN","message":"disk on fire"}]}"#;
    fake.intercept(|_| {
        let reply = Reply::new(500).with("Retry-After", "3600");
        Some(reply.body(broken))
    });
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    let wanted = "500 Internal Server Error: disk on fire";
    assert!(
        error.contains(wanted) && !error.contains("too many"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_wants_tls_is_told_with_what_to_do() {
    let fake = Fake::start().await;
    let texts: [&[u8]; 2] = [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title>",
    ];
    for said in texts {
        fake.intercept(move |_| Some(Reply::new(400).body(said)));
        let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
        for part in ["HTTP request", "name it with https://"] {
            assert!(error.contains(part) && !error.contains('<'), "{error}");
        }
        // Pushing asks for heads first, which have no body.
        let puller = Puller::new();
        let error = pushed(&puller, &fake).await.expect_err("refused");
        for part in ["HTTP request", "name it with https://"] {
            assert!(error.contains(part) && !error.contains('<'), "{error}");
        }
    }
    // Of others it is not taken to be that.
    fake.intercept(|asked| (asked.method == "HEAD").then(|| Reply::new(400)));
    let error = pushed(&Puller::new(), &fake).await.expect_err("refused");
    assert!(error.contains("it said no more"), "{error}");
}

/// What comes of pushing an image there.
async fn pushed(puller: &Puller, fake: &Fake) -> Result<(), String> {
    let lease = puller.store.lease().expect("a lease");
    let target = testing::image(&puller.store, &lease, b"x");
    let text = format!("{}/mine:1", fake.host);
    let reference: Reference = text.parse().expect("a reference");
    puller.store.name(&reference, &target).expect("named");
    let (client, keyring, none) = (&puller.client, &puller.keyring, Progress::none());
    let pushing = push::push(client, &puller.store, &lease, &reference, keyring, &none);
    pushing.await.map(drop).map_err(|error| error.to_string())
}

/// What comes of a request that is answered with these bytes, and no more where `is_all`; and the
/// other end of its connection.
async fn answered(
    client: &Client,
    bytes: &[u8],
    is_all: bool,
) -> (Url, TcpStream, Result<Response<Incoming>, RegistryError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address");
    let url = Url::parse(&format!("http://{host}/v2/")).expect("a URL");
    let request = Request::get("/v2/").body(transfer::empty());
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let asked = stream.read(&mut [0; 4096]).await.expect("a request");
        assert!(asked > 0, "it hung up");
        stream.write_all(bytes).await.expect("sent");
        if is_all {
            stream.shutdown().await.expect("ended");
        }
        stream
    };
    let sending = client
        .connections()
        .send(&url.target, request.expect("a request"));
    let (stream, sent) = tokio::join!(answering, sending);
    (url, stream, sent)
}

#[tokio::test]
async fn an_alert_of_tls_is_told_and_what_is_no_http_may_pass() {
    let cases: [(&[u8], bool); 4] = [
        (&[21, 3, 1, 0, 2, 2, 80], true),
        (b"SSH-2.0-OpenSSH\r\n", false),
        (b"HTTP/1.1 20", false),
        (b"", false),
    ];
    for (bytes, is_tls) in cases {
        let client = Client::new(Hosts::plain());
        let (_, _stream, sent) = answered(&client, bytes, true).await;
        let error = sent.expect_err("no HTTP");
        assert_eq!(error.may_pass(), !is_tls, "{error}");
        let told = error.to_string().contains("name it with https://");
        assert_eq!(told, is_tls, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_error_is_not_waited_for_long() {
    let head = b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\n";
    let client = Client::new(Hosts::plain());
    let (url, _stream, sent) = answered(&client, head, false).await;
    let begun = tokio::time::Instant::now();
    let error = session::busy(&url, sent.expect("a head")).await;
    let took = begun.elapsed();
    let range = limits::ERROR_WAIT..2 * limits::ERROR_WAIT;
    assert!(range.contains(&took), "{took:?}");
    assert!(error.to_string().contains("try again in 7 s"), "{error}");
}

#[test]
fn waits_grow_and_end() {
    let busy = |after| RegistryError::Busy {
        url: String::new(),
        status: http::StatusCode::TOO_MANY_REQUESTS,
        said: String::new(),
        after,
    };
    let seconds = std::time::Duration::from_secs;
    let millis = std::time::Duration::from_millis;
    let cases = [
        (busy(None), 1, Some(millis(500))),
        (busy(None), 3, Some(seconds(2))),
        (busy(None), limits::TRIES, None),
        (busy(Some(seconds(7))), 1, Some(seconds(7))),
        (busy(Some(seconds(0))), 2, Some(seconds(1))),
        (busy(Some(seconds(61))), 1, None),
    ];
    for (error, tries, wanted) in cases {
        assert_eq!(session::wait(&error, tries), wanted, "{error} {tries}");
    }
}

#[tokio::test]
async fn answers_without_end_are_not_kept() {
    let fake = Fake::start().await;
    let large = vec![b' '; usize::try_from(limits::MANIFEST).expect("small") + 10];
    fake.intercept(move |_| Some(Reply::new(200).body(&large)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("larger than"), "{error}");
    let large = vec![b'x'; usize::try_from(limits::ERROR_BODY).expect("small") + 10];
    fake.intercept(move |_| Some(Reply::new(400).body(&large)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("400") && error.len() < 500, "{error}");
}

#[test]
fn a_connection_counts_that_brings_what_one_has_to() {
    let cases = [
        (0, limits::PACE, 1),
        (4, limits::PACE, 1),
        (4, limits::PACE - 1, 5),
        (0, 1, 1),
        (1, 1, 2),
        (1, 0, 2),
    ];
    for (tries, came, wanted) in cases {
        assert_eq!(pull::fruitless(tries, came), wanted, "{tries} {came}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up() {
    let tries = usize::try_from(limits::TRIES).expect("few");
    for (what, asked_for) in [("/blobs/", tries), ("/manifests/", 1)] {
        let fake = Fake::start().await;
        let (_, layer) = fake.artifact("app", "1", &[7; 100_000]);
        let drips = move |asked: &Asked| {
            let is_layer = asked.path.ends_with(layer.hex());
            asked.path.contains(what) && (is_layer || what != "/blobs/")
        };
        let is_it = drips.clone();
        let puller = Puller::new();
        let taken = puller.taken.clone();
        fake.intercept(move |asked| {
            let whole = Reply::new(200).body(&[7; 100_000]).drip(0);
            let is_blob = asked.path.contains("/blobs/");
            let whole = if is_blob { whole.by(1, &taken) } else { whole };
            is_it(asked).then_some(whole)
        });
        let error = puller.refused(&format!("{}/app:1", fake.host)).await;
        assert!(error.contains("next to nothing came for 60 s"), "{error}");
        assert_eq!(fake.count(drips), asked_for, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_comes_too_slowly_on_the_whole_is_given_up() {
    let fake = Fake::start().await;
    let content = vec![7; 1 << 20];
    let (_, layer) = fake.artifact("app", "1", &content);
    let blob = format!("/blobs/{layer}");
    let pace = usize::try_from(limits::PACE).expect("small");
    let puller = Puller::new();
    let (path, slow, taken) = (blob.clone(), content.clone(), puller.taken.clone());
    fake.intercept(move |asked| {
        // Twice what a connection has to bring to be no silent one.
        let reply = || fake::ranged(asked, &slow).drip(0).by(pace, &taken);
        asked.path.ends_with(&path).then(reply)
    });
    let reference = format!("{}/app:1", fake.host);
    let begun = tokio::time::Instant::now();
    let error = puller.refused(&reference).await;
    let took = begun.elapsed();
    let range = limits::BLOB_START..2 * limits::BLOB_START;
    assert!(range.contains(&took), "{took:?}: {error}");
    for part in [fake.host.as_str(), layer.hex(), "32768", "hosts.toml"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let is_blob = |asked: &Asked| asked.path.ends_with(&blob);
    assert_eq!(fake.count(is_blob), 1, "and not asked again");
    // What came was kept, and others may bring the rest.
    fake.intercept(|_| None);
    puller.pull(&reference).await.expect("pulled");
    assert_eq!(fake.count(|asked| asked.header("range").is_some()), 1);
}

#[tokio::test(start_paused = true)]
async fn how_slow_a_blob_may_be() {
    let (start, pace) = (limits::BLOB_START, limits::BLOB_PACE);
    let seconds = std::time::Duration::from_secs;
    let cases = [
        (0, seconds(0), None),
        (0, start, None),
        (0, start + seconds(1), Some(0)),
        (pace, start + seconds(1), None),
        (
            100 * pace - 1,
            start + seconds(100),
            Some((100 * pace - 1) / 700),
        ),
        (100 * pace, start + seconds(100), None),
    ];
    for (came, after, wanted) in cases {
        let mut paced = pull::Pace::new();
        let now = tokio::time::Instant::now() + after;
        paced.came(came);
        assert_eq!(paced.too_slow(now), wanted, "{came} in {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_but_comes_is_taken() {
    let fake = Fake::start().await;
    let content = [7; 40_000];
    let (_, layer) = fake.artifact("app", "1", &content);
    let blob = format!("/blobs/{layer}");
    let puller = Puller::new();
    let taken = puller.taken.clone();
    fake.intercept(move |asked| {
        let is_it = asked.path.ends_with(&blob);
        // Next to nothing is as good as a broken line, of which what came is kept.
        let reply = || fake::ranged(asked, &content).drip(20_000).by(1, &taken);
        is_it.then(reply)
    });
    let image = puller.pull(&format!("{}/app:1", fake.host)).await;
    image.expect("in two stretches");
    assert_eq!(fake.count(|asked| asked.header("range").is_some()), 1);
}

#[tokio::test]
async fn documents_that_were_changed_on_the_disk_are_fetched_again() {
    let fake = Fake::start().await;
    // Of a configuration that is read, as an ordinary image has it.
    let layer = testing::tar(&[testing::Entry::File("app.wasm", b"\0asm\x01\0\0\0")]);
    let reference = fake.image("app", "1", &layer);
    let puller = Puller::new();
    let image = puller.pull(&reference).await.expect("pulled");
    for digest in [&image.digest, &image.manifest.config.digest] {
        let path = puller.store.blob_path(digest);
        let right = fs::read(&path).expect("it");
        fs::write(&path, vec![b' '; right.len()]).expect("changed");
        puller.pull(&reference).await.expect("pulled again");
        assert_eq!(fs::read(&path).expect("it"), right);
    }
}
