//! Buckets of one container: what they keep, and what they refuse.

use std::fs;

use serde_json::{Value, json};

use super::{GUEST, said};
use crate::harness::{PLACEMENTS, Pod, Run};

/// A pod whose container `c` has a volume at /data.
pub(super) fn pod(args: &[&str], volume: Value, mount: Value) -> Pod {
    let mut mounted = json!({"name": "data", "mountPath": "/data"});
    let mut volume = volume;
    volume["name"] = json!("data");
    for (field, value) in mount.as_object().into_iter().flatten() {
        mounted[field] = value.clone();
    }
    Pod::one(GUEST, args, json!({"volumeMounts": [mounted]})).spec(json!({"volumes": [volume]}))
}

fn said_by(pod: Pod) -> anyhow::Result<Vec<String>> {
    let ended = Run::of(pod)?.finish()?;
    Ok(said(&ended).into_iter().map(str::to_owned).collect())
}

#[test]
fn batches_and_swaps_in_memory_and_on_a_volume() -> anyhow::Result<()> {
    for bucket in ["", "default", "/data/kv", "/data"] {
        let empty_dir = json!({"emptyDir": {}});
        let said = said_by(pod(&["batch", bucket], empty_dir.clone(), Value::Null))?;
        assert_eq!(
            said[..6],
            [
                "set-many ok",
                "get-many b bb",
                "get-many none",
                "get-many a aa",
                "delete-many ok",
                "left 0",
            ],
            "{bucket}"
        );
        assert!(said[6].contains("1000 is the most"), "{said:?}");
        let said = said_by(pod(&["late", bucket, "k"], empty_dir.clone(), Value::Null))?;
        assert_eq!(
            said,
            ["late, there is somebody else\\'s", "again true", "now mine"],
            "{bucket}"
        );
        let said = said_by(pod(&["fill", bucket, "1100"], empty_dir, Value::Null))?;
        assert_eq!(said, ["filled 1100"], "{bucket}");
    }
    Ok(())
}

#[test]
fn hostile_keys_and_values_are_values_or_errors() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        for bucket in ["cache", "/data/kv"] {
            let run = Run::new()?.file("data/there", "")?;
            let volume = json!({"hostPath": {"path": run.path("data")}});
            let pod = pod(&["hostile", bucket], volume, Value::Null);
            let ended = run
                .file("pod.yaml", &pod.to_string())?
                .args(["-f", "pod.yaml"])
                .placed(placement)
                .finish()?;
            let logs = said(&ended);
            for (line, wanted) in logs.iter().zip([
                "up ok",
                "absolute ok",
                "nul ok",
                "empty ok",
                "lock ok",
                "long the key has 1048576 bytes, and 2048 is the most",
                "value the value has 1048577 bytes, and 1048576 is the most",
                "largest ok",
                "number the value is no whole number",
                "cursor the cursor is none",
                "kept 6",
                "open /none/of/mine no-such-store",
                "open /data/../escaped no-such-store",
                "open / no-such-store",
                "name the bucket's name has 1000 bytes",
            ]) {
                assert!(
                    line.starts_with(wanted),
                    "{placement} {bucket}: {line}, not {wanted}"
                );
            }
            assert_eq!(logs.len(), 15, "{placement} {bucket}: {logs:?}");
            // Nothing lies anywhere but in the bucket.
            let below = |path: &str| -> anyhow::Result<Vec<String>> {
                let mut names = Vec::new();
                for entry in fs::read_dir(ended.home.path().join(path))? {
                    names.push(entry?.file_name().to_string_lossy().into_owned());
                }
                names.sort();
                Ok(names)
            };
            let wanted: &[&str] = match bucket {
                "cache" => &["there"],
                _ => &["kv", "there"],
            };
            assert_eq!(below("data")?, wanted, "{placement}");
            assert_eq!(below("")?, ["data", "pod.yaml"], "{placement}");
        }
    }
    Ok(())
}

#[test]
fn a_million_keys_end_at_the_memory_of_the_container() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
        let pod = Pod::one(GUEST, &["fill", "cache", "1000000"], limit);
        let ended = Run::of(pod)?.placed(placement).finish()?;
        let logs = said(&ended);
        assert!(
            logs[0].starts_with("refused after "),
            "{placement}: {logs:?}"
        );
        for told in [
            "of its limit of 32.0 MiB",
            "in key-value buckets",
            "resources.limits.memory",
        ] {
            assert!(logs[0].contains(told), "{placement}: {logs:?}");
        }
        assert_eq!(logs[1..], ["delete ok", "again ok"], "{placement}");
    }
    Ok(())
}

#[test]
fn without_a_limit_of_its_own_a_pod_has_one() -> anyhow::Result<()> {
    let pod = Pod::one(GUEST, &["fill", "cache", "1000", "1000000"], Value::Null);
    let said = said_by(pod)?;
    assert!(said[0].contains("hold 256 MiB"), "{said:?}");
    assert_eq!(said[1..], ["delete ok", "again ok"]);
    Ok(())
}

#[test]
fn a_full_volume_in_memory_is_told_and_has_room_again_after_a_delete() -> anyhow::Result<()> {
    let said = said_by(filled("Memory"))?;
    assert!(said[0].starts_with("refused after "), "{said:?}");
    for told in ["raise the volume's sizeLimit", "old value and the new one"] {
        assert!(said[0].contains(told), "{said:?}");
    }
    assert_eq!(said[1..], ["delete ok", "again ok"]);
    Ok(())
}

#[test]
fn a_pod_that_fills_a_volume_on_a_disk_is_evicted() -> anyhow::Result<()> {
    let ended = Run::of(filled(""))?.finish()?;
    let transcript = ended.said.transcript();
    let status = ended.said.status("p");
    assert_eq!(status["phase"], "Failed", "{transcript}");
    assert_eq!(status["reason"], "Evicted", "{transcript}");
    // It may be stopped before it can tell that it was refused.
    assert!(matches!(ended.code, Some(1 | 143)), "{transcript}");
    Ok(())
}

/// A pod that writes to a bucket on a volume of 1 MiB until it is refused.
fn filled(medium: &str) -> Pod {
    let volume = json!({"emptyDir": {"sizeLimit": "1Mi", "medium": medium}});
    let args = ["fill", "/data/kv", "1000000", "100000"];
    pod(&args, volume, Value::Null)
}

#[test]
fn a_read_only_mount_is_read_and_not_written() -> anyhow::Result<()> {
    let run = Run::new()?;
    let volume = json!({"hostPath": {"path": run.path("data"), "type": "DirectoryOrCreate"}});
    let written = pod(
        &["set", "/data/kv", "k", "kept"],
        volume.clone(),
        Value::Null,
    );
    let ended = run
        .file("pod.yaml", &written.to_string())?
        .args(["-f", "pod.yaml"])
        .finish()?;
    assert_eq!(said(&ended), ["set k ok"]);
    for (args, wanted) in [
        (["get", "/data/kv", "k", "none"], "get k kept"),
        (["set", "/data/kv", "k", "x"], "set k access-denied"),
        (
            ["delete", "/data/kv", "k", "none"],
            "delete k access-denied",
        ),
        (["get", "/data/empty", "k", "none"], "get k none"),
        (["set", "/data/empty", "k", "x"], "set k access-denied"),
    ] {
        let pod = pod(&args, volume.clone(), json!({"readOnly": true}));
        let ended = Run::of(pod)?.finish()?;
        assert_eq!(said(&ended)[0], wanted);
    }
    Ok(())
}

#[test]
fn handles_and_names_are_limited() -> anyhow::Result<()> {
    for bucket in ["cache", "/data/kv"] {
        let said = said_by(pod(
            &["handles", bucket],
            json!({"emptyDir": {}}),
            Value::Null,
        ))?;
        assert!(said[0].starts_with("refused after 1000: "), "{said:?}");
        assert_eq!(said[1], "again ok");
    }
    let said = said_by(Pod::one(GUEST, &["buckets"], Value::Null))?;
    assert!(said[0].starts_with("refused after 64: "), "{said:?}");
    Ok(())
}

#[test]
fn an_annotation_names_a_volume_and_is_checked() -> anyhow::Result<()> {
    let annotated = |paths: &str| {
        let pod = pod(
            &["set", "sessions", "k", "v"],
            json!({"emptyDir": {}}),
            Value::Null,
        );
        pod.metadata(json!({"annotations": {"wasmpod.dev/keyvalue": paths}}))
    };
    // The other name sees what the first has written.
    let reads = annotated("sessions = /data/s, other=/data/s").container(
        "d",
        GUEST,
        &["lives", "other", "n", "1"],
        json!({
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }),
    );
    let ended = Run::of(reads)?.finish()?;
    assert_eq!(said(&ended), ["set k ok"]);
    assert_eq!(ended.said.logs("p", "d"), ["life 1"]);
    for (paths, told) in [
        ("sessions=data", "the path must be absolute"),
        ("sessions=/other/s", "add a volumeMount"),
        ("sessions", "for example sessions=/data/sessions"),
    ] {
        let ended = Run::of(annotated(paths))?.finish()?;
        let text = ended.said.text();
        assert_eq!(ended.code, Some(125), "{paths}: {text}");
        for part in ["metadata.annotations[wasmpod.dev/keyvalue]", paths, told] {
            assert!(text.contains(part), "{paths}: {text}");
        }
    }
    Ok(())
}
