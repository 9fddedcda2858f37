//! QuickJS: scripts and their modules in mounts, long computing, standard input, limits.

use serde_json::{Value, json};

use super::{output, run};
use crate::harness::{Ended, Pod, Run, large};

/// Runs a script that a ConfigMap brings with a module beside it; none where QuickJS cannot be
/// made here.
fn script(text: &str, fields: Value) -> anyhow::Result<Option<Ended>> {
    let Some(qjs) = large("qjs")? else {
        return Ok(None);
    };
    let scripts = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "scripts"},
        "data": {
            "main.js": text,
            "words.js": "export const greet = (name) => `Hello, ${name}.`;",
        },
    });
    let mut container = json!({"volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}]});
    if let (Some(container), Value::Object(fields)) = (container.as_object_mut(), fields) {
        container.extend(fields);
    }
    let pod = Pod::new("p")
        .container("c", "", &["/scripts/main.js", "Ada"], container)
        .image(&format!("file:{}", qjs.display()))
        .spec(json!({"volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}]}));
    Run::of(format!("---\n{scripts}\n{pod}"))?
        .finish()
        .map(Some)
}

#[test]
fn a_script_finds_its_modules_arguments_and_variables() -> anyhow::Result<()> {
    let text = "import * as std from 'qjs:std'; import { greet } from './words.js'; \
        console.log(greet(scriptArgs[1]), std.getenv('COLOUR')); std.exit(7);";
    let variables = json!({"env": [{"name": "COLOUR", "value": "blue"}]});
    let Some(ended) = script(text, variables)? else {
        return Ok(());
    };
    assert_eq!(ended.code, Some(7), "{}", ended.said.transcript());
    assert_eq!(output(&ended), "Hello, Ada. blue\n");
    Ok(())
}

#[test]
fn a_script_computes_for_a_while() -> anyhow::Result<()> {
    let text = "const most = 2_000_000, isnt = new Uint8Array(most + 1); let found = 0; \
        for (let n = 2; n <= most; n++) { \
            if (isnt[n]) continue; found++; \
            for (let m = n * n; m <= most; m += n) isnt[m] = 1; \
        } \
        console.log(found, 'primes');";
    let Some(ended) = script(text, Value::Null)? else {
        return Ok(());
    };
    assert_eq!(ended.code, Some(0), "{}", ended.said.transcript());
    assert_eq!(output(&ended), "148933 primes\n");
    Ok(())
}

#[test]
fn a_script_calls_itself_deep() -> anyhow::Result<()> {
    let text = "const sum = (n) => n === 0 ? 0 : n + sum(n - 1); console.log(sum(1200));";
    let Some(ended) = script(text, Value::Null)? else {
        return Ok(());
    };
    assert_eq!(ended.code, Some(0), "{}", ended.said.transcript());
    assert_eq!(output(&ended), "720600\n");
    Ok(())
}

#[test]
fn a_script_that_hoards_is_killed_at_its_limit() -> anyhow::Result<()> {
    let hoard = "const all = []; for (;;) all.push(`${all.length} and more, and more and more`);";
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    let Some(ended) = script(hoard, limit)? else {
        return Ok(());
    };
    assert_eq!(ended.code, Some(137), "{}", ended.said.transcript());
    assert_eq!(ended.said.terminated("p", "c")["reason"], "OOMKilled");
    Ok(())
}

#[test]
fn mistakes_are_told() -> anyhow::Result<()> {
    let Some(qjs) = large("qjs")? else {
        return Ok(());
    };
    let cases = [
        ("nothing()", 1, "ReferenceError: nothing is not defined"),
        ("console.log('a'.repeat(100000).length)", 0, "100000"),
    ];
    for (text, code, wanted) in cases {
        let ended = run(&qjs, &["-e", text], "")?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(code), "{text}: {transcript}");
        assert!(output(&ended).contains(wanted), "{text}: {transcript}");
    }
    Ok(())
}

#[test]
fn standard_input_is_read_to_its_end() -> anyhow::Result<()> {
    let Some(qjs) = large("qjs")? else {
        return Ok(());
    };
    let text = "let sum = 0, line; \
        while ((line = std.in.getline()) !== null) sum += Number(line); console.log(sum);";
    let lines: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let ended = run(&qjs, &["--std", "-e", text], &lines)?;
    assert_eq!(output(&ended), "12502500\n", "{}", ended.said.transcript());
    Ok(())
}
