//! `wasi:config`, `wasi:keyvalue` and `wasi:logging` as pods have them. That servers have them too is
//! shown by the example `keyvalue`.

mod buckets;
mod shared;

use serde_json::{Value, json};

use crate::harness::{Ended, Images, PLACEMENTS, Pod, Run, guest};

/// The guest that asks for all of them.
const GUEST: &str = "capabilities";

/// A ConfigMap and a Secret, as documents of a manifest.
const OBJECTS: &str = "---
{apiVersion: v1, kind: ConfigMap, metadata: {name: words}, data: {greeting: hello, colour: red}}
---
{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {token: s3cret}}
";

/// What container `c` of pod `p` said until it ended with 0.
fn said(ended: &Ended) -> Vec<&str> {
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    ended.said.logs("p", "c")
}

#[test]
fn what_the_pod_declares_is_the_configuration_in_every_placement() -> anyhow::Result<()> {
    let fields = json!({
        "envFrom": [
            {"configMapRef": {"name": "words"}},
            {"prefix": "SECRET_", "secretRef": {"name": "keys"}},
        ],
        "env": [
            {"name": "colour", "value": "green"},
            {"name": "line", "value": "$(greeting), $(colour)"},
        ],
        // Tells the program $PWD, which nobody has declared.
        "workingDir": "/tmp",
    });
    let all = Pod::one(GUEST, &["config"], fields.clone());
    let some = Pod::one(
        GUEST,
        &["config", "greeting", "PWD", "HOSTNAME", ""],
        fields,
    );
    for placement in PLACEMENTS {
        for (pod, wanted) in [
            (
                &all,
                [
                    "config SECRET_token=s3cret",
                    "config colour=green",
                    "config greeting=hello",
                    "config line=hello, green",
                ],
            ),
            (
                &some,
                [
                    "config greeting=hello",
                    "config PWD none",
                    "config HOSTNAME none",
                    "config  none",
                ],
            ),
        ] {
            let ended = Run::of(format!("{pod}{OBJECTS}"))?
                .placed(placement)
                .finish()?;
            assert_eq!(said(&ended), wanted, "{placement}");
        }
    }
    Ok(())
}

#[test]
fn messages_are_lines_of_the_log_in_their_order_in_every_placement() -> anyhow::Result<()> {
    for placement in PLACEMENTS {
        let lines = Pod::one(GUEST, &["log-lines", "50"], Value::Null);
        let ended = Run::of(lines)?.placed(placement).finish()?;
        let wanted: Vec<String> = (0..50)
            .flat_map(|n| [format!("INFO turn: message {n}"), format!("line {n}")])
            .collect();
        assert_eq!(said(&ended), wanted, "{placement}");
        let stream = ended.said.lines.iter().find_map(|line| line.told("log"));
        assert_eq!(stream.map(|log| &log["stream"]), Some(&json!("stderr")));
    }
    for (level, wanted) in [
        ("trace", "TRACE shop: opened"),
        ("debug", "DEBUG shop: opened"),
        ("warn", "WARN shop: opened"),
        ("error", "ERROR shop: opened"),
        ("critical", "CRITICAL shop: opened"),
    ] {
        let pod = Pod::one(GUEST, &["log", level, "shop", "opened"], Value::Null);
        assert_eq!(said(&Run::of(pod)?.finish()?), [wanted]);
    }
    Ok(())
}

#[test]
fn a_message_forges_no_line_and_clears_no_terminal() -> anyhow::Result<()> {
    let pod = Pod::one(GUEST, &["log-forged"], Value::Null);
    let ended = Run::of(&pod)?.finish()?;
    assert_eq!(
        said(&ended),
        ["WARN a\\nb: one\\r\\nINFO x: two\u{1b}[2J", "WARN end"]
    );
    // A person's terminal gets what every other line's control characters become.
    let ended = Run::of(&pod)?.for_a_person().finish()?;
    let shown = ended.said.stray() + &ended.said.text();
    assert!(shown.contains("INFO x: two"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    Ok(())
}

#[test]
fn a_flood_of_messages_arrives_whole() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one(GUEST, &["log-flood", "8"], Value::Null))?.finish()?;
    let logs = said(&ended);
    let bytes: usize = logs.iter().map(|line| line.matches('x').count()).sum();
    assert!(bytes >= 8 << 20, "{bytes}");
    assert!(logs.last().is_some_and(|line| line.starts_with("logged ")));
    Ok(())
}

#[test]
fn a_draft_that_nobody_provides_is_told_before_the_start() -> anyhow::Result<()> {
    let ended = Run::of(Pod::one("component-other-draft", &[], Value::Null))?.finish()?;
    let transcript = ended.said.transcript();
    assert_ne!(ended.code, Some(0), "{transcript}");
    for told in [
        "wasi:keyvalue/store@0.3.0",
        "store, atomics and batch of 0.2.0-draft and 0.2.0-draft2",
    ] {
        assert!(transcript.contains(told), "{told}: {transcript}");
    }
    Ok(())
}

#[test]
fn inspect_names_the_imports_that_nobody_provides_and_no_others() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let images = Images::new(&home.path().join("data"));
    for (name, missing) in [
        (GUEST, json!([])),
        ("visits", json!([])),
        (
            "component-other-draft",
            json!(["wasi:keyvalue/store@0.3.0"]),
        ),
    ] {
        let file = guest(name)?.display().to_string();
        images.good(&["pack", &file, "-t", "it:1"])?;
        let told = images.good(&["inspect", "it:1", "--output", "json"])?;
        let told: Value = serde_json::from_str(&told)?;
        let told = told["missing"].as_array().into_iter().flatten();
        let told: Vec<_> = told.map(|missing| &missing["import"]).collect();
        assert_eq!(json!(told), missing, "{name}");
        let lines = images.good(&["inspect", "it:1"])?;
        let count = lines
            .lines()
            .filter(|line| line.trim().starts_with("Missing: "));
        assert_eq!(count.count(), told.len(), "{lines}");
    }
    Ok(())
}
