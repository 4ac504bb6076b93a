//! `MaxConcurrency` and `MaxErrors`: numbers or percentages, and the ramp that leads to the
//! concurrency.

use serde::Serialize;

use crate::error::ApiError;

/// Rate control of one command, with percentages resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rate {
    /// Most invocations at a time.
    concurrency: usize,
    /// The number of errors that stops the command.
    pub(super) stop_at: usize,
    /// How many may run now.
    pub(super) window: usize,
}

/// Digits, or digits and a percent sign, as AWS's patterns allow.
enum Limit {
    Count(usize),
    Percent(usize),
}

fn parse(field: &str, text: &str, least: usize) -> Result<Limit, ApiError> {
    let bad = || {
        ApiError::new(
            "ValidationException",
            format!(
                "1 validation error detected: Value '{text}' at '{field}' failed to satisfy constraint: {field} must be a whole number from {least} or a percentage from {least}% to 100%"
            ),
        )
    };
    let (digits, percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let plain = !digits.is_empty()
        && text.len() <= 7
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    let value: usize = if plain { digits.parse().map_err(|_| bad())? } else { return Err(bad()) };
    if value < least || (percent && value > 100) {
        return Err(bad());
    }
    Ok(if percent { Limit::Percent(value) } else { Limit::Count(value) })
}

impl Rate {
    /// Rate control over `targets` hosts. A concurrency of P percent is rounded up, at least 1.
    /// `MaxErrors` N stops at error N + 1; P percent stops when that share of the hosts, rounded
    /// down, has failed, at the latest at the first for 0.
    pub(super) fn new(
        max_concurrency: &str,
        max_errors: &str,
        targets: usize,
    ) -> Result<Self, ApiError> {
        let concurrency = match parse("MaxConcurrency", max_concurrency, 1)? {
            Limit::Count(n) => n,
            Limit::Percent(p) => (targets * p).div_ceil(100).max(1),
        };
        let stop_at = match parse("MaxErrors", max_errors, 0)? {
            Limit::Count(n) => n + 1,
            Limit::Percent(p) => (targets * p / 100).max(1),
        };
        Ok(Self { concurrency, stop_at, window: 1 })
    }

    /// A wave is over: the next may be twice as large, up to the concurrency.
    pub(super) fn widen(&mut self) {
        self.window = (self.window * 2).min(self.concurrency);
    }

    /// True when the ramp is over and the window slides.
    pub(super) fn is_open(&self) -> bool {
        self.window >= self.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn numbers_and_percentages_mean_what_aws_says() {
        let rate = |c: &str, e: &str, n| Rate::new(c, e, n).map(|r| (r.concurrency, r.stop_at));
        assert_eq!(rate("50", "0", 10), Ok((50, 1)));
        assert_eq!(rate("50%", "3", 10), Ok((5, 4)));
        assert_eq!(rate("10%", "10%", 50), Ok((5, 5)), "the fifth error stops 10% of 50");
        assert_eq!(rate("1%", "0%", 10), Ok((1, 1)));
        assert_eq!(rate("34%", "100%", 3), Ok((2, 3)));
        for (c, e) in [
            ("0", "0"),
            ("0%", "0"),
            ("101%", "0"),
            ("", "0"),
            ("1", "-1"),
            ("1", "1.5"),
            ("01", "0"),
            ("1", "%"),
        ] {
            let error = Rate::new(c, e, 10).expect_err("refused");
            assert_eq!(error.code, "ValidationException");
            assert!(error.message.contains("Max"), "{error}");
        }
    }

    #[test]
    fn the_ramp_doubles_up_to_the_concurrency() {
        let mut rate = Rate::new("5", "0", 10).expect("valid");
        let windows: Vec<usize> = (0..4)
            .map(|_| {
                let window = rate.window;
                rate.widen();
                window
            })
            .collect();
        assert_eq!(windows, [1, 2, 4, 5]);
    }
}
