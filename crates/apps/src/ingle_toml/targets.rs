//! `[function]` and `[openwhisk]`: which function of a folder serves, where its own files leave that open.

use serde::Deserialize;
use toml::Spanned;

use super::Reader;
use crate::functions_framework::{FunctionTarget, SIGNATURES};
use crate::openwhisk;

/// What the file names; `None` for a table that is not there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Targets {
    pub(crate) function: Option<FunctionTarget>,
    pub(crate) openwhisk: Option<openwhisk::Action>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    target: Option<String>,
    source: Option<String>,
    signature: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    file: Option<String>,
    main: Option<String>,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    exec: bool,
}

impl Reader<'_> {
    pub(super) fn targets(&mut self, function: Option<Function>, action: Option<Action>) -> Targets {
        "function".clone_into(&mut self.table);
        let signature = |text: &str| SIGNATURES.contains(&text).then(|| text.to_owned());
        let allowed = "\"http\", \"cloudevent\", \"event\" or \"typed\"";
        let function = function.map(|function| FunctionTarget {
            target: function.target,
            source: function.source,
            signature: self.converted("signature", function.signature, signature, allowed),
        });
        let openwhisk =
            action.map(|Action { file, main, raw, exec }| openwhisk::Action { file, main, raw, exec });
        Targets { function, openwhisk }
    }
}
