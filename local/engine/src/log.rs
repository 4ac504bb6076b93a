//! What a container printed: the last of it, line by line, and the stream each line came from.

use std::collections::VecDeque;

/// Enough for every look at the end of a log; Docker keeps 30 MB here.
const KEPT_BYTES: usize = 64 * 1024;
/// Docker cuts longer lines into pieces as well.
pub(crate) const LONGEST_LINE: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out = 1,
    Err = 2,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<(Stream, Vec<u8>)>,
    bytes: usize,
}

impl Log {
    /// Takes a line with its end.
    pub(crate) fn push(&mut self, stream: Stream, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back((stream, line.to_vec()));
        while self.bytes > KEPT_BYTES && self.lines.len() > 1 {
            if let Some((_, gone)) = self.lines.pop_front() {
                self.bytes -= gone.len();
            }
        }
    }

    /// The last `tail` lines (all for `None`) of the wanted streams.
    pub(crate) fn tail(
        &self,
        tail: Option<usize>,
        wanted: impl Fn(Stream) -> bool,
    ) -> Vec<&(Stream, Vec<u8>)> {
        let lines: Vec<_> = self.lines.iter().filter(|(stream, _)| wanted(*stream)).collect();
        let first = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        lines[first..].to_vec()
    }
}

/// The API's packaging: stream, three zeros, the length in four bytes, the line.
pub(crate) fn frames(lines: &[&(Stream, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (stream, line) in lines {
        let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&[*stream as u8, 0, 0, 0]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, Log, Stream, frames};

    #[test]
    fn the_end_is_kept_and_framed() {
        let mut log = Log::default();
        log.push(Stream::Out, b"one\n");
        log.push(Stream::Err, b"two\n");
        log.push(Stream::Out, b"three\n");
        let errors = log.tail(None, |stream| stream == Stream::Err);
        assert_eq!(frames(&errors), b"\x02\0\0\0\0\0\0\x04two\n");
        let last = log.tail(Some(2), |_| true);
        assert_eq!(frames(&last), b"\x02\0\0\0\0\0\0\x04two\n\x01\0\0\0\0\0\0\x06three\n");
    }

    #[test]
    fn old_lines_make_room() {
        let mut log = Log::default();
        for _ in 0..100 {
            log.push(Stream::Out, &[b'x'; 1024]);
        }
        assert_eq!(log.lines.len(), KEPT_BYTES / 1024);
    }
}
