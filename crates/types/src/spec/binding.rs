//! Inputs and outputs besides the trigger.

use crate::account::Account;
use crate::expression::Template;
use crate::spec::DataType;

/// An input or output besides the trigger.
#[derive(Clone, Debug)]
pub struct BindingSpec {
    /// The Python parameter, or `$return`.
    pub name: String,
    pub kind: BindingKind,
    pub data_type: DataType,
    /// Where its data are; embedded for kinds that know no account.
    pub account: Account,
}

#[derive(Clone, Debug)]
pub enum BindingKind {
    /// The HTTP response.
    HttpOutput,
    QueueOutput {
        queue: Template,
    },
    DocumentInput(DocumentInput),
    DocumentOutput(DocumentOutput),
    BlobInput {
        /// `container/name`, with expressions.
        path: Template,
        /// The function gets the path of a local file instead of the content.
        as_file: bool,
    },
    BlobOutput {
        path: Template,
    },
    TableInput(TableInput),
    TableOutput {
        table: Template,
        partition_key: Option<Template>,
        row_key: Option<Template>,
    },
}

impl BindingKind {
    /// What an output writes to, for screens; `None` for inputs and the HTTP response.
    pub fn output_target(&self) -> Option<String> {
        match self {
            Self::QueueOutput { queue } => Some(format!("queue {queue}")),
            Self::DocumentOutput(output) => {
                Some(format!("documents {}/{}", output.database, output.container))
            }
            Self::BlobOutput { path } => Some(format!("blob {path}")),
            Self::TableOutput { table, .. } => Some(format!("table {table}")),
            Self::HttpOutput | Self::DocumentInput(_) | Self::BlobInput { .. } | Self::TableInput(_) => None,
        }
    }

    pub fn is_output(&self) -> bool {
        match self {
            Self::HttpOutput
            | Self::QueueOutput { .. }
            | Self::DocumentOutput(_)
            | Self::BlobOutput { .. }
            | Self::TableOutput { .. } => true,
            Self::DocumentInput(_) | Self::BlobInput { .. } | Self::TableInput(_) => false,
        }
    }
}

/// `cosmosDB` with direction `in`: by id and partition key, or by query.
#[derive(Clone, Debug)]
pub struct DocumentInput {
    pub database: Template,
    pub container: Template,
    pub id: Option<Template>,
    pub partition_key: Option<Template>,
    /// `{name}` in it becomes a query parameter, never part of the text.
    pub sql_query: Option<Template>,
}

/// `cosmosDB` with direction `out`: upserts.
#[derive(Clone, Debug)]
pub struct DocumentOutput {
    pub database: Template,
    pub container: Template,
    /// Path of the partition key for a container that does not exist yet, e.g. `/customer`; `/id` if absent.
    pub partition_key_path: Option<String>,
}

/// `table` with direction `in`: one entity by keys, or those that a filter selects.
#[derive(Clone, Debug)]
pub struct TableInput {
    pub table: Template,
    pub partition_key: Option<Template>,
    pub row_key: Option<Template>,
    pub filter: Option<Template>,
    pub take: Option<u32>,
}
