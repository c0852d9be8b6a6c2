//! The command line and its page name the same commands.

use super::{Offence, Tree};

const SOURCE: &str = "crates/ingle/src/cli.rs";
const PAGE: &str = "docs/cli.md";

/// Each subcommand and each long flag of the program has a place in `docs/cli.md`.
pub(super) fn command_without_page(tree: &Tree) -> Vec<Offence> {
    let Some(source) = tree.find(SOURCE) else { return Vec::new() };
    let page = tree.find(PAGE).map_or("", |text| text.content.as_str());
    let words: Vec<&str> = page.split(|symbol: char| !(symbol.is_alphanumeric() || symbol == '-')).collect();
    let mut offences = Vec::new();
    let mut in_commands = false;
    let mut lines = source.content.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if line.starts_with("pub(crate) ") {
            in_commands = line.contains(" enum ") && line.contains("Command");
        }
        let command = if in_commands { variant(line) } else { None };
        let name = command.or_else(|| flag(line, lines.peek().map_or("", |(_, next)| next)));
        if let Some(name) = name.filter(|name| !words.contains(&name.as_str())) {
            offences.push(Offence::at(SOURCE, number, format!("`{name}` is not in {PAGE}")));
        }
    }
    offences
}

/// The command of an enum's variant, as clap spells it.
fn variant(line: &str) -> Option<String> {
    let name = line
        .strip_prefix("    ")
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()))?;
    let name = name.split(|symbol: char| !symbol.is_alphanumeric()).next()?;
    let mut spelled = String::new();
    for symbol in name.chars() {
        if symbol.is_uppercase() && !spelled.is_empty() {
            spelled.push('-');
        }
        spelled.extend(symbol.to_lowercase());
    }
    Some(spelled)
}

/// The long flag of a field, which stands below its attribute. `#[arg(long = "app")]` renames it; a field without `long`
/// is an argument by its place.
fn flag(line: &str, field: &str) -> Option<String> {
    let attribute = line.trim().strip_prefix("#[arg(long")?;
    let renamed = attribute.strip_prefix(" = \"").and_then(|rest| rest.split_once('"'));
    let name = match renamed {
        Some((name, _)) => name.to_owned(),
        None => field
            .trim()
            .strip_prefix("pub(crate) ")
            .unwrap_or(field.trim())
            .split_once(':')?
            .0
            .replace('_', "-"),
    };
    Some(format!("--{name}"))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const CLI: &str = "\
pub(crate) enum Command {
    /// Serve
    Start(StartArguments),
    ListAll {
        command: HostCommand,
    },
}
pub(crate) struct Place {
    #[arg(long = \"app\", default_value = \".\")]
    pub(crate) folder: PathBuf,
    #[arg(long, short = 'X')]
    pub(crate) no_color: bool,
}
";

    #[test]
    fn a_command_that_the_page_does_not_name_offends() {
        let offences = [
            "crates/ingle/src/cli.rs:4: `list-all` is not in docs/cli.md",
            "crates/ingle/src/cli.rs:9: `--app` is not in docs/cli.md",
            "crates/ingle/src/cli.rs:11: `--no-color` is not in docs/cli.md",
        ];
        check(command_without_page, &[(SOURCE, CLI), (PAGE, "| `start` | serves |")], &offences);
        check(
            command_without_page,
            &[(SOURCE, CLI), (PAGE, "`start [--app X] [--no-color]`, `list-all`")],
            &[],
        );
    }
}
