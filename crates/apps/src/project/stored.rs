//! Names of queues and buckets in the embedded store, which has fewer of them than AWS: two that become one are an error, as
//! messages and objects of one would be those of the other.

use std::collections::BTreeMap;

use ingle_types::spec::embedded_name;

use super::findings::{Findings, shortened};
use super::intrinsics::Evaluator;
use super::node::{Fault, Member};
use super::resources::Kind;
use super::{EventSource, ProjectFunction, QueueSubscription};

const QUEUE: &str = "queue";
const BUCKET: &str = "bucket";

/// Names at AWS, by kind and what they are in the store.
#[derive(Default)]
pub(super) struct Names(BTreeMap<(&'static str, String), String>);

impl Names {
    /// Those of the resources of a file.
    ///
    /// # Errors
    /// The file grows past its bounds.
    pub(super) fn of_resources(
        findings: &mut Findings,
        evaluator: &mut Evaluator<'_>,
        resources: &[Member],
    ) -> Result<Self, Fault> {
        let mut names = Self::default();
        for resource in resources {
            let (kind, word) = match Kind::of(&resource.value) {
                Some(kind @ Kind::Queue) => (kind, QUEUE),
                Some(kind @ Kind::Bucket) => (kind, BUCKET),
                _ => continue,
            };
            // A name that is not known was told where it is used.
            if let Ok(name) = evaluator.name(&resource.key, &resource.value, kind)? {
                names.check(findings, (word, &name), resource.line);
            }
        }
        Ok(names)
    }

    /// Leaves out functions and subscriptions that name what would be another's.
    pub(super) fn distinct(
        mut self,
        findings: &mut Findings,
        mut functions: Vec<ProjectFunction>,
        subscriptions: &mut Vec<QueueSubscription>,
    ) -> Vec<ProjectFunction> {
        functions.retain(|function| {
            let file = function.file.as_ref().map(|file| file.display().to_string());
            findings.function = Some(function.id.clone());
            let named = function.sources.iter().filter_map(|source| match source {
                EventSource::Queue(source) => Some(((QUEUE, source.queue.as_str()), source.line)),
                EventSource::Bucket(source) => Some(((BUCKET, source.bucket.as_str()), source.line)),
                EventSource::Http(_) | EventSource::Schedule(_) | EventSource::Topic(_) => None,
            });
            let mut are_all = true;
            for (named, line) in named {
                are_all &= findings.within(file.as_deref(), |findings| self.check(findings, named, line));
            }
            findings.function = None;
            are_all
        });
        subscriptions.retain(|one| self.check(findings, (QUEUE, &one.queue), one.line));
        functions
    }

    /// Whether no other name is the same in the store; with a finding if one is.
    fn check(&mut self, findings: &mut Findings, (kind, name): (&'static str, &str), line: u32) -> bool {
        let stored = embedded_name(name, kind);
        let other = self.0.entry((kind, stored)).or_insert_with(|| name.to_owned());
        if other == name {
            return true;
        }
        let what = format!("the {kind}s `{}` and `{}` are one here", shortened(other), shortened(name));
        let fix = "give one of them another name; case, what is no letter and no digit, and what follows 56 characters do not count";
        findings.wrong("E0116", line, what, fix);
        false
    }
}
