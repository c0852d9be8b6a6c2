//! Paths into JSON, as `$input.path('$.a[0]')` has them: members, places, and `*` for all of them.

use std::borrow::Cow;

use super::value::{self, Value};

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Member(String),
    Place(i64),
    All,
}

/// What is at a path; nothing if there is no such place, and a list if the path has `*`.
///
/// # Errors
/// It is no path, or has what is not served (filters, `..`, slices), in words.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Result<Cow<'a, Value>, String> {
    let steps = read(path)?;
    let mut found = vec![root];
    for step in &steps {
        found = match step {
            Step::Member(name) => found.into_iter().filter_map(|one| one.get(name)).collect(),
            Step::Place(index) => found.into_iter().filter_map(|one| at(one, *index)).collect(),
            Step::All => found.into_iter().flat_map(all).collect(),
        };
    }
    if steps.contains(&Step::All) {
        return Ok(Cow::Owned(Value::Array(found.into_iter().cloned().collect())));
    }
    Ok(found.first().map_or(Cow::Owned(Value::Null), |one| Cow::Borrowed(*one)))
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    items.get(value::place(&index.into(), items.len())?)
}

fn all(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn read(path: &str) -> Result<Vec<Step>, String> {
    let fault = || format!("`{path}` is no path that is served; write e.g. $.items[0].name");
    let mut rest = path.trim().strip_prefix('$').ok_or_else(fault)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = bracket(inner).ok_or_else(fault)?;
            steps.push(step);
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix('.').ok_or_else(fault)?;
        let length = inner.find(['.', '[']).unwrap_or(inner.len());
        let (name, after) = inner.split_at(length);
        match name {
            "" => return Err(fault()),
            "*" => steps.push(Step::All),
            name => steps.push(Step::Member(name.to_owned())),
        }
        rest = after;
    }
    Ok(steps)
}

/// What stands in brackets, and what follows them.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(quote) = text.chars().next().filter(|letter| matches!(letter, '\'' | '"')) {
        let (name, after) = text.get(1..)?.split_once(quote)?;
        return Some((Step::Member(name.to_owned()), after.strip_prefix(']')?));
    }
    let (inner, after) = text.split_once(']')?;
    let step = if inner.trim() == "*" { Step::All } else { Step::Place(inner.trim().parse().ok()?) };
    Some((step, after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_into_json() {
        let root = json!({"a": [{"b": 1}, {"b": 2}], "c d": {"e": null}});
        let check = |path: &str, expected: Value| {
            assert_eq!(find(&root, path).unwrap().into_owned(), expected, "{path}")
        };
        check("$", root.clone());
        check("$.a[0].b", json!(1));
        check("$.a[-1].b", json!(2));
        check("$['c d'].e", Value::Null);
        check("$.a[*].b", json!([1, 2]));
        check("$.a.*", json!([{"b": 1}, {"b": 2}]));
        check("$.gone.b", Value::Null);
        check("$.a[7]", Value::Null);
        for path in ["", "a", "$a", "$..b", "$.a[?(@.b)]", "$.a[", "$.a[1:2]", "$."] {
            assert!(find(&root, path).is_err(), "{path}");
        }
    }
}
