//! A pod's status as kubelet writes it into the object.

use std::time::SystemTime;

use jiff::Timestamp;
use model::status::{Condition, ContainerState, ContainerStatus, PodStatus, Terminated};
use serde_json::{Map, Value, json};

/// `status` of a Pod object. Empty texts are left out, as the API leaves them out.
pub fn to_json(status: &PodStatus) -> Value {
    let mut fields = Map::new();
    fields.insert("phase".to_owned(), json!(status.phase.as_str()));
    put_text(&mut fields, "reason", &status.reason);
    put_text(&mut fields, "message", &status.message);
    fields.insert(
        "conditions".to_owned(),
        status.conditions.iter().map(condition).collect(),
    );
    for (one, all, ips) in [
        ("hostIP", "hostIPs", &status.host_ips),
        ("podIP", "podIPs", &status.pod_ips),
    ] {
        if let Some(first) = ips.first() {
            fields.insert(one.to_owned(), json!(first));
            fields.insert(
                all.to_owned(),
                ips.iter().map(|ip| json!({ "ip": ip })).collect(),
            );
        }
    }
    if let Some(start) = status.start_time {
        fields.insert("startTime".to_owned(), json!(rfc3339(start)));
    }
    fields.insert("qosClass".to_owned(), json!(status.qos.as_str()));
    for (name, containers) in [
        ("initContainerStatuses", &status.init_containers),
        ("containerStatuses", &status.containers),
    ] {
        if !containers.is_empty() {
            fields.insert(name.to_owned(), containers.iter().map(container).collect());
        }
    }
    Value::Object(fields)
}

/// A time as Kubernetes objects carry it: RFC 3339 in UTC, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or_default();
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn condition(condition: &Condition) -> Value {
    let mut fields = Map::new();
    let status = if condition.status { "True" } else { "False" };
    fields.insert("type".to_owned(), json!(condition.kind));
    fields.insert("status".to_owned(), json!(status));
    fields.insert("lastProbeTime".to_owned(), Value::Null);
    fields.insert(
        "lastTransitionTime".to_owned(),
        json!(rfc3339(condition.since)),
    );
    put_text(&mut fields, "reason", &condition.reason);
    put_text(&mut fields, "message", &condition.message);
    Value::Object(fields)
}

fn container(status: &ContainerStatus) -> Value {
    let mut fields = Map::new();
    let last = status.last_state.as_ref();
    fields.insert("name".to_owned(), json!(status.name));
    fields.insert("state".to_owned(), state(&status.state));
    fields.insert(
        "lastState".to_owned(),
        last.map_or_else(
            || json!({}),
            |last| json!({ "terminated": terminated(last) }),
        ),
    );
    fields.insert("ready".to_owned(), json!(status.ready));
    fields.insert("started".to_owned(), json!(status.started));
    fields.insert("restartCount".to_owned(), json!(status.restart_count));
    fields.insert("image".to_owned(), json!(status.image));
    fields.insert("imageID".to_owned(), json!(status.image_id));
    put_text(&mut fields, "containerID", &status.container_id);
    Value::Object(fields)
}

fn state(state: &ContainerState) -> Value {
    match state {
        ContainerState::Waiting { reason, message } => {
            let mut fields = Map::new();
            put_text(&mut fields, "reason", reason);
            put_text(&mut fields, "message", message);
            json!({ "waiting": fields })
        }
        ContainerState::Running { since } => json!({ "running": { "startedAt": rfc3339(*since) } }),
        ContainerState::Terminated(end) => json!({ "terminated": terminated(end) }),
    }
}

fn terminated(end: &Terminated) -> Value {
    let mut fields = Map::new();
    fields.insert("exitCode".to_owned(), json!(end.exit_code));
    if let Some(signal) = end.signal {
        fields.insert("signal".to_owned(), json!(signal));
    }
    put_text(&mut fields, "reason", &end.reason);
    put_text(&mut fields, "message", &end.message);
    fields.insert("startedAt".to_owned(), json!(rfc3339(end.started_at)));
    fields.insert("finishedAt".to_owned(), json!(rfc3339(end.finished_at)));
    put_text(&mut fields, "containerID", &end.container_id);
    Value::Object(fields)
}

fn put_text(fields: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        fields.insert(name.to_owned(), json!(text));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use model::pod::QosClass;
    use model::status::Phase;

    use super::*;

    fn crashing() -> PodStatus {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let end = Terminated {
            exit_code: 137,
            signal: None,
            reason: "OOMKilled".to_owned(),
            message: String::new(),
            started_at: at(10),
            finished_at: at(12),
            container_id: "wasmpod://1".to_owned(),
        };
        PodStatus {
            phase: Phase::Running,
            reason: String::new(),
            message: String::new(),
            conditions: vec![Condition {
                kind: "Ready".to_owned(),
                status: false,
                reason: "ContainersNotReady".to_owned(),
                message: String::new(),
                since: at(9),
            }],
            pod_ips: vec!["127.3.0.2".parse().unwrap()],
            host_ips: Vec::new(),
            start_time: Some(at(0)),
            qos: QosClass::BestEffort,
            init_containers: Vec::new(),
            containers: vec![ContainerStatus {
                name: "web".to_owned(),
                state: ContainerState::Waiting {
                    reason: "CrashLoopBackOff".to_owned(),
                    message: String::new(),
                },
                last_state: Some(end),
                ready: false,
                started: false,
                restart_count: 2,
                image: "web".to_owned(),
                image_id: String::new(),
                container_id: "wasmpod://1".to_owned(),
            }],
        }
    }

    #[test]
    fn a_status_reads_as_kubelet_writes_it() {
        assert_eq!(
            to_json(&crashing()),
            json!({
                "phase": "Running",
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "ContainersNotReady",
                    "lastProbeTime": null, "lastTransitionTime": "1970-01-01T00:00:09Z"
                }],
                "podIP": "127.3.0.2", "podIPs": [{"ip": "127.3.0.2"}],
                "startTime": "1970-01-01T00:00:00Z", "qosClass": "BestEffort",
                "containerStatuses": [{
                    "name": "web", "ready": false, "started": false, "restartCount": 2,
                    "image": "web", "imageID": "", "containerID": "wasmpod://1",
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {
                        "exitCode": 137, "reason": "OOMKilled", "containerID": "wasmpod://1",
                        "startedAt": "1970-01-01T00:00:10Z", "finishedAt": "1970-01-01T00:00:12Z"
                    }}
                }]
            })
        );
    }
}
