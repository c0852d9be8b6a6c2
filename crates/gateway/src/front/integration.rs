//! Mapping templates, with functions or nothing behind them: what they get of a request, and what becomes of what they return (facts of Lambda, section
//! 5.3, steps 6 and 7).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use ingle_types::front::{Integration, IntegrationKind, PassThrough, ResponseRule};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::apis;
use crate::request::pairs;
use crate::response::{self, ResponseFault};
use crate::vtl::{Input, Template};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// A text in a header's mapping stands in these.
const QUOTE: char = '\'';
const RESPONSE: &str = "integration.response.body.";
const ERROR_HEADER: HeaderName = HeaderName::from_static("ingle-error");

/// The templates of one route, made ready.
pub(super) struct Mapping {
    /// By media type.
    kind: IntegrationKind,
    requests: Vec<(String, Template)>,
    pass_through: PassThrough,
    responses: Vec<Rule>,
}

struct Rule {
    status: StatusCode,
    /// What the error's message must be; none of the rule for all else.
    pattern: Option<Regex>,
    template: Option<Template>,
    headers: Vec<(HeaderName, String)>,
}

/// What was asked, as templates see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) params: Value,
    pub(crate) context: Value,
}

impl Asked {
    /// Of an event of format 1.0.
    pub(crate) fn of(event: &mut Value) -> Self {
        let mut map = |name: &str| match event[name].take() {
            Value::Null => json!({}),
            value => value,
        };
        let params = json!({"path": map("pathParameters"), "querystring": map("queryStringParameters"), "header": map("headers")});
        Self { params, context: map("requestContext") }
    }

    fn input(&self, body: String) -> Input {
        let (params, context) = (self.params.clone(), self.context.clone());
        Input { body, params, context, stage_variables: json!({}) }
    }
}

/// What is wrong with the templates and patterns.
pub(super) fn faults(integration: &Integration) -> Vec<String> {
    let requests = integration.requests.iter();
    let mut found: Vec<String> = requests
        .filter_map(|(kind, text)| {
            let fault = Template::parse(text).err()?;
            Some(format!("line {} of the template for {kind}: {}", fault.line, fault.what))
        })
        .collect();
    found.extend(integration.responses.iter().filter_map(|rule| {
        let error = Rule::new(rule).err()?;
        Some(format!("the response {}: {error}", rule.status))
    }));
    found
}

impl Rule {
    fn new(rule: &ResponseRule) -> Result<Self, String> {
        let status = status(i64::from(rule.status))?;
        let pattern = rule.pattern.as_ref().filter(|pattern| !pattern.is_empty());
        let pattern = pattern.map(|text| Regex::new(&format!("^(?:{text})$"))).transpose();
        let template = rule.template.as_deref().map(Template::parse).transpose();
        let template = template.map_err(|fault| format!("line {}: {}", fault.line, fault.what))?;
        let headers = rule.headers.iter().map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str());
            name.map(|name| (name, value.clone())).map_err(|error| error.to_string())
        });
        Ok(Self {
            status,
            pattern: pattern.map_err(|error| error.to_string())?,
            template,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }
}

impl Mapping {
    /// # Errors
    /// A template or a pattern is none, in words.
    pub(super) fn new(integration: &Integration) -> Result<Self, String> {
        let requests = integration.requests.iter().map(|(kind, text)| {
            let template = Template::parse(text).map_err(|fault| fault.what)?;
            Ok((kind.clone(), template))
        });
        Ok(Self {
            kind: integration.kind,
            requests: requests.collect::<Result<_, String>>()?,
            pass_through: integration.pass_through,
            responses: integration.responses.iter().map(Rule::new).collect::<Result<_, _>>()?,
        })
    }

    /// The event of a request, as JSON text.
    ///
    /// # Errors
    /// The answer to a body of a media type that is not taken, or whose template fails.
    pub(super) fn event(&self, head: &Parts, body: &[u8], asked: &Asked) -> Result<String, Response<Bytes>> {
        let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(JSON);
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let text = String::from_utf8_lossy(body).into_owned();
        if let Some((_, template)) = self.requests.iter().find(|(known, _)| *known == kind) {
            let filled = template.fill(&asked.input(text)).map_err(|what| broken(&what))?;
            let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&filled.text);
            return match parsed {
                Ok(_) => Ok(filled.text),
                Err(error) => Err(bad_request(&error.to_string())),
            };
        }
        let is_usual = self.kind == IntegrationKind::Framework && matches!(kind.as_str(), JSON | FORM);
        if self.requests.is_empty() && is_usual {
            return Ok(usual(&kind, &text, asked).to_string());
        }
        let passes = match self.pass_through {
            PassThrough::Never => false,
            PassThrough::WhenNoMatch => true,
            PassThrough::WhenNoTemplates => self.requests.is_empty(),
        };
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            _ if !passes => Err(apis::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type")),
            Ok(_) => Ok(text),
            Err(_) if text.is_empty() => Ok("{}".to_owned()),
            Err(error) => Err(bad_request(&error.to_string())),
        }
    }

    pub(super) fn is_mock(&self) -> bool {
        self.kind == IntegrationKind::Mock
    }

    /// The answer of a mock. `event`: what the template of its request has made, as JSON text.
    pub(super) fn mock(&self, event: &str, asked: &Asked) -> Response<Bytes> {
        let said: Value = serde_json::from_str(event).unwrap_or_default();
        match &said["statusCode"] {
            Value::Number(status) => self.answer("", Some(&status.to_string()), asked),
            Value::String(status) => self.answer("", Some(status), asked),
            _ => broken("the template of a mock's request makes no `statusCode`"),
        }
    }

    /// The answer to what the function returned or, with a message of the error, how it failed; both as JSON text.
    pub(super) fn answer(&self, returned: &str, error: Option<&str>, asked: &Asked) -> Response<Bytes> {
        let fits = |rule: &&Rule| match (&rule.pattern, error) {
            (Some(pattern), Some(message)) => pattern.is_match(message),
            _ => false,
        };
        let rule = self.responses.iter().find(fits);
        let rule = rule.or_else(|| self.responses.iter().find(|rule| rule.pattern.is_none()));
        let Some(rule) = rule else {
            return broken("none of its responses is for what came back, and none is for all else");
        };
        let mut response = Response::new(Bytes::copy_from_slice(returned.as_bytes()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        *response.status_mut() = rule.status;
        let value: Value = serde_json::from_str(returned).unwrap_or_default();
        for (name, mapped) in &rule.headers {
            if let Some(value) = header(mapped, &value) {
                set(&mut response, name.clone(), value);
            }
        }
        let Some(template) = &rule.template else { return response };
        let filled = template.fill(&asked.input(returned.to_owned())).and_then(|filled| {
            overridden(&mut response, &filled.context["responseOverride"])?;
            Ok(filled.text)
        });
        match filled {
            Ok(text) => response.map(|_returned| Bytes::from(text)),
            Err(what) => broken(&what),
        }
    }
}

/// A status that can end a request; what is wrong with any other.
fn status(number: i64) -> Result<StatusCode, String> {
    response::status(number).ok_or_else(|| ResponseFault::Status(number.to_string()).to_string())
}

/// Sets a header that templates or mappings ask for, unless it is the server's: what a function returned could end the
/// response early with it, and begin another (T-032).
fn set(response: &mut Response<Bytes>, name: HeaderName, value: HeaderValue) {
    if response::belongs_to_server(&name) {
        tracing::debug!("the header {name} of a mapping was left out: the server sets it itself");
        return;
    }
    response.headers_mut().insert(name, value);
}

/// What a template has set in `$context.responseOverride`.
fn overridden(response: &mut Response<Bytes>, said: &Value) -> Result<(), String> {
    let number = said["status"].as_i64().or_else(|| said["status"].as_str()?.parse().ok());
    if let Some(number) = number {
        *response.status_mut() = status(number)?;
    }
    for (name, value) in said["header"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) {
            set(response, name, value);
        }
    }
    Ok(())
}

/// `'text'`, or a member of what was returned.
fn header(mapped: &str, returned: &Value) -> Option<HeaderValue> {
    let text = mapped.strip_prefix(QUOTE).and_then(|rest| rest.strip_suffix(QUOTE)).map(str::to_owned);
    let text = text.or_else(|| {
        let path = mapped.strip_prefix(RESPONSE)?;
        let found = path.split('.').try_fold(returned, |value, name| value.get(name))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    });
    HeaderValue::try_from(text?).ok()
}

/// The event that the Serverless Framework makes of a request if no template is written.
fn usual(kind: &str, text: &str, asked: &Asked) -> Value {
    let body = match kind {
        FORM => Value::Object(pairs(text).into_iter().map(|(name, value)| (name, value.into())).collect()),
        _ if text.trim().is_empty() => json!({}),
        _ => serde_json::from_str(text).unwrap_or_else(|_no_json| text.into()),
    };
    let context = &asked.context;
    let authorizer = &context["authorizer"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = |value: &Value| -> Map<String, Value> {
        let members = value.as_object().into_iter().flatten();
        let printed = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        members
            .map(|(name, value)| {
                (name.clone(), if value.is_null() { "".into() } else { printed(value).into() })
            })
            .collect()
    };
    json!({
        "body": body,
        "method": context["httpMethod"],
        "principalId": text(&authorizer["principalId"]),
        "stage": context["stage"],
        "cognitoPoolClaims": {"sub": text(&authorizer["claims"]["sub"])},
        "enhancedAuthContext": all(authorizer),
        "headers": asked.params["header"],
        "query": asked.params["querystring"],
        "path": asked.params["path"],
        "identity": all(&context["identity"]),
        "stageVariables": {},
        "requestPath": context["resourcePath"],
    })
}

fn bad_request(what: &str) -> Response<Bytes> {
    tracing::debug!("a request became no JSON: {what}");
    apis::message(StatusCode::BAD_REQUEST, "Could not parse request body into json")
}

pub(super) fn broken(what: &str) -> Response<Bytes> {
    tracing::warn!(code = "E0514", "a mapping template can't be filled: {what}");
    let mut response = apis::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static("E0514"));
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rule(status: u16, pattern: &str, template: Option<&str>) -> ResponseRule {
        let headers = vec![
            ("X-Kind".to_owned(), "'text'".to_owned()),
            ("x-id".to_owned(), "integration.response.body.id".to_owned()),
        ];
        ResponseRule {
            status,
            pattern: Some(pattern.to_owned()).filter(|pattern| !pattern.is_empty()),
            template: template.map(str::to_owned),
            headers,
        }
    }

    fn asked() -> Asked {
        let mut event = json!({"pathParameters": {"id": "7"}, "queryStringParameters": null, "headers": {"A": "b"},
            "requestContext": {"httpMethod": "POST", "stage": "dev", "resourcePath": "/{id}", "identity": {"sourceIp": "1.2.3.4", "user": null}}});
        Asked::of(&mut event)
    }

    #[test]
    fn requests_become_events_by_their_media_type() {
        let check = |requests: &[(&str, &str)],
                     pass_through,
                     kind: &str,
                     body: &str,
                     expected: Result<Value, u16>| {
            let requests = requests.iter().map(|&(kind, text)| (kind.to_owned(), text.to_owned())).collect();
            let mapping = Mapping::new(&Integration {
                kind: IntegrationKind::Framework,
                requests,
                pass_through,
                responses: Vec::new(),
            })
            .unwrap();
            let (head, ()) = Request::post("/").header("content-type", kind).body(()).unwrap().into_parts();
            let found = mapping.event(&head, body.as_bytes(), &asked());
            let found = found
                .map(|text| serde_json::from_str(&text).unwrap())
                .map_err(|answer| answer.status().as_u16());
            assert_eq!(found, expected, "{kind} {body}");
        };
        let own = [(JSON, "{\"id\": \"$input.params('id')\", \"a\": $input.json('$.a')}")];
        let never = PassThrough::Never;
        check(
            &own,
            never,
            "application/json; charset=utf-8",
            "{\"a\": [1]}",
            Ok(json!({"id": "7", "a": [1]})),
        );
        check(&own, never, "text/plain", "{}", Err(415));
        check(&own, PassThrough::WhenNoMatch, "text/plain", "{\"b\": 1}", Ok(json!({"b": 1})));
        check(&own, PassThrough::WhenNoTemplates, "text/plain", "{}", Err(415));
        check(&[(JSON, "no JSON")], never, JSON, "{}", Err(400));
        check(&[(JSON, "$util.parseJson('{')")], never, JSON, "{}", Err(500));
        let usual = |body: Value| {
            json!({"body": body, "method": "POST", "principalId": "", "stage": "dev",
            "cognitoPoolClaims": {"sub": ""}, "enhancedAuthContext": {}, "headers": {"A": "b"}, "query": {}, "path": {"id": "7"},
            "identity": {"sourceIp": "1.2.3.4", "user": ""}, "stageVariables": {}, "requestPath": "/{id}"})
        };
        check(&[], never, JSON, "{\"a\": 1}", Ok(usual(json!({"a": 1}))));
        check(&[], never, FORM, "a=1&b=%20", Ok(usual(json!({"a": "1", "b": " "}))));
        check(&[], never, "text/plain", "x", Err(415));
    }

    #[test]
    fn results_become_answers_by_their_error() {
        let responses = vec![
            rule(404, r"[\s\S]*\[404\][\s\S]*", Some("gone: $input.path('$.errorMessage')")),
            rule(
                201,
                "",
                Some("#set($context.responseOverride.header.x-more = 'y')made $input.path('$.id')"),
            ),
        ];
        let integration = Integration {
            kind: IntegrationKind::Framework,
            requests: Vec::new(),
            pass_through: PassThrough::Never,
            responses,
        };
        let mapping = Mapping::new(&integration).unwrap();
        let made = mapping.answer("{\"id\": 7}", None, &asked());
        assert_eq!((made.status().as_u16(), &made.body()[..]), (201, &b"made 7"[..]));
        let header = |name: &str| made.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (header("x-kind"), header("x-id"), header("x-more")),
            ("text".into(), "7".into(), "y".into())
        );
        let error = "{\"errorMessage\": \"[404] no item\"}";
        let gone = mapping.answer(error, Some("[404] no item"), &asked());
        assert_eq!((gone.status().as_u16(), &gone.body()[..]), (404, &b"gone: [404] no item"[..]));
        // What no pattern is for has the status of what went well.
        assert_eq!(mapping.answer("{}", Some("other"), &asked()).status(), 201);
    }

    fn answering(responses: Vec<ResponseRule>) -> Mapping {
        let (kind, pass_through) = (IntegrationKind::Function, PassThrough::Never);
        Mapping::new(&Integration { kind, requests: Vec::new(), pass_through, responses }).unwrap()
    }

    /// T-032: a wrong length would let whoever is behind the function end its response early.
    #[test]
    fn no_mapping_sets_what_frames_the_body() {
        for name in ["Content-Length", "transfer-encoding", "Connection", "Upgrade"] {
            let mapped = (name.to_owned(), "integration.response.body.n".to_owned());
            let overriding = format!("#set($context.responseOverride.header['{name}'] = \"1\")body");
            let template = Some(overriding);
            let rule = ResponseRule { headers: vec![mapped], template, ..rule(200, "", None) };
            let made = answering(vec![rule]).answer("{\"n\": 1}", None, &asked());
            assert_eq!((made.headers().len(), &made.body()[..]), (1, &b"body"[..]), "{:?}", made.headers());
        }
    }

    #[test]
    fn a_template_sets_a_status_that_can_end_a_request() {
        let check = |status: &str, expected: u16| {
            let template = format!("#set($context.responseOverride.status = {status})");
            let made = answering(vec![rule(200, "", Some(&template))]).answer("{}", None, &asked());
            assert_eq!(made.status().as_u16(), expected, "{status}");
        };
        check("201", 201);
        check("'599'", 599);
        for none in ["100", "101", "'199'", "600", "999", "-1", "70000"] {
            check(none, 500);
        }
    }

    /// As at AWS, where this is an error of the configuration.
    #[test]
    fn what_no_response_is_for_is_an_error() {
        let mapping = answering(vec![rule(400, "4..", None)]);
        assert_eq!(mapping.answer("{}", Some("404"), &asked()).status(), 400);
        let secret = "{\"errorMessage\": \"no\", \"stackTrace\": [\"app.py\"]}";
        for error in [Some("no"), None] {
            let answer = mapping.answer(secret, error, &asked());
            assert_eq!(answer.status(), 500);
            assert_eq!(&answer.body()[..], b"{\"message\":\"Internal server error\"}");
        }
    }

    #[test]
    fn what_is_no_template_is_a_fault() {
        let requests = vec![(JSON.to_owned(), "\n#if(".to_owned())];
        let responses =
            vec![rule(200, "(", None), rule(101, "", None), rule(600, "", None), rule(200, "", Some("#end"))];
        let found = faults(&Integration {
            kind: IntegrationKind::Framework,
            requests,
            pass_through: PassThrough::Never,
            responses,
        });
        assert!(
            found.len() == 5 && found[0].starts_with("line 2 of the template for application/json"),
            "{found:?}"
        );
    }

    #[test]
    fn a_mock_answers_with_the_response_of_its_status() {
        let integration = |template: &str| Integration {
            kind: IntegrationKind::Mock,
            requests: vec![(JSON.to_owned(), template.to_owned())],
            pass_through: PassThrough::WhenNoMatch,
            responses: vec![
                rule(200, "2..", Some("{\"at\": \"$context.path\"}")),
                ResponseRule { status: 503, pattern: None, template: None, headers: Vec::new() },
            ],
        };
        let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
        let asked = Asked { context: json!({"path": "/a"}), ..Asked::default() };
        let check = |template: &str, status: u16, body: &str| {
            let mapping = Mapping::new(&integration(template)).unwrap();
            let event = mapping.event(&head, b"", &asked).unwrap();
            let answer = mapping.mock(&event, &asked);
            assert_eq!((answer.status().as_u16(), &**answer.body()), (status, body.as_bytes()), "{template}");
        };
        check("{\"statusCode\": 201}", 200, "{\"at\": \"/a\"}");
        check("{\"statusCode\": \"200\"}", 200, "{\"at\": \"/a\"}");
        check("{\"statusCode\": 404}", 503, "");
        check("{}", 500, "{\"message\":\"Internal server error\"}");
        // Without a template of its own, a body passes as it is: it is no request that the Serverless Framework knows.
        let mapping = Mapping::new(&Integration { requests: Vec::new(), ..integration("") }).unwrap();
        assert_eq!(mapping.event(&head, b"{\"a\": 1}", &asked).unwrap(), "{\"a\": 1}");
    }
}
