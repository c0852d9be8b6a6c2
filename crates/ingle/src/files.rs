//! Changing files in an app's folder: whole or not at all, and never over what is there by accident.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::exit::{CommandError, MACHINE};
use crate::templates;

pub(crate) const SETTINGS: &str = "local.settings.json";

/// Puts a new content in the place of a file's old one, or makes the file. Whoever reads meanwhile sees one or the other.
pub(crate) fn replace(path: &Path, content: &str) -> Result<(), CommandError> {
    // What a link points to is changed, not the link.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let next = target.with_extension("ingle-next");
    let write = || {
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create(&next)?;
        if let Ok(old) = std::fs::metadata(&target) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, &target)
    };
    write().map_err(|error: std::io::Error| {
        std::fs::remove_file(&next).ok();
        CommandError::new(MACHINE, "E0106", format!("can't write {}: {error}", path.display()))
    })
}

/// Makes a file that must not be there yet; `false` if it is.
pub(crate) fn create(path: &Path, content: &str) -> Result<bool, CommandError> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    replace(path, content).map(|()| true)
}

pub(crate) fn read(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|error| {
        CommandError::new(MACHINE, "E0106", format!("can't read {}: {error}", path.display()))
    })
}

/// The settings file with these names added, without a value, and the names that were missing. `None` for the text: it
/// can't be changed without losing something, such as a comment.
pub(crate) fn with_settings(text: Option<&str>, names: &[&str]) -> (Option<String>, Vec<String>) {
    let Ok(mut tree) = serde_json::from_str::<Value>(text.unwrap_or(templates::SETTINGS)) else {
        return (None, names.iter().map(|&name| name.to_owned()).collect());
    };
    let Some(values) = tree
        .as_object_mut()
        .map(|top| top.entry("Values").or_insert_with(|| Value::Object(serde_json::Map::new())))
        .and_then(Value::as_object_mut)
    else {
        return (None, names.iter().map(|&name| name.to_owned()).collect());
    };
    let mut added = Vec::new();
    for name in names {
        if !values.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            values.insert((*name).to_owned(), Value::from(""));
            added.push((*name).to_owned());
        }
    }
    if added.is_empty() {
        return (text.map(str::to_owned), added);
    }
    (serde_json::to_string_pretty(&tree).ok().map(|text| text + "\n"), added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_rights_and_never_made_twice() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        assert!(create(&path, "one").unwrap() && !create(&path, "two").unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "three").unwrap();
        assert_eq!(read(&path).unwrap(), "three");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn settings_are_added_and_none_is_changed() {
        let check = |text: Option<&str>, names: &[&str], expected: &[&str]| {
            let (changed, added) = with_settings(text, names);
            assert_eq!(added, expected, "{text:?}");
            changed
        };
        let old = r#"{"Values": {"B": "secret", "A": "1"}, "Host": {"CORS": "*"}}"#;
        let changed = check(Some(old), &["a", "C"], &["C"]).unwrap();
        let tree: Value = serde_json::from_str(&changed).unwrap();
        assert_eq!(
            tree,
            serde_json::json!({"Values": {"B": "secret", "A": "1", "C": ""}, "Host": {"CORS": "*"}})
        );
        assert_eq!(check(Some(old), &["A"], &[]).as_deref(), Some(old));
        assert!(check(None, &["C"], &["C"]).unwrap().contains("IsEncrypted"));
        assert!(check(Some("{}"), &["C"], &["C"]).is_some());
        assert!(check(Some("// note\n{}"), &["C"], &["C"]).is_none());
        assert!(check(Some(r#"{"Values": 1}"#), &["C"], &["C"]).is_none());
    }
}
