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
fn an_instance_that_is_never_entered_is_told_at_once() {
    let cases: [(&[Line<'_>], &str); 2] = [
        (
            &[("up app", "", "")],
            "Normal Created app, Normal Started app, Warning Failed app: Error: why",
        ),
        // The end comes before the answer to the launch.
        (&[], "Normal Created app, Warning Failed app: Error: why"),
    ];
    for (started, wanted) in cases {
        let script: &[Line<'_>] = &[
            ("time", "sandbox", ""),
            ("sandbox ok", "pull app", ""),
            ("image app", "launch app 0", ""),
        ];
        let mut story = story(
            pod(RestartPolicy::Never, &["app"]),
            &[script, started].concat(),
        );
        assert_eq!(story.play("unentered app"), ["remove"]);
        assert_eq!(
            summary(&story.state.status()),
            "Failed: app StartError(128)"
        );
        let told = story.told.iter().map(|event| {
            let event = event.trim_end_matches(": Container created");
            event.trim_end_matches(": Container started")
        });
        let told: Vec<&str> = told.filter(|event| !event.contains("Pull")).collect();
        assert_eq!(told.join(", "), wanted);
    }
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

/// What hindered the container `app` of a pod that is over after a script, each line without
/// its status. Orders are not looked at.
fn hindrance(script: &[&str]) -> Option<String> {
    let mut story = Story::new(pod(RestartPolicy::Always, &["app"]));
    for stimulus in script {
        story.play(stimulus);
    }
    assert!(story.state.is_over(), "{script:?}");
    let hindrance = story.state.hindrance(Place::Main(0));
    hindrance.map(|(reason, _)| reason.to_owned())
}

#[test]
fn a_container_that_never_ran_is_known_by_what_it_waited_for() {
    let launching = ["time", "sandbox ok", "image app"];
    let cases: [(&[&str], &[&str], Option<&str>); 7] = [
        (
            &["time", "sandbox ok"],
            &["noimage app ErrImagePull", "stop 1"],
            Some("ErrImagePull"),
        ),
        (
            &launching,
            &["bad app config", "stop 1"],
            Some("CreateContainerConfigError"),
        ),
        (
            &launching,
            &["stop 1", "bad app create"],
            Some("CreateContainerError"),
        ),
        (&["time"], &["sandbox later", "stop 1"], Some("FailedMount")),
        // It failed once, and the next try was given up half-way: nothing hindered that one.
        (
            &["time", "sandbox later", "+10s"],
            &["sandbox ok", "stop 1"],
            None,
        ),
        (&launching, &["up app", "kill", "exit app 137"], None),
        (&["time"], &["stop 1", "sandbox ok"], None),
    ];
    for (before, then, wanted) in cases {
        let script = [before, then].concat();
        assert_eq!(hindrance(&script).as_deref(), wanted, "{script:?}");
    }
}
