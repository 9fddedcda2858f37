//! What `run --output json` prints: an object per line, each with a `type`.
//!
//! | type | fields |
//! |---|---|
//! | `log` | pod, container, attempt, stream, time, text, partial |
//! | `event` | pod, container, fieldPath, severity (Normal, Warning), reason, message, time |
//! | `status` | pod, time, status: as in the Pod object, each time that it changes |
//! | `summary` | exitCode, error: why nothing ran, pods: pod, phase, reason, message, containers |

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::summary::Summary;

/// A time as containers' logs have it: RFC 3339 in UTC with nanoseconds.
pub(super) fn time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// The last line of a run.
pub(super) fn summary(summary: &Summary, error: Option<&str>) -> Value {
    let pods: Vec<Value> = summary
        .pods
        .iter()
        .map(|pod| {
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|container| {
                    json!({
                        "name": container.name,
                        "state": container.state,
                        "exitCode": container.exit_code,
                        "message": container.message,
                        "restarts": container.restarts,
                        "cpuSeconds": container.cpu.as_secs_f64(),
                        "peakMemoryBytes": container.memory_peak,
                        "receivedBytes": container.received,
                        "sentBytes": container.sent,
                    })
                })
                .collect();
            json!({
                "pod": pod.key,
                "phase": pod.phase.as_str(),
                "reason": pod.reason,
                "message": pod.message,
                "containers": containers,
            })
        })
        .collect();
    json!({"type": "summary", "exitCode": summary.exit_code, "error": error, "pods": pods})
}
