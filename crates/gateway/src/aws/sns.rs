//! Topics, as clients of SNS ask for them (query protocol, API version 2010-03-31): forms in, XML out.
//!
//! A topic is a name that functions and queues of the project subscribe to; what is published there is an event of each function, and a
//! message of each queue.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use ingle_types::topic::{MESSAGE_BYTES_MAX, Publication, TopicAttribute, TopicAttributes};
use uuid::Uuid;

use super::{ACCOUNT, Answer, Aws, Fault, Origin, whole, xml};
use crate::request::pairs;

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const BATCH_MAX: usize = 10;
/// What a subscribed queue takes of them, as SQS has it.
const ATTRIBUTES_MAX: usize = 10;
const SUBJECT_CHARACTERS_MAX: usize = 100;

pub(super) async fn answer(aws: &Aws, body: &Bytes, origin: &Origin) -> Answer {
    let form = Form::read(&String::from_utf8_lossy(body));
    let action = form.get("Action").unwrap_or_default().to_owned();
    match serve(aws, &action, &form, origin).await {
        Ok(result) => {
            let metadata = xml::element("RequestId", &Uuid::new_v4().to_string());
            let inner = format!(
                "<{action}Result>{result}</{action}Result><ResponseMetadata>{metadata}</ResponseMetadata>"
            );
            whole(StatusCode::OK, "text/xml", document(&format!("{action}Response"), &inner))
        }
        Err(Fault { status, code, message }) => {
            let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
            let inner =
                xml::element("Type", kind) + &xml::element("Code", code) + &xml::element("Message", &message);
            whole(status, "text/xml", document("ErrorResponse", &format!("<Error>{inner}</Error>")))
        }
    }
}

fn document(root: &str, inner: &str) -> String {
    format!("<{root} xmlns=\"{NAMESPACE}\">{inner}</{root}>")
}

async fn serve(aws: &Aws, action: &str, form: &Form, origin: &Origin) -> Result<String, Fault> {
    match action {
        "Publish" => {
            let publication = publication(form, "", topic(form)?, origin)?;
            let id = publication.id.to_string();
            publish(aws, vec![publication]).await?;
            Ok(xml::element("MessageId", &id))
        }
        "PublishBatch" => publish_batch(aws, form, origin).await,
        "CreateTopic" => {
            let name = form.get("Name").ok_or_else(|| missing("Name"))?;
            Ok(xml::element("TopicArn", &arn(aws, name)))
        }
        "ListTopics" => {
            let arns = aws.topics.names.iter().map(|name| xml::element("TopicArn", &arn(aws, name)));
            let members: String = arns.map(|arn| format!("<member>{arn}</member>")).collect();
            Ok(format!("<Topics>{members}</Topics>"))
        }
        other => {
            let message = format!("Ingle's topics have no {other}");
            Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "InvalidAction", message))
        }
    }
}

/// What is published together is committed together.
async fn publish_batch(aws: &Aws, form: &Form, origin: &Origin) -> Result<String, Fault> {
    let topic = topic(form)?;
    let (mut publications, mut told) = (Vec::new(), String::new());
    for number in 1.. {
        let prefix = format!("PublishBatchRequestEntries.member.{number}.");
        let Some(id) = form.get(&format!("{prefix}Id")) else {
            if number == 1 {
                return Err(Fault::bad(
                    "EmptyBatchRequest",
                    "The batch request doesn't contain any entries.",
                ));
            }
            break;
        };
        if number > BATCH_MAX {
            let message = format!("A batch has at most {BATCH_MAX} entries.");
            return Err(Fault::bad("TooManyEntriesInBatchRequest", message));
        }
        let publication = publication(form, &prefix, topic.clone(), origin)?;
        let entry = xml::element("Id", id) + &xml::element("MessageId", &publication.id.to_string());
        publications.push(publication);
        told.push_str(&format!("<member>{entry}</member>"));
    }
    publish(aws, publications).await?;
    Ok(format!("<Successful>{told}</Successful><Failed></Failed>"))
}

/// `arn:aws:sns:us-east-1:000000000000:orders`.
fn arn(aws: &Aws, topic: &str) -> String {
    format!("arn:aws:sns:{}:{ACCOUNT}:{topic}", aws.region)
}

async fn publish(aws: &Aws, publications: Vec<Publication>) -> Result<(), Fault> {
    let topics: Vec<String> = publications.iter().map(|one| one.topic.clone()).collect();
    for topic in topics.iter().filter(|topic| !aws.topics.names.contains(topic)) {
        tracing::warn!(topic, "a function publishes to a topic that nobody subscribes to");
    }
    let published = (aws.topics.publish)(publications).await;
    published
        .map(|_events| ())
        .map_err(|message| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message))
}

/// The name in the ARN.
fn topic(form: &Form) -> Result<String, Fault> {
    let arn = form.get("TopicArn").or_else(|| form.get("TargetArn")).ok_or_else(|| missing("TopicArn"))?;
    let is_arn = arn.starts_with("arn:") && arn.split(':').nth(2) == Some("sns");
    let name = arn.splitn(6, ':').nth(5).filter(|name| is_arn && !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| Fault::bad("InvalidParameter", format!("Invalid parameter: TopicArn: {arn}")))
}

fn publication(form: &Form, prefix: &str, topic: String, origin: &Origin) -> Result<Publication, Fault> {
    let wrong = |message: String| Err(Fault::bad("InvalidParameter", message));
    let message = form.get(&format!("{prefix}Message")).ok_or_else(|| missing("Message"))?;
    if message.is_empty() || message.len() > MESSAGE_BYTES_MAX {
        return wrong(format!("Invalid parameter: the message must have 1 to {MESSAGE_BYTES_MAX} bytes"));
    }
    if form.get(&format!("{prefix}MessageStructure")) == Some("json") {
        return wrong("Invalid parameter: messages of several structures are not served here".to_owned());
    }
    let subject = form.get(&format!("{prefix}Subject"));
    if subject.is_some_and(|subject| subject.is_empty() || subject.chars().count() > SUBJECT_CHARACTERS_MAX) {
        return wrong(format!("Invalid parameter: a subject has 1 to {SUBJECT_CHARACTERS_MAX} characters"));
    }
    let attributes = attributes(form, prefix)?;
    let of_attributes = attributes.iter().map(|(name, one)| name.len() + one.kind.len() + one.value.len());
    if message.len() + of_attributes.sum::<usize>() > MESSAGE_BYTES_MAX {
        let most = format!("{MESSAGE_BYTES_MAX} bytes");
        return wrong(format!("Invalid parameter: the message and its attributes have more than {most}"));
    }
    Ok(Publication {
        id: Uuid::new_v4(),
        topic,
        subject: subject.map(str::to_owned),
        message: message.to_owned(),
        attributes,
        hop_count: origin.hop_count,
        trace_parent: origin.trace_parent.clone(),
    })
}

fn attributes(form: &Form, prefix: &str) -> Result<TopicAttributes, Fault> {
    let mut found = TopicAttributes::new();
    for number in 1.. {
        let entry = format!("{prefix}MessageAttributes.entry.{number}");
        let Some(name) = form.get(&format!("{entry}.Name")) else { break };
        if number > ATTRIBUTES_MAX {
            let message = format!("a message has at most {ATTRIBUTES_MAX} attributes");
            return Err(Fault::bad("InvalidParameterValue", message));
        }
        let of = |part: &str| form.get(&format!("{entry}.Value.{part}"));
        let (Some(kind), Some(value)) = (of("DataType"), of("StringValue").or_else(|| of("BinaryValue")))
        else {
            let message = format!("The message attribute '{name}' must contain a value and a DataType.");
            return Err(Fault::bad("InvalidParameterValue", message));
        };
        let attribute = TopicAttribute { kind: kind.to_owned(), value: value.to_owned() };
        if attribute.is_binary() && STANDARD.decode(value).is_err() {
            let message = format!("The message attribute '{name}' is no base64.");
            return Err(Fault::bad("InvalidParameterValue", message));
        }
        found.insert(name.to_owned(), attribute);
    }
    Ok(found)
}

fn missing(name: &'static str) -> Fault {
    Fault::bad("MissingParameter", format!("The request must contain the parameter {name}."))
}

/// Members of a form, whose lists and maps have numbers in the names.
struct Form(HashMap<String, String>);

impl Form {
    /// Of several with one name, the first counts.
    fn read(body: &str) -> Self {
        Self(pairs(body).into_iter().rev().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Publication, Fault> {
        let form = Form::read(body);
        publication(&form, "", topic(&form)?, &Origin::default())
    }

    #[test]
    fn a_form_is_a_publication() {
        let found = read(
            "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A000000000000%3Aorders&Message=two+soups&Subject=news\
             &MessageAttributes.entry.1.Name=store&MessageAttributes.entry.1.Value.DataType=String\
             &MessageAttributes.entry.1.Value.StringValue=books",
        );
        let found = found.unwrap();
        assert_eq!((found.topic.as_str(), found.message.as_str()), ("orders", "two soups"));
        assert_eq!(found.subject.as_deref(), Some("news"));
        assert_eq!(Form::read("a=1&b=2&a=3").get("a"), Some("1"));
        let expected = TopicAttribute { kind: "String".to_owned(), value: "books".to_owned() };
        assert_eq!(found.attributes["store"], expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let arn = "TopicArn=arn:aws:sns:eu-west-1:000000000000:orders";
        let check = |body: &str, code: &str| assert_eq!(read(body).unwrap_err().code, code, "{body}");
        check("Message=a", "MissingParameter");
        check(arn, "MissingParameter");
        check("TopicArn=orders&Message=a", "InvalidParameter");
        check("TopicArn=arn:aws:sqs:eu-west-1:000000000000:orders&Message=a", "InvalidParameter");
        check(&format!("{arn}&Message="), "InvalidParameter");
        check(&format!("{arn}&Message={}", "a".repeat(MESSAGE_BYTES_MAX + 1)), "InvalidParameter");
        check(&format!("{arn}&Message=a&Subject={}", "a".repeat(101)), "InvalidParameter");
        check(&format!("{arn}&Message=a&MessageStructure=json"), "InvalidParameter");
        check(&format!("{arn}&Message=a&MessageAttributes.entry.1.Name=x"), "InvalidParameterValue");
        let attribute = |number: usize, value: &str| {
            let entry = format!("&MessageAttributes.entry.{number}");
            format!("{entry}.Name=n{number}{entry}.Value.DataType=String{entry}.Value.StringValue={value}")
        };
        let many = |count: usize| (1..=count).map(|number| attribute(number, "x")).collect::<String>();
        assert_eq!(read(&format!("{arn}&Message=a{}", many(10))).unwrap().attributes.len(), 10);
        check(&format!("{arn}&Message=a{}", many(11)), "InvalidParameterValue");
        let half = "a".repeat(MESSAGE_BYTES_MAX / 2);
        check(&format!("{arn}&Message={half}{}", attribute(1, &half)), "InvalidParameter");
    }
}
