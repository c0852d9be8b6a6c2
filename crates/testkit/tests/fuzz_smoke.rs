//! A short walk through every fuzz target on the stable compiler: the files of `fuzz/corpus`, changed at random. The
//! order is fixed by a seed, so a failure repeats. libFuzzer drives the same targets for longer (`fuzz/README.md`).

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::path::PathBuf;

use targets::TARGETS;

/// Inputs for each target; fewer where the compiler did not optimise, to keep everyday runs short.
const ROUNDS: usize = if cfg!(debug_assertions) { 3_000 } else { 20_000 };
/// Accepted inputs that are kept to be changed further: how the walk gets deeper than one step from the corpus.
const KEPT_MAX: usize = 256;
const INPUT_BYTES_MAX: usize = 2048;

/// Pieces that reach further than bytes drawn at random do.
const PIECES: [&str; 82] = [
    "/",
    "..",
    "%2e",
    "%2F",
    "%00",
    "%0d%0a",
    "{",
    "}",
    "{{",
    "}}",
    "{id}",
    "{*rest}",
    "?}",
    "=",
    ":int",
    ":regex(",
    ")",
    ":range(1,2)",
    "é",
    "\u{212a}",
    "\u{202e}",
    "\r\n",
    "\0",
    "\"",
    "{\"body\":",
    "\"status\":",
    ",",
    "[",
    "]",
    ":",
    "%",
    "%NAME%",
    "//",
    "/*",
    "*/",
    "\\u",
    "\\ud83d",
    "-",
    "1e999",
    "9223372036854775808",
    "null",
    "true",
    "-1",
    "00:00:01",
    "**",
    "!",
    "\n",
    " ",
    "SELECT ",
    " FROM c",
    " WHERE ",
    "c.",
    "@a",
    "(",
    "NOT ",
    " AND ",
    "'",
    "\"version\": \"2.0\"",
    "\"bindings\"",
    "\"type\": \"queue\"",
    "$return",
    "\x01\0\0\0",
    "\u{7f}",
    "\u{0}\u{ffff}",
    "AS ",
    "ORDER BY ",
    "yyyy",
    "{sys.utcnow:",
    "${self:",
    "${env:A, 'b'}",
    "${file(more.yml)}",
    "!Ref ",
    "!Sub ",
    "!If [",
    "!Join [a, ",
    "&x ",
    "*x",
    "<<: ",
    "\n  ",
    "- ",
    ": ",
    "L#W?",
];

/// Marsaglia's xorshift with 64 bits ("Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to `end - 1`; `end` is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A stretch of `length` bytes: where it begins and where it ends.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        one.min(other)..one.max(other)
    }

    /// One to four small changes.
    fn change(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(7) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.next().to_le_bytes()[0],
                2 => drop(input.drain(self.stretch(input.len()))),
                3 => {
                    let copy = input[self.stretch(input.len())].to_vec();
                    drop(input.splice(at..at, copy));
                }
                4 => {
                    let other = self.pick(others);
                    let piece = other[self.stretch(other.len())].to_vec();
                    drop(input.splice(at..at, piece));
                }
                _ => drop(input.splice(at..at, self.pick(&PIECES).bytes())),
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

fn fuzz_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

/// The files of a target in the order of their names, without those that libFuzzer named by their hash.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(fuzz_folder().join("corpus").join(name)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.len() < 32));
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// Says which input broke a promise, as the panic itself may name only a part of it.
struct Culprit<'a>(&'a str, &'a [u8]);

impl Drop for Culprit<'_> {
    #[expect(clippy::print_stderr, reason = "nextest shows what a failing test printed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("target {} fails for b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn check(name: &str, seed: u64) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target);
    let target = target.unwrap_or_else(|| panic!("there is no target {name}"));
    let mut pool = corpus(name);
    let files = pool.len();
    assert!(files >= 2, "fuzz/corpus/{name} has {files} files");
    let mut random = Random(seed);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut input = if round < files { pool[round].clone() } else { random.pick(&pool).clone() };
        if round >= files {
            random.change(&mut input, &pool);
        }
        let culprit = Culprit(name, &input);
        let is_accepted = target(&input);
        drop(culprit);
        if !is_accepted {
            refused += 1;
            continue;
        }
        accepted += 1;
        if pool.len() < KEPT_MAX {
            pool.push(input);
        } else if random.below(8) == 0 {
            // The files themselves stay, so that the walk does not drift away from what makes sense.
            let place = files + random.below(KEPT_MAX - files);
            pool[place] = input;
        }
    }
    targets::clean();
    // Were all refused at the first byte, or none ever, the walk would prove nothing.
    let least = ROUNDS / 100;
    assert!(accepted > least && refused > least, "{name}: {accepted} accepted, {refused} refused");
}

macro_rules! walks {
    ($($name:ident = $seed:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), $seed);
        })*

        /// Names of the tests above.
        const WALKS: &[&str] = &[$(stringify!($name)),*];
    };
}

walks! {
    route = 0x1a2b_3c4d_5e6f_7081,
    response = 0x9e37_79b9_7f4a_7c15,
    request = 0xdead_beef_cafe_f00d,
    expression = 0x0123_4567_89ab_cdef,
    settings_fill = 0xfedc_ba98_7654_3210,
    json_place = 0x5555_aaaa_3333_cccc,
    host_json = 0x0f0f_1e1e_2d2d_3c3c,
    local_settings = 0x7777_1111_9999_5555,
    function_json = 0x4242_2424_8181_1818,
    funcignore = 0x1357_9bdf_0246_8ace,
    frame = 0x1111_2222_3333_4444,
    message = 0xabcd_ef01_2345_6789,
    query = 0x2718_2818_2845_9045,
    template = 0x3141_5926_5358_9793,
    serverless = 0x1618_0339_8874_9894,
    aws_schedule = 0x1414_2135_6237_3095,
}

#[test]
fn every_target_has_a_walk_and_a_program() {
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(WALKS.contains(&name), "{name} has no walk");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no entry");
        let program = std::fs::read_to_string(fuzz_folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("targets::{name}(data)")),
            "the program of {name} runs another target"
        );
    }
}
