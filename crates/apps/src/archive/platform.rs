//! Binaries in a zip that this machine can't run: of another system, or of another processor.
//!
//! Wheels say it in their metadata (`Tag` of `*.dist-info/WHEEL`, PEP 427), libraries in their first bytes.

use std::fs;
use std::path::Path;

/// As many of a file's first bytes as are looked at.
pub(super) const HEAD_BYTES: usize = 20;
const WHEEL_BYTES_MAX: u64 = 64 << 10;

/// How processors are called in the tags of wheels, and in ELF's `e_machine` (System V ABI).
const PROCESSORS: [(&str, u16, &[&str]); 4] = [
    ("x86_64", 62, &["x86_64", "amd64"]),
    ("aarch64", 183, &["aarch64", "arm64"]),
    ("x86", 3, &["i686", "i386"]),
    ("arm", 40, &["armv7l", "armv6l"]),
];

/// This machine.
pub(super) fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "Linux on x86_64",
        "aarch64" => "Linux on aarch64",
        other => other,
    }
}

/// What was found that can't run here. A wheel is told of before its libraries, as it has a name.
#[derive(Default)]
pub(super) struct Foreign {
    wheel: Option<(String, String)>,
    library: Option<(String, String)>,
}

impl Foreign {
    /// Looks at a file. `head`: its first bytes; `written`: where the whole of it is.
    pub(super) fn look_at(&mut self, path: &Path, head: &[u8], written: &Path) {
        let shown = path.display().to_string();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let package = path
            .parent()
            .and_then(|parent| parent.file_name())
            .map(|name| name.to_string_lossy().into_owned());
        let package = package.filter(|package| package.ends_with(".dist-info"));
        if let (Some(package), "WHEEL", None) = (package, name.as_str(), &self.wheel) {
            let is_small = fs::metadata(written).is_ok_and(|found| found.len() <= WHEEL_BYTES_MAX);
            let text = if is_small { fs::read_to_string(written).unwrap_or_default() } else { String::new() };
            let package = package.trim_end_matches(".dist-info").replacen('-', " ", 1);
            self.wheel = of_wheel(&text, std::env::consts::ARCH).map(|what| (package, what));
        } else if self.library.is_none() && is_library(&name) {
            self.library = of_library(head, std::env::consts::ARCH).map(|what| (shown, what));
        }
    }

    /// The name of a package or of a file, and what it is built for.
    pub(super) fn found(self) -> Option<(String, String)> {
        self.wheel.or(self.library)
    }
}

fn is_library(name: &str) -> bool {
    [".so", ".pyd", ".dylib", ".dll"].iter().any(|ending| name.ends_with(ending)) || name.contains(".so.")
}

/// What a wheel is built for, if no tag of it fits.
fn of_wheel(text: &str, processor: &str) -> Option<String> {
    let tags = text.lines().filter_map(|line| line.strip_prefix("Tag:")).map(str::trim);
    let tags: Vec<&str> = tags.collect();
    let fits = |tag: &&str| tag.rsplit('-').next().is_some_and(|platform| fits_platform(platform, processor));
    (!tags.is_empty() && !tags.iter().any(fits)).then(|| format!("is built for {}", tags.join(", ")))
}

/// `any`, `manylinux_2_17_x86_64`, `linux_x86_64`; several with points between them.
fn fits_platform(platforms: &str, processor: &str) -> bool {
    platforms.split('.').any(|platform| {
        let is_linux = ["linux_", "manylinux", "musllinux"].iter().any(|start| platform.starts_with(start));
        platform == "any" || (is_linux && names_of(processor).iter().any(|name| platform.ends_with(name)))
    })
}

fn names_of(processor: &str) -> &'static [&'static str] {
    PROCESSORS.iter().find(|(known, ..)| *known == processor).map_or(&[], |(.., names)| names)
}

/// What a library is built for, if it is not this machine.
fn of_library(head: &[u8], processor: &str) -> Option<String> {
    match head {
        [0x7f, b'E', b'L', b'F', _, order, ..] if head.len() >= HEAD_BYTES => {
            let machine = if *order == 2 {
                u16::from_be_bytes([head[18], head[19]])
            } else {
                u16::from_le_bytes([head[18], head[19]])
            };
            let found = PROCESSORS.iter().find(|(_, number, _)| *number == machine);
            match found {
                Some((known, ..)) if *known == processor => None,
                Some((known, ..)) => Some(format!("is built for Linux on {known}")),
                None => Some(format!("is built for another processor (ELF machine {machine})")),
            }
        }
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            Some("is built for macOS".to_owned())
        }
        [b'M', b'Z', ..] => Some("is built for Windows".to_owned()),
        // A stub, or a script of a linker.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_of_other_machines_are_known() {
        let check = |text: &str, processor: &str, fits: bool| {
            assert_eq!(of_wheel(text, processor).is_none(), fits, "{text} on {processor}");
        };
        check("Wheel-Version: 1.0\nTag: py3-none-any\n", "x86_64", true);
        check(
            "Tag: cp311-cp311-manylinux_2_17_x86_64\nTag: cp311-cp311-manylinux2014_x86_64\n",
            "x86_64",
            true,
        );
        check("Tag: cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64\n", "aarch64", false);
        check("Tag: cp311-cp311-macosx_11_0_arm64\n", "aarch64", false);
        check("Tag: cp39-abi3-win_amd64\n", "x86_64", false);
        check("Tag: cp311-cp311-musllinux_1_1_aarch64", "aarch64", true);
        check("", "x86_64", true);
    }

    #[test]
    fn libraries_of_other_machines_are_known() {
        let elf = |order: u8, machine: [u8; 2]| {
            let mut head = vec![0x7f, b'E', b'L', b'F', 2, order];
            head.resize(18, 0);
            head.extend(machine);
            head
        };
        assert_eq!(of_library(&elf(1, [62, 0]), "x86_64"), None);
        assert_eq!(of_library(&elf(1, [62, 0]), "aarch64").as_deref(), Some("is built for Linux on x86_64"));
        assert_eq!(of_library(&elf(2, [0, 183]), "aarch64"), None);
        assert!(of_library(&elf(1, [243, 0]), "x86_64").unwrap().contains("243"));
        assert_eq!(
            of_library(&[0xcf, 0xfa, 0xed, 0xfe, 0, 0], "x86_64").as_deref(),
            Some("is built for macOS")
        );
        assert_eq!(of_library(b"MZ\x90", "x86_64").as_deref(), Some("is built for Windows"));
        assert_eq!(of_library(b"INPUT(libx.so.1)", "x86_64"), None);
        assert_eq!(of_library(&[0x7f, b'E', b'L', b'F', 2, 1], "x86_64"), None);
    }
}
