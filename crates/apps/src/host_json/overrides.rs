//! `AzureFunctionsJobHost__a__b`: app settings that replace values of host.json.

use std::collections::BTreeMap;

use crate::json_place::{Kind, Member, Node};

const PREFIX: &str = "AzureFunctionsJobHost";

pub(super) fn apply(root: &mut Node, settings: &BTreeMap<String, String>) {
    for (name, value) in settings {
        if let Some(path) = path_of(name) {
            set(root, &path, name, value);
        }
    }
}

/// The keys in the name of a setting, which `__` or `:` separates.
fn path_of(name: &str) -> Option<Vec<&str>> {
    let start = name.get(..PREFIX.len())?;
    let rest = &name[PREFIX.len()..];
    if !start.eq_ignore_ascii_case(PREFIX) || !(rest.starts_with("__") || rest.starts_with(':')) {
        return None;
    }
    let path: Vec<&str> =
        rest.split("__").flat_map(|part| part.split(':')).filter(|part| !part.is_empty()).collect();
    (!path.is_empty()).then_some(path)
}

fn set(node: &mut Node, path: &[&str], setting: &str, value: &str) {
    let Some((key, rest)) = path.split_first() else {
        *node = Node::from_setting(setting, value);
        return;
    };
    let empty = |kind| Node { kind, line: 0, setting: Some(setting.to_owned()) };
    if let Ok(index) = key.parse::<usize>() {
        if !matches!(node.kind, Kind::List(_)) {
            *node = empty(Kind::List(Vec::new()));
        }
        if let Kind::List(items) = &mut node.kind {
            // A hole in the numbers closes, as settings come in any order.
            let index = index.min(items.len());
            if index == items.len() {
                items.push(empty(Kind::Null));
            }
            set(&mut items[index], rest, setting, value);
        }
        return;
    }
    if !matches!(node.kind, Kind::Object(_)) {
        *node = empty(Kind::Object(Vec::new()));
    }
    if let Kind::Object(members) = &mut node.kind {
        let index =
            members.iter().rposition(|member| member.key.eq_ignore_ascii_case(key)).unwrap_or(members.len());
        if index == members.len() {
            members.push(Member { key: (*key).to_owned(), line: 0, value: empty(Kind::Null) });
        }
        set(&mut members[index].value, rest, setting, value);
    }
}
