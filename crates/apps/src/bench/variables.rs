//! What a builder finds in its environment: what is about installing packages, and nothing else of the server's.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Needs, Sources};
use crate::environment::MISLEADING;
use crate::folder::ReadOptions;

/// Of the machine, its way to the network, and whom it trusts.
const PASSED: [&str; 17] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    // Lower case is how most programs of Unix know them.
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SOURCE_DATE_EPOCH",
];

/// Of pip and uv, but a secret that is not for installing, or a place of the host to write to.
const KEPT_BACK: [&str; 8] = [
    "PIP_LOG",
    "PIP_LOG_FILE",
    "PIP_REPORT",
    "PIP_SRC",
    "UV_ENV_FILE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_TOOL_BIN_DIR",
    "UV_TOOL_DIR",
];

/// The whole environment of a builder.
pub(super) fn of_builders(
    options: &ReadOptions,
    needs: &Needs,
    sources: &Sources,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = options
        .environment
        .iter()
        .filter(|(name, _)| is_passed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let text = |path: &Path| path.display().to_string();
    let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
    set("HOME", text(&needs.work));
    set("TMPDIR", text(&needs.work.join("tmp")));
    set("XDG_CACHE_HOME", text(&needs.work.join("cache")));
    set("XDG_CONFIG_HOME", text(&sources.configuration));
    set("PYTHONUNBUFFERED", "1".to_owned());
    // A link into the cache would be a file that is in several environments.
    set("UV_LINK_MODE", "copy".to_owned());
    if let Some(file) = &sources.old_file {
        set("PIP_CONFIG_FILE", text(file));
    }
    for (name, folder) in [("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv")] {
        let own = variables.get(name).filter(|path| Path::new(path.as_str()).starts_with(&options.cache));
        if own.is_none() {
            variables.insert(name.to_owned(), text(&needs.downloads.join(folder)));
        }
    }
    variables
}

fn is_passed(name: &str) -> bool {
    if MISLEADING.contains(&name) || KEPT_BACK.contains(&name) || name.starts_with("UV_PUBLISH_") {
        return false;
    }
    PASSED.contains(&name) || ["PIP_", "UV_", "LC_"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-008: a builder sees what is about packages, and no secret beside it.
    #[test]
    fn t_008_only_what_is_about_packages_is_passed_on() {
        let names = [
            "AWS_SECRET_ACCESS_KEY",
            "DATABASE_URL",
            "HOME",
            "HTTPS_PROXY",
            "LANG",
            "LD_PRELOAD",
            "PATH",
            "PIP_CACHE_DIR",
            "PIP_INDEX_URL",
            "PIP_TARGET",
            "PYTHONPATH",
            "SSL_CERT_FILE",
            "UV_CACHE_DIR",
            "UV_INDEX_URL",
            "UV_PUBLISH_TOKEN",
        ];
        let mut options = ReadOptions { cache: "/cache".into(), ..ReadOptions::default() };
        options.environment = names.map(|name| (name.to_owned(), format!("/{name} of the shell"))).into();
        options.environment.insert("UV_CACHE_DIR".to_owned(), "/cache/of-uv".to_owned());
        let needs = Needs { work: "/work".into(), downloads: "/cache/d".into(), ..Needs::default() };
        let found = of_builders(&options, &needs, &Sources::default());
        let of_shell: Vec<&str> = found
            .iter()
            .filter(|(_, value)| value.ends_with("of the shell"))
            .map(|(name, _)| &**name)
            .collect();
        let expected = ["HTTPS_PROXY", "LANG", "PATH", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_INDEX_URL"];
        assert_eq!(of_shell, expected);
        assert_eq!((&*found["HOME"], &*found["PIP_CACHE_DIR"]), ("/work", "/cache/d/pip"));
        assert_eq!(found["UV_CACHE_DIR"], "/cache/of-uv");
    }
}
