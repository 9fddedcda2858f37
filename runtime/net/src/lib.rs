//! The network of a pod host: an in-memory switch with doors to the kernel.
//!
//! ```text
//!   guest ── TcpSocket, UdpSocket ── PodNet ── Switch ──┬── the pod itself     (memory)
//!                                                │      ├── another pod        (memory)
//!                                             decide    ├── another switch     (Peers)
//!                                                       └── everything else    (kernel socket)
//!   outside ── kernel socket on the pod's IP ── door ── the pod's listener
//!   outside ── any port of the pod's IP ── steering ── the pod's listener        (with rights)
//! ```
//!
//! One pod has one address (IPv4, and IPv6 inside the switch) and one port space; its localhost is
//! its own. Where a destination leads is decided in [`decide()`] and nowhere else, never by
//! falling through to the kernel. Nothing here waits: every call answers at once, with
//! [`NetError::WouldBlock`] where it must be repeated, and the matching `poll_*` wakes the caller.
//! No task is spawned for traffic in memory.
//!
//! This crate deliberately knows no WASI, no wasm, no HTTP and no Kubernetes Service.

mod blocks;
mod budget;
pub mod decide;
mod door;
pub mod error;
mod fabric;
mod kernel;
pub mod limits;
mod lock;
pub mod meter;
pub mod name;
pub mod options;
mod owned;
mod peers;
pub mod pod;
mod ports;
pub mod range;
mod routes;
pub mod steer;
pub mod stream;
pub mod switch;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod udp;
mod waiters;

pub use blocks::Blocks;
pub use decide::{Denial, Verdict, decide};
pub use door::bind_socket;
pub use error::{NetError, SwitchError};
pub use meter::Counters;
pub use name::Lookup;
pub use options::{Options, SetOption};
pub use peers::{Asked, Peers};
pub use pod::{HostTarget, OpenDoor, PodNet, node_addresses};
pub use range::PodRange;
pub use steer::{Binder, Lane, Steer, SteerError, Steering};
pub use stream::{PeerEnd, TcpStream};
pub use switch::{Listening, Notice, Observer, Switch, SwitchConfig};
pub use tcp::{Family, TcpIncoming, TcpListener, TcpSocket};
pub use udp::UdpSocket;
