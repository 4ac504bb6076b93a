//! The comparison as a table for people.

use super::figures::Figures;
use std::fmt::Write;

/// One line per policy, 100 columns wide.
pub fn render(rows: &[Figures]) -> String {
    let mut text = String::new();
    let head = format!(
        "{:<19}{:>8}{:>7}{:>7}{:>7}{:>7}{:>9}{:>9}{:>9}{:>7}{:>7}\n",
        "policy",
        "mean",
        "P50",
        "P95",
        "P99",
        "≤10s",
        "hours",
        "dollars",
        "launches",
        "wakes",
        "inter."
    );
    text.push_str(&head);
    for row in rows {
        writeln!(
            text,
            "{:<19}{:>7.1}s{:>6.0}s{:>6.0}s{:>6.0}s{:>6.1}%{:>9.0}{:>9.2}{:>9}{:>7}{:>7}",
            row.policy,
            row.wait_mean_s,
            row.wait_p50_s,
            row.wait_p95_s,
            row.wait_p99_s,
            row.within_10_s,
            row.instance_hours,
            row.dollars,
            row.launches,
            row.wakes,
            row.interrupted
        )
        .expect("writing to a string cannot fail");
    }
    text
}
