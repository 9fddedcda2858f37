//! Random pods, random orders of events, and what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::lifecycle::notice::wait_in;
use crate::runtime::Signal;
use crate::status::Phase;

/// What a CrashLoopBackOff may say.
const WAITS: [u64; 6] = [10, 20, 40, 80, 160, 300];

/// An order that waits for its answer.
#[derive(Debug, Clone, Copy)]
enum Order {
    Sandbox,
    Image(InstanceId),
    Launch(Place, InstanceId),
    Hook(InstanceId, Hook),
    Probe(InstanceId, ProbeKind),
}

/// The world around one machine: what was ordered, and what really lives.
struct World {
    pod: Arc<Pod>,
    state: State,
    now: Duration,
    deadline: Option<Tick>,
    orders: Vec<Order>,
    /// Instances that run, or may come to.
    alive: BTreeMap<InstanceId, Place>,
    killed: BTreeSet<InstanceId>,
    /// Init containers that succeeded in this sandbox.
    done: BTreeSet<Place>,
    last_exit: BTreeMap<Place, i32>,
    seen: Vec<InstanceId>,
    sandbox: bool,
    /// When everything must have had its TERM, in a pod that ends.
    end: Option<Duration>,
    terminal: Option<Phase>,
}

// === impl World ===

impl World {
    fn new(pod: Pod) -> Self {
        let pod = Arc::new(pod);
        let now = Duration::from_secs(10);
        Self {
            state: State::new(Arc::clone(&pod), PodId(7), at(now)),
            pod,
            now,
            deadline: None,
            orders: Vec::new(),
            alive: BTreeMap::new(),
            killed: BTreeSet::new(),
            done: BTreeSet::new(),
            last_exit: BTreeMap::new(),
            seen: Vec::new(),
            sandbox: false,
            end: None,
            terminal: None,
        }
    }

    fn hear(&mut self, event: Event) {
        let now = at(self.now);
        let was_over = self.state.is_over();
        let step = step(&mut self.state, event, now);
        assert!(step.deadline.is_none_or(|deadline| deadline > now.tick));
        assert!(!was_over || step.actions.is_empty());
        self.deadline = step.deadline;
        if !self.state.is_living() && self.end.is_none() {
            self.end = Some(self.now + self.pod.grace_period);
        }
        for action in step.actions {
            self.carry_out(action);
        }
        let mut again = self.state.clone();
        let idle = super::step(&mut again, Event::Time, now);
        assert_eq!(idle.actions, [], "a step left something undone");
        self.look();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::MakeSandbox => self.orders.push(Order::Sandbox),
            Action::RemoveSandbox => {
                assert!(self.alive.is_empty() && self.sandbox);
                self.sandbox = false;
            }
            Action::PullImage {
                container,
                instance,
            } => {
                assert!(self.sandbox && self.state.is_living());
                assert!(!self.seen.contains(&instance), "a number is used twice");
                assert_eq!(PodId::of(instance), PodId(7));
                self.seen.push(instance);
                self.may_start(container);
                self.orders.push(Order::Image(instance));
            }
            Action::Launch {
                container,
                instance,
                ..
            } => {
                let twin = self.alive.values().any(|place| *place == container);
                assert!(!twin, "two live instances of one container");
                self.alive.insert(instance, container);
                self.orders.push(Order::Launch(container, instance));
            }
            Action::RunHook { instance, hook, .. } => {
                assert!(self.alive.contains_key(&instance));
                self.orders.push(Order::Hook(instance, hook));
            }
            Action::Probe { instance, kind, .. } => {
                assert!(self.alive.contains_key(&instance));
                self.orders.push(Order::Probe(instance, kind));
            }
            Action::Signal { instance, signal } => self.signal(instance, signal),
            Action::Forget { instance } => self.alive.retain(|alive, _| *alive != instance),
            Action::Tell(_) | Action::Report => {}
        }
    }

    fn signal(&mut self, instance: InstanceId, signal: Signal) {
        let place = self.alive.get(&instance).copied();
        assert!(place.is_some(), "a signal to nobody");
        // One that its own probe or hook ends does not wait for the others.
        let sidecar = place
            .and_then(|place| place.of(&self.pod))
            .filter(|spec| spec.liveness.is_none() && spec.startup.is_none())
            .is_some_and(|spec| spec.is_sidecar() && spec.post_start.is_none());
        let in_time = self.end.is_none_or(|end| self.now < end);
        if matches!(signal, Signal::Term(_)) && sidecar && !self.state.is_living() && in_time {
            let mains = |place: &&Place| matches!(place, Place::Main(_));
            assert_eq!(self.alive.values().filter(mains).count(), 0);
        }
        if signal == Signal::Kill {
            self.killed.insert(instance);
        }
    }

    /// Order of init containers, and restart policies.
    fn may_start(&self, container: Place) {
        for (index, spec) in self.pod.init_containers.iter().enumerate() {
            let before = Place::Init(index);
            if before < container && !spec.is_sidecar() {
                assert!(
                    self.done.contains(&before),
                    "{before:?} before {container:?}"
                );
            }
        }
        let Some((code, spec)) = self.last_exit.get(&container).zip(container.of(&self.pod)) else {
            return;
        };
        let fails = *code != 0 && self.pod.restart_policy != RestartPolicy::Never;
        let allowed = match container {
            Place::Init(_) => spec.is_sidecar() || fails || !self.done.contains(&container),
            Place::Main(_) => fails || self.pod.restart_policy == RestartPolicy::Always,
        };
        assert!(allowed, "{container:?} ran again after {code}");
    }

    /// What holds of every status.
    fn look(&mut self) {
        let status = self.state.status();
        if let Some(terminal) = self.terminal {
            assert_eq!(status.phase, terminal, "a terminal phase is final");
        }
        self.terminal = status.phase.is_terminal().then_some(status.phase);
        assert_eq!(self.terminal.is_some(), self.state.is_over());
        for container in status.init_containers.iter().chain(&status.containers) {
            if let ContainerState::Waiting { reason, message } = &container.state
                && reason == "CrashLoopBackOff"
            {
                let wait = wait_in(message).unwrap().as_secs();
                assert!(WAITS.contains(&wait), "{message}");
            }
        }
    }

    /// Answers one of the orders, well or badly.
    fn answer(&mut self, order: Order, luck: u8) {
        let text = || "why".to_owned();
        let event = match order {
            Order::Sandbox if luck == 0 => Event::SandboxFailed {
                reason: "FailedMount".to_owned(),
                message: text(),
                retry: Retry::Later,
            },
            Order::Sandbox => {
                self.sandbox = true;
                Event::SandboxReady {
                    addresses: Vec::new(),
                }
            }
            Order::Image(instance) if luck == 0 => Event::ImageFailed {
                instance,
                reason: "ErrImagePull".to_owned(),
                message: text(),
            },
            Order::Image(instance) => Event::ImageReady {
                instance,
                image_id: text(),
                fetched: None,
            },
            Order::Launch(container, instance) if luck < 3 => {
                let failure = match luck {
                    0 => LaunchFailure::Config(text()),
                    1 => LaunchFailure::Create(text()),
                    _ => LaunchFailure::Start(text()),
                };
                // Of one that went with its sandbox nobody hears any more.
                if luck == 2 && self.alive.contains_key(&instance) {
                    self.last_exit.insert(container, 128);
                }
                Event::LaunchFailed { instance, failure }
            }
            Order::Launch(_, instance) => Event::Launched { instance },
            Order::Hook(instance, hook) => Event::Hooked {
                instance,
                hook,
                result: if luck == 0 { Err(text()) } else { Ok(()) },
            },
            Order::Probe(instance, kind) => Event::Probed {
                instance,
                kind,
                outcome: match luck {
                    0..5 => ProbeOutcome::Failure(text()),
                    5 => ProbeOutcome::Error(text()),
                    _ => ProbeOutcome::Success,
                },
            },
        };
        self.hear(event);
    }

    fn exit(&mut self, instance: InstanceId, code: i32) {
        let Some(place) = self.alive.get(&instance).copied() else {
            return;
        };
        self.last_exit.insert(place, code);
        if code == 0 && matches!(place, Place::Init(_)) {
            self.done.insert(place);
        }
        self.hear(Event::Exited {
            instance,
            exit: Exit {
                code,
                reason: String::new(),
                message: String::new(),
            },
            message: String::new(),
        });
    }

    fn lose_sandbox(&mut self) {
        if !self.sandbox {
            return;
        }
        for (instance, place) in std::mem::take(&mut self.alive) {
            // One that was not heard to run counts as never made.
            if self.state.instance(place) == Some(instance) {
                self.last_exit.insert(place, 137);
            }
        }
        self.sandbox = false;
        self.done.clear();
        self.hear(Event::SandboxLost {
            message: "gone".to_owned(),
        });
    }

    /// Does one random thing.
    fn happen(&mut self, (what, which, luck): (u8, u8, u8)) {
        let pick = |len: usize| usize::from(which) % len.max(1);
        match what {
            0..10 if !self.orders.is_empty() => {
                let order = self.orders.remove(pick(self.orders.len()));
                self.answer(order, luck);
            }
            10..13 => {
                let code = if luck < 8 { 0 } else { 1 };
                let instance = self.alive.keys().nth(pick(self.alive.len())).copied();
                if let Some(instance) = instance {
                    self.exit(instance, code);
                }
            }
            13..16 => {
                let deadline = self.deadline.map(Tick::elapsed);
                self.now = deadline.unwrap_or(self.now).max(self.now);
                self.hear(Event::Time);
            }
            16 => {
                self.now += Duration::from_secs(u64::from(which));
                self.hear(Event::Time);
            }
            17 => self.hear(Event::ObjectsChanged),
            18 => {
                // Something stale: it must change nothing that lives.
                let instance = InstanceId(7 << 32 | u64::from(which));
                if !self.alive.contains_key(&instance) {
                    self.hear(Event::Launched { instance });
                    self.hear(Event::Health {
                        instance,
                        ready: false,
                    });
                }
            }
            19 if luck == 0 => self.lose_sandbox(),
            _ => {}
        }
    }

    /// Deletes the pod. Its guests pay no attention to TERM; every other order is answered.
    fn end(&mut self, grace: u64) {
        let grace = Duration::from_secs(grace);
        let end = self.now + grace;
        self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
        self.hear(Event::Stop { grace });
        let latest = end + LEAST_GRACE;
        for _ in 0..1000 {
            if self.state.is_over() {
                break;
            }
            if let Some(order) = self.orders.pop() {
                self.answer(order, 9);
            } else if let Some(instance) = self.killed.pop_first() {
                self.exit(instance, 137);
            } else {
                self.now = self.deadline.expect("something is to come").elapsed();
                assert!(self.now <= latest, "the grace period is over");
                self.hear(Event::Time);
            }
        }
        assert!(self.state.is_over(), "it ends");
        assert!(self.alive.is_empty() && !self.sandbox);
    }
}

fn pods() -> impl Strategy<Value = Pod> {
    let policy = prop_oneof![
        Just(RestartPolicy::Always),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Never),
    ];
    let names = prop_oneof![
        Just(vec!["a"]),
        Just(vec!["a", "b"]),
        Just(vec!["i:one", "i:two", "a"]),
        Just(vec!["s:one", "i:two", "s:three", "a", "b"]),
    ];
    let traits = proptest::collection::vec(any::<u8>(), 5);
    (policy, names, traits, 0u8..5).prop_map(|(policy, names, traits, deadline)| {
        let mut pod = pod(policy, &names);
        if deadline == 0 {
            pod.active_deadline = Some(Duration::from_secs(200));
        }
        let containers = pod.init_containers.iter_mut().chain(&mut pod.containers);
        for (container, traits) in containers.zip(traits) {
            let has = |bit: u8| traits & (1 << bit) != 0;
            container.liveness = has(0).then(probe);
            container.readiness = has(1).then(probe);
            container.startup = has(2).then(probe);
            container.post_start = hook().filter(|_| has(3));
            container.pre_stop = hook().filter(|_| has(4));
        }
        pod
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(
        pod in pods(),
        events in proptest::collection::vec((0u8..20, any::<u8>(), 0u8..16), 0..120),
        grace in 0u64..40,
    ) {
        let mut world = World::new(pod);
        world.hear(Event::Time);
        for event in events {
            world.happen(event);
        }
        if !world.state.is_over() {
            world.end(grace);
        }
    }
}
