//! How pods end: deletion, deadlines, hooks, grace, order.

use super::*;

/// A pod all of whose containers have come up, in order.
fn running(pod: Pod) -> Story {
    let mut story = Story::new(pod);
    story.play("time");
    story.play("sandbox ok");
    let spec = story.state.spec();
    for container in spec.all_containers() {
        story.play(&format!("image {}", container.name));
        story.play(&format!("up {}", container.name));
        if !container.is_sidecar() && spec.init_containers.contains(container) {
            story.play(&format!("exit {} 0", container.name));
        }
    }
    story.told.clear();
    story
}

fn then(mut story: Story, script: &[Line<'_>]) -> Story {
    for (number, (stimulus, orders, status)) in script.iter().enumerate() {
        assert_eq!(
            story.play(stimulus).join(", "),
            *orders,
            "{number}: {stimulus}"
        );
        if !status.is_empty() {
            assert_eq!(
                summary(&story.state.status()),
                *status,
                "{number}: {stimulus}"
            );
        }
    }
    story
}

#[test]
fn deletion_asks_and_then_kills() {
    let story = then(
        running(pod(RestartPolicy::Always, &["a", "b"])),
        &[
            (
                "stop 30",
                "term a, term b",
                "Running: a Running ready; b Running ready",
            ),
            ("exit a 143", "", "Running: a Error(143); b Running ready"),
            ("+29s", "", ""),
            ("+1s", "kill b", ""),
            ("exit b 137", "remove", "Failed: a Error(143); b Error(137)"),
        ],
    );
    assert_eq!(
        story.told,
        [
            "Normal Killing a: Stopping container a",
            "Normal Killing b: Stopping container b",
        ]
    );
}

#[test]
fn a_deleted_pod_that_ends_well_has_succeeded() {
    then(
        running(pod(RestartPolicy::Always, &["app"])),
        &[
            ("stop 30", "term app", ""),
            ("exit app 0", "remove", "Succeeded: app Completed(0)"),
        ],
    );
}

#[test]
fn term_says_what_is_left_of_the_grace_period() {
    let cases: &[(&[&str], &[u64])] = &[
        (&["stop 30"], &[30]),
        // The hook takes its part, however it ends; at least two seconds are left.
        (&["stop 30", "+10s", "hook app pre ok"], &[20]),
        (&["stop 30", "+29s", "hook app pre fail"], &[2]),
        (&["stop 30", "+40s"], &[2]),
        (&["stop 0"], &[2]),
        // What shortens it later is told too, and what does not is not.
        (
            &["stop 30", "hook app pre ok", "+10s", "stop 25", "stop 5"],
            &[30, 5],
        ),
        (&["stop 30", "hook app pre ok", "+29s", "stop 0"], &[30]),
    ];
    for (script, left) in cases {
        let mut pod = pod(RestartPolicy::Always, &["app"]);
        if script.len() > 1 {
            pod.containers[0].pre_stop = hook();
        }
        let mut story = running(pod);
        for stimulus in *script {
            story.play(stimulus);
        }
        let seconds: Vec<u64> = story.left.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, *left, "{script:?}");
    }
}

#[test]
fn a_shorter_grace_overrides_and_a_longer_does_not() {
    then(
        running(pod(RestartPolicy::Always, &["app"])),
        &[
            ("stop 30", "term app", ""),
            ("stop 60", "", ""),
            ("+10s", "", ""),
            // Only to say that there is less.
            ("stop 5", "term app", ""),
            ("+4s", "", ""),
            ("+1s", "kill app", ""),
        ],
    );
    then(
        running(pod(RestartPolicy::Always, &["app"])),
        &[
            ("stop 30", "term app", ""),
            ("kill", "kill app", ""),
            ("kill", "", ""),
            ("exit app 137", "remove", "Failed: app Error(137)"),
        ],
    );
}

#[test]
fn the_pre_stop_hook_shares_the_grace_period() {
    let with_hook = || {
        let mut pod = pod(RestartPolicy::Always, &["app"]);
        pod.containers[0].pre_stop = hook();
        running(pod)
    };
    then(
        with_hook(),
        &[
            ("stop 30", "hook app PreStop", ""),
            ("+10s", "", ""),
            ("hook app pre ok", "term app", ""),
            ("+19s", "", ""),
            ("+1s", "kill app", ""),
        ],
    );
    // It eats all of it: two seconds more.
    then(
        with_hook(),
        &[
            ("stop 30", "hook app PreStop", ""),
            ("+30s", "term app", ""),
            ("hook app pre ok", "", ""),
            ("+1s", "", ""),
            ("+1s", "kill app", ""),
        ],
    );
    // No time, no hook.
    then(
        with_hook(),
        &[("stop 0", "term app", ""), ("+2s", "kill app", "")],
    );
    let story = then(
        with_hook(),
        &[
            ("stop 30", "hook app PreStop", ""),
            ("hook app pre fail", "term app", ""),
        ],
    );
    assert_eq!(
        story.told[1],
        "Warning FailedPreStopHook app: PreStopHook failed: why"
    );
}

#[test]
fn sidecars_end_last_and_in_reverse_within_one_grace_period() {
    then(
        running(pod(RestartPolicy::Always, &["s:one", "s:two", "app"])),
        &[
            ("stop 30", "term app", ""),
            ("+10s", "", ""),
            ("exit app 0", "term two", ""),
            ("exit two 0", "term one", ""),
            ("+19s", "", ""),
            ("+1s", "kill one", ""),
            (
                "exit one 137",
                "remove",
                "Succeeded: one Error(137); two Completed(0); app Completed(0)",
            ),
        ],
    );
    then(
        running(pod(RestartPolicy::Always, &["s:one", "s:two", "app"])),
        &[
            ("stop 30", "term app", ""),
            ("+30s", "term one, term two, kill app", ""),
            ("+2s", "kill one, kill two", ""),
        ],
    );
}

#[test]
fn a_sidecars_pre_stop_hook_runs_at_once_its_term_waits() {
    let mut pod = pod(RestartPolicy::Always, &["s:proxy", "app"]);
    pod.init_containers[0].pre_stop = hook();
    then(
        running(pod),
        &[
            ("stop 30", "hook proxy PreStop, term app", ""),
            ("hook proxy pre ok", "", ""),
            ("exit app 0", "term proxy", ""),
        ],
    );
}

#[test]
fn the_active_deadline_fails_the_pod() {
    let mut pod = pod(RestartPolicy::Always, &["app"]);
    pod.active_deadline = Some(Duration::from_secs(60));
    let story = then(
        running(pod),
        &[
            ("+59s", "", ""),
            ("+1s", "term app", "Running: app Running ready"),
            ("exit app 0", "remove", "Failed: app Completed(0)"),
        ],
    );
    let status = story.state.status();
    assert_eq!(status.reason, "DeadlineExceeded");
    assert_eq!(
        status.message,
        "Pod was active on the node longer than the specified deadline"
    );
    assert_eq!(
        story.told[0],
        format!("Normal DeadlineExceeded : {}", status.message)
    );
}

#[test]
fn an_evicted_pod_has_failed() {
    let story = then(
        running(pod(RestartPolicy::Always, &["app"])),
        &[
            ("evict", "term app", ""),
            ("+2s", "kill app", ""),
            ("exit app 137", "remove", "Failed: app Error(137)"),
        ],
    );
    assert_eq!(story.state.status().reason, "Evicted");
}

#[test]
fn a_pod_deleted_before_it_ran_starts_nothing() {
    story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("stop 30", "", "Pending: app ContainerCreating"),
            (
                "sandbox ok",
                "remove",
                "Failed: app ContainerStatusUnknown(137)",
            ),
        ],
    );
    story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            (
                "stop 30",
                "remove",
                "Failed: app ContainerStatusUnknown(137)",
            ),
            ("image app", "", ""),
        ],
    );
}

#[test]
fn an_instance_being_launched_is_stopped_when_it_runs() {
    let script: &[Line<'_>] = &[
        ("time", "sandbox", ""),
        ("sandbox ok", "pull app", ""),
        ("image app", "launch app 0", ""),
        ("stop 30", "", "Pending: app ContainerCreating"),
    ];
    let launching = || story(pod(RestartPolicy::Always, &["app"]), script);
    then(
        launching(),
        &[
            ("+10s", "", ""),
            ("up app", "term app", ""),
            ("+20s", "kill app", ""),
        ],
    );
    then(
        launching(),
        &[(
            "bad app create",
            "remove",
            "Failed: app ContainerStatusUnknown(137)",
        )],
    );
    // It hangs: it is killed whether it is there or not, and again should it come to run.
    then(
        launching(),
        &[
            ("+30s", "kill app", ""),
            ("up app", "kill app", ""),
            ("exit app 137", "remove", "Failed: app Error(137)"),
        ],
    );
}

#[test]
fn a_crash_looping_pod_ends_at_once_when_deleted() {
    let story = then(
        running(pod(RestartPolicy::Always, &["app"])),
        &[
            ("exit app 1", "pull app", ""),
            ("image app", "launch app 1", ""),
            ("up app", "", ""),
            ("exit app 1", "", "Running: app CrashLoopBackOff x1"),
            ("stop 30", "remove", "Failed: app Error(1) x1"),
        ],
    );
    assert!(story.state.is_over());
}
