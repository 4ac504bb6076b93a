//! Query parameters, each of which must be asked for: one that nobody reads is refused, not
//! ignored.

use std::collections::BTreeMap;

use super::Refusal;

#[derive(Debug)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Takes a parameter; an empty one counts as absent, as in Docker.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// Docker's idea of true.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| {
            !matches!(value.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "none")
        })
    }

    /// To be called when everything known was taken.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        match self.0.into_iter().find(|(_, value)| !value.is_empty()) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::bad(format!(
                "this engine does not model the query parameter {name:?}"
            ))),
        }
    }
}

/// Decodes `%2F` and its like in a part of a path.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Query, decode};

    #[test]
    fn names_are_decoded() {
        assert_eq!(decode("r%2Fgh%3Av1"), "r/gh:v1");
        assert_eq!(decode("a+b%"), "a+b%");
        assert_eq!(decode("%é"), "%é");
    }

    #[test]
    fn what_nobody_reads_is_refused() {
        let mut query = Query::parse("all=true&limit=3&size=");
        assert!(query.flag("all"));
        assert!(query.end().is_err());
        assert!(Query::parse("size=").end().is_ok());
    }
}
