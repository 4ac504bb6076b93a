//! The settings of the scaling policy.

use super::lookup::Lookup;
use super::reader::Reader;
use fleet_core::scaling::{FloorWindow, Policy, Window};
use std::num::NonZeroU32;

/// Windows of one setting.
const WINDOWS: usize = 20;

/// `None` only after a problem was noted.
pub(super) fn read_policy(reader: &mut Reader<'_, impl Lookup>) -> Option<Policy> {
    let min = reader.number("AUTOSCALE_MIN", 1, 0..=1000);
    let max = reader.number("AUTOSCALE_MAX", 10, 0..=1000);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        reader.reject(
            "AUTOSCALE_MIN",
            format!("is {min}, above AUTOSCALE_MAX ({max})"),
            "Lower AUTOSCALE_MIN or raise AUTOSCALE_MAX",
        );
    }
    let usual = Policy::default();
    let jobs_per_worker = reader.number("JOBS_PER_WORKER", 1, 1..=1000);
    let wait_value = reader.number("WAIT_VALUE", usual.wait_value, 0..=100);
    let boot_s = reader.number("AUTOSCALE_BOOT_SECONDS", usual.boot_s, 1..=600);
    let hold_min_s = reader.number("AUTOSCALE_HOLD_MIN_SECONDS", usual.hold_min_s, 0..=3600);
    let confirm_s = reader.number("AUTOSCALE_IDLE_CONFIRM_SECONDS", usual.idle_confirm_s, 1..=600);
    let percent = reader.number("AUTOSCALE_MAX_IN_PERCENT", usual.max_in_percent, 1..=100);
    let wait_target_s = reader.number("WAIT_TARGET_SECONDS", usual.wait_target_s, 1..=86_400);
    let job_limit_s = reader.number("DRAIN_JOB_LIMIT_SECONDS", usual.job_limit_s, 60..=169_200);
    let floors = read_list(reader, "AUTOSCALE_FLOORS", floors);
    let no_scale_in = read_list(reader, "AUTOSCALE_NO_SCALE_IN", windows);
    Some(Policy {
        min: min?,
        max: max?,
        jobs_per_worker: NonZeroU32::new(jobs_per_worker?)?,
        wait_value: wait_value?,
        boot_s: boot_s?,
        hold_min_s: hold_min_s?,
        idle_confirm_s: confirm_s?,
        max_in_percent: percent?,
        wait_target_s: wait_target_s?,
        job_limit_s: job_limit_s?,
        floors: floors?,
        no_scale_in: no_scale_in?,
        ..usual
    })
}

/// A list that may be left out or empty.
fn read_list<T>(
    reader: &mut Reader<'_, impl Lookup>,
    name: &'static str,
    read: fn(&str) -> Result<Vec<T>, String>,
) -> Option<Vec<T>> {
    let Some(text) = reader.optional_or_empty(name, |_| Ok(())) else { return Some(Vec::new()) };
    match read(&text) {
        Ok(list) => Some(list),
        Err(problem) => {
            reader.reject(name, format!("cannot be read: {problem}"), "Correct it or remove it");
            None
        }
    }
}

/// `CRON TIME_ZONE`, separated by semicolons: `* 12-13 * * * Europe/Berlin`.
fn windows(text: &str) -> Result<Vec<Window>, String> {
    entries(text)?.into_iter().map(window).collect()
}

/// `WORKERS CRON TIME_ZONE`, separated by semicolons: `5 * 8-17 * * MON-FRI Europe/Berlin`.
fn floors(text: &str) -> Result<Vec<FloorWindow>, String> {
    let floor = |entry: &str| {
        let (min, rest) = entry.split_once(' ').unwrap_or((entry, ""));
        let min = min.parse().map_err(|_| {
            format!("Begin {entry:?} with a number of workers: 5 * 8-17 * * MON-FRI Europe/Berlin")
        })?;
        Ok(FloorWindow { window: window(rest)?, min })
    };
    entries(text)?.into_iter().map(floor).collect()
}

fn entries(text: &str) -> Result<Vec<&str>, String> {
    let entries: Vec<&str> =
        text.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    match entries.len() {
        0 => Err("it is blank; leave it out for no window".to_owned()),
        count if count > WINDOWS => Err(format!("Set at most {WINDOWS} windows, not {count}")),
        _ => Ok(entries),
    }
}

fn window(entry: &str) -> Result<Window, String> {
    let (cron, zone) = entry.trim().rsplit_once(' ').ok_or_else(|| {
        format!("Write {entry:?} as CRON TIME_ZONE, such as * 12-13 * * * Europe/Berlin")
    })?;
    Window::parse(cron, zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::time::UnixMs;

    #[test]
    fn windows_are_read_with_their_time_zone_and_floors_with_their_workers() {
        let floors = floors("5 * 8-17 * * MON-FRI Europe/Berlin; 2 * * * * * UTC;").unwrap();
        assert_eq!(floors.iter().map(|floor| floor.min).collect::<Vec<_>>(), [5, 2]);
        // A Monday at 7:30 in UTC is 8:30 in Berlin.
        assert!(floors[0].window.contains(UnixMs(1_795_419_000_000)));
        assert_eq!(windows("* 12 * * * UTC").unwrap().len(), 1);
        windows(" ").expect_err("blank");
        for bad in ["x * * * * * UTC", "5 * * * * UTC", "5", "5 * * * * * Nowhere/Land"] {
            super::floors(bad).expect_err(bad);
        }
        windows(&"* * * * * UTC;".repeat(WINDOWS + 1)).expect_err("too many");
    }
}
