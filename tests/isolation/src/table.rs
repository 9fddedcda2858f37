//! Figures for people, on standard output.

use std::io::{self, Write as _};
use std::path::Path;

use crate::report::Figure;

/// Says what comes now.
pub(crate) fn heading(group: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "\n{group}")?;
    Ok(())
}

/// Says that something takes a while.
pub(crate) fn progress(what: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "  … {what}")?;
    Ok(())
}

/// One line per figure.
pub(crate) fn print<'a>(figures: impl Iterator<Item = &'a Figure>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<12} {:<36} {:>10} {:>21} {:>10} {:>10} {:>6}  unit",
        "case", "contender", "median", "95 % of the median", "p90", "p99", "n"
    )?;
    for figure in figures {
        let head = format!("{:<12} {:<36}", figure.case, figure.contender);
        if !figure.available {
            let reason = figure.reason.as_deref().unwrap_or_default();
            writeln!(out, "{head} not available: {reason}")?;
            continue;
        }
        writeln!(
            out,
            "{head} {:>10} {:>21} {:>10} {:>10} {:>6}  {}",
            number(figure.median),
            format!("{}–{}", number(figure.ci_low), number(figure.ci_high)),
            number(figure.p90),
            number(figure.p99),
            figure.n,
            figure.unit
        )?;
    }
    Ok(())
}

/// Says where the report lies.
pub(crate) fn closing(report: &Path) -> anyhow::Result<()> {
    writeln!(io::stdout(), "\n{}", report.display())?;
    Ok(())
}

/// Three digits that count, no more: as README writes numbers.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let decimals = match value.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (None, "-"),
            (Some(4.321), "4.32"),
            (Some(16.04), "16.0"),
            (Some(1234.5), "1234"),
            (Some(0.5), "0.50"),
        ];
        for (value, wanted) in cases {
            assert_eq!(number(value), wanted);
        }
    }
}
