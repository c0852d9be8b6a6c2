//! A short walk of pseudo-random bytes through every parser of the gateway that reads what strangers send. The order
//! is fixed by the seed, so a failure repeats.

use bytes::Bytes;

use ingle_gateway::request;
use ingle_gateway::response::respond;
use ingle_gateway::route::path::RequestPath;
use ingle_gateway::route::template::Template;
use ingle_gateway::route::{Match, RouteEntry, Router};
use ingle_types::datum::{Datum, HttpRequest, HttpResponse};
use ingle_types::ids::FunctionName;

const ROUNDS: usize = 20_000;

/// Pieces that reach further than bytes drawn at random do.
const PIECES: [&str; 34] = [
    "/",
    "..",
    ".",
    "%2e",
    "%2F",
    "%5c",
    "%",
    "%00",
    "%0d%0a",
    "{",
    "}",
    "{{",
    "}}",
    "{id",
    "{*rest}",
    "{name}",
    "?}",
    "=",
    ":int",
    ":regex(",
    ")",
    ":range(1,2)",
    "a",
    "é",
    "\u{212a}",
    "\r\n",
    "\0",
    "\"",
    "{\"body\":",
    "\"status\":",
    "200",
    ",",
    "[",
    "}",
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

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// Up to 24 pieces, every fourth a byte of its own.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(25) {
            if self.below(4) == 0 {
                bytes.push(self.next().to_le_bytes()[0]);
            } else {
                bytes.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes());
            }
        }
        bytes
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

#[test]
fn templates_and_paths_never_panic() {
    let mut random = Random(0x1a2b_3c4d_5e6f_7081);
    let mut template = Template::parse("{*rest}").unwrap();
    let (mut templates, mut paths, mut found) = (0, 0, 0);
    for _ in 0..ROUNDS {
        if let Ok(read) = Template::parse(&random.text()) {
            templates += 1;
            template = read;
        }
        let raw = format!("/{}", random.text());
        let Ok(path) = RequestPath::parse(&raw) else { continue };
        paths += 1;
        assert!(
            path.segments().all(|segment| !segment.contains(['\0', '\r', '\n']) && segment != ".."),
            "{raw:?}"
        );
        let entry =
            RouteEntry { function: FunctionName::new("f"), template: template.clone(), methods: Vec::new() };
        let found_parameters = match Router::new("", vec![entry]).unwrap().find("GET", &path) {
            Match::Found { parameters, .. } => parameters,
            Match::WrongMethod { .. } => panic!("every method is allowed"),
            Match::NotFound => continue,
        };
        found += 1;
        let names: Vec<&str> = template.parameter_names().collect();
        assert!(
            found_parameters.iter().all(|(name, _)| names.contains(&name.as_str())),
            "{raw:?} {template:?}"
        );
    }
    // Were all refused at the first byte, the walk would prove nothing.
    assert!(templates > 500 && paths > 500 && found > 100, "{templates} {paths} {found}");
}

#[test]
fn responses_never_panic_t_046() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let function = FunctionName::new("f");
    let (mut sent, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let output = match round % 4 {
            0 => Datum::Text(random.text()),
            1 => Datum::Json(format!(
                "{{\"body\":{},\"headers\":{{\"a\":{:?}}}}}",
                random.text(),
                random.text()
            )),
            2 => Datum::Text(format!(
                "{{\"status\":{},\"body\":\"\",\"cookies\":[{}]}}",
                random.below(700),
                random.text()
            )),
            _ => Datum::Response(Box::new(HttpResponse {
                status: i64::try_from(random.below(700)).unwrap_or(0),
                headers: vec![
                    (format!("x-{}", random.text()), random.text()),
                    ("x-a".to_owned(), random.text()),
                ],
                body: Bytes::from(random.bytes()),
            })),
        };
        match respond(&function, Some(output)) {
            Ok(reply) => {
                sent += 1;
                let values = reply.response.headers().values();
                assert!(
                    values
                        .into_iter()
                        .all(|value| !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)))
                );
            }
            Err(error) => {
                refused += 1;
                assert!(!error.fault.to_string().contains(['\r', '\n', '\0']));
            }
        }
    }
    assert!(sent > 500 && refused > 500, "{sent} {refused}");
}

#[test]
fn queries_and_bodies_never_panic() {
    let mut random = Random(0xdead_beef_cafe_f00d);
    for _ in 0..ROUNDS {
        let request = HttpRequest {
            query: request::query(&random.text()),
            body: Bytes::from(random.bytes()),
            ..HttpRequest::default()
        };
        let names = request::binding_data(&request);
        assert!(names.iter().any(|(name, _)| name.eq_ignore_ascii_case("query")));
    }
}
