//! IPv6: pods' addresses are the node's own by a route, in a network namespace that this test
//! makes, where the test runs a second time.

use std::process::Command;

use super::*;

/// Says that this process is in that namespace.
const INSIDE: &str = "NET_STEER_V6";

#[test]
fn an_ipv6_listener_is_reached_where_a_route_leads() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if steered().is_none() {
        return;
    }
    let path = module_path!().trim_start_matches("net::");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .arg("--exact")
        .arg(format!(
            "{path}::an_ipv6_listener_is_reached_where_a_route_leads"
        ))
        .arg("--nocapture")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
}

fn inside() {
    for arguments in [
        "link set lo up",
        "-6 route add local fd9d:7761:736d:706f::/64 dev lo",
    ] {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "ip {arguments}");
    }
    let _host = TcpListener::bind("[::]:81").unwrap();
    let both = Steering::new(RANGE, &[Family::V4, Family::V6]);
    let bench = Bench::with(RANGE, Some(Arc::new(both.lane())));
    let pod = bench.pod(1);
    let at = |address, port| at(address, port, [&pod, &pod]);
    let (four, six) = (listen(&pod, at("0.0.0.0", 80)), listen(&pod, at("::", 80)));
    for (listener, address) in [(&four, "A"), (&six, "a")] {
        let client = TcpStream::connect(at(address, 80)).unwrap();
        let server = bench.accept(listener);
        assert_eq!(server.local_address(), Ok(at(address, 80)));
        let peer = server.remote_address().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
    }
    assert!(refuses(at("a", 81)));
    TcpStream::connect("[::1]:81").unwrap();
}
