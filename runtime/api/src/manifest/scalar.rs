//! What a plain YAML scalar means, by the rules of kubectl's parser.
//!
//! These are YAML 1.1's: `yes`, `no`, `on`, `off`, `y` and `n` are booleans as values (keys stay
//! strings), a number with a leading zero is octal, underscores in numbers are ignored. Dates stay
//! strings. JSON literals mean the same in both.

use serde_json::Number;

use super::tree::Data;

/// The value of a plain scalar.
pub(crate) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Data::Bool(true, text.into());
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Data::Bool(false, text.into());
        }
        _ => {}
    }
    match number(text) {
        Some(number) => Data::Number(number, text.into()),
        None => Data::String(text.to_owned()),
    }
}

/// The number that a plain scalar stands for, if it does.
///
/// Infinity and not-a-number have no form in JSON; they stay the strings they were written as.
pub(crate) fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain))
}

/// Decimal, or by prefix: `0x`, `0b`, `0o`, and a bare leading `0` for octal.
fn integer(plain: &str) -> Option<Number> {
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(plain)),
    };
    // A second sign would be accepted by the parsers below.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let based = [
        ("0x", 16),
        ("0X", 16),
        ("0b", 2),
        ("0B", 2),
        ("0o", 8),
        ("0O", 8),
        ("0", 8),
    ];
    let prefixed = based.iter().find_map(|(prefix, radix)| {
        let rest = digits
            .strip_prefix(prefix)
            .filter(|rest| !rest.is_empty())?;
        Some((rest, *radix))
    });
    let (digits, radix) = prefixed.unwrap_or((digits, 10));
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(Number::from(magnitude));
    }
    0i64.checked_sub_unsigned(magnitude).map(Number::from)
}

/// `1.5`, `.5`, `1.`, `1e3`.
fn float(plain: &str) -> Option<Number> {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    let written = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|text| !text.is_empty() && digits(text));
    written
        .then(|| plain.parse().ok().and_then(Number::from_f64))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match resolve(text) {
            Data::Null => "null".to_owned(),
            Data::Bool(value, _) => format!("bool {value}"),
            Data::Number(number, _) => format!("number {number}"),
            Data::String(text) => format!("string {text}"),
            Data::List(_) | Data::Map(_) => "not a scalar".to_owned(),
        }
    }

    #[test]
    fn plain_scalars_mean_what_kubectl_takes_them_for() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("yes", "bool true"),
            ("On", "bool true"),
            ("n", "bool false"),
            ("oN", "string oN"),
            ("0", "number 0"),
            ("8080", "number 8080"),
            ("-7", "number -7"),
            ("+7", "number 7"),
            ("0644", "number 420"),
            ("0o644", "number 420"),
            ("0x1F", "number 31"),
            ("0b11", "number 3"),
            ("1_000", "number 1000"),
            ("089", "number 89.0"),
            ("1.5", "number 1.5"),
            (".5", "number 0.5"),
            ("1e3", "number 1000.0"),
            ("18446744073709551615", "number 18446744073709551615"),
            ("1.2.3", "string 1.2.3"),
            ("--1", "string --1"),
            ("-", "string -"),
            ("0x", "string 0x"),
            ("0x-1", "string 0x-1"),
            ("1e", "string 1e"),
            (".inf", "string .inf"),
            ("2026-11-20", "string 2026-11-20"),
            ("10.0.0.1", "string 10.0.0.1"),
            ("500m", "string 500m"),
            ("12:30", "string 12:30"),
        ];
        for (text, meaning) in cases {
            assert_eq!(shown(text), meaning, "{text}");
        }
    }
}
