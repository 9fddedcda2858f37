//! What is said between a pod host in a child process and whoever started it.
//!
//! Frames on a stream socket: four bytes of length, then the message in postcard's form.
//! Descriptors travel on a second socket beside it, each tagged with the order that it answers.

use std::io;

use bytes::Bytes;
use model::runtime::{
    Event, ExecSpec, InstanceId, InstanceSpec, PodCreated, PodId, PodSandbox, RuntimeError, Signal,
    Stats, Update, WasmImage,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest frame: a pod's ConfigMaps and Secrets have at most 1 MiB each, and a wasm file to
/// be compiled for exec is the largest thing sent.
const FRAME: usize = 300 << 20;

/// Bytes of a frame's length.
const LENGTH: usize = 4;

/// From the one who started it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// Do this, and answer with the same number.
    Order(u64, Order),
    /// The chunk of output with this number was taken.
    Taken(u64),
    /// What came of a request to compile.
    Compiled(u64, Result<WasmImage, RuntimeError>),
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
    /// Compile this, and answer with the same number.
    Compile(u64, Bytes),
}

/// The methods of [`model::Runtime`] as messages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    CreatePod(Box<PodSandbox>),
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
    Connect(PodId, u16, std::time::Duration),
}

/// What an order brings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Created(PodCreated),
    Stats(Stats),
    File(Bytes),
    /// The descriptor comes on the second socket.
    Connected,
}

/// A message as a frame.
///
/// # Errors
/// When it is longer than any pod's orders are.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let frame = postcard::to_extend(message, vec![0; LENGTH]).map_err(io::Error::other)?;
    let mut frame = frame;
    let length = frame.len() - LENGTH;
    if length > FRAME {
        return Err(io::Error::other(format!(
            "the order has {} MiB, more than {} MiB: give the pod fewer or smaller volumes",
            length >> 20,
            FRAME >> 20
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

/// Reads one frame; `None` at the end of the stream.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME {
        return Err(io::Error::other(
            "the other side sent a message that is too long",
        ));
    }
    let mut body = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Ok(None);
    }
    postcard::from_bytes(&body)
        .map(Some)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_and_the_end_is_told() {
        let mut wire = Vec::new();
        let order = ToChild::Order(7, Order::Signal(InstanceId(3), Signal::Term));
        write(&mut wire, &order).await.expect("written");
        write(&mut wire, &ToChild::Taken(9)).await.expect("written");
        let mut from = wire.as_slice();
        let first: Option<ToChild> = read(&mut from).await.expect("a frame");
        assert!(matches!(
            first,
            Some(ToChild::Order(
                7,
                Order::Signal(InstanceId(3), Signal::Term)
            ))
        ));
        let second: Option<ToChild> = read(&mut from).await.expect("a frame");
        assert!(matches!(second, Some(ToChild::Taken(9))));
        let end: Option<ToChild> = read(&mut from).await.expect("the end");
        assert!(end.is_none());
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_and_half_a_frame_is_the_end() {
        let mut too_long = [0xff_u8; 8].as_slice();
        assert!(read::<ToChild>(&mut too_long).await.is_err());
        let mut nonsense = [2, 0, 0, 0, 0xff, 0xff].as_slice();
        assert!(read::<ToChild>(&mut nonsense).await.is_err());
        let mut half = [9, 0, 0, 0, 1].as_slice();
        assert!(read::<ToChild>(&mut half).await.expect("the end").is_none());
    }
}
