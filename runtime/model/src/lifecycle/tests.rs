//! Stories of pods: a script of what happens, what is ordered then, and what the status shows.
//!
//! A line of a script is `(stimulus, orders, status)`. An empty status is not looked at; orders
//! always are, without Events and reports. `+90s` lets time pass, stopping at every deadline.

mod images;
mod init;
mod probes;
mod random;
mod recorded;
mod restarts;
mod status;
mod stopping;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::pod::{Identity, RestartPolicy};
use crate::probe::{Handler, Probe};
use crate::runtime::{PodId, Signal};
use crate::status::{ContainerState, PodStatus};

/// One line: stimulus, orders, status.
type Line<'a> = (&'a str, &'a str, &'a str);

/// A pod under way.
struct Story {
    state: State,
    now: Duration,
    deadline: Option<Tick>,
    /// The last attempt of each container.
    attempts: Vec<(Place, InstanceId)>,
    /// Every Event so far: container, reason, message.
    told: Vec<String>,
    /// What each TERM so far said to be left.
    left: Vec<Duration>,
}

/// Runs a script.
fn story(pod: Pod, script: &[Line<'_>]) -> Story {
    let mut story = Story::new(pod);
    for (number, (stimulus, orders, status)) in script.iter().enumerate() {
        let given = story.play(stimulus).join(", ");
        assert_eq!(given, *orders, "orders after line {number}: {stimulus}");
        if !status.is_empty() {
            let shown = summary(&story.state.status());
            assert_eq!(shown, *status, "status after line {number}: {stimulus}");
        }
    }
    story
}

/// A pod of named containers: main ones, `i:name` for init containers, `s:name` for sidecars.
fn pod(policy: RestartPolicy, names: &[&str]) -> Pod {
    let mut pod = Pod {
        identity: Identity {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
        },
        restart_policy: policy,
        grace_period: Duration::from_secs(30),
        ..Pod::default()
    };
    for name in names {
        let (kind, name) = name.split_once(':').unwrap_or(("", name));
        let container = Container {
            name: name.to_owned(),
            image: format!("{name}:v1"),
            restart_policy: (kind == "s").then_some(RestartPolicy::Always),
            ..Container::default()
        };
        if kind.is_empty() {
            pod.containers.push(container);
        } else {
            pod.init_containers.push(container);
        }
    }
    pod
}

/// A probe with Kubernetes' defaults.
fn probe() -> Probe {
    Probe {
        handler: Handler::Exec(vec!["ok".to_owned()]),
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace_period: None,
    }
}

fn hook() -> Option<Handler> {
    Some(Handler::Sleep(Duration::from_secs(1)))
}

/// The phase, then every container with its state, `ready`, and restarts.
fn summary(status: &PodStatus) -> String {
    let containers = status.init_containers.iter().chain(&status.containers);
    let shown: Vec<String> = containers
        .map(|container| {
            let state = match &container.state {
                ContainerState::Waiting { reason, .. } => reason.clone(),
                ContainerState::Running { .. } => "Running".to_owned(),
                ContainerState::Terminated(ended) => {
                    format!("{}({})", ended.reason, ended.exit_code)
                }
            };
            let ready = if container.ready { " ready" } else { "" };
            let restarts = match container.restart_count {
                0 => String::new(),
                count => format!(" x{count}"),
            };
            format!("{} {state}{ready}{restarts}", container.name)
        })
        .collect();
    format!("{}: {}", status.phase.as_str(), shown.join("; "))
}

// === impl Story ===

impl Story {
    fn new(pod: Pod) -> Self {
        let now = Duration::from_secs(1000);
        Self {
            state: State::new(Arc::new(pod), PodId(1), at(now)),
            now,
            deadline: None,
            attempts: Vec::new(),
            told: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Gives the machine an event now; the orders that come out of it.
    fn hear(&mut self, event: Event) -> Vec<String> {
        let now = at(self.now);
        let step = step(&mut self.state, event, now);
        if let Some(deadline) = step.deadline {
            assert!(deadline > now.tick, "a deadline that is not in the future");
        }
        self.deadline = step.deadline;
        step.actions
            .into_iter()
            .filter_map(|action| self.order(action))
            .collect()
    }

    fn play(&mut self, stimulus: &str) -> Vec<String> {
        if let Some(seconds) = stimulus.strip_prefix('+') {
            return self.wait(seconds.trim_end_matches('s').parse().unwrap());
        }
        let event = self.event(stimulus);
        self.hear(event)
    }

    /// Lets seconds pass, stepping at every deadline on the way.
    fn wait(&mut self, seconds: u64) -> Vec<String> {
        let end = self.now + Duration::from_secs(seconds);
        let mut orders = Vec::new();
        while let Some(deadline) = self.deadline
            && deadline.elapsed() <= end
        {
            self.now = deadline.elapsed();
            orders.extend(self.hear(Event::Time));
        }
        self.now = end;
        orders
    }

    fn event(&self, stimulus: &str) -> Event {
        let words: Vec<&str> = stimulus.split(' ').collect();
        let good = words.last() == Some(&"ok");
        match words[0] {
            "time" => Event::Time,
            "sandbox" if good => Event::SandboxReady {
                addresses: vec![[10, 0, 0, 1].into()],
            },
            "sandbox" => Event::SandboxFailed {
                reason: "FailedMount".to_owned(),
                message: "no volume".to_owned(),
                retry: if words[1] == "later" {
                    Retry::Later
                } else {
                    Retry::OnChange
                },
            },
            "lost" => Event::SandboxLost {
                message: "the pod host ended".to_owned(),
            },
            "stop" => Event::Stop {
                grace: Duration::from_secs(words[1].parse().unwrap()),
            },
            "kill" => Event::Kill,
            "evict" => Event::Evict {
                reason: "Evicted".to_owned(),
                message: "too much".to_owned(),
                grace: Duration::from_secs(1),
            },
            "objects" => Event::ObjectsChanged,
            _ => self.container_event(&words),
        }
    }

    /// An event about one container's attempt or instance.
    fn container_event(&self, words: &[&str]) -> Event {
        let text = |index: usize| words.get(index).copied().unwrap_or_default().to_owned();
        let good = words.last() == Some(&"ok");
        let instance = |index: usize| self.attempt(words[index]);
        match words[0] {
            "image" => Event::ImageReady {
                instance: instance(1),
                image_id: format!("sha256:{}", words[1]),
                fetched: None,
            },
            "noimage" => Event::ImageFailed {
                instance: instance(1),
                reason: text(2),
                message: "why".to_owned(),
            },
            "up" => Event::Launched {
                instance: instance(1),
            },
            "bad" => Event::LaunchFailed {
                instance: instance(1),
                failure: match words[2] {
                    "config" => LaunchFailure::Config("why".to_owned()),
                    "create" => LaunchFailure::Create("why".to_owned()),
                    _ => LaunchFailure::Start("why".to_owned()),
                },
            },
            "exit" => Event::Exited {
                instance: instance(1),
                exit: Exit {
                    code: words[2].parse().unwrap(),
                    reason: String::new(),
                    message: String::new(),
                },
                message: text(3),
            },
            "unentered" => Event::Exited {
                instance: instance(1),
                exit: Exit {
                    code: 128,
                    reason: "StartError".to_owned(),
                    message: "why".to_owned(),
                },
                message: String::new(),
            },
            "hook" => Event::Hooked {
                instance: instance(1),
                hook: if words[2] == "post" {
                    Hook::PostStart
                } else {
                    Hook::PreStop
                },
                result: good.then_some(()).ok_or_else(|| "why".to_owned()),
            },
            "probe" => Self::probed(words, instance(1)),
            "health" => Event::Health {
                instance: instance(1),
                ready: good,
            },
            other => panic!("no such stimulus: {other}"),
        }
    }

    fn probed(words: &[&str], instance: InstanceId) -> Event {
        Event::Probed {
            instance,
            kind: match words[2] {
                "startup" => ProbeKind::Startup,
                "liveness" => ProbeKind::Liveness,
                _ => ProbeKind::Readiness,
            },
            outcome: match words[3] {
                "ok" => ProbeOutcome::Success,
                "warn" => ProbeOutcome::Warning("why".to_owned()),
                "fail" => ProbeOutcome::Failure("why".to_owned()),
                _ => ProbeOutcome::Error("why".to_owned()),
            },
        }
    }

    /// An action as scripts write it; Events are kept aside.
    fn order(&mut self, action: Action) -> Option<String> {
        let pod = self.state.spec();
        let name = |place: Place| place.of(&pod).map_or("", |spec| &spec.name).to_owned();
        Some(match action {
            Action::MakeSandbox => "sandbox".to_owned(),
            Action::RemoveSandbox => "remove".to_owned(),
            Action::PullImage {
                container,
                instance,
            } => {
                self.attempts.retain(|(place, _)| *place != container);
                self.attempts.push((container, instance));
                format!("pull {}", name(container))
            }
            Action::Launch {
                container, attempt, ..
            } => format!("launch {} {attempt}", name(container)),
            Action::RunHook {
                container, hook, ..
            } => format!("hook {} {hook:?}", name(container)),
            Action::Probe {
                container, kind, ..
            } => format!("probe {} {kind:?}", name(container)),
            Action::Signal { instance, signal } => {
                let name = name(self.container(instance));
                match signal {
                    Signal::Term(left) => {
                        self.left.push(left);
                        format!("term {name}")
                    }
                    Signal::Kill => format!("kill {name}"),
                }
            }
            Action::Tell(notice) => {
                let about = notice.container.map(name).unwrap_or_default();
                let kind = if notice.warning { "Warning" } else { "Normal" };
                let (reason, message) = (notice.reason, notice.message);
                self.told
                    .push(format!("{kind} {reason} {about}: {message}"));
                return None;
            }
            Action::Forget { .. } | Action::Report => return None,
        })
    }

    fn attempt(&self, name: &str) -> InstanceId {
        let pod = self.state.spec();
        let named = |place: &Place| place.of(&pod).is_some_and(|spec| spec.name == name);
        let found = self.attempts.iter().find(|(place, _)| named(place));
        found.map_or(InstanceId(u64::MAX), |(_, instance)| *instance)
    }

    fn container(&self, instance: InstanceId) -> Place {
        let found = self.attempts.iter().find(|(_, found)| *found == instance);
        found.map_or(Place::Main(99), |(place, _)| *place)
    }
}

fn at(now: Duration) -> Now {
    Now {
        tick: Tick::from_start(now),
        wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) + now,
    }
}
