//! Doors of several pods beside each other, and those of one pod that could stand in each other's
//! way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{PATIENCE, PLACEMENTS, Pod, Run, as_root_in_own_namespace, fetch, pods, skip};
use crate::network::free_port;
use crate::steering::assert_nothing_told_of_doors;

const WHY: &str = "needs root and a network namespace of its own: run `cargo xtask test` as root";

/// A uid without rights or files of its own.
const NOBODY: u32 = 65534;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A pod that serves its name over TCP and gives back datagrams, at a port that a test has for
/// itself, and at the same of every address of the machine where it is published.
fn server(name: &str, port: u16, is_published: bool) -> Pod {
    let at = format!("0.0.0.0:{port}");
    let ports = |protocol| {
        let mut declared = json!({"containerPort": port, "protocol": protocol});
        if is_published {
            declared["hostPort"] = port.into();
        }
        json!({"ports": [declared]})
    };
    Pod::new(name)
        .container("tcp", "net", &["page", &at, name], ports("TCP"))
        .container("udp", "net", &["udp-echo", &at], ports("UDP"))
}

/// That a datagram is answered, and from where it was sent to.
fn assert_echoes(at: SocketAddr) -> anyhow::Result<()> {
    let asking = UdpSocket::bind((LOCALHOST, 0))?;
    asking.set_read_timeout(Some(PATIENCE))?;
    asking.send_to(b"anyone?", at)?;
    let mut answer = [0; 16];
    let (length, by) = asking.recv_from(&mut answer)?;
    assert_eq!((&answer[..length], by), (b"anyone?".as_slice(), at));
    Ok(())
}

#[test]
fn a_pods_port_is_its_own_beside_a_host_port() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let users = [0, NOBODY];
    let runs = users.map(|user| PLACEMENTS.map(|placement| (user, placement)));
    for ((user, placement), port) in runs.concat().into_iter().zip(7100..) {
        let manifest = [server("pa", port, true), server("pb", port, false)];
        let mut run = Run::of(pods(&manifest))?.placed(placement);
        if user != 0 {
            run = run.by_user(user)?;
        }
        let mut running = run.start()?;
        for (pod, container) in [("pa", "tcp"), ("pa", "udp"), ("pb", "tcp"), ("pb", "udp")] {
            running.wait_log(pod, container, "listening")?;
        }
        for pod in ["pa", "pb"] {
            let own = SocketAddr::new(running.wait_ready(pod)?, port);
            let page = fetch(own, "/")?;
            assert!(page.starts_with(pod), "{placement} {user} {own}: {page}");
            assert_echoes(own)?;
        }
        let published = SocketAddr::new(LOCALHOST, port);
        assert!(fetch(published, "/")?.starts_with("pa"), "{placement}");
        assert_echoes(published)?;
        running.signal(Signal::INT)?;
        assert_nothing_told_of_doors(&running.finish()?);
    }
    Ok(())
}

/// As on the pod's own network: a server at every IPv6 address is ready, and told of IPv4 as mapped.
#[test]
fn a_server_at_every_ipv6_address_of_the_host_is_reached_over_ipv4() -> anyhow::Result<()> {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip("this machine has no IPv6");
    }
    for placement in PLACEMENTS {
        let port = free_port()?;
        let fields = json!({
            "ports": [{"containerPort": port}],
            "readinessProbe": {"httpGet": {"port": port}, "periodSeconds": 1},
        });
        let at = format!("[::]:{port}");
        let pod = Pod::one("net", &["page", &at, "six"], fields).spec(json!({"hostNetwork": true}));
        let mut running = Run::of(pod)?.placed(placement).start()?;
        running.wait_ready("p")?;
        let page = fetch(SocketAddr::new(LOCALHOST, port), "/")?;
        assert!(page.contains("peer [::ffff:127.0.0.1]:"), "{page}");
        let local = format!("local [::ffff:127.0.0.1]:{port}");
        assert!(page.contains(&local), "{page}");
        let six = fetch(format!("[::1]:{port}").parse()?, "/")?;
        assert!(six.contains("peer [::1]:"), "{six}");
    }
    Ok(())
}

/// Whichever of them listens first.
#[test]
fn a_low_port_takes_no_declared_one_of_its_pod() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let (low, high) = (("low", 80_u16), ("high", 20_080));
    for order in [[low, high], [high, low]] {
        let mut pod = Pod::new("p");
        for (name, port) in order {
            let at = format!("0.0.0.0:{port}");
            let ports = json!({"ports": [{"containerPort": port}]});
            pod = pod.container(name, "net", &["page", &at, name], ports);
        }
        let mut running = Run::of(pod)?.by_user(NOBODY)?.start()?;
        for (name, _) in order {
            running.wait_log("p", name, "listening")?;
        }
        let own = running.wait_ready("p")?;
        let page = fetch(SocketAddr::new(own, 20_080), "/")?;
        assert!(page.starts_with("high"), "{page}");
        let message = running.wait_for("why port 80 has no door", |line| {
            let event = line.event("p", "HostPortConflict")?;
            Some(event["message"].as_str()?.to_owned())
        })?;
        for part in ["TCP port 80 ", &format!("{own}:20080 instead is taken")] {
            assert!(message.contains(part), "{message}");
        }
    }
    Ok(())
}

/// A guest that listens again and again says the same of its door each time.
#[test]
fn the_outcome_of_a_door_is_told_once() -> anyhow::Result<()> {
    let taken = TcpListener::bind((LOCALHOST, 0))?;
    let port = taken.local_addr()?.port();
    let ports =
        json!({"ports": [{"containerPort": 8080, "hostPort": port, "hostIP": "127.0.0.1"}]});
    let pod = Pod::one("net", &["rebind", "0.0.0.0:8080"], ports);
    let ended = Run::of(pod)?.finish()?;
    let events = ended.said.lines.iter();
    let told = events.filter(|line| line.event("p", "HostPortConflict").is_some());
    assert_eq!(told.count(), 1, "{}", ended.said.transcript());
    Ok(())
}
