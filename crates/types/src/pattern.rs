//! Patterns over JSON: what has to be in an event for somebody to want it.
//!
//! The language is that of Amazon EventBridge ("Comparison operators for use in event patterns in Amazon EventBridge"), which filters of
//! Lambda's event sources and filter policies of SNS speak, too. A pattern has the shape of what it is about, with a list of conditions
//! in the place of each value: `{"store": ["books", {"prefix": "mu"}], "price": [{"numeric": [">", 0, "<=", 10]}]}`. All members have to
//! be met, each by one of its conditions. It is read once, and whatever is not known then is an error.

use serde_json::{Map, Value};

/// A pattern that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Pattern {
    rules: Vec<Rule>,
}

/// Whether members of what a pattern is about may have members themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Flat,
    Nested,
}

#[derive(Clone, PartialEq, Debug)]
enum Rule {
    /// A value of this member meets one of the conditions.
    Member { name: String, conditions: Vec<Condition> },
    /// The members of this member are so.
    Within { name: String, rules: Vec<Rule> },
    /// One of these lists holds.
    Either(Vec<Vec<Rule>>),
}

#[derive(Clone, PartialEq, Debug)]
enum Condition {
    Equal(Value),
    Exists(bool),
    Text {
        part: Part,
        text: String,
        ignores_case: bool,
    },
    /// The texts between the stars.
    Wildcard(Vec<String>),
    Numeric(Vec<(Comparison, f64)>),
    /// It meets none of these.
    AnythingBut(Vec<Condition>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Beginning,
    End,
    Whole,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OR: &str = "$or";
const IGNORING_CASE: &str = "equals-ignore-case";
/// Deeper than patterns may be.
const DEPTH_MAX: usize = 16;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What of it is not known, in words.
    pub fn new(pattern: &Value, shape: Shape) -> Result<Self, String> {
        let pattern = pattern.as_object().ok_or("it is no JSON object")?;
        Ok(Self { rules: rules(pattern, shape, 0)? })
    }

    /// Whether this is what the pattern describes. Values in a list count each for itself.
    pub fn matches(&self, data: &Map<String, Value>) -> bool {
        all(&self.rules, data)
    }
}

fn rules(pattern: &Map<String, Value>, shape: Shape, depth: usize) -> Result<Vec<Rule>, String> {
    if depth > DEPTH_MAX {
        return Err(format!("it is more than {DEPTH_MAX} deep"));
    }
    let rule = |(name, wanted): (&String, &Value)| match wanted {
        Value::Array(patterns) if name == OR => {
            let one = |pattern: &Value| {
                let pattern = pattern.as_object().ok_or("`$or` has no list of patterns")?;
                rules(pattern, shape, depth + 1)
            };
            Ok(Rule::Either(patterns.iter().map(one).collect::<Result<_, String>>()?))
        }
        Value::Array(wanted) if !wanted.is_empty() => {
            let conditions = wanted.iter().map(condition).collect::<Result<_, String>>();
            let conditions = conditions.map_err(|what| format!("`{name}`: {what}"))?;
            Ok(Rule::Member { name: name.clone(), conditions })
        }
        Value::Object(inner) if shape == Shape::Nested => {
            Ok(Rule::Within { name: name.clone(), rules: rules(inner, shape, depth + 1)? })
        }
        _ => Err(format!("`{name}` has no list of conditions")),
    };
    pattern.iter().map(rule).collect()
}

fn condition(wanted: &Value) -> Result<Condition, String> {
    let operators = match wanted {
        Value::Object(operators) => operators,
        Value::Array(_) => return Err("a list stands in a list of conditions".to_owned()),
        plain => return Ok(Condition::Equal(plain.clone())),
    };
    let mut members = operators.iter();
    let (Some((operator, operand)), None) = (members.next(), members.next()) else {
        return Err(format!("a condition has one operator, and not {}", operators.len()));
    };
    let known = match operator.as_str() {
        "exists" => operand.as_bool().map(Condition::Exists),
        "numeric" => comparisons(operand).map(Condition::Numeric),
        "anything-but" => but(operand),
        _ => match text_condition(operator, operand) {
            Some(known) => known,
            None => return Err(format!("the operator `{operator}` is not known")),
        },
    };
    known.ok_or_else(|| format!("what `{operator}` compares with is not known"))
}

/// A condition on a text; the outer none is for an operator that is none of these.
fn text_condition(operator: &str, operand: &Value) -> Option<Option<Condition>> {
    let part = match operator {
        "prefix" => Part::Beginning,
        "suffix" => Part::End,
        IGNORING_CASE => Part::Whole,
        "wildcard" => return Some(operand.as_str().and_then(between_stars).map(Condition::Wildcard)),
        _ => return None,
    };
    // `{"prefix": {"equals-ignore-case": "mu"}}`.
    let inner = operand.get(IGNORING_CASE).filter(|_| part != Part::Whole);
    let ignores_case = inner.is_some() || part == Part::Whole;
    let text = inner.unwrap_or(operand).as_str();
    Some(text.map(|text| Condition::Text { part, text: folded(text, ignores_case), ignores_case }))
}

/// What stands behind `anything-but`: values, or texts with an operator.
fn but(operand: &Value) -> Option<Condition> {
    let each = |operand: &Value, one: &dyn Fn(&Value) -> Option<Condition>| match operand {
        Value::Array(operands) if operands.is_empty() => None,
        Value::Array(operands) => operands.iter().map(one).collect::<Option<Vec<_>>>(),
        operand => one(operand).map(|one| vec![one]),
    };
    let others = match operand {
        Value::Object(operators) if operators.len() == 1 => {
            let (operator, operands) = operators.iter().next()?;
            each(operands, &|operand| text_condition(operator, operand).flatten())
        }
        Value::Object(_) | Value::Null => None,
        values => each(values, &|value| {
            (value.is_string() || value.is_number()).then(|| Condition::Equal(value.clone()))
        }),
    };
    others.map(Condition::AnythingBut)
}

/// `[">", 0, "<=", 10]` as pairs.
fn comparisons(operand: &Value) -> Option<Vec<(Comparison, f64)>> {
    let pair = |pair: &[Value]| {
        let [operator, number] = pair else { return None };
        let comparison = match operator.as_str()? {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        Some((comparison, number.as_f64()?))
    };
    let pairs = operand.as_array()?.chunks(2).map(pair).collect::<Option<Vec<_>>>()?;
    Some(pairs).filter(|pairs| !pairs.is_empty())
}

/// `a*b\*c` as `a` and `b*c`; `None` for two stars in a row, which EventBridge refuses, or a backslash before something else.
fn between_stars(pattern: &str) -> Option<Vec<String>> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.peek() == Some(&'*') => return None,
            '*' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(letters.next().filter(|next| matches!(next, '*' | '\\'))?),
            other => part.push(other),
        }
    }
    parts.push(part);
    Some(parts)
}

fn all(rules: &[Rule], data: &Map<String, Value>) -> bool {
    rules.iter().all(|rule| match rule {
        Rule::Member { name, conditions } => {
            let mut values = Vec::new();
            collect(data.get(name), &mut values);
            conditions.iter().any(|condition| match condition {
                Condition::Exists(exists) => *exists != values.is_empty(),
                other => values.iter().any(|value| meets(other, value)),
            })
        }
        Rule::Within { name, rules } => match data.get(name) {
            // What is not there may be what is asked for.
            None => all(rules, &Map::new()),
            Some(Value::Object(found)) => all(rules, found),
            Some(Value::Array(found)) => {
                found.iter().filter_map(Value::as_object).any(|found| all(rules, found))
            }
            Some(_) => false,
        },
        Rule::Either(lists) => lists.iter().any(|rules| all(rules, data)),
    })
}

/// The values that a member has: one, or those of its list. What has members itself is no value.
fn collect<'a>(found: Option<&'a Value>, values: &mut Vec<&'a Value>) {
    match found {
        Some(Value::Array(items)) => items.iter().for_each(|item| collect(Some(item), values)),
        Some(Value::Object(_)) | None => {}
        Some(value) => values.push(value),
    }
}

fn meets(condition: &Condition, value: &Value) -> bool {
    match condition {
        Condition::Equal(other) => match (value.as_f64(), other.as_f64()) {
            // Numbers are equal in whichever way they are written.
            (Some(number), Some(other)) => compare(number, Comparison::Equal, other),
            _ => value == other,
        },
        Condition::Exists(exists) => *exists,
        Condition::Text { part, text, ignores_case } => value.as_str().is_some_and(|found| {
            let found = folded(found, *ignores_case);
            match part {
                Part::Beginning => found.starts_with(text),
                Part::End => found.ends_with(text),
                Part::Whole => found == *text,
            }
        }),
        Condition::Wildcard(parts) => value.as_str().is_some_and(|text| fits(parts, text)),
        Condition::Numeric(pairs) => value.as_f64().is_some_and(|number| {
            pairs.iter().all(|(comparison, other)| compare(number, *comparison, *other))
        }),
        Condition::AnythingBut(others) => !others.iter().any(|other| meets(other, value)),
    }
}

/// Whether the parts are there in their order, the first at the beginning and the last at the end.
fn fits(parts: &[String], text: &str) -> bool {
    let [first, rest @ ..] = parts else { return false };
    let Some(mut behind) = text.strip_prefix(first.as_str()) else { return false };
    let Some((last, between)) = rest.split_last() else { return behind.is_empty() };
    for part in between {
        let Some((_, after)) = behind.split_once(part.as_str()) else { return false };
        behind = after;
    }
    behind.ends_with(last.as_str())
}

fn folded(text: &str, ignores_case: bool) -> String {
    if ignores_case { text.to_lowercase() } else { text.to_owned() }
}

fn compare(number: f64, comparison: Comparison, other: f64) -> bool {
    let ordering = number.partial_cmp(&other);
    ordering.is_some_and(|ordering| match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(pattern: Value, expected: bool) {
        let data = json!({
            "store": "music", "price": 7.50, "kinds": ["rock", "jazz"], "note": null, "title": "", "open": true,
            "order": {"dish": "soup", "sides": [{"name": "bread", "count": 2}, {"name": "salt", "count": 9}]},
        });
        let read = Pattern::new(&pattern, Shape::Nested).unwrap();
        assert_eq!(read.matches(data.as_object().unwrap()), expected, "{pattern}");
    }

    #[test]
    fn values_are_compared() {
        check(json!({}), true);
        check(json!({"store": ["books", "music"]}), true);
        check(json!({"store": ["books"]}), false);
        check(json!({"store": ["music"], "price": [8]}), false);
        check(json!({"price": [7.5]}), true);
        check(json!({"price": ["7.5"]}), false);
        check(json!({"open": [true]}), true);
        check(json!({"note": [null]}), true);
        check(json!({"other": [null]}), false);
        check(json!({"title": [""]}), true);
        check(json!({"store": [""]}), false);
        check(json!({"kinds": ["jazz"]}), true);
        check(json!({"kinds": ["pop"]}), false);
    }

    #[test]
    fn operators_are_those_of_eventbridge() {
        check(json!({"price": [{"numeric": [">", 0, "<=", 7.5]}]}), true);
        check(json!({"price": [{"numeric": ["<", 7.5]}]}), false);
        check(json!({"store": [{"numeric": ["<", 7.5]}]}), false);
        check(json!({"store": [{"prefix": "mu"}]}), true);
        check(json!({"store": [{"prefix": "MU"}]}), false);
        check(json!({"store": [{"prefix": {"equals-ignore-case": "MU"}}]}), true);
        check(json!({"store": [{"suffix": "mu"}]}), false);
        check(json!({"store": [{"suffix": "sic"}]}), true);
        check(json!({"store": [{"equals-ignore-case": "MUSIC"}]}), true);
        check(json!({"store": [{"wildcard": "m*s*c"}]}), true);
        check(json!({"store": [{"wildcard": "m*s"}]}), false);
        check(json!({"store": [{"wildcard": "music"}]}), true);
        check(json!({"store": [{"wildcard": "*"}]}), true);
        check(json!({"other": [{"exists": false}], "store": [{"exists": true}]}), true);
        check(json!({"store": [{"exists": false}]}), false);
        // What has members is no value.
        check(json!({"order": [{"exists": true}]}), false);
        check(json!({"order": [{"anything-but": "x"}]}), false);
    }

    #[test]
    fn anything_but_takes_values_lists_and_operators() {
        check(json!({"store": [{"anything-but": "books"}]}), true);
        check(json!({"store": [{"anything-but": ["books", "music"]}]}), false);
        check(json!({"price": [{"anything-but": [7.5]}]}), false);
        check(json!({"store": [{"anything-but": {"prefix": "mu"}}]}), false);
        check(json!({"store": [{"anything-but": {"prefix": ["bo", "mu"]}}]}), false);
        check(json!({"store": [{"anything-but": {"suffix": "mu"}}]}), true);
        check(json!({"store": [{"anything-but": {"equals-ignore-case": "MUSIC"}}]}), false);
        check(json!({"store": [{"anything-but": {"wildcard": "b*"}}]}), true);
        check(json!({"other": [{"anything-but": "x"}]}), false);
        // Another one is in the list.
        check(json!({"kinds": [{"anything-but": "rock"}]}), true);
    }

    #[test]
    fn members_of_members_and_alternatives() {
        check(json!({"order": {"dish": [{"prefix": "s"}]}}), true);
        check(json!({"order": {"sides": {"name": ["bread"], "count": [2]}}}), true);
        // Of one and the same item.
        check(json!({"order": {"sides": {"name": ["bread"], "count": [9]}}}), false);
        check(json!({"store": {"name": ["music"]}}), false);
        check(json!({"absent": {"name": [{"exists": false}]}}), true);
        check(json!({"$or": [{"store": ["books"]}, {"price": [{"numeric": ["=", 7.5]}]}]}), true);
        check(json!({"order": {"$or": [{"dish": ["tea"]}, {"dish": ["bread"]}]}}), false);
    }

    #[test]
    fn stars_may_be_meant() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(fits(&between_stars(pattern).unwrap(), text), expected, "{pattern} {text}");
        };
        check("a\\*b", "a*b", true);
        check("a\\*b", "axb", false);
        check("a\\\\*", "a\\x", true);
        check("ab*ba", "aba", false);
        check("*.jpg", "in/.jpg", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let check = |pattern: Value, part: &str| {
            let error = Pattern::new(&pattern, Shape::Flat).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(json!([]), "JSON object");
        check(json!({"store": "music"}), "`store` has no list");
        check(json!({"store": []}), "`store` has no list");
        check(json!({"store": {"name": ["music"]}}), "no list");
        check(json!({"store": [["music"]]}), "a list stands in a list");
        check(json!({"store": [{"regex": "m.*"}]}), "`regex` is not known");
        check(json!({"store": [{"prefix": "m", "suffix": "c"}]}), "one operator, and not 2");
        check(json!({"store": [{}]}), "one operator, and not 0");
        check(json!({"price": [{"numeric": [">"]}]}), "`numeric`");
        check(json!({"price": [{"numeric": ["!", 1]}]}), "`numeric`");
        check(json!({"price": [{"numeric": []}]}), "`numeric`");
        check(json!({"store": [{"prefix": 1}]}), "`prefix`");
        check(json!({"store": [{"exists": "yes"}]}), "`exists`");
        check(json!({"store": [{"wildcard": "a**b"}]}), "`wildcard`");
        check(json!({"store": [{"wildcard": "a\\b"}]}), "`wildcard`");
        for operand in [json!(null), json!([]), json!([null]), json!({}), json!({"exists": true})] {
            check(json!({"store": [{"anything-but": operand}]}), "`anything-but`");
        }
        check(json!({"$or": ["a"]}), "list of patterns");
        let deep = (0..20).fold(json!({"a": ["b"]}), |inner, _| json!({"$or": [inner]}));
        check(deep, "deep");
    }
}
