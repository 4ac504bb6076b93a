//! journald's own archive, by journald's own tool.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Target;

pub(super) const NAME: &str = "journal";
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Removes archived journal files older than three days.
pub(super) async fn vacuum(journalctl: &Path, dry_run: bool) -> Target {
    if !journalctl.exists() {
        return Target::skipped(NAME, format!("there is no {}", journalctl.display()));
    }
    if dry_run {
        return Target::skipped(NAME, "journalctl cannot say what it would remove");
    }
    let command = Command::new(journalctl)
        .args(["--vacuum-time=3d", "--no-pager"])
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(LONGEST, command).await {
        Err(_) => {
            Target::failed(NAME, format!("journalctl did not end within {} s", LONGEST.as_secs()))
        }
        Ok(Err(error)) => Target::failed(NAME, format!("{}: {error}", journalctl.display())),
        Ok(Ok(output)) => {
            // journalctl reports on standard error, as it does failures.
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                removed(&said)
            } else {
                let last = said.lines().last().unwrap_or("no reason given");
                Target::failed(NAME, format!("journalctl: {}: {last}", output.status))
            }
        }
    }
}

/// Counts the lines `Deleted archived journal /var/log/journal/…/x.journal (8.0M).`
fn removed(said: &str) -> Target {
    let mut target = Target::new(NAME);
    for line in said.lines().filter(|line| line.starts_with("Deleted archived journal ")) {
        let size = line
            .trim_end_matches('.')
            .strip_suffix(')')
            .and_then(|line| line.rsplit_once('('))
            .map(|(_, size)| size);
        target.add(size.and_then(bytes).unwrap_or(0));
    }
    target
}

/// A size as journald prints it: `8.0M`, `512.0K`, `16B`.
fn bytes(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let shift = match unit {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let (whole, tenths) =
        text.strip_suffix(unit)?.split_once('.').unwrap_or((text.strip_suffix(unit)?, "0"));
    let whole: u64 = whole.parse().ok()?;
    let tenths: u64 = tenths.parse().ok().filter(|tenths| *tenths < 10)?;
    whole.checked_mul(10)?.checked_add(tenths)?.checked_mul(1 << shift).map(|tenths| tenths / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_journald_writes_them() {
        assert_eq!(bytes("8.0M"), Some(8 << 20));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("512.0K"), Some(512 << 10));
        assert_eq!(bytes("16B"), Some(16));
        for text in ["", "M", "1.55M", "x.0M", "9", "99999999999999999999T", "-1K", "é"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn archived_files_are_counted() {
        let said = "Deleted archived journal /var/log/journal/a/system@1.journal (8.0M).\n\
                    Deleted archived journal /var/log/journal/a/user-1000@2.journal (512.0K).\n\
                    Vacuuming done, freed 8.5M of archived journals from /var/log/journal/a.\n";
        let target = removed(said);
        assert_eq!((target.count, target.freed_bytes), (2, Some((8 << 20) + (512 << 10))));
        assert_eq!(removed("Vacuuming done, freed 0B of archived journals.\n").count, 0);
    }
}
