//! jaq, a jq: streams through it, much data, and its exit codes.

use std::fs;

use super::{output, run};
use crate::harness::{Run, large};

const PEOPLE: &str = r#"[{"name": "Ada", "born": 1815}, {"name": "Bob", "born": 1960}]"#;

#[test]
fn filters_read_standard_input_and_their_exit_code_arrives() -> anyhow::Result<()> {
    let Some(jaq) = large("jaq")? else {
        return Ok(());
    };
    let cases: [(&[&str], &str, i32, &str); 6] = [
        (&["-r", ".[].name"], PEOPLE, 0, "Ada\nBob\n"),
        (
            &["-c", "map(select(.born < 1900) | .name)"],
            PEOPLE,
            0,
            "[\"Ada\"]\n",
        ),
        (
            &["-n", "-c", "--arg", "x", "7", "[range(3)] + [$x]"],
            "",
            0,
            "[0,1,2,\"7\"]\n",
        ),
        (&["-e", ".[0].missing"], PEOPLE, 1, "null"),
        (&["."], "{\"half\":", 5, "failed to parse"),
        (&[".["], "1", 3, "unclosed delimiter"),
    ];
    for (args, stdin, code, wanted) in cases {
        let ended = run(&jaq, args, stdin)?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(code), "{args:?} {transcript}");
        assert!(output(&ended).contains(wanted), "{args:?} {transcript}");
    }
    Ok(())
}

#[test]
fn much_more_than_its_memory_goes_through_standard_input() -> anyhow::Result<()> {
    // Their sum fits in 32 bits, which is what a number of jaq's has in wasm.
    const LINES: u64 = 60_000;
    let Some(jaq) = large("jaq")? else {
        return Ok(());
    };
    let padding = "and nothing else ".repeat(12);
    let lines: String = (0..LINES)
        .map(|n| format!("{{\"n\":{n},\"text\":\"line {n} {padding}\"}}\n"))
        .collect();
    let program = jaq.to_string_lossy().into_owned();
    let args = [
        "--memory",
        "4Mi",
        &program,
        "--",
        "-n",
        "reduce inputs.n as $n (0; . + $n)",
    ];
    let ended = Run::new()?.args(args).stdin(&lines)?.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    assert_eq!(output(&ended), format!("{}\n", LINES * (LINES - 1) / 2));
    Ok(())
}

#[test]
fn a_file_that_does_not_fit_ends_it_as_oom_killed() -> anyhow::Result<()> {
    let Some(jaq) = large("jaq")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("numbers"), "[1, 2, 3]\n".repeat(2 << 20))?;
    let mount = format!("{}:/data:ro", folder.path().display());
    let program = jaq.to_string_lossy().into_owned();
    let args = [
        "--memory",
        "12Mi",
        "--dir",
        &mount,
        &program,
        "--",
        ".",
        "/data/numbers",
    ];
    let ended = Run::new()?.args(args).finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(137), "{transcript}");
    assert!(transcript.contains("OOMKilled"), "{transcript}");
    Ok(())
}
