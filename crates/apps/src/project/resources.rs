//! Resources of a template that Ingle has, and what references to them give.

use ingle_types::balancer::target_group;

use super::findings::Findings;
use super::node::{Kind as NodeKind, Member, Node};

/// Properties of queues, buckets and topics that have an effect.
const APPLIED: [&str; 12] = [
    "QueueName",
    "FifoQueue",
    "BucketName",
    "TopicName",
    "DisplayName",
    "RedrivePolicy",
    "VisibilityTimeout",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "ContentBasedDeduplication",
    "Subscription",
    "Tags",
];

/// Which changes of a bucket start what.
const NOTIFICATIONS: &str = "NotificationConfiguration";

/// Types of resources that start, guard or have functions, and are missing where nothing here takes them. Of an API that is made of
/// several, those that stand for it, its routes and its guards.
const STARTING: [&str; 25] = [
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::Method",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Route",
    "AWS::AppSync::GraphQLApi",
    "AWS::CloudFormation::Stack",
    "AWS::Events::Rule",
    "AWS::IoT::TopicRule",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Url",
    "AWS::Logs::SubscriptionFilter",
    "AWS::Pipes::Pipe",
    "AWS::SES::ReceiptRule",
    "AWS::SNS::Subscription",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::Serverless::Application",
    "AWS::Serverless::GraphQLApi",
    "AWS::Serverless::StateMachine",
    "AWS::StepFunctions::StateMachine",
    "AWS::WAFRegional::WebACLAssociation",
    "AWS::WAFv2::WebACLAssociation",
];

/// The types whose names and ARNs mean something here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Function,
    Layer,
    RestApi,
    HttpApi,
    Queue,
    Bucket,
    Topic,
    /// A listener of a load balancer.
    Listener,
    /// Functions behind a load balancer.
    TargetGroup,
    /// Of callers of a REST API.
    ApiKey,
    UsagePlan,
    /// Known by its name only.
    Table,
}

/// Where a resource is said to be.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) region: &'a str,
    pub(super) account: &'a str,
}

impl Kind {
    pub(super) fn of(resource: &Node) -> Option<Self> {
        Some(match resource.get("Type").and_then(Node::scalar)? {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => Self::Function,
            "AWS::Serverless::LayerVersion" | "AWS::Lambda::LayerVersion" => Self::Layer,
            "AWS::Serverless::Api" => Self::RestApi,
            "AWS::Serverless::HttpApi" => Self::HttpApi,
            "AWS::SQS::Queue" => Self::Queue,
            "AWS::S3::Bucket" => Self::Bucket,
            "AWS::SNS::Topic" => Self::Topic,
            "AWS::ElasticLoadBalancingV2::Listener" => Self::Listener,
            "AWS::ElasticLoadBalancingV2::TargetGroup" => Self::TargetGroup,
            "AWS::ApiGateway::ApiKey" => Self::ApiKey,
            "AWS::ApiGateway::UsagePlan" => Self::UsagePlan,
            "AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable" => Self::Table,
            _ => return None,
        })
    }

    /// The property that names it.
    pub(super) fn name_property(self) -> &'static str {
        match self {
            Self::Function => "FunctionName",
            Self::Layer => "LayerName",
            // An API is known by its id, and the name is for people.
            Self::RestApi | Self::HttpApi | Self::Listener | Self::ApiKey | Self::UsagePlan => "",
            Self::TargetGroup => "Name",
            Self::Queue => "QueueName",
            Self::Bucket => "BucketName",
            Self::Topic => "TopicName",
            Self::Table => "TableName",
        }
    }

    /// The name of one that says none. AWS would add something random.
    pub(super) fn default_name(self, id: &str, is_fifo: bool) -> String {
        match self {
            Self::Bucket => id.to_ascii_lowercase(),
            Self::Queue if is_fifo => format!("{id}.fifo"),
            _ => id.to_owned(),
        }
    }

    /// An attribute of the resource `name`; the empty one is what `Ref` gives. `None` for what Ingle can't say.
    pub(super) fn attribute(self, attribute: &str, name: &str, place: Place<'_>) -> Option<String> {
        let Place { region, account } = place;
        Some(match (self, attribute) {
            (Self::Queue, "" | "QueueUrl") => format!("https://sqs.{region}.amazonaws.com/{account}/{name}"),
            (Self::Layer, "" | "LayerVersionArn") => {
                format!("arn:aws:lambda:{region}:{account}:layer:{name}:1")
            }
            (Self::Listener, "" | "ListenerArn") => {
                format!("arn:aws:elasticloadbalancing:{region}:{account}:listener/app/{name}/0/0")
            }
            (Self::TargetGroup, "" | "TargetGroupArn") => target_group(region, account, name),
            (Self::Topic, "" | "TopicArn") => format!("arn:aws:sns:{region}:{account}:{name}"),
            (_, "") | (Self::Queue, "QueueName") | (Self::Topic, "TopicName") => name.to_owned(),
            (Self::Function, "Arn") => format!("arn:aws:lambda:{region}:{account}:function:{name}"),
            (Self::Queue, "Arn") => format!("arn:aws:sqs:{region}:{account}:{name}"),
            (Self::Bucket, "Arn") => format!("arn:aws:s3:::{name}"),
            (Self::Table, "Arn") => format!("arn:aws:dynamodb:{region}:{account}:table/{name}"),
            _ => return None,
        })
    }
}

/// Says of a resource that it does nothing here, or which of its properties do nothing.
pub(super) fn note_unserved(findings: &mut Findings, resource: &Member) {
    let (line, id) = (resource.line, resource.key.as_str());
    let kind = resource.value.get("Type").and_then(Node::scalar).unwrap_or_default();
    let (type_name, known) = (format!("the type {kind}"), Kind::of(&resource.value));
    if let NodeKind::Unknown(unknown) = &resource.value.kind {
        findings.ignore(line, format!("the resource {id}"), unknown.why.clone());
        return;
    }
    match known {
        Some(Kind::Table) => findings.ignore_of(line, &type_name, id, "only its name is known here"),
        Some(Kind::Queue | Kind::Bucket | Kind::Topic) => {
            let properties = resource.value.get("Properties").map_or(&[][..], Node::members);
            for property in properties.iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
                let why = "it is not applied here";
                match property.key.as_str() {
                    NOTIFICATIONS => findings.missing_of(property.line, NOTIFICATIONS, id, why),
                    key => findings.ignore_of(property.line, key, id, why),
                }
            }
        }
        Some(Kind::Function | Kind::Layer | Kind::RestApi | Kind::HttpApi) => {}
        None if kind.is_empty() => {
            let fix = "write what it is, e.g. AWS::Serverless::Function";
            findings.wrong("E0116", line, format!("the resource {id} has no Type"), fix);
        }
        None | Some(Kind::Listener | Kind::TargetGroup | Kind::ApiKey | Kind::UsagePlan) => {
            let why = "resources of this type do nothing here";
            if STARTING.contains(&kind) {
                findings.missing_of(line, &type_name, id, why);
            } else {
                findings.ignore_of(line, &type_name, id, why);
            }
        }
    }
}

/// The name at the end of an ARN (`arn:aws:sqs:us-east-1:000000000000:orders`), of one service.
pub(super) fn name_in_arn<'a>(text: &'a str, service: &str) -> Option<&'a str> {
    let mut parts = text.splitn(6, ':');
    let is_arn = parts.next() == Some("arn") && parts.nth(1) == Some(service);
    parts.nth(2).filter(|name| is_arn && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_arns() {
        assert_eq!(name_in_arn("arn:aws:sqs:eu-west-1:123456789012:orders", "sqs"), Some("orders"));
        assert_eq!(name_in_arn("arn:aws:s3:::photos", "s3"), Some("photos"));
        assert_eq!(name_in_arn("arn:aws:sns:eu-west-1:123456789012:orders", "sqs"), None);
        assert_eq!(name_in_arn("arn:aws:sqs:eu-west-1:123456789012:", "sqs"), None);
        assert_eq!(name_in_arn("orders", "sqs"), None);
    }
}
