//! What a person asked for, as tags on the group: `ghosthands:floor = 3@2026-11-24T08:00:00Z`,
//! `ghosthands:paused = true@…`.
//!
//! Tags show in the console, cost no extra call and need no table. Each carries its own expiry, so
//! nothing stays overridden because somebody forgot. A tag that cannot be read is named and forbids
//! scaling in: somebody wanted something, and we do not know what.

use super::observation::Tag;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// All our tags begin with this; a key with it that is none of ours is a misspelling.
pub(super) const TAG_PREFIX: &str = "ghosthands:";
pub const FLOOR_TAG: &str = "ghosthands:floor";
pub const PAUSED_TAG: &str = "ghosthands:paused";

/// A wish that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override<T> {
    pub value: T,
    pub until: UnixMs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Not fewer workers than this.
    pub floor: Option<Override<u32>>,
    /// While true, capacity is not touched.
    pub paused: Option<Override<bool>>,
    /// Tags that could not be read, one sentence each.
    pub problems: Vec<String>,
}

/// As the tag's value.
impl<T: fmt::Display> fmt::Display for Override<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.value, self.until)
    }
}

impl Overrides {
    /// Reads the tags; those past their expiry at `now` count as absent.
    #[must_use]
    pub fn read(tags: &[Tag], now: UnixMs) -> Overrides {
        let mut overrides = Overrides::default();
        for tag in tags.iter().filter(|tag| tag.key.starts_with(TAG_PREFIX)) {
            let outcome = match tag.key.as_str() {
                FLOOR_TAG => {
                    parse(&tag.value, "a whole number of workers", |v| v.parse::<u32>().ok())
                        .map(|floor| overrides.floor = in_force(floor, now))
                }
                PAUSED_TAG => parse(&tag.value, "true or false", |v| v.parse::<bool>().ok())
                    .map(|paused| overrides.paused = in_force(paused, now)),
                _ => Err(format!("this tag is not known; known are {FLOOR_TAG} and {PAUSED_TAG}")),
            };
            if let Err(problem) = outcome {
                overrides.problems.push(format!("tag {}={:?}: {problem}", tag.key, tag.value));
            }
        }
        overrides
    }

    /// Until when capacity is not to be touched.
    #[must_use]
    pub fn paused_until(&self) -> Option<UnixMs> {
        self.paused.filter(|paused| paused.value).map(|paused| paused.until)
    }
}

fn in_force<T>(wish: Override<T>, now: UnixMs) -> Option<Override<T>> {
    (wish.until > now).then_some(wish)
}

fn parse<T>(
    text: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Override<T>, String> {
    let (value, until) = text
        .split_once('@')
        .ok_or_else(|| "write it as value@expiry, for example 3@2026-11-24T08:00:00Z".to_owned())?;
    let value = read(value).ok_or_else(|| format!("{value:?} is not {expected}"))?;
    let until: jiff::Timestamp = until
        .parse()
        .map_err(|_| format!("{until:?} is not an RFC 3339 moment such as 2026-11-24T08:00:00Z"))?;
    Ok(Override { value, until: UnixMs(until.as_millisecond()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-23T12:00:00Z";

    fn read(pairs: &[(&str, &str)], now: &str) -> Overrides {
        let tags: Vec<Tag> =
            pairs.iter().map(|(k, v)| Tag { key: (*k).into(), value: (*v).into() }).collect();
        let now: jiff::Timestamp = now.parse().expect("a timestamp");
        Overrides::read(&tags, UnixMs(now.as_millisecond()))
    }

    #[test]
    fn a_wish_counts_until_its_expiry_and_not_a_millisecond_longer() {
        let tags =
            [(FLOOR_TAG, "3@2026-11-23T12:00:00Z"), (PAUSED_TAG, "true@2026-11-23T13:00:00+01:00")];
        let before = read(&tags, "2026-11-23T11:59:59.999Z");
        assert_eq!(before.floor.map(|f| f.value), Some(3));
        assert!(before.paused_until().is_some());
        let at = read(&tags, NOON);
        assert_eq!((at.floor, at.paused, at.problems.len()), (None, None, 0));
    }

    #[test]
    fn every_unreadable_tag_is_named_with_the_fix() {
        let tags = [
            (FLOOR_TAG, "lots@2026-11-23T12:00:00Z"),
            (FLOOR_TAG, "-1@2026-11-23T12:00:00Z"),
            (FLOOR_TAG, "3"),
            (PAUSED_TAG, "yes@2026-11-23T12:00:00Z"),
            (PAUSED_TAG, "true@tomorrow"),
            ("ghosthands:flor", "3@2026-11-23T12:00:00Z"),
        ];
        for (key, value) in tags {
            let overrides = read(&[(key, value)], "2026-11-23T11:00:00Z");
            assert_eq!(overrides.problems.len(), 1, "{key}={value}");
            assert!(overrides.problems[0].contains(key), "{}", overrides.problems[0]);
            assert_eq!((overrides.floor, overrides.paused), (None, None));
        }
        assert_eq!(read(&tags, NOON).problems.len(), tags.len(), "all at once");
    }

    #[test]
    fn other_peoples_tags_are_left_alone() {
        assert_eq!(read(&[("Name", "worker"), ("floor", "x")], NOON), Overrides::default());
    }
}
