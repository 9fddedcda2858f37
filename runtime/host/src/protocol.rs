//! What is said between a pod host in a child process and whoever started it.
//!
//! Frames on a stream socket: four bytes of length, then the message in postcard's form.
//! Descriptors go down a second socket, each with a number; datagrams of pods take a third.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use model::runtime::{
    Event, ExecSpec, InstanceId, InstanceSpec, PodId, PodSandbox, RuntimeError, Signal, Stats,
    StoragePlace, Update, WasmImage,
};
use net::Family;
use net::steer::{Endpoint, SteerError, Way};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest frame to a child: a pod's ConfigMaps and Secrets have at most 1 MiB each.
pub(crate) const TO_CHILD: usize = 300 << 20;

/// The longest frame from a child: a chunk of output or a part of wasm, each of which is shorter.
pub(crate) const FROM_CHILD: usize = 1 << 20;

/// The longest part of a wasm file that is to be compiled.
pub(crate) const PART: usize = 256 << 10;

/// The longest file that a child is asked for.
pub(crate) const FILE: u64 = 512 << 10;

/// The longest message for people, in bytes: a trap with its frames, whose names a guest chose.
const MESSAGE: usize = 16 << 10;

/// The longest message of an Event or of health, in bytes: Kubernetes takes no longer notes.
const NOTE: usize = 1 << 10;

/// The longest reason, in bytes: Kubernetes takes no longer ones.
const REASON: usize = 128;

/// The longest name of a volume, in bytes: none of a pod is longer than a DNS name.
const NAME: usize = 253;

/// The most wasm of one child that waits to be compiled: one file of the largest that exec runs.
pub(crate) const COMPILE_BUDGET: usize = 256 << 20;

/// What a wasm file takes of that at least, so that many small ones are not free.
const COMPILE_FLOOR: usize = COMPILE_BUDGET / 8;

/// What a child may ask of the network at once; further questions wait in the child.
pub(crate) const QUESTIONS: usize = 256;

/// The number of the descriptor that every child is sent first: its end of the wire for datagrams.
pub(crate) const WIRE: u64 = 0;

/// Bytes of a frame's length.
pub(crate) const LENGTH: usize = 4;

/// From the one who started it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// Do this, and answer with the same number.
    Order(u64, Order),
    /// The chunk of output with this number was taken.
    Taken(u64),
    /// What came of a request to compile.
    Compiled(u64, Result<WasmImage, RuntimeError>),
    /// What came of a connect: the number of the descriptor, which has been sent.
    Dialled(u64, Result<u64, Refusal>),
    /// The pods with the name that was asked for.
    Named(u64, Vec<Ipv4Addr>),
    /// The listeners of steered connections: the numbers of their descriptors, which were sent.
    Listeners(u64, Result<Vec<(Family, u64)>, SteerError>),
    /// What came of opening an endpoint.
    Opened(u64, Result<(), SteerError>),
    /// The listener of one endpoint alone: the number of its descriptor, which was sent.
    SingledOut(u64, Result<u64, SteerError>),
    /// The socket of a plain door: the number of its descriptor, which was sent, or what the
    /// kernel says.
    Bound(u64, Result<u64, i32>),
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromChild {
    /// What came of an order.
    Answer(u64, Result<Reply, RuntimeError>),
    /// Something happened.
    Event(Event),
    /// An instance wrote; the next of it comes once this is taken.
    Output(u64, Event),
    /// The next part of what is to be compiled under this number.
    Part(u64, Bytes),
    /// Compile it, and answer with the same number.
    Compile(u64),
    /// Connect a pod of this child to a listener of another one.
    Dial {
        number: u64,
        from: SocketAddr,
        to: SocketAddr,
    },
    /// Which pods of the run have this name?
    Resolve(u64, String),
    /// On which sockets do steered connections arrive?
    Listeners(u64),
    /// Open an endpoint at the address of a pod of this child.
    Open {
        number: u64,
        endpoint: Endpoint,
        way: Way,
    },
    /// Give one that this child has opened a listener of its own.
    SingleOut(u64, Endpoint),
    /// Lead it to the listener of all again.
    Rejoin(Endpoint),
    /// Close one that this child has opened.
    Close(Endpoint),
    /// Make the socket of a plain door of a pod of this child.
    Bind(u64, Endpoint),
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// Nobody listens there.
    Refused,
    /// Whoever has the listener did not answer.
    Timeout,
}

/// The methods of [`model::Runtime`] as messages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// With the address that it has; none on the host's network.
    CreatePod(Box<PodSandbox>, Option<Ipv4Addr>),
    RemovePod(PodId),
    Create(Box<InstanceSpec>),
    Start(InstanceId),
    Signal(InstanceId, Signal),
    Exec(ExecSpec),
    Input(InstanceId, Option<Bytes>),
    Update(PodId, Update),
    Pause(InstanceId, bool),
    Stats(InstanceId),
    ReadFile(PodId, String, u64),
    Remove(InstanceId),
    /// Joins the descriptor of the order's number to a listener, for the host.
    Connect(PodId, u16),
    /// The same for a pod of another child.
    Accept {
        from: SocketAddr,
        to: SocketAddr,
    },
}

/// What an order brings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Stats(Stats),
    File(Bytes),
}

/// A message as a frame.
///
/// # Errors
/// When it is longer than any pod's orders are.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let frame = postcard::to_extend(message, vec![0; LENGTH]).map_err(io::Error::other)?;
    let mut frame = frame;
    let length = frame.len() - LENGTH;
    if length > TO_CHILD {
        return Err(io::Error::other(format!(
            "the order has {} MiB, more than {} MiB: give the pod fewer or smaller volumes",
            length >> 20,
            TO_CHILD >> 20
        )));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    for (byte, of_length) in frame.iter_mut().zip(length.to_le_bytes()) {
        *byte = of_length;
    }
    Ok(frame)
}

/// Writes one frame.
pub(crate) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    to.write_all(&frame(message)?).await
}

/// Reads one frame of no more than `longest` bytes; `None` at the end of the stream.
///
/// # Errors
/// `InvalidData` for what is no message; what the socket says.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    longest: usize,
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > longest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes, more than {longest}"),
        ));
    }
    let mut body = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Ok(None);
    }
    postcard::from_bytes(&body)
        .map(Some)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// What compiling a wasm file of this size takes of [`COMPILE_BUDGET`].
pub(crate) fn compile_cost(size: usize) -> usize {
    size.max(COMPILE_FLOOR)
}

// === impl FromChild ===

impl FromChild {
    /// Cuts what guests can make long, so that no frame is too long; a parent does it again, for
    /// a child that did not.
    pub(crate) fn cut(&mut self) {
        match self {
            Self::Answer(_, Err(error)) => {
                let (RuntimeError::Refused(text)
                | RuntimeError::Mount(text)
                | RuntimeError::CannotRun(text)
                | RuntimeError::CommandNotFound(text)
                | RuntimeError::NotFound(text)
                | RuntimeError::Exhausted(text)
                | RuntimeError::Gone(text)) = error;
                cut(text, MESSAGE);
            }
            Self::Event(Event::Exited { exit, .. }) => {
                cut(&mut exit.reason, REASON);
                cut(&mut exit.message, MESSAGE);
            }
            Self::Event(Event::Health { message, .. }) => cut(message, NOTE),
            Self::Event(Event::Notice {
                reason, message, ..
            }) => {
                cut(reason, REASON);
                cut(message, NOTE);
            }
            Self::Event(Event::StorageFull {
                place: StoragePlace::Volume(name),
                ..
            }) => cut(name, NAME),
            _ => {}
        }
    }
}

/// Cuts a text between characters, to this many bytes or one character more, which says so. What
/// was cut is not cut again.
fn cut(text: &mut String, longest: usize) {
    if text.len() > longest + '…'.len_utf8() {
        text.truncate(text.floor_char_boundary(longest));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_and_the_end_is_told() {
        let mut wire = Vec::new();
        let left = Duration::from_secs(2);
        let order = ToChild::Order(7, Order::Signal(InstanceId(3), Signal::Term(left)));
        write(&mut wire, &order).await.expect("written");
        write(&mut wire, &ToChild::Taken(9)).await.expect("written");
        let mut from = wire.as_slice();
        let first: Option<ToChild> = read(&mut from, TO_CHILD).await.expect("a frame");
        assert!(matches!(
            first,
            Some(ToChild::Order(
                7,
                Order::Signal(InstanceId(3), Signal::Term(told))
            )) if told == left
        ));
        let second: Option<ToChild> = read(&mut from, TO_CHILD).await.expect("a frame");
        assert!(matches!(second, Some(ToChild::Taken(9))));
        let end: Option<ToChild> = read(&mut from, TO_CHILD).await.expect("the end");
        assert!(end.is_none());
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_and_half_a_frame_is_the_end() {
        let mut too_long = [0xff_u8; 8].as_slice();
        assert!(read::<ToChild>(&mut too_long, TO_CHILD).await.is_err());
        let mut nonsense = [2, 0, 0, 0, 0xff, 0xff].as_slice();
        assert!(read::<ToChild>(&mut nonsense, TO_CHILD).await.is_err());
        let mut half = [9, 0, 0, 0, 1].as_slice();
        assert!(
            read::<ToChild>(&mut half, TO_CHILD)
                .await
                .expect("the end")
                .is_none()
        );
    }

    #[test]
    fn words_of_guests_are_cut_between_characters() {
        let long = "é".repeat(MESSAGE);
        let mut frame = FromChild::Answer(1, Err(RuntimeError::CannotRun(format!("x{long}"))));
        frame.cut();
        let FromChild::Answer(1, Err(RuntimeError::CannotRun(text))) = frame else {
            panic!("{frame:?}");
        };
        assert_eq!(text.len(), MESSAGE - 1 + '…'.len_utf8());
        assert!(text.starts_with('x') && text.ends_with("é…"));
    }

    #[test]
    fn every_text_of_an_event_has_a_limit_and_is_cut_once() {
        let long = || "x".repeat(FROM_CHILD);
        let (pod, instance) = (PodId(1), InstanceId(2));
        let events = [
            Event::Health {
                instance,
                ready: true,
                message: long(),
            },
            Event::Notice {
                pod,
                instance: None,
                warning: true,
                reason: long(),
                message: long(),
            },
            Event::StorageFull {
                pod,
                place: StoragePlace::Volume(long()),
                limit: 1,
            },
            Event::Exited {
                instance,
                exit: model::runtime::Exit {
                    code: 1,
                    reason: long(),
                    message: long(),
                },
                stats: Stats::default(),
            },
        ];
        for event in events {
            let mut message = FromChild::Event(event);
            message.cut();
            let once = frame(&message).expect("a frame");
            assert!(once.len() < MESSAGE + NOTE, "{message:?}");
            message.cut();
            assert_eq!(frame(&message).expect("a frame"), once);
        }
    }
}
