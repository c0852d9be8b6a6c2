//! Keys that callers of a route must show, and how much of the API each of them may use.
//!
//! Values are those of the project, or keys of its file of keys, of the scope `api`. A key of that file which the project does not name is
//! good for every route that asks for one, without limits; one that it names, for the APIs that name it. What was used is counted in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::header::HeaderName;
use http::request::Parts;
use ingle_store::keys::KeyText;
use ingle_types::usage::{ApiKey, Quota, Throttle, UsagePlan};
use tokio::time::Instant;

use super::answer::Refusal;
use crate::auth::Guard;

const HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// What a route asks for.
pub(super) struct Keys {
    guard: Guard,
    declared: Vec<(ApiKey, Option<KeyText>)>,
    project: Arc<OfProject>,
}

/// What the routes of all APIs of a project share, as plans are.
#[derive(Default)]
pub(super) struct OfProject {
    /// Of the keys that one of them declares, in small letters.
    names: BTreeSet<String>,
    meters: Meters,
}

/// What was used of each plan with each key.
#[derive(Default)]
struct Meters(Mutex<HashMap<(String, String), Meter>>);

/// Of one key in one plan.
#[derive(Clone, Copy, Default, Debug)]
struct Meter {
    /// Requests in the bucket, and when that was so; full before the first one.
    bucket: Option<(f64, Instant)>,
    /// The period of the quota, and requests in it.
    used: (i64, u64),
}

/// The key that a caller has shown: `requestContext.identity` of events. It travels with the request's head.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) key: String,
    pub(crate) name: String,
}

impl Shown {
    pub(crate) fn of(head: &Parts) -> Option<&Self> {
        head.extensions.get()
    }
}

impl OfProject {
    pub(super) fn new<'a>(declared: impl Iterator<Item = &'a ApiKey>) -> Self {
        let names = declared.map(|key| key.name.to_ascii_lowercase()).collect();
        Self { names, meters: Meters::default() }
    }
}

impl Keys {
    pub(super) fn new(guard: Guard, declared: &[ApiKey], project: Arc<OfProject>) -> Self {
        // A value that can't be a key opens nothing.
        let text = |key: &ApiKey| KeyText::chosen(key.value.as_deref()?).ok();
        let declared = declared.iter().map(|key| (key.clone(), text(key))).collect();
        Self { guard, declared, project }
    }

    /// Lets a request in that shows a key, and whose holder has not used up what its plan allows.
    pub(super) fn admit(&self, head: &Parts) -> Result<Shown, Refusal> {
        let shown = head.headers.get(HEADER).ok_or(Refusal::NoKey)?;
        // A value that is no text is a wrong key, and not no key.
        let shown = shown.to_str().unwrap_or_default();
        if let Some(wait) = self.guard.wait(head) {
            return Err(Refusal::Guessing { wait });
        }
        let (name, plan) = match self.given(shown) {
            Some(key) => (key.name.clone(), key.plan.as_ref()),
            None => self.of_file(head, shown)?,
        };
        if let Some(plan) = plan {
            self.project.meters.take(plan, &name, (Instant::now(), self.guard.clock().now()))?;
        }
        Ok(Shown { key: shown.to_owned(), name })
    }

    /// The key whose value stands in the project.
    fn given(&self, shown: &str) -> Option<&ApiKey> {
        let mut declared = self.declared.iter();
        let found = declared.find(|(_, text)| text.as_ref().is_some_and(|text| text.is(shown)));
        found.map(|(key, _)| key)
    }

    /// A key of the file: the name, and its plan at this route.
    fn of_file(&self, head: &Parts, shown: &str) -> Result<(String, Option<&UsagePlan>), Refusal> {
        let Some(name) = self.guard.api_key(shown) else {
            self.guard.failed(head);
            return Err(Refusal::NoKey);
        };
        let mut declared = self.declared.iter().map(|(key, _)| key);
        match declared.find(|key| key.value.is_none() && key.name.eq_ignore_ascii_case(&name)) {
            Some(key) => Ok((name, key.plan.as_ref())),
            // Of another API. A good key for something else is a mistake, not a guess.
            None if self.project.names.contains(&name.to_ascii_lowercase()) => Err(Refusal::NoKey),
            None => Ok((name, None)),
        }
    }
}

impl Meters {
    /// Counts a request, or says why it is one too many. Such a one is not counted.
    fn take(
        &self,
        plan: &UsagePlan,
        key: &str,
        (instant, now): (Instant, SystemTime),
    ) -> Result<(), Refusal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // There are as many as the project has keys.
        let meter = all.entry((plan.name.clone(), key.to_owned())).or_default();
        let bucket = plan.throttle.map(|throttle| meter.filled(throttle, instant));
        if bucket.is_some_and(|bucket| bucket < 1.0) {
            return Err(Refusal::Throttled);
        }
        let used = plan.quota.map(|quota| meter.used_in(&quota, now));
        if let (Some(quota), Some((_, count))) = (&plan.quota, used)
            && count >= quota.limit
        {
            return Err(Refusal::UsedUp);
        }
        meter.bucket = bucket.map(|bucket| (bucket - 1.0, instant));
        meter.used = used.map_or(meter.used, |(period, count)| (period, count + 1));
        Ok(())
    }
}

impl Meter {
    fn filled(&self, throttle: Throttle, now: Instant) -> f64 {
        let full = f64::from(throttle.burst);
        let Some((before, then)) = self.bucket else { return full };
        let since = now.saturating_duration_since(then).as_secs_f64();
        full.min(before + since * throttle.rate)
    }

    fn used_in(&self, quota: &Quota, now: SystemTime) -> (i64, u64) {
        let (period, count) = self.used;
        let current = quota.period(now);
        if period == current { (period, count) } else { (current, 0) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::Request;
    use ingle_store::keys::{KeyFile, KeyScope};
    use ingle_types::clock::SystemClock;
    use ingle_types::usage::Period;

    use super::*;

    const GIVEN: &str = "a-value-of-the-project";
    const DAY: Duration = Duration::from_secs(86_400);

    fn plan(throttle: Option<Throttle>, quota: Option<u64>) -> UsagePlan {
        let quota = quota.map(|limit| Quota { limit, period: Period::Day, offset: 0 });
        UsagePlan { name: "basic".to_owned(), throttle, quota }
    }

    #[test]
    fn a_plan_allows_so_fast_and_so_many() {
        let (meters, begin, now) = (Meters::default(), Instant::now(), UNIX_EPOCH + DAY * 20_000);
        let fast = plan(Some(Throttle { rate: 0.5, burst: 2 }), None);
        let at = |plan: &UsagePlan, key: &str, seconds: u64| {
            let since = Duration::from_secs(seconds);
            meters.take(plan, key, (begin + since, now + since))
        };
        assert_eq!((at(&fast, "a", 0), at(&fast, "a", 0)), (Ok(()), Ok(())));
        assert_eq!(at(&fast, "a", 0), Err(Refusal::Throttled));
        assert_eq!(at(&fast, "b", 0), Ok(()), "each key has its own");
        assert_eq!(at(&fast, "a", 1), Err(Refusal::Throttled));
        assert_eq!(at(&fast, "a", 2), Ok(()), "one more in two seconds");
        assert_eq!(at(&fast, "a", 2), Err(Refusal::Throttled));
        assert_eq!((at(&fast, "a", 1000), at(&fast, "a", 1000)), (Ok(()), Ok(())));
        assert_eq!(at(&fast, "a", 1000), Err(Refusal::Throttled), "the bucket holds two");

        let few = UsagePlan { name: "few".to_owned(), ..plan(None, Some(2)) };
        assert_eq!((at(&few, "a", 0), at(&few, "a", 0)), (Ok(()), Ok(())));
        assert_eq!(at(&few, "a", 86_399), Err(Refusal::UsedUp));
        assert_eq!(at(&few, "a", 86_400), Ok(()), "a new day");
        let none = UsagePlan { name: "none".to_owned(), ..plan(None, Some(0)) };
        assert_eq!(at(&none, "a", 0), Err(Refusal::UsedUp));
    }

    #[test]
    fn what_is_too_fast_is_not_counted() {
        let (meters, begin) = (Meters::default(), Instant::now());
        let both = plan(Some(Throttle { rate: 1.0, burst: 1 }), Some(2));
        let at = |seconds: u64| meters.take(&both, "a", (begin + Duration::from_secs(seconds), UNIX_EPOCH));
        assert_eq!((at(0), at(0), at(1)), (Ok(()), Err(Refusal::Throttled), Ok(())));
        assert_eq!(at(2), Err(Refusal::UsedUp));
    }

    fn key(name: &str, value: Option<&str>, plan: Option<UsagePlan>) -> ApiKey {
        ApiKey { name: name.to_owned(), value: value.map(str::to_owned), plan }
    }

    fn request(shown: Option<&str>) -> Parts {
        let request = shown.iter().fold(Request::get("/"), |request, shown| request.header(HEADER, *shown));
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check(keys: &Keys, shown: &str, expected: Result<&str, Refusal>) {
        let found = keys.admit(&request(Some(shown))).map(|shown| shown.name);
        assert_eq!(found, expected.map(str::to_owned));
    }

    /// Keys of callers with these names, and one for functions.
    fn file(folder: &tempfile::TempDir, names: &[&str]) -> (Guard, Vec<KeyText>) {
        let file = KeyFile::in_folder(folder.path());
        let made: Vec<_> = (0..=names.len()).map(|_| KeyText::random().unwrap()).collect();
        file.edit(|ring| {
            for (name, made) in names.iter().zip(&made) {
                ring.set(&KeyScope::Api, name, made, UNIX_EPOCH)?;
            }
            ring.set(&KeyScope::Host, "default", &made[names.len()], UNIX_EPOCH)
        })
        .unwrap();
        (Guard::new(false, file, Arc::new(SystemClock)), made)
    }

    #[test]
    fn a_key_is_one_of_the_project_or_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (guard, made) = file(&folder, &["partner", "by-hand"]);
        let declared = [key("given", Some(GIVEN), None), key("partner", None, Some(plan(None, Some(1))))];
        let keys = Keys::new(guard, &declared, Arc::new(OfProject::new(declared.iter())));
        check(&keys, GIVEN, Ok("given"));
        check(&keys, made[0].reveal(), Ok("partner"));
        check(&keys, made[0].reveal(), Err(Refusal::UsedUp));
        check(&keys, made[1].reveal(), Ok("by-hand"));
        check(&keys, made[1].reveal(), Ok("by-hand"));
        for wrong in [made[2].reveal(), "", "a-value-of-the-projec", "given"] {
            check(&keys, wrong, Err(Refusal::NoKey));
        }
        assert_eq!(keys.admit(&request(None)).err(), Some(Refusal::NoKey));
    }

    #[test]
    fn a_key_that_an_api_names_opens_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (guard, made) = file(&folder, &["aapikey", "shared", "by-hand", "given"]);
        let shared = || key("Shared", None, None);
        let (one, other) =
            ([key("AApiKey", None, None), shared()], [key("given", Some(GIVEN), None), shared()]);
        let project = Arc::new(OfProject::new(one.iter().chain(&other)));
        let keys = [one, other].map(|declared| Keys::new(guard.clone(), &declared, project.clone()));
        check(&keys[0], made[0].reveal(), Ok("aapikey"));
        check(&keys[1], made[0].reveal(), Err(Refusal::NoKey));
        for keys in &keys {
            check(keys, made[1].reveal(), Ok("shared"));
            check(keys, made[2].reveal(), Ok("by-hand"));
            check(keys, made[3].reveal(), Err(Refusal::NoKey));
        }
    }

    /// T-040.
    #[tokio::test(start_paused = true)]
    async fn whoever_tries_keys_out_has_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (guard, made) = file(&folder, &["of-another"]);
        let declared = [key("given", Some(GIVEN), None)];
        let other = [key("of-another", None, None)];
        let project = Arc::new(OfProject::new(declared.iter().chain(&other)));
        let keys = Keys::new(guard, &declared, project);
        for number in 0..20 {
            check(&keys, made[0].reveal(), Err(Refusal::NoKey));
            check(&keys, &format!("guess-{number}"), Err(Refusal::NoKey));
        }
        check(&keys, GIVEN, Err(Refusal::Guessing { wait: Duration::from_secs(3) }));
        assert_eq!(keys.admit(&request(None)).err(), Some(Refusal::NoKey));
        tokio::time::advance(Duration::from_secs(3)).await;
        check(&keys, GIVEN, Ok("given"));
    }
}
