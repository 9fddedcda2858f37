//! Init containers and sidecars: order, failure, completion.

use super::*;

#[test]
fn init_containers_run_one_after_the_other() {
    story(
        pod(RestartPolicy::Always, &["i:one", "i:two", "app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull one", ""),
            ("image one", "launch one 0", ""),
            (
                "up one",
                "",
                "Pending: one Running; two PodInitializing; app PodInitializing",
            ),
            ("exit one 0", "pull two", ""),
            ("image two", "launch two 0", ""),
            ("up two", "", ""),
            (
                "exit two 1",
                "pull two",
                "Pending: one Completed(0) ready; two Error(1); app PodInitializing",
            ),
            ("image two", "launch two 1", ""),
            ("up two", "", ""),
            (
                "exit two 1",
                "",
                "Pending: one Completed(0) ready; two CrashLoopBackOff x1; app PodInitializing",
            ),
            ("+10s", "pull two", ""),
            ("image two", "launch two 2", ""),
            ("up two", "", ""),
            ("exit two 0", "pull app", ""),
        ],
    );
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    story(
        pod(RestartPolicy::Never, &["s:proxy", "i:setup", "app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull proxy", ""),
            ("image proxy", "launch proxy 0", ""),
            ("up proxy", "pull setup", ""),
            ("image setup", "launch setup 0", ""),
            ("up setup", "", ""),
            (
                "exit setup 2",
                "term proxy",
                "Pending: proxy Running ready; setup Error(2); app PodInitializing",
            ),
            (
                "exit proxy 143",
                "remove",
                "Failed: proxy Error(143); setup Error(2); app PodInitializing",
            ),
        ],
    );
}

#[test]
fn a_sidecar_lets_the_next_start_once_its_startup_probe_succeeds() {
    let mut pod = pod(RestartPolicy::Always, &["s:proxy", "i:setup", "app"]);
    pod.init_containers[0].startup = Some(probe());
    pod.init_containers[0].post_start = hook();
    story(
        pod,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull proxy", ""),
            ("image proxy", "launch proxy 0", ""),
            (
                "up proxy",
                "hook proxy PostStart",
                "Pending: proxy PodInitializing; setup PodInitializing; app PodInitializing",
            ),
            (
                "hook proxy post ok",
                "probe proxy Startup",
                "Pending: proxy Running; setup PodInitializing; app PodInitializing",
            ),
            (
                "probe proxy startup ok",
                "pull setup",
                "Pending: proxy Running ready; setup PodInitializing; app PodInitializing",
            ),
        ],
    );
}

#[test]
fn sidecars_do_not_keep_a_pod_alive_and_stop_in_reverse() {
    story(
        pod(RestartPolicy::Never, &["s:one", "s:two", "app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull one", ""),
            ("image one", "launch one 0", ""),
            ("up one", "pull two", ""),
            ("image two", "launch two 0", ""),
            ("up two", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
            (
                "exit app 0",
                "term two",
                "Running: one Running ready; two Running ready; app Completed(0)",
            ),
            ("exit two 1", "term one", ""),
            (
                "exit one 143",
                "remove",
                "Succeeded: one Error(143); two Error(1); app Completed(0)",
            ),
        ],
    );
}

#[test]
fn a_sidecar_restarts_always_even_in_a_pod_that_never_does() {
    story(
        pod(RestartPolicy::Never, &["s:proxy", "app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull proxy", ""),
            ("image proxy", "launch proxy 0", ""),
            ("up proxy", "pull app", ""),
            ("image app", "launch app 0", ""),
            (
                "up app",
                "",
                "Running: proxy Running ready; app Running ready",
            ),
            (
                "exit proxy 0",
                "pull proxy",
                "Running: proxy Completed(0); app Running ready",
            ),
            ("image proxy", "launch proxy 1", ""),
            (
                "up proxy",
                "",
                "Running: proxy Running ready x1; app Running ready",
            ),
            (
                "exit proxy 1",
                "",
                "Running: proxy CrashLoopBackOff x1; app Running ready",
            ),
            (
                "exit app 0",
                "remove",
                "Succeeded: proxy Error(1) x1; app Completed(0)",
            ),
        ],
    );
}

#[test]
fn main_containers_start_in_order_behind_post_start_hooks() {
    let mut pod = pod(RestartPolicy::Always, &["proxy", "app"]);
    pod.containers[0].post_start = hook();
    story(
        pod,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull proxy", ""),
            ("image proxy", "launch proxy 0", ""),
            (
                "up proxy",
                "hook proxy PostStart",
                "Pending: proxy ContainerCreating; app ContainerCreating",
            ),
            (
                "hook proxy post ok",
                "pull app",
                "Pending: proxy Running ready; app ContainerCreating",
            ),
        ],
    );
}

#[test]
fn a_failed_post_start_hook_kills_its_container() {
    let mut pod = pod(RestartPolicy::Always, &["app", "other"]);
    pod.containers[0].post_start = hook();
    let story = story(
        pod,
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "hook app PostStart", ""),
            ("hook app post fail", "term app, pull other", ""),
            (
                "exit app 143",
                "pull app",
                "Pending: app PostStartHookError; other ContainerCreating",
            ),
            ("image app", "launch app 1", ""),
        ],
    );
    let expected = [
        "Warning FailedPostStartHook app: PostStartHook failed: why",
        "Normal Killing app: FailedPostStartHook",
    ];
    for line in expected {
        assert!(story.told.iter().any(|told| told == line), "{line}");
    }
}
