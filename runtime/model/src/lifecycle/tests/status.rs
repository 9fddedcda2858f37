//! Conditions and details of the status.

use super::*;
use crate::status::Condition;

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a Condition {
    status
        .conditions
        .iter()
        .find(|condition| condition.kind == kind)
        .unwrap()
}

/// The conditions as `+` or `-` with the reason, in the order reported.
fn conditions(story: &Story) -> String {
    let status = story.state.status();
    let shown: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            let sign = if condition.status { '+' } else { '-' };
            let reason = if condition.reason.is_empty() {
                String::new()
            } else {
                format!("({})", condition.reason)
            };
            format!("{sign}{}{reason}", condition.kind)
        })
        .collect();
    shown.join(" ")
}

#[test]
fn conditions_follow_the_containers() {
    let mut story = Story::new(pod(RestartPolicy::Never, &["i:setup", "app"]));
    let cases = [
        (
            "time",
            "-PodReadyToStartContainers -Initialized(ContainersNotInitialized) -Ready(ContainersNotReady) -ContainersReady(ContainersNotReady) +PodScheduled",
        ),
        (
            "sandbox ok",
            "+PodReadyToStartContainers -Initialized(ContainersNotInitialized) -Ready(ContainersNotReady) -ContainersReady(ContainersNotReady) +PodScheduled",
        ),
        ("image setup", ""),
        ("up setup", ""),
        (
            "exit setup 0",
            "+PodReadyToStartContainers +Initialized -Ready(ContainersNotReady) -ContainersReady(ContainersNotReady) +PodScheduled",
        ),
        ("image app", ""),
        (
            "up app",
            "+PodReadyToStartContainers +Initialized +Ready +ContainersReady +PodScheduled",
        ),
        (
            "exit app 0",
            "-PodReadyToStartContainers +Initialized(PodCompleted) -Ready(PodCompleted) -ContainersReady(PodCompleted) +PodScheduled",
        ),
    ];
    for (stimulus, expected) in cases {
        story.play(stimulus);
        if !expected.is_empty() {
            assert_eq!(conditions(&story), expected, "{stimulus}");
        }
    }
}

#[test]
fn the_unready_are_named() {
    let mut story = Story::new(pod(RestartPolicy::Never, &["s:proxy", "a", "b"]));
    story.play("time");
    let status = story.state.status();
    assert_eq!(
        condition(&status, "ContainersReady").message,
        "containers with unready status: [proxy a b]"
    );
    assert_eq!(
        condition(&status, "Initialized").message,
        "containers with incomplete status: [proxy]"
    );
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let mut story = Story::new(pod(RestartPolicy::Always, &["app"]));
    for stimulus in ["time", "sandbox ok", "image app", "up app"] {
        story.play(stimulus);
        story.play("+5s");
    }
    let ready = condition(&story.state.status(), "Ready").since;
    let scheduled = condition(&story.state.status(), "PodScheduled").since;
    assert!(ready > scheduled);
    story.play("health app ok");
    assert_eq!(condition(&story.state.status(), "Ready").since, ready);
    story.play("health app bad");
    let later = condition(&story.state.status(), "Ready").since;
    assert_eq!(later.duration_since(ready).unwrap().as_secs(), 5);
    let still = condition(&story.state.status(), "PodScheduled").since;
    assert_eq!(still, scheduled);
}

#[test]
fn readiness_gates_gate() {
    let mut spec = pod(RestartPolicy::Always, &["app"]);
    spec.readiness_gates = vec!["example.com/gate".to_owned()];
    let mut story = Story::new(spec);
    for stimulus in ["time", "sandbox ok", "image app", "up app"] {
        story.play(stimulus);
    }
    let ready = |story: &Story| condition(&story.state.status(), "Ready").clone();
    assert_eq!(
        ready(&story).message,
        "corresponding condition of pod readiness gate \"example.com/gate\" does not exist."
    );
    assert!(condition(&story.state.status(), "ContainersReady").status);
    for (status, message) in [
        (
            false,
            "the status of pod readiness gate \"example.com/gate\" is not \"True\", but False",
        ),
        (true, ""),
    ] {
        story.hear(Event::Conditions(vec![Condition {
            kind: "example.com/gate".to_owned(),
            status,
            reason: String::new(),
            message: String::new(),
            since: at(story.now).wall,
        }]));
        assert_eq!(ready(&story).status, status);
        assert_eq!(ready(&story).message, message);
    }
}

#[test]
fn nothing_is_reported_that_did_not_change() {
    let mut story = Story::new(pod(RestartPolicy::Always, &["app"]));
    for stimulus in ["time", "sandbox ok", "image app", "up app"] {
        story.play(stimulus);
    }
    let now = at(story.now);
    for event in [
        Event::Time,
        Event::ObjectsChanged,
        Event::Conditions(Vec::new()),
        Event::Health {
            instance: story.attempt("app"),
            ready: true,
        },
    ] {
        let text = format!("{event:?}");
        let step = step(&mut story.state, event, now);
        assert!(step.actions.is_empty(), "{text}: {:?}", step.actions);
    }
}

#[test]
fn places_name_their_field() {
    let pod = pod(RestartPolicy::Always, &["i:setup", "app"]);
    assert_eq!(
        Place::Init(0).field_path(&pod),
        "spec.initContainers{setup}"
    );
    assert_eq!(Place::Main(0).field_path(&pod), "spec.containers{app}");
}
