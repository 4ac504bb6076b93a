//! Reports are one line of JSON each, short enough that SSM keeps all of it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What an SSM agent keeps of a command's stdout and stderr together, in bytes.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CommandPlugin.html>
pub const AGENT_KEEPS: usize = 2500;
/// The most bytes of a report. The rest is room for what a shell says beside it.
pub const LIMIT: usize = 2300;
/// So much of a line that is no report is shown.
const SHOWN: usize = 200;
/// The most bytes of a note.
const NOTE: usize = 400;

/// The beginning of `text`, at most so many bytes, cut between two characters; what could not be
/// printed is a space.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> String {
    let cut = &text[..text.floor_char_boundary(bytes)];
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The first notes of a report, each cut to what a sentence with a name and a reason takes.
pub(crate) fn notes(notes: &[String], most: usize) -> Vec<String> {
    notes.iter().take(most).map(|note| clip(note, NOTE)).collect()
}

/// Writes a report; while it is too long `shorten` takes something away, and returns false once
/// there is nothing left to take.
pub(crate) fn write<T: Serialize>(
    report: &mut T,
    mut shorten: impl FnMut(&mut T) -> bool,
) -> String {
    loop {
        let line = serde_json::to_string(report).expect("a report is plain data");
        if line.len() <= LIMIT || !shorten(report) {
            return line;
        }
    }
}

/// Finds the report in what a command printed: the first line that is a JSON object.
pub(crate) fn find<T: DeserializeOwned>(output: &str) -> Result<T, String> {
    let line = output.lines().map(str::trim).find(|line| line.starts_with('{'));
    let Some(line) = line else {
        return Err(match output.trim() {
            "" => "it printed nothing".to_owned(),
            text => format!("it printed no report but {:?}", clip(text, SHOWN)),
        });
    };
    serde_json::from_str(line)
        .map_err(|error| format!("its report cannot be read ({error}): {:?}", clip(line, SHOWN)))
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(clip("aää", 4), "aä");
        assert_eq!(clip("a\tb\u{1b}", 9), "a b ");
        assert_eq!(clip("", 3), "");
    }
}
