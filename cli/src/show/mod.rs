//! How things are shown: within 80 columns, with colour only where a terminal wants it, and with no
//! character from outside that would steer that terminal.

mod screen;
mod table;
mod value;

pub use screen::{Screen, Tone};
pub use table::{Cell, table};
pub use value::{money, number, span, word};

use std::iter;

/// No line is wider.
pub const WIDTH: usize = 80;

/// A text from outside on one line: what steers a terminal becomes a blank.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The text in lines of at most `WIDTH` columns: the first begins with `head`, the others with as
/// many blanks. A word that is longer than a line is broken.
#[must_use]
pub fn wrapped(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let room = WIDTH.saturating_sub(indent).max(20);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        let mut word = word.to_owned();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        while let Some((at, _)) = word.char_indices().nth(room) {
            lines.push(word[..at].to_owned());
            word = word.split_off(at);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    let blanks = " ".repeat(indent);
    let lines = lines.iter().zip(iter::once(head).chain(iter::repeat(&*blanks)));
    lines.map(|(line, head)| format!("{head}{line}").trim_end().to_owned() + "\n").collect()
}

/// A named fact, as `status` and others list them.
#[must_use]
pub fn fact(name: &str, text: &str) -> String {
    wrapped(&format!("{name:<11}"), &plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_and_long_words_broken() {
        let text = format!("{} {}", "word ".repeat(30), "x".repeat(200));
        let shown = fact("queue", &text);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(shown.starts_with("queue      word word"));
        assert!(shown.lines().skip(1).all(|line| line.starts_with(&" ".repeat(11))), "{shown}");
        assert_eq!(shown.matches('x').count(), 200);
        assert_eq!(fact("mode", ""), "mode\n");
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\n\u{9b}c"), "a [31mb  c");
    }
}
