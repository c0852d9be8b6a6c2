//! Queries and what they give.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn run(sql: &str, documents: &[Value], parameters: &[(String, Value)]) -> Result<Vec<Value>, Error> {
    let query = Query::parse(sql)?;
    let mut run = query.start(parameters)?;
    for document in documents {
        run.visit(document);
    }
    Ok(run.finish())
}

fn people() -> Vec<Value> {
    vec![
        json!({"id": "1", "name": "Ann", "age": 40, "tags": ["a", "b"], "home": {"city": "Bonn", "a b": 1}}),
        json!({"id": "2", "name": "bob", "age": 30.0, "tags": [], "order": 7}),
        json!({"id": "3", "name": "Cid", "age": "old", "tags": [{"k": 1, "v": 2}]}),
        json!({"id": "4", "name": null}),
    ]
}

/// The result of a query over the people.
#[track_caller]
fn check(sql: &str, expect: Value) {
    let parameters = [("@thirty".to_owned(), json!(30)), ("two".to_owned(), json!(2))];
    match run(sql, &people(), &parameters) {
        Ok(found) => assert_eq!(Value::from(found), expect, "{sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// The ids of the people for whom the condition is true.
#[track_caller]
fn check_where(condition: &str, ids: &str) {
    let expect: Vec<Value> = ids.split_whitespace().map(Value::from).collect();
    check(&format!("SELECT VALUE c.id FROM c WHERE {condition}"), Value::from(expect));
}

/// The value of an expression; an empty list for undefined.
#[track_caller]
fn check_value(expression: &str, expect: Value) {
    check(&format!("SELECT VALUE {expression} FROM c WHERE c.id = '1'"), expect);
}

#[track_caller]
fn check_error(sql: &str, position: usize, message: &str) {
    match run(sql, &people(), &[("text".to_owned(), json!("x"))]) {
        Err(Error::Query { position: found, message: said }) => {
            assert_eq!((found, said.contains(message)), (position, true), "{sql}: at {found}, {said}");
        }
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn what_is_selected_gets_its_name() {
    check("SELECT c.name, c.home.city FROM c WHERE c.id = '1'", json!([{"name": "Ann", "city": "Bonn"}]));
    check(
        "select c.age + 1, c.age AS years, 1 from c where c.id = '2'",
        json!([{"$1": 31, "years": 30.0, "$2": 1}]),
    );
    check("SELECT p FROM people p WHERE p.id = '4'", json!([{"p": {"id": "4", "name": null}}]));
    check("SELECT * FROM people AS p WHERE p.id = '4'", json!([{"id": "4", "name": null}]));
    check("SELECT c.nothing, c.id FROM c WHERE c.id = '4'", json!([{"id": "4"}]));
    check("SELECT VALUE c.nothing FROM c", json!([]));
    check("SELECT c.order FROM c WHERE c.order > 0", json!([{"order": 7}]));
    check(r#"SELECT c.home["a b"], c.tags[1] FROM c WHERE c.id = '1'"#, json!([{"a b": 1, "$1": "b"}]));
    check(
        "SELECT VALUE {id: c.id, 'x': [c.age, c.nothing]} FROM c WHERE c.id = '1'",
        json!([{"id": "1", "x": [40]}]),
    );
}

#[test]
fn rows_are_sorted_cut_and_made_distinct() {
    check("SELECT VALUE c.id FROM c ORDER BY c.age", json!(["4", "2", "1", "3"]));
    check("SELECT VALUE c.id FROM c ORDER BY c.age DESC, c.id", json!(["3", "1", "2", "4"]));
    check("SELECT VALUE c.id FROM c ORDER BY IS_DEFINED(c.age) DESC, c.id DESC", json!(["3", "2", "1", "4"]));
    check("SELECT TOP 2 VALUE c.id FROM c ORDER BY c.id", json!(["1", "2"]));
    check("SELECT TOP @two VALUE c.id FROM c ORDER BY c.id DESC", json!(["4", "3"]));
    check("SELECT VALUE c.id FROM c ORDER BY c.id OFFSET 1 LIMIT @two", json!(["2", "3"]));
    check("SELECT VALUE c.id FROM c OFFSET 9 LIMIT 1", json!([]));
    check("SELECT DISTINCT VALUE c.x ?? 1 FROM c", json!([1]));
    check("SELECT DISTINCT VALUE IS_DEFINED(c.age) FROM c ORDER BY c.id", json!([true, false]));
}

#[test]
fn aggregates_take_everything_that_is_selected() {
    check("SELECT VALUE COUNT(1) FROM c", json!([4]));
    check("SELECT COUNT(c.age) AS n, MAX(c.id), MIN(c.age) FROM c", json!([{"n": 3, "$1": "4", "$2": 30.0}]));
    check("SELECT VALUE SUM(c.age) FROM c WHERE c.age > 0", json!([70]));
    check("SELECT VALUE AVG(c.age) * 2 FROM c WHERE c.age > 0", json!([70]));
    check("SELECT SUM(c.age), AVG(c.age) FROM c", json!([{}]));
    check("SELECT COUNT(1), SUM(c.a), AVG(c.a), MIN(c.a) FROM c WHERE false", json!([{"$1": 0, "$2": 0}]));
}

#[test]
fn conditions_follow_the_rules_of_undefined() {
    check_where("c.age = 30", "2");
    check_where("c.age = @thirty", "2");
    check_where("c.age != 30", "1");
    check_where("c.age <> 'old'", "");
    check_where("c.age > 'a'", "3");
    check_where("NOT (c.age = 30)", "1");
    check_where("NOT c.age = 30", "1");
    check_where("c.age = 30 OR true", "1 2 3 4");
    check_where("c.nothing AND false", "");
    check_where("NOT (c.nothing AND false)", "1 2 3 4");
    check_where("c.name = null", "4");
    check_where("c.name", "");
    check_where("c.age IN (30, 40)", "1 2");
    check_where("c.age NOT IN (30)", "1");
    check_where("c.age BETWEEN 30 AND 35 AND c.id = '2'", "2");
    check_where("c.age NOT BETWEEN 30 AND 35", "1");
    check_where("c.home = {'a b': 1.0, 'city': 'Bonn'}", "1");
    check_where("c.tags = []", "2");
    check_where("ARRAY_CONTAINS(c.tags, 'b')", "1");
    check_where("ARRAY_CONTAINS(c.tags, {'k': 1})", "");
    check_where("ARRAY_CONTAINS(c.tags, {'k': 1}, true)", "3");
    check_where("IS_DEFINED(c.age) AND NOT IS_NULL(c.name)", "1 2 3");
    check_where(
        "CONTAINS(c.name, 'N', true) OR STARTSWITH(c.name, 'b') OR ENDSWITH(c.name, 'D', true)",
        "1 2 3",
    );
    check_where("STARTSWITH(c.name, 'B')", "");
}

#[test]
fn expressions_have_values() {
    check_value("1 + 2 * 3 - 4 / 2", json!([5]));
    check_value("(1 + 2) * 3 % 5", json!([4]));
    check_value("7 / 2", json!([3.5]));
    check_value("1 / 0", json!([]));
    check_value("-c.age", json!([-40]));
    check_value("- - 1", json!([1]));
    check_value("9007199254740993 = 9007199254740992", json!([false]));
    check_value("1 = 1.0", json!([true]));
    check_value("'a' || \"b\" || c.name", json!(["abAnn"]));
    check_value("c.x ?? c.y ?? 'none'", json!(["none"]));
    check_value("null ?? 1", json!([null]));
    check_value(r#"'\u00e4\'\ud83d\ude00\n'"#, json!(["ä'😀\n"]));
    check_value("LOWER(c.name) || UPPER('ß')", json!(["annSS"]));
    check_value("LENGTH('äöü')", json!([3]));
    check_value("ABS(-2.5)", json!([2.5]));
    check_value("LENGTH(1)", json!([]));
    check_value("'1' + 1", json!([]));
    check_value("undefined", json!([]));
}

#[test]
fn what_is_not_supported_is_said_with_its_position() {
    check_error("SELECT * FROM c JOIN t IN c.tags", 17, "JOIN is not supported");
    check_error("SELECT c.a, COUNT(1) FROM c GROUP BY c.a", 8, "GROUP BY");
    check_error("SELECT c.a FROM c GROUP BY c.a", 19, "GROUP is not supported");
    check_error("SELECT * FROM t IN c.tags", 17, "only name the container");
    check_error("SELECT * FROM c WHERE c.a LIKE 'x%'", 27, "LIKE is not supported");
    check_error("SELECT * FROM c WHERE EXISTS(SELECT 1)", 23, "EXISTS is not supported");
    check_error("SELECT * FROM c WHERE c.a IN (SELECT VALUE 1)", 31, "query inside a query");
    check_error("SELECT * FROM c WHERE udf.f(c)", 23, "UDF is not supported");
    check_error("SELECT VALUE c.a ? 1 : 2 FROM c", 18, "? :");
    check_error("SELECT VALUE SQRT(c.a) FROM c", 14, "ARRAY_CONTAINS");
    check_error("SELECT VALUE LOWER() FROM c", 14, "takes 1 to 1");
    check_error("SELECT * FROM c WHERE COUNT(1) > 1", 23, "after SELECT");
    check_error("SELECT VALUE SUM(MAX(c.a)) FROM c", 18, "inside an aggregate");
    check_error("SELECT * FROM c WHERE d.a = 1", 23, "called c");
    check_error("SELECT c.a, c.b.a FROM c", 13, "two values named a");
    check_error("SELECT TOP 1 * FROM c OFFSET 1 LIMIT 1", 23, "with TOP");
    check_error("SELECT TOP @text * FROM c", 12, "whole number");
    check_error("SELECT TOP -1 * FROM c", 12, "whole number");
    check_error("SELECT * FROM c WHERE c.a = @missing", 29, "@missing");
    check_error("SELECT * FROM c WHERE c.a = 'x", 29, "does not end");
    check_error("SELECT * FROM c WHERE c.a & 1", 27, "'&'");
    check_error("SELECT * FROM c WHERE 1x", 23, "not a number");
    check_error("SELECT *", 9, "FROM was expected");
    check_error("DELETE FROM c", 1, "SELECT was expected");
    check_error("SELECT * FROM c; DROP TABLE c", 16, "';'");
    check_error("ä SELECT", 1, "SELECT was expected");
    check_error("SELECT 'äöü', FROM c", 15, "a value was expected");
    check_error("", 1, "SELECT was expected");
}

#[test]
fn deep_and_long_queries_are_refused_or_answered() {
    let nested = |open: &str, close: &str, count| {
        format!("SELECT VALUE {}1{} FROM c", open.repeat(count), close.repeat(count))
    };
    for (open, close) in [("(", ")"), ("[", "]"), ("-", ""), ("NOT ", ""), ("{a:", "}"), ("ABS(", ")")] {
        assert!(run(&nested(open, close, 30), &people(), &[]).is_ok(), "{open}");
        let error = run(&nested(open, close, 10_000), &people(), &[]).unwrap_err();
        assert!(error.to_string().contains("nested"), "{open}: {error}");
    }
    let long =
        |part: &str, count| run(&format!("SELECT VALUE 1{} FROM c", part.repeat(count)), &people(), &[]);
    assert_eq!(long(" + 1", 500).unwrap()[0], json!(501));
    assert!(long(" + 1", 501).unwrap_err().to_string().contains("operators"));
    assert!(run(&format!("SELECT c{} FROM c", ".a".repeat(501)), &[], &[]).is_err());
    assert_eq!(long(" OR true", 5000).unwrap(), vec![json!(true); 4]);
    assert!(long(" ", 70_000).unwrap_err().to_string().contains("longer"));
}

/// Pieces of queries, mostly in an order that makes no sense.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "SELECT",
            "FROM",
            "WHERE",
            "c",
            "c.a",
            "*",
            "VALUE",
            "TOP",
            "1",
            "'x'",
            "\"",
            "@p",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            "AND",
            "OR",
            "NOT",
            "IN",
            "BETWEEN",
            "=",
            "<",
            "||",
            "??",
            "-",
            "/",
            "%",
            "COUNT(1)",
            "ORDER BY",
            "OFFSET",
            "LIMIT",
            "DISTINCT",
            "LOWER(",
            "ARRAY_CONTAINS(",
            ".",
            ":",
            "?",
            "\\u",
            "null",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.join(" "))
}

/// Expressions that can be read.
fn expression() -> impl Strategy<Value = String> {
    let leaf =
        prop::sample::select(vec!["1", "2.5", "-3", "'x'", "true", "null", "undefined", "c.a", "c.b", "[1]"]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operators = vec!["+", "-", "*", "/", "%", "||", "??", "=", "!=", "<", ">=", "AND", "OR"];
        prop_oneof![
            (inner.clone(), prop::sample::select(operators), inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            inner.clone().prop_map(|value| format!("(NOT ({value}))")),
            inner.clone().prop_map(|value| format!("LOWER({value})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} BETWEEN {b} AND {c})")),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![soup(), ".{0,60}"]) {
        match run(&text, &people(), &[]) {
            Ok(rows) => prop_assert!(rows.len() <= people().len()),
            Err(Error::Query { position, .. }) => prop_assert!((1..=text.chars().count() + 1).contains(&position)),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// A condition, its negation and "undefined" share the documents among them; `IN` is a chain of `=`.
    #[test]
    fn a_condition_is_true_false_or_undefined(left in expression(), right in expression(), a in -2..3_i32) {
        let documents = [json!({"a": a}), json!({"a": "x", "b": a}), json!({"b": null})];
        let count = |condition: String| {
            run(&format!("SELECT VALUE 1 FROM c WHERE {condition}"), &documents, &[]).map(|rows| rows.len())
        };
        let condition = format!("({left}) = ({right})");
        let yes = count(condition.clone())?;
        let no = count(format!("NOT ({condition})"))?;
        let undefined = count(format!("NOT IS_DEFINED({condition})"))?;
        prop_assert_eq!(yes + no + undefined, documents.len());
        prop_assert_eq!(count(format!("({left}) IN ({right})"))?, yes);
        prop_assert_eq!(count(format!("({left}) != ({right})"))?, no);
    }
}
