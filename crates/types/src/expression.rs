//! Binding expressions (facts 5.3): `%SETTING%` is filled in when the app is read, `{name}` when an event
//! arrives.

/// A property with `{…}` expressions in it, parsed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Literal(String),
    /// Path into the binding data: `{a.b}` is `["a", "b"]`.
    Expression { path: Vec<String>, format: Option<String> },
}

impl Template {
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}
