//! A stub resolver: asks the name servers of resolv.conf and reads what they say.
//!
//! It recurses into nothing, caches nothing and checks no signatures; the name servers do. An
//! answer is believed only from the server asked (the socket is connected to it), with the number
//! and the question of the query.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use model::runtime::Resolver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::Lookup;
use super::search::{Settings, candidates};
use crate::error::NetError;
use crate::limits::{MAX_DNS_ANSWER, MAX_NAMESERVERS};

/// Asks name servers.
pub(crate) struct Client {
    servers: Vec<SocketAddr>,
    resolver: Resolver,
    settings: Settings,
}

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The name exists; it may have no address of this family.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoName,
    /// Nobody answered, or only to say that it cannot now.
    Failed(Failure),
}

/// Why a server is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No answer in time.
    Silent,
    /// SERVFAIL: later it may work.
    Later,
    /// REFUSED, NOTIMP, FORMERR or nonsense.
    Never,
}

/// The port of name servers.
const DNS_PORT: u16 = 53;
/// The UDP payload announced with EDNS: what avoids fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Aliases followed in one answer.
const MAX_ALIASES: usize = 16;
/// Datagrams that may come before the right one.
const MAX_STRAY: usize = 32;

/// For `rotate`: how many look-ups began.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

// === impl Client ===

impl Client {
    pub(crate) fn new(resolver: &Resolver) -> Self {
        let servers = resolver.nameservers.iter().take(MAX_NAMESERVERS);
        let servers = servers
            .map(|address| SocketAddr::new(*address, DNS_PORT))
            .collect();
        Self {
            servers,
            resolver: resolver.clone(),
            settings: Settings::read(&resolver.options),
        }
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Tries the name and its search domains in order, as resolv.conf(5) says.
    pub(crate) async fn look_up(
        &self,
        name: &str,
        lookup: Lookup,
    ) -> Result<Vec<IpAddr>, NetError> {
        let mut result = NetError::NameUnresolvable;
        for name in candidates(name, &self.resolver, self.settings.ndots)? {
            match self.addresses(&name, lookup).await {
                Answer::Addresses(addresses) if !addresses.is_empty() => return Ok(addresses),
                Answer::Addresses(_) | Answer::NoName => {}
                Answer::Failed(Failure::Silent) => return Err(NetError::TemporaryResolverFailure),
                Answer::Failed(Failure::Later) => result = NetError::TemporaryResolverFailure,
                Answer::Failed(Failure::Never) => result = NetError::PermanentResolverFailure,
            }
        }
        Err(result)
    }

    /// Both families at once, IPv4 first in the result. One that fails does not spoil the other.
    async fn addresses(&self, name: &Name, lookup: Lookup) -> Answer {
        let (v4, v6) = match lookup {
            Lookup::V4 => return self.ask(name, RecordType::A).await,
            Lookup::V6 => return self.ask(name, RecordType::AAAA).await,
            Lookup::Any => {
                tokio::join!(
                    self.ask(name, RecordType::A),
                    self.ask(name, RecordType::AAAA)
                )
            }
        };
        match (v4, v6) {
            (Answer::Addresses(mut first), Answer::Addresses(second)) => {
                first.extend(second);
                Answer::Addresses(first)
            }
            (Answer::Addresses(some), _) | (_, Answer::Addresses(some)) if !some.is_empty() => {
                Answer::Addresses(some)
            }
            (Answer::Failed(failure), _) | (_, Answer::Failed(failure)) => Answer::Failed(failure),
            (some, _) => some,
        }
    }

    /// One question to the servers in turn, until one knows.
    async fn ask(&self, name: &Name, kind: RecordType) -> Answer {
        let first = if self.settings.rotate {
            LOOKUPS.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let count = self.servers.len();
        let mut worst = Failure::Silent;
        for _ in 0..self.settings.attempts {
            for server in self
                .servers
                .iter()
                .cycle()
                .skip(first % count.max(1))
                .take(count)
            {
                match self.ask_server(*server, name, kind).await {
                    Answer::Failed(Failure::Silent) => {}
                    Answer::Failed(failure) => worst = failure,
                    answer => return answer,
                }
            }
            if worst != Failure::Silent {
                break;
            }
        }
        Answer::Failed(worst)
    }

    async fn ask_server(&self, server: SocketAddr, name: &Name, kind: RecordType) -> Answer {
        let Ok((query, bytes)) = question(name, kind) else {
            return Answer::Failed(Failure::Never);
        };
        let exchange = async {
            if !self.settings.use_tcp {
                let message = over_udp(server, &query, &bytes).await?;
                if !message.metadata.truncation {
                    return Ok(message);
                }
            }
            over_tcp(server, &query, &bytes).await
        };
        let answered: io::Result<Message> = within(self.settings.timeout, exchange).await;
        match answered {
            Ok(message) => read(&message, name, kind),
            Err(error) => {
                tracing::debug!(%server, %name, %error, "a name server does not answer");
                Answer::Failed(match error.kind() {
                    io::ErrorKind::InvalidData => Failure::Never,
                    _ => Failure::Silent,
                })
            }
        }
    }
}

/// A query with a number that cannot be guessed, and how it is written.
fn question(name: &Name, kind: RecordType) -> io::Result<(Message, Vec<u8>)> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(io::Error::other)?;
    Ok((message, bytes))
}

async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(timeout, exchange)
        .await
        .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

async fn over_udp(server: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..MAX_STRAY {
        let length = socket.recv(&mut buffer).await?;
        // Nonsense and forgeries are not answers: the right one may still come.
        if let Ok(message) = Message::from_vec(buffer.get(..length).unwrap_or_default())
            && answers(&message, query)
        {
            return Ok(message);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn over_tcp(server: SocketAddr, query: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream
        .write_all(&[&length.to_be_bytes(), bytes].concat())
        .await?;
    let length = usize::from(stream.read_u16().await?).min(MAX_DNS_ANSWER);
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await?;
    let message = Message::from_vec(&buffer).map_err(|_| io::ErrorKind::InvalidData)?;
    if answers(&message, query) {
        Ok(message)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Whether it answers this very query.
fn answers(message: &Message, query: &Message) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == query.metadata.id
        && message.queries == query.queries
}

/// Reads an answer: the addresses of the name, through its aliases.
fn read(message: &Message, name: &Name, kind: RecordType) -> Answer {
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Answer::NoName,
        ResponseCode::ServFail => return Answer::Failed(Failure::Later),
        _ => return Answer::Failed(Failure::Never),
    }
    let alias_of = |name: &Name| {
        message
            .answers
            .iter()
            .find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *name => Some(target.0.clone()),
                _ => None,
            })
    };
    let names: Vec<Name> = std::iter::successors(Some(name.clone()), alias_of)
        .take(MAX_ALIASES)
        .collect();
    let own = message
        .answers
        .iter()
        .filter(|record| names.contains(&record.name));
    let addresses = own.filter_map(|record| match (&record.data, kind) {
        (RData::A(address), RecordType::A) => Some(address.0.into()),
        (RData::AAAA(address), RecordType::AAAA) => Some(IpAddr::from(address.0).to_canonical()),
        _ => None,
    });
    Answer::Addresses(addresses.collect())
}

#[cfg(test)]
mod tests;
