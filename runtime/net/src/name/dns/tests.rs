//! The client against a small name server on 127.0.0.1, UDP and TCP on one port.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, AAAA, CNAME};

use super::*;

/// What the server does with a question.
type Reply = fn(&mut Message, &Query);

struct Server {
    address: SocketAddr,
    over_udp: Arc<AtomicU32>,
    over_tcp: Arc<AtomicU32>,
    tasks: tokio::task::JoinSet<()>,
}

impl Server {
    /// Answers with `reply`; over UDP the answer is cut, if `cut`.
    async fn start(reply: Reply, cut: bool) -> Self {
        let (udp, tcp, address) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = udp.local_addr().unwrap();
            match tokio::net::TcpListener::bind(address).await {
                Ok(tcp) => break (udp, tcp, address),
                // Another test has the number, which only UDP had free.
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
        };
        let (over_udp, over_tcp) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        let count = Arc::clone(&over_udp);
        tasks.spawn(async move {
            let mut buffer = vec![0; 2000];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut answer = answer(&buffer[..length], reply);
                if cut {
                    answer.answers.clear();
                    answer.metadata.truncation = true;
                }
                for forgery in forgeries(&answer) {
                    udp.send_to(&forgery, from).await.unwrap();
                }
                udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let count = Arc::clone(&over_tcp);
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut buffer = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut buffer).await.unwrap();
                let bytes = answer(&buffer, reply).to_vec().unwrap();
                stream
                    .write_u16(bytes.len().try_into().unwrap())
                    .await
                    .unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        Self {
            address,
            over_udp,
            over_tcp,
            tasks,
        }
    }

    fn asked(&self) -> (u32, u32) {
        (
            self.over_udp.load(Ordering::Relaxed),
            self.over_tcp.load(Ordering::Relaxed),
        )
    }
}

fn answer(question: &[u8], reply: Reply) -> Message {
    let query = Message::from_vec(question).unwrap();
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    let question = query.queries[0].clone();
    answer.add_query(question.clone());
    reply(&mut answer, &question);
    answer
}

/// Datagrams that must not be believed: noise, another number, another question.
fn forgeries(answer: &Message) -> [Vec<u8>; 3] {
    let forged = IpAddr::from([6, 6, 6, 6]);
    let mut number = answer.clone();
    number.metadata.id = number.metadata.id.wrapping_add(1);
    let name = number.queries[0].name().clone();
    number.answers = vec![record(&name, forged)];
    let mut question = answer.clone();
    let other = Name::from_ascii("other.example.").unwrap();
    question.queries = vec![Query::query(other, RecordType::A)];
    question.answers = vec![record(&name, forged)];
    [
        b"noise".to_vec(),
        number.to_vec().unwrap(),
        question.to_vec().unwrap(),
    ]
}

fn record(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name.clone(), 5, data)
}

fn client(servers: &[&Server], searches: &[&str], options: &[&str]) -> Client {
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    let resolver = Resolver {
        searches: owned(searches),
        options: owned(options),
        nameservers: vec![],
    };
    let mut client = Client::new(&resolver);
    client.servers = servers.iter().map(|server| server.address).collect();
    client
}

/// A zone with an alias, a name of IPv6 only, one that is empty, and nothing else.
fn zone(answer: &mut Message, query: &Query) {
    let name = query.name().clone();
    let v4 = |last| IpAddr::from([203, 0, 113, last]);
    let v6 = "2001:db8::7".parse().unwrap();
    let alias = |to: &str| {
        let target = Name::from_ascii(to).unwrap();
        Record::from_rdata(query.name().clone(), 5, RData::CNAME(CNAME(target)))
    };
    match (name.to_ascii().as_str(), query.query_type()) {
        ("both.example.", RecordType::A) => {
            // A record of somebody else in the same answer is not the name's.
            let stranger = Name::from_ascii("stranger.example.").unwrap();
            answer.add_answers([
                record(&name, v4(1)),
                record(&stranger, v4(66)),
                record(&name, v4(2)),
            ]);
        }
        ("both.example." | "six.example.", RecordType::AAAA) => {
            answer.add_answer(record(&name, v6));
        }
        ("alias.example.", RecordType::A) => {
            let target = Name::from_ascii("both.example.").unwrap();
            answer.add_answers([record(&target, v4(1)), alias("both.example.")]);
        }
        ("loop.example.", _) => {
            answer.add_answer(alias("loop.example."));
        }
        ("both.example." | "six.example." | "alias.example." | "empty.example.", _) => {}
        ("local.example.", RecordType::A) => {
            answer.add_answer(record(&name, [127, 0, 0, 1].into()));
        }
        ("web.ns.svc.cluster.local.", RecordType::A) => {
            answer.add_answer(record(&name, v4(9)));
        }
        ("down.example.", _) => answer.metadata.response_code = ResponseCode::ServFail,
        ("never.example.", _) => answer.metadata.response_code = ResponseCode::Refused,
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
}

#[tokio::test]
async fn answers_are_read_as_they_are_meant() {
    let server = Server::start(zone, false).await;
    let search = ["ns.svc.cluster.local", "svc.cluster.local"];
    let client = client(&[&server], &search, &["ndots:5"]);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (one, two, six) = (ip("203.0.113.1"), ip("203.0.113.2"), ip("2001:db8::7"));
    let none = Err(NetError::NameUnresolvable);
    let cases = [
        ("both.example.", Lookup::Any, Ok(vec![one, two, six])),
        ("both.example", Lookup::V4, Ok(vec![one, two])),
        ("BOTH.example", Lookup::V6, Ok(vec![six])),
        ("six.example", Lookup::Any, Ok(vec![six])),
        ("six.example", Lookup::V4, none.clone()),
        ("alias.example", Lookup::Any, Ok(vec![one])),
        ("loop.example", Lookup::Any, none.clone()),
        ("empty.example", Lookup::Any, none.clone()),
        ("missing.example", Lookup::Any, none.clone()),
        // An answer passes unchanged: the connect decides what 127.0.0.1 means.
        ("local.example", Lookup::Any, Ok(vec![ip("127.0.0.1")])),
        ("web", Lookup::Any, Ok(vec![ip("203.0.113.9")])),
        ("web.", Lookup::Any, none),
        (
            "down.example",
            Lookup::Any,
            Err(NetError::TemporaryResolverFailure),
        ),
        (
            "never.example",
            Lookup::Any,
            Err(NetError::PermanentResolverFailure),
        ),
    ];
    for (name, lookup, expected) in cases {
        assert_eq!(
            client.look_up(name, lookup).await,
            expected,
            "{name}, {lookup:?}"
        );
    }
    assert_eq!(server.asked().1, 0, "nothing needed TCP");
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again_over_tcp() {
    let server = Server::start(zone, true).await;
    let found = client(&[&server], &[], &[])
        .look_up("both.example", Lookup::V4)
        .await;
    assert_eq!(found.unwrap().len(), 2);
    assert_eq!(server.asked(), (1, 1));
    let found = client(&[&server], &[], &["use-vc"])
        .look_up("both.example", Lookup::V4)
        .await;
    assert_eq!(found.unwrap().len(), 2);
    assert_eq!(server.asked(), (1, 2));
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_of_no_use() {
    let refuses = Server::start(
        |answer, _| answer.metadata.response_code = ResponseCode::Refused,
        false,
    );
    let (refuses, knows) = (refuses.await, Server::start(zone, false).await);
    let mut gone = Server::start(zone, false).await;
    gone.tasks.shutdown().await;
    let client_of_all = client(&[&gone, &refuses, &knows], &[], &[]);
    let found = client_of_all.look_up("both.example", Lookup::V4).await;
    assert_eq!(found.unwrap().len(), 2);
    assert_eq!((refuses.asked().0, knows.asked().0), (1, 1));
    let nobody = client(&[&gone], &["search.example"], &["attempts:3"]);
    let result = nobody.look_up("both.example", Lookup::Any).await;
    assert_eq!(result, Err(NetError::TemporaryResolverFailure));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_has_its_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(&[], &["search.example"], &["timeout:3", "attempts:2"]);
    client.servers = vec![silent.local_addr().unwrap()];
    let before = tokio::time::Instant::now();
    let result = client.look_up("both.example", Lookup::Any).await;
    assert_eq!(result, Err(NetError::TemporaryResolverFailure));
    assert_eq!(
        before.elapsed().as_secs(),
        6,
        "both families at once, and no search domain more"
    );
}
