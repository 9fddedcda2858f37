//! The pod's network from outside: addresses, doors, localhost, names, and what is left when a pod
//! has gone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    PATIENCE, Pod, Run, Running, as_root_in_own_namespace, fetch, guest, is_refused, pods, skip,
};

/// A uid without rights or files of its own.
const NOBODY: u32 = 65534;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A pod whose container `c` answers HTTP on port 8080, declared, so that others reach it without
/// root too.
fn server(name: &str) -> Pod {
    let ports = json!({"ports": [{"name": "http", "containerPort": 8080}]});
    Pod::new(name).container("c", "net", &["page", "0.0.0.0:8080", name], ports)
}

/// Waits until the pod's container `c` listens, and answers where port 8080 of the pod is.
fn listening(running: &mut Running, pod: &str) -> anyhow::Result<SocketAddr> {
    running.wait_log(pod, "c", "listening")?;
    Ok(SocketAddr::new(running.wait_ready(pod)?, 8080))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((LOCALHOST, 0))?.local_addr()?.port())
}

/// Runs one pod to its end and answers what its container `c` said.
fn logs_of(pod: &Pod) -> anyhow::Result<Vec<String>> {
    let ended = Run::of(pod)?.finish()?;
    let logs: Vec<String> = ended
        .said
        .logs("p", "c")
        .into_iter()
        .map(str::to_owned)
        .collect();
    anyhow::ensure!(
        !logs.is_empty(),
        "no word of c in:\n{}",
        ended.said.transcript()
    );
    Ok(logs)
}

#[test]
fn pods_have_addresses_of_their_own_and_one_port_each() -> anyhow::Result<()> {
    let mut running = Run::of(pods([&server("one"), &server("two")]))?.start()?;
    let one = listening(&mut running, "one")?;
    let two = listening(&mut running, "two")?;
    assert_ne!(one, two);
    assert!(fetch(one, "/")?.starts_with("one\n"));
    assert!(fetch(two, "/")?.starts_with("two\n"));
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    assert_eq!(ended.code, Some(130), "{}", ended.said.transcript());
    for address in [one, two] {
        assert!(is_refused(address)?, "{address} is still served");
    }
    Ok(())
}

#[test]
fn a_server_is_told_its_own_address_and_that_of_its_visitor() -> anyhow::Result<()> {
    let mut running = Run::of(server("p"))?.start()?;
    let address = listening(&mut running, "p")?;
    let page = fetch(address, "/")?;
    assert!(page.contains(&format!("local {address}")), "{page}");
    assert!(page.contains("peer "), "{page}");
    Ok(())
}

#[test]
fn two_runs_at_once_do_not_collide() -> anyhow::Result<()> {
    let mut first = Run::of(server("p"))?.start()?;
    let mut second = Run::of(server("p"))?.start()?;
    let addresses = [listening(&mut first, "p")?, listening(&mut second, "p")?];
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        fetch(address, "/")?;
    }
    Ok(())
}

#[test]
fn the_containers_of_a_pod_share_one_port_space() -> anyhow::Result<()> {
    let pod = Pod::new("p")
        .container("first", "net", &["hold", "0.0.0.0:7000"], Value::Null)
        .container("second", "net", &["hold", "127.0.0.1:7000"], Value::Null);
    let mut running = Run::of(pod)?.start()?;
    // Either may come first; the other is told that the port is taken.
    let is_loser = |status: &Value| status["state"]["terminated"].is_object();
    let loser = running.wait_for("one of two servers ended", |line| {
        let servers = line.status("p")?["containerStatuses"].as_array()?;
        servers.iter().find(|status| is_loser(status)).cloned()
    })?;
    assert_eq!(loser["state"]["terminated"]["exitCode"], 1, "{loser}");
    let name = loser["name"].as_str().unwrap_or_default();
    let logs = running.said.logs("p", name).join("\n");
    assert!(logs.contains("error AddrInUse"), "{logs}");
    Ok(())
}

#[test]
fn localhost_is_shared_inside_a_pod_and_by_nobody_else() -> anyhow::Result<()> {
    let connect = ["connect", "127.0.0.1:7000", "[::1]:7000"];
    let inside = Pod::new("inside")
        .container(
            "server",
            "net",
            &["page", "127.0.0.1:7000", "hello"],
            Value::Null,
        )
        .container("client", "net", &["get", "127.0.0.1:7000"], Value::Null);
    let outside = Pod::new("outside").container("c", "net", &connect, Value::Null);
    let mut running = Run::of(pods([&inside, &outside]))?.start()?;
    running.wait_log("inside", "client", "hello")?;
    running.wait_log("outside", "c", "connect [::1]:7000 ConnectionRefused")?;
    running.wait_log("outside", "c", "connect 127.0.0.1:7000 ConnectionRefused")?;
    let address = running.wait_for("an address", |line| {
        line.status("inside")?["podIP"]
            .as_str()?
            .parse::<IpAddr>()
            .ok()
    })?;
    assert!(
        is_refused(SocketAddr::new(address, 7000))?,
        "the pod's localhost has a door"
    );
    Ok(())
}

#[test]
fn pods_reach_each_other_by_name_and_at_ports_that_nobody_declared() -> anyhow::Result<()> {
    let server = Pod::new("server").container(
        "c",
        "net",
        &["page", "0.0.0.0:7000", "from the server", "1"],
        Value::Null,
    );
    let client = Pod::new("client").container("c", "net", &["get", "server:7000"], Value::Null);
    let ended = Run::of(pods([&server, &client]))?.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    let answer = ended.said.logs("client", "c").join("\n");
    assert!(answer.contains("from the server"), "{transcript}");
    let client_address = ended.said.status("client")["podIP"]
        .as_str()
        .unwrap_or("none");
    assert!(
        answer.contains(&format!("peer {client_address}:")),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn names_resolve_as_kubernetes_lays_them_out() -> anyhow::Result<()> {
    let aliases = json!({
        "hostname": "web", "subdomain": "shop",
        "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["elsewhere", "elsewhere.example"]}],
    });
    let args = [
        "resolve",
        "localhost",
        "web",
        "elsewhere.example",
        "no-such-name.invalid",
    ];
    let logs = logs_of(&Pod::one("net", &args, Value::Null).spec(aliases))?;
    assert!(
        logs[0].starts_with("resolve localhost ") && logs[0].contains("127.0.0.1"),
        "{logs:?}"
    );
    assert!(
        !logs[1].contains("127.0.0.1"),
        "the pod's own name is its address: {logs:?}"
    );
    assert_eq!(logs[2], "resolve elsewhere.example 192.0.2.7");
    let outcome = logs[3].rsplit(' ').next().unwrap_or_default();
    assert!(outcome.parse::<IpAddr>().is_err(), "{logs:?}");
    Ok(())
}

#[test]
fn an_address_that_is_not_the_pods_cannot_be_bound() -> anyhow::Result<()> {
    let args = [
        "bind",
        "0.0.0.0:7000",
        "127.0.0.1:7001",
        "[::1]:7002",
        "8.8.8.8:7003",
        "0.0.0.0:0",
    ];
    let logs = logs_of(&Pod::one("net", &args, Value::Null))?;
    assert_eq!(logs[0], "bind 0.0.0.0:7000 ok local 0.0.0.0:7000");
    assert_eq!(logs[1], "bind 127.0.0.1:7001 ok local 127.0.0.1:7001");
    assert_eq!(logs[2], "bind [::1]:7002 ok local [::1]:7002");
    assert_eq!(logs[3], "bind 8.8.8.8:7003 AddrNotAvailable");
    assert!(
        logs[4].starts_with("bind 0.0.0.0:0 ok local 0.0.0.0:"),
        "{logs:?}"
    );
    Ok(())
}

#[test]
fn a_port_is_free_again_as_soon_as_its_listener_is_gone() -> anyhow::Result<()> {
    let logs = logs_of(&Pod::one("net", &["rebind", "0.0.0.0:7000"], Value::Null))?;
    assert_eq!(logs, ["bind 0.0.0.0:7000 ok"; 3]);
    Ok(())
}

#[test]
fn streams_and_datagrams_behave_as_they_do_in_a_kernel() -> anyhow::Result<()> {
    // Server, client, what the client must say.
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (
            &["half-serve", "127.0.0.1:7000"],
            &["half", "127.0.0.1:7000", "100000"],
            &["write after shutdown BrokenPipe", "answer received 100000"],
        ),
        (
            &["many-serve", "127.0.0.1:7000", "200"],
            &["many", "127.0.0.1:7000", "200"],
            &["connections 200"],
        ),
        (
            &["udp-echo", "127.0.0.1:7000", "1"],
            &["udp-ask", "127.0.0.1:7000", "question"],
            &["answer question from 127.0.0.1:7000"],
        ),
        (
            &["hold", "127.0.0.1:7000"],
            &["options", "127.0.0.1:7000"],
            &[
                "set nodelay ok",
                "set ttl ok",
                "ttl Ok(42)",
                "read WouldBlock",
                "take error Ok(None)",
            ],
        ),
    ];
    for (server, client, lines) in cases {
        let pod = Pod::new("p")
            .container("server", "net", server, Value::Null)
            .container("client", "net", client, Value::Null);
        let mut running = Run::of(pod)?.start()?;
        for line in lines {
            running.wait_log("p", "client", line)?;
        }
    }
    Ok(())
}

/// A connect that is under way is not done, and one that comes to nothing says so.
#[test]
fn who_does_not_answer_is_not_connected_to() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("a network namespace without a way out");
    }
    // Documentation's addresses, which no other test uses.
    for route in ["blackhole 198.51.100.0/25", "unreachable 198.51.100.128/25"] {
        let mut command = std::process::Command::new("ip");
        command.args(["route", "replace"]).args(route.split(' '));
        assert!(command.status()?.success(), "{route}");
    }
    let nowhere = [
        "198.51.100.1:80",
        "198.51.100.129:80",
        "203.0.113.1:80",
        "[2001:db8::1]:80",
    ];
    let closed = ["127.0.0.1:9"];
    let arguments: Vec<&str> = ["connect"]
        .into_iter()
        .chain(nowhere)
        .chain(closed)
        .collect();
    let logs = logs_of(&Pod::one("net", &arguments, Value::Null))?;
    assert_eq!(logs.len(), nowhere.len() + closed.len(), "{logs:?}");
    for (log, address) in logs.iter().zip(nowhere) {
        let unreachable = ["HostUnreachable", "NetworkUnreachable"]
            .map(|kind| format!("connect {address} {kind}"));
        assert!(unreachable.contains(log), "{log}");
    }
    assert_eq!(
        logs.last().map(String::as_str),
        Some("connect 127.0.0.1:9 ConnectionRefused")
    );
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_holds_its_writer() -> anyhow::Result<()> {
    let pod = Pod::new("p")
        .container("server", "net", &["stall", "127.0.0.1:7000"], Value::Null)
        .container("client", "net", &["push", "127.0.0.1:7000"], Value::Null);
    let mut running = Run::of(pod)?.start()?;
    let told = running.wait_log("p", "client", "WouldBlock")?;
    let taken: u64 = told.split(' ').nth(1).unwrap_or_default().parse()?;
    assert!((1..=4 * 1024 * 1024).contains(&taken), "{told}");
    Ok(())
}

#[test]
fn bytes_flow_between_containers_whole_and_in_order() -> anyhow::Result<()> {
    let pod = Pod::new("p")
        .container("sink", "net", &["sink", "127.0.0.1:7000"], Value::Null)
        .container(
            "source",
            "net",
            &["source", "127.0.0.1:7000", "64"],
            Value::Null,
        )
        .container("echo", "net", &["echo", "127.0.0.1:7001", "1"], Value::Null)
        .container("rtt", "net", &["rtt", "127.0.0.1:7001", "500"], Value::Null);
    let ended = Run::of(pod)?.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    assert!(
        ended
            .said
            .logs("p", "sink")
            .contains(&"received_bytes 67108864"),
        "{transcript}"
    );
    assert!(
        ended
            .said
            .logs("p", "rtt")
            .contains(&"round_trips 500 of 64 bytes"),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn datagrams_reach_a_declared_port_from_outside_and_are_answered() -> anyhow::Result<()> {
    let ports = json!({"ports": [{"containerPort": 5300, "protocol": "UDP"}]});
    let pod = Pod::one("net", &["udp-echo", "0.0.0.0:5300"], ports);
    let mut running = Run::of(pod)?.start()?;
    running.wait_log("p", "c", "listening")?;
    let pod = SocketAddr::new(running.wait_ready("p")?, 5300);
    let socket = UdpSocket::bind((LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"anyone there?", pod)?;
    let mut answer = [0; 64];
    let (length, sender) = socket.recv_from(&mut answer)?;
    assert_eq!(&answer[..length], b"anyone there?");
    assert_eq!(sender, pod);
    Ok(())
}

#[test]
fn many_datagram_sockets_have_many_ports() -> anyhow::Result<()> {
    let args = [
        "udp-bind",
        "127.0.0.1:7000",
        "127.0.0.1:7000",
        "127.0.0.1:0",
        "127.0.0.1:0",
    ];
    let logs = logs_of(&Pod::one("net", &args, Value::Null))?;
    assert_eq!(logs[0], "udp-bind 127.0.0.1:7000 ok local 127.0.0.1:7000");
    assert_eq!(logs[1], "udp-bind 127.0.0.1:7000 AddrInUse");
    assert_ne!(logs[2], logs[3]);
    Ok(())
}

/// As programs know it from Linux, where `[::]` is every address. Ready means reachable at podIP.
#[test]
fn a_server_at_every_ipv6_address_is_reached_over_ipv4() -> anyhow::Result<()> {
    let fields = json!({
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
    });
    let own = json!({"env": [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]});
    let server = Pod::new("server")
        .container("c", "net", &["page", "[::]:8080", "six"], fields)
        .container("local", "net", &["get", "127.0.0.1:8080"], Value::Null)
        .container("own", "net", &["get", "$(IP):8080"], own)
        .spec(json!({"restartPolicy": "OnFailure"}));
    // Once the server listens: else its IPv4 address may be tried before, and the other one after.
    let asks = ["get", "server:8080"];
    let client = Pod::new("client")
        .init("first", "net", &asks, Value::Null)
        .container("c", "net", &asks, Value::Null);
    for placement in ["task", "child", "child-per-pod"] {
        let run = Run::of(pods([&server, &client]))?.args(["--placement", placement]);
        let mut running = run.start()?;
        let address = running.wait_for("the address of a pod that is ready", |line| {
            let status = line.status("server")?;
            let servers = status["containerStatuses"].as_array()?;
            let is_ready = |server: &Value| server["name"] == "c" && server["ready"] == true;
            let is_ready = servers.iter().any(is_ready);
            is_ready.then(|| status["podIP"].as_str()?.parse().ok())?
        })?;
        let page = fetch(SocketAddr::new(address, 8080), "/")?;
        let local = format!("local [::ffff:{address}]:8080");
        assert!(page.contains(&local), "{placement}: {page}");
        for (pod, container) in [("server", "local"), ("server", "own"), ("client", "c")] {
            running.wait_log(pod, container, "peer [::ffff:127.")?;
        }
    }
    Ok(())
}

/// Nobody reaches it at podIP, so it is not ready.
#[test]
fn a_server_at_one_ipv6_address_is_not_ready() -> anyhow::Result<()> {
    let fields = json!({
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
    });
    let mut running = Run::of(Pod::one("net", &["page", "[::1]:8080", "six"], fields))?.start()?;
    let message = running.wait_for("a failed probe", |line| {
        let event = line.event("p", "Unhealthy")?;
        Some(event["message"].as_str()?.to_owned())
    })?;
    assert!(message.contains("connection refused"), "{message}");
    Ok(())
}

#[test]
fn a_published_port_and_a_host_port_open_on_this_machine() -> anyhow::Result<()> {
    let published = format!("{}:8080", free_port()?);
    let wasm = guest("net")?.to_string_lossy().into_owned();
    let page = [
        "--publish",
        &published,
        &wasm,
        "--",
        "page",
        "0.0.0.0:8080",
        "by flag",
    ];
    let mut by_flag = Run::new()?.args(page).start()?;
    let host_port = free_port()?;
    let ports = json!({"ports": [{"containerPort": 8080, "hostPort": host_port}]});
    let pod = Pod::one("net", &["page", "0.0.0.0:8080", "by manifest"], ports);
    let mut by_manifest = Run::of(pod)?.start()?;
    let published = published.trim_end_matches(":8080").parse()?;
    for (running, port, page) in [
        (&mut by_flag, published, "by flag"),
        (&mut by_manifest, host_port, "by manifest"),
    ] {
        running.wait_for("a server", |line| {
            line.told("log")?["text"]
                .as_str()?
                .contains("listening")
                .then_some(())
        })?;
        assert!(fetch(SocketAddr::new(LOCALHOST, port), "/")?.contains(page));
        if TcpListener::bind("[::1]:0").is_ok() {
            let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
            assert!(fetch(six, "/")?.contains(page));
        }
    }
    Ok(())
}

#[test]
fn a_host_port_that_is_taken_is_told_and_the_pod_runs_all_the_same() -> anyhow::Result<()> {
    let taken = TcpListener::bind((LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    let ports =
        json!({"ports": [{"containerPort": 8080, "hostPort": port, "hostIP": "127.0.0.1"}]});
    let pod = Pod::one("net", &["page", "0.0.0.0:8080", "hello"], ports);
    let mut running = Run::of(pod)?.start()?;
    let address = listening(&mut running, "p")?;
    assert!(fetch(address, "/")?.contains("hello"));
    running.wait_for("a warning that names the port", |line| {
        let event = line.told("event")?;
        event["message"]
            .as_str()?
            .contains(&port.to_string())
            .then_some(())
    })?;
    Ok(())
}

#[test]
fn a_pod_on_the_hosts_network_listens_on_this_machine() -> anyhow::Result<()> {
    let port = free_port()?.to_string();
    let address = format!("127.0.0.1:{port}");
    let pod = Pod::one("net", &["page", &address, "on the host"], Value::Null)
        .spec(json!({"hostNetwork": true}));
    let mut running = Run::of(pod)?.start()?;
    running.wait_log("p", "c", "listening")?;
    assert!(fetch(address.parse()?, "/")?.contains("on the host"));
    Ok(())
}

#[test]
fn a_pod_is_not_served_on_the_localhost_of_this_machine() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("port 8080 of this machine may be somebody else's: run `cargo xtask test`");
    }
    let mut running = Run::of(server("p"))?.start()?;
    listening(&mut running, "p")?;
    assert!(is_refused(SocketAddr::new(LOCALHOST, 8080))?);
    Ok(())
}

#[test]
fn a_user_without_rights_runs_and_reaches_pods_too() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("needs root to become another user: run `cargo xtask test` as root");
    }
    let mut running = Run::of(server("p"))?.by_user(NOBODY)?.start()?;
    let address = listening(&mut running, "p")?;
    assert!(address.ip().is_loopback(), "{address}");
    assert!(fetch(address, "/")?.starts_with("p\n"));
    Ok(())
}

#[test]
fn without_rights_a_low_port_opens_higher_up_and_that_is_told() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip("needs root to become another user: run `cargo xtask test` as root");
    }
    let ports = json!({"ports": [{"containerPort": 80}]});
    let pod = Pod::one("net", &["page", "0.0.0.0:80", "low"], ports);
    let mut running = Run::of(pod)?.by_user(NOBODY)?.start()?;
    running.wait_log("p", "c", "listening 0.0.0.0:80")?;
    let address = running.wait_ready("p")?;
    assert!(fetch(SocketAddr::new(address, 20_080), "/")?.contains("low"));
    running.wait_for("an event about port 20080", |line| {
        let event = line.told("event")?;
        event["message"].as_str()?.contains("20080").then_some(())
    })?;
    Ok(())
}
