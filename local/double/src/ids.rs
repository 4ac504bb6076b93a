//! Identifiers that look like AWS's and are the same in every run with the same seed and the same
//! calls.

/// A reproducible source of identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    state: u64,
}

impl Ids {
    /// `stream` separates sources with one seed, so that request ids do not shift instance ids.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { state: seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F) }
    }

    /// SplitMix64: every state is visited once, so identifiers of one source do not repeat.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// `prefix` and 17 hexadecimal digits, as in `i-0123456789abcdef0`.
    pub(crate) fn resource(&mut self, prefix: &str) -> String {
        format!("{prefix}0{:016x}", self.next())
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xFFFF,
            a & 0xFFF,
            0x8000 | (b >> 48) & 0x3FFF,
            b & 0xFFFF_FFFF_FFFF
        )
    }

    /// Six letters and digits, as at the end of a secret's ARN.
    pub(crate) fn suffix(&mut self) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..6)
            .map(|_| {
                let index = usize::try_from(self.next() % 62).unwrap_or_default();
                char::from(ALPHABET[index])
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_streams_differ() {
        let (mut a, mut b, mut other) = (Ids::new(7, 1), Ids::new(7, 1), Ids::new(7, 2));
        let id = a.resource("i-");
        assert_eq!(id, b.resource("i-"));
        assert_ne!(id, other.resource("i-"));
        assert_eq!(id.len(), 19);
        let uuid = a.uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
