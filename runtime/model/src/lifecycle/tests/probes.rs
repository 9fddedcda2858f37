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
            ("+1s", "", ""),
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
fn a_failure_in_the_first_second_is_held_against_nobody() {
    let impatient = || {
        Some(Probe {
            failure_threshold: 1,
            ..probe()
        })
    };
    let story = then(
        up(|app| (app.liveness, app.readiness) = (impatient(), impatient())),
        &[
            ("up app", "probe app Liveness, probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running"),
            ("probe app liveness fail", "", "Running: app Running"),
            ("+1s", "probe app Liveness, probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running ready"),
            ("probe app liveness ok", "", ""),
            ("+9s", "", ""),
            ("+1s", "probe app Liveness, probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running"),
            ("probe app liveness fail", "term app", ""),
        ],
    );
    let unhealthy = story.told.iter().filter(|told| told.contains("Unhealthy"));
    assert_eq!(unhealthy.count(), 2, "{:?}", story.told);
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

/// A container with all three probes, each with this initial delay.
fn with_all(delay: u64) -> Story {
    let probe = || {
        Some(Probe {
            initial_delay: Duration::from_secs(delay),
            ..probe()
        })
    };
    up(|app| (app.startup, app.liveness, app.readiness) = (probe(), probe(), probe()))
}

/// A first life, its end, and a second one.
fn restarted(delay: u64, first: &[Line<'_>], second: &[Line<'_>]) {
    let restart: [Line<'_>; 2] = [
        ("exit app 1", "pull app", ""),
        ("image app", "launch app 1", ""),
    ];
    then(then(then(with_all(delay), first), &restart), second);
}

#[test]
fn a_restarted_container_is_probed_at_the_ticks_of_the_first() {
    restarted(
        0,
        &[
            ("up app", "probe app Startup", ""),
            (
                "probe app startup ok",
                "probe app Liveness, probe app Readiness",
                "",
            ),
            ("probe app liveness ok", "", ""),
            ("probe app readiness ok", "", "Running: app Running ready"),
            ("+10s", "probe app Liveness, probe app Readiness", ""),
            ("probe app liveness ok", "", ""),
            ("probe app readiness ok", "", ""),
            ("+3s", "", ""),
        ],
        &[
            ("up app", "", "Running: app Running x1"),
            ("+6s", "", ""),
            ("+1s", "probe app Startup", ""),
            ("+1s", "", ""),
            // Readiness is asked at once, liveness at its tick.
            ("probe app startup ok", "probe app Readiness", ""),
            (
                "probe app readiness ok",
                "",
                "Running: app Running ready x1",
            ),
            ("+8s", "", ""),
            ("+1s", "probe app Liveness", ""),
        ],
    );
}

#[test]
fn a_restarted_container_has_its_initial_delay_too() {
    // It starts at 13 s, so its delay ends at 18 s; the ticks are at 5, 15, 25 s.
    restarted(
        5,
        &[
            ("up app", "", ""),
            ("+5s", "probe app Startup", ""),
            ("probe app startup fail", "", ""),
            ("+8s", "", ""),
        ],
        &[
            ("up app", "", ""),
            ("+11s", "", ""),
            ("+1s", "probe app Startup", ""),
        ],
    );
    // It starts at 10 s: a tick comes with the end of its delay, at 20 s.
    restarted(
        10,
        &[
            ("up app", "", ""),
            ("+10s", "probe app Startup", ""),
            ("probe app startup fail", "", ""),
        ],
        &[
            ("up app", "", ""),
            ("+9s", "", ""),
            ("+1s", "probe app Startup", ""),
        ],
    );
}

#[test]
fn an_agent_that_starts_anew_spreads_its_first_probes_over_their_period() {
    let mut firsts = Vec::new();
    for uid in 0..20 {
        let mut pod = pod(RestartPolicy::Always, &["app"]);
        pod.identity.uid = uid.to_string();
        pod.containers[0].liveness = Some(probe());
        let recorded = State::new(Arc::new(pod.clone()), PodId(1), at(Duration::ZERO)).status();
        let mut story = Story::new(pod);
        story.state = State::recover(story.state.spec(), PodId(1), &recorded, at(story.now));
        let begun = story.now;
        for stimulus in ["time", "sandbox ok", "image app"] {
            story.play(stimulus);
        }
        let asked_at_once = !story.play("up app").is_empty();
        assert!(!asked_at_once, "{uid}");
        let due = story.deadline.expect("a probe").elapsed() - begun;
        assert!(due < Duration::from_secs(10), "{uid}: {due:?}");
        firsts.push(due);
        assert_eq!(story.play("+10s"), ["probe app Liveness"], "{uid}");
    }
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), 20, "{firsts:?}");
}

#[test]
fn a_container_whose_startup_probe_has_failed_is_neither_started_nor_ready() {
    then(
        up(|app| {
            app.startup = Some(Probe {
                failure_threshold: 1,
                grace_period: Some(Duration::from_secs(5)),
                ..probe()
            });
            app.readiness = Some(probe());
        }),
        &[
            ("up app", "probe app Startup", "Running: app Running"),
            ("+1s", "", ""),
            ("probe app startup fail", "term app", "Running: app Running"),
            // With the grace of the probe, not the pod's; and nothing is asked any more.
            ("+4s", "", "Running: app Running"),
            ("+1s", "kill app", ""),
            ("exit app 137", "pull app", "Running: app Error(137)"),
        ],
    );
}

#[test]
fn as_many_successes_in_a_row_as_the_threshold_make_ready() {
    then(
        up(|app| {
            app.readiness = Some(Probe {
                success_threshold: 2,
                failure_threshold: 1,
                ..probe()
            });
        }),
        &[
            ("up app", "probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness ok", "", "Running: app Running ready"),
            ("+10s", "probe app Readiness", ""),
            ("probe app readiness fail", "", "Running: app Running"),
        ],
    );
}
