//! Which instances were proven idle at the last tick, and since when, in few bytes.

use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Instances that are remembered. Each takes four characters.
const REMEMBERED: usize = 600;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Idle instances by the first of the unbroken ticks that proved it, longest first. Of each a
/// hash of 24 bits is kept: two instances of one hash would at worst be confirmed by one reading
/// instead of two, and each reading is a proof by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(UnixMs, String)>", into = "Vec<(UnixMs, String)>")]
pub struct IdleMemory(Vec<(UnixMs, Vec<u32>)>);

impl IdleMemory {
    /// Since when each instance is idle, by its hash.
    pub(super) fn index(&self) -> BTreeMap<u32, UnixMs> {
        self.0.iter().flat_map(|(at, list)| list.iter().map(|hash| (*hash, *at))).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, list)| list.len()).sum()
    }

    /// Forgets the last half of those that have been idle for the shortest time.
    pub(super) fn shorten(&mut self) {
        let Some((_, last)) = self.0.last_mut() else { return };
        last.truncate(last.len() / 2);
        if last.is_empty() {
            self.0.pop();
        }
    }
}

/// Keeps those that have been idle for the longest time.
impl<'a> FromIterator<(&'a InstanceId, UnixMs)> for IdleMemory {
    fn from_iter<T: IntoIterator<Item = (&'a InstanceId, UnixMs)>>(idle: T) -> Self {
        let mut all: Vec<(UnixMs, u32)> =
            idle.into_iter().map(|(instance, since)| (since, hash(instance))).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(REMEMBERED);
        let mut groups: Vec<(UnixMs, Vec<u32>)> = Vec::new();
        for (since, hash) in all {
            match groups.last_mut().filter(|(at, _)| *at == since) {
                Some((_, list)) => list.push(hash),
                None => groups.push((since, vec![hash])),
            }
        }
        IdleMemory(groups)
    }
}

/// FNV-1a, folded to 24 bits.
pub(super) fn hash(instance: &InstanceId) -> u32 {
    let hash = instance
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 24) ^ (hash & 0x00ff_ffff)
}

impl From<Vec<(UnixMs, String)>> for IdleMemory {
    fn from(groups: Vec<(UnixMs, String)>) -> Self {
        let digit = |byte: &u8| DIGITS.iter().position(|known| known == byte);
        let read = |four: &[u8]| {
            four.iter()
                .try_fold(0_u32, |hash, byte| Some((hash << 6) | u32::try_from(digit(byte)?).ok()?))
        };
        let group = |text: String| text.as_bytes().chunks_exact(4).filter_map(read).collect();
        IdleMemory(groups.into_iter().map(|(at, text)| (at, group(text))).collect())
    }
}

impl From<IdleMemory> for Vec<(UnixMs, String)> {
    fn from(memory: IdleMemory) -> Self {
        let digits = |hash: u32| {
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[((hash >> shift) & 63) as usize]))
        };
        let text = |list: Vec<u32>| list.into_iter().flat_map(digits).collect();
        memory.0.into_iter().map(|(at, list)| (at, text(list))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> InstanceId {
        InstanceId::new(format!("i-{n:017x}"))
    }

    #[test]
    fn six_hundred_idle_instances_take_four_characters_each_and_are_found_again() {
        let ids: Vec<InstanceId> = (0..1_000).map(id).collect();
        let since = |n: usize| UnixMs(1_764_000_000_000 + i64::try_from(n / 100).unwrap() * 1_000);
        let memory: IdleMemory = ids.iter().enumerate().map(|(n, id)| (id, since(n))).collect();
        assert_eq!(memory.len(), REMEMBERED);
        let text = serde_json::to_string(&memory).unwrap();
        assert!(text.len() < 4 * REMEMBERED + 200, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<IdleMemory>(&text).unwrap(), memory);
        let index = memory.index();
        for (n, id) in ids.iter().enumerate().take(REMEMBERED) {
            assert_eq!(index.get(&hash(id)), Some(&since(n)), "{id}");
        }
    }

    #[test]
    fn rubbish_in_it_is_nobody() {
        let memory: IdleMemory = serde_json::from_str(r#"[[5,"ab"],[6,"+/+/AAAB"]]"#).unwrap();
        assert_eq!(memory.index(), BTreeMap::from([(1, UnixMs(6))]));
    }
}
