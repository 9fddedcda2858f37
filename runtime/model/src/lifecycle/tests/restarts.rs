//! Restarts: policies, back-off, counts.

use super::*;

#[test]
fn a_pod_that_runs_once() {
    story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", "Pending: app ContainerCreating"),
            ("sandbox ok", "pull app", "Pending: app ContainerCreating"),
            (
                "image app",
                "launch app 0",
                "Pending: app ContainerCreating",
            ),
            ("up app", "", "Running: app Running ready"),
            ("exit app 0", "remove", "Succeeded: app Completed(0)"),
            ("exit app 1", "", "Succeeded: app Completed(0)"),
        ],
    );
}

#[test]
fn a_crash_loop_waits_ten_seconds_and_doubles() {
    let story = story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", "Running: app Running ready"),
            ("exit app 1", "pull app", "Running: app Error(1)"),
            ("image app", "launch app 1", ""),
            ("up app", "", "Running: app Running ready x1"),
            ("exit app 1", "", "Running: app CrashLoopBackOff x1"),
            ("+9s", "", "Running: app CrashLoopBackOff x1"),
            ("+1s", "pull app", "Running: app CrashLoopBackOff x1"),
            (
                "image app",
                "launch app 2",
                "Running: app CrashLoopBackOff x1",
            ),
            ("up app", "", "Running: app Running ready x2"),
            ("exit app 0", "", "Running: app CrashLoopBackOff x2"),
            ("+19s", "", ""),
            ("+1s", "pull app", ""),
        ],
    );
    let status = story.state.status();
    let ContainerState::Waiting { message, .. } = &status.containers[0].state else {
        panic!("it waits");
    };
    assert_eq!(
        message,
        "back-off 20s restarting failed container=app pod=pod_ns(uid)"
    );
    let last = status.containers[0].last_state.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (0, "Completed"));
    assert_eq!(
        story.told.last().unwrap(),
        "Warning BackOff app: Back-off restarting failed container app in pod pod_ns(uid)"
    );
}

#[test]
fn ten_minutes_of_running_are_forgiven() {
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
            ("+601s", "", ""),
            ("exit app 1", "pull app", "Running: app Error(1) x1"),
            ("image app", "launch app 2", ""),
            ("up app", "", ""),
            ("exit app 1", "", "Running: app CrashLoopBackOff x2"),
            ("+10s", "pull app", ""),
        ],
    );
}

#[test]
fn on_failure_restarts_failures_only() {
    story(
        pod(RestartPolicy::OnFailure, &["a", "b"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull a", ""),
            ("image a", "launch a 0", ""),
            (
                "up a",
                "pull b",
                "Pending: a Running ready; b ContainerCreating",
            ),
            ("image b", "launch b 0", ""),
            ("up b", "", "Running: a Running ready; b Running ready"),
            ("exit a 0", "", "Running: a Completed(0); b Running ready"),
            ("exit b 3", "pull b", "Running: a Completed(0); b Error(3)"),
            ("image b", "launch b 1", ""),
            ("up b", "", ""),
            (
                "exit b 0",
                "remove",
                "Succeeded: a Completed(0); b Completed(0) x1",
            ),
        ],
    );
}

#[test]
fn one_failure_of_many_fails_the_pod() {
    story(
        pod(RestartPolicy::Never, &["a", "b"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull a", ""),
            ("image a", "launch a 0", ""),
            ("up a", "pull b", ""),
            ("image b", "launch b 0", ""),
            ("up b", "", ""),
            ("exit a 1", "", "Running: a Error(1); b Running ready"),
            ("exit b 0", "remove", "Failed: a Error(1); b Completed(0)"),
        ],
    );
}

#[test]
fn an_end_may_be_told_before_the_start() {
    let story = story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("exit app 0 bye", "remove", "Succeeded: app Completed(0)"),
            ("up app", "", "Succeeded: app Completed(0)"),
        ],
    );
    let reasons: Vec<&str> = story
        .told
        .iter()
        .filter_map(|told| told.split(' ').nth(1))
        .collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started"]);
    let ContainerState::Terminated(ended) = &story.state.status().containers[0].state else {
        panic!("it has ended");
    };
    assert_eq!(ended.message, "bye");
    assert_eq!(ended.container_id, "wasmpod://uid_app_0");
}

#[test]
fn a_container_may_have_its_own_policy() {
    let mut pod = pod(RestartPolicy::Always, &["once", "app"]);
    pod.containers[0].restart_policy = Some(RestartPolicy::Never);
    story(
        pod,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull once", ""),
            ("image once", "launch once 0", ""),
            ("up once", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
            (
                "exit once 1",
                "",
                "Running: once Error(1); app Running ready",
            ),
            (
                "exit app 1",
                "pull app",
                "Running: once Error(1); app Error(1)",
            ),
        ],
    );
}

#[test]
fn a_lost_sandbox_is_made_again_for_what_restarts() {
    story(
        pod(RestartPolicy::Always, &["i:setup", "app"]),
        &[
            (
                "time",
                "sandbox",
                "Pending: setup PodInitializing; app PodInitializing",
            ),
            ("sandbox ok", "pull setup", ""),
            ("image setup", "launch setup 0", ""),
            ("up setup", "", ""),
            (
                "exit setup 0",
                "pull app",
                "Pending: setup Completed(0) ready; app PodInitializing",
            ),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
            (
                "lost",
                "sandbox",
                "Running: setup Completed(0) ready; app Error(137)",
            ),
            ("sandbox ok", "pull setup", ""),
            ("image setup", "launch setup 1", ""),
            ("up setup", "", "Running: setup Running x1; app Error(137)"),
            ("exit setup 0", "pull app", ""),
            ("image app", "launch app 1", ""),
            (
                "up app",
                "",
                "Running: setup Completed(0) ready x1; app Running ready x1",
            ),
        ],
    );
    story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("lost", "sandbox", "Pending: app ContainerCreating"),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", "Running: app Running ready"),
            ("lost", "", "Failed: app Error(137)"),
        ],
    );
}
