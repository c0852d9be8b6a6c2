//! Files that are damaged: each is read or refused with a line, and none makes a panic.

use proptest::prelude::*;

use super::*;

/// What is put into a file, or in place of a part of it: all that means something to one of the readers.
const SCRAPS: [&str; 40] = [
    "!Ref ",
    "!Sub ",
    "!GetAtt ",
    "!If [",
    "!Join [a, [",
    "!Select [9, ",
    "${",
    "}",
    "${self:",
    "${self:functions}",
    "${file(./more.yml)}",
    "${AWS::Region}",
    "&a ",
    "*a",
    "<<: *a\n",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "  ",
    "\t",
    "- ",
    ": ",
    "'",
    "\"",
    "#",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "null",
    "true",
    "-1",
    "1e999",
    "\u{0}",
    "é",
    "\u{feff}",
    "? ",
    "%TAG ! x\n",
];

#[derive(Clone, Debug)]
enum Damage {
    Cut(usize, usize),
    Insert(usize, usize),
    /// A part of the file, somewhere else once more.
    Repeat(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = 0_usize..10_000;
    prop_oneof![
        (place.clone(), 0_usize..60).prop_map(|(at, length)| Damage::Cut(at, length)),
        (place.clone(), 0..SCRAPS.len()).prop_map(|(at, scrap)| Damage::Insert(at, scrap)),
        (place.clone(), 0_usize..80, place).prop_map(|(from, length, to)| Damage::Repeat(from, length, to)),
    ]
}

fn apply(text: &str, damages: &[Damage]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for damage in damages {
        let length = letters.len().max(1);
        match *damage {
            Damage::Cut(at, count) => {
                let at = at % length;
                letters.drain(at.min(letters.len())..(at + count).min(letters.len()));
            }
            Damage::Insert(at, scrap) => {
                let at = (at % length).min(letters.len());
                letters.splice(at..at, SCRAPS[scrap].chars());
            }
            Damage::Repeat(from, count, to) => {
                let (from, to) = (from % length, (to % length).min(letters.len()));
                let part: Vec<char> = letters.iter().skip(from).take(count).copied().collect();
                letters.splice(to..to, part);
            }
        }
    }
    letters.into_iter().collect()
}

/// Reads it, and checks what is promised of everything that is read.
fn promises_are_kept(name: &str, text: &str) -> Result<(), TestCaseError> {
    let folder = folder(&[
        (name, text),
        ("src/orders.py", ""),
        ("more.yml", "a: ${self:service}\nb: ${file(more.yml)}\n"),
    ]);
    let lines = u32::try_from(text.matches(['\n', '\r']).count()).unwrap() + 2;
    match read(folder.path(), &ProjectOptions::default()) {
        Ok(None) => {}
        Ok(Some(project)) => {
            for function in &project.functions {
                prop_assert!(!function.handler.contains("..") && !function.name.is_empty(), "{function:?}");
                prop_assert!(
                    folder.path().join(&function.code).exists() && function.code.is_relative(),
                    "{function:?}"
                );
                prop_assert!((1..=lines).contains(&function.line), "{function:?}");
            }
            for ignored in &project.ignored {
                prop_assert!((1..=lines).contains(&ignored.line) && !ignored.why.is_empty(), "{ignored:?}");
            }
            for problem in &project.problems {
                prop_assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)), "{problem:?}");
                prop_assert!(problem.fix.is_some() && !problem.message.contains('\n'), "{problem:?}");
            }
        }
        Err(Error::Project { line, what, .. }) => {
            prop_assert!((1..=lines).contains(&line) && !what.is_empty())
        }
        Err(error) => prop_assert!(false, "{error:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_templates_are_no_panic(damages in proptest::collection::vec(damage(), 1..4)) {
        promises_are_kept("template.yaml", &apply(super::sam::SHOP, &damages))?;
    }

    #[test]
    fn damaged_serverless_files_are_no_panic(damages in proptest::collection::vec(damage(), 1..4)) {
        promises_are_kept("serverless.yml", &apply(super::serverless::SHOP, &damages))?;
    }

    #[test]
    fn damaged_doors_are_no_panic(which in 0_usize..3, damages in proptest::collection::vec(damage(), 1..4)) {
        let templates = [super::balancers::TEMPLATE, super::keys::SAM, super::openapi::TEMPLATE];
        promises_are_kept("template.yaml", &apply(templates[which], &damages))?;
        let files = [super::balancers::SERVERLESS, super::keys::SERVERLESS];
        promises_are_kept("serverless.yml", &apply(files[which % 2], &damages))?;
    }

    #[test]
    fn damaged_documents_are_no_panic(damages in proptest::collection::vec(damage(), 1..4)) {
        let document = apply(super::openapi::DOCUMENT, &damages);
        let folder = folder(&[("template.yaml", super::openapi::TEMPLATE), ("api.json", &document), ("a.py", "")]);
        let found = read(folder.path(), &ProjectOptions::default()).unwrap().unwrap();
        for problem in &found.problems {
            prop_assert!(problem.line.is_some() && problem.fix.is_some(), "{problem:?}");
        }
    }

    #[test]
    fn scraps_are_no_panic(scraps in proptest::collection::vec((0..SCRAPS.len(), "[a-z:\\- \n]{0,4}"), 0..60)) {
        let text: String = scraps.iter().map(|(scrap, more)| format!("{}{more}", SCRAPS[*scrap])).collect();
        promises_are_kept("serverless.yml", &text)?;
        promises_are_kept("template.yaml", &format!("# AWS::Serverless\n{text}"))?;
    }
}
