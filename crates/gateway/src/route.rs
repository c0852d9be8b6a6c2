//! Which function answers a request: path and method to function and parameters.
//!
//! | question | module |
//! |---|---|
//! | What does a template say? | [`template`] |
//! | What does `{id:int}` accept? | [`constraint`] |
//! | What is the path of a request? | [`path`] |
//! | Does a path fit a template? | `matching` |
//!
//! Functions are tried in the order of their names, as in Azure (facts 3.1): no route is "more specific" than another.
//! A small index by the first literal segment keeps routes out of it that can't match.

pub mod constraint;
mod matching;
pub mod path;
pub mod template;

use std::collections::HashMap;

use thiserror::Error;

use ingle_types::ids::FunctionName;
use ingle_types::outcome::Blame;

use path::RequestPath;
use template::{Segment, Template, TemplateError, fold};

/// The route of one function.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    pub function: FunctionName,
    /// Without the prefix.
    pub template: Template,
    /// Empty means every method.
    pub methods: Vec<String>,
}

/// What a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Found {
        function: FunctionName,
        /// Decoded values in the order of the template; parameters that were left out are absent.
        parameters: Vec<(String, String)>,
    },
    /// The path is known, but not with this method: 405.
    WrongMethod {
        /// Upper case, sorted; for the header `Allow`.
        allow: Vec<String>,
    },
    NotFound,
}

/// A prefix that can't stand before the routes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PrefixError {
    #[error("the route prefix can't be read")]
    Template(#[from] TemplateError),
    #[error(
        "the parameter `{0}` of the route prefix can be left out, but what follows a prefix can't do without it"
    )]
    Optional(String),
    #[error("the parameter `{parameter}` is in the route prefix and in the route of function `{function}`")]
    Duplicate { parameter: String, function: FunctionName },
}

impl PrefixError {
    pub fn code(&self) -> &'static str {
        "E0232"
    }

    pub fn blame(&self) -> Blame {
        Blame::App
    }

    pub fn hint(&self) -> Option<String> {
        Some("correct `extensions.http.routePrefix` in host.json; plain text such as `api` or `shop/v1` always works".to_owned())
    }
}

/// All routes of an app.
#[derive(Clone, Debug)]
pub struct Router {
    /// In the order in which they are tried.
    routes: Vec<Route>,
    /// How many segments the prefix has.
    prefix_len: usize,
    /// Numbers of the routes to try for a folded first segment behind the prefix.
    by_first: HashMap<String, Vec<usize>>,
    /// Those to try for any other.
    others: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Route {
    function: FunctionName,
    /// Prefix and template.
    segments: Vec<Segment>,
    methods: Vec<String>,
}

impl Router {
    /// Builds the table. The entries may come in any order; the prefix may hold required parameters.
    ///
    /// # Errors
    /// The prefix can't be read, or doesn't go together with a route.
    pub fn new(prefix: &str, mut entries: Vec<RouteEntry>) -> Result<Self, PrefixError> {
        let prefix = Template::parse(prefix)?;
        for segment in &prefix.segments {
            check_prefix_segment(segment)?;
        }
        entries.sort_by_cached_key(|entry| entry.function.as_str().to_lowercase());
        let mut routes = Vec::with_capacity(entries.len());
        for entry in entries {
            let clash = prefix
                .parameter_names()
                .find(|name| entry.template.parameter_names().any(|own| own.eq_ignore_ascii_case(name)));
            if let Some(parameter) = clash {
                return Err(PrefixError::Duplicate {
                    parameter: parameter.to_owned(),
                    function: entry.function,
                });
            }
            let segments = prefix.segments.iter().cloned().chain(entry.template.segments).collect();
            let mut methods = entry.methods;
            methods.iter_mut().for_each(|method| method.make_ascii_uppercase());
            routes.push(Route { function: entry.function, segments, methods });
        }
        let prefix_len = prefix.segments.len();
        let (by_first, others) = index(&routes, prefix_len);
        Ok(Self { routes, prefix_len, by_first, others })
    }

    /// Finds the first function whose route has the shape of the path and allows the method.
    ///
    /// `HEAD` and `OPTIONS` must be listed like any other method.
    pub fn find(&self, method: &str, path: &RequestPath<'_>) -> Match {
        let mut allow: Vec<String> = Vec::new();
        for number in self.candidates(path) {
            let route = &self.routes[*number];
            let allowed = route.methods.is_empty()
                || route.methods.iter().any(|known| known.eq_ignore_ascii_case(method));
            let Some(parameters) = matching::matches(&route.segments, path) else { continue };
            if allowed {
                return Match::Found { function: route.function.clone(), parameters };
            }
            allow.extend(route.methods.iter().cloned());
        }
        if allow.is_empty() {
            return Match::NotFound;
        }
        allow.sort_unstable();
        allow.dedup();
        Match::WrongMethod { allow }
    }

    fn candidates(&self, path: &RequestPath<'_>) -> &[usize] {
        let first = path.segments.get(self.prefix_len).filter(|_| !self.by_first.is_empty());
        let known = first.and_then(|segment| {
            let is_folded = segment.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
            if is_folded {
                self.by_first.get(&**segment)
            } else {
                self.by_first.get(&segment.chars().map(fold).collect::<String>())
            }
        });
        known.unwrap_or(&self.others)
    }
}

fn check_prefix_segment(segment: &Segment) -> Result<(), PrefixError> {
    match segment {
        Segment::CatchAll(parameter) => Err(PrefixError::Optional(parameter.name.clone())),
        Segment::Parameter(parameter) if parameter.optional || parameter.default.is_some() => {
            Err(PrefixError::Optional(parameter.name.clone()))
        }
        Segment::Literal(_) | Segment::Parameter(_) | Segment::Mixed(_) => Ok(()),
    }
}

/// For each literal that a route begins with: the routes that begin with it or with something else than a literal.
fn index(routes: &[Route], prefix_len: usize) -> (HashMap<String, Vec<usize>>, Vec<usize>) {
    let first = |route: &Route| match route.segments.get(prefix_len) {
        Some(Segment::Literal(text)) => Some(text.clone()),
        Some(Segment::Parameter(_) | Segment::CatchAll(_) | Segment::Mixed(_)) | None => None,
    };
    let firsts: Vec<Option<String>> = routes.iter().map(first).collect();
    let others = (0..routes.len()).filter(|number| firsts[*number].is_none()).collect();
    let mut by_first: HashMap<String, Vec<usize>> = HashMap::new();
    for literal in firsts.iter().flatten() {
        by_first.entry(literal.clone()).or_insert_with(|| {
            let fits = |number: &usize| firsts[*number].as_ref().is_none_or(|other| other == literal);
            (0..routes.len()).filter(fits).collect()
        });
    }
    (by_first, others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router(prefix: &str, routes: &[(&str, &str, &[&str])]) -> Router {
        let entries = routes.iter().map(|(function, template, methods)| RouteEntry {
            function: FunctionName::new(function),
            template: Template::parse(template).unwrap(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
        });
        Router::new(prefix, entries.collect()).unwrap()
    }

    fn parameters_of(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let path = RequestPath::parse(path).unwrap();
        match router("api", &[("f", template, &[])]).find("GET", &path) {
            Match::Found { parameters, .. } => Some(parameters),
            Match::NotFound => None,
            Match::WrongMethod { .. } => panic!("every method is allowed"),
        }
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Under the prefix `api`; `None` means not found.
    fn check(template: &str, path: &str, expected: Option<&[(&str, &str)]>) {
        assert_eq!(parameters_of(template, path), expected.map(owned), "{template} with {path}");
    }

    /// Function name, or `405 METHODS`, or `404`.
    fn check_router(router: &Router, request: &str, expected: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let found = match router.find(method, &RequestPath::parse(path).unwrap()) {
            Match::Found { function, .. } => function.to_string(),
            Match::WrongMethod { allow } => format!("405 {}", allow.join(",")),
            Match::NotFound => "404".to_owned(),
        };
        assert_eq!(found, expected, "{request}");
    }

    #[test]
    fn examples_of_the_user_guide_are_true() {
        let guide = include_str!("../../../docs/http.md");
        let section = guide.split("### Examples").nth(1).and_then(|rest| rest.split("### ").next()).unwrap();
        let rows: Vec<Vec<&str>> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert!(rows.len() >= 10, "{rows:?}");
        for row in rows {
            let [template, path, result] = row[..] else { panic!("{row:?}") };
            let quoted: Vec<&str> = result.split('`').skip(1).step_by(2).collect();
            let pairs: Vec<(&str, &str)> = quoted.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            assert!(["nothing", "no match"].contains(&result) || !pairs.is_empty(), "{row:?}");
            let expected = (result != "no match").then_some(pairs.as_slice());
            check(template.trim_matches('`'), path.trim_matches('`'), expected);
        }
    }

    #[test]
    fn literals_and_parameters() {
        check("hello", "/api/hello", Some(&[]));
        check("hello", "/API/Hello/", Some(&[]));
        check("hello", "/hello", None);
        check("hello", "/api", None);
        check("hello", "/api//hello", None);
        check("", "/api", Some(&[]));
        check("Grüße", "/api/gr%C3%9C%C3%9Fe", Some(&[]));
        check("kilo", "/api/%E2%84%AAilo", None);
        check("a.b{{c}}", "/api/A.B%7BC%7D", Some(&[]));
        check("orders/{id}", "/api/orders/A%207", Some(&[("id", "A 7")]));
        check("orders/{id}", "/api/orders/a%2Fb", Some(&[("id", "a/b")]));
        check("orders/{id}", "/api/orders", None);
        check("orders/{id}", "/api/orders/7/lines", None);
        check("{a}/{b}", "/api//x", None);
    }

    #[test]
    fn what_can_be_left_out() {
        check("orders/{id?}", "/api/orders", Some(&[]));
        check("orders/{id?}", "/api/orders/7", Some(&[("id", "7")]));
        check("{a?}/{b?}", "/api", Some(&[]));
        check("{a?}/{b?}", "/api/x", Some(&[("a", "x")]));
        check("page/{number:int=1}", "/api/page", Some(&[("number", "1")]));
        check("page/{number:int=1}", "/api/page/3", Some(&[("number", "3")]));
        check("page/{number:int?}", "/api/page/x", None);
        check("{a?}/b", "/api/b", None);
        check("files/{*rest}", "/api/files", Some(&[]));
        check("files/{*rest=index.html}", "/api/files/", Some(&[("rest", "index.html")]));
    }

    #[test]
    fn catch_all_keeps_slashes() {
        check("files/{*rest}", "/api/files/a/b%20c", Some(&[("rest", "a/b c")]));
        check("files/{**rest}", "/api/files/a/b/", Some(&[("rest", "a/b/")]));
        check("files/{*rest}", "/api/files/http://x", Some(&[("rest", "http://x")]));
        check("files/{*rest:minlength(3)}", "/api/files/a", None);
    }

    #[test]
    fn several_parts_in_a_segment() {
        check("file-{name}.{ext}", "/api/file-a.b.txt", Some(&[("name", "a.b"), ("ext", "txt")]));
        check("file-{name}.{ext}", "/api/FILE-a.", None);
        check("{name}.{ext?}", "/api/readme", Some(&[("name", "readme")]));
        check("{name}.{ext?}", "/api/readme.md", Some(&[("name", "readme"), ("ext", "md")]));
        check("{name}.{ext?}", "/api/readme.", None);
        check("v{major:int}.{minor:int}", "/api/v1.22", Some(&[("major", "1"), ("minor", "22")]));
        check("v{major:int}.{minor:int}", "/api/v1.x", None);
        check("a{x}a", "/api/aaa", Some(&[("x", "a")]));
        check("a{x}a", "/api/aa", None);
        check("{a}--{b}--{c}", "/api/1--2--3--4", Some(&[("a", "1--2"), ("b", "3"), ("c", "4")]));
        check("{a}ä{b}", "/api/x%C3%84y", Some(&[("a", "x"), ("b", "y")]));
    }

    #[test]
    fn constraints_decide() {
        check("{id:int:min(10)}", "/api/10", Some(&[("id", "10")]));
        check("{id:int:min(10)}", "/api/9", None);
        check("{when:datetime}", "/api/2024-02-29", Some(&[("when", "2024-02-29")]));
        check(r"{ssn:regex(^\d{{3}}-\d{{2}}$)}", "/api/123-45", Some(&[("ssn", "123-45")]));
    }

    #[test]
    fn first_function_by_name_wins_and_wrong_methods_are_told() {
        let router = router(
            "api",
            &[
                ("new_item", "items/new", &["GET"]),
                ("Item", "items/{id}", &["get", "PUT"]),
                ("remove", "items/{id}", &["DELETE"]),
                ("numbered", "{kind}/{number:int}", &["POST"]),
                ("any", "any", &[]),
            ],
        );
        check_router(&router, "GET /api/items/new", "Item");
        check_router(&router, "DELETE /api/items/new", "remove");
        check_router(&router, "PATCH /api/items/new", "405 DELETE,GET,PUT");
        check_router(&router, "POST /api/items/7", "numbered");
        check_router(&router, "HEAD /api/items/7", "405 DELETE,GET,POST,PUT");
        check_router(&router, "POST /api/ITEMS/7", "numbered");
        check_router(&router, "HEAD /api/any", "any");
        check_router(&router, "GET /api/other/x", "404");
        check_router(&router, "GET /", "404");
    }

    #[test]
    fn prefixes() {
        check_router(&router("", &[("f", "f", &[])]), "GET /f", "f");
        check_router(&router("", &[("f", "", &[])]), "GET /", "f");
        check_router(&router("/shop/v1/", &[("f", "f", &[])]), "GET /shop/v1/f", "f");
        check_router(&router("{tenant}/api", &[("f", "f", &[])]), "GET /a/api/f", "f");
        let template = Template::parse("{Tenant}").unwrap();
        let entry = RouteEntry { function: FunctionName::new("f"), template, methods: Vec::new() };
        for (prefix, hint) in
            [("{*x}", "Optional"), ("{x?}", "Optional"), ("a//b", "Template"), ("{tenant}", "Duplicate")]
        {
            let error = Router::new(prefix, vec![entry.clone()]).unwrap_err();
            assert!(format!("{error:?}").starts_with(hint), "{prefix}: {error:?}");
        }
    }

    /// One segment of a template that always gives its value back, with the value.
    fn segment() -> impl Strategy<Value = (&'static str, &'static str, String)> {
        let text = "[a-zA-Zéß0-9 +;,=&?#%/-]{1,8}";
        prop_oneof![
            text.prop_map(|value| ("{}", "", value)),
            text.prop_map(|value| ("pre_{}", "pre_", value)),
            (0..i32::MAX).prop_map(|value| ("{:int}", "", value.to_string())),
            Just(("literal", "Literal", String::new())),
        ]
    }

    fn encode(text: &str) -> String {
        let symbols = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        });
        symbols.collect()
    }

    proptest! {
        #[test]
        fn a_path_made_from_parameters_gives_them_back(parts in prop::collection::vec(segment(), 0..6), catch_all in "([a-zé ]{1,3}/){0,3}") {
            let mut template = String::new();
            let mut path = "/api".to_owned();
            let mut expected = Vec::new();
            for (number, (shape, before, value)) in parts.iter().enumerate() {
                let name = format!("p{number}");
                template += &format!("{}/", shape.replace("{:int}", "{@:int}").replace("{}", "{@}").replace('@', &name));
                path += &format!("/{before}{}", encode(value));
                if shape.contains('{') {
                    expected.push((name, value.clone()));
                }
            }
            template += "{*rest}";
            if !catch_all.is_empty() {
                path += &format!("/{}", encode(&catch_all).replace("%2f", "/"));
                expected.push(("rest".to_owned(), catch_all));
            }
            prop_assert_eq!(parameters_of(&template, &path), Some(expected), "{} {}", template, path);
        }

        #[test]
        fn a_parameter_holds_no_slash_unless_it_was_encoded(path in "(/[a-b.]{0,3}(%20)?){1,5}/?") {
            let Ok(read) = RequestPath::parse(&path) else { return Ok(()) };
            for template in ["{a}", "{a}/{b?}", "{a}/{b}/{c}", "{a}.{b}", "{a}.{b?}/{c?}"] {
                if let Match::Found { parameters, .. } = router("", &[("f", template, &[])]).find("GET", &read) {
                    prop_assert!(parameters.iter().all(|(_, value)| !value.contains('/') && !value.is_empty()));
                }
            }
        }
    }
}
