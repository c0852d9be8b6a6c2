//! Where packages come from: what the variables and files of pip and uv name, which is what builders may see and reach.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ingle_sandbox::egress::policy::Target;

use super::Needs;
use crate::folder::{AppFolder, ReadOptions, find, read_bytes};

/// Options that name an address or a path, as pip and uv call them.
const NAMING: [&str; 19] = [
    "build-constraint",
    "cert",
    "client-cert",
    "config-file",
    "constraint",
    "constraints",
    "default-index",
    "extra-index-url",
    "find-links",
    "index",
    "index-url",
    "override",
    "overrides",
    "proxy",
    "requirement",
    "trusted-host",
    "url",
    "allow-insecure-host",
    "build-constraints",
];

/// Variables of others that name an address or a path.
const VARIABLES: [&str; 10] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
];

/// What is named.
#[derive(Default, Debug)]
pub(crate) struct Sources {
    /// Hosts that are reached wherever they are.
    pub(super) hosts: Vec<Target>,
    /// Files and folders of the host.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Where the files of the user's settings are: `~/.config`.
    pub(super) configuration: PathBuf,
    /// The settings of pip at the place that it had first, if nothing else is said.
    pub(super) old_file: Option<PathBuf>,
}

impl Sources {
    pub(super) fn find(folder: &AppFolder, options: &ReadOptions, needs: &Needs) -> Self {
        let configuration = find(&options.environment, "XDG_CONFIG_HOME")
            .filter(|path| !path.is_empty())
            .map_or_else(|| options.home.join(".config"), PathBuf::from);
        let mut sources = Self::default();
        for (name, value) in &options.environment {
            let option = ["PIP_", "UV_"].iter().find_map(|start| name.strip_prefix(start));
            let option = option.map(|name| name.to_ascii_lowercase().replace('_', "-"));
            let is_naming = option.is_some_and(|option| NAMING.contains(&option.as_str()));
            if is_naming || VARIABLES.contains(&name.as_str()) {
                sources.take(value);
            }
        }
        let old_file = options.home.join(".pip/pip.conf");
        if old_file.is_file() && find(&options.environment, "PIP_CONFIG_FILE").is_none() {
            sources.old_file = Some(old_file.clone());
        }
        let mut files: Vec<PathBuf> =
            ["/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml"]
                .map(Into::into)
                .into();
        files.extend(["pip/pip.conf", "uv/uv.toml"].map(|name| configuration.join(name)));
        files.push(old_file);
        let named =
            ["PIP_CONFIG_FILE", "UV_CONFIG_FILE"].iter().filter_map(|name| find(&options.environment, name));
        files.extend(named.map(PathBuf::from).filter(|path| path != Path::new("/dev/null")));
        files.extend(
            needs.pythons.iter().filter_map(|python| Some(python.parent()?.parent()?.join("pip.conf"))),
        );
        for file in files {
            if let Ok(Some(bytes)) = read_bytes(&file) {
                sources.take_file(&String::from_utf8_lossy(&bytes));
                sources.paths.insert(file);
            }
        }
        // What the app's own files say of addresses is the app's word, as its settings are.
        sources.take_urls(&folder.requirements.text);
        for name in ["pyproject.toml", "uv.toml"] {
            let text = read_bytes(&folder.root.join(name)).ok().flatten().unwrap_or_default();
            sources.take_urls(&String::from_utf8_lossy(&text));
        }
        sources.paths.retain(|path| path.is_absolute() && path != &needs.downloads);
        sources.configuration = configuration;
        sources
    }

    /// The lines of a file of pip or uv. A value may go on in lines that are indented.
    fn take_file(&mut self, text: &str) {
        let mut is_naming = false;
        for line in text.lines() {
            let line = line.split(" #").next().unwrap_or_default();
            let value = match line.split_once(['=', ':']) {
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    is_naming = NAMING.contains(&name.trim().replace('_', "-").as_str());
                    value
                }
                _ => line,
            };
            // Tables of indexes may be written in one line: `index = [{ url = "…" }]`.
            if is_naming {
                self.take(value);
            }
        }
    }

    fn take(&mut self, value: &str) {
        for word in words(value) {
            self.take_address(word);
            let path = word.strip_prefix("file://").unwrap_or(word);
            if path.starts_with('/') {
                self.paths.insert(PathBuf::from(path));
            }
        }
    }

    fn take_urls(&mut self, text: &str) {
        for word in words(text).filter(|word| word.contains("://")) {
            // `--index-url=http://…` is one word, and an address may have a `=` further on.
            let is_option = word.split("://").next().is_some_and(|before| before.contains('='));
            self.take_address(word.split_once('=').filter(|_| is_option).map_or(word, |(_, value)| value));
        }
    }

    fn take_address(&mut self, word: &str) {
        if let Some(target) = Target::of_url(word).filter(|target| !self.hosts.contains(target)) {
            self.hosts.push(target);
        }
    }
}

/// What stands between blanks, quotes, commas and brackets. Not `[` alone, which an address of IPv6 begins with.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || "\"',{}".contains(letter))
        .map(
            |word| {
                if word.contains("]:") || word.contains("]/") { word } else { word.trim_matches(['[', ']']) }
            },
        )
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, hosts: &[&str], paths: &[&str]) {
        let mut sources = Sources::default();
        sources.take_file(text);
        let hosts: Vec<Target> = hosts.iter().map(|host| Target::parse(host).unwrap()).collect();
        assert_eq!(sources.hosts, hosts, "{text}");
        assert_eq!(sources.paths, paths.iter().map(PathBuf::from).collect(), "{text}");
    }

    #[test]
    fn what_the_files_of_pip_and_uv_name_is_found() {
        check(
            "[global]\nindex-url = http://user:word@localhost:3141/root/pypi\nextra-index-url =\n    https://a.example/simple\n    http://10.0.0.7/simple\ntimeout = 60\n",
            &["localhost:3141", "a.example:443", "10.0.0.7:80"],
            &[],
        );
        check(
            "[install]\nfind-links =\n  /opt/wheels\n  file:///srv/more\n[global]\ncert = /etc/own.pem\nlog = /var/log/pip.log\n",
            &[],
            &["/opt/wheels", "/srv/more", "/etc/own.pem"],
        );
        check(
            "find-links = [\"/opt/wheels\"]\n[[index]]\nname = \"own\"\nurl = \"http://[::1]:8080/simple\"\n",
            &["[::1]:8080"],
            &["/opt/wheels"],
        );
        check(
            "trusted-host = nexus.corp:8081\nproxy = http://proxy.corp:3128\n",
            &["nexus.corp:8081", "proxy.corp:3128"],
            &[],
        );
    }
}
