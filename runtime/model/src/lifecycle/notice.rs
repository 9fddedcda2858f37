//! The Kubernetes Events of a pod's life, in kubelet's words.
//!
//! Tools and tests look for these texts, so they are written once, here. Where an Event repeats,
//! whoever stores it counts; here each occurrence is one notice.

use std::time::Duration;

use super::{Fetched, Hook, Place, ProbeKind};
use crate::pod::{Identity, Pod};

/// The longest words of a hook in an Event, in bytes: Kubernetes' bound on an Event's note.
const HOOK_SAID: usize = 1024;

/// One Kubernetes Event about a pod or one of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The container it is about; the pod as a whole where absent.
    pub container: Option<Place>,
    /// Type Warning rather than Normal.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: String,
    /// Sentence.
    pub message: String,
}

// === impl Notice ===

impl Notice {
    /// A Normal Event about a container.
    pub fn normal(container: Place, reason: &str, message: impl Into<String>) -> Self {
        Self::new(Some(container), false, reason, message.into())
    }

    /// A Warning about a container.
    pub fn warning(container: Place, reason: &str, message: impl Into<String>) -> Self {
        Self::new(Some(container), true, reason, message.into())
    }

    /// A Warning about the pod.
    pub fn pod_warning(reason: &str, message: impl Into<String>) -> Self {
        Self::new(None, true, reason, message.into())
    }

    /// A Normal Event about the pod.
    pub fn pod_normal(reason: &str, message: impl Into<String>) -> Self {
        Self::new(None, false, reason, message.into())
    }

    fn new(container: Option<Place>, warning: bool, reason: &str, message: String) -> Self {
        Self {
            container,
            warning,
            reason: reason.to_owned(),
            message,
        }
    }

    /// A hook that failed, and why: the command's exit code and output, or that nobody answered.
    /// kubelet leaves the reason to its own log, which nobody has here.
    pub(super) fn hook_failed(container: Place, hook: Hook, why: &str) -> Self {
        let name = format!("{hook:?}Hook");
        let mut end = HOOK_SAID.min(why.len());
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let why = why.get(..end).unwrap_or_default();
        let reason = format!("Failed{name}");
        Self::warning(container, &reason, format!("{name} failed: {why}"))
    }

    pub(super) fn pulling(container: Place, image: &str) -> Self {
        Self::normal(container, "Pulling", format!("Pulling image \"{image}\""))
    }

    pub(super) fn pulled(container: Place, image: &str, fetched: Option<Fetched>) -> Self {
        let message = match fetched {
            None => format!(
                "Container image \"{image}\" already present on machine and can be accessed by the pod"
            ),
            Some(Fetched { took, bytes }) => {
                let took = duration(took);
                format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {bytes} bytes."
                )
            }
        };
        Self::normal(container, "Pulled", message)
    }

    pub(super) fn pull_failed(container: Place, image: &str, message: &str) -> Self {
        Self::warning(
            container,
            "Failed",
            format!("Failed to pull image \"{image}\": {message}"),
        )
    }

    /// The Event beside every failure to bring a container up.
    pub(super) fn failed(container: Place, message: &str) -> Self {
        Self::warning(container, "Failed", format!("Error: {message}"))
    }

    pub(super) fn pull_back_off(container: Place, image: &str) -> Self {
        Self::normal(container, "BackOff", pull_back_off(image))
    }

    pub(super) fn created(container: Place) -> Self {
        Self::normal(container, "Created", "Container created")
    }

    pub(super) fn started(container: Place) -> Self {
        Self::normal(container, "Started", "Container started")
    }

    pub(super) fn killing(container: Place, message: String) -> Self {
        Self::normal(container, "Killing", message)
    }

    pub(super) fn crash_back_off(container: Place, name: &str, pod: &Identity) -> Self {
        Self::warning(
            container,
            "BackOff",
            format!(
                "Back-off restarting failed container {name} in pod {}",
                full_name(pod)
            ),
        )
    }

    pub(super) fn probe_failed(container: Place, kind: ProbeKind, text: &str) -> Self {
        let kind = kind.as_str();
        Self::warning(
            container,
            "Unhealthy",
            format!("{kind} probe failed: {text}"),
        )
    }

    pub(super) fn probe_errored(container: Place, kind: ProbeKind, text: &str) -> Self {
        let kind = kind.as_str();
        Self::warning(
            container,
            "Unhealthy",
            format!("{kind} probe errored and resulted in unknown state: {text}"),
        )
    }

    pub(super) fn probe_warned(container: Place, kind: ProbeKind, text: &str) -> Self {
        let kind = kind.as_str();
        Self::warning(
            container,
            "ProbeWarning",
            format!("{kind} probe warning: {text}"),
        )
    }
}

/// The message of the waiting state ImagePullBackOff, without the error.
pub(super) fn pull_back_off(image: &str) -> String {
    format!("Back-off pulling image \"{image}\"")
}

/// The message of the waiting state CrashLoopBackOff.
pub(super) fn crash_back_off(wait: Duration, container: &str, pod: &Pod) -> String {
    format!(
        "back-off {} restarting failed container={container} pod={}",
        duration(wait),
        full_name(&pod.identity)
    )
}

/// The wait that a CrashLoopBackOff message names, if it is one.
pub(super) fn wait_in(message: &str) -> Option<Duration> {
    let text = message.strip_prefix("back-off ")?.split(' ').next()?;
    let (minutes, seconds) = match text.split_once('m') {
        Some((minutes, seconds)) => (minutes.parse::<u64>().ok()?, seconds),
        None => (0, text),
    };
    let seconds = seconds.strip_suffix('s')?.parse::<u64>().ok()?;
    minutes
        .checked_mul(60)?
        .checked_add(seconds)
        .map(Duration::from_secs)
}

/// `name_namespace(uid)`, as kubelet writes a pod in messages.
fn full_name(pod: &Identity) -> String {
    format!("{}_{}({})", pod.name, pod.namespace, pod.uid)
}

/// A duration as Go prints it, cut to milliseconds: `393ms`, `1.5s`, `1m20s`, `5m0s`.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return if millis == 0 {
            "0s".to_owned()
        } else {
            format!("{millis}ms")
        };
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let mut seconds = (millis / 1000 % 60).to_string();
    if !millis.is_multiple_of(1000) {
        let fraction = format!(".{:03}", millis % 1000);
        seconds.push_str(fraction.trim_end_matches('0'));
    }
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations_as_go_does() {
        for (millis, text) in [
            (0, "0s"),
            (393, "393ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (1_234, "1.234s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn reads_the_wait_back_from_the_message_it_wrote() {
        for seconds in [10, 20, 40, 80, 160, 300] {
            let wait = Duration::from_secs(seconds);
            let message = crash_back_off(wait, "app", &Pod::default());
            assert_eq!(wait_in(&message), Some(wait), "{message}");
        }
        for other in ["", "back-off", "back-off x", "Back-off pulling image \"x\""] {
            assert_eq!(wait_in(other), None, "{other}");
        }
    }
}
