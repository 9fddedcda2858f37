//! States rebuilt from a recorded status.

use super::*;

/// Another agent takes over now, from what the first one reported.
fn taken_over(story: &Story) -> Story {
    let recorded = story.state.status();
    let pod = story.state.spec();
    Story {
        state: State::recover(pod, PodId(2), &recorded, at(story.now)),
        now: story.now,
        deadline: None,
        attempts: Vec::new(),
        told: Vec::new(),
        left: Vec::new(),
    }
}

fn crash_looping() -> Story {
    story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
            ("exit app 1", "pull app", ""),
            ("image app", "launch app 1", ""),
            ("up app", "", ""),
            ("exit app 1", "", ""),
            ("+10s", "pull app", ""),
            ("image app", "launch app 2", ""),
            ("up app", "", ""),
        ],
    )
}

#[test]
fn the_back_off_and_the_count_go_on() {
    let mut first = crash_looping();
    first.play("exit app 1");
    first.play("+5s");
    let mut second = taken_over(&first);
    let script: &[Line<'_>] = &[
        ("time", "sandbox", "Running: app CrashLoopBackOff x2"),
        ("sandbox ok", "", ""),
        ("+14s", "", ""),
        ("+1s", "pull app", ""),
        ("image app", "launch app 3", ""),
        ("up app", "", "Running: app Running ready x3"),
        ("exit app 1", "", "Running: app CrashLoopBackOff x3"),
        ("+39s", "", ""),
        ("+1s", "pull app", ""),
    ];
    for (stimulus, orders, status) in script {
        assert_eq!(second.play(stimulus).join(", "), *orders, "{stimulus}");
        if !status.is_empty() {
            assert_eq!(summary(&second.state.status()), *status, "{stimulus}");
        }
    }
}

#[test]
fn what_ran_has_ended_with_the_agent() {
    let mut second = taken_over(&crash_looping());
    assert_eq!(
        summary(&second.state.status()),
        "Running: app ContainerStatusUnknown(137) x2"
    );
    assert_eq!(second.play("time"), ["sandbox"]);
    let mut never = story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
        ],
    );
    never = taken_over(&never);
    assert!(never.play("time").is_empty());
    assert_eq!(
        summary(&never.state.status()),
        "Failed: app ContainerStatusUnknown(137)"
    );
}

#[test]
fn a_pod_that_is_over_stays_over() {
    let mut first = story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("exit app 0", "remove", ""),
        ],
    );
    first.now += Duration::from_secs(60);
    let mut second = taken_over(&first);
    assert!(second.state.is_over());
    assert!(second.play("time").is_empty());
    assert_eq!(first.state.status(), second.state.status());
}

#[test]
fn conditions_and_times_are_kept() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.active_deadline = Some(Duration::from_secs(100));
    let mut first = story(
        spec,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("noimage app ErrImagePull", "", ""),
        ],
    );
    first.now += Duration::from_secs(40);
    let mut second = taken_over(&first);
    let (before, after) = (first.state.status(), second.state.status());
    assert_eq!(before.start_time, after.start_time);
    let since = |status: &PodStatus| status.conditions.last().map(|last| last.since);
    assert_eq!(since(&before), since(&after));
    second.play("time");
    second.play("+59s");
    assert!(!second.state.is_over());
    second.play("sandbox ok");
    second.play("+1s");
    assert_eq!(second.state.status().reason, "DeadlineExceeded");
}

#[test]
fn init_containers_run_again_in_a_new_sandbox() {
    let first = story(
        pod(RestartPolicy::Always, &["i:setup", "app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull setup", ""),
            ("image setup", "launch setup 0", ""),
            ("exit setup 0", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
        ],
    );
    let mut second = taken_over(&first);
    assert_eq!(second.play("time"), ["sandbox"]);
    assert_eq!(second.play("sandbox ok"), ["pull setup"]);
    assert_eq!(second.play("image setup"), ["launch setup 1"]);
}
