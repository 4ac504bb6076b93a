//! The comparison as a table for people.

use super::figures::{COLUMNS, Figures};

const WIDTHS: [usize; COLUMNS.len()] = [19, 8, 7, 7, 7, 7, 9, 9, 9, 7, 7];

/// One line per policy, 100 columns wide.
#[must_use]
pub fn render(rows: &[Figures]) -> String {
    let head = line(&COLUMNS.map(str::to_owned));
    rows.iter().fold(head, |text, row| text + &line(&row.cells()))
}

fn line(cells: &[String; COLUMNS.len()]) -> String {
    let mut line = format!("{:<width$}", cells[0], width = WIDTHS[0]);
    for (cell, width) in cells.iter().zip(WIDTHS).skip(1) {
        line.push_str(&format!("{cell:>width$}"));
    }
    line.push('\n');
    line
}
