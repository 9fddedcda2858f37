//! What the tests share: a switch on a range of its own, pods on it, and waiting without hanging.
//!
//! Compiled for tests only. All addresses are in 127.0.0.0/8.

pub(crate) mod apart;
mod outside;
mod unanswered;
pub(crate) mod warnings;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::runtime::{PodId, PodNetwork};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::error::NetError;
use crate::stream::TcpStream;
use crate::{
    Family, Listening, Notice, Observer, Peers, PodNet, PodRange, Steer, Switch, SwitchConfig,
    TcpSocket, UdpSocket,
};

/// Apart from the range of real pods. Every switch claims a block of its own, so tests run side
/// by side.
pub(crate) const RANGE: PodRange = PodRange {
    first: Ipv4Addr::new(127, 160, 0, 0),
    prefix: 12,
    block: 24,
};

/// A switch with the runtime of its kernel sockets.
pub(crate) struct Bench {
    pub(crate) switch: Switch,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) listening: mpsc::UnboundedReceiver<(PodId, Listening)>,
    pub(crate) runtime: Runtime,
}

struct Recorder {
    notices: mpsc::UnboundedSender<Notice>,
    listening: mpsc::UnboundedSender<(PodId, Listening)>,
}

/// Nothing here takes long: this only turns a hang into a failure.
const HANG: Duration = Duration::from_secs(20);

// === impl Bench ===

impl Bench {
    pub(crate) fn new() -> Self {
        Self::make(RANGE, None, None)
    }

    /// A switch beside others.
    pub(crate) fn beside(peers: Arc<dyn Peers>) -> Self {
        Self::make(RANGE, Some(peers), None)
    }

    /// A switch on another range, or one that is steered.
    pub(crate) fn with(range: PodRange, steering: Option<Arc<dyn Steer>>) -> Self {
        Self::make(range, None, steering)
    }

    fn make(
        range: PodRange,
        peers: Option<Arc<dyn Peers>>,
        steering: Option<Arc<dyn Steer>>,
    ) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (send_notices, notices) = mpsc::unbounded_channel();
        let (send_listening, listening) = mpsc::unbounded_channel();
        let observer = Arc::new(Recorder {
            notices: send_notices,
            listening: send_listening,
        });
        let config = SwitchConfig {
            range,
            kernel: runtime.handle().clone(),
            streams: runtime.handle().clone(),
            observer,
            peers,
            steering,
            binder: None,
        };
        Self {
            switch: Switch::new(config).unwrap(),
            notices,
            listening,
            runtime,
        }
    }

    /// A pod whose host name is `pod` and its number.
    pub(crate) fn pod(&self, number: u64) -> PodNet {
        self.pod_with(number, PodNetwork::default())
    }

    pub(crate) fn pod_with(&self, number: u64, network: PodNetwork) -> PodNet {
        let hostname = format!("pod{number}");
        self.switch
            .add_pod(
                PodId(number),
                &PodNetwork {
                    hostname,
                    ..network
                },
            )
            .unwrap()
    }

    /// A pod on the host's network.
    pub(crate) fn host_pod(&self, number: u64) -> PodNet {
        let network = PodNetwork {
            host: true,
            ..PodNetwork::default()
        };
        self.pod_with(number, network)
    }

    /// Waits on this thread, which is in no runtime, as a guest's thread is not.
    pub(crate) fn wait(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        self.block(std::future::poll_fn(|cx| poll(cx)));
    }

    /// Runs a future of the outside world.
    pub(crate) fn block<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(HANG, future).await.expect("it hangs") };
        self.runtime.block_on(limited)
    }

    pub(crate) fn notice(&mut self) -> Notice {
        let receive = async { tokio::time::timeout(HANG, self.notices.recv()).await };
        self.runtime
            .block_on(receive)
            .expect("no notice comes")
            .unwrap()
    }

    pub(crate) fn accept(&self, listener: &TcpSocket) -> TcpSocket {
        let listener = listener.listener().unwrap();
        self.wait(|cx| listener.poll_acceptable(cx));
        listener.try_accept().unwrap()
    }

    /// Connects to the end.
    pub(crate) fn connect(&self, from: &PodNet, to: SocketAddr) -> Result<TcpStream, NetError> {
        let mut socket = from.tcp(Family::of(to.ip())).unwrap();
        socket.connect(to)?;
        self.wait(|cx| socket.poll_ready(cx));
        socket.try_finish_connect()
    }

    /// Reads exactly `length` bytes.
    pub(crate) fn read(&self, stream: &TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            match stream.try_read_bytes(length - bytes.len()) {
                Ok(some) if some.is_empty() => panic!("ended after {} bytes", bytes.len()),
                Ok(some) => bytes.extend_from_slice(&some),
                Err(NetError::WouldBlock) => self.wait(|cx| stream.poll_read_ready(cx)),
                Err(error) => panic!("{error} after {} bytes", bytes.len()),
            }
        }
        bytes
    }

    /// Reads to the end, or the error.
    pub(crate) fn read_to_end(&self, stream: &TcpStream) -> (Vec<u8>, Result<(), NetError>) {
        let mut bytes = Vec::new();
        loop {
            match stream.try_read_bytes(1 << 20) {
                Ok(some) if some.is_empty() => return (bytes, Ok(())),
                Ok(some) => bytes.extend_from_slice(&some),
                Err(NetError::WouldBlock) => self.wait(|cx| stream.poll_read_ready(cx)),
                Err(error) => return (bytes, Err(error)),
            }
        }
    }

    pub(crate) fn receive(&self, socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        loop {
            match socket.try_receive() {
                Ok((bytes, from)) => return (bytes.to_vec(), from),
                Err(NetError::WouldBlock) => self.wait(|cx| socket.poll_receive_ready(cx)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Observer for Recorder {
    fn notice(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn listening(&self, pod: PodId, listening: Listening) {
        let _ = self.listening.send((pod, listening));
    }
}

/// A listener of a pod.
pub(crate) fn listen(pod: &PodNet, address: SocketAddr) -> TcpSocket {
    let mut socket = pod.tcp(Family::of(address.ip())).unwrap();
    socket.bind(address).unwrap();
    now(socket.listen()).unwrap();
    socket
}

/// A bound UDP socket of a pod.
pub(crate) fn udp(pod: &PodNet, address: SocketAddr) -> UdpSocket {
    let socket = pod.udp(Family::of(address.ip())).unwrap();
    now(socket.bind(address)).unwrap();
    socket
}

/// What comes of something that has nobody to wait for.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// An address and port in writing, where `A` and `B` stand for two pods' IPv4 addresses and `a`
/// and `b` for their IPv6 ones.
pub(crate) fn at(text: &str, port: u16, pods: [&PodNet; 2]) -> SocketAddr {
    let [a, b] = pods.map(PodNet::addresses);
    let address = match text {
        "A" => a[0],
        "a" => a[1],
        "B" => b[0],
        "b" => b[1],
        "::ffff:A" => mapped(a[0]),
        "::ffff:B" => mapped(b[0]),
        other => other.parse().unwrap(),
    };
    SocketAddr::new(address, port)
}

fn mapped(address: std::net::IpAddr) -> std::net::IpAddr {
    format!("::ffff:{address}").parse().unwrap()
}
