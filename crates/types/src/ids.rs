//! Names and identifiers, one type each, so that one can't be passed for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// Name of a function, unique in its app without regard to case. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Takes the name as the app spells it; [`crate::spec`] validates it before.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// One request to run one function with one event. Shown as `inv_` and 32 hex digits; user code sees the
/// same value as a hyphenated UUID (`context.invocation_id`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvocationId(Uuid);

impl InvocationId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// As it was written down before.
    pub fn of(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The hyphenated form that user code and Azure's tools know.
    pub fn uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inv_{}", self.0.simple())
    }
}

impl fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for InvocationId {
    type Err = uuid::Error;

    /// Reads `inv_…` as well as a plain UUID.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text.strip_prefix("inv_").unwrap_or(text)).map(Self)
    }
}

/// Number of a worker process, unique while the server runs; shown as `wrk_7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrk_{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_id_reads_back_in_both_spellings() {
        let id = InvocationId::random();
        assert_eq!(id.to_string().parse::<InvocationId>().unwrap(), id);
        assert_eq!(id.uuid().to_string().parse::<InvocationId>().unwrap(), id);
        assert!("inv_xyz".parse::<InvocationId>().is_err());
    }
}
