//! Times of the week in which something else holds: a cron expression that names the minutes, and
//! the time zone that it is read in.

use fleet_protocol::time::UnixMs;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The minutes that a cron expression of five fields (minute, hour, day of month, month, day of
/// week) matches in a time zone: `* 8-17 * * MON-FRI` is every minute of the working hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Window {
    text: Text,
    fields: [u64; 5],
    /// Both days are given: either is enough, as in cron.
    either_day: bool,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    cron: String,
    time_zone: String,
}

/// At least `min` workers within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorWindow {
    #[serde(flatten)]
    pub window: Window,
    pub min: u32,
}

impl Window {
    /// Reads the expression and looks the time zone up by its IANA name.
    ///
    /// # Errors
    /// What is wrong with which field.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Window, String> {
        let words: Vec<&str> = cron.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(format!(
                "{cron:?} has {} fields; write minute, hour, day of month, month, day of week",
                words.len()
            ));
        };
        let fields = [
            field("minute", minute, 0..=59, &[], 0)?,
            field("hour", hour, 0..=23, &[], 0)?,
            field("day of month", day, 1..=31, &[], 0)?,
            field("month", month, 1..=12, &MONTHS, 1)?,
            // 7 is Sunday too.
            match field("day of week", weekday, 0..=7, &DAYS, 0)? {
                days if days & (1 << 7) != 0 => days | 1,
                days => days,
            },
        ];
        let zone = TimeZone::get(time_zone)
            .map_err(|_| format!("{time_zone:?} is no IANA time zone such as Europe/Berlin"))?;
        Ok(Window {
            text: Text { cron: words.join(" "), time_zone: time_zone.to_owned() },
            fields,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            zone,
        })
    }

    /// Whether the minute of `at` is in the window.
    #[must_use]
    pub fn contains(&self, at: UnixMs) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at.0) else { return false };
        let at: Zoned = at.to_zoned(self.zone.clone());
        let has = |field: usize, value: i8| {
            u32::try_from(value).is_ok_and(|value| self.fields[field] & (1 << value) != 0)
        };
        let weekday = Weekday::to_sunday_zero_offset(at.weekday());
        let (day, weekday) = (has(2, at.day()), has(4, weekday));
        let on_day = if self.either_day { day || weekday } else { day && weekday };
        has(0, at.minute()) && has(1, at.hour()) && has(3, at.month()) && on_day
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.text.cron, self.text.time_zone)
    }
}

impl TryFrom<Text> for Window {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        Window::parse(&text.cron, &text.time_zone)
    }
}

impl From<Window> for Text {
    fn from(window: Window) -> Text {
        window.text
    }
}

/// The values of one field as a set of bits. `names` stand for values from `first` on.
fn field(
    name: &str,
    text: &str,
    range: std::ops::RangeInclusive<u32>,
    names: &[&str],
    first: u32,
) -> Result<u64, String> {
    let wrong = |what: &str| {
        format!(
            "{what:?} is no {name} from {} to {}, list, range or step",
            range.start(),
            range.end()
        )
    };
    let value = |word: &str| -> Result<u32, String> {
        let named = names.iter().position(|known| known.eq_ignore_ascii_case(word));
        let number = match named {
            Some(at) => u32::try_from(at).ok().map(|at| at + first),
            None => word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit())),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| wrong(word))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, step.parse().ok().filter(|step| *step > 0)),
            None => (part, Some(1_usize)),
        };
        let step = step.ok_or_else(|| wrong(part))?;
        let (from, to) = match span.split_once('-') {
            _ if span == "*" => (*range.start(), *range.end()),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(span)?, *range.end()),
            None => (value(span)?, value(span)?),
        };
        if from > to {
            return Err(wrong(part));
        }
        bits |= (from..=to).step_by(step).fold(0, |bits, value| bits | 1_u64 << value);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(cron: &str, zone: &str, at: &str) -> bool {
        let at: Timestamp = at.parse().expect("a moment");
        Window::parse(cron, zone).expect("a window").contains(UnixMs(at.as_millisecond()))
    }

    #[test]
    fn a_window_is_the_minutes_that_its_expression_matches_in_its_time_zone() {
        let office = "* 8-17 * * MON-FRI";
        // 2026-11-23 is a Monday; Berlin is an hour ahead of UTC in winter, and two in summer.
        assert!(!contains(office, "Europe/Berlin", "2026-11-23T06:59:59Z"));
        assert!(contains(office, "Europe/Berlin", "2026-11-23T07:00:00Z"));
        assert!(contains(office, "Europe/Berlin", "2026-11-23T16:59:59Z"));
        assert!(!contains(office, "Europe/Berlin", "2026-11-23T17:00:00Z"));
        assert!(contains(office, "Europe/Berlin", "2026-07-20T06:00:00Z"));
        assert!(!contains(office, "UTC", "2026-11-22T12:00:00Z"), "a Sunday");
    }

    #[test]
    fn lists_ranges_steps_and_names_are_read_as_cron_reads_them() {
        for (cron, at, expected) in [
            ("*/15 * * * *", "2026-11-23T10:45:30Z", true),
            ("*/15 * * * *", "2026-11-23T10:46:00Z", false),
            ("0,30 9-11/2 * nov *", "2026-11-23T11:30:00Z", true),
            ("0,30 9-11/2 * nov *", "2026-11-23T10:30:00Z", false),
            ("* * 1 * MON", "2026-11-23T10:00:00Z", true),
            ("* * 1 * MON", "2026-11-01T10:00:00Z", true),
            ("* * 1 * MON", "2026-11-24T10:00:00Z", false),
            ("* * 1 * *", "2026-11-23T10:00:00Z", false),
            ("* * * * 7", "2026-11-22T10:00:00Z", true),
        ] {
            assert_eq!(contains(cron, "UTC", at), expected, "{cron} at {at}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (cron, zone, named) in [
            ("* * * *", "UTC", "4 fields"),
            ("60 * * * *", "UTC", "minute"),
            ("* 24 * * *", "UTC", "hour"),
            ("* * 0 * *", "UTC", "day of month"),
            ("* * * foo *", "UTC", "month"),
            ("* * * * 8", "UTC", "day of week"),
            ("*/0 * * * *", "UTC", "minute"),
            ("5-1 * * * *", "UTC", "minute"),
            ("+1 * * * *", "UTC", "minute"),
            ("* * * * *", "Europe/Atlantis", "Europe/Atlantis"),
        ] {
            let problem = Window::parse(cron, zone).expect_err(cron);
            assert!(problem.contains(named), "{problem}");
        }
        let text = r#"{"cron":"* 8 * * *","time_zone":"UTC","min":3}"#;
        let floor: FloorWindow = serde_json::from_str(text).expect("reads");
        assert_eq!(serde_json::to_string(&floor).expect("writes"), text);
    }
}
