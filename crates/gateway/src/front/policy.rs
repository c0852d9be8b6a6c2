//! What functions that were asked say: a policy about routes, or yes and no (AWS's "Output from an API Gateway Lambda authorizer").

use serde_json::{Map, Value};

use crate::wildcard::fits;

/// Actions that matter; what a policy says of others is not about routes.
const ACTION: &str = "execute-api:invoke";

/// What was said, about every route of the API.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Decision {
    rule: Rule,
    pub(super) principal: Option<String>,
    pub(super) context: Map<String, Value>,
}

#[derive(Clone, PartialEq, Debug)]
enum Rule {
    All(bool),
    Statements(Vec<Statement>),
}

/// One statement of a policy that is about calling routes.
#[derive(Clone, PartialEq, Debug)]
struct Statement {
    allows: bool,
    resources: Vec<String>,
}

/// What a decision means for one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    Forbidden,
}

impl Decision {
    /// `{"isAuthorized": true, "context": {…}}`.
    ///
    /// # Errors
    /// It is something else, in words.
    pub(super) fn simple(said: &Value) -> Result<Self, String> {
        let is_authorized = said.get("isAuthorized").and_then(Value::as_bool);
        let allowed = is_authorized.ok_or("`isAuthorized` is neither true nor false")?;
        Ok(Self { rule: Rule::All(allowed), principal: None, context: context(said)? })
    }

    /// `{"principalId": "…", "policyDocument": {"Statement": […]}, "context": {…}}`. `only_plain`: values of the context are
    /// texts, numbers, true and false, as a REST API takes them.
    ///
    /// # Errors
    /// It is no policy that can be applied here, in words.
    pub(super) fn policy(said: &Value, only_plain: bool) -> Result<Self, String> {
        let principal = said.get("principalId").and_then(Value::as_str).filter(|name| !name.is_empty());
        let principal = principal.ok_or("it has no `principalId`, which is a text")?.to_owned();
        let document = said.get("policyDocument").ok_or("it has no `policyDocument`")?;
        let listed = document.get("Statement").ok_or("the policy has no `Statement`")?;
        let mut statements = Vec::new();
        for one in many(listed) {
            statements.extend(statement(one)?);
        }
        let context = context(said)?;
        let nested = context.iter().find(|(_, value)| value.is_object() || value.is_array());
        if let Some((name, _)) = nested.filter(|_| only_plain) {
            return Err(format!("`{name}` of its context is no text, number, true or false"));
        }
        Ok(Self { rule: Rule::Statements(statements), principal: Some(principal), context })
    }

    /// Whether the route of this ARN may be called. One statement that forbids it wins over all that allow it.
    pub(super) fn about(&self, arn: &str) -> Verdict {
        let statements = match &self.rule {
            Rule::All(true) => return Verdict::Allowed,
            Rule::All(false) => return Verdict::Forbidden,
            Rule::Statements(statements) => statements,
        };
        let concerns = |one: &&Statement| one.resources.iter().any(|pattern| fits(pattern, arn));
        let mut concerned = statements.iter().filter(concerns).peekable();
        if concerned.peek().is_none() {
            return Verdict::NotAllowed;
        }
        if concerned.all(|one| one.allows) { Verdict::Allowed } else { Verdict::Forbidden }
    }
}

fn many(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn context(said: &Value) -> Result<Map<String, Value>, String> {
    match said.get("context") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(context)) => Ok(context.clone()),
        Some(_) => Err("its `context` is no object".to_owned()),
    }
}

/// `None` for one about other actions.
fn statement(said: &Value) -> Result<Option<Statement>, String> {
    if let Some(other) = ["Condition", "NotAction", "NotResource"].iter().find(|key| said.get(key).is_some())
    {
        return Err(format!("a statement has `{other}`, which is not evaluated here"));
    }
    let allows = match said.get("Effect").and_then(Value::as_str) {
        Some(effect) if effect.eq_ignore_ascii_case("allow") => true,
        Some(effect) if effect.eq_ignore_ascii_case("deny") => false,
        _ => return Err("the `Effect` of a statement is neither Allow nor Deny".to_owned()),
    };
    let texts = |key: &str| -> Result<Vec<String>, String> {
        let listed = said.get(key).ok_or_else(|| format!("a statement has no `{key}`"))?;
        let text = |one: &Value| one.as_str().map(str::to_owned);
        many(listed).iter().map(text).collect::<Option<_>>().ok_or_else(|| format!("`{key}` is no text"))
    };
    let (actions, resources) = (texts("Action")?, texts("Resource")?);
    let is_about_routes = actions.iter().any(|action| fits(&action.to_ascii_lowercase(), ACTION));
    Ok(is_about_routes.then_some(Statement { allows, resources }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:api/Prod/GET/orders/7";

    #[track_caller]
    fn check(statements: &Value, expected: Verdict) {
        let said = json!({"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": statements}});
        assert_eq!(Decision::policy(&said, true).unwrap().about(ARN), expected, "{statements}");
    }

    fn statement(effect: &str, resource: &str) -> Value {
        json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource})
    }

    #[test]
    fn a_policy_is_about_the_routes_it_names() {
        check(&json!([statement("Allow", ARN)]), Verdict::Allowed);
        check(&statement("Allow", "*"), Verdict::Allowed);
        check(&statement("Allow", "arn:aws:execute-api:*:*:api/Prod/*/orders/*"), Verdict::Allowed);
        check(
            &statement("Allow", "arn:aws:execute-api:us-east-1:000000000000:api/Prod/GET/orders/?"),
            Verdict::Allowed,
        );
        check(&statement("Allow", "arn:aws:execute-api:*:*:api/Prod/POST/*"), Verdict::NotAllowed);
        check(&json!([]), Verdict::NotAllowed);
        check(&json!([statement("Allow", "*"), statement("Deny", ARN)]), Verdict::Forbidden);
        check(&json!([statement("Deny", "*/POST/*"), statement("Allow", "*")]), Verdict::Allowed);
        let many = json!({"Effect": "Allow", "Action": ["x:y", "execute-api:*"], "Resource": ["a", "*"]});
        check(&many, Verdict::Allowed);
        check(&json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}), Verdict::NotAllowed);
    }

    #[test]
    fn what_can_not_be_applied_is_no_policy() {
        let check = |said: Value, words: &str| {
            let error = Decision::policy(&said, true).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        let of = |statement: Value| json!({"principalId": "a", "policyDocument": {"Statement": [statement]}});
        check(json!(null), "principalId");
        check(json!({"principalId": 7}), "principalId");
        check(json!({"principalId": "a"}), "policyDocument");
        check(json!({"principalId": "a", "policyDocument": {}}), "Statement");
        check(of(json!({"Effect": "Maybe"})), "Effect");
        check(of(json!({"Effect": "Allow", "Resource": "*"})), "Action");
        check(of(json!({"Effect": "Allow", "Action": "*", "Resource": 7})), "Resource");
        check(of(json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}})), "Condition");
        let nested = json!({"principalId": "a", "policyDocument": {"Statement": []}, "context": {"a": []}});
        check(nested.clone(), "`a` of its context");
        assert!(Decision::policy(&nested, false).is_ok());
        assert!(Decision::simple(&json!({"isAuthorized": "true"})).is_err());
        let simple = Decision::simple(&json!({"isAuthorized": true, "context": {"a": {"b": 1}}})).unwrap();
        assert_eq!((simple.about(ARN), simple.context.len()), (Verdict::Allowed, 1));
    }
}
