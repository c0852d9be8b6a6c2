//! Where the names of a policy lead to, as the server sees it.
//!
//! An address is believed for a while after it was seen, as names with many addresses give others to each who asks:
//! what our relay has told a box may differ from what a lookup of our own says.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::place::plain;

/// How long an address of a lookup is believed.
const LOOKED_UP: Duration = Duration::from_secs(30);

/// How long an address that a box was told is believed: clients keep what they were told for a time of their own.
const TOLD: Duration = Duration::from_secs(300);

/// A name is looked up at most so often, whatever a box asks.
const AGAIN: Duration = Duration::from_secs(1);

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses believed of one name.
const ADDRESSES_MAX: usize = 1024;

pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a name.
pub type Lookup = Box<dyn Fn(&str) -> Looking + Send + Sync>;

/// The names that a policy has, and no others: so their number is bounded.
pub(super) struct Names {
    lookup: Lookup,
    known: HashMap<String, Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Until when each address is believed.
    addresses: HashMap<IpAddr, Instant>,
    looked_up: Option<Instant>,
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, lookup: Lookup) -> Self {
        Self { lookup, known: names.map(|name| (name.to_owned(), Mutex::default())).collect() }
    }

    /// Whether the name leads to the address. Those who ask about one name at once cause one lookup.
    pub(super) async fn leads_to(&self, name: &str, address: IpAddr) -> bool {
        let Some(known) = self.known.get(name) else { return false };
        let mut known = known.lock().await;
        if known.believes(address) {
            return true;
        }
        if known.looked_up.is_some_and(|before| before.elapsed() < AGAIN) {
            return false;
        }
        let found = timeout(LOOKUP_TIMEOUT, (self.lookup)(name)).await;
        known.looked_up = Some(Instant::now());
        // What is not found leads nowhere; the box sees that it may not connect, which is the safe side.
        known.learn(&found.unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default(), LOOKED_UP);
        known.believes(address)
    }

    /// A box has been told these addresses of a name.
    pub(super) async fn learn(&self, name: &str, addresses: &[IpAddr]) {
        if let Some(known) = self.known.get(name) {
            known.lock().await.learn(addresses, TOLD);
        }
    }
}

impl Known {
    fn believes(&self, address: IpAddr) -> bool {
        self.addresses.get(&address).is_some_and(|until| Instant::now() < *until)
    }

    fn learn(&mut self, addresses: &[IpAddr], time: Duration) {
        let now = Instant::now();
        self.addresses.retain(|_, until| now < *until);
        for address in addresses {
            if self.addresses.len() < ADDRESSES_MAX {
                let until = self.addresses.entry(plain(*address)).or_insert(now);
                *until = (*until).max(now + time);
            }
        }
    }
}

/// Asks the system, as every program on this machine would.
pub(super) fn lookup_of_the_system() -> Lookup {
    Box::new(|name| {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives another address each time it is asked, and counts how often that is.
    fn rotating() -> (Names, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let lookup: Lookup = Box::new(move |_| {
            let last = u8::try_from(counter.fetch_add(1, Ordering::Relaxed)).unwrap();
            Box::pin(async move { Ok(vec![IpAddr::from([192, 0, 2, last])]) })
        });
        (Names::new(["a.example"].into_iter(), lookup), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_believed_for_a_while_and_a_name_asked_about_rarely() {
        let (names, asked) = rotating();
        let address = |last| IpAddr::from([192, 0, 2, last]);
        assert!(names.leads_to("a.example", address(0)).await);
        assert!(!names.leads_to("a.example", address(1)).await, "it was looked up just now");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(AGAIN).await;
        assert!(names.leads_to("a.example", address(1)).await);
        assert!(names.leads_to("a.example", address(0)).await, "both are addresses of it");
        tokio::time::advance(LOOKED_UP).await;
        assert!(!names.leads_to("a.example", address(0)).await);
        assert!(!names.leads_to("b.example", address(0)).await);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_box_was_told_is_believed_longer() {
        let (names, asked) = rotating();
        let told = IpAddr::from([198, 51, 100, 1]);
        names.learn("a.example", &[told]).await;
        names.learn("b.example", &[told]).await;
        tokio::time::advance(LOOKED_UP * 2).await;
        assert!(names.leads_to("a.example", told).await);
        assert!(!names.leads_to("b.example", told).await, "it is no name of the policy");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_does_not_end_leads_nowhere() {
        let lookup: Lookup = Box::new(|_| Box::pin(std::future::pending()));
        let names = Names::new(["a.example"].into_iter(), lookup);
        assert!(!names.leads_to("a.example", IpAddr::from([192, 0, 2, 1])).await);
    }
}
