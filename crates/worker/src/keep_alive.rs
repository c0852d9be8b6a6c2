//! How long to keep a worker without work, from the gaps between events that were seen.
//!
//! Gaps are counted in a histogram, whose range is that of the times to choose from. Shorter ones are not counted: they
//! are covered anyway, and a burst of a thousand calls should weigh no more than one. Longer ones are counted apart, as
//! no time covers them. The time chosen is the shortest that covers 95 of 100 gaps within the range; if most are beyond
//! it, waiting buys little, and the shortest time is taken. From there it grows to the longest gap that was seen, as far
//! as that costs no more than a tenth of worker time on top: so an app with steady work is not sent away for the few
//! gaps that are longer than most. (After the histogram policy in "Serverless in the Wild",
//! Shahrad and others, USENIX ATC 2020, without its prediction of the next event: a start takes us a millisecond.)

use std::time::Duration;

/// The shortest time that is chosen.
pub const IDLE_MIN: Duration = Duration::from_secs(10);
/// The longest time that is chosen.
pub const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Buckets for each doubling, so that a bound is at most a fifth longer than the gaps in its bucket.
const BUCKETS_PER_DOUBLING: f64 = 4.0;
/// 360, the ratio of the bounds, is eight doublings and a half.
const BUCKETS: usize = 34;
/// Fewer gaps tell nothing yet.
const GAPS_MIN: u32 = 8;
/// With so many, all counts are halved: an app's habits change, and old ones should fade.
const GAPS_MAX: u32 = 256;
const COVERED_PERCENT: u32 = 95;
/// What covering more may cost, as a part of the worker time.
const COST_MORE: f64 = 0.1;

/// The gaps of one app.
#[derive(Clone, Debug)]
pub struct Gaps {
    counts: [u32; BUCKETS],
    /// Longer than [`IDLE_MAX`].
    beyond: u32,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], beyond: 0 }
    }
}

impl Gaps {
    /// Counts the time between the end of work and the next event.
    pub fn observe(&mut self, gap: Duration) {
        if gap < IDLE_MIN {
            return;
        }
        if gap > IDLE_MAX {
            self.beyond += 1;
        } else if let Some(count) = (0..BUCKETS).find(|index| gap <= bound(*index)) {
            self.counts[count] += 1;
        }
        if self.within() + self.beyond >= GAPS_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.beyond /= 2;
        }
    }

    /// How long to keep a worker; `fallback` as long as too few gaps were seen.
    pub fn idle_timeout(&self, fallback: Duration) -> Duration {
        let within = self.within();
        if within + self.beyond < GAPS_MIN {
            return fallback;
        }
        // Of a time that covers nothing.
        let mut chosen = IDLE_MIN;
        let mut acceptable = f64::from(within + self.beyond) * IDLE_MIN.as_secs_f64() * (1.0 + COST_MORE);
        let mut covers_most = within < self.beyond;
        let (mut covered, mut cost_of_covered) = (0, 0.0);
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let time = bound(index);
            covered += count;
            cost_of_covered += f64::from(*count) * time.as_secs_f64();
            // Each gap that is not covered costs the whole time for nothing.
            let left = f64::from(within + self.beyond - covered);
            let cost = cost_of_covered + left * time.as_secs_f64();
            if !covers_most {
                chosen = time;
                acceptable = cost * (1.0 + COST_MORE);
                covers_most = covered * 100 >= within * COVERED_PERCENT;
            } else if cost <= acceptable {
                chosen = time;
            }
        }
        chosen
    }

    fn within(&self) -> u32 {
        self.counts.iter().sum()
    }
}

/// The longest gap of a bucket.
fn bound(index: usize) -> Duration {
    let doublings = (index + 1) as f64 / BUCKETS_PER_DOUBLING;
    IDLE_MIN.mul_f64(doublings.exp2()).min(IDLE_MAX)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
