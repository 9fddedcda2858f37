//! Pods reach the world through the kernel, and never the node: in two network namespaces that
//! this test makes, joined by a pair of virtual links.
//!
//! ```text
//! the_world_and_nothing_else ── starts ── world (10.77.0.1) ── starts ── node (10.77.0.2, a pod)
//! ```
//!
//! The two roles are ignored tests of this file, run in namespaces of their own. Where user
//! namespaces or `ip` are missing the test says so and proves nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket as KernelUdp};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::runtime::{PodId, PodNetwork};
use tokio::runtime::Runtime;

use super::apart::skip;
use crate::{
    Family, NetError, Notice, Observer, PodNet, PodRange, Switch, SwitchConfig, TcpStream,
};

/// Says that this process plays a role.
const ROLE: &str = "NET_OUTSIDE_ROLE";
const WORLD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const WORLD_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1);
const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 2);
const ECHO: u16 = 7;
const CLOSED: u16 = 9;

#[test]
fn the_world_and_nothing_else() {
    let user = ["--user", "--map-root-user", "--net"];
    let possible = Command::new("unshare")
        .args(user)
        .args(["ip", "link"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("needs unshare(1), ip(8) and user namespaces");
        return;
    }
    let output = role(&user, "world").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// The test binary in new namespaces, as one role.
fn role(namespaces: &[&str], name: &str) -> Command {
    let path = format!("{}::{name}", module_path!().trim_start_matches("net::"));
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", &path, "--ignored", "--nocapture"])
        .env(ROLE, name);
    command
}

fn plays(name: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|role| role == name)
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

// === The world: echo servers, and a stranger ===

#[test]
#[ignore = "a role of the_world_and_nothing_else"]
fn world() {
    if !plays("world") {
        return;
    }
    let piped = role(&["--net"], "node")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut node: Child = piped.unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    // It is in its namespace once it says so.
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    ip("link set lo up");
    ip(&format!(
        "link add world type veth peer name node netns {}",
        node.id()
    ));
    ip(&format!("addr add {WORLD}/24 dev world"));
    ip(&format!("addr add {WORLD_V6}/64 dev world nodad"));
    ip("link set world up");
    for address in [WORLD.into(), WORLD_V6.into()] {
        let listener = TcpListener::bind(SocketAddr::new(address, ECHO)).unwrap();
        std::thread::spawn(move || echo_streams(&listener));
        let socket = KernelUdp::bind(SocketAddr::new(address, ECHO)).unwrap();
        std::thread::spawn(move || echo_datagrams(&socket));
    }
    writeln!(node.stdin.take().unwrap(), "go").unwrap();
    for line in lines {
        println!("{}", line.unwrap());
    }
    assert!(node.wait().unwrap().success());
}

fn echo_streams(listener: &TcpListener) {
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..length]).unwrap();
            }
        });
    }
}

/// Every answer is preceded by a datagram of a stranger.
fn echo_datagrams(socket: &KernelUdp) {
    let own = socket.local_addr().unwrap().ip();
    let stranger = KernelUdp::bind(SocketAddr::new(own, 0)).unwrap();
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        stranger.send_to(b"psst", from).unwrap();
        socket.send_to(&buffer[..length], from).unwrap();
    }
}

// === The node: a pod that tries everything ===

struct Node {
    runtime: Runtime,
    pod: PodNet,
}

struct Silent;

impl Observer for Silent {
    fn notice(&self, _: Notice) {}
}

#[test]
#[ignore = "a role of the_world_and_nothing_else"]
fn node() {
    if !plays("node") {
        return;
    }
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    ip("link set lo up");
    ip(&format!("addr add {NODE}/24 dev node"));
    ip(&format!("addr add {NODE_V6}/64 dev node nodad"));
    ip("addr add 10.77.0.3/24 dev node");
    ip("link set node up");
    ip("route add local 10.88.0.0/16 dev lo");
    // A trap: whoever falls through to the kernel is answered.
    let _v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, ECHO)).unwrap();
    let _v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, ECHO + 1)).unwrap();

    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    let config = SwitchConfig {
        range: PodRange::LOOPBACK,
        kernel: runtime.handle().clone(),
        streams: runtime.handle().clone(),
        observer: Arc::new(Silent),
        peers: None,
        steering: None,
        binder: None,
    };
    let switch = Switch::new(config).unwrap();
    let pod = switch.add_pod(PodId(1), &PodNetwork::default()).unwrap();
    let node = Node { runtime, pod };
    node.streams();
    node.refusals();
    node.datagrams();
    node.connected_datagrams();
}

impl Node {
    fn streams(&self) {
        for address in [WORLD.into(), WORLD_V6.into()] {
            let to = SocketAddr::new(address, ECHO);
            let stream = self.connect(to).unwrap();
            assert_eq!(stream.remote_address(), to);
            let own = stream.local_address().ip().to_canonical();
            assert!(self.pod.addresses().contains(&own), "{own} is the pod's");
            let (mut sent, mut received) = (0, 0);
            while received < 1 << 20 {
                if sent < 1 << 20 {
                    let permitted = stream.writable().unwrap().min((1 << 20) - sent);
                    stream.write_permitted(&vec![7; permitted]).unwrap();
                    sent += permitted;
                }
                self.wait(|cx| stream.poll_read_ready(cx));
                received += stream.try_read_bytes(1 << 20).unwrap().len();
            }
            stream.shutdown(std::net::Shutdown::Write);
            self.wait(|cx| stream.poll_read_ready(cx));
            assert_eq!(stream.try_read(&mut [0]), Ok(0), "the end");
        }
        assert_eq!(self.pod.counters().sent, 2 << 20);
    }

    fn refusals(&self) {
        let cases = [
            ("10.77.0.1", CLOSED, NetError::ConnectionRefused),
            // The node by every address it has, and by those it has without knowing.
            ("10.77.0.2", ECHO, NetError::AccessDenied),
            ("::ffff:10.77.0.2", ECHO, NetError::InvalidArgument),
            ("10.77.0.3", ECHO, NetError::AccessDenied),
            ("10.77.0.255", ECHO, NetError::AccessDenied),
            ("10.88.1.2", ECHO, NetError::AccessDenied),
            ("fd00:77::2", ECHO + 1, NetError::AccessDenied),
            // Its loopback is the pod's own, where nobody listens.
            ("127.0.0.1", ECHO, NetError::ConnectionRefused),
            ("0.0.0.0", ECHO, NetError::ConnectionRefused),
            ("::", ECHO + 1, NetError::ConnectionRefused),
            ("::ffff:127.0.0.1", ECHO, NetError::InvalidArgument),
            ("127.64.0.9", ECHO, NetError::ConnectionRefused),
            ("127.100.0.9", ECHO, NetError::ConnectionRefused),
            ("169.254.169.254", ECHO, NetError::AccessDenied),
            ("203.0.113.1", ECHO, NetError::RemoteUnreachable),
            ("2001:db8::1", ECHO, NetError::RemoteUnreachable),
        ];
        for (address, port, expected) in cases {
            let to = SocketAddr::new(address.parse().unwrap(), port);
            assert_eq!(self.connect(to).unwrap_err(), expected, "{to}");
        }
    }

    fn datagrams(&self) {
        for address in [WORLD.into(), WORLD_V6.into()] {
            let to = SocketAddr::new(address, ECHO);
            let socket = self.pod.udp(Family::of(address)).unwrap();
            for payload in [&b"one"[..], b"two"] {
                socket.try_send(payload, Some(to)).unwrap();
                self.wait(|cx| socket.poll_receive_ready(cx));
                let (bytes, from) = socket.try_receive().unwrap();
                assert_eq!((&bytes[..], from), (payload, to), "not the stranger");
            }
        }
        let socket = self.pod.udp(Family::V4).unwrap();
        for (address, expected) in [
            (NODE, Err(NetError::AccessDenied)),
            (Ipv4Addr::new(10, 88, 1, 2), Err(NetError::AccessDenied)),
            (Ipv4Addr::new(10, 77, 0, 255), Err(NetError::AccessDenied)),
            (
                Ipv4Addr::new(203, 0, 113, 1),
                Err(NetError::RemoteUnreachable),
            ),
            (Ipv4Addr::new(127, 100, 0, 9), Ok(())),
        ] {
            let to = SocketAddr::new(address.into(), ECHO);
            assert_eq!(socket.try_send(b"x", Some(to)), expected, "{to}");
        }
    }

    fn connected_datagrams(&self) {
        let socket = self.pod.udp(Family::V4).unwrap();
        let refused = socket.connect(Some((NODE, ECHO).into()));
        assert_eq!(refused, Err(NetError::AccessDenied));
        socket.connect(Some((WORLD, CLOSED).into())).unwrap();
        socket.try_send(b"x", None).unwrap();
        self.wait(|cx| socket.poll_receive_ready(cx));
        assert_eq!(
            socket.try_receive().unwrap_err(),
            NetError::ConnectionRefused
        );
        socket.connect(Some((WORLD, ECHO).into())).unwrap();
        socket.try_send(b"again", None).unwrap();
        self.wait(|cx| socket.poll_receive_ready(cx));
        assert_eq!(&socket.try_receive().unwrap().0[..], b"again");
    }

    fn connect(&self, to: SocketAddr) -> Result<TcpStream, NetError> {
        let mut socket = self.pod.tcp(Family::of(to.ip())).unwrap();
        socket.connect(to)?;
        self.wait(|cx| socket.poll_ready(cx));
        socket.try_finish_connect()
    }

    fn wait(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let waits = std::future::poll_fn(|cx| poll(cx));
        let limited = async { tokio::time::timeout(Duration::from_secs(20), waits).await };
        self.runtime.block_on(limited).expect("it hangs");
    }
}
