//! sleep: waits.

use std::time::Duration;

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return Err(Failure::usage("name a number of seconds"));
    }
    let mut total = Duration::ZERO;
    for text in call.args {
        total = total.saturating_add(length(text)?);
    }
    std::thread::sleep(total);
    Ok(0)
}

/// `1.5`, `2m`, `infinity`.
pub(crate) fn length(text: &str) -> Result<Duration, Failure> {
    if text == "infinity" {
        return Ok(Duration::MAX);
    }
    let units = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86400.0)];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, unit) = found.unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Failure::usage(format!("{text}: not a length of time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Room;

    #[test]
    fn lengths_are_read() {
        let cases = [
            ("0", 0),
            ("1.5", 1500),
            ("2m", 120_000),
            ("0.5h", 1_800_000),
        ];
        for (text, millis) in cases {
            assert_eq!(
                length(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in ["", "x", "-1", "1x", "s"] {
            assert!(length(text).is_err(), "{text}");
        }
        assert_eq!(Room::new().run(&["sleep", "0"]).code, 0);
        assert_eq!(Room::new().run(&["sleep"]).code, 2);
    }
}
