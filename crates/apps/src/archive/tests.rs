//! Zips as tools make them, and as attackers do.

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;

/// What stands in a zip, field by field, so that each can lie.
#[derive(Clone)]
struct Item {
    name: Vec<u8>,
    content: Vec<u8>,
    mode: u32,
    is_deflated: bool,
    flags: u16,
    size: Option<u32>,
}

fn item(name: &str, content: &[u8]) -> Item {
    let (name, content) = (name.as_bytes().to_vec(), content.to_vec());
    Item { name, content, mode: 0o100_644, is_deflated: true, flags: 0, size: None }
}

fn link(name: &str, target: &str) -> Item {
    Item { mode: 0o120_777, ..item(name, target.as_bytes()) }
}

fn zip(items: &[Item]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for item in items {
        let packed = if item.is_deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&item.content).unwrap();
            encoder.finish().unwrap()
        } else {
            item.content.clone()
        };
        let mut crc = Crc::new();
        crc.update(&item.content);
        let method: u16 = if item.is_deflated { 8 } else { 0 };
        let size = item.size.unwrap_or(u32::try_from(item.content.len()).unwrap());
        let mut shared = Vec::new();
        for short in [20, item.flags, method, 0, 0] {
            shared.extend(u16::to_le_bytes(short));
        }
        for number in [crc.sum(), u32::try_from(packed.len()).unwrap(), size] {
            shared.extend(u32::to_le_bytes(number));
        }
        shared.extend(u16::to_le_bytes(u16::try_from(item.name.len()).unwrap()));
        shared.extend([0, 0]);
        let start = u32::try_from(out.len()).unwrap();
        out.extend(b"PK\x03\x04".iter().chain(&shared).chain(&item.name).chain(&packed));
        directory.extend(b"PK\x01\x02\x14\x03".iter().chain(&shared));
        directory.extend([0; 6]);
        directory.extend(u32::to_le_bytes(item.mode << 16));
        directory.extend(u32::to_le_bytes(start));
        directory.extend(&item.name);
    }
    let start = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(items.len()).unwrap().to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.iter().chain(&count));
    out.extend(u32::to_le_bytes(u32::try_from(directory.len()).unwrap()).iter().chain(&start.to_le_bytes()));
    out.extend([0, 0]);
    out
}

/// A zip with a cache that is empty, in a folder in which nothing else may appear.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn unpack(&self, bytes: &[u8]) -> Result<PathBuf, ArchiveError> {
        let zip = self.0.path().join("code.zip");
        fs::write(&zip, bytes).unwrap();
        unpack(&zip, &self.0.path().join("cache"))
    }
}

#[track_caller]
fn refused(bytes: &[u8], code: &str, part: &str) {
    let ground = Ground::new();
    let error = ground.unpack(bytes).unwrap_err();
    assert!(error.code() == code && error.to_string().contains(part), "{} {error}", error.code());
    // Nothing of it is left, and nothing came out.
    let left: Vec<_> = walk(ground.0.path()).into_iter().filter(|path| !path.ends_with("code.zip")).collect();
    assert!(left.iter().all(|path| path.is_dir()), "{left:?}");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_is_in_a_zip_is_in_the_folder() {
    let ground = Ground::new();
    let mut stored = item("data.bin", &[0, 255, 7]);
    stored.is_deflated = false;
    let mut program = item("bin/run", b"#!/bin/sh\n");
    program.mode = 0o104_755;
    let items = [
        item("app.py", b"def handler(event, context): ...\n"),
        stored,
        program,
        item("bin/", b""),
        item("lib/ä.txt", "ü".as_bytes()),
        link("lib/current", "../app.py"),
        link("again", "lib"),
        item("empty", b""),
    ];
    let folder = ground.unpack(&zip(&items)).unwrap();
    assert!(folder.ends_with("code"), "{}", folder.display());
    let text = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(text("app.py"), b"def handler(event, context): ...\n");
    assert_eq!((text("data.bin"), text("empty")), (vec![0, 255, 7], vec![]));
    assert_eq!(text("again/ä.txt"), "ü".as_bytes());
    assert_eq!(text("lib/current"), text("app.py"));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o7777;
    // Who may become another does not.
    assert_eq!(mode("bin/run") & 0o4111, 0o111 & mode("bin/run"));
    assert_eq!(mode("app.py") & 0o111, 0);
    // The same content is not unpacked again; another is elsewhere.
    fs::write(folder.join("mark"), "").unwrap();
    assert!(ground.unpack(&zip(&items)).unwrap().join("mark").exists());
    assert!(!ground.unpack(&zip(&items[..3])).unwrap().join("mark").exists());
}

/// T-023.
#[test]
fn t_023_nothing_leaves_the_folder() {
    let check = |name: &str, part: &str| refused(&zip(&[item("a.py", b""), item(name, b"x")]), "E0131", part);
    check("../x", "leads out");
    check("a/../../x", "leads out");
    check("a/..", "leads out");
    check("/etc/x", "absolute");
    check("C:/x", "drive");
    check("c:x", "drive");
    check("a\\..\\x", "backslash");
    check("a\0b", "can't be shown");
    check("a\nb", "can't be shown");
    check("a//b", "empty part");
    check("./a", "empty part");
    check("", "is empty");
    check(&"a".repeat(300), "too long");
    let mut latin = item("x", b"");
    latin.name = vec![b'a', 0xe4];
    refused(&zip(&[latin]), "E0131", "not UTF-8");
}

/// T-023.
#[test]
fn t_023_links_lead_to_what_is_in_the_zip() {
    let file = || item("sub/deep/app.py", b"x");
    for target in ["/etc/passwd", "..", "../x", "sub/../../x", "gone", "", "self", "sub/deep/../../.."] {
        refused(&zip(&[file(), link("self", target)]), "E0132", "link");
    }
    // Each for itself stays inside.
    let chain = [file(), link("sub/deep/up", "../.."), link("out", "sub/deep/up/../x")];
    refused(&zip(&chain), "E0132", "link");
    refused(&zip(&[link("dir", "/tmp"), item("dir/x", b"")]), "E0133", "dir/x");
    refused(&zip(&[item("dir/x", b""), link("dir", "/tmp")]), "E0133", "\"dir\"");
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        let special = Item { mode, ..item("device", b"") };
        refused(&zip(&[special]), "E0132", "neither a file");
    }
}

/// T-023.
#[test]
fn t_023_no_entry_is_there_twice() {
    refused(&zip(&[item("a.py", b"1"), item("a.py", b"2")]), "E0133", "a.py");
    refused(&zip(&[item("a", b"1"), item("a/b", b"2")]), "E0133", "a/b");
    refused(&zip(&[item("a/b", b"1"), item("a", b"2")]), "E0133", "\"a\"");
}

/// T-024.
#[test]
fn t_024_bombs_are_refused() {
    refused(&zip(&[item("zeros", &vec![0; 9 << 20])]), "E0134", "times its size");
    // What says that it is smaller is stopped where it says that it ends.
    let mut liar = item("zeros", &vec![0; 1 << 20]);
    liar.size = Some(100);
    refused(&zip(&[liar]), "E0134", "larger than it says");
    let mut large = item("large", b"");
    large.size = Some(u32::MAX);
    refused(&zip(&[large]), "E0134", "more than 262144000 bytes");
    // Two entries of one content: the second has the name of another than stands before it.
    let mut bytes = zip(&[item("a", &[7; 4000]), item("b", &[8; 4000])]);
    let second = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    bytes[second + 42..second + 46].fill(0);
    refused(&bytes, "E0130", "\"b\" is damaged");
}

/// One piece of packed bytes that many entries share is how a small zip becomes a large folder (the "better zip bomb" of D. Fifield).
#[test]
fn t_024_entries_that_lie_over_each_other_are_refused() {
    // Where an entry's own place in its zip is told: the fields of the directory at 42.
    let inner = zip(&[item("inner", b"text")]);
    let shared = inner.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let outer = Item { is_deflated: false, ..item("outer", &inner[..shared]) };
    let mut bytes = zip(&[outer, item("inner", b"text")]);
    let begins = bytes.windows(4).enumerate().filter(|(_, four)| *four == b"PK\x03\x04").map(|(at, _)| at);
    let within = u32::try_from(begins.collect::<Vec<_>>()[1]).unwrap();
    let last = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    bytes[last + 42..last + 46].copy_from_slice(&within.to_le_bytes());
    refused(&bytes, "E0134", "\"inner\" lies over another one");
}

/// What was not made on Unix tells no modes: what stands in their place means something else.
#[test]
fn a_zip_of_another_system_has_plain_files() {
    let mut bytes = zip(&[link("link", "a.py"), item("a.py", b"text")]);
    for at in 0..bytes.len() - 6 {
        if bytes[at..].starts_with(b"PK\x01\x02") {
            bytes[at + 5] = 0;
        }
    }
    let ground = Ground::new();
    let folder = ground.unpack(&bytes).unwrap();
    assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "a.py");
    assert!(!folder.join("link").is_symlink());
}

#[test]
fn too_many_entries_are_refused() {
    let stored = |number: usize| Item { is_deflated: false, ..item(&number.to_string(), b"") };
    let items: Vec<Item> = (0..=ENTRIES_MAX).map(stored).collect();
    refused(&zip(&items), "E0134", "entries");
}

#[test]
fn what_is_no_whole_zip_is_refused() {
    let whole = zip(&[item("a.py", b"text that is long enough"), item("b.py", b"more")]);
    for length in 0..whole.len() {
        let ground = Ground::new();
        assert_eq!(ground.unpack(&whole[..length]).unwrap_err().code(), "E0130", "{length}");
    }
    let mut encrypted = item("secret.py", b"x");
    encrypted.flags = 1;
    refused(&zip(&[encrypted]), "E0130", "\"secret.py\" is encrypted");
    refused(&[b"MZ stub".as_slice(), &whole].concat(), "E0130", "put before it");
    refused(b"no zip at all", "E0130", "no zip");
    let mut damaged = whole.clone();
    damaged[40] ^= 0xff;
    let ground = Ground::new();
    assert_eq!(ground.unpack(&damaged).unwrap_err().code(), "E0130");
}

proptest::proptest! {
    /// Whatever a byte becomes, nothing panics and nothing leaves the folder.
    #[test]
    fn t_023_no_change_of_bytes_leads_out(at in 0_usize..400, value: u8) {
        let mut bytes = zip(&[item("a.py", b"text"), link("b", "a.py"), item("c/d.py", b"more text")]);
        let at = at % bytes.len();
        bytes[at] = value;
        let ground = Ground::new();
        drop(ground.unpack(&bytes));
        for path in walk(ground.0.path()) {
            let is_own = path.ends_with("code.zip") || path.starts_with(ground.0.path().join("cache"));
            proptest::prop_assert!(is_own, "{}", path.display());
        }
    }
}

#[test]
fn packages_for_other_machines_are_refused_by_name() {
    let wheel =
        item("pandas-2.2.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nTag: cp311-cp311-macosx_11_0_arm64\n");
    refused(
        &zip(&[item("app.py", b""), wheel]),
        "E0135",
        "pandas 2.2.0 is built for cp311-cp311-macosx_11_0_arm64",
    );
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1];
    elf.resize(18, 0);
    elf.extend([243, 0]);
    refused(&zip(&[item("numpy/core.so", &elf)]), "E0135", "numpy/core.so is built for another processor");
}
