//! The numbers that README promises are those that the bench measured.
//!
//! Each file of `tests/isolation/measured` is the committed copy of a report of
//! `cargo bench -p isolation`, from one machine. README's tables under `## Measured` have the columns
//! case, contender, median, p99 and unit; the rows are looked up in the reports, digit by digit.

use std::fs;

use serde_json::Value;

use super::{assert_none, tree};

const REPORTS: &str = "tests/isolation/measured";

/// A row of a table in README.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    case: &'a str,
    contender: &'a str,
    median: &'a str,
    p99: &'a str,
    unit: &'a str,
}

/// The rows under `## Measured`, up to the next heading of that level.
fn rows(readme: &str) -> Vec<Row<'_>> {
    let Some((_, section)) = readme.split_once("\n## Measured") else {
        return Vec::new();
    };
    let section = section
        .split_once("\n## ")
        .map_or(section, |(section, _)| section);
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line
                .trim()
                .trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect();
            let [case, contender, median, p99, unit] = cells.as_slice() else {
                return None;
            };
            let is_text = *case == "case" || case.starts_with("--");
            (!is_text).then_some(Row {
                case,
                contender,
                median,
                p99,
                unit,
            })
        })
        .collect()
}

/// A number as README writes it: three digits that count, no more.
fn shown(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

/// The figures of all reports.
fn figures() -> anyhow::Result<Vec<Value>> {
    let mut figures = Vec::new();
    for entry in fs::read_dir(tree::root().join(REPORTS))? {
        let mut report: Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        if let Value::Array(of_one) = report["figures"].take() {
            figures.extend(of_one);
        }
    }
    Ok(figures)
}

fn mismatches(rows: &[Row<'_>], figures: &[Value]) -> Vec<String> {
    let mut mismatches = Vec::new();
    for row in rows {
        let is_it = |figure: &&Value| {
            figure["case"] == row.case
                && figure["contender"] == row.contender
                && figure["unit"] == row.unit
        };
        let Some(figure) = figures.iter().find(is_it) else {
            mismatches.push(format!("{row:?}: no report has such a figure"));
            continue;
        };
        for (key, told) in [("median", row.median), ("p99", row.p99)] {
            let measured = figure[key].as_f64().map(shown);
            if measured.as_deref() != Some(told) {
                mismatches.push(format!("{row:?}: {key} is {measured:?} in the report"));
            }
        }
    }
    mismatches
}

#[test]
fn the_readme_tells_the_numbers_that_were_measured() -> anyhow::Result<()> {
    let readme = tree::read("README.md")?;
    let rows = rows(&readme);
    assert!(!rows.is_empty(), "README tells none of the numbers");
    assert_none("numbers in README.md", &mismatches(&rows, &figures()?));
    Ok(())
}

#[test]
fn a_number_that_differs_is_found() {
    let readme = "# x\n## Measured\n\n| case | contender | median | p99 | unit |\n|--|--|--|--|--|\n\
        | rtt-64 | wasmpod | 4.32 | 12.0 | us |\n| rtt-64 | loopback | 16.0 | 20.0 | us |\n## Next\n| a | b | c | d | e |\n";
    let figures = [
        serde_json::json!({"case": "rtt-64", "contender": "wasmpod", "unit": "us", "median": 4.321, "p99": 12.04}),
        serde_json::json!({"case": "rtt-64", "contender": "loopback", "unit": "us", "median": 17.0, "p99": 20.0}),
    ];
    let rows = rows(readme);
    assert_eq!(rows.len(), 2);
    let found = mismatches(&rows, &figures);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("loopback"), "{found:?}");
}
