//! Probes: gates, thresholds, times, and what failing them costs.

use super::*;

/// A pod of one container that has just come up, with these probes.
fn up(change: impl FnOnce(&mut Container)) -> Story {
    let mut pod = pod(RestartPolicy::Always, &["app"]);
    change(&mut pod.containers[0]);
    let mut story = story(
        pod,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
        ],
    );
    story.told.clear();
    story
}

/// Plays the rest of a script.
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
fn readiness_is_false_until_the_probe_says_otherwise() {
    then(
        up(|app| app.readiness = Some(probe())),
        &[
            ("up app", "probe app Readiness", "Running: app Running"),
            ("probe app readiness ok", "", "Running: app Running ready"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running ready"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running ready"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running ready"),
        ],
    );
}

#[test]
fn liveness_kills_with_its_own_grace_and_the_container_restarts() {
    let story = then(
        up(|app| {
            app.liveness = Some(Probe {
                initial_delay: Duration::from_secs(5),
                period: Duration::from_secs(3),
                failure_threshold: 2,
                grace_period: Some(Duration::from_secs(4)),
                ..probe()
            });
        }),
        &[
            ("up app", "", "Running: app Running ready"),
            ("+4s", "", ""),
            ("+1s", "probe app Liveness", ""),
            ("probe app liveness fail", "", ""),
            ("+3s", "probe app Liveness", ""),
            (
                "probe app liveness fail",
                "term app",
                "Running: app Running ready",
            ),
            ("+3s", "", ""),
            ("+1s", "kill app", ""),
            ("exit app 137", "pull app", "Running: app Error(137)"),
        ],
    );
    assert_eq!(
        story.told[2..],
        [
            "Warning Unhealthy app: Liveness probe failed: why",
            "Warning Unhealthy app: Liveness probe failed: why",
            "Normal Killing app: Container app failed liveness probe, will be restarted",
        ]
    );
}

#[test]
fn failures_in_a_row_count_and_errors_do_not() {
    then(
        up(|app| app.liveness = Some(probe())),
        &[
            ("up app", "probe app Liveness", ""),
            ("probe app liveness fail", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness fail", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness ok", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness fail", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness error", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness fail", "", ""),
            ("+10s", "probe app Liveness", ""),
            ("probe app liveness fail", "term app", ""),
        ],
    );
}

#[test]
fn startup_gates_the_others() {
    then(
        up(|app| {
            app.startup = Some(Probe {
                failure_threshold: 2,
                ..probe()
            });
            app.liveness = Some(probe());
            app.readiness = Some(Probe {
                initial_delay: Duration::from_secs(12),
                ..probe()
            });
        }),
        &[
            ("up app", "probe app Startup", "Running: app Running"),
            ("+60s", "", ""),
            ("probe app startup fail", "", ""),
            ("+9s", "", ""),
            ("+1s", "probe app Startup", ""),
            (
                "probe app startup ok",
                "probe app Liveness, probe app Readiness",
                "",
            ),
            ("probe app readiness ok", "", "Running: app Running ready"),
        ],
    );
}

#[test]
fn a_startup_probe_that_keeps_failing_kills() {
    let story = then(
        up(|app| {
            app.startup = Some(Probe {
                failure_threshold: 1,
                ..probe()
            });
        }),
        &[
            ("up app", "probe app Startup", ""),
            ("probe app startup fail", "term app", "Running: app Running"),
            ("+30s", "kill app", ""),
        ],
    );
    assert_eq!(
        story.told.last().unwrap(),
        "Normal Killing app: Container app failed startup probe, will be restarted"
    );
}

#[test]
fn a_slow_probe_skips_the_times_it_missed() {
    then(
        up(|app| app.readiness = Some(probe())),
        &[
            ("up app", "probe app Readiness", ""),
            ("+25s", "", ""),
            ("probe app readiness ok", "", ""),
            ("+4s", "", ""),
            ("+1s", "probe app Readiness", ""),
        ],
    );
}

#[test]
fn the_guests_own_health_counts_too() {
    then(
        up(|_| {}),
        &[
            ("up app", "", "Running: app Running ready"),
            ("health app bad", "", "Running: app Running"),
            ("health app ok", "", "Running: app Running ready"),
        ],
    );
}

#[test]
fn readiness_goes_on_while_a_pod_ends_and_the_others_do_not() {
    then(
        up(|app| {
            app.readiness = Some(probe());
            app.liveness = Some(probe());
        }),
        &[
            ("up app", "probe app Liveness, probe app Readiness", ""),
            ("probe app readiness ok", "", ""),
            ("probe app liveness ok", "", ""),
            ("stop 30", "term app", "Running: app Running ready"),
            ("+10s", "probe app Readiness", ""),
            ("+20s", "kill app", ""),
        ],
    );
}

#[test]
fn a_new_instance_is_probed_from_nothing() {
    then(
        up(|app| app.readiness = Some(probe())),
        &[
            ("up app", "probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running ready"),
            ("exit app 1", "pull app", "Running: app Error(1)"),
            ("image app", "launch app 1", ""),
            ("up app", "probe app Readiness", "Running: app Running x1"),
        ],
    );
}

#[test]
fn a_warning_is_a_success_with_words() {
    let story = then(
        up(|app| app.readiness = Some(probe())),
        &[
            ("up app", "probe app Readiness", ""),
            ("probe app readiness warn", "", "Running: app Running ready"),
        ],
    );
    assert_eq!(
        story.told.last().unwrap(),
        "Warning ProbeWarning app: Readiness probe warning: why"
    );
}
