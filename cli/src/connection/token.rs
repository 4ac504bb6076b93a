//! The token, and where it may come from. It is never an argument: those are in the list of
//! processes and in the shell's history.

use super::environment::{read, variable};
use crate::finish::Failure;
use secrecy::{ExposeSecret, SecretString};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

const VALUE: &str = "GHFLEET_TOKEN";
const FILE: &str = "GHFLEET_TOKEN_FILE";
const MOST_BYTES: u64 = 4096;

/// A bearer token and, for messages, where it is from.
#[derive(Debug)]
pub struct Token {
    value: SecretString,
    from: String,
}

impl Token {
    /// The environment's, where it has one: the value, or the file that it names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_environment() -> Result<Option<Token>, Failure> {
        if let Some(value) = variable(VALUE)? {
            return Token::new(&value, VALUE.to_owned()).map(Some);
        }
        let file = variable(FILE)?;
        file.map(|file| Token::from_file(Path::new(&file))).transpose()
    }

    /// # Errors
    /// The file cannot be read, or holds no token.
    pub(super) fn from_file(file: &Path) -> Result<Token, Failure> {
        Token::new(&read(file, MOST_BYTES)?, format!("the file {}", file.display()))
    }

    /// The first line that a credential helper prints. It may ask its user for something, so it
    /// has this program's terminal, and no deadline.
    ///
    /// # Errors
    /// The helper cannot be run or fails, or prints no token.
    pub(super) fn from_command(profile: &str, command: &[String]) -> Result<Token, Failure> {
        let from = format!("the token_command of profile {profile}");
        let wrong = |what: String| Failure::usage(format!("{from} {what}"));
        let Some((program, arguments)) = command.split_first() else {
            return Err(wrong("is empty; write [\"program\", \"argument\"]".to_owned()));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| wrong(format!("cannot be run: {program}: {error}")))?;
        let mut printed = Vec::new();
        // The pipe is dropped behind this, so that a helper that prints for ever ends.
        if let Some(pipe) = child.stdout.take() {
            let read = pipe.take(MOST_BYTES).read_to_end(&mut printed);
            read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        }
        let status = child.wait().map_err(|error| wrong(format!("did not end: {error}")))?;
        if !status.success() {
            return Err(wrong(format!("failed: {program} ended with {status}; run it by hand")));
        }
        let printed = String::from_utf8(printed).unwrap_or_default();
        Token::new(printed.lines().next().unwrap_or_default(), from)
    }

    fn new(text: &str, from: String) -> Result<Token, Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Failure::usage(format!("{from} holds no token")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(format!(
                "{from} holds no token: one is a single word of printable ASCII characters"
            )));
        }
        Ok(Token { value: SecretString::from(text), from })
    }

    /// What to say where the address came from `from` and there is no token.
    pub(super) fn missing(from: &str) -> Failure {
        Failure::usage(format!(
            "no token: {from} names the address; set {VALUE} or {FILE}, or write a profile with \
             token_file or token_command"
        ))
    }

    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    /// The value of the `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.value.expose_secret())
    }

    /// The text of an answer without the token, should the other side repeat it.
    pub(crate) fn strike(&self, text: String) -> String {
        let value = self.value.expose_secret();
        if text.contains(value) { text.replace(value, "(token)") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_by_nothing() {
        let token = Token::new(" s3cret\n", "GHFLEET_TOKEN".to_owned()).unwrap();
        assert!(!format!("{token:?}").contains("s3cret"));
        assert_eq!(token.bearer(), "Bearer s3cret");
        assert_eq!(token.strike("you sent s3cret".to_owned()), "you sent (token)");
        for wrong in ["", "  \n", "two words", "ümlaut", "a\nb"] {
            let said = Token::new(wrong, "it".to_owned()).unwrap_err().message;
            assert!(said.contains("holds no token") && !said.contains("words"), "{said}");
        }
    }
}
