//! Parts and values to text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::given::{name_header, of_input, of_util};
use super::value::{self, Value, are_equal, is_true, printed, property};
use super::{Expression, Operator, Part, Reference, Step, VALUE_DEPTH_MAX, call};

/// Of one template, and of what values it makes on its way; in bytes.
const OUTPUT_BYTES_MAX: usize = 10 << 20;
const MADE_BYTES_MAX: usize = 64 << 20;
const STEPS_MAX: usize = 200_000;
/// Rounds of one `#foreach`, as API Gateway has it.
const ROUNDS_MAX: usize = 1000;
const RANGE_MAX: i64 = 1000;
/// Methods of maps that take a key first.
const KEYED: [&str; 3] = ["get", "getOrDefault", "containsKey"];
/// Methods that take as long for a large value as for a small one.
const QUICK: [&str; 6] = ["size", "isEmpty", "containsKey", "getOrDefault", "getKey", "getValue"];

/// What a template is filled with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    /// `$input.body`.
    pub(crate) body: String,
    /// `$input.params()`: `path`, `querystring` and `header`, each a map of texts.
    pub(crate) params: Value,
    /// `$context`.
    pub(crate) context: Value,
    /// `$stageVariables`.
    pub(crate) stage_variables: Value,
}

/// What came of a template.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// `$context` as the template left it, with its overrides.
    pub(crate) context: Value,
}

/// What stops the parts that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    On,
    Break,
    Stop,
}

struct Renderer<'a> {
    input: &'a Input,
    /// The body as JSON, or as text if it is none.
    json: Value,
    variables: BTreeMap<String, Value>,
    spent: Spent,
}

/// What filling a template has taken until now.
#[derive(Default)]
struct Spent {
    steps: usize,
    /// What was made and gone through, in bytes.
    made: usize,
}

pub(super) fn fill(parts: &[Part], input: &Input) -> Result<Outcome, String> {
    let json = match input.body.trim() {
        "" => json!({}),
        _ => serde_json::from_str(&input.body).unwrap_or_else(|_| Value::String(input.body.clone())),
    };
    let variables = [("context", &input.context), ("stageVariables", &input.stage_variables)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.clone()));
    let mut renderer =
        Renderer { input, json, variables: BTreeMap::from(variables), spent: Spent::default() };
    let mut text = String::new();
    renderer.parts(parts, &mut text)?;
    let context = renderer.variables.remove("context").unwrap_or_default();
    Ok(Outcome { text, context })
}

impl Spent {
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(format!("it takes more than {STEPS_MAX} steps")) } else { Ok(()) }
    }

    fn read(&mut self, value: &Value) -> Result<(), String> {
        self.made += value::size(value);
        let is_too_much = self.made > MADE_BYTES_MAX;
        if is_too_much {
            Err(format!("it makes more than {} MiB of values", MADE_BYTES_MAX >> 20))
        } else {
            Ok(())
        }
    }

    /// Counts what is made, so that nothing can double for ever.
    fn made(&mut self, value: Value) -> Result<Value, String> {
        self.read(&value)?;
        if value::depth(&value) > VALUE_DEPTH_MAX {
            return Err(format!("it makes values of more than {VALUE_DEPTH_MAX} levels"));
        }
        Ok(value)
    }
}

impl Renderer<'_> {
    fn parts(&mut self, parts: &[Part], text: &mut String) -> Result<Flow, String> {
        for part in parts {
            self.spent.step()?;
            let flow = self.part(part, text)?;
            if text.len() > OUTPUT_BYTES_MAX {
                return Err(format!("it gives more than {} MiB", OUTPUT_BYTES_MAX >> 20));
            }
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn part(&mut self, part: &Part, text: &mut String) -> Result<Flow, String> {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Print { reference, is_quiet, written } => match self.reference(reference)? {
                Value::Null if *is_quiet || is_given(reference) => {}
                Value::Null => text.push_str(written),
                value => text.push_str(&printed(&value)),
            },
            Part::Set(reference, expression) => {
                let value = self.evaluate(expression)?;
                self.assign(reference, value)?;
            }
            Part::If(branches, otherwise) => {
                for (condition, parts) in branches {
                    if is_true(&self.evaluate(condition)?) {
                        return self.parts(parts, text);
                    }
                }
                return self.parts(otherwise, text);
            }
            Part::Each { name, list, body } => return self.each((name, list, body), text),
            Part::Break => return Ok(Flow::Break),
            Part::Stop => return Ok(Flow::Stop),
        }
        Ok(Flow::On)
    }

    fn each(
        &mut self,
        (name, list, body): (&str, &Expression, &[Part]),
        text: &mut String,
    ) -> Result<Flow, String> {
        let items = match self.evaluate(list)? {
            Value::Array(items) => items,
            Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
            _ => return Ok(Flow::On),
        };
        let before = (self.variables.remove(name), self.variables.remove("foreach"));
        let count = items.len();
        let mut flow = Flow::On;
        for (index, item) in items.into_iter().take(ROUNDS_MAX).enumerate() {
            self.spent.step()?;
            let (is_last, number) = (index + 1 == count, index + 1);
            let place = json!({"index": index, "count": number, "hasNext": !is_last, "first": index == 0, "last": is_last});
            self.variables.insert("foreach".to_owned(), place);
            self.variables.insert("velocityCount".to_owned(), number.into());
            self.variables.insert(name.to_owned(), item);
            flow = self.parts(body, text)?;
            if flow != Flow::On {
                break;
            }
        }
        for (name, value) in [(name, before.0), ("foreach", before.1)] {
            self.variables.remove(name);
            if let Some(value) = value {
                self.variables.insert(name.to_owned(), value);
            }
        }
        Ok(if flow == Flow::Stop { Flow::Stop } else { Flow::On })
    }

    fn evaluate(&mut self, expression: &Expression) -> Result<Value, String> {
        self.spent.step()?;
        let value = match expression {
            Expression::Value(value) => value.clone(),
            Expression::Text(parts) => {
                let mut text = String::new();
                self.parts(parts, &mut text)?;
                text.into()
            }
            Expression::Reference(reference) => return self.reference(reference),
            Expression::List(items) => {
                items.iter().map(|item| self.evaluate(item)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Expression::Range(first, last) => range(&self.evaluate(first)?, &self.evaluate(last)?)?,
            Expression::Map(members) => {
                let mut map = Map::new();
                for (key, value) in members {
                    let key = printed(&self.evaluate(key)?);
                    map.insert(key, self.evaluate(value)?);
                }
                Value::Object(map)
            }
            Expression::Not(inner) => (!is_true(&self.evaluate(inner)?)).into(),
            Expression::Two(Operator::And, left, right) => {
                (is_true(&self.evaluate(left)?) && is_true(&self.evaluate(right)?)).into()
            }
            Expression::Two(Operator::Or, left, right) => {
                (is_true(&self.evaluate(left)?) || is_true(&self.evaluate(right)?)).into()
            }
            Expression::Two(operator, left, right) => {
                two(*operator, &self.evaluate(left)?, &self.evaluate(right)?)
            }
        };
        self.spent.made(value)
    }

    /// What is only looked through on the way is neither copied nor counted.
    fn reference(&mut self, reference: &Reference) -> Result<Value, String> {
        let steps = self.prepared(reference)?;
        let (mut value, steps) = match (reference.name.as_str(), steps.as_slice()) {
            ("input", [first, rest @ ..]) => (of_input(self.input, &self.json, first)?, rest),
            ("util", [first, rest @ ..]) => (Cow::Owned(self.spent.made(of_util(first)?)?), rest),
            ("input" | "util", []) => (Cow::Owned(Value::Null), &steps[..]),
            (name, [places @ .., Ready::Call(method, arguments)]) if call::may_change(method) => {
                let changed = self.place(name, places, false);
                let changed = changed.and_then(|value| call::change(value, method, arguments));
                return self.spent.made(changed.unwrap_or_default());
            }
            (name, steps) => (self.variables.get(name).map(Cow::Borrowed).unwrap_or_default(), steps),
        };
        for step in steps {
            self.spent.step()?;
            value = match (step, value) {
                (step, Cow::Borrowed(value)) if step.is_access() => access(value, step).map(Cow::Borrowed),
                (step, value) if step.is_access() => access(&value, step).cloned().map(Cow::Owned),
                (Ready::Call(method, arguments), value) if call::may_change(method) => {
                    let mut value = self.spent.made(value.into_owned())?;
                    call::change(&mut value, method, arguments).map(Cow::Owned)
                }
                (Ready::Call(method, arguments), value) => {
                    // Going through all of it takes as long as making it.
                    if !QUICK.contains(&method.as_str()) {
                        self.spent.read(&value)?;
                    }
                    let found = call::read(&value, method, arguments)?;
                    found.map(|found| self.spent.made(found)).transpose()?.map(Cow::Owned)
                }
                (Ready::Property(_) | Ready::Index(_), _) => None,
            }
            .unwrap_or_default();
        }
        self.spent.made(value.into_owned())
    }

    fn prepared(&mut self, reference: &Reference) -> Result<Vec<Ready>, String> {
        let mut ready = Vec::with_capacity(reference.steps.len());
        for step in &reference.steps {
            ready.push(match step {
                Step::Property(name) => Ready::Property(name.clone()),
                Step::Index(index) => Ready::Index(self.evaluate(index)?),
                Step::Call(name, arguments) => {
                    let values = arguments.iter().map(|one| self.evaluate(one)).collect::<Result<_, _>>()?;
                    Ready::Call(name.clone(), values)
                }
            });
        }
        if reference.name == "input" {
            name_header(&self.input.params, &mut ready);
        }
        Ok(ready)
    }

    fn assign(&mut self, reference: &Reference, value: Value) -> Result<(), String> {
        if matches!(reference.name.as_str(), "input" | "util" | "stageVariables") {
            return Err(format!("${} can't be set", reference.name));
        }
        let steps = self.prepared(reference)?;
        if let Some(place) = self.place(&reference.name, &steps, true) {
            *place = value;
        }
        Ok(())
    }

    /// Where a value is. `makes`: what is missing on the way is made.
    fn place(&mut self, name: &str, steps: &[Ready], makes: bool) -> Option<&mut Value> {
        let mut value = if makes {
            self.variables.entry(name.to_owned()).or_insert(Value::Null)
        } else {
            self.variables.get_mut(name)?
        };
        for step in steps {
            value = match step {
                Ready::Index(Value::Number(index)) if value.is_array() => {
                    let items = value.as_array_mut()?;
                    let place = value::place(&Value::Number(index.clone()), items.len())?;
                    items.get_mut(place)?
                }
                Ready::Property(_) | Ready::Index(_) => {
                    let key = match step {
                        Ready::Index(index) => printed(index),
                        Ready::Property(name) => name.clone(),
                        Ready::Call(..) => return None,
                    };
                    if makes && value.is_null() {
                        *value = json!({});
                    }
                    let map = value.as_object_mut()?;
                    if makes { map.entry(key).or_insert(Json::Null) } else { map.get_mut(&key)? }
                }
                Ready::Call(method, arguments) if method == "get" => match arguments.as_slice() {
                    [Value::String(key)] => value.as_object_mut()?.get_mut(key)?,
                    [index] => {
                        let items = value.as_array_mut()?;
                        let place = value::place(index, items.len())?;
                        items.get_mut(place)?
                    }
                    _ => return None,
                },
                Ready::Call(..) => return None,
            };
        }
        Some(value)
    }
}

/// A step whose arguments have values.
pub(super) enum Ready {
    Property(String),
    Index(Value),
    Call(String, Vec<Value>),
}

impl Ready {
    /// Whether it leads to a part of a value, and makes nothing.
    fn is_access(&self) -> bool {
        match self {
            Self::Property(_) | Self::Index(_) => true,
            Self::Call(method, arguments) => method == "get" && arguments.len() == 1,
        }
    }

    /// The name of a member of a map that it is about.
    pub(super) fn key(&mut self) -> Option<&mut String> {
        match self {
            Self::Property(name) | Self::Index(Value::String(name)) => Some(name),
            Self::Call(method, arguments) if KEYED.contains(&method.as_str()) => {
                match arguments.first_mut() {
                    Some(Value::String(name)) => Some(name),
                    _ => None,
                }
            }
            Self::Index(_) | Self::Call(..) => None,
        }
    }
}

/// Of what API Gateway gives, what has no value is printed as nothing.
fn is_given(reference: &Reference) -> bool {
    matches!(reference.name.as_str(), "util" | "context" | "input" | "stageVariables")
}

/// The part of a value that a step leads to.
fn access<'a>(value: &'a Value, step: &Ready) -> Option<&'a Value> {
    let index = match step {
        Ready::Property(name) => return property(value, name),
        Ready::Index(index) => index,
        Ready::Call(_, arguments) => arguments.first()?,
    };
    match value {
        Value::Array(items) => value::place(index, items.len()).and_then(|place| items.get(place)),
        Value::Object(map) => map.get(&printed(index)),
        _ => None,
    }
}

fn range(first: &Value, last: &Value) -> Result<Value, String> {
    let (Some(first), Some(last)) = (first.as_i64(), last.as_i64()) else { return Ok(Value::Null) };
    if first.abs_diff(last) > RANGE_MAX.unsigned_abs() {
        return Err(format!("a range has more than {RANGE_MAX} numbers"));
    }
    let numbers: Vec<i64> =
        if first <= last { (first..=last).collect() } else { (last..=first).rev().collect() };
    Ok(numbers.into())
}

/// What has no answer, such as dividing by nothing, has no value.
fn two(operator: Operator, left: &Value, right: &Value) -> Value {
    match operator {
        Operator::Equal => return are_equal(left, right).into(),
        Operator::Unequal => return (!are_equal(left, right)).into(),
        Operator::Plus if left.is_string() || right.is_string() => {
            return format!("{}{}", printed(left), printed(right)).into();
        }
        _ => {}
    }
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let found = match operator {
            Operator::Plus => left.checked_add(right),
            Operator::Minus => left.checked_sub(right),
            Operator::Times => left.checked_mul(right),
            Operator::Divide => left.checked_div(right),
            Operator::Modulo => left.checked_rem(right),
            other => return compared(other, left.cmp(&right)),
        };
        return found.map_or(Value::Null, Value::from);
    }
    let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return Value::Null };
    match operator {
        Operator::Plus => value::number(left + right),
        Operator::Minus => value::number(left - right),
        Operator::Times => value::number(left * right),
        Operator::Divide => value::number(left / right),
        Operator::Modulo => value::number(left % right),
        other => left.partial_cmp(&right).map_or(Value::Null, |order| compared(other, order)),
    }
}

fn compared(operator: Operator, order: std::cmp::Ordering) -> Value {
    match operator {
        Operator::Less => order.is_lt().into(),
        Operator::LessOrEqual => order.is_le().into(),
        Operator::Greater => order.is_gt().into(),
        Operator::GreaterOrEqual => order.is_ge().into(),
        _ => Value::Null,
    }
}
