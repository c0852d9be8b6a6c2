//! Keys that callers of a route must show, and how much of the API each of them may use.
//!
//! Values are those of the project, or keys of its file of keys, of the scope `api`. A key of that file which the project does not name is
//! good for every route that asks for one, without limits. What was used is counted in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::HeaderMap;
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
    meters: Arc<Meters>,
}

/// What was used of each plan with each key.
#[derive(Default)]
pub(super) struct Meters(Mutex<HashMap<(String, String), Meter>>);

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

impl Keys {
    pub(super) fn new(guard: Guard, declared: &[ApiKey], meters: Arc<Meters>) -> Self {
        // A value that can't be a key opens nothing.
        let text = |key: &ApiKey| KeyText::chosen(key.value.as_deref()?).ok();
        let declared = declared.iter().map(|key| (key.clone(), text(key))).collect();
        Self { guard, declared, meters }
    }

    /// Lets a request in that shows a key, and whose holder has not used up what its plan allows.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Shown, Refusal> {
        let shown = headers.get(HEADER).and_then(|value| value.to_str().ok()).ok_or(Refusal::NoKey)?;
        let given = self.declared.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.is(shown)));
        let (name, plan) = match given {
            Some((key, _)) => (key.name.clone(), key.plan.as_ref()),
            None => {
                let name = self.guard.api_key(shown).ok_or(Refusal::NoKey)?;
                let of_name =
                    |(key, _): &&(ApiKey, _)| key.value.is_none() && key.name.eq_ignore_ascii_case(&name);
                let plan = self.declared.iter().find(of_name).and_then(|(key, _)| key.plan.as_ref());
                (name, plan)
            }
        };
        if let Some(plan) = plan {
            self.meters.take(plan, &name, (Instant::now(), self.guard.clock().now()))?;
        }
        Ok(Shown { key: shown.to_owned(), name })
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

    use http::HeaderValue;
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

    #[test]
    fn a_key_is_one_of_the_project_or_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(folder.path());
        let made = KeyText::random().unwrap();
        let other = KeyText::random().unwrap();
        let host = KeyText::random().unwrap();
        file.edit(|ring| {
            ring.set(&KeyScope::Api, "partner", &made, UNIX_EPOCH)?;
            ring.set(&KeyScope::Api, "by-hand", &other, UNIX_EPOCH)?;
            ring.set(&KeyScope::Host, "default", &host, UNIX_EPOCH)
        })
        .unwrap();
        let guard = Guard::new(false, file, Arc::new(SystemClock));
        let limited = plan(None, Some(1));
        let declared = [
            ApiKey { name: "given".to_owned(), value: Some(GIVEN.to_owned()), plan: None },
            ApiKey { name: "partner".to_owned(), value: None, plan: Some(limited) },
        ];
        let keys = Keys::new(guard, &declared, Arc::default());
        let check = |shown: &str, expected: Result<&str, Refusal>| {
            let headers = HeaderMap::from_iter([(HEADER, HeaderValue::try_from(shown).unwrap())]);
            let found = keys.admit(&headers).map(|shown| shown.name);
            assert_eq!(found, expected.map(str::to_owned));
        };
        check(GIVEN, Ok("given"));
        check(made.reveal(), Ok("partner"));
        check(made.reveal(), Err(Refusal::UsedUp));
        check(other.reveal(), Ok("by-hand"));
        check(other.reveal(), Ok("by-hand"));
        for wrong in [host.reveal(), "", "a-value-of-the-projec", "given"] {
            check(wrong, Err(Refusal::NoKey));
        }
        assert_eq!(keys.admit(&HeaderMap::new()).err(), Some(Refusal::NoKey));
    }
}
