//! Variables of the environment, and files that they name.

use crate::finish::Failure;
use std::env::{VarError, var};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The value of a variable; an empty one counts as unset.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
    }
}

/// The path, with the home directory in place of a leading `~`.
///
/// # Errors
/// HOME is not set, and the path needs it.
pub(super) fn path(text: &str) -> Result<PathBuf, Failure> {
    match text.strip_prefix("~/") {
        Some(rest) => Ok(home()?.join(rest)),
        None => Ok(PathBuf::from(text)),
    }
}

/// The home directory.
///
/// # Errors
/// HOME is not set.
pub(super) fn home() -> Result<PathBuf, Failure> {
    let home = variable("HOME")?;
    home.map(PathBuf::from).ok_or_else(|| {
        Failure::usage("HOME is not set: set it, or GHFLEET_CONFIG, or GHFLEET_URL with a token")
    })
}

/// The text of a file of at most so many bytes.
///
/// # Errors
/// It cannot be read, is longer, or is not UTF-8.
pub(super) fn read(file: &Path, most: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let wrong = |what: String| Failure::usage(format!("{} cannot be read: {what}", file.display()));
    File::open(file)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(wrong(format!("it has more than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))
}
