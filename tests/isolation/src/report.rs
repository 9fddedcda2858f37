//! The report: every figure of every group, as JSON for other programs.
//!
//! ```json
//! {"schema":1,"machine":{…},"versions":{…},"figures":[{"group","case","contender","unit","n",
//!  "median","p90","p99","p999","ci_low","ci_high","higher_is_better","available","reason"}]}
//! ```
//!
//! `ci_low` and `ci_high` bound the median with 95 % confidence. p90, p99 and p999 are the tail on
//! the bad side: of rates, p99 is what 99 % of the samples reached. A ratio divides one
//! contender's figures by another's, quantile by quantile. What is not known is `null`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::machine;
use crate::samples::{Better, Samples};

/// The form above.
const SCHEMA: u32 = 1;

/// The unit of figures that divide two others.
pub(crate) const RATIO: &str = "ratio";

/// Everything measured so far on this machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: u32,
    machine: Map<String, Value>,
    versions: Map<String, Value>,
    pub(crate) figures: Vec<Figure>,
}

/// What one contender did in one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) group: String,
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) unit: String,
    /// Samples.
    pub(crate) n: usize,
    pub(crate) median: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) ci_low: Option<f64>,
    pub(crate) ci_high: Option<f64>,
    pub(crate) higher_is_better: bool,
    pub(crate) available: bool,
    /// Why it is not available.
    pub(crate) reason: Option<String>,
}

/// What is measured, whoever is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

// === impl Report ===

impl Report {
    /// The report that is there, or an empty one.
    ///
    /// # Errors
    /// When there is one that cannot be read or has another form.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::empty()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        let report: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{name} is no report: move it away"))?;
        if report.schema != SCHEMA {
            bail!(
                "{name} has schema {}, not {SCHEMA}: move it away",
                report.schema
            );
        }
        Ok(report)
    }

    fn empty() -> Self {
        Self {
            schema: SCHEMA,
            machine: Map::new(),
            versions: Map::new(),
            figures: Vec::new(),
        }
    }

    /// Puts a group's new figures in place of its old ones; other groups stay.
    pub(crate) fn replace(
        &mut self,
        group: &str,
        figures: Vec<Figure>,
        load: Option<f64>,
        versions: &Map<String, Value>,
    ) {
        let loads = self.machine.remove("load").unwrap_or_default();
        let mut loads: BTreeMap<String, Option<f64>> =
            serde_json::from_value(loads).unwrap_or_default();
        loads.insert(group.to_owned(), load);
        self.machine = machine::describe();
        self.machine.insert("load".to_owned(), json!(loads));
        self.versions.extend(versions.clone());
        self.figures.retain(|figure| figure.group != group);
        self.figures.extend(figures);
    }

    /// The figures of a group.
    pub(crate) fn of(&self, group: &str) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(move |figure| figure.group == group)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let staged = path.with_extension("json.tmp");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(&staged, text)
            .and_then(|()| fs::rename(&staged, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

// === impl Case ===

impl Case {
    /// The figure of a contender that was measured.
    pub(crate) fn measured(&self, contender: &str, samples: &Samples) -> Figure {
        let interval = samples.median_interval();
        Figure {
            n: samples.len(),
            median: samples.median(),
            p90: samples.tail(900, self.better),
            p99: samples.tail(990, self.better),
            p999: samples.tail(999, self.better),
            ci_low: interval.map(|(low, _)| low),
            ci_high: interval.map(|(_, high)| high),
            available: true,
            reason: None,
            ..self.absent(contender, "")
        }
    }

    /// The figure of a contender that could not be measured.
    pub(crate) fn absent(&self, contender: &str, reason: &str) -> Figure {
        Figure {
            group: self.group.to_owned(),
            case: self.name.to_owned(),
            contender: contender.to_owned(),
            unit: self.unit.to_owned(),
            n: 0,
            median: None,
            p90: None,
            p99: None,
            p999: None,
            ci_low: None,
            ci_high: None,
            higher_is_better: self.better == Better::Higher,
            available: false,
            reason: Some(reason.to_owned()),
        }
    }
}

// === impl Figure ===

impl Figure {
    /// This one divided by another of the same case. The interval is the widest that both
    /// intervals allow.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        let quotient = |over: Option<f64>, under: Option<f64>| match (over, under) {
            (Some(over), Some(under)) if under != 0.0 => Some(over / under),
            _ => None,
        };
        Self {
            contender: format!("{}/{}", self.contender, other.contender),
            unit: RATIO.to_owned(),
            n: self.n.min(other.n),
            median: quotient(self.median, other.median),
            p90: quotient(self.p90, other.p90),
            p99: quotient(self.p99, other.p99),
            p999: quotient(self.p999, other.p999),
            ci_low: quotient(self.ci_low, other.ci_high),
            ci_high: quotient(self.ci_high, other.ci_low),
            available: self.available && other.available,
            reason: self.reason.clone().or_else(|| other.reason.clone()),
            ..self.clone()
        }
    }
}

/// The ratios of the first figure to each of the others.
pub(crate) fn ratios(figures: &[Figure]) -> Vec<Figure> {
    let Some((ours, peers)) = figures.split_first() else {
        return Vec::new();
    };
    peers.iter().map(|peer| ours.ratio_to(peer)).collect()
}

#[cfg(test)]
mod tests;
