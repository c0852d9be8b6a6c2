//! Filters over the entities of a table: the part of OData that Azure Table Storage takes, parsed once and then
//! asked of each entity.
//!
//! `apps` reads filters to find mistakes early, `store` to answer. The language and its meaning are described for
//! users in `docs/tables.md`; keep the two together. Whatever is outside of it is an error with the position of the
//! first character that is not understood, never a wrong answer.

mod literal;
mod parser;

use std::cmp::Ordering;

use serde_json::Value;

use literal::Literal;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Expression);

/// A filter that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}, {message}")]
pub struct FilterError {
    /// 1 for the first character.
    pub position: usize,
    /// One sentence without a full stop.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Compare { property: String, operator: Operator, literal: Literal },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Filter {
    /// Reads the text of a filter. Never panics and never recurses deeply, whatever the text.
    ///
    /// # Errors
    /// [`FilterError`] with the position of the first character that is wrong or not supported.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text).map(Self)
    }

    /// Whether an entity is selected; `property` gives the value behind an exact name. A comparison with a property
    /// that is not there, or that has a value of another type, is false.
    pub fn matches<'v>(&self, property: &impl Fn(&str) -> Option<&'v Value>) -> bool {
        self.0.matches(property)
    }

    /// The text that a property must be equal to in every selected entity, if the filter says so plainly. Lets a
    /// search begin at the right place.
    pub fn required_text(&self, property: &str) -> Option<&str> {
        let required = |expression: &'_ Expression| match expression {
            Expression::Compare { property: name, operator: Operator::Equal, literal: Literal::Text(_) } => {
                name == property
            }
            _ => false,
        };
        let found = match &self.0 {
            Expression::All(parts) => parts.iter().find(|part| required(part)),
            whole => Some(whole).filter(|whole| required(whole)),
        };
        match found {
            Some(Expression::Compare { literal: Literal::Text(text), .. }) => Some(text),
            _ => None,
        }
    }
}

impl Expression {
    fn matches<'v>(&self, property: &impl Fn(&str) -> Option<&'v Value>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(property)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(property)),
            Self::Not(inner) => !inner.matches(property),
            Self::Compare { property: name, operator, literal } => property(name)
                .and_then(|value| literal.order_of(value))
                .is_some_and(|ordering| operator.holds(ordering)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn entity() -> Value {
        json!({"PartitionKey": "oslo", "RowKey": "7", "Done": false, "Count": 12, "Big": 9_007_199_254_740_993_i64,
            "Price": 2.5, "At": "2026-10-25T10:00:00+02:00", "Id": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "Name": "it's"})
    }

    #[track_caller]
    fn check(text: &str, expect: Result<bool, usize>) {
        let entity = entity();
        let found = Filter::parse(text);
        let found = found.map(|filter| filter.matches(&|name| entity.get(name)));
        assert_eq!(found.map_err(|error| error.position), expect, "{text}");
    }

    #[test]
    fn comparisons_look_at_type_and_value() {
        for (text, expect) in [
            ("PartitionKey eq 'oslo'", true),
            ("PartitionKey eq 'Oslo'", false),
            ("RowKey ge '7' and RowKey lt '8'", true),
            ("RowKey eq 7", false),
            ("RowKey ne 7", false),
            ("Name eq 'it''s'", true),
            ("Done eq false", true),
            ("Done ne true", true),
            ("Count gt 11", true),
            ("Count eq 12.0", true),
            ("Count eq 12L", true),
            ("Count lt -12", false),
            ("Big eq 9007199254740992", false),
            ("Price le 2.5e0", true),
            ("At eq datetime'2026-10-25T08:00:00Z'", true),
            ("At lt datetime'2026-10-25'", false),
            ("At gt datetime'2026-10-25T07:59:59.9999999Z'", true),
            ("Count gt datetime'2026-10-25'", false),
            ("Id eq guid'6f9619ff-8b86-d011-b42d-00c04fc964ff'", true),
            ("Missing ne 'x'", false),
            ("not (Missing eq 'x')", true),
            ("not Done eq true", true),
        ] {
            check(text, Ok(expect));
        }
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        check("Count eq 1 or Count eq 12 and Done eq false", Ok(true));
        check("(Count eq 12 or Count eq 1) and Done eq true", Ok(false));
        check("not Count eq 12 or Done eq false", Ok(true));
        check("not (Count eq 12 or Done eq false)", Ok(false));
        check("not not Count eq 12", Ok(true));
        check("  ( ( Count eq 12 ) )  ", Ok(true));
    }

    #[test]
    fn what_is_not_supported_is_named_with_its_position() {
        for (text, position) in [
            ("", 1),
            ("Count", 6),
            ("Count eq", 9),
            ("Count = 12", 7),
            ("Count eq 12 and", 16),
            ("Count EQ 12", 7),
            ("(Count eq 12", 13),
            ("Count eq 12)", 12),
            ("Count eq 12 Done eq true", 13),
            ("12 eq Count", 1),
            ("Count eq Other", 10),
            ("Name eq 'open", 9),
            ("startswith(Name, 'i')", 11),
            ("At eq datetime'yesterday'", 7),
            ("At eq datetime", 7),
            ("Id eq guid'1'", 7),
            ("Data eq X'00'", 9),
            ("Count eq 12x", 10),
            ("Count eq 99999999999999999999999", 10),
            ("Count add 1 eq 2", 7),
            ("Ä eq 'ä' und B eq 1", 10),
            ("Count eq null", 10),
        ] {
            check(text, Err(position));
        }
    }

    #[test]
    fn deep_and_long_filters_are_refused() {
        let deep = format!("{}Count eq 12{}", "(".repeat(32), ")".repeat(32));
        check(&deep, Ok(true));
        check(&format!("({deep})"), Err(33));
        check(&format!("{}Count eq 12", "not ".repeat(40)), Err(129));
        check(&vec!["Count eq 12"; 200].join(" and "), Ok(true));
        let many = vec!["Count eq 12"; 201].join(" and ");
        let position = many.chars().count() - 10;
        check(&many, Err(position));
        check(&"x".repeat(40_000), Err(1));
    }

    #[test]
    fn a_plain_equality_can_be_searched_for() {
        let key = |text| Filter::parse(text).unwrap().required_text("PartitionKey").map(str::to_owned);
        assert_eq!(key("PartitionKey eq 'a' and Count gt 1").as_deref(), Some("a"));
        assert_eq!(key("PartitionKey eq 'a'").as_deref(), Some("a"));
        assert_eq!(key("PartitionKey eq 'a' or Count gt 1"), None);
        assert_eq!(key("not PartitionKey eq 'a'"), None);
    }

    /// A filter as text, with what it says of [`entity`].
    fn filters() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop_oneof![
            Just(("Count eq 12".to_owned(), true)),
            Just(("Done eq true".to_owned(), false)),
            "[a-z']{0,6}"
                .prop_map(|text| { (format!("Name ne '{}'", text.replace('\'', "''")), text != "it's") }),
            any::<i32>().prop_map(|number| (format!("Count gt {number}"), 12 > i64::from(number))),
        ];
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone())
                    .prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
                (inner.clone(), inner.clone())
                    .prop_map(|((a, x), (b, y))| (format!("({a}) or ({b})"), x || y)),
                inner.prop_map(|(a, x)| (format!("not ({a})"), !x)),
            ]
        })
    }

    proptest! {
        #[test]
        fn well_formed_filters_mean_what_they_say((text, expect) in filters()) {
            check(&text, Ok(expect));
        }

        #[test]
        fn no_text_panics_and_positions_are_inside(text in "([A-Za-z0-9'() .:-]|eq|and|not|datetime'|ä){0,40}") {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.position), "{error} in {text:?}");
            }
        }

        #[test]
        fn a_quoted_text_is_only_ever_a_value(text in "\\PC{0,30}") {
            let filter = Filter::parse(&format!("Name eq '{}'", text.replace('\'', "''"))).unwrap();
            prop_assert_eq!(filter.required_text("Name"), Some(text.as_str()));
        }
    }
}
