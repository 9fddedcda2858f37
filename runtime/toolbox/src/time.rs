//! Dates from seconds since 1970 in UTC. A pod has no other time zone.

use std::time::{Duration, SystemTime};

/// A moment as a calendar and a clock show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    since_epoch: i64,
}

const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SECONDS_PER_DAY: i64 = 86_400;

// === impl Date ===

impl Date {
    /// A moment of the system's clock.
    pub(crate) fn of(moment: SystemTime) -> Self {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self::at(i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2))
    }

    /// Seconds since 1970.
    pub(crate) fn at(since_epoch: i64) -> Self {
        // Years begin in March here, so that the leap day is the last of its year; eras are 400 years.
        let days = since_epoch.div_euclid(SECONDS_PER_DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            second_of_day: since_epoch.rem_euclid(SECONDS_PER_DAY),
            since_epoch,
        }
    }

    /// `2026-11-20 14:03`.
    pub(crate) fn short(self) -> String {
        self.format("%Y-%m-%d %H:%M")
    }

    /// As strftime does, for the fields that make sense in UTC; others stay as they are.
    pub(crate) fn format(self, pattern: &str) -> String {
        let mut text = String::new();
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            match letters.next_if(|_| letter == '%') {
                Some(field) => text.push_str(&self.field(field)),
                None => text.push(letter),
            }
        }
        text
    }

    fn field(self, field: char) -> String {
        let (hour, minute, second) = (
            self.second_of_day / 3600,
            self.second_of_day / 60 % 60,
            self.second_of_day % 60,
        );
        let day = name(
            &DAYS,
            self.since_epoch.div_euclid(SECONDS_PER_DAY).rem_euclid(7),
        );
        let month = name(&MONTHS, self.month - 1);
        let short = |name: &str| name.chars().take(3).collect();
        match field {
            'Y' => self.year.to_string(),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'H' => format!("{hour:02}"),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'F' => self.format("%Y-%m-%d"),
            'T' => self.format("%H:%M:%S"),
            's' => self.since_epoch.to_string(),
            'a' => short(day),
            'A' => day.to_owned(),
            'b' => short(month),
            'B' => month.to_owned(),
            'Z' => "UTC".to_owned(),
            'z' => "+0000".to_owned(),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            other => format!("%{other}"),
        }
    }
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_their_edges() {
        let cases = [
            (0, "Thu Jan  1 00:00:00 UTC 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 UTC 2000"),
            (951_782_400, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_772_323_200, "Sun Mar  1 00:00:00 UTC 2026"),
            (4_107_542_400, "Mon Mar  1 00:00:00 UTC 2100"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(Date::at(seconds).format("%a %b %e %T %Z %Y"), wanted);
        }
    }
}
