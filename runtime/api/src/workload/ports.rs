//! Ports of the machine that two pods of one run want at once.
//!
//! The scheduler's rule (its plugin NodePorts): a pod does not go to a node where another one has
//! the same hostPort of the same protocol at the same address, 0.0.0.0 being every address. It
//! counts main containers and sidecars. On a cluster the second pod waits; here nobody could ever
//! tell it that its turn has come, so the run is refused.

use super::Admitted;
use crate::cursor::At;
use crate::error::ManifestError;
use crate::findings::Findings;

/// What the scheduler says of a node that has no such port to give.
const UNSCHEDULABLE: &str =
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";

/// A hostPort as its pod asks for it.
struct Claim<'a> {
    pod: &'a Admitted,
    protocol: &'a str,
    address: &'a str,
    port: i64,
    /// Where the manifest says so.
    place: String,
}

/// Every hostPort that an earlier pod has, at its place, naming both pods.
pub(super) fn conflicts(pods: &[Admitted]) -> Vec<ManifestError> {
    let mut claimed: Vec<Claim<'_>> = Vec::new();
    let mut errors = Vec::new();
    for pod in pods {
        let mut found = Findings::default();
        let mut own = Vec::new();
        let top = pod.object.top();
        let spec = top.field("spec");
        let (inits, mains) = (spec.field("initContainers"), spec.field("containers"));
        let sidecars = inits
            .items()
            .filter(|init| init.field("restartPolicy").text() == "Always");
        for container in sidecars.chain(mains.items()) {
            for port in container.field("ports").items() {
                let at = port.field("hostPort");
                let Some(claim) = Claim::of(pod, &port, &at) else {
                    continue;
                };
                match claimed.iter().find(|earlier| earlier.excludes(&claim)) {
                    Some(earlier) => found.refused(&at, &claim.refusal(earlier)),
                    None => own.push(claim),
                }
            }
        }
        claimed.extend(own);
        errors.extend(pod.object.errors(&found.into_errors()));
    }
    errors
}

// === impl Claim ===

impl<'a> Claim<'a> {
    fn of(pod: &'a Admitted, port: &At<'a, '_>, at: &At<'a, '_>) -> Option<Self> {
        let number = at.integer().filter(|number| *number != 0)?;
        Some(Self {
            pod,
            protocol: port.field("protocol").text(),
            address: port.field("hostIP").some_text().unwrap_or("0.0.0.0"),
            port: number,
            place: pod.object.place(&at.path()),
        })
    }

    fn excludes(&self, other: &Self) -> bool {
        let every = "0.0.0.0";
        let overlap =
            self.address == other.address || self.address == every || other.address == every;
        overlap && self.port == other.port && self.protocol == other.protocol
    }

    fn refusal(&self, earlier: &Self) -> String {
        format!(
            "{UNSCHEDULABLE} {protocol} port {port}, which {own} asks for, is {other}'s ({place}); \
             give one of them another hostPort, or run them one after the other",
            protocol = self.protocol,
            port = self.port,
            own = self.pod.object.described(),
            other = earlier.pod.object.described(),
            place = earlier.place,
        )
    }
}
