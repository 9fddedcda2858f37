//! What resolves without asking anybody.

use model::runtime::PodNetwork;

use super::*;
use crate::PodNet;
use crate::testing::Bench;

/// A name, the families wanted, and what pod 1 gets; `1a` is the IPv4 address of pod 1, `1b` its
/// IPv6 address.
const KNOWN: &str = "
    127.0.0.1        Any  127.0.0.1
    127.0.0.1        V6   NameUnresolvable
    ::1              Any  ::1
    ::ffff:10.0.0.1  Any  10.0.0.1
    localhost        Any  127.0.0.1 ::1
    LocalHost.       V6   ::1
    any.localhost    V4   127.0.0.1
    pod1             Any  1a 1b
    db               Any  10.1.2.3 2001:db8::5
    db.EXAMPLE.      Any  10.1.2.3
    db.example       V6   NameUnresolvable
    mapped           Any  10.1.2.4
    pod2             V4   2a
    web.default      Any  2a 3a 2b 3b
    web.default.pod  V6   2b 3b
    web              Any  NameUnresolvable";

#[test]
fn known_names() {
    let bench = Bench::new();
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let hosts = [
        ("10.1.2.3", owned(&["db", "DB.example"])),
        ("2001:db8::5", owned(&["db"])),
        ("::ffff:10.1.2.4", owned(&["mapped"])),
    ];
    let hosts = hosts.map(|(address, names)| (address.parse().unwrap(), names));
    let pod = |number, hosts, names| {
        let network = PodNetwork {
            hosts,
            names,
            ..PodNetwork::default()
        };
        bench.pod_with(number, network)
    };
    let web = owned(&["web.default", "Web.Default.Pod"]);
    let pods = [
        pod(1, hosts.to_vec(), Vec::new()),
        pod(2, Vec::new(), web.clone()),
        pod(3, Vec::new(), web),
    ];
    for row in KNOWN.lines().skip(1) {
        let mut words = row.split_whitespace();
        let (name, families) = (words.next().unwrap(), words.next().unwrap());
        let lookup = match families {
            "V4" => Lookup::V4,
            "V6" => Lookup::V6,
            _ => Lookup::Any,
        };
        let expected: Vec<String> = words.map(|word| written(word, &pods)).collect();
        let found = match bench.block(pods[0].resolve(name, lookup)) {
            Ok(found) => found.iter().map(IpAddr::to_string).collect(),
            Err(error) => vec![format!("{error:?}")],
        };
        assert_eq!(found, expected, "{row}");
    }
}

/// An address of the table, as it is.
fn written(word: &str, pods: &[PodNet; 3]) -> String {
    let place = |family| word.strip_suffix(family)?.parse::<usize>().ok();
    match (place("a"), place("b")) {
        (Some(pod), _) => pods[pod - 1].addresses()[0].to_string(),
        (_, Some(pod)) => pods[pod - 1].addresses()[1].to_string(),
        (None, None) => word.to_owned(),
    }
}

#[test]
fn what_is_no_name() {
    let bench = Bench::new();
    let pod = bench.pod(1);
    for name in ["", &"x".repeat(300)] {
        let result = bench.block(pod.resolve(name, Lookup::Any));
        assert_eq!(result, Err(NetError::InvalidArgument), "{name}");
    }
}

/// The future may be polled where no runtime is, and given up.
#[test]
fn a_look_up_needs_no_runtime_of_its_own() {
    let bench = Bench::new();
    let dns = model::runtime::Resolver {
        nameservers: vec!["127.160.0.0".parse().unwrap()],
        options: vec!["timeout:1".to_owned(), "attempts:1".to_owned()],
        ..model::runtime::Resolver::default()
    };
    let pod = bench.pod_with(
        1,
        PodNetwork {
            dns,
            ..PodNetwork::default()
        },
    );
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut look_up = Box::pin(pod.resolve("nobody.example", Lookup::Any));
    let _ = look_up.as_mut().poll(&mut cx);
    drop(look_up);
    assert_eq!(
        bench.block(pod.resolve("a..b", Lookup::Any)),
        Err(NetError::InvalidArgument),
        "no name server is asked for what is no name"
    );
}
