//! A sum of money as people type it.

use std::str::FromStr;

/// Millionths of a dollar, at most 1,000 dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dollars(u32);

impl Dollars {
    pub(super) fn micros(self) -> u32 {
        self.0
    }
}

impl FromStr for Dollars {
    type Err = String;

    /// # Errors
    /// The text is no decimal number of dollars, has more than six decimal places, or is too large.
    fn from_str(text: &str) -> Result<Dollars, String> {
        let wrong = || "a price in dollars is expected, such as 0.0832, at most 1000".to_owned();
        let digits = text.strip_prefix('$').unwrap_or(text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric(whole) || !numeric(part) || part.len() > 6 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u32 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
        if whole > 1000 || (whole == 1000 && part > 0) {
            return Err(wrong());
        }
        Ok(Dollars(whole * 1_000_000 + part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_millionth_and_nothing_else_is() {
        for (text, micros) in
            [("0.0832", 83_200), ("$0.08", 80_000), ("1", 1_000_000), ("1000", 1_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Dollars(micros)), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1e3", "0.0000001", "1000.01", "99999999999", "8c"]
        {
            assert!(text.parse::<Dollars>().is_err(), "{text}");
        }
    }
}
