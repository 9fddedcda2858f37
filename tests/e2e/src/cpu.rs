//! Shares and limits of CPU, as guests themselves see them: in the work they get done.
//!
//! The promise is a share of CPU time, not of wall time, so that a busy machine changes nothing.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::{Ended, Pod, Run};

/// How long each guest counts, in seconds.
const SECONDS: &str = "5";

/// How far a share may be off.
const TOLERANCE: f64 = 0.1;

/// A container that counts, with these resources.
fn counting(pod: Pod, name: &str, resources: Value) -> Pod {
    pod.container(
        name,
        "cpu",
        &["count", SECONDS],
        json!({"resources": resources}),
    )
}

/// The steps that a container of pod `p` got done.
fn steps(ended: &Ended, container: &str) -> anyhow::Result<f64> {
    let logs = ended.said.logs("p", container);
    let told = logs.iter().find_map(|log| log.strip_prefix("iterations "));
    Ok(told.with_context(|| ended.said.transcript())?.parse()?)
}

/// The CPU time that the summary tells of a container of pod `p`, in seconds.
fn cpu_time(ended: &Ended, container: &str) -> anyhow::Result<f64> {
    let pods = ended.said.summary()["pods"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let containers = pods
        .iter()
        .filter_map(|pod| pod["containers"].as_array())
        .flatten();
    let found = containers
        .into_iter()
        .find(|status| status["name"] == container);
    let time = found.and_then(|status| status["cpuSeconds"].as_f64());
    time.with_context(|| format!("no cpuSeconds of {container}: {}", ended.said.transcript()))
}

fn is_near(measured: f64, wanted: f64) -> bool {
    (measured / wanted - 1.0).abs() <= TOLERANCE
}

#[test]
fn requests_are_shares_of_a_cpu_that_is_wanted_by_all() -> anyhow::Result<()> {
    let pod = counting(Pod::new("p"), "one", json!({"requests": {"cpu": "100m"}}));
    let pod = counting(pod, "three", json!({"requests": {"cpu": "300m"}}));
    let ended = Run::of(pod)?.alone().on_one_cpu().finish()?;
    let ratio = steps(&ended, "three")? / steps(&ended, "one")?;
    assert!(
        is_near(ratio, 3.0),
        "1:{ratio:.2}: {}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn a_limit_holds_and_its_time_is_told_as_it_was() -> anyhow::Result<()> {
    let pod = counting(Pod::new("p"), "fifth", json!({"limits": {"cpu": "200m"}}));
    let pod = counting(pod, "free", Value::Null);
    let ended = Run::of(pod)?.alone().finish()?;
    let fifth = cpu_time(&ended, "fifth")?;
    assert!(
        is_near(fifth, 1.0),
        "{fifth} s of 5: {}",
        ended.said.transcript()
    );
    // What the summary calls a second must be the same second for both.
    let pace =
        |container: &str| anyhow::Ok(steps(&ended, container)? / cpu_time(&ended, container)?);
    let (limited, free) = (pace("fifth")?, pace("free")?);
    assert!(
        (limited / free - 1.0).abs() <= 0.3,
        "{limited:.0} and {free:.0} steps per second"
    );
    Ok(())
}
