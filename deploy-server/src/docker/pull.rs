//! The answer to an image pull: a stream of JSON objects behind a status of 200.
//!
//! A pull that fails half-way says so inside the stream, after the 200. The predecessor threw the
//! stream away.

use serde::Deserialize;

/// No single progress message of any engine comes near it.
const LONGEST_MESSAGE: usize = 256 * 1024;

/// Why a pull failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// In the engine's words, from inside the stream.
    #[error("{0}")]
    Engine(String),
    #[error("a message of the pull stream is longer than {LONGEST_MESSAGE} bytes")]
    TooLong,
    #[error("the pull stream is not JSON: {0:?}")]
    Garbled(String),
    #[error("the pull stream ended in the middle of a message")]
    CutOff,
    #[error("nothing arrived for {0} s")]
    Stalled(u64),
    #[error("not finished after {0} s")]
    TooSlow(u64),
    #[error("the pull ended well, and yet the image {0} is not on this host")]
    Missing(String),
}

/// An incremental parser: feed it bytes as they arrive, in pieces of any size.
#[derive(Debug, Default)]
pub struct PullStream {
    pending: Vec<u8>,
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    status: Option<String>,
    error: Option<String>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

impl PullStream {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first failure that the stream reports, or a stream that is not one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        let outcome = loop {
            let rest = &self.pending[used..];
            let mut messages = serde_json::Deserializer::from_slice(rest).into_iter::<Message>();
            match messages.next() {
                None => break Ok(()),
                Some(Ok(message)) => {
                    used += messages.byte_offset();
                    if let Some(text) = failure(&message) {
                        break Err(PullError::Engine(text));
                    }
                    if let Some(digest) =
                        message.status.as_deref().and_then(|s| s.strip_prefix("Digest: "))
                    {
                        self.digest = Some(digest.to_owned());
                    }
                }
                Some(Err(error)) if error.is_eof() => break Ok(()),
                Some(Err(_)) => {
                    let text = String::from_utf8_lossy(rest);
                    break Err(PullError::Garbled(text.trim().chars().take(120).collect()));
                }
            }
        };
        self.pending.drain(..used);
        outcome?;
        if self.pending.len() > LONGEST_MESSAGE { Err(PullError::TooLong) } else { Ok(()) }
    }

    /// The stream is over: the digest it named, if it named one.
    ///
    /// # Errors
    /// When it stopped inside a message.
    pub fn finish(self) -> Result<Option<String>, PullError> {
        if self.pending.iter().all(u8::is_ascii_whitespace) {
            Ok(self.digest)
        } else {
            Err(PullError::CutOff)
        }
    }
}

fn failure(message: &Message) -> Option<String> {
    let detail = message.error_detail.as_ref();
    if detail.is_none() && message.error.is_none() {
        return None;
    }
    let text = detail.and_then(|detail| detail.message.clone()).or_else(|| message.error.clone());
    Some(text.filter(|text| !text.is_empty()).unwrap_or_else(|| "no reason given".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{PullError, PullStream};

    fn read(pieces: &[&str]) -> Result<Option<String>, PullError> {
        let mut stream = PullStream::default();
        for piece in pieces {
            stream.feed(piece.as_bytes())?;
        }
        stream.finish()
    }

    #[test]
    fn progress_and_digest_in_pieces() {
        let pieces = ["{\"status\":\"Pulling\"}\r", "\n{\"status\":\"Dig", "est: sha256:ab\"}\r\n"];
        assert_eq!(read(&pieces), Ok(Some("sha256:ab".to_owned())));
    }

    #[test]
    fn an_error_behind_the_200_is_an_error() {
        let pieces = [
            "{\"status\":\"Pulling\"}{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"x\"}",
        ];
        assert_eq!(read(&pieces), Err(PullError::Engine("manifest unknown".to_owned())));
        assert_eq!(read(&["{\"error\":\"gone\"}"]), Err(PullError::Engine("gone".to_owned())));
        assert_eq!(
            read(&["{\"errorDetail\":{}}"]),
            Err(PullError::Engine("no reason given".to_owned()))
        );
    }

    #[test]
    fn a_cut_or_garbled_stream_is_an_error() {
        assert_eq!(read(&["{\"status\":\"Pul"]), Err(PullError::CutOff));
        assert!(matches!(read(&["<html>"]), Err(PullError::Garbled(_))));
    }
}
