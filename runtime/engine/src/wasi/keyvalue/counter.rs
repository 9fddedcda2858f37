//! Numbers as values: in decimal, as other stores keep them, so that `get` shows what was counted.

use std::ops::RangeInclusive;

use super::failure::Failure;

/// What a version of the interface can count to.
pub(super) type Range = RangeInclusive<i128>;

/// The number after a value, which is 0 where there is none.
///
/// Errors: other, for a value that is no number or a result beyond the range.
pub(super) fn next(value: Option<&[u8]>, delta: i128, range: &Range) -> Result<i128, Failure> {
    let before = match value {
        None => 0,
        Some(value) => number(value).ok_or_else(|| {
            Failure::Other(
                "the value is no whole number in decimal: increment counts only such".to_owned(),
            )
        })?,
    };
    let after = before.saturating_add(delta);
    if range.contains(&after) {
        return Ok(after);
    }
    Err(Failure::Other(format!(
        "{before} and {delta} make more or less than increment counts to, {} to {}",
        range.start(),
        range.end()
    )))
}

fn number(value: &[u8]) -> Option<i128> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_within_its_range() {
        let unsigned = 0..=i128::from(u64::MAX);
        let signed = i128::from(i64::MIN)..=i128::from(i64::MAX);
        for (value, delta, range, expected) in [
            (None, 5, &unsigned, Some(5)),
            (Some("41"), 1, &unsigned, Some(42)),
            (Some("-1"), 3, &signed, Some(2)),
            (Some("1"), -3, &signed, Some(-2)),
            (Some("1"), -3, &unsigned, None),
            (
                Some("18446744073709551615"),
                0,
                &unsigned,
                Some(u64::MAX.into()),
            ),
            (Some("18446744073709551615"), 1, &unsigned, None),
            (Some("9223372036854775807"), 1, &signed, None),
            (Some(""), 1, &signed, None),
            (Some(" 1"), 1, &signed, None),
            (Some("1e3"), 1, &signed, None),
            (
                Some("170141183460469231731687303715884105727"),
                1,
                &signed,
                None,
            ),
            (
                Some("999999999999999999999999999999999999999999"),
                1,
                &signed,
                None,
            ),
        ] {
            let value = value.map(str::as_bytes);
            assert_eq!(
                next(value, delta, range).ok(),
                expected,
                "{value:?} {delta}"
            );
        }
        assert!(next(Some(b"\xff"), 1, &signed).is_err());
    }
}
