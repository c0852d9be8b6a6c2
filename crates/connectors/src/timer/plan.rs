//! What one timer does next, as a pure function of its state and the wall clock.
//!
//! An occurrence is *late* if it could not be started within [`ON_TIME`], or if it was found past when the listener
//! started: nothing ran, the machine slept, the clock was set forward, or the function itself was still running. The
//! catch-up policy says what becomes of late ones. The state only ever moves forward, so setting the clock back brings
//! no occurrence a second time; setting it back by more than a day is taken for the correction of a wrong clock.

use std::time::{Duration, SystemTime};

use ingle_types::schedule::ScheduleStatus;
use ingle_types::spec::{CatchUp, TimerTrigger};

use super::stored::Stored;

/// What starts within this time after its occurrence is on time: each occurrence of its own, whatever the policy.
pub(crate) const ON_TIME: Duration = Duration::from_secs(10);
/// A state that is further in the future than this was written by a wrong clock.
pub(crate) const CLOCK_SET_BACK: Duration = Duration::from_secs(24 * 3600);

/// How far a timer has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The latest occurrence that is done.
    pub(crate) last: Option<SystemTime>,
    /// The earliest one that is not; `None` after the end of the calendar.
    pub(crate) next: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OnTime,
    /// Stands for itself (policy `all`) or for all that passed (policy `one`).
    Late,
    /// Not an occurrence of the schedule: `runOnStartup`.
    Startup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) time: SystemTime,
    pub(crate) kind: Kind,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Run(Occurrence),
    WaitUntil(SystemTime),
    /// The schedule has come to its end.
    Never,
}

/// One timer.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) trigger: TimerTrigger,
    pub(crate) state: State,
    catch_up: CatchUp,
    /// What is past is late, however short the time.
    found_late: bool,
    run_on_startup: bool,
}

impl Plan {
    /// Starts from what is stored. If the schedule has changed since, or the timer is not monitored, it starts from
    /// now, though never before what is done.
    pub(crate) fn open(
        trigger: TimerTrigger,
        stored: Option<&Stored>,
        now: SystemTime,
        catch_up: CatchUp,
    ) -> Self {
        let stored = stored.filter(|stored| !is_ahead(stored.state.last, now));
        let state = match stored {
            Some(stored) if trigger.use_monitor && stored.is_for(&trigger) => stored.state,
            _ => {
                let last = stored.and_then(|stored| stored.state.last);
                let from = last.map_or(whole_seconds(now), |last| last.max(whole_seconds(now)));
                State { last, next: trigger.schedule.next_after(from, trigger.zone) }
            }
        };
        let found_late = state.next.is_some_and(|next| next <= now);
        let run_on_startup = trigger.run_on_startup;
        Self { trigger, state, catch_up, found_late, run_on_startup }
    }

    /// What to do at `now`. Passing over late occurrences moves the state.
    pub(crate) fn step(&mut self, now: SystemTime) -> Step {
        if let Some(occurrence) = self.due(now) {
            return Step::Run(occurrence);
        }
        if self.run_on_startup {
            return Step::Run(Occurrence { time: whole_seconds(now), kind: Kind::Startup });
        }
        self.state.next.map_or(Step::Never, Step::WaitUntil)
    }

    fn due(&mut self, now: SystemTime) -> Option<Occurrence> {
        let next = self.state.next.filter(|next| *next <= now)?;
        let is_late = self.found_late || now.duration_since(next).unwrap_or_default() > ON_TIME;
        if !is_late {
            return Some(Occurrence { time: next, kind: Kind::OnTime });
        }
        let time = match self.catch_up {
            CatchUp::All => next,
            CatchUp::One => self.trigger.schedule.last_until(next, now, self.trigger.zone),
            CatchUp::None => {
                self.found_late = false;
                let last = self.trigger.schedule.last_until(next, now, self.trigger.zone);
                self.state.next = self.trigger.schedule.next_after(last, self.trigger.zone);
                return None;
            }
        };
        Some(Occurrence { time, kind: Kind::Late })
    }

    /// The state when the occurrence is done; what is committed together with its outputs.
    pub(crate) fn after(&self, occurrence: Occurrence) -> State {
        let next = match occurrence.kind {
            Kind::Startup => self.state.next,
            Kind::OnTime | Kind::Late => self.trigger.schedule.next_after(occurrence.time, self.trigger.zone),
        };
        State { last: Some(occurrence.time), next }
    }

    /// The occurrence is done, whichever way it ended.
    pub(crate) fn done(&mut self, occurrence: Occurrence, now: SystemTime) {
        self.state = self.after(occurrence);
        // A later run covers what `runOnStartup` asks for.
        self.run_on_startup = false;
        // With `all`, everything up to now is as late as the first one was; with `one`, it has been caught up with.
        self.found_late &= self.catch_up == CatchUp::All && self.state.next.is_some_and(|next| next <= now);
        if is_ahead(self.state.last, now) {
            self.start_anew(now);
        }
    }

    /// Forgets what was planned by a clock that was wrong.
    pub(crate) fn start_anew(&mut self, now: SystemTime) {
        let next = self.trigger.schedule.next_after(whole_seconds(now), self.trigger.zone);
        self.state = State { last: None, next };
    }

    /// What the function is told of its schedule; `None` if it is not monitored.
    pub(crate) fn status(&self, occurrence: Occurrence, now: SystemTime) -> Option<ScheduleStatus> {
        self.trigger.use_monitor.then(|| ScheduleStatus {
            last: self.state.last,
            next: self.after(occurrence).next,
            updated: now,
        })
    }
}

fn is_ahead(last: Option<SystemTime>, now: SystemTime) -> bool {
    last.is_some_and(|last| last > now + CLOCK_SET_BACK)
}

/// Occurrences have whole seconds, those of intervals too.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
