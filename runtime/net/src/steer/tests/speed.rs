//! Prints what a steered connection costs: `cargo test -p net -- --ignored --nocapture steered_speed`.

use std::time::Instant;

use super::*;

const ROUNDS: usize = 10_000;
const PAIRS: usize = 5_000;

/// Connects from outside and accepts in the pod, one after the other.
fn connects(what: &str, bench: &Bench, listener: &crate::TcpSocket, to: SocketAddr) {
    let accepting = listener.listener().unwrap();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let client = TcpStream::connect(to).unwrap();
            bench.wait(|cx| accepting.poll_acceptable(cx));
            let server = accepting.try_accept().unwrap();
            let time = start.elapsed();
            drop(server);
            drop(client);
            time
        })
        .collect();
    times.sort_unstable();
    let (median, p99) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    println!("{what}: connect and accept {median:.1?}, p99 {p99:.1?}");
}

#[test]
#[ignore = "prints numbers and takes seconds"]
fn steered_speed() {
    let plain = Bench::new();
    let pod = plain.pod_with(1, declared(Protocol::Tcp, 8080, None));
    let own = at("A", 8080, [&pod, &pod]);
    let listener = listen(&pod, own);
    let Some(bench) = steered() else { return };
    let many: Vec<PodNet> = (2..12).map(|number| bench.pod(number)).collect();
    let pod = bench.pod(1);
    let steered = at("A", 8080, [&pod, &pod]);
    let start = Instant::now();
    let steered_listener = listen(&pod, steered);
    println!("the first steered listener: {:.1?}", start.elapsed());
    connects("plain door", &plain, &listener, own);
    connects("steered, 1 endpoint", &bench, &steered_listener, steered);
    let start = Instant::now();
    let listeners: Vec<_> = many
        .iter()
        .flat_map(|pod| {
            let port = |n| 1000 + u16::try_from(n).unwrap();
            (0..PAIRS / 10).map(move |n| listen(pod, at("A", port(n), [pod, pod])))
        })
        .collect();
    let each = start.elapsed() / u32::try_from(PAIRS).unwrap();
    println!("a further listener: {each:.1?}");
    connects(
        "steered, 5,001 endpoints",
        &bench,
        &steered_listener,
        steered,
    );
    connects("plain door", &plain, &listener, own);
    let start = Instant::now();
    drop(listeners);
    let each = start.elapsed() / u32::try_from(PAIRS).unwrap();
    println!("its end: {each:.1?}");
}
