//! Buckets of several containers, pods and runs: who sees what of whom, and for how long.

use std::fs::File;

use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::{Value, json};

use super::buckets::pod;
use super::{GUEST, said};
use crate::harness::{Ended, PLACEMENTS, Pod, Run, pods};

/// How often each counter counts.
const TIMES: &str = "100";

const COUNTERS: [&str; 4] = ["c1", "s1", "c2", "s2"];

/// A container `c` that fills a bucket, and then `d` that reads it.
fn writer_and_reader(bucket: &str, mount: Value) -> Pod {
    let mounts = json!({"volumeMounts": [mount]});
    Pod::new("p")
        .init("c", GUEST, &["set", bucket, "k", "kept"], mounts.clone())
        .container("d", GUEST, &["get", bucket, "k"], mounts)
        .spec(json!({"volumes": [{"name": "data", "emptyDir": {}}]}))
}

#[test]
fn containers_of_a_pod_share_buckets_in_every_placement() -> anyhow::Result<()> {
    let mount = json!({"name": "data", "mountPath": "/data"});
    for placement in PLACEMENTS {
        for bucket in ["cache", "/data/kv"] {
            let pod = writer_and_reader(bucket, mount.clone());
            let ended = Run::of(pod)?.placed(placement).finish()?;
            assert_eq!(said(&ended), ["set k ok"], "{placement} {bucket}");
            assert_eq!(
                ended.said.logs("p", "d"),
                ["get k kept", "exists k true"],
                "{placement} {bucket}"
            );
        }
    }
    Ok(())
}

#[test]
fn pods_do_not_share_buckets_in_memory() -> anyhow::Result<()> {
    let one = Pod::new("one").container("c", GUEST, &["lives", "cache", "n", "1"], Value::Null);
    let two = Pod::new("two").container("c", GUEST, &["lives", "cache", "n", "1"], Value::Null);
    for placement in PLACEMENTS {
        let ended = Run::of(pods([&one, &two]))?.placed(placement).finish()?;
        for pod in ["one", "two"] {
            assert_eq!(ended.said.logs(pod, "c"), ["life 1"], "{placement}");
        }
    }
    Ok(())
}

#[test]
fn a_bucket_survives_its_container_and_one_in_memory_goes_with_the_pod() -> anyhow::Result<()> {
    let run = Run::new()?;
    let host = json!({"hostPath": {"path": run.path("host"), "type": "DirectoryOrCreate"}});
    let empty = json!({"emptyDir": {}});
    for placement in PLACEMENTS {
        let cases = [
            // Bucket, volume, and the life that the second pod begins with.
            ("cache", &empty, 1),
            ("/data/kv", &empty, 1),
            ("/data/kv", &host, 3),
        ];
        for (bucket, volume, second) in cases {
            for first in [1, second] {
                let until = (first + 1).to_string();
                let args = ["lives", bucket, placement, &until];
                let pod = pod(&args, volume.clone(), Value::Null)
                    .spec(json!({"restartPolicy": "OnFailure"}));
                let ended = Run::of(pod)?.placed(placement).finish()?;
                let wanted = [format!("life {first}"), format!("life {}", first + 1)];
                assert_eq!(said(&ended), wanted, "{placement} {bucket}");
                let restarts = &ended.said.container("p", "c")["restartCount"];
                assert_eq!(restarts, 1, "{placement} {bucket}");
            }
        }
    }
    Ok(())
}

/// Four containers that each count so often in one bucket, by two ways.
fn counters(name: &str, bucket: &str, volume: &Value) -> Pod {
    let mounts = json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let mut volume = volume.clone();
    volume["name"] = json!("data");
    let mut pod = Pod::new(name).spec(json!({"volumes": [volume]}));
    for (case, container) in ["count", "swap", "count", "swap"].into_iter().zip(COUNTERS) {
        let args = [case, bucket, "n", TIMES];
        pod = pod.container(container, GUEST, &args, mounts.clone());
    }
    pod
}

/// The most that any of them has counted to: the last of them saw everybody's steps.
fn counted(ended: &Ended, pods: &[&str]) -> Option<usize> {
    let counters = pods
        .iter()
        .flat_map(|pod| COUNTERS.map(|container| (pod, container)));
    let logs = counters.flat_map(|(pod, container)| ended.said.logs(pod, container));
    logs.filter_map(|line| line.strip_prefix("counted ")?.parse().ok())
        .max()
}

#[test]
fn writers_lose_no_step_in_every_placement() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        for bucket in ["cache", "/data/kv"] {
            let pod = counters("p", bucket, &json!({"emptyDir": {}}));
            let ended = Run::of(pod)?.placed(placement).finish()?;
            let all = counted(&ended, &["p"]);
            assert_eq!(all, Some(400), "{placement}: {}", ended.said.transcript());
        }
    }
    Ok(())
}

#[test]
fn writers_of_two_pods_lose_no_step_even_in_two_processes() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let run = Run::new()?;
        let host = json!({"hostPath": {"path": run.path("host"), "type": "DirectoryOrCreate"}});
        // The root of a volume, and a directory in it.
        for bucket in ["/data", "/data/kv"] {
            let both = ["one", "two"].map(|name| counters(name, bucket, &host));
            let ended = Run::of(pods(&both))?.placed(placement).finish()?;
            let all = counted(&ended, &["one", "two"]);
            assert_eq!(all, Some(800), "{placement}: {}", ended.said.transcript());
        }
    }
    Ok(())
}

#[test]
fn a_process_that_keeps_a_bucket_locked_is_named_and_holds_up_nobody_for_ever() -> anyhow::Result<()>
{
    let held_up = |placement: &str| -> anyhow::Result<()> {
        let run = Run::new()?.file("data/kv/lock", "")?;
        // Whoever may read the file can do that.
        let lock = File::open(run.path("data/kv/lock"))?;
        fcntl_lock(&lock, FlockOperation::LockShared)?;
        let volume = json!({"hostPath": {"path": run.path("data")}});
        let pod = pod(&["set", "/data/kv", "k", "v"], volume, Value::Null);
        let ended = run
            .file("pod.yaml", &pod.to_string())?
            .args(["-f", "pod.yaml"])
            .placed(placement)
            .finish()?;
        let (said, number) = (said(&ended), std::process::id());
        let holder = format!("/data/kv/lock is locked by the process {number}, and");
        for part in ["set k bucket /data/kv", &holder, "10 s at the most"] {
            assert!(said[0].contains(part), "{placement}: {part}: {said:?}");
        }
        drop(lock);
        Ok(())
    };
    // At once, for each of them waits.
    std::thread::scope(|scope| {
        let runs = PLACEMENTS.map(|placement| scope.spawn(move || held_up(placement)));
        let mut ended = runs.into_iter().map(|run| run.join().expect("a thread"));
        ended.try_for_each(|ended| ended)
    })
}
