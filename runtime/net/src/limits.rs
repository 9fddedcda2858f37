//! Every cap of the pod network, with its reason.
//!
//! What a guest or an outsider can make the host keep is bounded here and nowhere else.

use std::time::Duration;

/// Sockets of one pod at once, accepted and waiting connections among them. With
/// [`PIPE_FLOOR`] this bounds what idle sockets can cost the host: a few MiB for a hostile pod.
pub const MAX_SOCKETS_PER_POD: usize = 4096;

/// Kernel sockets of one pod at once: outgoing connections, accepted ones of doors, UDP toward
/// outside, everything of a pod on the host's network. All pods of a process share its limit on
/// descriptors, often 20,000.
pub const MAX_KERNEL_SOCKETS_PER_POD: usize = 1024;

/// The longest queue of connections that a listener has not accepted yet; a larger wish is cut.
/// Linux cuts at `net.core.somaxconn`, 4096 by default, where a connection costs it more.
pub const MAX_BACKLOG: u32 = 1024;

/// The backlog of a listener that names none: what Rust's standard library asks for.
pub const DEFAULT_BACKLOG: u32 = 128;

/// The most bytes one direction of a connection in memory holds. Four writes of 64 KiB, so that
/// reader and writer on different cores need not wait for each other at every write.
pub const PIPE_CAPACITY: usize = 256 * 1024;

/// What a direction may always hold, whatever the pod's budget: progress is never impossible.
pub const PIPE_FLOOR: usize = 1024;

/// The most bytes that the buffers of the connections a pod writes to may have beyond their floor.
/// 16 full ones; beyond that connections work on with smaller buffers.
pub const PIPE_BUDGET_PER_POD: usize = 4 * 1024 * 1024;

/// How far writes may exceed that budget which were permitted before other threads took the rest:
/// a handful of threads, each with one write.
pub const PIPE_OVERDRAFT: usize = 1024 * 1024;

/// The most bytes that a write to a kernel connection may leave behind for later.
pub const KERNEL_WRITE_BACKLOG: usize = 64 * 1024;

/// The largest datagram: what an IPv4 packet holds beside its headers.
pub const MAX_DATAGRAM: usize = 65_507;

/// Datagrams that wait in one socket; further ones are lost, as UDP allows.
pub const MAX_QUEUED_DATAGRAMS: usize = 256;

/// Bytes of datagrams that wait in one socket: Linux' `net.core.rmem_default` is 208 KiB.
pub const MAX_QUEUED_DATAGRAM_BYTES: usize = 208 * 1024;

/// Bytes of datagrams that wait in all sockets of one pod, so that thousands of sockets cost no
/// more than a few full ones.
pub const DATAGRAM_BUDGET_PER_POD: usize = 2 * 1024 * 1024;

/// Outside addresses that one UDP socket remembers having sent to or heard from through a door;
/// answers from others are dropped, as the node's address translation would do. The oldest is
/// forgotten first.
pub const MAX_DATAGRAM_PEERS: usize = 256;

/// Connections that wait in the kernel at one door, or at the listener of many ports: as many as
/// Linux lets wait by default, for whoever asks for that (`net.core.somaxconn`, which cuts it).
pub const KERNEL_BACKLOG: u16 = 4096;

/// Doors of one pod: each may hold a kernel socket, and descriptors are few (often 20,000 in all).
pub const MAX_DOORS_PER_POD: usize = 64;

/// Doors of one pod of which it is remembered what was told, so that a guest that listens again and
/// again tells it once: each of the manifest's, and the pod's own addresses for as many.
pub const MAX_TOLD_DOORS: usize = 4 * MAX_DOORS_PER_POD;

/// Tasks that may wait for one event of one socket; the oldest is woken early beyond it.
pub const MAX_WAITERS: usize = 16;

/// The longest name that is looked up, in bytes: RFC 1035 allows 253 in text form, and a dot.
pub const MAX_NAME: usize = 254;

/// Addresses that one look-up returns.
pub const MAX_ADDRESSES: usize = 64;

/// Name servers asked: resolv.conf(5) reads three, Kubernetes allows three.
pub const MAX_NAMESERVERS: usize = 3;

/// Search domains tried: Kubernetes allows 32.
pub const MAX_SEARCHES: usize = 32;

/// Look-ups of one pod that wait for name servers at once; each holds kernel sockets.
pub const MAX_LOOKUPS_PER_POD: usize = 32;

/// The longest answer of a name server over TCP.
pub const MAX_DNS_ANSWER: usize = 65_535;

/// How long a name server has by default: resolv.conf(5).
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// How often every name server is asked by default: resolv.conf(5).
pub const DNS_ATTEMPTS: u32 = 2;

/// The first and last port given to a socket that names none: Linux' `ip_local_port_range`.
pub const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Added to the port of a door that the kernel does not let this user open.
pub const UNPRIVILEGED_OFFSET: u16 = 20_000;

/// Endpoints that one process steers at once, UDP doors in its blocks among them. Their table
/// takes 16 bytes of kernel memory for each, used or not.
pub const MAX_STEERED_ENDPOINTS: u32 = 65_536;

/// Listeners of one pod that are steered, so that a hostile one leaves the table to the others.
pub const MAX_STEERED_PER_POD: usize = 1024;

/// Passages of one pod's plain doors, beside its steered listeners: a declared port is opened
/// however many others the pod listens at. A door may stand at both of the pod's addresses.
pub const MAX_PASSAGES_PER_POD: usize = 2 * MAX_DOORS_PER_POD;

/// Blocks of pod addresses that one process steers: four million pods.
pub const MAX_STEERED_BLOCKS: u32 = 1024;

/// Pod hosts whose connections one process steers: itself, or its children.
pub const MAX_LANES: u32 = 4096;

/// Steered connections that wait in a listener before its port gets a queue of its own in the
/// kernel, where the others wait. They are accepted from the kernel at once, so each has a
/// descriptor: enough for a burst of clients, and what a busy http server leaves of a pod's.
pub const STEERED_CROWD: usize = 128;

/// Steered connections that wait in a listener whose port gets no queue of its own, unless it asked
/// for a longer backlog; one too many is reset. More than what a burst of clients needs, far less
/// than a process has descriptors.
pub const MAX_STEERED_WAITING: usize = 512;

/// Queues of their own that ports of one pod have: as many as it may have doors, since each is one
/// of the pod's kernel sockets.
pub const MAX_QUEUES_PER_POD: usize = MAX_DOORS_PER_POD;

/// Such queues of all pods of one process. Each takes a place in a table of the kernel, and a
/// descriptor.
pub const MAX_QUEUES: u32 = 4096;

/// Sockets that a pod may have beyond its limits, for connections that were on their way when its
/// port got a queue of its own: accepted for it, they are not reset. As many as may wait at the
/// listener that they come from.
pub const SOCKETS_ON_THEIR_WAY: usize = 4096;

/// How long at most no connection is accepted once the process has neither a descriptor nor memory
/// for one, not even to refuse it. A pod that closes a connection ends the rest at once. But
/// the process has descriptors of other sorts, and the machine other processes that take its memory;
/// nobody tells when those give one back, so it is tried: ten times in a second cost nothing, and a
/// client's connect waits in the backlog meanwhile.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Steered connections that are handed over before others on the same thread have their turn.
pub const STEERED_BATCH: usize = 64;
