//! How often one address may show a wrong key (T-040, T-047).
//!
//! Each address has a number of tries that come back with time. The table is bounded: when it is full, whoever failed
//! longest ago is forgotten, who is also the one with most tries back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Wrong keys in a row before an address has to wait.
const TRIES_MAX: u32 = 20;
/// After this long one more try is there.
const TRY_EVERY: Duration = Duration::from_secs(3);
/// Addresses that are remembered; about 400 KB.
const ADDRESSES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// When an address has all its tries back. The further away, the fewer it has.
    full_at: HashMap<IpAddr, Instant>,
}

impl Limiter {
    /// How long this address has to wait before a key of it is looked at; `None`: not at all.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let missing = self.full_at.get(&network(address))?.checked_duration_since(now)?;
        let allowed = TRY_EVERY * (TRIES_MAX - 1);
        missing.checked_sub(allowed).filter(|wait| !wait.is_zero())
    }

    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        if self.full_at.len() >= ADDRESSES_MAX && !self.full_at.contains_key(&address) {
            self.make_room(now);
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        *full_at = (*full_at).max(now) + TRY_EVERY;
    }

    fn make_room(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= ADDRESSES_MAX {
            let least = self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(address, _)| *address);
            if let Some(address) = least {
                self.full_at.remove(&address);
            }
        }
    }
}

/// Whoever has an IPv6 address has all of its /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// T-047.
    #[test]
    fn after_twenty_wrong_keys_one_more_in_three_seconds() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let one = address("192.0.2.1");
        for _ in 0..20 {
            assert_eq!(limiter.wait(one, start), None);
            limiter.failed(one, start);
        }
        assert_eq!(limiter.wait(one, start), Some(TRY_EVERY));
        assert_eq!(limiter.wait(address("::ffff:192.0.2.1"), start), Some(TRY_EVERY));
        assert_eq!(limiter.wait(address("192.0.2.2"), start), None);
        let later = start + TRY_EVERY;
        assert_eq!(limiter.wait(one, later), None);
        limiter.failed(one, later);
        assert_eq!(limiter.wait(one, later), Some(TRY_EVERY));
        assert_eq!(limiter.wait(one, later + TRY_EVERY * 60), None);
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for host in 0..20 {
            limiter.failed(address(&format!("2001:db8::{host:x}")), now);
        }
        assert!(limiter.wait(address("2001:db8::ffff"), now).is_some());
        assert!(limiter.wait(address("2001:db8:0:1::1"), now).is_none());
    }

    /// T-047: memory stays bounded, and whoever hammers is remembered.
    #[test]
    fn the_table_is_bounded() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let hammer = address("203.0.113.9");
        for _ in 0..30 {
            limiter.failed(hammer, now);
        }
        for number in 0..5_000_u32 {
            limiter.failed(IpAddr::V4(number.into()), now);
        }
        assert_eq!(limiter.full_at.len(), ADDRESSES_MAX);
        assert!(limiter.wait(hammer, now).is_some());
    }
}
