//! The report as text, and the log file it is written to.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Report;

/// A line for each target, and one for each thing kept.
pub(super) fn text(report: &Report) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut out = String::new();
    for target in &report.targets {
        let name = &target.target;
        let line = match (&target.skipped, &target.error) {
            (Some(reason), _) => format!("{name}: skipped: {reason}"),
            (None, error) => {
                let mut line =
                    format!("{name}: {verb} {}, freed {}", target.count, freed(target.freed_bytes));
                if let Some(error) = error {
                    line.push_str("; FAILED: ");
                    line.push_str(error);
                }
                line
            }
        };
        out.push_str(&line);
        out.push('\n');
        for kept in &target.kept {
            writeln!(out, "{name}: kept {}: {}", kept.item, kept.reason)
                .expect("writing to a String cannot fail");
        }
    }
    for note in &report.notes {
        writeln!(out, "note: {note}").expect("writing to a String cannot fail");
    }
    out.push_str("total: freed ");
    out.push_str(&size(report.freed_bytes));
    out.push('\n');
    out
}

fn freed(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "an unknown amount".to_owned(), size)
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some(unit) = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * (unit + 1)) > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> (10 * (unit + 1));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Appends the report, each line with the time. The file is opened anew for every run, so logrotate
/// may move it.
pub(super) fn append(path: &Path, report: &Report) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?)
        .open(path)?;
    let now = jiff::Timestamp::now();
    let mut lines = String::new();
    for line in text(report).lines() {
        writeln!(lines, "{now:.0} {line}").expect("writing to a String cannot fail");
    }
    // One write, so that two runs never mix within a line.
    file.write_all(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn a_failure_is_shown_with_what_was_done() {
        let mut target = Target::new("tmp_files");
        target.add(2048);
        target.keep("/tmp/a", "a process has it open");
        target.fail("disk on fire");
        target.fail("and another");
        let volumes = Target::failed("volumes", "disk on fire");
        let report = Report {
            dry_run: false,
            freed_bytes: 2048,
            targets: vec![target, volumes, Target::skipped("journal", "no journalctl")],
            notes: vec!["the report cannot be appended".to_owned()],
        };
        assert!(report.failed());
        assert_eq!(
            text(&report),
            "tmp_files: removed 1, freed 2.0 KiB; FAILED: disk on fire\n\
             tmp_files: kept /tmp/a: a process has it open\n\
             volumes: removed 0, freed 0 B; FAILED: disk on fire\n\
             journal: skipped: no journalctl\n\
             note: the report cannot be appended\n\
             total: freed 2.0 KiB\n"
        );
        let unfinished =
            ["not finished: tmp_files, volumes: disk on fire", "the report cannot be appended"];
        assert_eq!(report.unfinished(), unfinished);
    }
}
