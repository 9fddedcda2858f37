//! Standard input, output and error as streams: what every version shares, with its limits and its
//! back-pressure, asked in the form of 0.3.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, Destination, FutureReader, HasData, Linker, Source, StreamConsumer, StreamProducer,
    StreamReader, StreamResult,
};
use wasmtime_wasi::cli::StdinStream as _;
use wasmtime_wasi::p3::bindings::cli::types::ErrorCode;
use wasmtime_wasi::p3::bindings::cli::{stderr, stdin, stdout};

use super::outcome::{Outcome, Teller};
use crate::account::{Account, Held};
use crate::guest::Guest;
use crate::output::{AsyncWriter, Output};
use crate::stdin::Stdin;

/// The most that is read of the input at once.
const PIECE: usize = 4096;

/// The input, for one stream of it.
struct Input {
    stdin: Stdin,
    /// One way to it. Others wait while a read of it is under way.
    stream: Pin<Box<dyn AsyncRead + Send + Sync>>,
    account: Arc<Account>,
    /// What is read and not yet taken, from the first read on.
    held: Option<Held>,
    teller: Teller<ErrorCode>,
}

/// Output or error, for one stream to it.
struct Sink {
    writer: AsyncWriter,
    _teller: Teller<ErrorCode>,
}

/// Marks the guest for the linker: its streams are its own.
struct HasStdio;

impl HasData for HasStdio {
    type Data<'a> = &'a mut Guest;
}

/// Adds the three interfaces.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    stdin::add_to_linker::<Guest, HasStdio>(linker, |guest| guest)?;
    stdout::add_to_linker::<Guest, HasStdio>(linker, |guest| guest)?;
    stderr::add_to_linker::<Guest, HasStdio>(linker, |guest| guest)
}

/// Has an output take a stream.
fn take<U: 'static>(
    mut store: Access<'_, U, HasStdio>,
    data: StreamReader<u8>,
    output: &Output,
) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
    let (teller, told) = Teller::new();
    let sink = Sink {
        writer: output.writer(),
        _teller: teller,
    };
    data.pipe(&mut store, sink)?;
    FutureReader::new(&mut store, told)
}

impl stdin::Host for Guest {}

impl stdout::Host for Guest {}

impl stderr::Host for Guest {}

impl<U: 'static> stdin::HostWithStore<U> for HasStdio {
    fn read_via_stream(
        mut store: Access<'_, U, Self>,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Outcome<ErrorCode>>)> {
        let (teller, told) = Teller::new();
        let guest = store.get();
        let account = Arc::clone(guest.limiter.account());
        let stream = match guest.stdin.clone() {
            Some(stdin) => StreamReader::new(&mut store, Input::new(stdin, account, teller))?,
            None => StreamReader::new(&mut store, std::iter::empty())?,
        };
        Ok((stream, FutureReader::new(&mut store, told)?))
    }
}

impl<U: 'static> stdout::HostWithStore<U> for HasStdio {
    fn write_via_stream(
        mut store: Access<'_, U, Self>,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
        let output = store.get().stdout.clone();
        take(store, data, &output)
    }
}

impl<U: 'static> stderr::HostWithStore<U> for HasStdio {
    fn write_via_stream(
        mut store: Access<'_, U, Self>,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome<ErrorCode>>> {
        let output = store.get().stderr.clone();
        take(store, data, &output)
    }
}

// === impl Input ===

impl Input {
    fn new(stdin: Stdin, account: Arc<Account>, teller: Teller<ErrorCode>) -> Self {
        Self {
            stream: Box::into_pin(stdin.async_stream()),
            stdin,
            account,
            held: None,
            teller,
        }
    }

    /// Lets others read. Nothing is lost: what has arrived is kept for whoever reads next.
    fn give_up(&mut self) {
        self.stream = Box::into_pin(self.stdin.async_stream());
    }
}

impl<D> StreamProducer<D> for Input {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let own = self.get_mut();
        let wanted = destination.remaining(&mut store).unwrap_or(PIECE);
        if wanted == 0 {
            // Whether there is any can only be known by taking it.
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if own.held.is_none() {
            own.held = own.account.hold(PIECE).ok();
            if own.held.is_none() {
                // The guest has been ended.
                return Poll::Pending;
            }
        }
        let mut piece = [0; PIECE];
        let mut buffer = ReadBuf::new(piece.get_mut(..wanted.min(PIECE)).unwrap_or_default());
        match own.stream.as_mut().poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "standard input");
                own.teller.tell(Err(ErrorCode::Io));
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
            Poll::Pending if finish => {
                own.give_up();
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            Poll::Pending => return Poll::Pending,
        }
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        // There is room for all of it: no more was read than is wanted.
        destination.as_direct(store, read.len()).write_all(read)?;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

// === impl Sink ===

impl<D> StreamConsumer<D> for Sink {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let own = self.get_mut();
        let mut source = source.as_direct(store);
        match own.writer.poll_take(cx, source.remaining()) {
            Poll::Ready(taken) => {
                source.mark_read(taken);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Pending if finish => {
                own.writer.give_up();
                Poll::Ready(Ok(StreamResult::Cancelled))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;
    use model::runtime::Limits;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn who_reads_no_more_lets_others_read() {
        let (giver, stdin) = crate::stdin::pair(false);
        let account = Arc::new(Account::new(Limits {
            cpu_weight: 100,
            cpu_limit: None,
            memory: None,
            storage: None,
        }));
        let mut first = Input::new(stdin.clone(), account, Teller::new().0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut piece = [0; 4];
        let mut buffer = ReadBuf::new(&mut piece);
        let read = first.stream.as_mut().poll_read(&mut cx, &mut buffer);
        assert!(read.is_pending());
        first.give_up();
        assert!(giver.give(Some(Bytes::from_static(b"line"))).await);
        let mut other = Box::into_pin(stdin.async_stream());
        assert!(other.read_exact(&mut piece).await.is_ok());
        assert_eq!(&piece, b"line");
    }
}
