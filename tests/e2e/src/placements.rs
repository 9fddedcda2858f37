//! The same stories in every placement of the pod host: as a task, as one child process, as one
//! child process per pod; and what is left when a child is killed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, PLACEMENTS, Pod, Run, Running, fetch, pods};

/// A pod that serves its name on port 8080.
fn server(name: &str) -> Pod {
    let ports = json!({"ports": [{"containerPort": 8080}]});
    Pod::new(name).container("c", "net", &["page", "0.0.0.0:8080", name], ports)
}

/// Every process below one, itself not among them, with its parent.
fn descendants(of: Pid) -> anyhow::Result<Vec<Pid>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        // `pid (name) state parent …`, where the name may hold anything.
        let Some((start, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let pid = start
            .split(' ')
            .next()
            .and_then(|pid| pid.parse::<i32>().ok());
        let parent = rest
            .split_whitespace()
            .nth(1)
            .and_then(|pid| pid.parse::<i32>().ok());
        if let (Some(pid), Some(parent)) = (pid, parent) {
            parents.insert(pid, parent);
        }
    }
    let is_below = |mut pid: i32| {
        while let Some(parent) = parents.get(&pid) {
            if *parent == of.as_raw_nonzero().get() {
                return true;
            }
            pid = *parent;
        }
        false
    };
    Ok(parents
        .keys()
        .filter(|pid| is_below(**pid))
        .filter_map(|pid| Pid::from_raw(*pid))
        .collect())
}

/// Whether a process is gone, or only waits to be reaped.
fn is_gone(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

/// What tells the ends of processes that are there now.
fn ends_of(processes: &[Pid]) -> anyhow::Result<Vec<OwnedFd>> {
    let ends = processes
        .iter()
        .map(|process| pidfd_open(*process, PidfdFlags::empty()));
    Ok(ends.collect::<Result<_, _>>()?)
}

/// Waits until one of the processes has ended, and answers which.
fn wait_end(ends: &[OwnedFd]) -> anyhow::Result<usize> {
    let mut told: Vec<_> = ends
        .iter()
        .map(|end| PollFd::new(end, PollFlags::IN))
        .collect();
    let patience = Timespec::try_from(PATIENCE)?;
    poll(&mut told, Some(&patience))?;
    let ended = told.iter().position(|end| !end.revents().is_empty());
    ended.context("no process of a pod has ended")
}

/// Waits until all of the processes have ended.
fn wait_ends(ends: Vec<OwnedFd>) -> anyhow::Result<()> {
    ends.into_iter()
        .try_for_each(|end| wait_end(&[end]).map(drop))
}

fn wait_served(running: &mut Running, pod: &str) -> anyhow::Result<()> {
    running.wait_log(pod, "c", "listening")?;
    let address = running.wait_ready(pod)?;
    assert!(fetch((address, 8080).into(), "/")?.starts_with(pod));
    Ok(())
}

/// Waits until a container of the pods `one` and `two` was killed, and answers the other pod.
fn wait_killed(running: &mut Running) -> anyhow::Result<&'static str> {
    let killed = running.wait_for("a pod whose container has ended", |line| {
        ["one", "two"].into_iter().find(|pod| {
            let state = line
                .status(pod)
                .map(|status| &status["containerStatuses"][0]["state"]);
            state.is_some_and(|state| state["terminated"]["exitCode"] == 137)
        })
    })?;
    Ok(if killed == "one" { "two" } else { "one" })
}

#[test]
fn pods_serve_and_stop_in_every_placement() -> anyhow::Result<()> {
    for (placement, processes) in PLACEMENTS.into_iter().zip([0, 1, 2]) {
        let mut running = Run::of(pods([&server("one"), &server("two")]))?
            .placed(placement)
            .start()?;
        wait_served(&mut running, "one")?;
        wait_served(&mut running, "two")?;
        let children = descendants(running.process())?;
        assert_eq!(children.len(), processes, "{placement}");
        let children = ends_of(&children)?;
        running.signal(Signal::INT)?;
        let ended = running.finish()?;
        assert_eq!(
            ended.code,
            Some(130),
            "{placement}: {}",
            ended.said.transcript()
        );
        wait_ends(children).with_context(|| format!("{placement}: a child is left"))?;
    }
    Ok(())
}

#[test]
fn exit_codes_and_reasons_are_the_same_in_every_placement() -> anyhow::Result<()> {
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    let pod = Pod::new("p")
        .container("fine", "host", &["exit", "0"], Value::Null)
        .container("failed", "host", &["exit", "7"], Value::Null)
        .container("trapped", "host", &["trap"], Value::Null)
        .container("hungry", "mem", &["grow", "64"], limit);
    for placement in PLACEMENTS {
        let ended = Run::of(&pod)?.placed(placement).finish()?;
        let transcript = ended.said.transcript();
        let end = |container: &str| {
            let end = ended.said.terminated("p", container);
            (
                end["exitCode"].as_i64(),
                end["reason"].as_str().unwrap_or_default().to_owned(),
            )
        };
        assert_eq!(
            end("fine"),
            (Some(0), "Completed".to_owned()),
            "{placement}: {transcript}"
        );
        assert_eq!(
            end("failed"),
            (Some(7), "Error".to_owned()),
            "{placement}: {transcript}"
        );
        assert_eq!(
            end("trapped"),
            (Some(134), "Error".to_owned()),
            "{placement}: {transcript}"
        );
        assert_eq!(
            end("hungry"),
            (Some(137), "OOMKilled".to_owned()),
            "{placement}: {transcript}"
        );
        assert_eq!(ended.code, Some(7), "{placement}: {transcript}");
    }
    Ok(())
}

#[test]
fn containers_share_localhost_and_volumes_in_every_placement() -> anyhow::Result<()> {
    let mount = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let pod = Pod::new("p")
        .container(
            "server",
            "net",
            &["page", "127.0.0.1:7000", "hello", "1"],
            Value::Null,
        )
        .container("client", "net", &["get", "127.0.0.1:7000"], Value::Null)
        .container("writer", "fs", &["write", "/d/f", "text"], mount.clone())
        .container("reader", "fs", &["wait-for", "/d/f", "text"], mount)
        .spec(json!({"volumes": [{"name": "d", "emptyDir": {}}]}));
    for placement in PLACEMENTS {
        let ended = Run::of(&pod)?.placed(placement).finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(0), "{placement}: {transcript}");
        assert!(
            ended.said.logs("p", "client").contains(&"hello"),
            "{placement}: {transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_killed_child_ends_its_pod_and_no_other() -> anyhow::Result<()> {
    let manifest = pods([&server("one"), &server("two")]);
    let mut running = Run::of(manifest)?
        .placed("child-per-pod")
        .private_data()
        .start()?;
    wait_served(&mut running, "one")?;
    wait_served(&mut running, "two")?;
    let children = descendants(running.process())?;
    assert_eq!(children.len(), 2);
    let ends = ends_of(&children)?;
    kill_process(children[0], Signal::KILL)?;
    let other = wait_killed(&mut running)?;
    wait_served(&mut running, other)?;
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(130), "{transcript}");
    wait_ends(ends).with_context(|| format!("a child is left: {transcript}"))?;
    let left = fs::read_dir(ended.home.path().join("data/pods"));
    assert_eq!(left.map_or(0, Iterator::count), 0, "{transcript}");
    Ok(())
}

#[test]
fn a_pod_that_has_ended_leaves_no_child_while_another_goes_on() -> anyhow::Result<()> {
    let ports = json!({"ports": [{"containerPort": 8080}]});
    let once = ["page", "0.0.0.0:8080", "once", "1"];
    let once = Pod::new("once").container("c", "net", &once, ports);
    let manifest = pods([&server("on"), &once]);
    let mut running = Run::of(manifest)?.placed("child-per-pod").start()?;
    wait_served(&mut running, "on")?;
    let children = descendants(running.process())?;
    assert_eq!(children.len(), 2);
    let ends = ends_of(&children)?;
    wait_served(&mut running, "once")?;
    let ended = wait_end(&ends)?;
    let left = children[1 - ended];
    assert!(!is_gone(left), "both pods' children are gone");
    wait_served(&mut running, "on")?;
    Ok(())
}

#[test]
fn a_killed_child_is_replaced_where_the_policy_says_so() -> anyhow::Result<()> {
    for placement in ["child", "child-per-pod"] {
        let pod = server("p").spec(json!({"restartPolicy": "Always"}));
        let mut running = Run::of(pod)?.placed(placement).start()?;
        wait_served(&mut running, "p")?;
        for child in descendants(running.process())? {
            kill_process(child, Signal::KILL)?;
        }
        running.wait_container("p", "c", "a second life", |status| {
            status["restartCount"] == 1 && status["state"]["running"].is_object()
        })?;
        running.wait_for("a second page", |line| {
            let log = line.told("log").filter(|log| log["attempt"] == 1)?;
            log["text"].as_str()?.contains("listening").then_some(())
        })?;
        let address = running.said.status("p")["podIP"].as_str();
        let address: IpAddr = address.context("a pod without an address")?.parse()?;
        assert!(fetch((address, 8080).into(), "/")?.starts_with('p'));
    }
    Ok(())
}

#[test]
fn nothing_is_left_when_the_program_itself_is_killed() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let mut running = Run::of(server("p"))?
            .placed(placement)
            .private_data()
            .start()?;
        wait_served(&mut running, "p")?;
        let address = (running.wait_ready("p")?, 8080).into();
        let children = ends_of(&descendants(running.process())?)?;
        running.signal(Signal::KILL)?;
        let ended = running.finish()?;
        assert_eq!(ended.code, None, "{placement}");
        wait_ends(children).with_context(|| format!("{placement}: a child is left"))?;
        assert!(
            crate::harness::is_refused(address)?,
            "{placement}: {address} is still served"
        );
    }
    Ok(())
}

/// A pod that serves its name once at TCP port 7000 and UDP port 5300, neither declared, and asks
/// another pod of this kind for both.
fn companion(name: &str, other: &str) -> Pod {
    let (page, datagrams) = (format!("{other}:7000"), format!("{other}:5300"));
    Pod::new(name)
        .container(
            "page",
            "net",
            &["page", "0.0.0.0:7000", name, "1"],
            Value::Null,
        )
        .container("get", "net", &["get", &page], Value::Null)
        .container(
            "echo",
            "net",
            &["udp-echo", "0.0.0.0:5300", "1"],
            Value::Null,
        )
        .container("ask", "net", &["udp-ask", &datagrams, name], Value::Null)
}

#[test]
fn pods_reach_each_other_in_every_placement_and_see_who_comes() -> anyhow::Result<()> {
    let shared = tempfile::tempdir()?;
    let host_path = json!({"volumes": [{"name": "h", "hostPath": {"path": shared.path()}}]});
    let plain = [companion("one", "two"), companion("two", "one")];
    // The pod with the host path has a child of its own.
    let apart = [
        companion("one", "two"),
        companion("two", "one").spec(host_path),
    ];
    let cases = [
        ("task", &plain),
        ("child", &plain),
        ("child", &apart),
        ("child-per-pod", &plain),
    ];
    for (placement, both) in cases {
        let ended = Run::of(pods(both))?.placed(placement).finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(0), "{placement}: {transcript}");
        let address = |pod: &str| ended.said.status(pod)["podIP"].as_str().map(str::to_owned);
        for (pod, other) in [("one", "two"), ("two", "one")] {
            let own = address(pod).context("an address")?;
            let others = address(other).context("an address")?;
            assert_ne!(own, others, "{placement}");
            let page = ended.said.logs(pod, "get").join("\n");
            assert!(
                page.contains(&format!("\n{other}\n")),
                "{placement}: {page}"
            );
            assert!(
                page.contains(&format!("peer {own}:")),
                "{placement}: {page}"
            );
            assert!(
                page.contains(&format!("local {others}:7000")),
                "{placement}: {page}"
            );
            let answer = format!("answer {pod} from {others}:5300");
            assert_eq!(ended.said.logs(pod, "ask"), [answer], "{placement}");
            let heard = ended.said.logs(other, "echo").join("\n");
            assert!(
                heard.contains(&format!("from {own}:")),
                "{placement}: {heard}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_connection_between_children_carries_much_ends_and_is_refused_as_in_memory()
-> anyhow::Result<()> {
    let server = Pod::new("server")
        .container("sink", "net", &["sink", "0.0.0.0:7000"], Value::Null)
        .container("half", "net", &["half-serve", "0.0.0.0:7001"], Value::Null)
        .container(
            "many",
            "net",
            &["many-serve", "0.0.0.0:7002", "100"],
            Value::Null,
        );
    let client = Pod::new("client")
        .container(
            "source",
            "net",
            &["source", "server:7000", "32"],
            Value::Null,
        )
        .container(
            "half",
            "net",
            &["half", "server:7001", "100000"],
            Value::Null,
        )
        .container("many", "net", &["many", "server:7002", "100"], Value::Null)
        .init(
            "refused",
            "net",
            &["connect", "127.64.0.1:7003", "127.127.255.254:7003"],
            Value::Null,
        );
    for placement in PLACEMENTS {
        let ended = Run::of(pods([&server, &client]))?
            .placed(placement)
            .finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(0), "{placement}: {transcript}");
        let has = |pod, container, line: &str| {
            let logs = ended.said.logs(pod, container).join("\n");
            assert!(logs.contains(line), "{placement}, {container}: {logs}");
        };
        has("server", "sink", "received_bytes 33554432");
        has("client", "half", "write after shutdown BrokenPipe");
        has("client", "half", "answer received 100000");
        has("client", "many", "connections 100");
        has(
            "client",
            "refused",
            "connect 127.64.0.1:7003 ConnectionRefused",
        );
        has(
            "client",
            "refused",
            "connect 127.127.255.254:7003 ConnectionRefused",
        );
    }
    Ok(())
}

#[test]
fn the_pods_of_a_killed_child_are_refused_and_the_others_live_on() -> anyhow::Result<()> {
    let friend = |name: &str, other: &str| {
        let url = format!("http://{other}:8080/");
        let probe = json!({"exec": {"command": ["wget", "-O", "-", url]}, "periodSeconds": 1});
        let fields = json!({"ports": [{"containerPort": 8080}], "readinessProbe": probe});
        Pod::new(name).container("c", "net", &["page", "0.0.0.0:8080", name], fields)
    };
    let manifest = pods([&friend("one", "two"), &friend("two", "one")]);
    let mut running = Run::of(manifest)?.placed("child-per-pod").start()?;
    // Each is ready once it has fetched the other's page.
    wait_served(&mut running, "one")?;
    wait_served(&mut running, "two")?;
    kill_process(descendants(running.process())?[0], Signal::KILL)?;
    let other = wait_killed(&mut running)?;
    let was_ready = Cell::new(false);
    running.wait_for("its friend to miss it", |line| {
        let container = &line.status(other)?["containerStatuses"][0];
        let is_ready = container["ready"] == true;
        let lives = container["state"]["running"].is_object();
        (was_ready.replace(was_ready.get() || is_ready) && lives && !is_ready).then_some(())
    })?;
    let address = running.said.status(other)["podIP"].as_str();
    let address: IpAddr = address.context("a pod without an address")?.parse()?;
    assert!(fetch((address, 8080).into(), "/")?.starts_with(other));
    Ok(())
}

#[test]
fn compiled_code_that_was_cut_is_compiled_again() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let pod = Pod::one("host", &["exit", "0"], Value::Null);
    for placement in ["task", "child"] {
        for cut in [0, 1, 1000] {
            let ended = Run::of(&pod)?
                .placed(placement)
                .data(data.path())
                .finish()?;
            let transcript = ended.said.transcript();
            assert_eq!(ended.code, Some(0), "{placement}, {cut}: {transcript}");
            let mut codes = 0;
            for entry in fs::read_dir(data.path().join("code"))? {
                let path = entry?.path();
                let extension = path.extension().unwrap_or_default();
                assert!(extension != "tmp", "{} is left", path.display());
                if extension == "cwasm" {
                    let code = fs::File::options().write(true).open(&path)?;
                    code.set_len(code.metadata()?.len() - cut)?;
                    codes += 1;
                }
            }
            assert_eq!(codes, 1, "{placement}, {cut}");
        }
    }
    Ok(())
}

#[test]
fn a_pod_host_that_hangs_holds_no_stop_up() -> anyhow::Result<()> {
    let cases: [(u64, &[Signal]); 2] = [(30, &[Signal::TERM, Signal::INT]), (0, &[Signal::TERM])];
    for (grace, signals) in cases {
        let pod = server("hangs").spec(json!({"terminationGracePeriodSeconds": grace}));
        let mut running = Run::of(pod)?.placed("child").start()?;
        running.wait_ready("hangs")?;
        let children = descendants(running.process())?;
        anyhow::ensure!(!children.is_empty(), "there is no child");
        let ends = ends_of(&children)?;
        for child in &children {
            kill_process(*child, Signal::STOP)?;
        }
        for signal in signals {
            running.signal(*signal)?;
            running.wait_for("the signal to be heard", |line| {
                line.event("hangs", "Killing").map(drop)
            })?;
        }
        let ended = running.finish()?;
        assert_eq!(ended.code, Some(143), "{}", ended.said.transcript());
        wait_ends(ends).context("a child is left")?;
    }
    Ok(())
}
