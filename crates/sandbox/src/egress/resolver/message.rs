//! Messages of DNS (RFC 1035), as far as a relay has to understand them.
//!
//! A query is taken apart and made anew, so that nothing but its question leaves the box. Of an answer the addresses
//! are read, and it is otherwise passed on as it is. Every byte comes from somebody who may be hostile.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// The record by which both sides tell how large their packets may be (RFC 6891).
const OPTIONS: u16 = 41;

const HEADER_BYTES: usize = 12;

/// What a name may have (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// What a packet may have if its receiver has not said more.
pub(super) const PACKET_BYTES: u16 = 512;

/// What we take in a packet, and let a box ask for.
pub(super) const PACKET_BYTES_MAX: u16 = 4096;

/// For how many seconds a program may keep an address that is written on this machine.
const WRITTEN_SECONDS: u32 = 10;

const RESPONSE: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_WANTED: u16 = 0x0100;
const RECURSION_OFFERED: u16 = 0x0080;
/// What a program may say of signatures: that it checks them itself, or wants to know if they were.
const SIGNATURES: u16 = 0x0030;
const CODE: u16 = 0x000f;

/// What went wrong, in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Code {
    Fine = 0,
    ServerFailed = 2,
    NotImplemented = 4,
    Refused = 5,
}

/// A question of the box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Query {
    id: u16,
    flags: u16,
    /// The question as it came: its letters may be large or small, and come back the same.
    question: Vec<u8>,
    /// In lower case, without a dot at its end. A byte that no name of a host has is written as `\123`.
    pub(super) name: String,
    pub(super) kind: u16,
    class: u16,
    options: Option<Options>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options {
    packet_bytes: u16,
    /// Whether signatures are wanted.
    signatures: bool,
}

impl Query {
    /// Reads a query; `None` if it is not one, or is broken.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header: [u16; 6] = header(bytes)?;
        let [id, flags, questions, answers, authorities, additions] = header;
        if flags & RESPONSE != 0 || questions != 1 || answers != 0 || authorities != 0 {
            return None;
        }
        let (name, name_end) = plain_name(bytes, HEADER_BYTES)?;
        let kind = number(bytes, name_end)?;
        let class = number(bytes, name_end + 2)?;
        let question = bytes.get(HEADER_BYTES..name_end + 4)?.to_vec();
        let options = if additions > 0 { options(bytes, name_end + 4) } else { None };
        Some(Self { id, flags, question, name, kind, class, options })
    }

    /// Whether it is a question, and not some other wish.
    pub(super) fn is_question(&self) -> bool {
        self.flags & OPERATION == 0
    }

    pub(super) fn is_of_internet(&self) -> bool {
        self.class == INTERNET
    }

    /// The longest answer that fits into a packet of whoever asked.
    pub(super) fn packet_bytes(&self) -> usize {
        let size = self.options.map_or(PACKET_BYTES, |options| options.packet_bytes);
        usize::from(size.clamp(PACKET_BYTES, PACKET_BYTES_MAX))
    }

    /// The query that is sent in its place. Only the name, the type and a few bits of the original are in it, and the
    /// name in lower case, so that there is no room for a message.
    pub(super) fn to_server(&self, id: u16) -> Vec<u8> {
        let flags = (self.flags & SIGNATURES) | RECURSION_WANTED;
        let mut bytes = write_header([id, flags, 1, 0, 0, u16::from(self.options.is_some())]);
        bytes.extend(self.question.to_ascii_lowercase());
        // The type and class are no letters.
        bytes.truncate(bytes.len().saturating_sub(4));
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        if let Some(options) = self.options {
            bytes.push(0);
            bytes.extend(OPTIONS.to_be_bytes());
            bytes.extend(options.packet_bytes.clamp(PACKET_BYTES, PACKET_BYTES_MAX).to_be_bytes());
            bytes.extend([0, 0, if options.signatures { 0x80 } else { 0 }, 0, 0, 0]);
        }
        bytes
    }

    /// Whether a message is the answer to what was sent with this id.
    pub(super) fn is_answered_by(&self, id: u16, message: &[u8]) -> bool {
        let Some([answered, flags, questions, ..]) = header(message) else { return false };
        let question = message.get(HEADER_BYTES..HEADER_BYTES + self.question.len());
        let name_bytes = self.question.len().saturating_sub(4);
        let same = question.is_some_and(|question| {
            question[..name_bytes].eq_ignore_ascii_case(&self.question[..name_bytes])
                && question[name_bytes..] == self.question[name_bytes..]
        });
        answered == id && flags & RESPONSE != 0 && flags & OPERATION == 0 && questions == 1 && same
    }

    /// The answer as whoever asked expects it: with the id and the letters of the question.
    pub(super) fn give_back(&self, mut message: Vec<u8>) -> Vec<u8> {
        if let Some(start) = message.get_mut(..HEADER_BYTES + self.question.len()) {
            start[..2].copy_from_slice(&self.id.to_be_bytes());
            start[HEADER_BYTES..].copy_from_slice(&self.question);
        }
        message
    }

    /// An answer without records.
    pub(super) fn reply(&self, code: Code) -> Vec<u8> {
        self.reply_with(code, &[])
    }

    /// An answer with those of the addresses that were asked for and fit into the smallest packet.
    pub(super) fn reply_with(&self, code: Code, addresses: &[IpAddr]) -> Vec<u8> {
        let flags = RESPONSE
            | (self.flags & (OPERATION | RECURSION_WANTED))
            | RECURSION_OFFERED
            | (code as u16 & CODE);
        let mut records = Vec::new();
        let mut count = 0_u16;
        for address in addresses {
            let record = match address {
                IpAddr::V4(address) if self.kind == A => record(A, &address.octets()),
                IpAddr::V6(address) if self.kind == AAAA => record(AAAA, &address.octets()),
                IpAddr::V4(_) | IpAddr::V6(_) => continue,
            };
            let length = HEADER_BYTES + self.question.len() + records.len() + record.len();
            if length <= usize::from(PACKET_BYTES) {
                records.extend(record);
                count += 1;
            }
        }
        let mut bytes = write_header([self.id, flags, 1, count, 0, 0]);
        bytes.extend(&self.question);
        bytes.extend(records);
        bytes
    }

    /// An answer that says that it is too long for a packet, so that it is asked for over TCP.
    pub(super) fn reply_truncated(&self) -> Vec<u8> {
        let mut bytes = self.reply(Code::Fine);
        if let Some([high, _low]) = bytes.get_mut(2..4) {
            *high |= TRUNCATED.to_be_bytes()[0];
        }
        bytes
    }
}

/// The addresses in the answers of a message, under whatever name: aliases lead to other names.
pub(super) fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Some([_, flags, questions, answers, ..]) = header(message) else { return found };
    if flags & CODE != Code::Fine as u16 || questions != 1 {
        return found;
    }
    let Some(mut place) = skip_name(message, HEADER_BYTES).map(|end| end + 4) else { return found };
    for _ in 0..answers {
        let Some((address, end)) = read_record(message, place) else { break };
        found.extend(address);
        place = end;
    }
    found
}

/// The address in a record, if it has one, and where the record ends.
fn read_record(message: &[u8], start: usize) -> Option<(Option<IpAddr>, usize)> {
    let fields = skip_name(message, start)?;
    let (kind, class) = (number(message, fields)?, number(message, fields + 2)?);
    let data_start = fields + 10;
    let data_end = data_start + usize::from(number(message, fields + 8)?);
    let data = message.get(data_start..data_end)?;
    let address = match (class, kind) {
        (INTERNET, A) => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
        (INTERNET, AAAA) => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    };
    Some((address, data_end))
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    // The name is a pointer to that of the question.
    let mut bytes = vec![0xc0, 12];
    bytes.extend(kind.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    bytes.extend(WRITTEN_SECONDS.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// What a query says of packets, if the record that follows its question is about that.
fn options(bytes: &[u8], start: usize) -> Option<Options> {
    let is_root = bytes.get(start) == Some(&0);
    if !is_root || number(bytes, start + 1)? != OPTIONS {
        return None;
    }
    let signatures = bytes.get(start + 7)? & 0x80 != 0;
    Some(Options { packet_bytes: number(bytes, start + 3)?, signatures })
}

fn header(bytes: &[u8]) -> Option<[u16; 6]> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    let mut fields = [0; 6];
    for (field, pair) in fields.iter_mut().zip(bytes.chunks_exact(2)) {
        *field = u16::from_be_bytes(pair.try_into().ok()?);
    }
    Some(fields)
}

fn write_header(fields: [u16; 6]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_be_bytes()).collect()
}

fn number(bytes: &[u8], start: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(start..start + 2)?.try_into().ok()?))
}

/// A name that has no pointers, as a question's, and where it ends.
fn plain_name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut place = start;
    loop {
        let length = usize::from(*bytes.get(place)?);
        if length == 0 {
            return (place + 1 - start <= NAME_BYTES_MAX).then_some((name, place + 1));
        }
        // More than 63 is a pointer or something unknown.
        if length > 63 || place - start > NAME_BYTES_MAX {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for byte in bytes.get(place + 1..place + 1 + length)? {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(*byte)),
                b'A'..=b'Z' => name.push(char::from(byte.to_ascii_lowercase())),
                other => name.push_str(&format!("\\{other:03}")),
            }
        }
        place += 1 + length;
    }
}

/// Where a name ends, which may end in a pointer. What the pointer leads to is not looked at.
fn skip_name(bytes: &[u8], start: usize) -> Option<usize> {
    let mut place = start;
    loop {
        match *bytes.get(place)? {
            0 => return Some(place + 1),
            length @ 1..=63 => place += 1 + usize::from(length),
            192..=255 => return Some(place + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        bytes
    }

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = write_header([0x1234, RECURSION_WANTED, 1, 0, 0, 0]);
        bytes.extend(question(name, kind));
        bytes
    }

    #[test]
    fn a_query_is_made_anew_with_nothing_but_its_question() {
        let mut bytes = write_header([0x1234, 0x0170, 1, 0, 0, 1]);
        bytes.extend(question("API.Example.com", A));
        bytes.extend([0, 0, 41, 0xff, 0xff, 9, 9, 0x80, 1, 0, 4, 1, 2, 3, 4]);
        bytes.extend(b"a message");
        let parsed = Query::parse(&bytes).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.kind), ("api.example.com", A));
        let mut expected = write_header([0x4321, 0x0130, 1, 0, 0, 1]);
        expected.extend(question("api.example.com", A));
        expected.extend([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]);
        assert_eq!(parsed.to_server(0x4321), expected);
        // Letters of a type are none.
        let parsed = Query::parse(&query("a", u16::from_be_bytes(*b"AB"))).unwrap();
        assert!(parsed.to_server(1).ends_with(b"\x01a\0AB\0\x01"));
    }

    #[test]
    fn an_answer_belongs_to_its_query_by_id_and_question() {
        let parsed = Query::parse(&query("A.example", A)).unwrap();
        let answer = |id, flags, name, kind| {
            let mut bytes = write_header([id, flags, 1, 0, 0, 0]);
            bytes.extend(question(name, kind));
            bytes
        };
        assert!(parsed.is_answered_by(7, &answer(7, 0x8180, "a.example", A)));
        for other in [
            answer(8, 0x8180, "a.example", A),
            answer(7, 0x0180, "a.example", A),
            answer(7, 0x8180, "b.example", A),
            answer(7, 0x8180, "a.example", AAAA),
            answer(7, 0x8180, "a.example", A)[..20].to_vec(),
        ] {
            assert!(!parsed.is_answered_by(7, &other), "{other:?}");
        }
        let back = parsed.give_back(answer(7, 0x8180, "a.example", A));
        assert_eq!(back, answer(0x1234, 0x8180, "A.example", A));
    }

    #[test]
    fn addresses_are_read_and_written() {
        let addresses_of = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let parsed = Query::parse(&query("a.example", A)).unwrap();
        let reply = parsed.reply_with(Code::Fine, &addresses_of);
        assert_eq!(addresses(&reply), [addresses_of[0], addresses_of[2]]);
        let parsed = Query::parse(&query("a.example", AAAA)).unwrap();
        assert_eq!(addresses(&parsed.reply_with(Code::Fine, &addresses_of)), [addresses_of[1]]);
        assert!(addresses(&parsed.reply_with(Code::Refused, &addresses_of)).is_empty());
        let many: Vec<IpAddr> = (0..=255_u8).map(|last| [192, 0, 2, last].into()).collect();
        let reply = Query::parse(&query("a.example", A)).unwrap().reply_with(Code::Fine, &many);
        assert!(reply.len() <= usize::from(PACKET_BYTES) && addresses(&reply).len() > 20);
    }

    #[test]
    fn what_is_no_query_is_dropped() {
        let good = query("a.example", A);
        assert!(Query::parse(&good).is_some());
        for length in 0..good.len() {
            assert_eq!(Query::parse(&good[..length]), None, "{length}");
        }
        let mut answer = good.clone();
        answer[2] |= 0x80;
        assert_eq!(Query::parse(&answer), None);
        let mut two = good.clone();
        two[5] = 2;
        assert_eq!(Query::parse(&two), None);
        let mut pointer = good.clone();
        pointer[12] = 0xc0;
        assert_eq!(Query::parse(&pointer), None);
        let long = ["a"; 128].join(".");
        assert_eq!(Query::parse(&query(&long, A)), None);
    }

    /// A dot inside a label is not one between labels.
    #[test]
    fn a_name_can_not_be_made_to_look_like_another() {
        let mut bytes = write_header([1, 0, 1, 0, 0, 0]);
        bytes.extend(b"\x09a.example\0\0\x01\0\x01");
        assert_eq!(Query::parse(&bytes).unwrap().name, "a\\046example");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), id in any::<u16>()) {
            addresses(&bytes);
            if let Some(query) = Query::parse(&bytes) {
                let sent = query.to_server(id);
                prop_assert!(Query::parse(&sent).is_some());
                query.give_back(bytes.clone());
                query.is_answered_by(id, &bytes);
                prop_assert!(query.is_answered_by(query.id, &query.reply(Code::Refused)));
            }
        }

        /// Most random bytes fail at the header, so here is one that does not.
        #[test]
        fn no_bytes_behind_a_header_make_it_panic(
            answers in 0..4_u16, additions in 0..2_u16, rest in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            for flags in [0, RESPONSE] {
                let mut bytes = write_header([1, flags, 1, answers, 0, additions]);
                bytes.extend(&rest);
                addresses(&bytes);
                let mut asked = write_header([1, flags, 1, 0, 0, additions]);
                asked.extend(&rest);
                if let Some(query) = Query::parse(&asked) {
                    prop_assert!(Query::parse(&query.to_server(2)).is_some());
                    query.is_answered_by(1, &bytes);
                    query.give_back(bytes);
                }
            }
        }
    }
}
