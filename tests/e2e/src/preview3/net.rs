//! Sockets of WASI 0.3: the same network as everybody's, between its guests, with those of 0.2, and
//! from outside.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::harness::{Ended, PLACEMENTS, Pod, Run, fetch, is_refused, pods};
use crate::network::free_port;

/// Both versions, as the server's and the client's: one of them is 0.3.
const PAIRS: [[&str; 2]; 3] = [["net3", "net3"], ["net", "net3"], ["net3", "net"]];

/// The last word of a server's case that has none of its own.
const LISTENING: &str = "listening ";

/// Runs a program of WASI 0.3 to its end.
fn run(args: &[&str], fields: Value) -> anyhow::Result<Ended> {
    Run::of(Pod::one("net3", args, fields))?.finish()
}

/// What the container `c` of the only pod said, but for what its listeners did.
fn said(ended: &Ended) -> Vec<&str> {
    let logs = ended.said.logs("p", "c").into_iter();
    logs.filter(|log| !log.starts_with(LISTENING)).collect()
}

/// Two containers of one pod, as a server and its client.
fn beside([server, client]: [&str; 2], serve: &[&str], ask: &[&str]) -> Pod {
    Pod::new("p")
        .container("server", server, serve, Value::Null)
        .container("client", client, ask, Value::Null)
}

/// The number behind a word of a log line.
fn number_after(log: &str, word: &str) -> Option<u64> {
    let mut words = log.split(' ').skip_while(|at| *at != word);
    words.nth(1)?.parse().ok()
}

#[test]
fn programs_of_0_3_and_0_2_talk_to_each_other() -> anyhow::Result<()> {
    let at = "127.0.0.1:7000";
    // Server, client, what the client says, whichever version either is of.
    let cases: [(&[&str], &[&str], &str); 5] = [
        (
            &["echo", at],
            &["rtt", at, "300"],
            "round_trips 300 of 64 bytes",
        ),
        (
            &["half-serve", at],
            &["half", at, "1000000"],
            "answer received 1000000",
        ),
        (
            &["many-serve", at, "200"],
            &["many", at, "200"],
            "connections 200",
        ),
        (
            &["udp-echo", at, "1"],
            &["udp-ask", at, "question"],
            "answer question from 127.0.0.1:7000",
        ),
        (&["page", at, "a page", "1"], &["get", at], "a page"),
    ];
    for pair in PAIRS {
        for (serve, ask, word) in cases {
            let mut running = Run::of(beside(pair, serve, ask))?.start()?;
            let told = running.wait_log("p", "client", word);
            told.map_err(|error| error.context(format!("{pair:?} {serve:?}")))?;
        }
    }
    Ok(())
}

/// The stream that one socket receives from goes into the other direction as it is.
#[test]
fn a_stream_of_a_socket_may_be_handed_to_a_socket() -> anyhow::Result<()> {
    for client in ["net", "net3"] {
        let serve = ["mirror", "127.0.0.1:7000", "1"];
        let ask = ["rtt", "127.0.0.1:7000", "300", "100000"];
        let ended = Run::of(beside(["net3", client], &serve, &ask))?.finish()?;
        let transcript = ended.said.transcript();
        let logs = ended.said.logs("p", "client");
        assert!(
            logs.contains(&"round_trips 300 of 100000 bytes"),
            "{transcript}"
        );
        let logs = ended.said.logs("p", "server");
        assert!(logs.contains(&"mirrored ok ok"), "{transcript}");
    }
    Ok(())
}

#[test]
fn bytes_flow_between_pods_whole_and_in_order() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let ports = json!({"ports": [{"containerPort": 7000}]});
        let sink = Pod::new("sink").container("c", "net3", &["sink", "0.0.0.0:7000"], ports);
        let args = ["source", "sink:7000", "16", "1000"];
        let source = Pod::new("source").container("c", "net3", &args, Value::Null);
        let run = Run::of(pods([&sink, &source]))?.placed(placement);
        let ended = run.finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(0), "{placement}: {transcript}");
        let told = |pod, word| {
            let logs = ended.said.logs(pod, "c").into_iter();
            let found = logs.filter_map(|log| log.strip_prefix(word)).next();
            found.unwrap_or_default().trim().to_owned()
        };
        let (sent, received) = (told("source", "sent_bytes"), told("sink", "received_bytes"));
        assert!(
            sent.starts_with("16777216 sum "),
            "{placement}: {transcript}"
        );
        assert_eq!(sent, received, "{placement}: {transcript}");
    }
    Ok(())
}

#[test]
fn a_declared_port_is_reached_from_outside() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let ports = json!({"ports": [{"containerPort": 8080}]});
        let pod = Pod::one("net3", &["page", "0.0.0.0:8080", "a door"], ports);
        let mut running = Run::of(pod)?.placed(placement).start()?;
        running.wait_log("p", "c", LISTENING)?;
        let address = SocketAddr::new(running.wait_ready("p")?, 8080);
        for _ in 0..3 {
            let page = fetch(address, "/")?;
            assert!(page.starts_with("a door\npeer "), "{placement}: {page}");
            let local = format!("local {address}");
            assert!(page.contains(&local), "{placement}: {page}");
        }
        running.signal(rustix::process::Signal::INT)?;
        running.finish()?;
        assert!(is_refused(address)?, "{placement}: still served");
    }
    Ok(())
}

#[test]
fn a_program_on_the_hosts_network_listens_on_this_machine() -> anyhow::Result<()> {
    for guest in ["net", "net3"] {
        let address = format!("127.0.0.1:{}", free_port()?);
        let server = Pod::one("net3", &["page", &address, "on the host"], Value::Null)
            .spec(json!({"hostNetwork": true}));
        let client = Pod::new("client")
            .container("c", guest, &["get", &address], Value::Null)
            .spec(json!({"hostNetwork": true}));
        let mut running = Run::of(pods([&server, &client]))?.start()?;
        running.wait_log("p", "c", LISTENING)?;
        assert!(fetch(address.parse()?, "/")?.contains("on the host"));
        running.wait_log("client", "c", "on the host")?;
    }
    Ok(())
}

#[test]
fn the_containers_of_a_pod_share_one_port_space() -> anyhow::Result<()> {
    // Who holds the port, who asks for it, what is said.
    let cases = [
        ("net3", "net3", "AddressInUse"),
        ("net", "net3", "AddressInUse"),
        ("net3", "net", "AddrInUse"),
    ];
    for (holder, late, code) in cases {
        let pod = Pod::new("p")
            .init(
                "holder",
                holder,
                &["hold", "0.0.0.0:7000"],
                json!({
                    "restartPolicy": "Always",
                    "ports": [{"containerPort": 7000}],
                    "startupProbe": {"tcpSocket": {"port": 7000}, "periodSeconds": 1},
                }),
            )
            .container(
                "c",
                late,
                &["bind", "0.0.0.0:7000", "127.0.0.1:7000", "0.0.0.0:7001"],
                Value::Null,
            );
        let ended = Run::of(pod)?.finish()?;
        let expected = [
            format!("bind 0.0.0.0:7000 {code}"),
            format!("bind 127.0.0.1:7000 {code}"),
            "bind 0.0.0.0:7001 ok local 0.0.0.0:7001".to_owned(),
        ];
        assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    }
    Ok(())
}

#[test]
fn addresses_are_bound_as_far_as_they_are_the_pods() -> anyhow::Result<()> {
    let args = [
        "bind",
        "127.0.0.1:7001",
        "[::1]:7002",
        "8.8.8.8:7003",
        "[::ffff:127.0.0.1]:7004",
        "224.0.0.1:7005",
    ];
    let ended = run(&args, Value::Null)?;
    let expected = [
        "bind 127.0.0.1:7001 ok local 127.0.0.1:7001",
        "bind [::1]:7002 ok local [::1]:7002",
        "bind 8.8.8.8:7003 AddressNotBindable",
        "bind [::ffff:127.0.0.1]:7004 InvalidArgument",
        "bind 224.0.0.1:7005 InvalidArgument",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    let ended = run(&["rebind", "0.0.0.0:7000"], Value::Null)?;
    assert_eq!(said(&ended), ["bind 0.0.0.0:7000 ok"; 3]);
    let args = ["udp-bind", "127.0.0.1:7000", "127.0.0.1:7000", "8.8.8.8:53"];
    let ended = run(&args, Value::Null)?;
    let expected = [
        "udp-bind 127.0.0.1:7000 ok local 127.0.0.1:7000",
        "udp-bind 127.0.0.1:7000 AddressInUse",
        "udp-bind 8.8.8.8:53 AddressNotBindable",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    Ok(())
}

/// Whoever finds the backlog full is refused, as in memory everybody is.
#[test]
fn a_backlog_is_as_long_as_the_guest_says() -> anyhow::Result<()> {
    let serve = ["hold", "127.0.0.1:7000", "5"];
    let ask = ["crowd", "127.0.0.1:7000", "20"];
    let mut running = Run::of(beside(["net3", "net3"], &serve, &ask))?.start()?;
    running.wait_log("p", "client", "refused after 5 ConnectionRefused")?;
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_holds_its_writer() -> anyhow::Result<()> {
    for server in ["net", "net3"] {
        let serve = ["stall", "127.0.0.1:7000"];
        let ask = ["push", "127.0.0.1:7000"];
        let mut running = Run::of(beside([server, "net3"], &serve, &ask))?.start()?;
        let told = running.wait_log("p", "client", "taken ")?;
        let taken = number_after(&told, "taken").unwrap_or_default();
        assert!((1..=4 * 1024 * 1024).contains(&taken), "{server}: {told}");
        assert!(told.contains("Cancelled"), "{told}");
    }
    Ok(())
}

#[test]
fn sockets_say_what_their_state_does_not_allow() -> anyhow::Result<()> {
    let ended = run(&["states"], Value::Null)?;
    let expected = [
        "fresh local InvalidState",
        "fresh remote InvalidState",
        "fresh receive InvalidState",
        "fresh taken 3",
        "fresh send InvalidState",
        "listener connect InvalidState",
        "listener listen InvalidState",
        "listener bind InvalidState",
        "to 0.0.0.0:80 InvalidArgument",
        "to 127.0.0.1:0 InvalidArgument",
        "to [::1]:80 InvalidArgument",
        "to 224.0.0.1:80 InvalidArgument",
        "connect ok",
        "connected connect InvalidState",
        "connected listen InvalidState",
        "connected backlog InvalidState",
        "receive again InvalidState",
        "send again InvalidState",
        "refused ConnectionRefused",
        "closed connect InvalidState",
        "closed local InvalidState",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn a_socket_lives_as_long_as_anything_of_it() -> anyhow::Result<()> {
    let ended = run(&["shares"], Value::Null)?;
    let expected = [
        "socket alone ok",
        "neither ConnectionRefused",
        "connections alone ok",
        "no more ConnectionRefused",
        "streams alone still there",
        "bind again ok",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn streams_may_be_dropped_at_any_time() -> anyhow::Result<()> {
    let ended = run(&["dropped"], Value::Null)?;
    let expected = [
        "reader ended ok",
        "onward 0 onward",
        "writer ended ok",
        "end None",
        "received ok",
        "taken false sent ConnectionBroken",
        "read None ConnectionReset",
        "finished ok 100000",
        "unaccepted None ConnectionReset",
        "given up true Cancelled 0",
        "then in time",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn options_are_set_and_read() -> anyhow::Result<()> {
    let serve = ["echo", "127.0.0.1:7000", "1"];
    let ask = ["options", "127.0.0.1:7000"];
    let ended = Run::of(beside(["net3", "net3"], &serve, &ask))?.finish()?;
    let expected = [
        "set hop-limit ok",
        "hop-limit Some(42)",
        "set keep-alive ok",
        "keep-alive Some(true)",
        "set count InvalidArgument",
        "set buffer ok",
        "buffer Some(100000)",
        "set backlog InvalidState",
        "is-listening false",
    ];
    let logs = ended.said.logs("p", "client");
    assert_eq!(logs, expected, "{}", ended.said.transcript());
    Ok(())
}

#[test]
fn datagrams_go_to_a_peer_or_to_anybody() -> anyhow::Result<()> {
    let ended = run(&["udp-peer"], Value::Null)?;
    let expected = [
        "disconnect InvalidState",
        "send InvalidArgument",
        "large DatagramTooLarge",
        "connect ok",
        "received [2]",
        "to a stranger InvalidArgument",
        "to the peer ok",
        "again ok",
        "received [3]",
        "disconnect ok",
        "peer InvalidState",
    ];
    assert_eq!(said(&ended), expected, "{}", ended.said.transcript());
    // More calls than a socket wakes at once.
    let ended = run(&["udp-crowd", "200"], Value::Null)?;
    assert_eq!(said(&ended), ["received in order 200"]);
    Ok(())
}

#[test]
fn names_resolve_as_for_everybody() -> anyhow::Result<()> {
    let aliases = json!({
        "hostname": "web", "subdomain": "shop",
        "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["elsewhere.example"]}],
    });
    let args = [
        "resolve",
        "localhost",
        "web",
        "elsewhere.example",
        "192.0.2.9",
        "::ffff:192.0.2.9",
        "",
    ];
    let ended = Run::of(Pod::one("net3", &args, Value::Null).spec(aliases))?.finish()?;
    let (logs, transcript) = (said(&ended), ended.said.transcript());
    assert_eq!(logs.len(), 6, "{transcript}");
    let own = ended.said.status("p")["podIP"].as_str().unwrap_or("none");
    assert_eq!(logs[0], "resolve localhost 127.0.0.1 ::1", "{transcript}");
    let own = format!("resolve web {own} ");
    assert!(logs[1].starts_with(&own), "{transcript}");
    assert_eq!(logs[2], "resolve elsewhere.example 192.0.2.7");
    assert_eq!(logs[3], "resolve 192.0.2.9 192.0.2.9");
    assert_eq!(logs[4], "resolve ::ffff:192.0.2.9 192.0.2.9");
    assert!(logs[5].contains("InvalidArgument"), "{transcript}");
    Ok(())
}

#[test]
fn no_name_of_localhost_leads_to_a_server_of_this_machine() -> anyhow::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let port = server.local_addr()?.port();
    let refused = "ConnectionRefused";
    let cases = [
        ("127.0.0.1", refused),
        ("[::1]", refused),
        ("localhost", refused),
        ("sneaky", refused),
        // Its own address, where nobody listens.
        ("p", refused),
        // WASI has no other name for localhost.
        ("0.0.0.0", "InvalidArgument"),
        ("[::]", "InvalidArgument"),
        ("[::ffff:127.0.0.1]", "InvalidArgument"),
        ("169.254.169.254", "AccessDenied"),
    ];
    let addresses = cases.map(|(host, _)| format!("{host}:{port}"));
    for case in ["connect", "udp-send"] {
        let mut pod = Pod::new("p")
            .spec(json!({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["sneaky"]}]}));
        if case == "connect" {
            let mut args = vec!["connect"];
            args.extend(addresses.iter().map(String::as_str));
            pod = pod.container("c", "net3", &args, Value::Null);
        } else {
            for (number, address) in addresses.iter().enumerate() {
                let args = ["udp-send", address, "x"];
                pod = pod.container(&format!("c{number}"), "net3", &args, Value::Null);
            }
        }
        let ended = Run::of(pod)?.finish()?;
        let transcript = ended.said.transcript();
        for (number, ((_, code), address)) in cases.iter().zip(&addresses).enumerate() {
            if case == "connect" {
                let log = said(&ended).get(number).copied().unwrap_or_default();
                assert_eq!(log, format!("connect {address} {code}"), "{transcript}");
                continue;
            }
            let logs = ended.said.logs("p", &format!("c{number}"));
            let [log] = logs[..] else {
                panic!("{address}: {transcript}");
            };
            // Nobody tells the sender of a datagram that nobody was there.
            let ends = if *code == refused { "sent" } else { code };
            assert!(log.contains(ends), "{address}: {transcript}");
        }
    }
    let nobody = server
        .accept()
        .expect_err("a guest reached this machine's server");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    Ok(())
}

#[test]
fn a_datagram_cannot_be_sent_in_another_name() -> anyhow::Result<()> {
    for source in ["8.8.8.8:53", "192.0.2.1:53", "169.254.1.1:53"] {
        let ended = run(&["udp-send", "127.0.0.1:9999", "x", source], Value::Null)?;
        let transcript = ended.said.transcript();
        let end = ended.said.terminated("p", "c");
        assert_eq!(end["exitCode"], 1, "{source}: {transcript}");
        let logs = ended.said.logs("p", "c");
        let expected = format!("error AddressNotBindable: {source}");
        assert_eq!(logs, [expected.as_str()], "{source}: {transcript}");
    }
    Ok(())
}

#[test]
fn sockets_and_their_streams_are_counted() -> anyhow::Result<()> {
    let ended = run(&["sockets"], Value::Null)?;
    let logs = said(&ended);
    assert_eq!(logs.len(), 1, "{}", ended.said.transcript());
    let refused = number_after(logs[0], "after").unwrap_or_default();
    assert!((1000..10_000).contains(&refused), "{}", logs[0]);
    assert!(logs[0].ends_with("too many sockets"), "{}", logs[0]);

    let ended = run(&["receives"], Value::Null)?;
    let transcript = ended.said.transcript();
    let end = ended.said.terminated("p", "c");
    assert_eq!(end["exitCode"], 134, "{transcript}");
    let message = end["message"].as_str().unwrap_or_default();
    assert!(message.contains("resource table"), "{transcript}");
    let last = said(&ended).last().copied().unwrap_or_default();
    let most = number_after(last, "receives").unwrap_or(u64::MAX);
    assert!(most <= 40_000, "{transcript}");
    Ok(())
}
