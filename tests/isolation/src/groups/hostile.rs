//! Guests that mean harm: what a pod beside them feels of it, and the host.
//!
//! A victim serves a page and is asked for it again and again from outside, alone and beside each
//! attack. `victim-http` is the time of one answer beside fifty attackers. `host-growth` is by how
//! much the anonymous memory of the whole `wasmpod run` grew at most beside one, whose own memory
//! is part of it; beside fifty where they only compute. `crowd-growth` is the same beside fifty of
//! every attack: nothing is promised of it, since the own memory of fifty is part of it. That each
//! attacker ends with its reason is what the end-to-end tests check.

mod run;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use self::run::{Run, memory_kib};
use crate::bench::Bench;
use crate::report::{Case, Figure};
use crate::samples::{Better, Samples};
use crate::table::progress;

const GROUP: &str = "hostile";

const VICTIM: Case = Case {
    group: GROUP,
    name: "victim-http",
    unit: "us",
    better: Better::Lower,
};

const GROWTH: Case = Case {
    group: GROUP,
    name: "host-growth",
    unit: "KiB",
    better: Better::Lower,
};

/// As [`GROWTH`], in the runs of [`VICTIM`].
const CROWD_GROWTH: Case = Case {
    name: "crowd-growth",
    ..GROWTH
};

/// The victim without company.
const ALONE: &str = "alone";

/// The attack that is felt most.
const WORST: &str = "worst";

/// Attackers at once beside the victim that is asked.
const CROWD: usize = 50;

/// How long the victim is asked in one run.
const WINDOW: Duration = Duration::from_millis(300);

/// How often it is asked at least.
const REQUESTS: usize = 50;

/// Requests between two looks at the host's memory.
const LOOK_EVERY: usize = 10;

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest page that is an answer.
const PAGE: u64 = 4096;

/// What hostile guests do.
struct Attack {
    name: &'static str,
    guest: &'static str,
    args: &'static [&'static str],
    /// `limits.memory`, where the attack is on memory.
    memory: Option<&'static str>,
    /// Attackers at once beside the host whose memory is looked at.
    growing: usize,
    /// Whether it is tried as a preview 1 module too.
    has_preview1: bool,
}

const fn attack(name: &'static str, guest: &'static str, args: &'static [&'static str]) -> Attack {
    Attack {
        name,
        guest,
        args,
        memory: None,
        growing: 1,
        has_preview1: true,
    }
}

const ATTACKS: [Attack; 12] = [
    Attack {
        growing: CROWD,
        ..attack("spin", "cpu", &["spin"])
    },
    Attack {
        memory: Some("32Mi"),
        ..attack("memory-at-once", "mem", &["grow", "64"])
    },
    Attack {
        memory: Some("4Mi"),
        ..attack("memory-in-steps", "mem", &["steps", "64"])
    },
    attack("stack", "mem", &["recurse"]),
    attack("log-lines", "host", &["log", "1024"]),
    attack("log-line", "host", &["line", "8000000"]),
    attack("random", "host", &["random", "1024", "1048576"]),
    attack("handles", "fs", &["handles", "/etc/hosts"]),
    Attack {
        has_preview1: false,
        ..attack("sockets", "net", &["sockets"])
    },
    Attack {
        has_preview1: false,
        ..attack("pollables", "host", &["pollables"])
    },
    Attack {
        memory: Some("32Mi"),
        has_preview1: false,
        ..attack("http-fields", "http-client", &["fields"])
    },
    // As many as may be under way and wait, to a port where nobody listens, each refused in turn.
    Attack {
        has_preview1: false,
        ..attack(
            "http-requests",
            "http-client",
            &["many", "http://127.0.0.1:9/", "600"],
        )
    },
];

/// What was felt of one sort of attackers.
#[derive(Debug, Default)]
struct Felt {
    /// Microseconds of each answer.
    answers: Vec<f64>,
    /// KiB in each run with as many attackers as [`Attack::growing`] says.
    growth: Vec<f64>,
    /// KiB in each run with a crowd.
    crowd_growth: Vec<f64>,
}

/// Measures all of it.
///
/// # Errors
/// When the victim does not answer, or a run does not start.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut contenders = vec![(ALONE.to_owned(), None, Felt::default())];
    for attack in &ATTACKS {
        let name = attack.name.to_owned();
        contenders.push((name, Some((attack, false)), Felt::default()));
        if attack.has_preview1 {
            let name = format!("{}-p1", attack.name);
            contenders.push((name, Some((attack, true)), Felt::default()));
        }
    }
    for (name, company, _) in &contenders {
        // Compiles what is not compiled yet.
        progress(name)?;
        once(bench, *company, 1)?;
    }
    progress("all in turns")?;
    for _ in 0..bench.amount.processes {
        for (_, company, felt) in &mut contenders {
            let crowd = once(bench, *company, CROWD)?;
            felt.answers.extend(crowd.answers);
            felt.crowd_growth.extend(crowd.growth);
            let growing = company.map_or(0, |(attack, _)| attack.growing);
            felt.growth.extend(once(bench, *company, growing)?.growth);
        }
    }
    let felt: Vec<(&str, &Felt)> = contenders
        .iter()
        .map(|(name, _, felt)| (name.as_str(), felt))
        .collect();
    Ok(figures(&felt))
}

/// The figures of every case, from what was felt of each contender.
fn figures(contenders: &[(&str, &Felt)]) -> Vec<Figure> {
    let of = |case: Case, samples: fn(&Felt) -> &Vec<f64>| {
        let measured = contenders
            .iter()
            .map(|(name, felt)| case.measured(name, &Samples::new(samples(felt).clone())));
        with_worst(measured.collect())
    };
    [
        of(VICTIM, |felt| &felt.answers),
        of(GROWTH, |felt| &felt.growth),
        of(CROWD_GROWTH, |felt| &felt.crowd_growth),
    ]
    .concat()
}

/// The figures with the one that is worst by its p99 told again under that name, and every one
/// divided by the first.
fn with_worst(mut figures: Vec<Figure>) -> Vec<Figure> {
    let worst = figures.iter().max_by(|a, b| {
        a.p99
            .partial_cmp(&b.p99)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    if let Some(worst) = worst.cloned() {
        figures.push(Figure {
            contender: WORST.to_owned(),
            ..worst
        });
    }
    let Some((alone, others)) = figures.split_first() else {
        return figures;
    };
    let ratios: Vec<Figure> = others.iter().map(|other| other.ratio_to(alone)).collect();
    figures.extend(ratios);
    figures
}

/// One run: the victim, then so many attackers, then all until the window is over.
fn once(bench: &Bench, company: Option<(&Attack, bool)>, attackers: usize) -> anyhow::Result<Felt> {
    let mut felt = Felt::default();
    let pods = pods(bench, company, attackers);
    let mut run = Run::start(bench, &pods)?;
    let victim = run.listening("victim", 8080)?;
    let gate = run.listening("hostile", 9000)?;
    ask(victim)?;
    let before = memory_kib(run.pid())?;
    let mut most = before;
    // The gate answers once and is gone, and the attack begins.
    ask(gate)?;
    let begun = Instant::now();
    let mut asked = 0;
    while asked < REQUESTS || begun.elapsed() < WINDOW {
        felt.answers.push(ask(victim)?);
        asked += 1;
        if asked % LOOK_EVERY == 0 {
            most = most.max(memory_kib(run.pid())?);
        }
    }
    // Who never came has harmed nobody: that would be no figure.
    run.begun("hostile")?;
    felt.growth.push((most - before).max(0.0));
    run.end()?;
    Ok(felt)
}

/// Microseconds from a connect to the last byte of the page.
fn ask(server: SocketAddr) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("{server} takes no connection"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.take(PAGE).read_to_string(&mut page)?;
    if !page.starts_with("HTTP/1.1 200 ") {
        bail!("{server} answers {page:?}");
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// The two pods, as one list.
fn pods(bench: &Bench, company: Option<(&Attack, bool)>, attackers: usize) -> Value {
    let net = bench.programs.guest("net", false);
    let server = |name: &str, port: u16, times: &[&str]| {
        let address = format!("0.0.0.0:{port}");
        let mut args = vec!["page", &address, "here"];
        args.extend(times);
        json!({
            "name": name,
            "image": format!("file:{}", net.display()),
            "args": args,
            "ports": [{"containerPort": port}],
        })
    };
    let attackers: Vec<Value> = match company {
        None => vec![server("idle", 9001, &[])],
        Some((attack, is_preview1)) => {
            let image = bench.programs.guest(attack.guest, is_preview1);
            let attacker = |number| attacker(attack, &image, number);
            (0..attackers).map(attacker).collect()
        }
    };
    let pod = |name: &str, inits: Vec<Value>, containers: Vec<Value>| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"initContainers": inits, "containers": containers},
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        pod("victim", Vec::new(), vec![server("server", 8080, &[])]),
        pod("hostile", vec![server("gate", 9000, &["1"])], attackers),
    ]})
}

fn attacker(attack: &Attack, image: &std::path::Path, number: usize) -> Value {
    let mut container = json!({
        "name": format!("attacker-{number}"),
        "image": format!("file:{}", image.display()),
        "args": attack.args,
    });
    if let Some(memory) = attack.memory {
        let resources = json!({"limits": {"memory": memory}});
        if let Some(fields) = container.as_object_mut() {
            fields.insert("resources".to_owned(), resources);
        }
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_tells_its_own_samples() {
        let felt = |base: f64| Felt {
            answers: vec![base],
            growth: vec![base + 1.0],
            crowd_growth: vec![base + 2.0],
        };
        let (alone, stack) = (felt(10.0), felt(20.0));
        let figures = figures(&[(ALONE, &alone), ("stack", &stack)]);
        let told = |case: Case| {
            let is_it = |f: &&Figure| f.case == case.name && f.contender == WORST;
            let figure = figures.iter().find(is_it);
            figure.and_then(|f| Some((f.unit.as_str(), f.p99?)))
        };
        assert_eq!(told(VICTIM), Some(("us", 20.0)));
        assert_eq!(told(GROWTH), Some(("KiB", 21.0)));
        assert_eq!(told(CROWD_GROWTH), Some(("KiB", 22.0)));
    }

    #[test]
    fn the_worst_is_told_by_its_tail() {
        let figure = |name: &str, p99: f64| Figure {
            p99: Some(p99),
            ..VICTIM.measured(name, &Samples::new(vec![1.0, 2.0]))
        };
        let figures = with_worst(vec![
            figure(ALONE, 2.0),
            figure("spin", 9.0),
            figure("stack", 4.0),
        ]);
        assert_eq!(figures.len(), 7, "{figures:?}");
        assert_eq!(figures[3].contender, WORST);
        assert_eq!(figures[3].p99, Some(9.0));
        assert_eq!(figures[4].contender, "spin/alone");
        assert_eq!(figures[4].p99, Some(4.5));
    }
}
