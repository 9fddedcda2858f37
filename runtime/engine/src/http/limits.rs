//! Every cap of `wasi:http`, with its reason.

use std::time::Duration;

/// Requests of one container that are answered at once; some more wait. Each may hold an instance and
/// two chunks of each body.
pub(crate) const REQUESTS: usize = 256;

/// Requests that wait until one of those is answered: a few rounds of them. Each holds its head, and
/// connections of HTTP/2 could bring a hundred times as many.
pub(crate) const WAITING: usize = 1000;

/// How long they wait: half of what a gateway in front does, so that the rest is left for the answer.
pub(crate) const TURN: Duration = Duration::from_secs(30);

/// How long the first of those who wait for memory does so without anything ending, before an
/// instance is taken to need less than the largest of late did: a third of `TURN`, so that one that
/// was large and one that takes its time do not keep out everybody.
pub(crate) const DOUBT: Duration = Duration::from_secs(10);

/// Connections of one container at once; the rest wait in the listener. A pod has 4,096 sockets,
/// 1,024 of them in the kernel, and its other containers need some too.
pub(crate) const CONNECTIONS: usize = 768;

/// Requests of one container to outside that are under way at once; some more wait. Two for each
/// that is answered at once, and with the connections to it less than a pod has sockets.
pub(crate) const EXCHANGES: usize = 512;

/// Requests to outside that wait until one of those is over, for no longer than connecting may take;
/// the next is refused. As many as wait to be answered: each holds its head.
pub(crate) const EXCHANGES_WAITING: usize = 1000;

/// Connections that wait for a server to accept them.
pub(crate) const BACKLOG: u64 = 1024;

/// Bytes that a connection's buffer holds, and so the longest head of a request or answer: what
/// proxies let pass, eight times over.
pub(crate) const HEAD: usize = 64 << 10;

/// The same for HTTP/2, which counts names and values after they are decompressed.
pub(crate) const HEAD_LIST: u32 = 64 << 10;

/// Fields of one head or of trailers: twice what a browser behind three proxies sends.
pub(crate) const FIELDS_IN_HEAD: usize = 128;

/// Bytes that each fields object of a guest's own may take in the host, on its container's account.
/// As long as the longest head.
pub(crate) const FIELDS: usize = 64 << 10;

/// Open resources of a guest that has wasi:http, fewer than of others since each may be a fields
/// object: a request takes about ten, and so do the requests to outside that it waits for.
pub(crate) const RESOURCES: usize = 2000;

/// Bytes that a guest writes to a body at once; the host holds two such chunks of each body.
pub(crate) const CHUNK: usize = 64 << 10;

/// Bytes that the host takes at once of the stream that a guest of 0.3 gives for a body. It holds two
/// such chunks of each, and they are charged whether they are there or not, since nobody tells.
pub(crate) const STREAM_CHUNK: u32 = 16 << 10;

/// Bytes of each part of a target that a guest names, and of a method of its own: what RFC 9110, 4.1
/// wants everybody to understand.
pub(crate) const TARGET: usize = 8 << 10;

/// Bytes of each text in which a guest says what went wrong: some lines for whoever reads them.
pub(crate) const TEXT: usize = 1 << 10;

/// Characters of a request's target that the container's log shows: enough to know it again.
pub(crate) const TARGET_IN_LOG: usize = 256;

/// Lines about answers that wait until the container's log takes them, each in a task of its own.
pub(crate) const LINES: usize = 64;

/// Streams of one HTTP/2 connection: what RFC 9113 wants as the least.
pub(crate) const STREAMS: u32 = 100;

/// Bytes that a peer may send on one stream of HTTP/2 before a guest reads them.
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;

/// The same for all streams of a connection: a few fast ones side by side.
pub(crate) const CONNECTION_WINDOW: u32 = 256 << 10;

/// How long a connection may be without a request, and a head may take to arrive: as nginx has it.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// How long a peer may leave what is written to it untaken, or a body that a guest reads unsent.
/// Of HTTP/2 a chunk of an answer counts: who takes less than a kilobyte a second is gone.
pub(crate) const STALLED: Duration = Duration::from_secs(60);

/// Bytes that a client has to send of a body for each second that a guest waits for it. It may be in
/// arrears by `STALLED`: a body that comes more slowly on average is cut after that, an honest one
/// too, such as a few bytes now and then for hours. Less than any line has, so that an upload may
/// take as long as it needs, which a deadline for the whole would not let it; and enough that a byte
/// now and then does not hold a place for ever.
pub(crate) const UPLOAD: u32 = 256;

/// How long a guest has for the head of its answer once it has taken the last piece of its request:
/// as long as a gateway in front waits.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);

/// How long a guest may go on once its answer is sent, or nobody takes it any more or waits for it;
/// and how long a client that has sent all, or has closed, may hear nothing of an answer that has
/// begun.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(30);

/// How long a client that has its answer, and still sends what it asked with, is listened to before
/// its connection, or its stream of HTTP/2, is closed: enough for it to read its answer, and little
/// beside what a stop may take. nginx has it for the time between two pieces, and six times as much
/// for all of them.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// Bytes that are taken from it in that time: an upload that a guest has refused for its length, and
/// what its container pays for is bounded.
pub(crate) const LINGER_BYTES: usize = 64 << 20;

/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it has for
/// its answer: a peer whose machine is gone holds its streams no longer.
pub(crate) const PING: Duration = Duration::from_secs(30);

/// How long a server that is to stop goes on accepting, so that who does not know yet is served.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);

/// How long an instance that may serve further requests is kept without one.
pub(crate) const KEPT: Duration = Duration::from_secs(1);

/// How long no connection is accepted once the machine has no descriptor or no memory left for one,
/// unless a socket of a pod becomes free: of others nobody tells.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// How long a connection to the outside may take until the first byte can be sent: names, TCP, TLS.
pub(crate) const CONNECT: Duration = Duration::from_secs(30);

/// How long the head of an answer from outside may take where the guest names no time.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(600);

/// The same between two pieces of its body; and how long nothing may come of a server's answer of
/// whose guest no task is left: it may be such a body, handed on.
pub(crate) const BETWEEN_BYTES: Duration = Duration::from_secs(600);
