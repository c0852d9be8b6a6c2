//! What can go wrong between a binding and its service.

use crate::account::fault::Fault;
use crate::foreign::RETRY_AFTER;
use ingle_types::expression::ExpressionError;
use ingle_types::filter::FilterError;
use ingle_types::outcome::{Blame, Failure};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("binding '{binding}'")]
    Expression { binding: String, source: ExpressionError },
    #[error("output '{binding}' can't take this value: {problem}")]
    Value { binding: String, problem: String },
    #[error("input '{binding}' can't be read")]
    Input { binding: String, source: ingle_store::Error },
    #[error("the filter of input '{binding}' can't be read as {text:?}")]
    Filter { binding: String, text: String, source: FilterError },
    #[error("binding '{binding}': `{path}` is no path of a blob: {problem}")]
    BlobPath { binding: String, path: String, problem: &'static str },
    #[error("binding '{binding}': {action}")]
    Account {
        binding: String,
        /// What could not be done, with the name of the connection.
        action: String,
        #[source]
        fault: Fault,
    },
    #[error("output '{binding}': {target} has an entity {partition_key}/{row_key} already")]
    EntityExists { binding: String, target: String, partition_key: String, row_key: String },
    #[error("queue '{queue}' is no valid name for a queue: {problem}")]
    QueueName { queue: String, problem: &'static str },
    #[error(
        "what the function returned for messages of queue '{queue}' can't be followed, so all of them come again: {problem}"
    )]
    BatchAnswer { queue: String, problem: String },
}

impl Error {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expression { .. } => "E0307",
            Self::Value { .. } => "E0305",
            Self::Input { source, .. } => source.code(),
            Self::Filter { .. } => "E0417",
            Self::Account { fault, .. } if fault.is_unreachable() => "E0430",
            Self::Account { .. } => "E0431",
            Self::EntityExists { .. } => "E0418",
            Self::QueueName { .. } => "E0228",
            Self::BatchAnswer { .. } => "E0317",
            Self::BlobPath { .. } => "E0420",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Account { fault, .. } if fault.is_unreachable() => Blame::Platform,
            Self::Account { .. }
            | Self::EntityExists { .. }
            | Self::Expression { .. }
            | Self::Value { .. }
            | Self::QueueName { .. }
            | Self::BatchAnswer { .. }
            | Self::BlobPath { .. }
            | Self::Filter { .. } => Blame::App,
            Self::Input { source, .. } => source.blame(),
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Expression { .. } => {
                Some("use a name that the trigger's data has, e.g. a property of the message".to_owned())
            }
            Self::Account { fault, .. } if fault.is_unreachable() => {
                Some("see that the account, or Azurite, can be reached; it is tried again".to_owned())
            }
            Self::Account { .. } => Some(
                "see what the connection's key or signature allows, and that the names are right".to_owned(),
            ),
            Self::EntityExists { .. } => Some("give each entity a RowKey of its own".to_owned()),
            Self::Value { .. } => None,
            Self::Filter { .. } => Some("docs/tables.md describes what a filter can say".to_owned()),
            Self::Input { source, .. } => source.hint(),
            Self::BatchAnswer { .. } => Some(
                "return {\"batchItemFailures\": [{\"itemIdentifier\": record[\"messageId\"]}]} with the records that failed".to_owned(),
            ),
            Self::BlobPath { .. } => {
                Some("write container/name, the container with small letters".to_owned())
            }
            Self::QueueName { .. } => {
                Some("3 to 63 lower-case letters, digits and single dashes, not at its ends".to_owned())
            }
        }
    }

    /// The same, as the end of an invocation.
    pub fn failure(&self) -> Failure {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let mut failure = Failure::new(self.blame(), self.code(), "BindingError", message);
        failure.hint = self.hint();
        if let Self::Account { fault, .. } = self
            && fault.is_unreachable()
        {
            // No event's doing: it does not bring a message nearer to its poison queue.
            failure.bystander = true;
            failure.retry_after = Some(RETRY_AFTER);
        }
        failure
    }
}
