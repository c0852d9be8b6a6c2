//! Two functions on one route: allowed, but only the first in the order of names is ever called.

use ingle_types::problem::Problem;
use ingle_types::spec::FunctionSpec;

use super::{active_route, shown_place};

/// Expects the functions in the order in which routes are tried.
pub(super) fn report_conflicts(functions: &[FunctionSpec], problems: &mut Vec<Problem>) {
    for (index, loser) in functions.iter().enumerate() {
        let Some((route, methods)) = active_route(loser) else { continue };
        let same = functions[..index].iter().find(|winner| {
            active_route(winner).is_some_and(|(other, other_methods)| {
                shape(other) == shape(route) && overlap(other_methods, methods)
            })
        });
        if let Some(winner) = same {
            let message = format!(
                "{} and {} have the same route `{route}`; {} answers, as its name comes first",
                shown_place(winner),
                shown_place(loser),
                winner.name
            );
            let problem = Problem::warning("E0226", message).function(loser.name.as_str());
            let problem =
                match loser.location.as_deref().map(|place| place.rsplit_once(':').unwrap_or((place, ""))) {
                    Some((file, line)) => problem.at(file, line.parse().ok()),
                    None => problem,
                };
            problems.push(problem.fix("give one of them another route or other methods"));
        }
    }
}

/// The template with literals in lower case and without the names of parameters: what decides which paths match.
fn shape(route: &str) -> String {
    let mut shape = String::new();
    let mut rest = route.trim_matches('/');
    while let Some((literal, after)) = rest.split_once('{') {
        shape.push_str(&literal.to_lowercase());
        let (inner, next) = after.split_once('}').unwrap_or((after, ""));
        let stars = inner.len() - inner.trim_start_matches('*').len();
        // Constraints and defaults stay: they tell templates apart.
        let constraint = inner.find([':', '=', '?']).map_or("", |index| &inner[index..]);
        shape.push_str(&format!("{{{}{constraint}}}", "*".repeat(stars.min(1))));
        rest = next;
    }
    shape.push_str(&rest.to_lowercase());
    shape
}

/// No method means every method.
fn overlap(left: &[String], right: &[String]) -> bool {
    left.is_empty() || right.is_empty() || left.iter().any(|method| right.contains(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, right: &str, same: bool) {
        assert_eq!(shape(left) == shape(right), same, "{left} and {right}");
    }

    #[test]
    fn names_of_parameters_do_not_tell_routes_apart() {
        check("items/{id}", "Items/{name}/", true);
        check("items/{id:int}", "items/{name}", false);
        check("{*rest}", "{**all}", true);
        check("{*rest}", "{rest}", false);
        check("a/{x?}", "a/{y}", false);
        check("file-{a}.{b}", "file-{c}.{d}", true);
        check("{broken", "{broken", true);
    }
}
