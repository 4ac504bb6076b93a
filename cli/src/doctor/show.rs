//! Findings as people read them.

use super::diagnosis::{Diagnosis, State};
use crate::show::{Screen, Tone, WIDTH, plain, wrapped};

/// Columns before a finding.
const STATE: usize = 13;
const CHECK: usize = 17;

/// The findings by area, each with its fix where it has one, and the sum.
#[must_use]
pub(super) fn render(screen: &Screen, findings: &[Diagnosis]) -> String {
    let mut text = String::new();
    let mut area = "";
    for finding in findings {
        if finding.area != area {
            text += &format!("{}{}\n", if area.is_empty() { "" } else { "\n" }, finding.area);
            area = finding.area;
        }
        text += &one(screen, finding);
    }
    text + "\n" + &sum(findings)
}

fn one(screen: &Screen, finding: &Diagnosis) -> String {
    let head = format!("  {:<STATE$}{:<CHECK$}", finding.state.word(), finding.check);
    let text = wrapped(&head, &plain(&finding.finding));
    let tone = match finding.state {
        State::Ok => Tone::Good,
        State::Warning | State::NotChecked => Tone::Warn,
        State::Fault => Tone::Bad,
    };
    let word = finding.state.word();
    let mut text = text.replacen(word, &screen.paint(tone, word), 1);
    let indent = " ".repeat(2 + STATE);
    if matches!(finding.state, State::Warning | State::Fault) {
        text += &wrapped(&format!("{indent}seen in: "), &plain(&finding.looked_at));
    }
    if let Some(fix) = &finding.fix {
        text += &format!("{indent}fix:\n{}", command(&" ".repeat(STATE + 4), &plain(fix)));
    }
    text
}

/// A command over several lines as a shell takes it, broken between its words and never inside a
/// quotation. A comment has a line of its own.
fn command(indent: &str, text: &str) -> String {
    let (text, comment) = match text.split_once("   # ") {
        Some((text, comment)) => (text, wrapped(&format!("{indent}# "), comment)),
        None => (text, String::new()),
    };
    let mut lines = vec![String::new()];
    for word in words(text) {
        let line = lines.last().map_or(0, |line| line.chars().count());
        let wider = indent.chars().count() + line + 1 + word.chars().count() + 2 > WIDTH;
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if !wider => line.push_str(&format!(" {word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    let last = lines.len() - 1;
    let end = |at: usize| if at == last { "" } else { " \\" };
    let lines = lines.iter().enumerate();
    lines.map(|(at, line)| format!("{indent}{line}{}\n", end(at))).collect::<String>() + &comment
}

/// The words of a command; a quotation is one word.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut begin, mut quoted) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                words.extend(Some(&text[begin..at]).filter(|word| !word.is_empty()));
                begin = at + 1;
            }
            _ => {}
        }
    }
    words.extend(Some(&text[begin..]).filter(|word| !word.is_empty()));
    words
}

fn sum(findings: &[Diagnosis]) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let counts = State::ALL.map(|state| format!("{} {}", count(state), state.word()));
    format!("{} findings: {}\n", findings.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_stays_one_that_a_shell_takes() {
        let text = "aws one --two three --four \"five six\" seven ".repeat(4);
        let shown = command("    ", text.trim_end());
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        let joined = shown.replace(" \\\n", " ");
        let once = joined.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(once, text.trim_end(), "the shell sees what was written");
        assert!(
            shown
                .lines()
                .filter(|line| line.contains('"'))
                .all(|line| { line.matches('"').count() % 2 == 0 })
        );
    }
}
