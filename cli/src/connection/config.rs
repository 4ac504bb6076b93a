//! The configuration file: a profile for each stack.

use super::environment::{home, path, read, variable};
use super::{Address, Token};
use crate::finish::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

const FILE: &str = "GHFLEET_CONFIG";
const MOST_BYTES: u64 = 64 * 1024;
const FORM: &str = "a profile is [profile.NAME] with url = \"https://…\", and token_file = \"…\" or \
                    token_command = [\"program\", \"argument\"]";

/// What the file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The profile to use where none is named.
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
    token_file: Option<String>,
    token_command: Option<Vec<String>>,
}

/// The file that was read.
#[derive(Debug)]
pub(super) struct Config {
    file: PathBuf,
    written: Written,
}

/// One profile of it.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    name: &'a str,
    profile: &'a Profile,
}

impl Config {
    /// Reads `$GHFLEET_CONFIG`, or `~/.config/ghfleet/config.toml`.
    ///
    /// # Errors
    /// There is none, or it cannot be used. No value of it is repeated: it may be a token that
    /// somebody wrote there.
    pub(super) fn read() -> Result<Config, Failure> {
        let file = match variable(FILE)? {
            Some(text) => path(&text)?,
            None => home()?.join(".config/ghfleet/config.toml"),
        };
        if !file.exists() {
            return Err(Failure::usage(format!(
                "no stack is named: set GHFLEET_URL and GHFLEET_TOKEN, or write {}; {FORM}",
                file.display()
            )));
        }
        let text = read(&file, MOST_BYTES)?;
        let written = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            // The names of fields are not secret; other messages quote values.
            let what = Some(error.message()).filter(|what| what.starts_with("unknown field"));
            let what = what.unwrap_or("it cannot be read as such");
            Failure::usage(format!("{}, near line {line}: {what}; {FORM}", file.display()))
        })?;
        Ok(Config { file, written })
    }

    /// The profile of this name; without one the default, or the only one there is.
    ///
    /// # Errors
    /// There is no such profile, or several to choose from.
    pub(super) fn profile(&self, name: Option<&str>) -> Result<Chosen<'_>, Failure> {
        let Written { default, profile: profiles } = &self.written;
        let only = || profiles.keys().next().filter(|_| profiles.len() == 1).map(String::as_str);
        let Some(name) = name.or(default.as_deref()).or_else(only) else {
            return Err(Failure::usage(format!(
                "{} has {}: name one with --profile, or write default = \"NAME\" at its top",
                self.file.display(),
                self.names()
            )));
        };
        match profiles.get_key_value(name) {
            Some((name, profile)) => Ok(Chosen { name, profile }),
            None => Err(Failure::usage(format!(
                "{} has no profile {name:?}; it has {}",
                self.file.display(),
                self.names()
            ))),
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.written.profile.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

impl Chosen<'_> {
    /// Its address and its token; the environment's where the profile names none.
    ///
    /// # Errors
    /// What is wrong with either.
    pub(super) fn connect(&self) -> Result<(Address, Token), Failure> {
        let Chosen { name, profile } = self;
        let from = format!("the url of profile {name}");
        let address = Address::parse(&from, &profile.url)?;
        let token = match (&profile.token_file, &profile.token_command) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(format!(
                    "profile {name} has token_file and token_command; keep one of them"
                )));
            }
            (Some(file), None) => Token::from_file(&path(file)?)?,
            (None, Some(command)) => Token::from_command(name, command)?,
            (None, None) => Token::from_environment()?.ok_or_else(|| Token::missing(&from))?,
        };
        Ok((address, token))
    }
}
