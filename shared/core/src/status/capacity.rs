//! What an operator may ask of the capacity: a floor and a pause, each until a moment. They become
//! tags on the group.

use crate::scaling::{FLOOR_TAG, Override, Overrides, PAUSED_TAG};
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A wish ends by itself after this at the latest, so that nothing stays overridden because
/// somebody forgot.
const LONGEST_MINUTES: i64 = 7 * 24 * 60;

/// The body of `PUT /api/v1/admin/capacity`. A field that is left out stays as it is; null removes
/// the override.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityWish {
    #[serde(default, deserialize_with = "given")]
    floor: Option<Option<FloorWish>>,
    #[serde(default, deserialize_with = "given")]
    paused: Option<Option<PauseWish>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorWish {
    workers: u32,
    expires_at: Option<String>,
    for_minutes: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseWish {
    expires_at: Option<String>,
    for_minutes: Option<i64>,
}

/// Tells null from nothing: what is there at all is `Some`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

/// Why a wish is not granted: the field, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {wrong}")]
pub struct WishProblem {
    pub field: &'static str,
    pub wrong: String,
}

/// What is to become of one override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<T> {
    Keep,
    Remove,
    Set(Override<T>),
}

/// What is to become of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    pub floor: Change<u32>,
    pub paused: Change<bool>,
}

impl CapacityWish {
    /// Reads a body. Objects only: a list of values in the fields' order is no wish, although serde
    /// would take it for one.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(body: &[u8]) -> Result<CapacityWish, String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let fields = value.as_object().ok_or("it is no JSON object")?;
        for name in ["floor", "paused"] {
            if fields.get(name).is_some_and(|value| !value.is_object() && !value.is_null()) {
                return Err(format!("{name} is neither an object nor null"));
            }
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Checks the wish at `now`; `max` is the most workers that the fleet may have.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, max: u32, now: UnixMs) -> Result<Changes, WishProblem> {
        if self.floor.is_none() && self.paused.is_none() {
            return Err(WishProblem {
                field: "the body",
                wrong: "asks for nothing; give floor, paused or both, as an object to set it or null to remove it".to_owned(),
            });
        }
        let floor = match &self.floor {
            None => Change::Keep,
            Some(None) => Change::Remove,
            Some(Some(floor)) if floor.workers > max => {
                return Err(WishProblem {
                    field: "floor.workers",
                    wrong: format!(
                        "is {}, above the maximum of {max}; ask for at most {max}, or raise AUTOSCALE_MAX and the group's own maximum",
                        floor.workers
                    ),
                });
            }
            Some(Some(FloorWish { workers, expires_at, for_minutes })) => {
                let fields = ["floor.expires_at", "floor.for_minutes"];
                let until = until(fields, expires_at.as_deref(), *for_minutes, now)?;
                Change::Set(Override { value: *workers, until })
            }
        };
        let paused = match &self.paused {
            None => Change::Keep,
            Some(None) => Change::Remove,
            Some(Some(PauseWish { expires_at, for_minutes })) => {
                let fields = ["paused.expires_at", "paused.for_minutes"];
                let until = until(fields, expires_at.as_deref(), *for_minutes, now)?;
                Change::Set(Override { value: true, until })
            }
        };
        Ok(Changes { floor, paused })
    }
}

fn until(
    [at_field, for_field]: [&'static str; 2],
    expires_at: Option<&str>,
    for_minutes: Option<i64>,
    now: UnixMs,
) -> Result<UnixMs, WishProblem> {
    let wrong = |field, wrong: &str| Err(WishProblem { field, wrong: wrong.to_owned() });
    let until = match (expires_at, for_minutes) {
        (None, None) => {
            return wrong(at_field, "is missing; say when it ends, by expires_at or for_minutes");
        }
        (Some(_), Some(_)) => {
            return wrong(at_field, "and for_minutes both say when it ends; give one of them");
        }
        (Some(text), None) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => UnixMs(at.as_millisecond()).whole_seconds(),
            Err(_) => return wrong(at_field, "is no RFC 3339 moment such as 2026-11-24T08:00:00Z"),
        },
        (None, Some(minutes)) => {
            if !(1..=LONGEST_MINUTES).contains(&minutes) {
                return wrong(for_field, "has to be from 1 to 10080, which is 7 days");
            }
            UnixMs(now.0.saturating_add(minutes * 60_000)).whole_seconds()
        }
    };
    if until <= now {
        return wrong(at_field, "is over already; give a later moment, or null to remove it");
    }
    if until.since(now) > LONGEST_MINUTES * 60_000 {
        return wrong(at_field, "is more than 7 days ahead; give an earlier moment and renew it");
    }
    Ok(until)
}

impl Changes {
    /// Tags to write, and keys of tags to remove.
    #[must_use]
    pub fn tags(&self) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
        let (mut write, mut remove) = (Vec::new(), Vec::new());
        match self.floor {
            Change::Keep => {}
            Change::Remove => remove.push(FLOOR_TAG),
            Change::Set(floor) => write.push((FLOOR_TAG, floor.to_string())),
        }
        match self.paused {
            Change::Keep => {}
            Change::Remove => remove.push(PAUSED_TAG),
            Change::Set(paused) => write.push((PAUSED_TAG, paused.to_string())),
        }
        (write, remove)
    }

    /// The overrides in force once the changes are made.
    #[must_use]
    pub fn applied(&self, before: &Overrides) -> Overrides {
        fn change<T>(before: Option<Override<T>>, change: Change<T>) -> Option<Override<T>> {
            match change {
                Change::Keep => before,
                Change::Remove => None,
                Change::Set(wish) => Some(wish),
            }
        }
        Overrides {
            floor: change(before.floor, self.floor),
            paused: change(before.paused, self.paused),
            problems: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::Tag;
    use proptest::prelude::*;

    /// 2026-11-24T00:00:00.5Z
    const NOW: UnixMs = UnixMs(1_795_478_400_500);

    fn check(body: &str) -> Result<Changes, String> {
        CapacityWish::parse(body.as_bytes())?.check(10, NOW).map_err(|problem| problem.to_string())
    }

    fn tags(body: &str) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
        check(body).unwrap_or_else(|problem| panic!("{body}: {problem}")).tags()
    }

    #[test]
    fn a_wish_becomes_the_tag_that_the_scaling_reads() {
        let (write, remove) =
            tags(r#"{"floor":{"workers":5,"expires_at":"2026-11-24T08:00:00Z"}}"#);
        assert_eq!(write, [(FLOOR_TAG, "5@2026-11-24T08:00:00Z".to_owned())]);
        assert_eq!(remove, [""; 0]);
        let (write, remove) = tags(r#"{"floor":null,"paused":{"for_minutes":90}}"#);
        assert_eq!(write, [(PAUSED_TAG, "true@2026-11-24T01:30:00Z".to_owned())]);
        assert_eq!(remove, [FLOOR_TAG]);
        assert_eq!(tags(r#"{"paused":null}"#), (vec![], vec![PAUSED_TAG]));
    }

    #[test]
    fn every_bad_wish_names_its_field_and_the_fix() {
        for (body, says) in [
            ("{}", "the body asks for nothing"),
            (
                r#"{"floor":{"workers":11,"for_minutes":5}}"#,
                "floor.workers is 11, above the maximum of 10",
            ),
            (r#"{"floor":{"workers":-1,"for_minutes":5}}"#, "invalid value: integer `-1`"),
            (r#"{"floor":{"for_minutes":5}}"#, "missing field `workers`"),
            (r#"{"floor":{"workers":5}}"#, "floor.expires_at is missing"),
            (
                r#"{"floor":{"workers":5,"for_minutes":5,"expires_at":"2026-11-24T08:00:00Z"}}"#,
                "give one of them",
            ),
            (
                r#"{"floor":{"workers":5,"for_minutes":0}}"#,
                "floor.for_minutes has to be from 1 to 10080",
            ),
            (
                r#"{"floor":{"workers":5,"for_minutes":10081}}"#,
                "floor.for_minutes has to be from 1 to 10080",
            ),
            (r#"{"paused":{"expires_at":"tomorrow"}}"#, "paused.expires_at is no RFC 3339 moment"),
            (
                r#"{"paused":{"expires_at":"2026-11-24T00:00:00Z"}}"#,
                "paused.expires_at is over already",
            ),
            (
                r#"{"paused":{"expires_at":"2026-12-01T00:00:01Z"}}"#,
                "paused.expires_at is more than 7 days ahead",
            ),
            (r#"{"paused":{"for":5}}"#, "unknown field `for`"),
            (r#"{"pause":null}"#, "unknown field `pause`"),
            (r#"{"paused":true}"#, "paused is neither an object nor null"),
            (r#"{"floor":[5,null,60]}"#, "floor is neither an object nor null"),
            ("[null,null]", "it is no JSON object"),
        ] {
            let problem = check(body).expect_err(body);
            assert!(problem.contains(says), "{body}: {problem}");
        }
    }

    proptest! {
        /// Whatever is granted is read back by the scaling as just that, and is in force for at
        /// most 7 days.
        #[test]
        fn what_is_granted_is_what_the_scaling_reads(
            workers in 0_u32..=12,
            minutes in -5_i64..=10_090,
            now in 1_600_000_000_000_i64..=4_000_000_000_000,
        ) {
            let now = UnixMs(now);
            let body = format!(r#"{{"floor":{{"workers":{workers},"for_minutes":{minutes}}},"paused":null}}"#);
            let wish = CapacityWish::parse(body.as_bytes()).unwrap();
            let granted = wish.check(10, now);
            prop_assert_eq!(granted.is_ok(), workers <= 10 && (1..=10_080).contains(&minutes));
            if let Ok(changes) = granted {
                let tags: Vec<Tag> = changes.tags().0.into_iter()
                    .map(|(key, value)| Tag { key: key.to_owned(), value }).collect();
                let read = Overrides::read(&tags, now);
                prop_assert_eq!(&read, &changes.applied(&Overrides::default()));
                let floor = read.floor.unwrap();
                prop_assert_eq!(floor.value, workers);
                prop_assert!(floor.until > now && floor.until.since(now) <= 7 * 24 * 3_600_000);
            }
        }
    }
}
