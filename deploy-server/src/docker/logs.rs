//! The engine's log format.

/// Takes the payload out of the engine's stream frames (`[stream, 0, 0, 0, length as u32
/// big-endian]`).
///
/// A container with a terminal prints without frames; anything that does not start like a frame is
/// passed through, so that a log tail is never lost to its packaging. Never fails, never allocates
/// more than its input.
#[must_use]
pub fn demultiplex(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    while let [0..=2, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        out.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::demultiplex;

    #[test]
    fn frames_are_joined_and_raw_text_passes() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 3];
        bytes.extend_from_slice(b"ab\n");
        bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend_from_slice(b"c\n");
        assert_eq!(demultiplex(&bytes), b"ab\nc\n");
        assert_eq!(demultiplex(b"plain text\n"), b"plain text\n");
    }

    #[test]
    fn a_cut_frame_gives_what_is_there() {
        assert_eq!(demultiplex(&[1, 0, 0, 0, 255, 255, 255, 255, b'x']), b"x");
    }
}
