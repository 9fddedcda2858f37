//! SQLite's shell: databases in volumes, with their journals, syncs and locks.

use serde_json::{Value, json};

use super::{output, pod, run};
use crate::harness::{Pod, Run, large};

/// Many rows, an index, and full-text search over part of them.
const FILL: &str = "\
create table n(i integer primary key, text text);
insert into n select value, printf('row %d', value) from generate_series(1, 200000);
create index n_text on n(text);
create virtual table words using fts5(text);
insert into words select text from n where i % 100 = 0;";

/// An emptyDir at /data, with fields of its own.
fn at_data() -> Value {
    json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]})
}

fn empty_dir(fields: Value) -> Value {
    json!([{"name": "data", "emptyDir": fields}])
}

#[test]
fn statements_come_from_standard_input_and_the_exit_code_tells_of_errors() -> anyhow::Result<()> {
    let Some(sqlite) = large("sqlite3")? else {
        return Ok(());
    };
    let cases: [(&[&str], &str, i32, &str); 4] = [
        (&[], "select 6 * 7;", 0, "42\n"),
        (
            &["-json"],
            "select 1 as a, 'zwei' as b;",
            0,
            "[{\"a\":1,\"b\":\"zwei\"}]\n",
        ),
        (
            &[
                ":memory:",
                "select group_concat(value, ' ') from generate_series(1, 5)",
            ],
            "",
            0,
            "1 2 3 4 5\n",
        ),
        (&["-bail"], "select missing;", 1, "no such column: missing"),
    ];
    for (args, stdin, code, wanted) in cases {
        let ended = run(&sqlite, args, stdin)?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(code), "{args:?} {transcript}");
        assert!(output(&ended).contains(wanted), "{args:?} {transcript}");
    }
    Ok(())
}

#[test]
fn a_database_in_a_volume_is_written_by_one_container_and_read_by_the_next() -> anyhow::Result<()> {
    let Some(sqlite) = large("sqlite3")? else {
        return Ok(());
    };
    let image = format!("file:{}", sqlite.display());
    let questions = "select count(*), sum(i) from n; \
        select i from n where text = 'row 77777'; \
        select count(*) from words where words match '100 OR 200'; \
        pragma integrity_check;";
    let mut fill = at_data();
    fill["image"] = json!(image);
    let pod = pod(
        &sqlite,
        &["/data/db", questions],
        at_data(),
        empty_dir(json!({})),
    )
    .init("fill", "", &["/data/db", FILL], fill);
    let ended = Run::of(pod)?.finish()?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.code, Some(0), "{transcript}");
    let wanted = ["200000|20000100000", "77777", "2", "ok"];
    let said: Vec<&str> = ended.said.logs("p", "c");
    let said: Vec<&&str> = said
        .iter()
        .filter(|line| !line.starts_with("-- "))
        .collect();
    assert_eq!(said, wanted.iter().collect::<Vec<_>>(), "{transcript}");
    Ok(())
}

#[test]
fn a_database_that_no_longer_fits_evicts_its_pod() -> anyhow::Result<()> {
    let Some(sqlite) = large("sqlite3")? else {
        return Ok(());
    };
    let steps = "create table t(b); insert into t values(1); \
        insert into t select randomblob(1000) from generate_series(1, 10000);";
    let small = empty_dir(json!({"sizeLimit": "4Mi"}));
    let pod = pod(&sqlite, &["/data/db", steps], at_data(), small);
    let ended = Run::of(pod)?.finish()?;
    let transcript = ended.said.transcript();
    // It has failed by itself, or was ended before it could: either way not in time.
    assert_ne!(ended.code, Some(0), "{transcript}");
    assert_eq!(ended.said.status("p")["reason"], "Evicted", "{transcript}");
    Ok(())
}

#[test]
fn a_database_in_a_read_only_mount_can_be_read_and_not_written() -> anyhow::Result<()> {
    let Some(sqlite) = large("sqlite3")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let program = sqlite.to_string_lossy().into_owned();
    // Without locks, which it keeps as directories beside the file.
    let still = "file:/data/db?immutable=1";
    let cases = [
        (
            "",
            "/data/db",
            "create table t(a); insert into t values(7)",
            0,
            "",
        ),
        (":ro", still, "select a from t", 0, "7\n"),
        (":ro", still, "insert into t values(8)", 1, "readonly"),
        (
            "",
            "/data/db",
            "update t set a = a + 1; select a from t",
            0,
            "8\n",
        ),
    ];
    for (mode, file, statement, code, wanted) in cases {
        let mount = format!("{path}:/data{mode}");
        let run = Run::new()?.args(["--dir", &mount, &program, "--", file, statement]);
        let ended = run.finish()?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.code, Some(code), "{statement}: {transcript}");
        assert!(output(&ended).contains(wanted), "{statement}: {transcript}");
    }
    Ok(())
}

#[test]
fn two_containers_write_to_one_database_in_turns() -> anyhow::Result<()> {
    const EACH: usize = 50;
    let Some(sqlite) = large("sqlite3")? else {
        return Ok(());
    };
    let image = json!(format!("file:{}", sqlite.display()));
    let writer = |name: &str| {
        let insert = format!("insert into t values('{name}');").repeat(EACH);
        let mut fields = at_data();
        fields["image"] = image.clone();
        fields["args"] = json!(["-cmd", ".timeout 60000", "/data/db", insert]);
        fields
    };
    let mut create = at_data();
    create["image"] = image.clone();
    let folder = tempfile::tempdir()?;
    let pod = Pod::new("p")
        .init("create", "", &["/data/db", "create table t(who);"], create)
        .container("ada", "", &[], writer("ada"))
        .container("bob", "", &[], writer("bob"))
        .spec(json!({"volumes": [{"name": "data", "hostPath": {"path": folder.path()}}]}));
    let ended = Run::of(pod)?.finish()?;
    assert_eq!(ended.code, Some(0), "{}", ended.said.transcript());
    let mount = format!("{}:/data", folder.path().display());
    let program = sqlite.to_string_lossy().into_owned();
    let count = "select who, count(*) from t group by who";
    let run = Run::new()?.args(["--dir", &mount, &program, "--", "/data/db", count]);
    let ended = run.finish()?;
    let counted = output(&ended);
    assert!(counted.ends_with("ada|50\nbob|50\n"), "{counted}");
    Ok(())
}
