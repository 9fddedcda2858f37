//! How pods live and end, seen from outside: phases, order, restarts, probes, hooks, deadlines.
//!
//! Rules about single steps are tested in `model::lifecycle`; here only that a run obeys them.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, Pod, Run, Running};

/// Runs one pod to its end.
fn finish(pod: &Pod) -> anyhow::Result<Ended> {
    Run::of(pod)?.finish()
}

/// Starts one pod, waits for a text of its container `c`, and sends a signal.
fn stop(pod: &Pod, text: &str, signal: Signal) -> anyhow::Result<Ended> {
    let mut running = Run::of(pod)?.start()?;
    running.wait_log("p", "c", text)?;
    running.signal(signal)?;
    running.finish()
}

#[test]
fn a_failed_container_is_not_started_again_where_the_policy_says_never() -> anyhow::Result<()> {
    let ended = finish(&Pod::one("host", &["exit", "3", "failing"], Value::Null))?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.said.status("p")["phase"], "Failed", "{transcript}");
    assert_eq!(
        ended.said.container("p", "c")["restartCount"],
        0,
        "{transcript}"
    );
    assert_eq!(
        ended.said.terminated("p", "c")["reason"],
        "Error",
        "{transcript}"
    );
    assert_eq!(
        ended.said.terminated("p", "c")["exitCode"],
        3,
        "{transcript}"
    );
    assert_eq!(ended.code, Some(3), "{transcript}");
    Ok(())
}

#[test]
fn a_failed_container_is_started_again_at_once_where_the_policy_says_so() -> anyhow::Result<()> {
    let mount = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let pod = Pod::one("host", &["fail-once", "/d/mark", "7"], mount)
        .spec(json!({"restartPolicy": "OnFailure", "volumes": [{"name": "d", "emptyDir": {}}]}));
    let ended = finish(&pod)?;
    let transcript = ended.said.transcript();
    assert_eq!(
        ended.said.logs("p", "c"),
        ["first life", "second life"],
        "{transcript}"
    );
    let container = ended.said.container("p", "c");
    assert_eq!(container["restartCount"], 1, "{transcript}");
    assert_eq!(
        container["lastState"]["terminated"]["exitCode"], 7,
        "{transcript}"
    );
    assert_eq!(ended.said.status("p")["phase"], "Succeeded", "{transcript}");
    assert_eq!(ended.code, Some(0), "{transcript}");
    Ok(())
}

#[test]
fn a_container_that_ends_again_and_again_is_in_crash_loop_back_off() -> anyhow::Result<()> {
    let pod =
        Pod::one("host", &["exit", "0"], Value::Null).spec(json!({"restartPolicy": "Always"}));
    let mut running = Run::of(&pod)?.start()?;
    let status = running.wait_container("p", "c", "a back-off", |status| {
        status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })?;
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 0, "{status}");
    // The first restart comes at once, so it has run twice by now.
    assert_eq!(status["restartCount"], 1, "{status}");
    running.signal(Signal::INT)?;
    assert_eq!(running.finish()?.code, Some(130));
    Ok(())
}

#[test]
fn init_containers_run_in_order_and_before_the_others() -> anyhow::Result<()> {
    let mount = || json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let pod = Pod::new("p")
        .init("first", "fs", &["write", "/d/one", "1"], mount())
        .init("second", "fs", &["rename", "/d/one", "/d/two"], mount())
        .container("c", "fs", &["read", "/d/two"], mount())
        .spec(json!({"volumes": [{"name": "d", "emptyDir": {}}]}));
    let ended = finish(&pod)?;
    assert_eq!(
        ended.said.logs("p", "c"),
        ["read /d/two 1"],
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn a_failed_init_container_fails_the_pod_before_the_others_start() -> anyhow::Result<()> {
    let pod = Pod::one("host", &["args"], Value::Null)
        .init("first", "host", &["exit", "4"], Value::Null)
        .init("second", "host", &["args"], Value::Null);
    let ended = finish(&pod)?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.said.status("p")["phase"], "Failed", "{transcript}");
    assert_eq!(
        ended.said.terminated("p", "first")["exitCode"],
        4,
        "{transcript}"
    );
    for never_started in ["second", "c"] {
        let state = &ended.said.container("p", never_started)["state"];
        assert_eq!(
            state["waiting"]["reason"], "PodInitializing",
            "{never_started}: {transcript}"
        );
        assert!(
            ended.said.logs("p", never_started).is_empty(),
            "{transcript}"
        );
    }
    assert_eq!(ended.code, Some(4), "{transcript}");
    Ok(())
}

#[test]
fn a_sidecar_starts_before_the_others_and_ends_after_them() -> anyhow::Result<()> {
    let pod = Pod::one("net", &["get", "127.0.0.1:7000"], Value::Null)
        .init("sidecar", "net", &["page", "127.0.0.1:7000", "at your side"], json!({
            "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["nc", "-z", "127.0.0.1", "7000"]}, "periodSeconds": 1},
        }));
    let ended = finish(&pod)?;
    let transcript = ended.said.transcript();
    assert!(
        ended.said.logs("p", "c").contains(&"at your side"),
        "{transcript}"
    );
    assert_eq!(ended.said.status("p")["phase"], "Succeeded", "{transcript}");
    assert!(
        ended.said.terminated("p", "sidecar").is_object(),
        "{transcript}"
    );
    assert_eq!(ended.code, Some(0), "{transcript}");
    Ok(())
}

#[test]
fn the_active_deadline_ends_a_pod_and_is_its_reason() -> anyhow::Result<()> {
    let pod = Pod::one("life", &["deaf"], Value::Null).spec(json!({"activeDeadlineSeconds": 1}));
    let ended = finish(&pod)?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.said.status("p")["phase"], "Failed", "{transcript}");
    assert_eq!(
        ended.said.status("p")["reason"],
        "DeadlineExceeded",
        "{transcript}"
    );
    assert!(
        !matches!(ended.code, Some(0 | 130)),
        "{:?} {transcript}",
        ended.code
    );
    Ok(())
}

#[test]
fn how_a_guest_ends_when_it_is_asked_to() -> anyhow::Result<()> {
    // Guest, its words before the signal, exit code, its last words.
    let cases: [(&[&str], &str, i64, &str); 4] = [
        (&["graceful", "50"], "waiting", 0, "stopped ready true"),
        (&["stubborn"], "waiting", 137, "ignoring"),
        (&["deaf"], "sleeping", 143, "sleeping"),
        (&["deaf-spin"], "spinning", 143, "spinning"),
    ];
    for (args, first, code, last) in cases {
        let grace = json!({"terminationGracePeriodSeconds": 2});
        let ended = stop(
            &Pod::one("life", args, Value::Null).spec(grace),
            first,
            Signal::INT,
        )?;
        let transcript = ended.said.transcript();
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            code,
            "{args:?}: {transcript}"
        );
        assert_eq!(
            ended.said.logs("p", "c").last(),
            Some(&last),
            "{args:?}: {transcript}"
        );
        assert_eq!(ended.code, Some(130), "{args:?}: {transcript}");
    }
    Ok(())
}

#[test]
fn a_guest_knows_how_long_it_has() -> anyhow::Result<()> {
    let pod = Pod::one("life", &["graceful"], Value::Null)
        .spec(json!({"terminationGracePeriodSeconds": 20}));
    let ended = stop(&pod, "waiting", Signal::INT)?;
    let logs = ended.said.logs("p", "c");
    assert_eq!(logs[0], "grace_ms 20000", "{}", ended.said.transcript());
    let left = logs[2]
        .strip_prefix("stopping left_ms ")
        .unwrap_or_default();
    let left: u64 = left.parse()?;
    assert!(left > 0 && left <= 20_000, "{logs:?}");
    Ok(())
}

#[test]
fn what_a_hook_took_of_the_grace_period_is_gone() -> anyhow::Result<()> {
    // The whole period, what the hook takes, and the most that the guest may be told then: at
    // least two seconds, whatever the hook took.
    for (period, hook, most) in [(20, "3", 17_000), (2, "500", 2_000)] {
        let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["sleep", hook]}}}});
        let pod = Pod::one("life", &["graceful"], hook)
            .spec(json!({"terminationGracePeriodSeconds": period}));
        let ended = stop(&pod, "waiting", Signal::INT)?;
        let transcript = ended.said.transcript();
        let logs = ended.said.logs("p", "c");
        let told = logs
            .iter()
            .find_map(|log| log.strip_prefix("stopping left_ms "));
        let left: u64 = told.unwrap_or_default().parse()?;
        assert!(left > 0 && left <= most, "{period}: {transcript}");
        assert_eq!(
            ended.said.terminated("p", "c")["exitCode"],
            0,
            "{transcript}"
        );
    }
    Ok(())
}

#[test]
fn a_failed_post_start_hook_says_why() -> anyhow::Result<()> {
    let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    let cases = [
        (
            exec("echo no database >&2; exit 3"),
            ["command exited with 3", "no database"],
        ),
        (
            json!({"httpGet": {"port": 81, "path": "/started"}}),
            ["/started", "connection refused"],
        ),
    ];
    for (hook, wanted) in cases {
        let fields = json!({"lifecycle": {"postStart": hook}});
        let pod = Pod::one("life", &["deaf"], fields);
        // As a program reads it, and as a person does.
        let ended = finish(&pod)?;
        let transcript = ended.said.transcript();
        let mut lines = ended.said.lines.iter();
        let event = lines.find_map(|line| line.event("p", "FailedPostStartHook"));
        let message = event.and_then(|event| event["message"].as_str());
        let message = message.unwrap_or_default();
        let shown = Run::of(&pod)?.for_a_person().finish()?.said.text();
        for word in wanted {
            assert!(message.contains(word), "{word}: {transcript}");
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert_ne!(ended.code, Some(0), "{transcript}");
    }
    Ok(())
}

#[test]
fn sigterm_stops_the_run_as_ctrl_c_does() -> anyhow::Result<()> {
    let ended = stop(
        &Pod::one("life", &["graceful"], Value::Null),
        "waiting",
        Signal::TERM,
    )?;
    let transcript = ended.said.transcript();
    assert_eq!(
        ended.said.terminated("p", "c")["exitCode"],
        0,
        "{transcript}"
    );
    Ok(())
}

#[test]
fn a_server_that_knows_its_end_finishes_what_it_has() -> anyhow::Result<()> {
    let ports = json!({"ports": [{"containerPort": 8080}]});
    let pod = Pod::one("life", &["server", "0.0.0.0:8080"], ports);
    let ended = stop(&pod, "listening", Signal::INT)?;
    let transcript = ended.said.transcript();
    assert_eq!(
        ended.said.terminated("p", "c")["exitCode"],
        0,
        "{transcript}"
    );
    assert!(
        ended
            .said
            .logs("p", "c")
            .contains(&"stopping after 0 answers"),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn hooks_run_at_the_start_and_before_the_end() -> anyhow::Result<()> {
    let hook =
        |text: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {text} > /d/{text}")]}});
    let mount = json!([{"name": "d", "mountPath": "/d"}]);
    let run = Run::new()?.file("d/readme", "")?;
    let pod = Pod::one(
        "life",
        &["graceful"],
        json!({
            "lifecycle": {"postStart": hook("started"), "preStop": hook("stopping")},
            "volumeMounts": mount,
        }),
    )
    .spec(json!({"volumes": [{"name": "d", "hostPath": {"path": run.path("d")}}]}));
    let mut running = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .start()?;
    running.wait_ready("p")?;
    let folder = running.home().join("d");
    assert!(folder.join("started").exists() && !folder.join("stopping").exists());
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    let transcript = ended.said.transcript();
    assert!(
        ended.home.path().join("d/stopping").exists(),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn a_hook_that_takes_too_long_does_not_outlast_the_grace_period() -> anyhow::Result<()> {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["sleep", "500"]}}}});
    let pod = Pod::one("life", &["deaf"], hook).spec(json!({"terminationGracePeriodSeconds": 1}));
    let ended = stop(&pod, "sleeping", Signal::INT)?;
    let transcript = ended.said.transcript();
    let code = &ended.said.terminated("p", "c")["exitCode"];
    // kubelet gives what the hook used up two more seconds, in which SIGTERM may be enough.
    assert!(*code == 137 || *code == 143, "{code}: {transcript}");
    assert_eq!(ended.code, Some(130), "{transcript}");
    Ok(())
}

#[test]
fn what_commands_need_is_compiled_before_the_container_whose_probe_runs_one() -> anyhow::Result<()>
{
    let probe = json!({"initialDelaySeconds": 500, "exec": {"command": ["true"]}});
    // The guest itself, and the toolbox.
    for (fields, wanted) in [(json!({"livenessProbe": probe}), 2), (Value::Null, 1)] {
        let pod = Pod::one("life", &["deaf"], fields);
        let mut running = Run::of(&pod)?.private_data().start()?;
        running.wait_log("p", "c", "sleeping")?;
        let code = std::fs::read_dir(running.home().join("data/code"))?;
        let is_code = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".cwasm");
        let compiled = code.filter_map(|entry| Some(entry.ok()?.file_name()));
        assert_eq!(
            compiled.filter(|name| is_code(name.clone())).count(),
            wanted,
            "{pod}"
        );
    }
    Ok(())
}

/// Probes of every sort against the guest `life`, each a second apart.
fn probes() -> [(&'static str, Value); 3] {
    [
        (
            "httpGet",
            json!({"httpGet": {"port": 8080, "path": "/healthz"}}),
        ),
        ("tcpSocket", json!({"tcpSocket": {"port": "http"}})),
        (
            "exec",
            json!({"exec": {"command": ["nc", "-z", "127.0.0.1", "8080"]}}),
        ),
    ]
}

#[test]
fn a_container_is_ready_when_its_probe_says_so() -> anyhow::Result<()> {
    for (kind, mut probe) in probes() {
        probe["periodSeconds"] = json!(1);
        let fields =
            json!({"ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe});
        let pod = Pod::one("life", &["healthz", "0.0.0.0:8080", "1000", "100"], fields);
        let mut running = Run::of(&pod)?.start()?;
        running
            .wait_ready("p")
            .map_err(|error| error.context(kind))?;
        let statuses = running
            .said
            .lines
            .iter()
            .filter_map(|line| line.status("p"));
        let was_unready = statuses.clone().any(|status| {
            let container = &status["containerStatuses"][0];
            container["state"]["running"].is_object() && container["ready"] == false
        });
        assert!(
            was_unready,
            "{kind}: ready before its probe: {}",
            running.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn a_failed_liveness_probe_starts_the_container_again() -> anyhow::Result<()> {
    let fields = json!({
        "ports": [{"containerPort": 8080}],
        "livenessProbe": {
            "httpGet": {"port": 8080, "path": "/healthz"}, "periodSeconds": 1, "failureThreshold": 1,
        },
    });
    let pod = Pod::one("life", &["healthz", "0.0.0.0:8080", "1"], fields)
        .spec(json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 1}));
    let mut running = Run::of(&pod)?.start()?;
    running.wait_for("Unhealthy", |line| line.event("p", "Unhealthy").map(|_| ()))?;
    let status = running.wait_container("p", "c", "a second life", |status| {
        status["restartCount"] == 1 && status["state"]["running"].is_object()
    })?;
    assert!(status["lastState"]["terminated"].is_object(), "{status}");
    Ok(())
}

#[test]
fn a_startup_probe_that_never_succeeds_ends_the_container() -> anyhow::Result<()> {
    let fields = json!({"startupProbe": {
        "tcpSocket": {"port": 9999}, "periodSeconds": 1, "failureThreshold": 2,
    }});
    let grace = json!({"terminationGracePeriodSeconds": 1});
    let ended = finish(&Pod::one("life", &["deaf"], fields).spec(grace))?;
    let transcript = ended.said.transcript();
    assert_eq!(ended.said.status("p")["phase"], "Failed", "{transcript}");
    assert_eq!(
        ended.said.container("p", "c")["started"],
        false,
        "{transcript}"
    );
    Ok(())
}

#[test]
fn a_guest_may_call_itself_not_ready() -> anyhow::Result<()> {
    let run = Run::new()?.file("d/readme", "")?;
    let pod = Pod::one(
        "life",
        &["unready", "/d/go"],
        json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]}),
    )
    .spec(json!({"volumes": [{"name": "d", "hostPath": {"path": run.path("d")}}]}));
    let mut running = run
        .file("pod.yaml", &pod.to_string())?
        .args(["-f", "pod.yaml"])
        .start()?;
    running.wait_log("p", "c", "not ready")?;
    running.wait_container("p", "c", "running and not ready", |status| {
        status["state"]["running"].is_object() && status["ready"] == false
    })?;
    std::fs::write(running.home().join("d/go"), "")?;
    running.wait_ready("p")?;
    Ok(())
}

#[test]
fn a_guest_knows_its_pod() -> anyhow::Result<()> {
    let pod = Pod::one("life", &["identity"], Value::Null)
        .metadata(json!({"labels": {"app": "web"}, "annotations": {"note": "hello"}}));
    let ended = finish(&pod)?;
    let logs = ended.said.logs("p", "c");
    for line in [
        "name p",
        "namespace default",
        "container c",
        "label app=web",
        "annotation note=hello",
    ] {
        assert!(
            logs.contains(&line),
            "no `{line}` in {}",
            ended.said.transcript()
        );
    }
    let address = format!(
        "address {}",
        ended.said.status("p")["podIP"].as_str().unwrap_or("?")
    );
    assert!(logs.contains(&address.as_str()), "{logs:?}");
    Ok(())
}

#[test]
fn arguments_and_variables_reach_the_guest() -> anyhow::Result<()> {
    let env = json!({"env": [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2 $$(A) $(NONE)"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]});
    let cases: [(&[&str], Value, &[&str]); 2] = [
        (
            &["args", "$(A)", "two words", ""],
            env.clone(),
            &["arg 0 1", "arg 1 two words", "arg 2 "],
        ),
        (
            &["env", "A", "B", "C"],
            env,
            &["env A=1", "env B=12 $(A) $(NONE)", "env C unset"],
        ),
    ];
    for (args, fields, wanted) in cases {
        let ended = finish(&Pod::one("host", args, fields))?;
        let logs = ended.said.logs("p", "c");
        assert!(
            logs.starts_with(wanted),
            "{args:?}: {}",
            ended.said.transcript()
        );
    }
    Ok(())
}

#[test]
fn the_last_words_of_a_failed_container_become_its_message() -> anyhow::Result<()> {
    let policy = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    let ended = finish(&Pod::one(
        "host",
        &["exit", "1", "these are my last words"],
        policy,
    ))?;
    let message = ended.said.terminated("p", "c")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(
        message.contains("these are my last words"),
        "{}",
        ended.said.transcript()
    );
    Ok(())
}

#[test]
fn the_class_of_service_follows_requests_and_limits() -> anyhow::Result<()> {
    let cases = [
        (Value::Null, "BestEffort"),
        (json!({"requests": {"cpu": "100m"}}), "Burstable"),
        (
            json!({"limits": {"cpu": "100m", "memory": "64Mi"}}),
            "Guaranteed",
        ),
    ];
    for (resources, wanted) in cases {
        let ended = finish(&Pod::one(
            "host",
            &["args"],
            json!({"resources": resources}),
        ))?;
        let transcript = ended.said.transcript();
        assert_eq!(ended.said.status("p")["qosClass"], wanted, "{transcript}");
    }
    Ok(())
}

#[test]
fn a_security_context_that_cannot_be_honoured_is_refused_aloud() -> anyhow::Result<()> {
    let pod = Pod::one(
        "host",
        &["args"],
        json!({"securityContext": {"privileged": true}}),
    );
    let ended = finish(&pod)?;
    assert!(
        ended.said.transcript().contains("privileged"),
        "{}",
        ended.said.transcript()
    );
    assert!(!matches!(ended.code, Some(0 | 130)), "{:?}", ended.code);
    Ok(())
}

#[test]
fn who_is_not_to_be_root_and_would_be_does_not_start() -> anyhow::Result<()> {
    let context = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 0}});
    let mut running = Run::of(Pod::one("host", &["args"], context))?.start()?;
    let status = running.wait_container("p", "c", "a configuration error", |status| {
        status["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    })?;
    let message = status["state"]["waiting"]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(
        message.starts_with("container's runAsUser breaks non-root policy"),
        "{status}"
    );
    running.signal(Signal::INT)?;
    let ended = running.finish()?;
    let row = &ended.said.summary()["pods"][0]["containers"][0];
    assert_eq!(row["state"], "CreateContainerConfigError", "{row}");
    Ok(())
}

/// Until a status says so, for tests that look at conditions.
fn condition(running: &mut Running, kind: &'static str) -> anyhow::Result<Value> {
    running.wait_for(kind, |line| {
        let conditions = line.status("p")?["conditions"].as_array()?;
        conditions
            .iter()
            .find(|c| c["type"] == kind && c["status"] == "True")
            .cloned()
    })
}

#[test]
fn the_conditions_of_a_running_pod_are_those_of_kubelet() -> anyhow::Result<()> {
    let mut running = Run::of(Pod::one("life", &["deaf"], Value::Null))?.start()?;
    for kind in [
        "PodScheduled",
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
    ] {
        let condition = condition(&mut running, kind)?;
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
    }
    Ok(())
}
