//! Http servers and clients of `wasi:http`, with curl on the other side.

mod crowd;
mod curl;
mod https;
mod https2;
mod multiplexed;
mod outgoing;
mod stopping;
mod unread;
mod version3;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use self::curl::{Answer, Curl, has_curl};
use crate::harness::{Line, PATIENCE, PLACEMENTS, Pod, Run, Running, guest, skip};

/// Where the guest listens.
const PORT: u16 = 8080;

/// A uid without rights or files of its own.
const NOBODY: u32 = 65534;

/// Servers of WASI 0.2 and 0.3 that answer the same.
const SERVERS: [&str; 2] = ["http", "http3"];

/// A server of WASI 0.2 in the pod `p` as its container `c`; with further fields.
fn server(fields: Value) -> Pod {
    server_of("http", fields)
}

/// The same with another guest, ready when it answers.
fn server_of(guest: &str, fields: Value) -> Pod {
    let mut all = json!({
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/hello", "port": PORT}, "periodSeconds": 1},
    });
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    Pod::one(guest, &[], all).spec(json!({"terminationGracePeriodSeconds": 8}))
}

/// Starts a run and waits until its pod `p` is ready.
fn start(run: Run) -> anyhow::Result<(Running, SocketAddr)> {
    let mut running = run.start()?;
    let address = running.wait_ready("p")?;
    Ok((running, SocketAddr::new(address, PORT)))
}

/// Stops a run, whose server must end by itself.
fn stop(running: Running) -> anyhow::Result<()> {
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    let transcript = ended.said.transcript();
    let end = ended.said.terminated("p", "c");
    ensure!(
        end["exitCode"] == 0 && end["reason"] == "Completed",
        "{transcript}"
    );
    ensure!(
        ended.said.container("p", "c")["restartCount"] == 0,
        "{transcript}"
    );
    Ok(())
}

#[test]
fn each_request_has_an_instance_of_its_own() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for (guest, placement) in SERVERS
        .into_iter()
        .flat_map(|guest| PLACEMENTS.map(|at| (guest, at)))
    {
        let run = Run::of(server_of(guest, Value::Null))?.placed(placement);
        let (running, address) = start(run)?;
        let placement = format!("{guest}, {placement}");
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let curl = || Curl::new().args([version]);
            for id in ["one", "two"] {
                let answer = curl().field("x-id", id).get(address, "/hello")?;
                ensure!(answer.status == 200, "{placement} {version}: {answer:?}");
                ensure!(
                    answer.body == format!("hello 1 {id}\n"),
                    "{placement}: {answer:?}"
                );
            }
        }
        let thrice = Curl::new().get_all(address, &["/hello", "/hello", "/hello"])?;
        ensure!(
            thrice == "hello 1 \nhello 1 \nhello 1 \n",
            "{placement}: {thrice:?}"
        );
        stop(running)?;
    }
    Ok(())
}

#[test]
fn an_instance_serves_as_many_requests_as_the_pod_says() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let reuse = json!({"annotations": {"wasmpod.dev/http-reuse": "3"}});
        // No probe, whose requests would count too.
        let pod = server_of(
            guest,
            json!({"readinessProbe": {"tcpSocket": {"port": PORT}}}),
        );
        let (running, address) = start(Run::of(pod.metadata(reuse))?)?;
        // One that has trapped serves nobody again.
        Curl::new().get(address, "/trap")?;
        let told = Curl::new().get(address, "/hello")?;
        ensure!(told.body == "hello 1 \n", "{told:?}");
        // The end of an answer may be here before its instance is free again; another one serves then.
        let told = Curl::new().get_all(address, &["/hello"; 20])?;
        let of = |count| told.matches(&format!("hello {count} \n")).count();
        ensure!(of(1) + of(2) + of(3) == 20, "{told:?}");
        // The first may be the second of the instance above.
        let is_in_turn = of(1) + 1 >= of(2) && of(2) >= of(3);
        ensure!(of(2) > 0 && is_in_turn, "{told:?}");
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_guest_has_its_request_its_variables_and_its_volumes() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let config =
            "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {note: written}}\n";
        let pod = server_of(
            guest,
            json!({
                "env": [{"name": "NAME", "value": "Ada"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }),
        );
        let pod = pod.spec(json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}));
        let (running, address) = start(Run::of(format!("{config}{pod}"))?)?;
        let get = |path| Curl::new().get(address, path);
        ensure!(get("/env/NAME")?.body == "Ada");
        ensure!(get("/file/v/note")?.body == "written");
        let head = Curl::new()
            .field("x-id", "7")
            .get(address, "/head?q=1")?
            .body;
        ensure!(head.contains("path /head?q=1\n"), "{head}");
        ensure!(head.contains(&format!("authority {address}\n")), "{head}");
        ensure!(
            head.contains("x-id: 7\n") && !head.contains("connection"),
            "{head}"
        );
        stop(running)?;
    }
    Ok(())
}

#[test]
fn bodies_of_any_length_go_both_ways() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        // More than all buffers on the way hold.
        let length = 20 << 20;
        let sent = running.home().join("sent");
        std::fs::write(&sent, vec![b'e'; length])?;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let body = format!("@{}", sent.display());
            let curl = Curl::new().args([version, "--data-binary", &body, "--header", "Expect:"]);
            let answer = curl.get(address, "/echo")?;
            let is_whole = answer.body.len() == length && answer.body.bytes().all(|b| b == b'e');
            ensure!(is_whole, "{version}: {} bytes came back", answer.body.len());
            let answer = Curl::new().args([version]).get(address, "/big/3000000")?;
            ensure!(
                answer.body.len() == 3_000_000,
                "{version}: {}",
                answer.body.len()
            );
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn head_has_the_answer_of_get_without_its_body() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            // Of a long body the guest gets rid too; of ours there is only the length.
            for (path, status) in [("/hello", 200), ("/big/3000000", 200), ("/trap", 500)] {
                let curl = Curl::new().args([version, "--head"]);
                let answer = curl.get(address, path)?;
                let is_bare = answer.status == status && answer.body.is_empty();
                ensure!(is_bare, "{version} {path}: {answer:?}");
            }
        }
        // A second request finds its head where the first one's body would have been. (Of HTTP/2 without
        // TLS curl asks only once on a connection.)
        let twice = Curl::new().args(["--http1.1", "--head"]);
        let heads = twice.get_all(address, &["/hello", "/hello"])?;
        ensure!(heads.matches(" 200").count() == 2, "{heads}");
        stop(running)?;
    }
    Ok(())
}

#[test]
fn trailers_go_both_ways() -> anyhow::Result<()> {
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            b"POST /echo HTTP/1.1\r\nHost: p\r\nTE: trailers\r\nTrailer: x-sum\r\n\
              Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
              5\r\nfirst\r\n6\r\nsecond\r\n0\r\nx-sum: 11\r\n\r\n",
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        ensure!(
            answer.contains("first") && answer.contains("second"),
            "{answer}"
        );
        ensure!(answer.ends_with("0\r\nx-sum: 11\r\n\r\n"), "{answer}");
        stop(running)?;
    }
    Ok(())
}

#[test]
fn what_a_guest_writes_is_sent_before_it_ends() -> anyhow::Result<()> {
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // The whole takes ten minutes.
        stream.write_all(b"GET /pieces/6000/100 HTTP/1.1\r\nHost: p\r\n\r\n")?;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("piece 2\n") {
            let mut some = [0; 4096];
            let count = stream.read(&mut some)?;
            ensure!(count > 0, "it ended: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&some[..count]);
        }
        // The guest learns that its client is gone.
        drop(stream);
        let mut running = running;
        running.wait_log("p", "c", "the client has left at piece")?;
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_guest_that_gives_no_answer_is_answered_for_and_the_server_goes_on() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (mut running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        for (path, status, told) in [
            ("/trap", 500, "failed"),
            ("/nothing", 500, "without an answer"),
            ("/error", 403, "no answer"),
            ("/wordy", 500, "word word"),
            ("/early", 500, "a status of 1xx is no answer"),
            ("/exit", 500, "failed"),
        ] {
            // What one of 0.3 returns is its answer.
            if path == "/nothing" && guest == "http3" {
                continue;
            }
            let answer: Answer = Curl::new().get(address, path)?;
            ensure!(answer.status == status, "{path}: {answer:?}");
            ensure!(answer.body.contains(told), "{path}: {answer:?}");
            ensure!(answer.body.len() < 2000, "{path}: {}", answer.body.len());
            ensure!(Curl::new().get(address, "/hello")?.body == "hello 1 \n");
        }
        running.wait_log("p", "c", "GET /trap: wasm trap: wasm `unreachable`")?;
        if guest == "http" {
            running.wait_log("p", "c", "GET /nothing: it ended without an answer")?;
        }
        // Half of an answer is never taken for the whole.
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let code = Curl::new().args([version]).fails(address, "/cut")?;
            ensure!(
                code == 18 || code == 92,
                "{version}: curl ended with {code}"
            );
        }
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        stop(running)?;
    }
    Ok(())
}

#[test]
fn an_answer_longer_than_it_declares_is_cut_and_told() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (mut running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let curl = Curl::new().args([version]);
            if guest == "http" {
                let answer = curl.get(address, "/long")?;
                ensure!(answer.body == "more", "{version}: {answer:?}");
            } else {
                // One of 0.3 is kept from sending a piece that is too long, and so any of it.
                curl.fails(address, "/long")?;
            }
            let told = "GET /long: its answer's body is not as long as its Content-Length says";
            running.wait_log("p", "c", told)?;
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn requests_for_which_there_is_no_memory_wait_for_their_turn() -> anyhow::Result<()> {
    for guest in SERVERS {
        let limits = json!({
            "resources": {"limits": {"memory": "32Mi"}},
            // No probe, which would be in line too.
            "readinessProbe": {"tcpSocket": {"port": PORT}},
        });
        let (running, address) = start(Run::of(server_of(guest, limits))?)?;
        // Half of a request takes an instance, until the other half is there. Its head takes
        // memory too.
        let filling = format!("x-filling: {}\r\n", "f".repeat(500)).repeat(100);
        let half =
            format!("POST /count HTTP/1.1\r\nHost: p\r\n{filling}Content-Length: 10\r\n\r\nx");
        let mut halves = Vec::new();
        for _ in 0..80 {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(half.as_bytes())?;
            halves.push(stream);
        }
        for stream in &mut halves {
            stream.write_all(b"123456789")?;
            // It has said all that it says, and waits for its answer.
            stream.shutdown(Shutdown::Write)?;
        }
        for mut stream in halves {
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{guest}: {answer}");
            ensure!(answer.contains("10\n"), "{guest}: {answer}");
        }
        stop(running)?;
    }
    Ok(())
}

#[test]
fn an_answer_of_http_1_0_without_a_length_does_not_promise_to_keep_its_connection()
-> anyhow::Result<()> {
    let (running, address) = start(Run::of(server(Value::Null))?)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("connection: close\r\n"), "{answer}");
    ensure!(answer.ends_with("\r\n\r\nhello 1 \n"), "{answer}");
    stop(running)
}

#[test]
fn who_has_said_all_and_closes_his_side_gets_his_answer() -> anyhow::Result<()> {
    for guest in SERVERS {
        let (running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /pause/300 HTTP/1.1\r\nHost: p\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let is_whole = answer.starts_with("HTTP/1.1 200 ") && answer.contains("slow\n");
        ensure!(is_whole, "{guest}: {answer}");
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_guest_that_computes_holds_up_no_other() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let (mut running, address) = start(Run::of(server_of(guest, Value::Null))?)?;
        let spinning = Curl::new().spawn(address, "/spin")?;
        running.wait_log("p", "c", "spin begins")?;
        for _ in 0..10 {
            let answer = Curl::new().get(address, "/hello")?;
            ensure!(answer.body == "hello 1 \n", "{answer:?}");
        }
        // It has the grace period, and no longer.
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        drop(spinning);
        let transcript = ended.said.transcript();
        ensure!(
            ended.said.terminated("p", "c")["exitCode"] == 137,
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn requests_that_take_too_much_memory_together_end_the_container() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for guest in SERVERS {
        let limit = json!({"resources": {"limits": {"memory": "64Mi"}}});
        let (running, address) = start(Run::of(server_of(guest, limit))?)?;
        // Answered or not, depending on which of the two is quicker.
        drop(Curl::new().spawn(address, "/hoard")?.answer());
        let ended = running.finish()?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        ensure!(
            end["reason"] == "OOMKilled" && end["exitCode"] == 137,
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_server_that_declares_no_port_is_reached_at_the_usual_one() -> anyhow::Result<()> {
    if !has_curl() {
        return skip("there is no curl");
    }
    for user in [None, Some(NOBODY)] {
        if user.is_some() && !rustix::process::geteuid().is_root() {
            return skip("needs root to become another user: run `cargo xtask test` as root");
        }
        for placement in PLACEMENTS {
            let probe = json!({"readinessProbe": {"httpGet": {"path": "/hello", "port": PORT}}});
            let mut run = Run::of(Pod::one("http", &[], probe))?.placed(placement);
            if let Some(user) = user {
                run = run.by_user(user)?;
            }
            let (running, address) = start(run)?;
            let answer = Curl::new().get(address, "/hello")?;
            ensure!(
                answer.body == "hello 1 \n",
                "{user:?} {placement}: {answer:?}"
            );
            stop(running)?;
        }
    }
    Ok(())
}

#[test]
fn a_server_is_no_program_that_exec_could_run() -> anyhow::Result<()> {
    for guest in SERVERS {
        let own = format!("{guest}.wasm");
        let hook = json!({"lifecycle": {"postStart": {"exec": {"command": [own]}}}});
        let ended = Run::of(server_of(guest, hook))?.finish()?;
        let transcript = ended.said.transcript();
        ensure!(
            transcript.contains("the container is an http server"),
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_server_that_has_started_answers_its_hook() -> anyhow::Result<()> {
    let get = json!({"httpGet": {"path": "/hello", "port": PORT}});
    for (guest, placement) in SERVERS
        .into_iter()
        .flat_map(|guest| PLACEMENTS.map(|at| (guest, at)))
    {
        let hook = json!({"lifecycle": {"postStart": get}});
        let (running, _) = start(Run::of(server_of(guest, hook))?.placed(placement))?;
        stop(running).with_context(|| format!("{guest}, {placement}"))?;
    }
    Ok(())
}

/// Nobody would find it otherwise: its address is chosen by the run.
#[test]
fn a_server_without_a_manifest_tells_where_it_is() -> anyhow::Result<()> {
    let wasm = guest("http")?.to_string_lossy().into_owned();
    let mut running = Run::new()?.for_a_person().args([&*wasm]).start()?;
    let address: SocketAddr = running.wait_for("the address", |line| match line {
        Line::Text(text) => {
            let (_, address) = text.split_once("Listening: The http server listens at http://")?;
            address.parse().ok()
        }
        _ => None,
    })?;
    ensure!(address.port() == PORT, "{address}");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /hello HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    ensure!(ended.code == Some(130), "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn a_port_belongs_to_one_server_of_a_pod() -> anyhow::Result<()> {
    let ports = || json!({"ports": [{"containerPort": PORT}]});
    let pod = Pod::new("p")
        .container("c", "http", &[], ports())
        .container("d", "http", &[], json!({}));
    let mut running = Run::of(pod)?.start()?;
    let ended = ["c", "d"];
    let status = running.wait_for("one that ends", |line| {
        let status = line.status("p")?;
        let of = |name: &&str| {
            let list = status["containerStatuses"].as_array()?;
            let found = list.iter().find(|status| status["name"] == **name)?;
            let end = &found["state"]["terminated"];
            end.is_object().then(|| end.clone())
        };
        ended.iter().find_map(of)
    })?;
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("cannot listen at port 8080"), "{status}");
    ensure!(message.contains("containerPort of its own"), "{status}");
    ensure!(
        status["reason"] == "StartError" && status["exitCode"] == 128,
        "{status}"
    );
    // Told while the other goes on.
    let told = running.wait_for("the event", |line| {
        let event = line.event("p", "Failed")?;
        event["message"].as_str().map(str::to_owned)
    })?;
    ensure!(told.contains("cannot listen at port 8080"), "{told}");
    running.signal(Signal::INT)?;
    running.finish()?;
    Ok(())
}
