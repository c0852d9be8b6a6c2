//! Which lines of the log are shown: `logging.logLevel` of host.json, by category.
//!
//! Categories are those of Azure: `Function.<name>.User` for what a function says, `Function.<name>` for the line about
//! each invocation, `Worker` for what the app says outside of invocations, `Host` for the rest. A rule is for every
//! category that begins with it, in any case; the longest one counts. `*` stands for anything, once (.NET,
//! `LoggerFilterOptions`).

use std::collections::BTreeMap;

use crate::log::LogLevel;

/// The least level that is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Threshold {
    Trace,
    Debug,
    Information,
    Warning,
    Error,
    Critical,
    None,
}

impl Threshold {
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Information, Self::Warning, Self::Error, Self::Critical, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "Trace",
            Self::Debug => "Debug",
            Self::Information => "Information",
            Self::Warning => "Warning",
            Self::Error => "Error",
            Self::Critical => "Critical",
            Self::None => "None",
        }
    }

    /// Whether a line of this level is shown.
    pub fn lets_through(self, level: LogLevel) -> bool {
        let least = match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Information,
            LogLevel::Warning => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Critical => Self::Critical,
        };
        self <= least
    }
}

impl std::str::FromStr for Threshold {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// The rule for every category without one.
pub const DEFAULT_CATEGORY: &str = "default";
/// What the app says while no invocation is in work.
pub const WORKER: &str = "Worker";

/// Rules, those of the app and those that an administrator has put over them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLevels {
    app: Vec<(String, Threshold)>,
    over: BTreeMap<String, Threshold>,
    /// `PYTHON_ENABLE_DEBUG_LOGGING`.
    is_debugging: bool,
}

impl LogLevels {
    /// The rules of host.json, and whether the app's settings ask for debug lines of Python. What has no rule then shows
    /// them.
    pub fn set_app(&mut self, rules: &[(String, String)], is_debugging: bool) {
        let parsed =
            rules.iter().filter_map(|(category, level)| Some((category.clone(), level.parse().ok()?)));
        self.app = parsed.collect();
        self.is_debugging = is_debugging;
    }

    /// Puts a rule over those of the app, or takes it away.
    pub fn set_over(&mut self, category: &str, level: Option<Threshold>) {
        self.over.retain(|known, _| !known.eq_ignore_ascii_case(category));
        self.over.extend(level.map(|level| (category.to_owned(), level)));
    }

    pub fn forget_over(&mut self) {
        self.over.clear();
    }

    /// Rules with their levels; whether one was put over the app's.
    pub fn rules(&self) -> impl Iterator<Item = (&str, Threshold, bool)> {
        let over = self.over.iter().map(|(category, level)| (category.as_str(), *level, true));
        let is_covered = |category: &str| self.over.keys().any(|known| known.eq_ignore_ascii_case(category));
        let app = self.app.iter().filter(move |(category, _)| !is_covered(category));
        over.chain(app.map(|(category, level)| (category.as_str(), *level, false)))
    }

    /// The least level that is shown of a category.
    pub fn threshold(&self, category: &str) -> Threshold {
        let fitting = self.rules().filter(|(rule, _, _)| fits(rule, category));
        let best = fitting.max_by_key(|(rule, _, is_over)| (rule.len(), *is_over));
        let default = || self.rules().find(|(rule, _, _)| rule.eq_ignore_ascii_case(DEFAULT_CATEGORY));
        match best.or_else(default) {
            Some((_, level, _)) => level,
            None if self.is_debugging => Threshold::Debug,
            None => Threshold::Information,
        }
    }

    pub fn shows(&self, category: &str, level: LogLevel) -> bool {
        self.threshold(category).lets_through(level)
    }

    /// Whether Python has to hand over its debug lines at all: the app asks for them, or somebody who put a rule over
    /// the app's does.
    pub fn wants_debug_lines(&self) -> bool {
        self.is_debugging || self.over.values().any(|level| *level <= Threshold::Debug)
    }
}

fn fits(rule: &str, category: &str) -> bool {
    let (head, tail) = rule.split_once('*').unwrap_or((rule, ""));
    let begins = category.get(..head.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(head));
    let rest = category.get(head.len()..).unwrap_or_default();
    let end = rest.len().checked_sub(tail.len()).and_then(|from| rest.get(from..));
    begins && end.is_some_and(|end| end.eq_ignore_ascii_case(tail)) && !rule.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(rules: &[(&str, &str)], is_debugging: bool) -> LogLevels {
        let mut levels = LogLevels::default();
        let rules: Vec<(String, String)> =
            rules.iter().map(|(category, level)| ((*category).to_owned(), (*level).to_owned())).collect();
        levels.set_app(&rules, is_debugging);
        levels
    }

    #[test]
    fn the_longest_rule_counts() {
        let levels = levels(
            &[
                ("default", "Warning"),
                ("Function", "Error"),
                ("Function.order", "none"),
                ("function.Order.User", "Trace"),
                ("Function.*.User", "Critical"),
            ],
            false,
        );
        let check = |category: &str, expected| assert_eq!(levels.threshold(category), expected, "{category}");
        check("Worker", Threshold::Warning);
        check("Host.Startup", Threshold::Warning);
        check("Function.kitchen", Threshold::Error);
        check("Function.order", Threshold::None);
        check("Function.order.User", Threshold::Trace);
        check("Function.kitchen.User", Threshold::Critical);
        // As in .NET, a rule is a prefix of text, not of names.
        check("Function.order2", Threshold::None);
        assert!(!levels.shows("Function.order", LogLevel::Critical));
        assert!(levels.shows("Function.order.User", LogLevel::Debug));
    }

    #[test]
    fn without_rules_information_is_shown_and_debug_lines_if_the_app_asks_for_them() {
        let check = |levels: LogLevels, expected| {
            assert_eq!(levels.threshold("Function.a.User"), expected);
            levels.wants_debug_lines()
        };
        assert!(!check(levels(&[], false), Threshold::Information));
        assert!(check(levels(&[], true), Threshold::Debug));
        assert!(check(levels(&[("Function", "Error")], true), Threshold::Error));
    }

    #[test]
    fn s_045_a_rule_can_be_put_over_and_taken_away_again() {
        let mut levels = levels(&[("Function.a", "Error")], false);
        let check = |levels: &LogLevels, expected| {
            assert_eq!(levels.threshold("Function.a.User"), expected);
            levels.wants_debug_lines()
        };
        levels.set_over("function.A", Some(Threshold::Debug));
        assert!(check(&levels, Threshold::Debug));
        levels.set_over("Function.a.User", Some(Threshold::Warning));
        check(&levels, Threshold::Warning);
        // What the app says anew does not take it away.
        levels.set_app(&[], false);
        check(&levels, Threshold::Warning);
        levels.set_over("FUNCTION.A.USER", None);
        check(&levels, Threshold::Debug);
        levels.forget_over();
        assert!(!check(&levels, Threshold::Information));
    }
}
