//! `blobTrigger` and `blob`: paths, and what is wrong with them.

use ingle_types::spec::{AppSpec, BindingKind, DataType, TriggerSpec};

use super::{check_with, options};

/// One function `F` with these bindings, each on a line of its own from line 2 on; `problem` keeps it from running.
fn check_blob(bindings: &[&str], problem: Option<&str>) -> AppSpec {
    let text = format!("{{\"bindings\": [\n{}\n]}}", bindings.join(",\n"));
    let functions: &[&str] = if problem.is_some() { &[] } else { &["F"] };
    let mut problems: Vec<&str> = problem.into_iter().collect();
    if problem.is_some() {
        problems.push("error[E0206]: the only function has an error or is left out");
    }
    let files = [("F/function.json", text.as_str()), ("F/__init__.py", "")];
    check_with(&files, &options(&[("BOX", "images")]), &problems, functions)
}

fn trigger(path: &str) -> String {
    format!(r#"{{"type": "blobTrigger", "direction": "in", "name": "blob", "path": "{path}"}}"#)
}

fn input(path: &str) -> String {
    format!(r#"{{"type": "blob", "direction": "in", "name": "other", "path": "{path}"}}"#)
}

#[test]
fn paths_of_triggers_are_a_container_and_a_pattern() {
    for (path, container, pattern) in [
        ("images/{name}.{extension}", "images", "{name}.{extension}"),
        ("images", "images", ""),
        ("%BOX%/in/{name}", "images", "in/{name}"),
        ("$web/{name}", "$web", "{name}"),
    ] {
        let spec = check_blob(&[&trigger(path)], None);
        let TriggerSpec::Blob(found) = &spec.functions[0].trigger else { panic!("{spec:?}") };
        assert_eq!((found.container.as_str(), found.pattern.to_string().as_str()), (container, pattern));
        assert!(!found.as_file && found.data_type == DataType::Undefined);
    }
    let file = r#"{"type": "blobTrigger", "name": "blob", "path": "films/{name}", "mode": "FILE", "source": "EventGrid"}"#;
    let spec = check_blob(&[file], None);
    assert!(matches!(&spec.functions[0].trigger, TriggerSpec::Blob(found) if found.as_file));
}

/// T-026: what can't be a name is refused where it stands.
#[test]
fn t_026_bad_paths_are_reported_with_their_place() {
    for (path, message) in [
        ("{box}/x", "the container of a blobTrigger must be a plain name, and this is `{box}`"),
        ("Images/{name}", "`Images`: the name of a container has only lower-case letters, digits and dashes"),
        ("../{name}", "`..`: the name of a container has 3 to 63 characters"),
        ("images/{name", "path: `{` without `}`; write `{{` for the character itself, at character 8"),
        ("images/{a}/{a}", "path: two parts are named `a`, at character 12"),
        (
            "images/{rand-guid}",
            "path: `rand-guid` can't name a part of a blob's name; letters, digits and `_` can, a letter first, at character 8",
        ),
    ] {
        check_blob(&[&trigger(path)], Some(&format!("error[E0237] F/function.json:2: {message}")));
    }
    for (path, message) in [
        ("images", "`images` is no path of a blob; container/name is"),
        ("images/", "``: the name of a blob is empty"),
        ("a/x", "`a`: the name of a container has 3 to 63 characters"),
    ] {
        let problem = format!("error[E0237] F/function.json:3: {message}");
        check_blob(&[&trigger("images/{name}"), &input(path)], Some(&problem));
    }
    check_blob(
        &[&trigger("images/{name}"), r#"{"type": "blob", "name": "other", "path": "images/x"}"#],
        Some("error[E0232] F/function.json:3: a blob binding needs a direction: in or out"),
    );
    check_blob(
        &[r#"{"type": "blobTrigger", "name": "b", "path": "images/x", "mode": "path"}"#],
        Some("error[E0232] F/function.json:2: mode can't be `path`"),
    );
}

#[test]
fn inputs_and_outputs_have_expressions_everywhere() {
    for path in
        ["thumbs/{name}-small.{extension}", "{container}/{name}", "{blobTrigger}", "thumbs/{rand-guid}"]
    {
        let output = input(path).replace("\"in\"", "\"out\"");
        let spec = check_blob(&[&trigger("images/{name}.{extension}"), &output], None);
        let BindingKind::BlobOutput { path: found } = &spec.functions[0].bindings[0].kind else {
            panic!("{spec:?}")
        };
        assert_eq!(found.to_string(), path);
    }
    let spec = check_blob(&[&trigger("images/{name}"), &input("thumbs/{name}")], None);
    assert!(matches!(spec.functions[0].bindings[0].kind, BindingKind::BlobInput { as_file: false, .. }));
}
