//! Runs of root, whose pods are reached at every port: declared or not, low or high, and nowhere
//! that no guest listens.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use crate::harness::{
    Ended, PATIENCE, PLACEMENTS, Pod, Run, Running, as_root_in_own_namespace, fetch, is_refused,
    pods, skip,
};

const WHY: &str = "needs root and a network namespace of its own: run `cargo xtask test` as root";

/// A pod that serves its name on a port that nothing declares.
fn server(name: &str, port: u16) -> Pod {
    let at = format!("0.0.0.0:{port}");
    Pod::new(name).container("c", "net", &["page", &at, name], Value::Null)
}

/// Waits until a pod listens, and answers its address.
fn address(running: &mut Running, pod: &str) -> anyhow::Result<IpAddr> {
    running.wait_log(pod, "c", "listening")?;
    running.wait_ready(pod)
}

/// A program of this machine that listens at every address, and its port.
fn wildcard() -> anyhow::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// That nothing was told of doors, which all opened where they were asked for.
pub(crate) fn assert_nothing_told_of_doors(ended: &Ended) {
    let lines = ended.said.lines.iter();
    let events = lines.filter_map(|line| line.told("event"));
    let reasons: Vec<&Value> = events.map(|event| &event["reason"]).collect();
    for unexpected in [
        "DoorMoved",
        "DoorFailed",
        "HostPortConflict",
        "SteeringFailed",
    ] {
        assert!(
            !reasons.iter().any(|reason| *reason == unexpected),
            "{reasons:?}"
        );
    }
}

#[test]
fn every_port_is_reached_where_it_is() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let ports = [80, 7000];
    let names = ports.map(|port| format!("p{port}"));
    let manifest = [0, 1].map(|n| server(&names[n], ports[n]));
    for placement in PLACEMENTS {
        let mut running = Run::of(pods(&manifest))?.placed(placement).start()?;
        for (name, port) in names.iter().zip(ports) {
            let at = SocketAddr::new(address(&mut running, name)?, port);
            let page = fetch(at, "/")?;
            assert!(page.contains(&format!("local {at}")), "{page}");
        }
        running.signal(Signal::INT)?;
        assert_nothing_told_of_doors(&running.finish()?);
    }
    Ok(())
}

/// What a manifest opens at the node, at ports that a process without rights may not bind.
#[test]
fn low_ports_of_the_node_are_where_they_were_asked_for() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let host = json!({"ports": [{"containerPort": 8080, "hostPort": 81}]});
    let server = Pod::new("p").container("c", "net", &["page", "0.0.0.0:8080", "p"], host);
    let own = json!({"ports": [{"containerPort": 53, "protocol": "UDP"}]});
    let echo = Pod::new("u").container("c", "net", &["udp-echo", "0.0.0.0:53"], own);
    for placement in PLACEMENTS {
        let run = Run::of(pods([&server, &echo]))?.placed(placement);
        let mut running = run.start()?;
        address(&mut running, "p")?;
        let page = fetch(SocketAddr::from((Ipv4Addr::LOCALHOST, 81)), "/")?;
        assert!(page.starts_with("p\n"), "{page}");
        let echo = SocketAddr::new(address(&mut running, "u")?, 53);
        let asking = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        asking.set_read_timeout(Some(PATIENCE))?;
        asking.send_to(b"anyone?", echo)?;
        let mut answer = [0; 16];
        let (length, by) = asking.recv_from(&mut answer)?;
        assert_eq!((&answer[..length], by), (b"anyone?".as_slice(), echo));
        running.signal(Signal::INT)?;
        assert_nothing_told_of_doors(&running.finish()?);
    }
    Ok(())
}

#[test]
fn where_no_guest_listens_no_program_of_the_machine_answers() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let (_host, port) = wildcard()?;
    for placement in PLACEMENTS {
        let mut running = Run::of(server("p", 7000))?.placed(placement).start()?;
        let pod = address(&mut running, "p")?;
        fetch(SocketAddr::new(pod, 7000), "/")?;
        assert!(is_refused(SocketAddr::new(pod, port))?, "{placement}");
        assert!(!is_refused(SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            port
        ))?);
    }
    Ok(())
}

#[test]
fn runs_side_by_side_have_their_own_doors() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let mut runs = [
        Run::of(server("p", 7001))?.start()?,
        Run::of(server("p", 7002))?.placed("child").start()?,
    ];
    let one = address(&mut runs[0], "p")?;
    let two = address(&mut runs[1], "p")?;
    for (pod, port, served) in [
        (one, 7001, true),
        (one, 7002, false),
        (two, 7002, true),
        (two, 7001, false),
    ] {
        let refused = is_refused(SocketAddr::new(pod, port))?;
        assert_eq!(refused, !served, "{pod}:{port}");
    }
    Ok(())
}

/// No route, rule or table stays behind: the address leads where it led before, and the next run
/// steers. It looks before that run begins, which claims the same addresses.
#[test]
fn a_killed_run_leaves_nothing_behind() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let (_host, port) = wildcard()?;
    for placement in PLACEMENTS {
        let mut killed = Run::of(server("p", 7000))?
            .placed(placement)
            .alone()
            .start()?;
        let at = SocketAddr::new(address(&mut killed, "p")?, port);
        assert!(is_refused(at)?, "it is steered");
        killed.signal(Signal::KILL)?;
        // It has ended but keeps its place, so that no other run claims and steers its addresses.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(killed.process()), options)?;
        assert!(!is_refused(at)?, "{at} is as before the killed run");
        let ended = killed.finish()?;
        assert_eq!(ended.code, None, "{}", ended.said.transcript());
        let mut next = Run::of(server("p", 7000))?.placed(placement).start()?;
        let pod = address(&mut next, "p")?;
        assert!(fetch(SocketAddr::new(pod, 7000), "/")?.starts_with("p\n"));
        assert!(is_refused(SocketAddr::new(pod, port))?, "it is steered");
    }
    Ok(())
}

#[test]
fn many_listeners_hold_no_descriptors() -> anyhow::Result<()> {
    if !as_root_in_own_namespace() {
        return skip(WHY);
    }
    let mut held = Vec::new();
    for ports in [1_u16, 200] {
        let args = ["hold", "0.0.0.0:7000", &ports.to_string()];
        let mut running = Run::of(Pod::one("net", &args, Value::Null))?.start()?;
        let last = 6999 + ports;
        running.wait_log("p", "c", &format!("listening 0.0.0.0:{last}"))?;
        let pod = running.wait_ready("p")?;
        assert!(!is_refused(SocketAddr::new(pod, last))?);
        assert!(is_refused(SocketAddr::new(pod, last + 1))?);
        let process = running.process().as_raw_nonzero();
        held.push(fs::read_dir(format!("/proc/{process}/fd"))?.count());
    }
    // A few come and go with what else a run does: a timer, a log, the connection just made.
    assert!(
        held[1] < held[0] + 20,
        "descriptors of 1 and of 200: {held:?}"
    );
    Ok(())
}
