//! `ingle log-level`: what the running server logs, changed at once and without a new version of the app (S-045).

use bytes::Bytes;
use http::Method;
use ingle_control::absolute;
use ingle_tasks::Tasks;
use ingle_types::log_levels::{DEFAULT_CATEGORY, Threshold};

use crate::cli::LogLevelArguments;
use crate::client::Client;
use crate::exit::{CommandError, MACHINE, USAGE};
use crate::printer::{Style, harmless, write_out};
use crate::screen;
use crate::surroundings::Surroundings;

pub(crate) async fn run(arguments: LogLevelArguments, style: Style) -> Result<u8, CommandError> {
    let (method, query) = request(&arguments.rule, arguments.reset)?;
    let state = Surroundings::state(&absolute(&arguments.at.folder), arguments.at.state.as_ref());
    let Some(client) = Client::connect(&state, &Tasks::new()).await else {
        let message = "no server runs for this app";
        let hint = "name its folder with --app; what a server logs from its start on is said in host.json, logging.logLevel";
        return Err(CommandError::new(MACHINE, "E0702", message).hint(hint));
    };
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shown = client.request(method, "/v1/log-levels", &query, Bytes::new()).await?;
    let text = if style.json { shown.to_string() } else { harmless(&screen::log_levels(&shown)) };
    write_out(&format!("{text}\n"));
    Ok(0)
}

/// What is asked of the server: method and query.
type Asked = (Method, Vec<(&'static str, String)>);

fn request(rule: &[String], is_reset: bool) -> Result<Asked, CommandError> {
    let wrong = |message: String| Err(CommandError::new(USAGE, "E0703", message));
    let level = |text: &str| text.parse::<Threshold>().ok().map(|level| ("level", level.as_str().to_owned()));
    match (rule, is_reset) {
        ([], false) => Ok((Method::GET, Vec::new())),
        ([], true) => Ok((Method::POST, Vec::new())),
        ([category], true) => Ok((Method::POST, vec![("category", category.clone())])),
        ([text], false) => match level(text) {
            Some(level) => Ok((Method::POST, vec![("category", DEFAULT_CATEGORY.to_owned()), level])),
            None => wrong(no_level(text)),
        },
        ([category, text], false) => match level(text) {
            Some(level) => Ok((Method::POST, vec![("category", category.clone()), level])),
            None => wrong(no_level(text)),
        },
        _ => wrong("--reset takes a category at most".to_owned()),
    }
}

fn no_level(text: &str) -> String {
    format!("'{text}' is no level; there are {}", Threshold::ALL.map(Threshold::as_str).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_everything_without_a_rule() {
        let check = |rule: &[&str], is_reset, expected: Option<&str>| {
            let rule: Vec<String> = rule.iter().map(|&text| text.to_owned()).collect();
            let asked = request(&rule, is_reset).ok().map(|(method, query)| {
                let query: Vec<String> =
                    query.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{method}{}", query.concat())
            });
            assert_eq!(asked.as_deref(), expected, "{rule:?} {is_reset}");
        };
        check(&[], false, Some("GET"));
        check(&["debug"], false, Some("POST category=default level=Debug"));
        check(&["Function.a", "NONE"], false, Some("POST category=Function.a level=None"));
        check(&["Function.a"], true, Some("POST category=Function.a"));
        check(&[], true, Some("POST"));
        check(&["loud"], false, None);
        check(&["Function.a", "loud"], false, None);
        check(&["Function.a", "debug"], true, None);
    }
}
