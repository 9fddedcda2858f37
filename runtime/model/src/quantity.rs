//! Kubernetes quantities: `500m`, `128Mi`, `1e3`, `0.5`.
//!
//! Kept as an exact number of thousandths, which is as fine as any resource here is counted.

use std::fmt;
use std::str::FromStr;

/// An amount of a resource, in thousandths of its unit (cores, bytes).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Quantity {
    milli: i128,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a quantity: write a number with an optional suffix, for example 500m, 0.5, 128Mi or 1G"
)]
pub struct NotAQuantity {
    text: String,
}

/// The largest quantity accepted, as in Kubernetes: 2^63 - 1.
const MAX: i128 = i64::MAX as i128;

// === impl Quantity ===

impl Quantity {
    /// So many thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self {
            milli: i128::from(milli),
        }
    }

    /// So many whole units.
    pub fn from_units(units: i64) -> Self {
        Self {
            milli: i128::from(units) * 1000,
        }
    }

    /// Thousandths, rounded up where the text was finer, and held within `i64`.
    pub fn milli(self) -> i64 {
        i64::try_from(self.milli).unwrap_or(if self.milli < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i64 {
        let up = self.milli.div_euclid(1000) + i128::from(self.milli.rem_euclid(1000) != 0);
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whole units as a count of bytes; a negative quantity counts as none.
    pub fn bytes(self) -> u64 {
        u64::try_from(self.units()).unwrap_or(0)
    }

    /// How often `divisor` fits, rounded up: the rule of `resourceFieldRef`.
    pub fn divided_by(self, divisor: Self) -> i64 {
        let divisor = if divisor.milli <= 0 {
            1000
        } else {
            divisor.milli
        };
        let up = self.milli.div_euclid(divisor) + i128::from(self.milli.rem_euclid(divisor) != 0);
        i64::try_from(up).unwrap_or(i64::MAX)
    }

    /// Whether it is below zero, which no resource may be.
    pub fn is_negative(self) -> bool {
        self.milli < 0
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        parse(text).ok_or_else(|| NotAQuantity {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Quantity {
    /// The shortest exact form: binary suffixes for multiples of 1024, `m` below one unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let units = self.milli / 1000;
        let binary = [
            (60, "Ei"),
            (50, "Pi"),
            (40, "Ti"),
            (30, "Gi"),
            (20, "Mi"),
            (10, "Ki"),
        ];
        for (shift, suffix) in binary {
            if units != 0 && units % (1i128 << shift) == 0 {
                return write!(f, "{}{suffix}", units >> shift);
            }
        }
        write!(f, "{units}")
    }
}

/// Memory as people read it, in tenths of a MiB: `1.5 MiB`. Less than one is told in KiB, or in bytes.
pub fn memory_text(bytes: u64) -> String {
    let (shift, unit) = match bytes {
        0 => (20, "MiB"),
        1..1024 => return format!("{bytes} bytes"),
        1024..1_048_576 => (10, "KiB"),
        _ => (20, "MiB"),
    };
    let tenths = bytes.saturating_mul(10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// What is odd about a count of bytes in thousandths: whoever writes `64m` means mebibytes.
///
/// Counts from a MiB on are somebody's arithmetic, and meant as they stand.
pub fn odd_for_bytes(text: &str) -> Option<String> {
    let number = text.strip_suffix('m')?;
    let quantity: Quantity = text.parse().ok()?;
    let is_odd = quantity.milli > 0 && quantity.bytes() < 1 << 20;
    is_odd.then(|| {
        format!(
            "m means thousandths, so {text:?} is {number} thousandths of a byte; write \"{number}Mi\" for mebibytes"
        )
    })
}

/// Sign, digits with an optional fraction, then a suffix or a decimal exponent.
fn parse(text: &str) -> Option<Quantity> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (numerator, denominator) = scale(suffix)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let below = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(1000)?.checked_mul(numerator)?;
    let unit = below.checked_mul(denominator)?;
    let milli = (scaled / unit + i128::from(scaled % unit != 0)).min(MAX * 1000);
    Some(Quantity {
        milli: if negative { -milli } else { milli },
    })
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_tenths() {
        for (bytes, wanted) in [
            (0, "0.0 MiB"),
            (64, "64 bytes"),
            (1 << 16, "64.0 KiB"),
            (1 << 20, "1.0 MiB"),
            (1_600_000, "1.5 MiB"),
            (u64::MAX, "1759218604441.5 MiB"),
        ] {
            assert_eq!(memory_text(bytes), wanted);
        }
    }

    #[test]
    fn reads_what_kubernetes_reads() {
        let cases = [
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("1", 1_000),
            ("1e3", 1_000_000),
            ("2E-1", 200),
            ("128Mi", 128 * 1024 * 1024 * 1000),
            ("1G", 1_000_000_000_000),
            ("-2", -2_000),
            ("1n", 1),
        ];
        for (text, milli) in cases {
            assert_eq!(
                text.parse::<Quantity>().map(Quantity::milli),
                Ok(milli),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "m", "1.2.3", "1 Mi", "5mi", "abc", "1e", "--1"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn thousandths_of_a_byte_are_odd() {
        for (text, odd) in [
            ("64m", true),
            ("1.5m", true),
            ("64Mi", false),
            ("0m", false),
        ] {
            assert_eq!(odd_for_bytes(text).is_some(), odd, "{text}");
        }
        assert_eq!(odd_for_bytes("128974848000m"), None, "123 MiB");
        assert_eq!(
            odd_for_bytes("64m").as_deref(),
            Some(
                "m means thousandths, so \"64m\" is 64 thousandths of a byte; write \"64Mi\" for mebibytes"
            )
        );
    }

    #[test]
    fn prints_the_shortest_exact_form() {
        for (text, printed) in [
            ("1024", "1Ki"),
            ("0.25", "250m"),
            ("3", "3"),
            ("64Mi", "64Mi"),
            ("0", "0"),
        ] {
            assert_eq!(
                text.parse::<Quantity>().map(|q| q.to_string()),
                Ok(printed.to_owned())
            );
        }
    }
}
