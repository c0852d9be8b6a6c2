//! A SHA-256 digest, in files as 64 hexadecimal digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(pub(super) [u8; 32]);

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        read(&text).ok_or_else(|| de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

fn read(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(Hash(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_are_read() {
        let check = |text: &str, good: bool| assert_eq!(read(text).is_some(), good, "{text}");
        check(&"0a".repeat(32), true);
        check(&"0a".repeat(31), false);
        check(&"0g".repeat(32), false);
        check(&"+1".repeat(32), false);
        check(&"ä".repeat(32), false);
        let hash = read(&"0aFf".repeat(16)).unwrap();
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{}\"", "0aff".repeat(16)));
    }
}
