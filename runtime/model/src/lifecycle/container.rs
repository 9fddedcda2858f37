//! What each event does to one container, and whether it runs again.

use super::instance::{Live, Stand};
use super::probes::Prober;
use super::slot::{Role, Slot, Stage, Waiting};
use super::state::Pass;
use super::stop::Order;
use super::{Action, Fetched, Hook, LaunchFailure, Notice, notice};
use crate::container::Container;
use crate::pod::{Pod, RestartPolicy};
use crate::runtime::{Exit, InstanceId};
use crate::status::Terminated;

/// The reason that turns into ImagePullBackOff when it repeats; the others stay as they are.
const ERR_IMAGE_PULL: &str = "ErrImagePull";

/// The exit code of an instance that was made and did not start, as containerd reports it.
const START_ERROR: i32 = 128;

/// The reason of an instance that was made and did not start, as containerd reports it.
const START_FAILED: &str = "StartError";

// === impl Slot ===

impl Slot {
    /// Whether the container runs again after it ended with this code.
    pub(super) fn restarts_after(&self, spec: &Container, pod: &Pod, code: i32) -> bool {
        let policy = spec.restart_policy.unwrap_or(pod.restart_policy);
        match self.role {
            Role::Sidecar => true,
            Role::Init => code != 0 && policy != RestartPolicy::Never,
            Role::Main => match policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            },
        }
    }

    /// Starts an attempt: its image first, each time, as the pull policy may demand.
    pub(super) fn begin(&mut self, instance: InstanceId, pass: &mut Pass) {
        self.stage = Stage::Pulling(instance);
        let container = self.place;
        pass.act(Action::PullImage {
            container,
            instance,
        });
    }

    /// The image is here: orders the instance.
    pub(super) fn image_ready(
        &mut self,
        spec: &Container,
        image_id: String,
        fetched: Option<Fetched>,
        pass: &mut Pass,
    ) {
        let Stage::Pulling(instance) = self.stage else {
            return;
        };
        if self.image_id != image_id {
            self.image_id = image_id;
            pass.touch();
        }
        pass.tell(Notice::pulled(self.place, &spec.image, fetched));
        self.stage = Stage::Live(Box::new(Live::launching(instance, pass.now)));
        pass.act(Action::Launch {
            container: self.place,
            instance,
            attempt: self.restarts + u32::from(self.has_run),
        });
    }

    /// The image cannot be had now. The first failure of a row shows as ErrImagePull until it is
    /// tried again, the later ones as ImagePullBackOff, with the error.
    pub(super) fn image_failed(
        &mut self,
        spec: &Container,
        reason: String,
        message: String,
        pass: &mut Pass,
    ) {
        if !matches!(self.stage, Stage::Pulling(_)) {
            return;
        }
        let (place, image) = (self.place, &spec.image);
        let repeated = self
            .waiting
            .as_ref()
            .is_some_and(|waiting| is_pull_error(&waiting.reason));
        if reason == ERR_IMAGE_PULL {
            pass.tell(Notice::pull_failed(place, image, &message));
        }
        pass.tell(Notice::failed(place, &reason));
        let waiting = if reason == ERR_IMAGE_PULL && repeated {
            pass.tell(Notice::pull_back_off(place, image));
            pass.tell(Notice::failed(place, "ImagePullBackOff"));
            Waiting {
                message: format!("{}: {reason}: {message}", notice::pull_back_off(image)),
                reason: "ImagePullBackOff".to_owned(),
            }
        } else {
            Waiting { reason, message }
        };
        self.delay_retry(waiting, pass);
    }

    /// The instance runs.
    pub(super) fn launched(&mut self, spec: &Container, pass: &mut Pass) {
        if self.live().is_none_or(Live::is_running) {
            return;
        }
        self.made(spec, pass);
        pass.tell(Notice::started(self.place));
        let now = pass.now;
        let place = self.place;
        let Some(live) = self.live_mut() else {
            return;
        };
        (live.started_at, live.since) = (now.wall, now.tick);
        if live.stop.is_some() {
            live.stand = Stand::Up;
            self.waiting = None;
            self.killed_before_it_ran(pass);
        } else if spec.post_start.is_some() {
            live.stand = Stand::PostStart;
            pass.act(Action::RunHook {
                container: place,
                instance: live.instance,
                hook: Hook::PostStart,
            });
        } else {
            self.up(spec, pass);
        }
    }

    /// The instance was not made, or does not start.
    pub(super) fn launch_failed(
        &mut self,
        spec: &Container,
        failure: LaunchFailure,
        living: bool,
        pass: &mut Pass,
    ) {
        if self.live().is_none_or(Live::is_running) {
            return;
        }
        let (reason, message) = match failure {
            LaunchFailure::Start(message) => return self.start_failed(spec, message, living, pass),
            LaunchFailure::Create(message) => ("CreateContainerError", message),
            LaunchFailure::Config(message) => ("CreateContainerConfigError", message),
        };
        if let Some(live) = self.live() {
            let instance = live.instance;
            pass.act(Action::Forget { instance });
        }
        pass.tell(Notice::failed(self.place, &message));
        let waiting = Waiting {
            reason: reason.to_owned(),
            message,
        };
        if !living {
            self.stage = Stage::Over;
            // What it did before shows, if it did something.
            self.waiting = self.ended.is_none().then_some(waiting);
            pass.touch();
        } else if reason == "CreateContainerError" {
            self.delay_retry(waiting, pass);
        } else {
            self.delay(None, waiting, pass);
        }
    }

    /// A hook ended.
    pub(super) fn hooked(
        &mut self,
        spec: &Container,
        hook: Hook,
        result: Result<(), String>,
        pass: &mut Pass,
    ) {
        let place = self.place;
        if hook == Hook::PreStop {
            if let Err(why) = result {
                pass.tell(Notice::hook_failed(place, hook, &why));
            }
            return self.pre_stop_ended();
        }
        let Some(live) = self.live_mut() else {
            return;
        };
        if live.stand != Stand::PostStart || live.stop.is_some() {
            return;
        }
        match result {
            Ok(()) => self.up(spec, pass),
            Err(message) => {
                pass.tell(Notice::hook_failed(place, hook, &message));
                live.failure = Some(Waiting {
                    reason: "PostStartHookError".to_owned(),
                    message,
                });
                let order = Order {
                    grace: pass.pod.grace_period,
                    message: "FailedPostStartHook".to_owned(),
                    orderly: false,
                };
                self.stop(order, pass);
                self.passed |= self.role == Role::Main;
            }
        }
    }

    /// The instance ended.
    pub(super) fn exited(
        &mut self,
        spec: &Container,
        exit: Exit,
        message: String,
        living: bool,
        pass: &mut Pass,
    ) {
        let Some(live) = self.live() else {
            return;
        };
        let never_entered = exit.reason == START_FAILED;
        if !live.is_running() {
            // It was quicker than the answer to its launch.
            self.made(spec, pass);
            if !never_entered {
                pass.tell(Notice::started(self.place));
            }
        }
        if never_entered {
            // Told at once, as where it is known before: its status shows it until the next start.
            pass.tell(Notice::failed(self.place, &exit.message));
        }
        let Some(live) = self.take_live() else {
            return;
        };
        let reason = match (exit.reason.is_empty(), exit.code) {
            (false, _) => exit.reason,
            (true, 0) => "Completed".to_owned(),
            (true, _) => "Error".to_owned(),
        };
        let ended = Terminated {
            exit_code: exit.code,
            signal: None,
            reason,
            message: if message.is_empty() {
                exit.message
            } else {
                message
            },
            started_at: live.started_at,
            finished_at: pass.now.wall,
            container_id: self.container_id.clone(),
        };
        self.end(spec, live, ended, living, pass);
    }

    /// The guest set its own health.
    pub(super) fn health(&mut self, ready: bool, pass: &mut Pass) {
        if let Some(live) = self.live_mut()
            && live.healthy != ready
        {
            live.healthy = ready;
            pass.touch();
        }
    }

    /// The sandbox went before the instance was heard to run: it counts as never made.
    pub(super) fn never_launched(&mut self, living: bool, pass: &mut Pass) {
        if let Some(live) = self.live().filter(|live| !live.is_running()) {
            let instance = live.instance;
            pass.act(Action::Forget { instance });
            self.stage = if living { Stage::Due } else { Stage::Over };
        }
    }

    /// The pod gets a new sandbox: every container has its first turn again, and init containers
    /// that were done run again.
    pub(super) fn run_anew(&mut self) {
        self.passed = false;
        if self.role == Role::Init && matches!(self.stage, Stage::Over) {
            self.stage = Stage::Due;
        }
    }

    /// The pod ends: what does not live will not. What it last did shows, if it did something.
    pub(super) fn rest(&mut self, pass: &mut Pass) {
        match self.stage {
            Stage::Live(_) => return,
            Stage::Pulling(instance) => pass.act(Action::Forget { instance }),
            Stage::Due | Stage::Delayed(_) | Stage::Over => {}
        }
        self.stage = Stage::Over;
        if self.ended.is_some() && self.waiting.take().is_some() {
            pass.touch();
        }
    }

    /// Shows as running, and is probed.
    fn up(&mut self, spec: &Container, pass: &mut Pass) {
        let now = pass.now.tick;
        let mut clock = std::mem::take(&mut self.probe_clock);
        if let Some(live) = self.live_mut() {
            live.stand = Stand::Up;
            live.startup_passed = spec.startup.is_none();
            live.probes = Prober::all(spec, &mut clock, live.since, now);
        }
        self.probe_clock = clock;
        self.waiting = None;
        self.passed |= match self.role {
            Role::Main => true,
            Role::Sidecar => spec.startup.is_none(),
            Role::Init => false,
        };
        pass.touch();
    }

    /// An instance came into being: counts it.
    fn made(&mut self, spec: &Container, pass: &mut Pass) {
        if self.has_run {
            self.restarts += 1;
            self.crash.restart(self.ended_at, pass.now.tick);
        }
        self.has_run = true;
        self.retry.reset();
        self.container_id = format!(
            "wasmpod://{}_{}_{}",
            pass.pod.identity.uid, spec.name, self.restarts
        );
        pass.tell(Notice::created(self.place));
        pass.touch();
    }

    /// An instance that was made and does not start has ended, as in containerd.
    fn start_failed(&mut self, spec: &Container, message: String, living: bool, pass: &mut Pass) {
        self.made(spec, pass);
        pass.tell(Notice::failed(self.place, &message));
        let Some(mut live) = self.take_live() else {
            return;
        };
        live.failure = Some(Waiting {
            reason: "RunContainerError".to_owned(),
            message: message.clone(),
        });
        let ended = Terminated {
            exit_code: START_ERROR,
            signal: None,
            reason: START_FAILED.to_owned(),
            message,
            started_at: live.started_at,
            finished_at: pass.now.wall,
            container_id: self.container_id.clone(),
        };
        self.end(spec, live, ended, living, pass);
    }

    /// Records an end, and decides what comes after it.
    fn end(
        &mut self,
        spec: &Container,
        live: Live,
        ended: Terminated,
        living: bool,
        pass: &mut Pass,
    ) {
        pass.act(Action::Forget {
            instance: live.instance,
        });
        let code = ended.exit_code;
        self.before = self.ended.replace(Box::new(ended));
        self.ended_at = pass.now.tick;
        self.waiting = None;
        self.passed |= self.role == Role::Main || (self.role == Role::Init && code == 0);
        self.stage = Stage::Over;
        pass.touch();
        if living && self.restarts_after(spec, &pass.pod, code) {
            self.restart(spec, live.failure, pass);
        }
    }

    /// At once, or after the back-off.
    fn restart(&mut self, spec: &Container, failure: Option<Waiting>, pass: &mut Pass) {
        let wait = self.crash.wait(self.ended_at);
        if wait.is_zero() {
            self.stage = Stage::Due;
            self.waiting = failure;
            return;
        }
        let identity = &pass.pod.identity;
        let notice = Notice::crash_back_off(self.place, &spec.name, identity);
        let waiting = Waiting {
            reason: "CrashLoopBackOff".to_owned(),
            message: notice::crash_back_off(wait, &spec.name, &pass.pod),
        };
        pass.tell(notice);
        self.delay(Some(self.ended_at.after(wait)), waiting, pass);
    }

    fn delay_retry(&mut self, waiting: Waiting, pass: &mut Pass) {
        let due = self.retry.fail(pass.now.tick);
        self.delay(Some(due), waiting, pass);
    }

    fn delay(&mut self, due: Option<super::Tick>, waiting: Waiting, pass: &mut Pass) {
        self.stage = Stage::Delayed(due);
        self.waiting = Some(waiting);
        // The containers after a main one need not wait for it to work.
        self.passed |= self.role == Role::Main;
        pass.touch();
    }
}

fn is_pull_error(reason: &str) -> bool {
    reason == ERR_IMAGE_PULL || reason == "ImagePullBackOff"
}
