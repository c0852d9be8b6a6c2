//! Route templates: `orders/{id:int}/{*rest}`.
//!
//! The language is that of ASP.NET Core's attribute routing, because that is what Azure's `route` property means:
//! literals, `{name}`, `{name?}`, `{name=default}`, `{*name}` and `{**name}`, constraints after `:`, several parts in
//! one segment (`file-{name}.{ext?}`), and `{{`, `}}` for braces.

use thiserror::Error;

use ingle_types::outcome::Blame;

use super::constraint::{Constraint, ConstraintError};

/// A template that can't be read, with the place where reading ended.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the route template can't be read at character {position}")]
pub struct TemplateError {
    /// Counted in characters from 1.
    pub position: usize,
    #[source]
    pub cause: TemplateFault,
}

/// What is wrong with a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateFault {
    #[error("there is nothing between two `/`")]
    EmptySegment,
    #[error("`{{` has no matching `}}`")]
    Unclosed,
    #[error("a lone `}}`; a literal brace is written twice")]
    StrayBrace,
    #[error("`{{` inside of a parameter; a literal brace is written twice")]
    NestedBrace,
    #[error("`?` belongs behind the name of a parameter")]
    StrayQuestionMark,
    #[error("`{0}` is no name for a parameter")]
    BadName(String),
    #[error("the parameter `{0}` appears twice")]
    DuplicateParameter(String),
    #[error("two parameters stand side by side, so nothing says where one ends")]
    AdjacentParameters,
    #[error("the catch-all parameter `{0}` must be the whole last segment")]
    MisplacedCatchAll(String),
    #[error("the catch-all parameter `{0}` matches nothing already and can't be optional too")]
    OptionalCatchAll(String),
    #[error("the parameter `{0}` has a default, so it can't be optional too")]
    OptionalWithDefault(String),
    #[error("in a segment of several parts only the last can be optional, after a `.`; `{0}` is not")]
    MisplacedOptional(String),
    #[error("the parameter `{0}` shares its segment with other parts, so its default could never be used")]
    DefaultInMixedSegment(String),
    #[error("the default `{default}` of parameter `{parameter}` does not meet its own constraints")]
    DefaultRefused { parameter: String, default: String },
    #[error("the parameter `{parameter}` has a constraint that can't be read")]
    Constraint { parameter: String, source: ConstraintError },
}

impl TemplateError {
    pub fn code(&self) -> &'static str {
        "E0232"
    }

    pub fn blame(&self) -> Blame {
        Blame::App
    }

    pub fn hint(&self) -> Option<String> {
        Some(
            "correct the `route` of the function's HTTP trigger; docs/http.md lists what a route may hold"
                .to_owned(),
        )
    }
}

/// A route template, read once.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    pub(crate) segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Folded by [`fold`].
    Literal(String),
    Parameter(Parameter),
    CatchAll(Parameter),
    Mixed(Mixed),
}

/// A segment of several parts. Parameters never stand side by side.
#[derive(Clone, Debug)]
pub(crate) struct Mixed {
    pub(crate) parts: Vec<Part>,
    /// The same without its optional last parameter and the `.` before it.
    pub(crate) short: Option<Vec<Part>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Folded by [`fold`].
    Literal(String),
    Parameter(Parameter),
}

#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) optional: bool,
    pub(crate) default: Option<String>,
    catch_all: bool,
}

impl Parameter {
    pub(crate) fn accepts(&self, value: &str) -> bool {
        self.constraints.iter().all(|constraint| constraint.accepts(value))
    }
}

/// Case folding of one character, one to one, so that positions survive.
///
/// A character outside of ASCII never folds into ASCII: otherwise the Kelvin sign would be a way to spell `k` that a
/// filter in front of the server does not know (T-038).
pub(crate) fn fold(symbol: char) -> char {
    let mut lower = symbol.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(folded), None) if folded.is_ascii() == symbol.is_ascii() => folded,
        _ => symbol,
    }
}

impl Template {
    /// Reads a template. One slash at its start and one at its end are ignored; the empty template is fine.
    ///
    /// # Errors
    /// [`TemplateError`] names the place and the cause.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut reader = Reader { symbols: text.chars().collect(), at: 0 };
        if reader.peek(0) == Some('~') && reader.peek(1) == Some('/') {
            reader.at = 2;
        } else if reader.peek(0) == Some('/') {
            reader.at = 1;
        }
        let mut segments = Vec::new();
        while reader.at < reader.symbols.len() {
            let start = reader.at;
            let parts = reader.segment()?;
            segments.push(assemble(parts).map_err(|cause| TemplateError { position: start + 1, cause })?);
            reader.at += 1; // the slash
        }
        let template = Self { text: text.to_owned(), segments };
        template.check_order().map_err(|cause| TemplateError { position: 1, cause })?;
        Ok(template)
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names of the parameters, in order.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters().map(|parameter| parameter.name.as_str())
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.segments.iter().flat_map(|segment| -> Box<dyn Iterator<Item = &Parameter>> {
            match segment {
                Segment::Literal(_) => Box::new(std::iter::empty()),
                Segment::Parameter(parameter) | Segment::CatchAll(parameter) => {
                    Box::new(std::iter::once(parameter))
                }
                Segment::Mixed(mixed) => Box::new(mixed.parts.iter().filter_map(|part| match part {
                    Part::Literal(_) => None,
                    Part::Parameter(parameter) => Some(parameter),
                })),
            }
        })
    }

    /// What can only be judged with all segments at hand.
    fn check_order(&self) -> Result<(), TemplateFault> {
        let before_last = self.segments.len().saturating_sub(1);
        for segment in &self.segments[..before_last] {
            if let Segment::CatchAll(parameter) = segment {
                return Err(TemplateFault::MisplacedCatchAll(parameter.name.clone()));
            }
        }
        let mut seen: Vec<String> = Vec::new();
        for name in self.parameter_names() {
            let folded: String = name.chars().map(fold).collect();
            if seen.contains(&folded) {
                return Err(TemplateFault::DuplicateParameter(name.to_owned()));
            }
            seen.push(folded);
        }
        Ok(())
    }
}

/// Parts of a segment, in the order in which they were read, into the segment.
fn assemble(mut parts: Vec<Part>) -> Result<Segment, TemplateFault> {
    if parts.len() == 1 {
        return Ok(match parts.remove(0) {
            Part::Literal(text) => Segment::Literal(text),
            Part::Parameter(parameter) if parameter.catch_all => Segment::CatchAll(parameter),
            Part::Parameter(parameter) => Segment::Parameter(parameter),
        });
    }
    let last = parts.len().saturating_sub(1);
    for (at, part) in parts.iter().enumerate() {
        let Part::Parameter(parameter) = part else { continue };
        let previous = at.checked_sub(1).and_then(|before| parts.get(before));
        if matches!(previous, Some(Part::Parameter(_))) {
            return Err(TemplateFault::AdjacentParameters);
        }
        if parameter.catch_all {
            return Err(TemplateFault::MisplacedCatchAll(parameter.name.clone()));
        }
        if parameter.default.is_some() {
            return Err(TemplateFault::DefaultInMixedSegment(parameter.name.clone()));
        }
        let after_dot = matches!(previous, Some(Part::Literal(text)) if text.ends_with('.'));
        if parameter.optional && !(at == last && after_dot) {
            return Err(TemplateFault::MisplacedOptional(parameter.name.clone()));
        }
    }
    let short = shorten(&parts);
    Ok(Segment::Mixed(Mixed { parts, short }))
}

/// The parts of a mixed segment without its optional parameter and the dot before it.
fn shorten(parts: &[Part]) -> Option<Vec<Part>> {
    let [head @ .., Part::Literal(dotted), Part::Parameter(Parameter { optional: true, .. })] = parts else {
        return None;
    };
    let mut short = head.to_vec();
    let literal = dotted.strip_suffix('.')?;
    if !literal.is_empty() {
        short.push(Part::Literal(literal.to_owned()));
    }
    // `.{ext?}` alone would match an empty segment, which is no segment.
    (!short.is_empty()).then_some(short)
}

/// Walks through the characters of a template.
struct Reader {
    symbols: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.symbols.get(self.at + ahead).copied()
    }

    fn error(&self, cause: TemplateFault) -> TemplateError {
        TemplateError { position: self.at + 1, cause }
    }

    /// Reads up to the next `/` or the end.
    fn segment(&mut self) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        loop {
            match self.peek(0) {
                None | Some('/') if parts.is_empty() => return Err(self.error(TemplateFault::EmptySegment)),
                None | Some('/') => return Ok(parts),
                Some('{') if self.peek(1) != Some('{') => parts.push(Part::Parameter(self.parameter()?)),
                Some(_) => parts.push(Part::Literal(self.literal()?)),
            }
        }
    }

    fn literal(&mut self) -> Result<String, TemplateError> {
        let mut text = String::new();
        while let Some(symbol) = self.peek(0) {
            let doubled = self.peek(1) == Some(symbol);
            match symbol {
                '/' => break,
                '{' if !doubled => break,
                '}' if !doubled => return Err(self.error(TemplateFault::StrayBrace)),
                '?' => return Err(self.error(TemplateFault::StrayQuestionMark)),
                '{' | '}' => self.at += 2,
                _ => self.at += 1,
            }
            text.push(fold(symbol));
        }
        Ok(text)
    }

    fn parameter(&mut self) -> Result<Parameter, TemplateError> {
        let start = self.at;
        self.at += 1;
        let mut body = String::new();
        loop {
            let symbol =
                self.peek(0).ok_or(TemplateError { position: start + 1, cause: TemplateFault::Unclosed })?;
            let doubled = self.peek(1) == Some(symbol);
            match symbol {
                '}' if !doubled => break,
                '{' if !doubled => return Err(self.error(TemplateFault::NestedBrace)),
                '{' | '}' => self.at += 2,
                _ => self.at += 1,
            }
            body.push(symbol);
        }
        self.at += 1;
        parameter(&body).map_err(|cause| TemplateError { position: start + 1, cause })
    }
}

/// Reads what stands between the braces, e.g. `*name:constraint(a,b):other=default` or `name?`.
fn parameter(body: &str) -> Result<Parameter, TemplateFault> {
    let starless = body.strip_prefix("**").or_else(|| body.strip_prefix('*'));
    let (catch_all, body) = (starless.is_some(), starless.unwrap_or(body));
    let (optional, body) = body.strip_suffix('?').map_or((false, body), |rest| (true, rest));
    let name_end = body.find([':', '=']).unwrap_or(body.len());
    let (name, rest) = body.split_at(name_end);
    let is_name =
        !name.is_empty() && !name.contains(|symbol: char| "/{}?*".contains(symbol) || symbol.is_control());
    if !is_name {
        return Err(TemplateFault::BadName(name.to_owned()));
    }
    let (constraint_texts, default) = split_constraints(rest);
    let mut constraints = Vec::new();
    for text in constraint_texts {
        constraints.push(
            Constraint::parse(text)
                .map_err(|source| TemplateFault::Constraint { parameter: name.to_owned(), source })?,
        );
    }
    if optional && catch_all {
        return Err(TemplateFault::OptionalCatchAll(name.to_owned()));
    }
    if optional && default.is_some() {
        return Err(TemplateFault::OptionalWithDefault(name.to_owned()));
    }
    let read = Parameter {
        name: name.to_owned(),
        constraints,
        optional,
        default: default.map(str::to_owned),
        catch_all,
    };
    match read.default.as_deref() {
        Some(default) if !read.accepts(default) => {
            Err(TemplateFault::DefaultRefused { parameter: name.to_owned(), default: default.to_owned() })
        }
        _ => Ok(read),
    }
}

/// Splits `:int:min(1)=5` into `int`, `min(1)` and the default `5`.
///
/// Inside of arguments neither `:` nor `=` ends anything; they end with the parenthesis that balances the first. A
/// parenthesis behind `\` does not count, so a regular expression may hold any.
fn split_constraints(rest: &str) -> (Vec<&str>, Option<&str>) {
    let mut constraints = Vec::new();
    let mut start = None;
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, symbol) in rest.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match symbol {
            '\\' => escaped = depth > 0,
            '(' if start.is_some() => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ':' | '=' if depth == 0 => {
                constraints.extend(start.map(|from| &rest[from..at]));
                if symbol == '=' {
                    return (constraints, Some(&rest[at + 1..]));
                }
                start = Some(at + 1);
            }
            _ => {}
        }
    }
    constraints.extend(start.map(|from| &rest[from..]));
    (constraints, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(template: &str, position: usize, cause: TemplateFault) {
        assert_eq!(Template::parse(template).unwrap_err(), TemplateError { position, cause }, "{template}");
    }

    #[test]
    fn readable_templates() {
        for template in [
            "",
            "/",
            "/orders/",
            "~/orders",
            "orders/{id}",
            "{a?}/{b?}",
            "{id:int:min(1)?}",
            "{page:int=1}",
            "{*rest}",
            "{**rest:minlength(2)}",
            "file-{name}.{ext?}",
            r"{ssn:regex(^\d{{3}}-\d{{2}}$)}",
            "{x:regex(^(a|b):c=d$):minlength(2)}",
            r"{x:regex(\)[)]):minlength(2)}",
            "{{literal}}/a}}b",
        ] {
            Template::parse(template).unwrap_or_else(|error| panic!("{template}: {:?}", error.cause));
        }
        let names = Template::parse("a/{x}/{y}-{z}/{*rest}").unwrap();
        assert_eq!(names.parameter_names().collect::<Vec<_>>(), ["x", "y", "z", "rest"]);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        check("a//b", 3, TemplateFault::EmptySegment);
        check("//a", 2, TemplateFault::EmptySegment);
        check("ab/{id", 4, TemplateFault::Unclosed);
        check("a}b", 2, TemplateFault::StrayBrace);
        check("{a{b}", 3, TemplateFault::NestedBrace);
        check("a?", 2, TemplateFault::StrayQuestionMark);
        check("é/{}", 3, TemplateFault::BadName(String::new()));
        check("{a*}", 1, TemplateFault::BadName("a*".to_owned()));
        check("{id}/{ID}", 1, TemplateFault::DuplicateParameter("ID".to_owned()));
        check("{a}{b}", 1, TemplateFault::AdjacentParameters);
        check("{*a}/b", 1, TemplateFault::MisplacedCatchAll("a".to_owned()));
        check("x{*a}", 1, TemplateFault::MisplacedCatchAll("a".to_owned()));
        check("{*a?}", 1, TemplateFault::OptionalCatchAll("a".to_owned()));
        check("{a=1?}", 1, TemplateFault::OptionalWithDefault("a".to_owned()));
        check("{a?}-b", 1, TemplateFault::MisplacedOptional("a".to_owned()));
        check("a{b?}", 1, TemplateFault::MisplacedOptional("b".to_owned()));
        check("v{a=1}", 1, TemplateFault::DefaultInMixedSegment("a".to_owned()));
        check(
            "x/{a:int=b}",
            3,
            TemplateFault::DefaultRefused { parameter: "a".to_owned(), default: "b".to_owned() },
        );
        check(
            "x/{a:integer}",
            3,
            TemplateFault::Constraint {
                parameter: "a".to_owned(),
                source: ConstraintError::Unknown("integer".to_owned()),
            },
        );
    }

    #[test]
    fn folding_never_enters_ascii() {
        assert_eq!(['A', 'Ä', '\u{212a}', 'İ'].map(fold), ['a', 'ä', '\u{212a}', 'İ']);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(template in "[a-c{}*?:=()./ré,1-9]{0,40}") {
            if let Err(error) = Template::parse(&template) {
                prop_assert!(error.position <= template.chars().count() + 1);
            }
        }
    }
}
