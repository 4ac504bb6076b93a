//! Rows in columns.

use super::{Screen, Tone, WIDTH, plain};
use fleet_core::text::cut;

const GAP: &str = "  ";

/// One field of a row.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text from anywhere.
    pub fn new(text: impl AsRef<str>) -> Cell {
        Cell::toned(Tone::Plain, text)
    }

    pub fn toned(tone: Tone, text: impl AsRef<str>) -> Cell {
        Cell { text: plain(text.as_ref()), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// The rows under their headings. Each column is as wide as its widest cell, but no wider than
/// `most` says, and the last one ends with the line; what is longer is cut.
#[must_use]
pub fn table<const N: usize>(
    screen: &Screen,
    heads: [&str; N],
    most: [usize; N],
    rows: &[[Cell; N]],
) -> String {
    let heads = heads.map(Cell::new);
    let mut left = WIDTH;
    let mut widths = [0; N];
    for (at, width) in widths.iter_mut().enumerate() {
        let cells = rows.iter().chain([&heads]).map(|row| row[at].width());
        *width = cells.max().unwrap_or(0).min(most[at]).min(left);
        left = left.saturating_sub(*width + GAP.len());
    }
    let lines = [&heads].into_iter().chain(rows);
    lines.map(|row| line(screen, row, &widths)).collect()
}

fn line<const N: usize>(screen: &Screen, row: &[Cell; N], widths: &[usize; N]) -> String {
    let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |at| at + 1);
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .take(filled)
        .enumerate()
        .map(|(at, (cell, width))| {
            let text = fit(&cell.text, *width);
            let blanks = if at + 1 == filled { 0 } else { width - text.chars().count() };
            screen.paint(cell.tone, &text) + &" ".repeat(blanks)
        })
        .collect();
    cells.join(GAP) + "\n"
}

/// The text within so many columns, with a sign where something was cut off.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { cut(text, width.saturating_sub(1)) }
}
