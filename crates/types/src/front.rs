//! What stands in front of a route of an API of AWS: who may come in, and what a request has to be like before code runs.
//!
//! Projects declare it, and the gateway keeps to it. What each part means is in AWS's documentation of API Gateway
//! (facts of Lambda, section 5.3).

use std::time::Duration;

use serde_json::Value;

use crate::usage::ApiKey;

/// Everything in front of one route.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FrontSpec {
    pub authorizer: Option<Authorizer>,
    /// What callers must show one of; `None` if they need no key. Keys that were made by hand are good besides these.
    pub keys: Option<Vec<ApiKey>>,
    /// Of which a token must have one; empty for any token.
    pub scopes: Vec<String>,
    pub validation: Validation,
    /// Templates between the API and its function; the function gets the whole request without.
    pub integration: Option<Integration>,
}

/// What a function gets of a request, and what becomes of what it returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integration {
    pub kind: IntegrationKind,
    /// Media types with templates.
    pub requests: Vec<(String, String)>,
    pub pass_through: PassThrough,
    pub responses: Vec<ResponseRule>,
}

/// What is behind the templates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntegrationKind {
    /// A function. Without templates it gets the event that the Serverless Framework makes (`integration: lambda`).
    Framework,
    /// A function.
    Function,
    /// Nothing: the template of the request says which response there is, as `{"statusCode": 200}`.
    Mock,
}

/// What becomes of a body for whose media type there is no template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassThrough {
    /// It is not taken.
    Never,
    /// It is the event.
    WhenNoMatch,
    /// It is the event if there is no template at all.
    WhenNoTemplates,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResponseRule {
    pub status: u16,
    /// Of the whole message of an error, or of a mock's status, as a regular expression; `None` for what has no other rule.
    pub pattern: Option<String>,
    pub template: Option<String>,
    /// Names with `'a text'` or `integration.response.body.member`.
    pub headers: Vec<(String, String)>,
}

/// What a request has to be like; anything by default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Validation {
    /// What has to be there, and not be empty.
    pub required: Vec<Parameter>,
    /// What bodies have to be like.
    pub models: Vec<Model>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parameter {
    Header(String),
    Query(String),
}

/// A JSON schema, draft 4, for bodies of one media type.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// `application/json`.
    pub content_type: String,
    pub schema: Value,
}

/// Decides who is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorizer {
    /// In one API there is one of a name, with one memory of its decisions.
    pub name: String,
    pub kind: AuthorizerKind,
    /// What a request must have to be asked for at all; together they are the caller's identity.
    pub sources: Vec<IdentitySource>,
    /// For how long a decision about an identity holds; zero for one request.
    pub ttl: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthorizerKind {
    /// A function that gets the token alone.
    Token {
        /// As callers at AWS name it.
        function: String,
        /// What a token must look like, as a regular expression.
        pattern: Option<String>,
    },
    /// A function that gets the request without its body.
    Request { function: String, format: AuthorizerFormat },
    /// Signed tokens, whose keys the issuer publishes.
    Jwt {
        /// A URL, as `iss` of tokens has it.
        issuer: String,
        audiences: Vec<String>,
    },
}

/// What a function that is asked gets and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthorizerFormat {
    /// Format 1.0, and a policy.
    V1,
    /// Format 2.0, and a policy.
    V2,
    /// Format 2.0, and `isAuthorized`.
    V2Simple,
}

/// Where in a request a part of an identity is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdentitySource {
    Header(String),
    Query(String),
    /// A member of `requestContext`, with dots: `identity.sourceIp`.
    Context(String),
    StageVariable(String),
}

impl Authorizer {
    /// The function that decides, if one does.
    pub fn function(&self) -> Option<&str> {
        match &self.kind {
            AuthorizerKind::Token { function, .. } | AuthorizerKind::Request { function, .. } => {
                Some(function)
            }
            AuthorizerKind::Jwt { .. } => None,
        }
    }
}

impl IdentitySource {
    /// As API Gateway writes them: `method.request.header.X` and `context.x` for REST APIs, `$request.header.X` and
    /// `$context.x` for HTTP APIs.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let rest = text.strip_prefix('$').unwrap_or(text);
        let rest = rest.strip_prefix("method.").unwrap_or(rest);
        type Made = fn(String) -> IdentitySource;
        let kinds: [(&str, Made); 4] = [
            ("request.header.", Self::Header),
            ("request.querystring.", Self::Query),
            ("context.", Self::Context),
            ("stageVariables.", Self::StageVariable),
        ];
        kinds.into_iter().find_map(|(prefix, made)| {
            let name = rest.strip_prefix(prefix).filter(|name| !name.is_empty())?;
            Some(made(name.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_sources_are_written_in_two_ways() {
        let check = |text: &str, expected: Option<IdentitySource>| {
            assert_eq!(IdentitySource::parse(text), expected, "{text}");
        };
        check("method.request.header.Authorization", Some(IdentitySource::Header("Authorization".into())));
        check("$request.header.x-user", Some(IdentitySource::Header("x-user".into())));
        check(" $request.querystring.q ", Some(IdentitySource::Query("q".into())));
        check("context.identity.sourceIp", Some(IdentitySource::Context("identity.sourceIp".into())));
        check("$stageVariables.v", Some(IdentitySource::StageVariable("v".into())));
        check("$request.header.", None);
        check("Authorization", None);
    }
}
