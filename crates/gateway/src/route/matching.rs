//! Compares the segments of a request's path with those of a template.

use std::borrow::Cow;

use super::path::RequestPath;
use super::template::{Mixed, Parameter, Part, Segment, fold};

/// Values of the parameters by name, in the order of the template.
pub(crate) type Parameters = Vec<(String, String)>;

/// The parameters' values if the path has the shape of the segments and meets every constraint.
///
/// Optional parameters that the path leaves out have no entry; those with a default have the default.
pub(crate) fn matches(segments: &[Segment], path: &RequestPath<'_>) -> Option<Parameters> {
    // Most routes that don't match differ in a literal. To see that first costs no allocation.
    let differs = segments.iter().zip(&path.segments).any(|(segment, text)| match segment {
        Segment::Literal(literal) => !same(literal, text),
        Segment::Parameter(_) | Segment::CatchAll(_) | Segment::Mixed(_) => false,
    });
    if differs {
        return None;
    }
    let mut found: Vec<(&Parameter, Cow<'_, str>)> = Vec::new();
    let mut rest = path.segments.as_slice();
    for segment in segments {
        if let Segment::CatchAll(parameter) = segment {
            return finish_with_catch_all(found, parameter, rest, path.trailing_slash);
        }
        let Some((text, after)) = rest.split_first() else {
            // Only what can be left out may follow the end of the path.
            let Segment::Parameter(parameter) = segment else { return None };
            match &parameter.default {
                Some(default) => found.push((parameter, Cow::Borrowed(default.as_str()))),
                None if parameter.optional => {}
                None => return None,
            }
            continue;
        };
        rest = after;
        match segment {
            Segment::Literal(_) => {}
            Segment::Parameter(parameter) if !text.is_empty() => found.push((parameter, Cow::Borrowed(text))),
            Segment::Mixed(mixed) => {
                found.extend(
                    match_mixed(mixed, text)?.into_iter().map(|(parameter, value)| (parameter, value.into())),
                );
            }
            Segment::Parameter(_) | Segment::CatchAll(_) => return None,
        }
    }
    if rest.is_empty() { collect(found) } else { None }
}

/// Gives the catch-all parameter what is left of the path, slashes and all.
fn finish_with_catch_all<'a>(
    mut found: Vec<(&'a Parameter, Cow<'a, str>)>,
    parameter: &'a Parameter,
    rest: &[Cow<'_, str>],
    trailing_slash: bool,
) -> Option<Parameters> {
    if !rest.is_empty() {
        let mut value = rest.join("/");
        value.extend(trailing_slash.then_some('/'));
        found.push((parameter, Cow::Owned(value)));
    } else if let Some(default) = &parameter.default {
        found.push((parameter, Cow::Borrowed(default.as_str())));
    }
    collect(found)
}

fn collect(found: Vec<(&Parameter, Cow<'_, str>)>) -> Option<Parameters> {
    let accepted = found.iter().all(|(parameter, value)| parameter.accepts(value));
    accepted.then(|| {
        found.into_iter().map(|(parameter, value)| (parameter.name.clone(), value.into_owned())).collect()
    })
}

/// Whether a text is a folded literal, without regard to case.
fn same(literal: &str, text: &str) -> bool {
    if literal.is_ascii() && text.is_ascii() {
        return literal.eq_ignore_ascii_case(text);
    }
    literal.chars().eq(text.chars().map(fold))
}

fn match_mixed<'a>(mixed: &'a Mixed, text: &'a str) -> Option<Vec<(&'a Parameter, &'a str)>> {
    match_parts(&mixed.parts, text).or_else(|| {
        // `name.` is not `name` without its extension.
        let short = mixed.short.as_ref().filter(|_| !text.ends_with('.'))?;
        match_parts(short, text)
    })
}

/// Matches the parts of a segment. The literals at both ends are fixed; those between are looked for from the right,
/// so the first parameters take as much as they can: `{name}.{ext}` of `a.b.c` is `a.b` and `c`.
fn match_parts<'a>(parts: &'a [Part], text: &'a str) -> Option<Vec<(&'a Parameter, &'a str)>> {
    let mut parts = parts;
    let mut rest = text;
    if let [Part::Literal(literal), inner @ ..] = parts {
        (parts, rest) = (inner, without_prefix(literal, rest)?);
    }
    if let [inner @ .., Part::Literal(literal)] = parts {
        (parts, rest) = (inner, without_suffix(literal, rest)?);
    }
    let mut found = Vec::new();
    while let [inner @ .., Part::Literal(literal), Part::Parameter(parameter)] = parts {
        let (before, value) = split_last(literal, rest)?;
        found.push((parameter, value));
        (parts, rest) = (inner, before);
    }
    match parts {
        [Part::Parameter(parameter)] if !rest.is_empty() => found.push((parameter, rest)),
        [] if rest.is_empty() => {}
        _ => return None,
    }
    found.reverse();
    Some(found)
}

fn without_prefix<'a>(literal: &str, text: &'a str) -> Option<&'a str> {
    let mut symbols = text.chars();
    for expected in literal.chars() {
        if fold(symbols.next()?) != expected {
            return None;
        }
    }
    Some(symbols.as_str())
}

fn without_suffix<'a>(literal: &str, text: &'a str) -> Option<&'a str> {
    let mut symbols = text.chars();
    for expected in literal.chars().rev() {
        if fold(symbols.next_back()?) != expected {
            return None;
        }
    }
    Some(symbols.as_str())
}

/// Splits at the last place of the literal that leaves something on both sides.
fn split_last<'a>(literal: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    text.char_indices().rev().filter(|(at, _)| *at > 0).find_map(|(at, _)| {
        let after = without_prefix(literal, &text[at..]).filter(|after| !after.is_empty())?;
        Some((&text[..at], after))
    })
}
