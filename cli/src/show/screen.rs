//! Standard output: a terminal or not, with colour or not.

use std::io::{IsTerminal, Write, stdout};

/// What a word means for whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

/// Where texts go.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// It can be drawn over.
    pub live: bool,
    colour: bool,
}

impl Screen {
    /// Standard output, as NO_COLOR (no-color.org) and TERM say.
    #[must_use]
    pub fn of_stdout() -> Screen {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let live = stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        Screen { live, colour: live && set("NO_COLOR").is_none() }
    }

    /// The text in the colour of its meaning.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Lines that fit; some where nobody knows.
    #[must_use]
    pub fn height(&self) -> usize {
        let size = if self.live { terminal_size::terminal_size() } else { None };
        size.map_or(24, |(_, height)| usize::from(height.0))
    }

    /// Writes at once. False says that nobody reads any more, such as `head`.
    #[must_use]
    pub fn write(&self, text: &str) -> bool {
        let mut out = stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    /// What clears the last `lines` lines of a terminal, to draw them anew.
    #[must_use]
    pub fn over(&self, lines: usize) -> String {
        if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
    }
}
