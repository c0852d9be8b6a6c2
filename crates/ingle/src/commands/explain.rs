//! `ingle explain E0203`: the page of an error, offline.

use serde_json::json;

use crate::exit::{CommandError, USAGE};
use crate::printer::{Style, write_out};

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

pub(crate) fn run(code: Option<&str>, style: Style) -> Result<u8, CommandError> {
    let Some(code) = code else {
        list(style);
        return Ok(0);
    };
    let wanted = code.trim().to_uppercase();
    let page = PAGES.iter().find(|(known, _)| *known == wanted);
    let Some((code, page)) = page else {
        let message = format!("there is no error '{code}'");
        return Err(CommandError::new(USAGE, "E0703", message).hint("`ingle explain` lists all codes"));
    };
    if style.json {
        write_out(&format!("{}\n", json!({"code": code, "title": title(page), "page": page})));
    } else {
        write_out(&format!("{}\n", page.trim_end()));
    }
    Ok(0)
}

fn list(style: Style) {
    for (code, page) in PAGES {
        if style.json {
            write_out(&format!("{}\n", json!({"code": code, "title": title(page)})));
        } else {
            write_out(&format!("{code}  {}\n", title(page)));
        }
    }
}

/// The page's first line without its mark and code.
fn title(page: &str) -> &str {
    let line = page.lines().next().unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, title)| title)
}
