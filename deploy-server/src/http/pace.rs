//! How often one address is answered: callers in a hurry wait for their turn, and nobody else does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An address is answered this often, once it has used what it saved.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(1);
/// What it may have saved: so many answers come at once.
const SAVED: Duration = Duration::from_secs(1);
/// Addresses that are remembered before those that are owed nothing are forgotten.
const REMEMBERED: usize = 512;

/// When each address's next turn is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Mutex<HashMap<IpAddr, Instant>>,
}

impl Pace {
    /// Waits until it is this address's turn.
    pub(super) async fn turn(&self, address: IpAddr) {
        let now = Instant::now();
        let wait = self.book(address, now);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the next turn of the address, and returns how long it is until then.
    fn book(&self, address: IpAddr, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() >= REMEMBERED {
            next.retain(|_, turn| *turn + SAVED > now);
        }
        let earliest = now.checked_sub(SAVED).unwrap_or(now);
        let turn = next.entry(of_one_caller(address)).or_insert(earliest);
        *turn = (*turn).max(earliest) + BETWEEN_ANSWERS;
        turn.saturating_duration_since(now)
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
pub(super) fn of_one_caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, SAVED, of_one_caller};
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    #[test]
    fn a_flood_from_one_address_waits_and_another_address_does_not() {
        let pace = Pace::default();
        // Far enough from the clock's beginning, which may be the machine's start.
        let now = Instant::now() + 10 * SAVED;
        let flood: IpAddr = "10.0.0.1".parse().unwrap();
        let waits: Vec<Duration> = (0..5000).map(|_| pace.book(flood, now)).collect();
        assert!(waits[..900].iter().all(Duration::is_zero), "what was saved is answered at once");
        assert!(waits[4999] >= Duration::from_secs(3), "{:?}", waits[4999]);
        assert!(pace.book("10.0.0.2".parse().unwrap(), now).is_zero());
        // A while later it has caught up.
        assert!(pace.book(flood, now + 10 * SAVED).is_zero());
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller() {
        let one = |text: &str| of_one_caller(text.parse().unwrap());
        assert_eq!(one("2001:db8::1"), one("2001:db8::ffff:1"));
        assert_ne!(one("2001:db8::1"), one("2001:db8:0:1::1"));
        assert_eq!(one("::ffff:10.0.0.1"), one("10.0.0.1"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pace = Pace::default();
        let now = Instant::now() + 10 * SAVED;
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            pace.book(address, now + SAVED * number);
        }
        assert!(pace.next.lock().unwrap().len() <= super::REMEMBERED);
    }
}
