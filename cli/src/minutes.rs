//! How long something is to last, as operators write it: `90m`, `2h`, `1d`.

/// Whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes(pub u32);

impl Minutes {
    /// Reads a whole number with its unit.
    ///
    /// # Errors
    /// What to write.
    pub fn parse(text: &str) -> Result<Minutes, String> {
        let units = [('m', 1), ('h', 60), ('d', 24 * 60)];
        let read = |(unit, minutes): (char, u32)| {
            let digits = text.strip_suffix(unit).filter(|it| !it.starts_with(['+', '0']))?;
            digits.parse::<u32>().ok()?.checked_mul(minutes)
        };
        let minutes = units.into_iter().find_map(read).map(Minutes);
        minutes.ok_or_else(|| "write a whole number with m, h or d, such as 90m or 2h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_hours_and_days_are_read() {
        for (text, minutes) in [("1m", 1), ("90m", 90), ("2h", 120), ("7d", 10_080)] {
            assert_eq!(Minutes::parse(text), Ok(Minutes(minutes)));
        }
        for wrong in ["", "5", "h", "1.5h", "-1m", "+1m", "0h", "2 h", "2H", "9999999d", "ä"] {
            Minutes::parse(wrong).expect_err(wrong);
        }
    }
}
