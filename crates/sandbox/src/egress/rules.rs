//! A policy with what it needs to know of the world: where names lead to, and which addresses are this machine's.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::names::{Lookup, Names, lookup_of_the_system};
use super::place::plain;
use super::policy::{Decision, Judgement, Policy, Target};

/// How old the list of this machine's addresses may be. Networks come and go, e.g. those of containers.
const OWN_ADDRESSES_AGE: Duration = Duration::from_secs(5);

type ReadAddresses = Box<dyn Fn() -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Decides about each connection of a box; its supervisor and its relay share one.
pub struct Rules {
    policy: Policy,
    names: Names,
    read_addresses: ReadAddresses,
    own: Mutex<Option<OwnAddresses>>,
}

struct OwnAddresses {
    addresses: HashSet<IpAddr>,
    read: Instant,
}

impl Rules {
    /// Rules of a policy on this machine, with the lookup of its system.
    pub fn new(policy: Policy) -> Self {
        Self::with(policy, lookup_of_the_system(), Box::new(super::interfaces::addresses))
    }

    /// Rules of a policy in a world that is described by the caller.
    pub fn with(policy: Policy, lookup: Lookup, read_addresses: ReadAddresses) -> Self {
        let names = Names::new(policy.targets().iter().filter_map(Target::name), lookup);
        Self { policy, names, read_addresses, own: Mutex::new(None) }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides about the address that a connection would really go to; what name it came from is of no interest.
    pub async fn decide(&self, address: SocketAddr) -> Decision {
        let (names, reason) = match self.policy.judge(address, &self.own_addresses()) {
            Judgement::Settled(decision) => return decision,
            Judgement::IfNamed(names, reason) => (names, reason),
        };
        for name in names {
            if self.names.leads_to(name, plain(address.ip())).await {
                return Decision::Host;
            }
        }
        Decision::Denied(reason)
    }

    /// A box has been told these addresses of a listed name.
    pub(super) async fn learn(&self, name: &str, addresses: &[IpAddr]) {
        self.names.learn(name, addresses).await;
    }

    /// Only the policy that has exceptions for this machine has to know its addresses.
    fn own_addresses(&self) -> HashSet<IpAddr> {
        if !matches!(self.policy, Policy::Public { .. }) {
            return HashSet::new();
        }
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.as_ref().is_none_or(|own| own.read.elapsed() >= OWN_ADDRESSES_AGE) {
            // If they can't be read, those of before are better than none.
            if let Ok(addresses) = (self.read_addresses)() {
                let addresses = addresses.into_iter().map(plain).collect();
                *own = Some(OwnAddresses { addresses, read: Instant::now() });
            }
        }
        own.as_ref().map(|own| own.addresses.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rules").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::policy::Reason;
    use super::*;

    fn rules(policy: Policy, found: &'static [&'static str], own: Arc<Mutex<Vec<IpAddr>>>) -> Rules {
        let lookup: Lookup = Box::new(move |_| {
            Box::pin(async move { Ok(found.iter().map(|text| text.parse().unwrap()).collect()) })
        });
        Rules::with(policy, lookup, Box::new(move || Ok(own.lock().unwrap().clone())))
    }

    async fn check(rules: &Rules, address: &str, expected: Decision) {
        assert_eq!(rules.decide(address.parse().unwrap()).await, expected, "{address}");
    }

    /// T-051: a name is compared by where it leads to now, at connect.
    #[tokio::test(start_paused = true)]
    async fn a_listed_name_allows_its_addresses_but_not_touchy_ones() {
        let target = Target::parse("db.internal:5432").unwrap();
        let found = &["10.0.0.5", "::ffff:203.0.113.9", "169.254.169.254", "127.0.0.1"];
        let rules = rules(Policy::Only(vec![target]), found, Arc::default());
        check(&rules, "10.0.0.5:5432", Decision::Host).await;
        check(&rules, "203.0.113.9:5432", Decision::Host).await;
        check(&rules, "[::ffff:10.0.0.5]:5432", Decision::Host).await;
        check(&rules, "10.0.0.5:5433", Decision::Denied(Reason::NotListed)).await;
        check(&rules, "10.0.0.6:5432", Decision::Denied(Reason::NotListed)).await;
        check(&rules, "169.254.169.254:5432", Decision::Denied(Reason::NotListed)).await;
        check(&rules, "127.0.0.1:5432", Decision::Box).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_the_machine_are_read_again() {
        let own = Arc::new(Mutex::new(vec![]));
        let rules = rules(Policy::Public { also: Vec::new() }, &[], Arc::clone(&own));
        check(&rules, "203.0.113.9:80", Decision::Host).await;
        own.lock().unwrap().push("203.0.113.9".parse().unwrap());
        tokio::time::advance(OWN_ADDRESSES_AGE).await;
        check(&rules, "203.0.113.9:80", Decision::Denied(Reason::OwnAddress)).await;
    }
}
