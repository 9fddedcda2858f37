//! Many pods on one machine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Pod, Run, fetch, pods, skip};

/// More pods than this take too long for a test.
const MOST: usize = 10_000;

/// Containers for which one process may map memory, and not more: `engine::mappings` has the reasons.
fn containers_per_process() -> anyhow::Result<usize> {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count")?;
    let mappings: usize = text.trim().parse()?;
    Ok((mappings - (16 << 10).min(mappings / 4)) / 12)
}

#[test]
fn more_pods_than_one_process_can_hold_run_and_answer() -> anyhow::Result<()> {
    let count = containers_per_process()? + 50;
    if count > MOST {
        return skip("vm.max_map_count is so high that one process holds more than 10,000 pods");
    }
    let ports = json!({"ports": [{"containerPort": 8080}]});
    let server = |number| {
        let name = format!("p{number}");
        let args = ["page", "0.0.0.0:8080", &name];
        Pod::new(&name).container("c", "net", &args, ports.clone())
    };
    let servers: Vec<Pod> = (0..count).map(server).collect();
    let mut running = Run::of(pods(&servers))?.start()?;
    let (listening, addresses) = (Cell::new(0), RefCell::new(HashMap::<String, IpAddr>::new()));
    running.wait_for("all pods listening", |line| {
        if let Some(status) = line.told("status") {
            let pod = status["pod"].as_str()?.strip_prefix("default/")?;
            if let Some(address) = status["status"]["podIP"].as_str() {
                let mut addresses = addresses.borrow_mut();
                addresses.insert(pod.to_owned(), address.parse().ok()?);
            }
        }
        let log = line.told("log").and_then(|log| log["text"].as_str());
        if log.is_some_and(|text| text.starts_with("listening")) {
            listening.set(listening.get() + 1);
        }
        (listening.get() == count && addresses.borrow().len() == count).then_some(())
    })?;
    let addresses = addresses.into_inner();
    for number in [
        0,
        1,
        count / 2,
        count - 51,
        count - 50,
        count - 2,
        count - 1,
    ] {
        let name = format!("p{number}");
        let address = addresses.get(&name).context("a pod without an address")?;
        let page = fetch((*address, 8080).into(), "/")?;
        anyhow::ensure!(page.starts_with(&name), "{name}: {page}");
    }
    running.signal(Signal::INT)?;
    assert_eq!(running.finish()?.code, Some(130));
    Ok(())
}
