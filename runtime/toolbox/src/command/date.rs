//! date: the time in UTC.

use std::io::Write as _;
use std::time::SystemTime;

use crate::call::{Call, Failure, Outcome};
use crate::time::Date;

const USUAL: &str = "%a %b %e %T %Z %Y";

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("u,utc d:,date: I,iso-8601")?;
    let date = match options.value("d") {
        None => Date::of(SystemTime::now()),
        Some(text) => {
            let seconds = text
                .strip_prefix('@')
                .and_then(|seconds| seconds.parse().ok());
            Date::at(
                seconds
                    .ok_or_else(|| Failure::usage(format!("{text}: write @SECONDS since 1970")))?,
            )
        }
    };
    let usual = if options.has("I") { "+%F" } else { "" };
    let format = options.one(usual)?;
    let format = match format.strip_prefix('+') {
        Some(format) => format,
        None if format.is_empty() => USUAL,
        None => {
            return Err(Failure::usage(
                "the time cannot be set; a format begins with +",
            ));
        }
    };
    writeln!(&call.streams.out, "{}", date.format(format))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn a_moment_is_shown_in_its_format() {
        let room = Room::new();
        room.check(&[
            ("date -d @0", "", "Thu Jan  1 00:00:00 UTC 1970\n"),
            (
                "date -u -d @1772323200 +%FT%TZ",
                "",
                "2026-03-01T00:00:00Z\n",
            ),
        ]);
        assert_eq!(room.run(&["date", "1200"]).code, 2);
        let now: i64 = room.run(&["date", "+%s"]).out.trim().parse().unwrap();
        assert!(now > 1_700_000_000);
    }
}
