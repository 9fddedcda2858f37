//! Modules and components written by hand, which no compiler makes: each is refused or contained,
//! with words that name what is wrong.
//!
//! What is wanted of the host stands at the head of each file of `tests/guests/wat`.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Pod, Run, root};

/// What is wanted of a module under a memory limit of 32 MiB.
enum Wanted {
    /// Never started: a reason of kubelet for that, and a message with these words.
    Refused(&'static [&'static str]),
    /// Ended by a trap with code 134, and a message with this word.
    Trapped(&'static str),
    /// Ended at the memory limit: as OOMKilled, or refused before it started with the limit told.
    OverLimit,
    /// Ended on its own in whatever way, which it can only do when the host answers.
    Ended,
    /// Runs until it is stopped.
    Running,
}

use Wanted::{Ended, OverLimit, Refused, Running, Trapped};

const MODULES: [(&str, Wanted); 25] = [
    ("collected-steps", OverLimit),
    ("component-draft", Refused(&["draft of WASI 0.3", "0.3.0"])),
    ("component-empty", Refused(&["wasi:cli/run"])),
    ("component-nested", Ended),
    (
        "component-other-draft",
        Refused(&["wasi:keyvalue/store@0.3.0", "0.2.0-draft2"]),
    ),
    ("component-spin", Running),
    (
        "component-unknown-import",
        Refused(&["example:bank/vault", "wac plug"]),
    ),
    ("divide", Trapped("divi")),
    ("huge-memory", OverLimit),
    ("huge-name", Ended),
    ("huge-table", OverLimit),
    ("huge-vectors", Ended),
    ("many-memories", OverLimit),
    ("memory-steps", OverLimit),
    ("no-memory", Ended),
    ("no-start", Refused(&["_start"])),
    ("recurse", Trapped("stack")),
    ("spin-start", Running),
    ("start-result", Refused(&["_start"])),
    ("table-steps", OverLimit),
    ("threads", Refused(&["thread"])),
    ("trap-start", Ended),
    (
        "unknown-import",
        Refused(&["env::secret", "--allow-undefined"]),
    ),
    ("unreachable", Trapped("unreachable")),
    ("wrong-type-import", Refused(&["wasi_snapshot_preview1"])),
];

#[test]
fn every_module_written_by_hand_is_in_the_table() -> anyhow::Result<()> {
    let mut found: Vec<String> = fs::read_dir(root().join("tests/guests/wat"))?
        .filter_map(|entry| {
            Some(
                entry
                    .ok()?
                    .path()
                    .file_stem()?
                    .to_string_lossy()
                    .into_owned(),
            )
        })
        .collect();
    found.sort();
    assert_eq!(found, MODULES.map(|(name, _)| name.to_owned()));
    Ok(())
}

#[test]
fn modules_written_by_hand_are_refused_or_contained() -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (module, wanted) in MODULES {
        if let Err(error) = check(module, &wanted) {
            violations.push(format!("{module}: {error:#}"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n\n"));
    Ok(())
}

fn check(module: &str, wanted: &Wanted) -> anyhow::Result<()> {
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    let mut running = Run::of(Pod::one(module, &[], limit))?.start()?;
    if let Running = wanted {
        running.wait_container("p", "c", "a running container", |c| {
            c["state"]["running"].is_object()
        })?;
        running.signal(Signal::INT)?;
    }
    let ended = running.finish()?;
    let state = &ended.said.container("p", "c")["state"];
    let end = &state["terminated"];
    let message = |state: &Value| {
        let part = |key: &str| {
            state[key]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        part("terminated") + &part("waiting")
    };
    let told = message(state) + &ended.said.text();
    let is_as_wanted = match wanted {
        Refused(words) => {
            end["reason"] != "Completed" && words.iter().all(|word| told.contains(word))
        }
        Trapped(word) => end["exitCode"] == 134 && told.contains(word),
        OverLimit => end["reason"] == "OOMKilled" || (told.contains("32") && end["exitCode"] != 0),
        Ended => end.is_object(),
        Running => end["exitCode"] == 143 || end["exitCode"] == 137,
    };
    anyhow::ensure!(is_as_wanted, "{state}\n{}", ended.said.transcript());
    Ok(())
}
