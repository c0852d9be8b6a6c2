//! Parts and values to text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::value::{self, Value, are_equal, is_true, printed, property};
use super::{Expression, Operator, Part, Reference, Step, call, path};
use crate::request::decoded;

/// Of one template, and of what values it makes on its way; in bytes.
const OUTPUT_BYTES_MAX: usize = 10 << 20;
const MADE_BYTES_MAX: usize = 64 << 20;
const STEPS_MAX: usize = 200_000;
/// Rounds of one `#foreach`, as API Gateway has it.
const ROUNDS_MAX: usize = 1000;
const RANGE_MAX: i64 = 1000;
const VALUE_DEPTH_MAX: usize = 200;

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
    steps: usize,
    made: usize,
}

pub(super) fn fill(parts: &[Part], input: &Input) -> Result<Outcome, String> {
    let json = match input.body.trim() {
        "" => json!({}),
        _ => serde_json::from_str(&input.body).unwrap_or_else(|_| Value::String(input.body.clone())),
    };
    let variables = [("context", &input.context), ("stageVariables", &input.stage_variables)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.clone()));
    let mut renderer = Renderer { input, json, variables: BTreeMap::from(variables), steps: 0, made: 0 };
    let mut text = String::new();
    renderer.parts(parts, &mut text)?;
    let context = renderer.variables.remove("context").unwrap_or_default();
    Ok(Outcome { text, context })
}

impl Renderer<'_> {
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(format!("it takes more than {STEPS_MAX} steps")) } else { Ok(()) }
    }

    /// Counts what is made, so that nothing can double for ever.
    fn made(&mut self, value: Value) -> Result<Value, String> {
        self.made += value::size(&value);
        if self.made > MADE_BYTES_MAX {
            return Err(format!("it makes more than {} MiB of values", MADE_BYTES_MAX >> 20));
        }
        if value::depth(&value) > VALUE_DEPTH_MAX {
            return Err(format!("it makes values of more than {VALUE_DEPTH_MAX} levels"));
        }
        Ok(value)
    }

    fn parts(&mut self, parts: &[Part], text: &mut String) -> Result<Flow, String> {
        for part in parts {
            self.step()?;
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
            self.step()?;
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
        self.step()?;
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
        self.made(value)
    }

    fn reference(&mut self, reference: &Reference) -> Result<Value, String> {
        let steps = self.prepared(reference)?;
        let (mut value, steps) = match (reference.name.as_str(), steps.as_slice()) {
            ("input", [first, rest @ ..]) => (self.of_input(first)?, rest),
            ("util", [first, rest @ ..]) => (of_util(first)?, rest),
            ("input" | "util", []) => (Value::Null, &steps[..]),
            (name, [places @ .., Ready::Call(method, arguments)]) if call::may_change(method) => {
                let changed = self.place(name, places, false);
                let changed = changed.and_then(|value| call::change(value, method, arguments));
                return self.made(changed.unwrap_or_default());
            }
            (name, steps) => (self.variables.get(name).cloned().unwrap_or_default(), steps),
        };
        value = self.made(value)?;
        for step in steps {
            self.step()?;
            value = match step {
                Ready::Property(name) => property(&value, name).cloned().unwrap_or_default(),
                Ready::Index(index) => indexed(&value, index),
                Ready::Call(method, arguments) if call::may_change(method) => {
                    call::change(&mut value, method, arguments).unwrap_or_default()
                }
                Ready::Call(method, arguments) => call::read(&value, method, arguments)?.unwrap_or_default(),
            };
            value = self.made(value)?;
        }
        Ok(value)
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

    fn of_input(&self, step: &Ready) -> Result<Value, String> {
        let (name, arguments) = match step {
            Ready::Property(name) if name == "body" => return Ok(self.input.body.clone().into()),
            Ready::Call(name, arguments) => (name.as_str(), arguments.as_slice()),
            _ => return Ok(Value::Null),
        };
        Ok(match (name, arguments) {
            ("path", [Value::String(path)]) => path::find(&self.json, path)?,
            ("json", [Value::String(path)]) => match path::find(&self.json, path)? {
                // What is not there is an empty text.
                Value::Null if path.trim() != "$" => "\"\"".into(),
                value => value.to_string().into(),
            },
            ("params", []) => self.input.params.clone(),
            ("params", [Value::String(name)]) => {
                let kinds = ["path", "querystring", "header"].into_iter();
                kinds
                    .filter_map(|kind| self.input.params.get(kind)?.get(name))
                    .next()
                    .cloned()
                    .unwrap_or_default()
            }
            _ => Value::Null,
        })
    }
}

/// A step whose arguments have values.
enum Ready {
    Property(String),
    Index(Value),
    Call(String, Vec<Value>),
}

/// Of what API Gateway gives, what has no value is printed as nothing.
fn is_given(reference: &Reference) -> bool {
    matches!(reference.name.as_str(), "util" | "context" | "input" | "stageVariables")
}

fn indexed(value: &Value, index: &Value) -> Value {
    let found = match value {
        Value::Array(items) => value::place(index, items.len()).and_then(|place| items.get(place)),
        Value::Object(map) => map.get(&printed(index)),
        _ => None,
    };
    found.cloned().unwrap_or_default()
}

fn of_util(step: &Ready) -> Result<Value, String> {
    let Ready::Call(name, arguments) = step else { return Ok(Value::Null) };
    let [argument] = arguments.as_slice() else { return Ok(Value::Null) };
    if argument.is_null() {
        return Ok(Value::Null);
    }
    let text = printed(argument);
    Ok(match name.as_str() {
        "escapeJavaScript" => escaped(&text).into(),
        "parseJson" => serde_json::from_str(&text).map_err(|error| format!("parseJson: {error}"))?,
        "urlEncode" => encoded(&text).into(),
        "urlDecode" => decoded(&text.replace('+', " ")).into(),
        "base64Encode" => STANDARD.encode(text).into(),
        "base64Decode" => {
            let bytes = STANDARD.decode(text.trim()).map_err(|_| "base64Decode: no base64".to_owned())?;
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        _ => Value::Null,
    })
}

/// As a part of a text of JavaScript.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' | '\\' | '/' => escaped.extend(['\\', letter]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            letter if letter.is_control() || !letter.is_ascii() => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04X}"));
                }
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// As a form writes it.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
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
