//! Figures, ratios, and reports on disk.

use super::*;

const TIMES: Case = Case {
    group: "startup",
    name: "cli-hello",
    unit: "us",
    better: Better::Lower,
};

fn times(contender: &str, values: &[f64]) -> Figure {
    TIMES.measured(contender, &Samples::new(values.to_vec()))
}

#[test]
fn a_figure_has_the_fields_of_the_form() -> anyhow::Result<()> {
    let measured = serde_json::to_value(times("wasmpod", &[3.0, 1.0, 2.0]))?;
    let wanted = serde_json::json!({
        "group": "startup", "case": "cli-hello", "contender": "wasmpod", "unit": "us", "n": 3,
        "median": 2.0, "p90": 3.0, "p99": 3.0, "p999": 3.0, "ci_low": null, "ci_high": null,
        "higher_is_better": false, "available": true, "reason": null,
    });
    assert_eq!(measured, wanted);
    let absent = serde_json::to_value(TIMES.absent("runc-run", "runc is not installed"))?;
    assert_eq!(absent["available"], false);
    assert_eq!(absent["reason"], "runc is not installed");
    assert_eq!(absent["median"], Value::Null);
    Ok(())
}

#[test]
fn a_ratio_divides_and_an_absent_peer_makes_it_absent() {
    let ours = times("wasmpod", &[4.0, 4.0, 4.0, 4.0, 4.0, 6.0]);
    let peer = times("peer", &[2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    let absent = TIMES.absent("runc-run", "not installed");
    let [ratio, none] = ratios(&[ours, peer, absent]).try_into().unwrap();
    assert_eq!(ratio.contender, "wasmpod/peer");
    assert_eq!(ratio.unit, RATIO);
    assert_eq!(ratio.median, Some(2.0));
    assert_eq!((ratio.ci_low, ratio.ci_high), (Some(2.0), Some(3.0)));
    assert!(ratio.available);
    assert!(!none.available);
    assert_eq!(none.reason.as_deref(), Some("not installed"));
}

#[test]
fn a_group_replaces_its_own_figures_only() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.json");
    let other = Figure {
        group: "localhost".to_owned(),
        ..times("wasmpod", &[1.0])
    };
    let mut report = Report::open(&path)?;
    let versions = Map::new();
    report.replace("startup", vec![times("old", &[1.0])], Some(0.5), &versions);
    report.replace("localhost", vec![other.clone()], Some(1.5), &versions);
    report.save(&path)?;
    let mut report = Report::open(&path)?;
    report.replace("startup", vec![times("new", &[2.0])], Some(2.5), &versions);
    let contenders: Vec<&str> = report.of("startup").map(|f| f.contender.as_str()).collect();
    assert_eq!(contenders, ["new"]);
    assert_eq!(report.of("localhost").collect::<Vec<_>>(), [&other]);
    let load = serde_json::json!({"startup": 2.5, "localhost": 1.5});
    assert_eq!(report.machine["load"], load);
    Ok(())
}

#[test]
fn a_report_of_another_form_is_not_overwritten() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.json");
    for text in [
        "{}",
        "[]",
        r#"{"schema":2,"machine":{},"versions":{},"figures":[]}"#,
    ] {
        fs::write(&path, text)?;
        assert!(Report::open(&path).is_err(), "{text}");
    }
    Ok(())
}
