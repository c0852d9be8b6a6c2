//! A container and a server that is killed at any time: each version is told of once, and the last one always.

use std::collections::BTreeMap;

use ingle_types::account::Account;
use ingle_types::blob::BlobPattern;
use ingle_types::spec::DataType;
use proptest::prelude::*;

use super::*;

fn trigger(pattern: &str) -> BlobTrigger {
    BlobTrigger {
        container: "images".to_owned(),
        account: Account::Embedded,
        pattern: BlobPattern::parse(pattern).unwrap(),
        data_type: DataType::Undefined,
        as_file: false,
    }
}

fn blob(name: &str, etag: u32, modified_s: i64) -> Listed {
    Listed { name: name.to_owned(), etag: format!("\"{etag}\""), modified_s }
}

/// Lists everything in one page.
fn scan(place: &mut Place, now_s: i64, blobs: &[Listed], trigger: &BlobTrigger) -> Vec<String> {
    place.begin(now_s);
    let news = place.news(blobs, trigger);
    place.go_on(None);
    news.into_iter().map(|blob| format!("{} {}", blob.name, blob.etag)).collect()
}

#[test]
fn each_version_is_told_of_once() {
    let (trigger, mut place) = (trigger("{name}.txt"), Place::default());
    let old = blob("a.txt", 1, 0);
    assert_eq!(scan(&mut place, 10_000, &[old.clone(), blob("a.png", 1, 0)], &trigger), ["a.txt \"1\""]);
    assert!(place.told.is_empty(), "what is old needs no memory");
    assert!(scan(&mut place, 10_010, std::slice::from_ref(&old), &trigger).is_empty());
    // Changed twice within a second.
    assert_eq!(scan(&mut place, 10_020, &[blob("a.txt", 2, 10_015)], &trigger), ["a.txt \"2\""]);
    assert_eq!(scan(&mut place, 10_020, &[blob("a.txt", 3, 10_015)], &trigger), ["a.txt \"3\""]);
    assert!(scan(&mut place, 20_000, &[blob("a.txt", 3, 10_015)], &trigger).is_empty());
    assert!(place.told.is_empty());
}

#[test]
fn a_blob_that_shows_late_is_not_missed() {
    let (trigger, mut place) = (trigger(""), Place::default());
    assert!(scan(&mut place, 1000, &[], &trigger).is_empty());
    assert_eq!(scan(&mut place, 1050, &[blob("late", 1, 950)], &trigger), ["late \"1\""]);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    /// Time goes on, in seconds.
    Pass(u16),
    /// List with pages of so many, and save where there is news.
    Scan(u8),
    /// The server is killed after so many pages of a list.
    Crash(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..12).prop_map(Step::Put),
        2 => (0_u16..300).prop_map(Step::Pass),
        2 => (1_u8..5).prop_map(Step::Scan),
        2 => (1_u8..5, 0_u8..4).prop_map(|(size, pages)| Step::Crash(size, pages)),
    ]
}

struct World {
    now_s: i64,
    versions: u32,
    container: BTreeMap<String, Listed>,
    /// What the store has: it changes together with what was told.
    saved: Place,
    place: Place,
    told: Vec<(String, String)>,
}

impl World {
    fn scan(&mut self, page_size: u8, pages_max: Option<u8>) {
        let trigger = trigger("");
        for page in 0.. {
            if pages_max.is_some_and(|most| page >= most) {
                return;
            }
            self.place.begin(self.now_s);
            let after = self.place.marker.clone().unwrap_or_default();
            let size = usize::from(page_size);
            let rest: Vec<Listed> =
                self.container.values().filter(|blob| blob.name > after).take(size).cloned().collect();
            let last = rest.last().map(|blob| blob.name.clone());
            let is_last = self.container.keys().filter(|name| **name > after).count() <= size;
            let news = self.place.news(&rest, &trigger);
            self.place.go_on(last.filter(|_| !is_last));
            if !news.is_empty() {
                self.saved = self.place.clone();
                self.told.extend(news.into_iter().map(|blob| (blob.name, blob.etag)));
            }
            if self.place.marker.is_none() {
                return;
            }
        }
    }
}

proptest! {
    #[test]
    fn none_is_missed_and_none_told_twice(steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World {
            now_s: 1_000_000,
            versions: 0,
            container: BTreeMap::new(),
            saved: Place::default(),
            place: Place::default(),
            told: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Put(name) => {
                    world.versions += 1;
                    let name = format!("{name:02}");
                    let put = blob(&name, world.versions, world.now_s);
                    world.container.insert(name, put);
                }
                Step::Pass(seconds) => world.now_s += i64::from(seconds),
                Step::Scan(page_size) => world.scan(page_size, None),
                Step::Crash(page_size, pages) => {
                    world.scan(page_size, Some(pages));
                    world.place = world.saved.clone();
                }
            }
        }
        world.scan(3, None);
        world.scan(3, None);
        let mut told = world.told.clone();
        told.sort();
        let count = told.len();
        told.dedup();
        prop_assert_eq!(told.len(), count, "told twice");
        for blob in world.container.values() {
            prop_assert!(told.contains(&(blob.name.clone(), blob.etag.clone())), "{:?} was missed", blob);
        }
    }
}
