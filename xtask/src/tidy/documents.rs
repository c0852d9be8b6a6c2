//! Rules about documents, and about text files of every kind.

use super::{Offence, Text, Tree};

/// Endings of files whose white space is ours.
const ENDINGS: [&str; 9] = [".rs", ".py", ".md", ".toml", ".json", ".txt", ".yml", "/run", ".sh"];

/// No line ends in white space, so that no difference is invisible.
pub(super) fn trailing_space(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for text in tree.texts.iter().filter(|text| ENDINGS.iter().any(|ending| text.path.ends_with(ending))) {
        let spaced = text.content.split('\n').enumerate().filter(|(_, line)| line.trim_end() != *line);
        offences.extend(spaced.map(|(number, _)| Offence::at(&text.path, number, "ends in white space")));
    }
    offences
}

/// The changelog has a section for what is not released yet.
pub(super) fn changelog(tree: &Tree) -> Vec<Offence> {
    let has_section = |text: &Text| text.content.lines().any(|line| line.trim() == "## [Unreleased]");
    if tree.find("CHANGELOG.md").is_some_and(has_section) {
        return Vec::new();
    }
    vec![Offence::new("CHANGELOG.md", "has no section `## [Unreleased]`")]
}

/// A link to a file leads to one.
pub(super) fn links(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for text in tree.select("", ".md") {
        let folder = text.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, target) in targets(&text.content) {
            let file = target.split(['#', ' ']).next().unwrap_or_default();
            let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
            if file.is_empty() || is_elsewhere {
                continue;
            }
            if join(folder, file).is_none_or(|path| !path.is_empty() && !tree.paths.contains(&path)) {
                offences.push(Offence::at(
                    &text.path,
                    number,
                    format!("links to {file}, which is not there"),
                ));
            }
        }
    }
    offences
}

/// The targets of `[text](target)` outside code, with their lines.
fn targets(content: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        if in_fence {
            continue;
        }
        // Between an odd and the next back-tick is code.
        let prose = line.split('`').step_by(2);
        found.extend(prose.flat_map(openings).map(|target| (number, target)));
    }
    found
}

fn openings(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// `None` if the path leaves the repository.
fn join(folder: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn white_space_at_the_end_of_a_line_offends() {
        let files = [("a.md", "one\ntwo \n\tthree\r\n"), ("LICENSE", "four \n"), ("b.rs", "five\n")];
        check(trailing_space, &files, &["a.md:2: ends in white space", "a.md:3: ends in white space"]);
    }

    #[test]
    fn a_changelog_without_unreleased_section_offends() {
        let expected = ["CHANGELOG.md: has no section `## [Unreleased]`"];
        check(changelog, &[("CHANGELOG.md", "# Changelog\n\n## [1.0.0]\n")], &expected);
        check(changelog, &[], &expected);
        check(changelog, &[("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")], &[]);
    }

    #[test]
    fn a_link_to_nowhere_offends() {
        let page = "\
[there](other.md) and [up](../README.md#top), [`code`](gone.md)
[folder](../docs) [web](https://example.com/x.md) [here](#part)
`[code](no.md)`
```
[fence](no.md)
```
[outside](../../etc/passwd) [title](missing.md \"Title\")
";
        let files = [("docs/page.md", page), ("docs/other.md", ""), ("README.md", "[root](.)")];
        let expected = [
            "docs/page.md:1: links to gone.md, which is not there",
            "docs/page.md:7: links to ../../etc/passwd, which is not there",
            "docs/page.md:7: links to missing.md, which is not there",
        ];
        check(links, &files, &expected);
    }
}
