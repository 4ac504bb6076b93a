//! Values of the API's answers as words. A value that is null or missing is unknown, never zero.

use super::plain;
use serde_json::Value;

/// The number at a JSON pointer.
#[must_use]
pub fn number(body: &Value, at: &str) -> String {
    let number = body.pointer(at).and_then(Value::as_i64);
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

/// The text at a JSON pointer, on one line.
#[must_use]
pub fn word(body: &Value, at: &str) -> Option<String> {
    body.pointer(at).and_then(Value::as_str).map(plain)
}

/// Dollars of the millionths at a JSON pointer.
#[must_use]
pub fn money(body: &Value, at: &str) -> String {
    let cents = body.pointer(at).and_then(Value::as_u64).map(|micros| micros.div_ceil(10_000));
    let shown = |cents: u64| format!("${}.{:02}", cents / 100, cents % 100);
    cents.map_or_else(|| "unknown".to_owned(), shown)
}

/// Seconds as people say them.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
