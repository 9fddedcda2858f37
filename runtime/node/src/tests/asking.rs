//! Probes, hooks and commands.

use std::io::{Read as _, Write as _};

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::container::{Port, Protocol};
use model::probe::{Handler, HttpGet, PortRef, Probe};
use model::runtime::{RuntimeError, Stream};

use super::*;

fn probe(handler: Handler) -> Probe {
    Probe {
        handler,
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 2,
        grace_period: None,
    }
}

fn exec(command: &str) -> Handler {
    Handler::Exec(vec![command.to_owned()])
}

fn http(port: PortRef) -> Handler {
    Handler::HttpGet(HttpGet {
        https: false,
        host: None,
        port,
        path: "/healthz".to_owned(),
        headers: vec![("X-Probe".to_owned(), "1".to_owned())],
    })
}

/// Reads a request's head and answers with this.
fn serve(answer: &'static str) -> impl Fn(std::os::unix::net::UnixStream) + Send + Sync {
    move |mut stream| {
        std::thread::spawn(move || {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let known = head.contains("x-probe: 1") && head.contains("user-agent: kube-probe/");
            let answer = if known {
                answer
            } else {
                "HTTP/1.1 400 No\r\n\r\n"
            };
            // A probe that has gone away needs no answer.
            let _ = stream.write_all(answer.as_bytes());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_kills_and_the_container_restarts() {
    let mut world = World::new();
    world
        .fake
        .program("check", &[Program::Exits(Duration::ZERO, "sick\n", 1)]);
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].liveness = Some(probe(exec("check")));
    let handle = world.node.run_pod(spec);
    let mut reports = handle.report();
    reports
        .wait_for(|report| report.status.containers[0].restart_count == 1)
        .await
        .unwrap();
    assert_eq!(
        world.fake.orders_of("create"),
        ["0 create app", "11 create app"]
    );
    let told = world.told();
    assert!(told.contains(&"Unhealthy app: Liveness probe failed: sick\n".to_owned()));
    assert!(told.contains(
        &"Killing app: Container app failed liveness probe, will be restarted".to_owned()
    ));
    // A probe's command is removed when it has ended.
    assert_eq!(world.fake.orders_of("remove")[0], "0 remove other");
    handle.kill();
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_has_failed_and_is_removed() {
    let mut world = World::new();
    world.fake.program("check", &[Program::Serves]);
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].readiness = Some(probe(exec("check")));
    let handle = world.node.run_pod(spec);
    until(&handle, "Running").await;
    pass(2).await;
    assert_eq!(
        world.told().last().unwrap(),
        "Unhealthy app: Readiness probe failed: command timed out: \"check\" timed out after 1s"
    );
    assert_eq!(world.fake.orders_of("remove"), ["1 remove other"]);
    let missing = RuntimeError::CommandNotFound("check: not found; there are: sh".to_owned());
    world.fake.refuse("exec check", &[missing]);
    pass(9).await;
    assert_eq!(
        world.told().last().unwrap(),
        "Unhealthy app: Readiness probe failed: check: not found; there are: sh"
    );
    handle.kill();
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_slow_to_begin_is_not_called_off() {
    let mut world = World::new();
    // The first command of its kind may have to be compiled.
    world.fake.slow("exec check", Duration::from_secs(4));
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].readiness = Some(probe(exec("check")));
    let handle = world.node.run_pod(spec);
    until(&handle, "Running").await;
    pass(5).await;
    assert!(world.told().last().unwrap().ends_with("timed out after 1s"));
    let orders = world.fake.orders();
    let last: Vec<&str> = orders.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, ["4 remove other", "4 ran check"]);
    handle.kill();
    handle.ended().await;
}

// Sockets and paused time do not go together: a clock that goes on when all tasks wait does not
// know of a socket that is about to be ready.
#[tokio::test]
async fn http_probes_ask_the_pod() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true, ""),
        ("HTTP/1.1 299 Fine\r\ncontent-length: 0\r\n\r\n", true, ""),
        (
            "HTTP/1.1 399 Hm\r\ncontent-length: 2\r\n\r\nhm",
            true,
            "Readiness probe warning: Probe terminated redirects, Response body: hm",
        ),
        (
            "HTTP/1.1 301 Nowhere\r\ncontent-length: 0\r\n\r\n",
            true,
            "Readiness probe warning: Probe terminated redirects, Response body: ",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 3\r\n\r\nbye",
            true,
            "Readiness probe warning: Probe terminated redirects, Response body: bye",
        ),
        (
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            false,
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        ),
    ];
    for (answer, good, words) in cases {
        let mut world = World::new();
        world.fake.listen(8080, serve(answer));
        let mut spec = pod(RestartPolicy::Always, &["app"]);
        spec.containers[0].ports = vec![Port {
            name: Some("web".to_owned()),
            container_port: 8080,
            host_port: None,
            host_ip: None,
            protocol: Protocol::Tcp,
        }];
        spec.containers[0].readiness = Some(probe(http(PortRef::Name("web".to_owned()))));
        let handle = world.node.run_pod(spec);
        if good {
            ready(&handle).await;
        }
        if !words.is_empty() {
            assert_eq!(next_of(&mut world, "Readiness").await, words);
        }
        handle.kill();
        handle.ended().await;
    }
}

/// Follows one redirect on the same host.
#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let world = World::new();
    let found = "HTTP/1.1 302 Found\r\nlocation: /ready\r\ncontent-length: 0\r\n\r\n";
    let good = "HTTP/1.1 204 Good\r\n\r\n";
    let asked = Mutex::new(0);
    world.fake.listen(80, move |stream| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        serve(if *asked == 1 { found } else { good })(stream);
    });
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].readiness = Some(probe(http(PortRef::Number(80))));
    let handle = world.node.run_pod(spec);
    ready(&handle).await;
    handle.kill();
    handle.ended().await;
}

/// Answers one health call with this status.
fn serve_health(status: u8) -> impl Fn(std::os::unix::net::UnixStream) + Send + Sync {
    move |stream| {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let answer = move |request: http::Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(&asked[..], [0, 0, 0, 0, 4, 0x0a, 2, b'd', b'b']);
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let frame = Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
            let body = Full::new(frame).with_trailers(async move { Some(Ok(trailers)) });
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        };
        tokio::spawn(async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let service = hyper::service::service_fn(answer);
            // It ends when the probe has its answer and closes.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[tokio::test]
async fn grpc_probes_speak_the_health_protocol() {
    let failed = "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")";
    for (status, words) in [(1, ""), (2, failed)] {
        let mut world = World::new();
        world.fake.listen(9000, serve_health(status));
        let mut spec = pod(RestartPolicy::Always, &["app"]);
        spec.containers[0].readiness = Some(probe(Handler::Grpc {
            port: 9000,
            service: "db".to_owned(),
        }));
        let handle = world.node.run_pod(spec);
        if words.is_empty() {
            ready(&handle).await;
        } else {
            assert_eq!(next_of(&mut world, "Readiness").await, words);
        }
        handle.kill();
        handle.ended().await;
    }
}

/// The message of the next Event that begins so.
async fn next_of(world: &mut World, beginning: &str) -> String {
    let mut event = world.events.recv().await.unwrap();
    while !event.message.starts_with(beginning) {
        event = world.events.recv().await.unwrap();
    }
    event.message.clone()
}

#[tokio::test]
async fn network_probes_say_what_failed() {
    let cases = [
        (
            http(PortRef::Number(80)),
            "Readiness probe failed: Get \"http://127.9.0.1:80/healthz\": dial tcp 127.9.0.1:80: connect: connection refused",
        ),
        (
            Handler::TcpSocket {
                host: None,
                port: PortRef::Number(81),
            },
            "Readiness probe failed: dial tcp 127.9.0.1:81: connect: connection refused",
        ),
        (
            Handler::Grpc {
                port: 82,
                service: String::new(),
            },
            "Readiness probe failed: dial tcp 127.9.0.1:82: connect: connection refused",
        ),
        (
            http(PortRef::Name("web".to_owned())),
            "Readiness probe errored and resulted in unknown state: couldn't find port: \"web\" in container app",
        ),
    ];
    for (handler, words) in cases {
        let mut world = World::new();
        let mut spec = pod(RestartPolicy::Always, &["app"]);
        spec.containers[0].readiness = Some(probe(handler));
        let handle = world.node.run_pod(spec);
        assert_eq!(next_of(&mut world, "Readiness").await, words);
        handle.kill();
        handle.ended().await;
    }
}

#[tokio::test]
async fn an_http_hook_takes_any_answer() {
    let world = World::new();
    world
        .fake
        .listen(80, serve("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"));
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.containers[0].post_start = Some(http(PortRef::Number(80)));
    let handle = world.node.run_pod(spec.clone());
    ready(&handle).await;
    handle.kill();
    handle.ended().await;
    let mut world = World::new();
    let handle = world.node.run_pod(spec);
    let told = next_of(&mut world, "PostStartHook").await;
    assert_eq!(
        told,
        "PostStartHook failed: Get \"http://127.9.0.1:80/healthz\": dial tcp 127.9.0.1:80: connect: connection refused"
    );
    handle.kill();
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn commands_run_beside_a_container() {
    let world = World::new();
    world.fake.program(
        "cat /x",
        &[Program::Exits(Duration::from_secs(1), "content", 3)],
    );
    let handle = world.node.run_pod(pod(RestartPolicy::Always, &["app"]));
    ready(&handle).await;
    let request = |command: &[&str]| ExecRequest {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..ExecRequest::default()
    };
    let mut running = handle.exec(request(&["cat", "/x"])).await.unwrap();
    let (stream, chunk) = running.output.recv().await.unwrap();
    assert_eq!((stream, &chunk[..]), (Stream::Stdout, &b"content"[..]));
    assert!(running.output.recv().await.is_none());
    assert_eq!(running.exit().await.code, 3);
    drop(running);

    // One whose asker leaves is removed, which ends it.
    let left = handle.exec(request(&["top"])).await.unwrap();
    drop(left);
    let missing = ExecRequest {
        container: Some("none".to_owned()),
        ..request(&["ls"])
    };
    let error = handle.exec(missing).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "container \"none\" of pod ns/pod is not running"
    );
    world.fake.refuse(
        "exec vi",
        &[RuntimeError::CommandNotFound("vi: not found".to_owned())],
    );
    let error = handle.exec(request(&["vi"])).await.err().unwrap();
    assert!(matches!(
        error,
        ExecError::Runtime(RuntimeError::CommandNotFound(_))
    ));
    handle
        .input("app", Some(Bytes::from_static(b"x")))
        .await
        .unwrap();
    assert_eq!(world.fake.orders_of("input").len(), 1);
    assert_eq!(world.fake.orders_of("remove").len(), 3);
    handle.stop(None);
    handle.ended().await;
    let error = handle.exec(request(&["ls"])).await.err().unwrap();
    assert_eq!(error.to_string(), "pod ns/pod has ended");
}
