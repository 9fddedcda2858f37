//! What keeps a container from starting: images, configuration, the runtime, the sandbox.

use super::*;

#[test]
fn a_missing_image_is_tried_again_ever_more_rarely() {
    let story = story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("noimage app ErrImagePull", "", "Pending: app ErrImagePull"),
            ("+9s", "", ""),
            ("+1s", "pull app", "Pending: app ErrImagePull"),
            (
                "noimage app ErrImagePull",
                "",
                "Pending: app ImagePullBackOff",
            ),
            ("+20s", "pull app", ""),
            ("noimage app ErrImagePull", "", ""),
            ("+39s", "", ""),
            ("+1s", "pull app", "Pending: app ImagePullBackOff"),
            ("image app", "launch app 0", ""),
            ("up app", "", "Running: app Running ready"),
        ],
    );
    assert_eq!(
        story.told[2..6],
        [
            "Warning Failed app: Failed to pull image \"app:v1\": why",
            "Warning Failed app: Error: ErrImagePull",
            "Normal BackOff app: Back-off pulling image \"app:v1\"",
            "Warning Failed app: Error: ImagePullBackOff",
        ]
    );
}

#[test]
fn other_image_errors_keep_their_name() {
    story(
        pod(RestartPolicy::Never, &["app", "other"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            (
                "noimage app ErrImageNeverPull",
                "pull other",
                "Pending: app ErrImageNeverPull; other ContainerCreating",
            ),
            ("+10s", "pull app", ""),
            (
                "noimage app ErrImageNeverPull",
                "",
                "Pending: app ErrImageNeverPull; other ContainerCreating",
            ),
        ],
    );
}

#[test]
fn a_missing_object_is_waited_for() {
    story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            (
                "bad app config",
                "",
                "Pending: app CreateContainerConfigError",
            ),
            ("+3600s", "", ""),
            (
                "objects",
                "pull app",
                "Pending: app CreateContainerConfigError",
            ),
            ("image app", "launch app 0", ""),
            ("up app", "", "Running: app Running ready"),
            ("objects", "", ""),
        ],
    );
}

#[test]
fn a_refused_creation_is_no_restart() {
    story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("bad app create", "", "Pending: app CreateContainerError"),
            ("+10s", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", "Running: app Running ready"),
        ],
    );
}

#[test]
fn a_module_that_does_not_start_has_ended() {
    let script: &[Line<'_>] = &[
        ("time", "sandbox", ""),
        ("sandbox ok", "pull app", ""),
        ("image app", "launch app 0", ""),
    ];
    let mut never = story(pod(RestartPolicy::Never, &["app"]), script);
    assert_eq!(never.play("bad app start"), ["remove"]);
    assert_eq!(
        summary(&never.state.status()),
        "Failed: app StartError(128)"
    );
    let mut always = story(pod(RestartPolicy::Always, &["app"]), script);
    assert_eq!(always.play("bad app start"), ["pull app"]);
    assert_eq!(
        summary(&always.state.status()),
        "Running: app RunContainerError"
    );
    assert_eq!(always.play("image app"), ["launch app 1"]);
    assert!(always.play("bad app start").is_empty());
    assert_eq!(
        summary(&always.state.status()),
        "Running: app CrashLoopBackOff x1"
    );
}

#[test]
fn a_sandbox_is_tried_again() {
    let story = story(
        pod(RestartPolicy::Never, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox onchange", "", "Pending: app ContainerCreating"),
            ("+3600s", "", ""),
            ("objects", "sandbox", ""),
            ("sandbox later", "", ""),
            ("+10s", "sandbox", ""),
            ("sandbox later", "", ""),
            ("+19s", "", ""),
            ("+1s", "sandbox", ""),
            ("stop 30", "", ""),
            (
                "sandbox ok",
                "remove",
                "Failed: app ContainerStatusUnknown(137)",
            ),
        ],
    );
    assert_eq!(story.told[0], "Warning FailedMount : no volume");
}

#[test]
fn late_answers_are_not_heard() {
    let mut story = story(
        pod(RestartPolicy::Always, &["app"]),
        &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
            ("up app", "", ""),
        ],
    );
    let first = story.attempt("app");
    assert_eq!(story.play("exit app 1"), ["pull app"]);
    let before = summary(&story.state.status());
    for event in [
        Event::Launched { instance: first },
        Event::Health {
            instance: first,
            ready: false,
        },
        Event::Exited {
            instance: first,
            exit: Exit {
                code: 0,
                reason: String::new(),
                message: String::new(),
            },
            message: String::new(),
        },
        Event::ImageReady {
            instance: first,
            image_id: "other".to_owned(),
            fetched: None,
        },
    ] {
        assert!(story.hear(event).is_empty());
        assert_eq!(summary(&story.state.status()), before);
    }
}
