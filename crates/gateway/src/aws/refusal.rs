//! Refusals in the form that the client of a service reads. Each of its protocols has one.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::json;

use super::{Answer, Fault, signature, sqs, whole, xml};

/// How clients of a service speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// The operation is in `x-amz-target`, and the code in the body.
    Json,
    /// Forms, answered in XML.
    Query,
    /// Paths and JSON, with the code in a header.
    RestJson,
    /// That of S3.
    RestXml,
}

impl Protocol {
    /// As a request looks.
    pub(super) fn of(head: &Parts) -> Self {
        let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if head.headers.contains_key("x-amz-target") {
            Self::Json
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            Self::Query
        } else if signature::service(head).is_none_or(|service| service == "s3") {
            Self::RestXml
        } else {
            Self::RestJson
        }
    }
}

pub(super) fn answer(fault: &Fault, protocol: Protocol) -> Answer {
    let Fault { status, code, message } = fault;
    let header = |name: &'static str, text: String, mut answer: Answer| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().insert(name, value);
        }
        answer
    };
    let inner = || xml::element("Code", code) + &xml::element("Message", message);
    match protocol {
        Protocol::Json => {
            // The old code is what `error.response["Error"]["Code"]` has, and what handlers compare.
            let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message}).to_string();
            let old = if *code == sqs::NO_QUEUE { "AWS.SimpleQueueService.NonExistentQueue" } else { code };
            let answer = whole(*status, "application/x-amz-json-1.0", body);
            header("x-amzn-query-error", format!("{old};Sender"), answer)
        }
        Protocol::Query => {
            let error = xml::element("Type", "Sender") + &inner();
            let body = format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>");
            whole(*status, "text/xml", body)
        }
        Protocol::RestJson => {
            let body = json!({"Type": "User", "Message": message, "message": message}).to_string();
            header("x-amzn-errortype", (*code).to_owned(), whole(*status, "application/json", body))
        }
        Protocol::RestXml => whole(*status, "application/xml", xml::document("Error", &inner())),
    }
}

/// The end of the variable that names another endpoint of a service, by the name that its clients sign with: `SFN` of `states`.
/// Clients derive it from the id of the service, which often is the same word (botocore's `service-2.json` files, `serviceId`
/// and `signingName`).
pub(super) fn endpoint_name(service: &str) -> String {
    let other = match service {
        "apigateway" => "API_GATEWAY",
        "application-autoscaling" => "APPLICATION_AUTO_SCALING",
        "autoscaling" => "AUTO_SCALING",
        "ce" => "COST_EXPLORER",
        "cognito-idp" => "COGNITO_IDENTITY_PROVIDER",
        "elasticfilesystem" => "EFS",
        "elasticloadbalancing" => "ELASTIC_LOAD_BALANCING_V2",
        "es" => "OPENSEARCH",
        "events" => "EVENTBRIDGE",
        "execute-api" => "APIGATEWAYMANAGEMENTAPI",
        "iotdata" => "IOT_DATA_PLANE",
        "logs" => "CLOUDWATCH_LOGS",
        "mobiletargeting" => "PINPOINT",
        "monitoring" => "CLOUDWATCH",
        "rds-data" => "RDS_DATA",
        "route53" => "ROUTE_53",
        "secretsmanager" => "SECRETS_MANAGER",
        "states" => "SFN",
        other => return other.to_ascii_uppercase().replace('-', "_"),
    };
    other.to_owned()
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt as _, Either};

    use super::*;

    fn of(headers: &[(&str, &str)]) -> Protocol {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Protocol::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_tells_how_its_client_speaks() {
        let signed = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=00"
            )
        };
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(of(&[("x-amz-target", "AmazonSQS.SendMessage")]), Protocol::Json);
        assert_eq!(of(&[form, ("authorization", &signed("sts"))]), Protocol::Query);
        assert_eq!(of(&[("authorization", &signed("lambda"))]), Protocol::RestJson);
        assert_eq!(of(&[("authorization", &signed("s3"))]), Protocol::RestXml);
        assert_eq!(of(&[]), Protocol::RestXml);
    }

    #[tokio::test]
    async fn each_has_the_words_in_its_own_place() {
        let fault = Fault::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "not <here>");
        for (protocol, expected) in [
            (
                Protocol::Query,
                "<Error><Type>Sender</Type><Code>NotImplemented</Code><Message>not &lt;here&gt;</Message></Error>",
            ),
            (Protocol::RestJson, "\"message\":\"not <here>\""),
            (Protocol::RestXml, "<Code>NotImplemented</Code><Message>not &lt;here&gt;</Message>"),
            (Protocol::Json, "com.amazonaws.sqs#NotImplemented"),
        ] {
            let answer = answer(&fault, protocol);
            assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
            let Either::Left(body) = answer.into_body() else { panic!("no whole body") };
            let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            assert!(text.contains(expected), "{protocol:?}: {text}");
        }
    }

    #[test]
    fn endpoints_are_named_as_clients_look_for_them() {
        let check = |service: &str, expected: &str| assert_eq!(endpoint_name(service), expected);
        check("states", "SFN");
        check("dynamodb", "DYNAMODB");
        check("cognito-identity", "COGNITO_IDENTITY");
    }
}
