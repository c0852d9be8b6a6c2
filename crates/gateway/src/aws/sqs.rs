//! Queues, as clients of SQS ask for them (JSON 1.0, API version 2012-11-05).
//!
//! Every name is that of a queue: one that the project declares, or one that comes to be with its first message, as for outputs
//! of functions.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use ingle_store::{Error, LeasedMessage, MessageLease, NewMessage, Operation, Reset, Sent};
use ingle_types::clock::unix_ms;
use ingle_types::queue::{QueueSettings, VISIBILITY};
use ingle_types::spec::Redrive;
use ingle_types::topic::{md5, sequence_number};
use serde_json::{Map, Value, json};

use super::{ACCOUNT, Answer, Aws, Fault, Origin, text, whole};
use super::{attributes, fifo, queues};

pub(super) const NO_QUEUE: &str = "QueueDoesNotExist";
/// As SQS has them.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const BATCH_MAX: usize = 10;
const DELAY_SECONDS_MAX: u64 = 900;
const VISIBILITY_SECONDS_MAX: u64 = 43_200;
const WAIT_SECONDS_MAX: u64 = 20;

pub(super) async fn answer(aws: &Aws, head: &Parts, body: &Bytes, origin: &Origin) -> Result<Answer, Fault> {
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(operation) = target.strip_prefix("AmazonSQS.") else {
        let message = "clients of SQS speak JSON here, as botocore does since 1.31.81";
        return Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "InvalidAction", message));
    };
    let request: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::bad("InvalidParameterValue", format!("the body is no JSON: {error}")))?;
    let call = Call { aws, request: &request, origin };
    let value = call.answer(operation).await?;
    Ok(whole(StatusCode::OK, "application/x-amz-json-1.0", value.to_string()))
}

struct Call<'a> {
    aws: &'a Aws,
    request: &'a Value,
    origin: &'a Origin,
}

impl Call<'_> {
    async fn answer(&self, operation: &str) -> Result<Value, Fault> {
        match operation {
            "SendMessage" => {
                let Outgoing { message, told } = self.message(self.request)?;
                let is_grouped = message.group.is_some();
                let sent = self.aws.store.send(vec![message]).await?;
                Ok(sent.into_iter().next().map_or(Value::Null, |sent| answered(told, sent, is_grouped)))
            }
            "SendMessageBatch" => self.send_batch().await,
            "ReceiveMessage" => self.receive().await,
            "DeleteMessage" => self.delete(self.request).await.map(|()| json!({})),
            "ChangeMessageVisibility" => self.change_visibility(self.request).await.map(|()| json!({})),
            "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => self.each(operation).await,
            "GetQueueUrl" | "CreateQueue" => {
                let name = text(self.request, "QueueName").ok_or_else(|| missing("QueueName"))?;
                Ok(json!({"QueueUrl": self.url(name)}))
            }
            "GetQueueAttributes" => self.queue_attributes().await,
            "PurgeQueue" => {
                self.aws.store.reset(Reset::Queue(self.queue()?)).await?;
                Ok(json!({}))
            }
            "ListQueues" => self.list().await,
            other => {
                let message = format!("Ingle's queues have no {other}");
                Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "UnsupportedOperation", message))
            }
        }
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{ACCOUNT}/{name}", self.aws.address)
    }

    /// As AWS names it: the end of the URL, whichever host that has.
    fn name(&self) -> Result<&str, Fault> {
        let url = text(self.request, "QueueUrl").ok_or_else(|| missing("QueueUrl"))?;
        let name = url.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
        name.ok_or_else(|| Fault::bad(NO_QUEUE, format!("`{url}` is no URL of a queue")))
    }

    fn settings(&self) -> Result<Cow<'_, QueueSettings>, Fault> {
        Ok(self.aws.queues.settings(self.name()?))
    }

    /// The queue of the store that stands for it.
    fn queue(&self) -> Result<String, Fault> {
        let queue = self.settings()?.embedded();
        if queues::is_internal(&queue) {
            let message = format!("{queue} is a queue of Ingle's own, which functions have no part in");
            return Err(Fault::new(StatusCode::FORBIDDEN, "AccessDenied", message));
        }
        Ok(queue)
    }

    fn number(&self, entry: &Value, name: &str, most: u64) -> Result<Option<u64>, Fault> {
        let Some(value) = entry.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        match value.as_u64().filter(|number| *number <= most) {
            Some(number) => Ok(Some(number)),
            None => {
                let message = format!("Value {value} for parameter {name} is invalid. It is 0 to {most}.");
                Err(Fault::bad("InvalidParameterValue", message))
            }
        }
    }

    fn message(&self, entry: &Value) -> Result<Outgoing, Fault> {
        let body = text(entry, "MessageBody").ok_or_else(|| missing("MessageBody"))?;
        if body.is_empty() || body.len() > MESSAGE_BYTES_MAX {
            let message = format!("The message must have 1 to {MESSAGE_BYTES_MAX} bytes.");
            return Err(Fault::bad("InvalidParameterValue", message));
        }
        let settings = self.settings()?;
        let delay = self.number(entry, "DelaySeconds", DELAY_SECONDS_MAX)?.filter(|_| !settings.is_fifo());
        let mut kept = attributes::kept(entry)?;
        let mut told = json!({"MD5OfMessageBody": md5(body.as_bytes())});
        if let Some(kept) = &kept {
            told["MD5OfMessageAttributes"] = kept["md5"].clone();
        }
        let place = if settings.is_fifo() {
            Some(fifo::place(entry, body, settings.deduplicates_by_content)?)
        } else {
            fifo::refuse(entry).map(|()| None)?
        };
        if let Some(place) = &place {
            kept.get_or_insert_with(|| json!({"record": {}, "md5": null}))["deduplicationId"] =
                place.once.id.as_str().into();
        }
        let (group, once) = place.map(|place| (place.group, place.once)).unzip();
        let message = NewMessage {
            group,
            once,
            visible_after: delay.map_or(settings.delay, Duration::from_secs),
            hop_count: self.origin.hop_count,
            trace_parent: self.origin.trace_parent.clone(),
            attributes: kept.map(|kept| kept.to_string()),
            ..NewMessage::new(&self.queue()?, Bytes::copy_from_slice(body.as_bytes()))
        };
        Ok(Outgoing { message, told })
    }

    fn entries(&self) -> Result<&Vec<Value>, Fault> {
        let entries = self.request.get("Entries").and_then(Value::as_array);
        let entries = entries.ok_or_else(|| missing("Entries"))?;
        let mut ids: Vec<&str> = entries.iter().filter_map(|entry| text(entry, "Id")).collect();
        ids.sort_unstable();
        ids.dedup();
        if entries.is_empty() {
            return Err(Fault::bad(
                "EmptyBatchRequest",
                "There should be at least one entry in the request.",
            ));
        }
        if entries.len() > BATCH_MAX {
            let message = format!("Maximum number of entries per request are {BATCH_MAX}.");
            return Err(Fault::bad("TooManyEntriesInBatchRequest", message));
        }
        if ids.len() < entries.len() {
            return Err(Fault::bad("BatchEntryIdsNotDistinct", "Each entry has an Id of its own."));
        }
        Ok(entries)
    }

    async fn send_batch(&self) -> Result<Value, Fault> {
        let (mut told, mut failed, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.entries()? {
            match self.message(entry) {
                Ok(mut outgoing) => {
                    outgoing.told["Id"] = entry["Id"].clone();
                    told.push((outgoing.told, outgoing.message.group.is_some()));
                    messages.push(outgoing.message);
                }
                Err(fault) => failed.push(failure(entry, &fault)),
            }
        }
        let sent = self.aws.store.send(messages).await?;
        let done =
            told.into_iter().zip(sent).map(|((told, is_grouped), sent)| answered(told, sent, is_grouped));
        Ok(batch(done.collect(), failed))
    }

    async fn each(&self, operation: &str) -> Result<Value, Fault> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for entry in self.entries()? {
            let result = match operation {
                "DeleteMessageBatch" => self.delete(entry).await,
                _ => self.change_visibility(entry).await,
            };
            match result {
                Ok(()) => done.push(json!({"Id": entry["Id"]})),
                Err(fault) => failed.push(failure(entry, &fault)),
            }
        }
        Ok(batch(done, failed))
    }

    async fn receive(&self) -> Result<Value, Fault> {
        let queue = self.queue()?;
        let count = self.number(self.request, "MaxNumberOfMessages", 10)?.unwrap_or(1).max(1);
        let count = u32::try_from(count).unwrap_or(1);
        let settings = self.settings()?;
        let seconds =
            |name, most| self.number(self.request, name, most).map(|one| one.map(Duration::from_secs));
        let visibility = seconds("VisibilityTimeout", VISIBILITY_SECONDS_MAX)?.or(settings.visibility);
        // A lease of no time could not be given back; the next one gets the message all the same.
        let lease = visibility.unwrap_or(VISIBILITY).max(Duration::from_millis(1));
        let wait = seconds("WaitTimeSeconds", WAIT_SECONDS_MAX)?.unwrap_or(settings.wait);
        let until = tokio::time::Instant::now() + wait;
        let mut watch = self.aws.store.watch_queue(&queue);
        loop {
            let leased = self.aws.store.lease_messages(&queue, count, lease).await?;
            let found = self.without_dead(leased, settings.redrive.as_ref()).await?;
            if !found.is_empty() {
                let messages: Vec<Value> = found.iter().map(|message| self.received(message)).collect();
                return Ok(json!({"Messages": messages}));
            }
            // A delayed message that comes due changes nothing in the queue, so it is looked for now and then.
            let look = until.min(tokio::time::Instant::now() + Duration::from_secs(1));
            if tokio::time::Instant::now() >= until {
                return Ok(json!({}));
            }
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(look) => {}
            }
        }
    }

    /// Those that may be received once more. The others go where the queue says.
    async fn without_dead(
        &self,
        leased: Vec<LeasedMessage>,
        redrive: Option<&Redrive>,
    ) -> Result<Vec<LeasedMessage>, Error> {
        let Some(Redrive { queue, receives_max }) = redrive else { return Ok(leased) };
        let (dead, found): (Vec<_>, Vec<_>) =
            leased.into_iter().partition(|message| message.dequeue_count > *receives_max);
        let ends = dead.into_iter().map(|message| Operation::PoisonMessage {
            lease: message.lease,
            poison_queue: queue.clone(),
            reason: format!("received {receives_max} times"),
        });
        self.aws.store.commit(ends.collect()).await?;
        Ok(found)
    }

    fn received(&self, message: &LeasedMessage) -> Value {
        let mut shown = json!({
            "MessageId": message.lease.message_id,
            "ReceiptHandle": message.lease.receipt_handle(),
            "MD5OfBody": md5(&message.body),
            "Body": String::from_utf8_lossy(&message.body),
        });
        let wanted = |lists: [&str; 2]| {
            let names = lists.iter().filter_map(|list| self.request.get(*list)?.as_array()).flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<String>>()
        };
        let mut system = json!({
            "ApproximateReceiveCount": message.dequeue_count.to_string(),
            "SentTimestamp": unix_ms(message.inserted_at).to_string(),
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": unix_ms(self.aws.clock.now()).to_string(),
        });
        if let Some(group) = &message.group {
            let kept: Option<Value> =
                message.attributes.as_deref().and_then(|text| serde_json::from_str(text).ok());
            system["MessageGroupId"] = group.as_str().into();
            system["SequenceNumber"] = sequence_number(message.sequence).into();
            system["MessageDeduplicationId"] =
                kept.map_or(Value::Null, |kept| kept["deduplicationId"].clone());
        }
        let chosen = chosen(&system, &wanted(["AttributeNames", "MessageSystemAttributeNames"]));
        if !chosen.is_empty() {
            shown["Attributes"] = Value::Object(chosen);
        }
        let own = message.attributes.as_deref().and_then(attributes::received);
        if let Some((attributes, md5)) = own {
            let chosen = chosen_of(&attributes, &wanted(["MessageAttributeNames", ""]));
            if !chosen.is_empty() {
                shown["MD5OfMessageAttributes"] = md5;
                shown["MessageAttributes"] = Value::Object(chosen);
            }
        }
        shown
    }

    fn lease(&self, entry: &Value) -> Result<MessageLease, Fault> {
        let handle = text(entry, "ReceiptHandle").ok_or_else(|| missing("ReceiptHandle"))?;
        MessageLease::of_handle(self.queue()?, handle).ok_or_else(|| {
            let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
            Fault::bad("ReceiptHandleIsInvalid", message)
        })
    }

    /// One that somebody else has now stays, and that is no error, as at SQS.
    async fn delete(&self, entry: &Value) -> Result<(), Fault> {
        let lease = self.lease(entry)?;
        match self.aws.store.commit(vec![Operation::DeleteMessage(lease)]).await {
            Ok(()) | Err(Error::LeaseLost { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn change_visibility(&self, entry: &Value) -> Result<(), Fault> {
        let lease = self.lease(entry)?;
        let seconds = self.number(entry, "VisibilityTimeout", VISIBILITY_SECONDS_MAX)?;
        let seconds = seconds.ok_or_else(|| missing("VisibilityTimeout"))?;
        let changed = if seconds == 0 {
            let release = Operation::ReleaseMessage { lease, visible_after: Duration::ZERO, counts: true };
            self.aws.store.commit(vec![release]).await
        } else {
            self.aws.store.choose_visibility(&lease, Duration::from_secs(seconds)).await
        };
        match changed {
            Err(Error::LeaseLost { .. }) => Err(Fault::bad(
                "MessageNotInflight",
                "The message is not in flight, or somebody else has it.",
            )),
            other => Ok(other?),
        }
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{ACCOUNT}:{name}", self.aws.region)
    }

    async fn queue_attributes(&self) -> Result<Value, Fault> {
        let (settings, queue) = (self.settings()?, self.queue()?);
        let found = self.aws.store.queues().await?.into_iter().find(|known| known.name == queue);
        let count = |read: fn(&ingle_store::QueueSummary) -> u64| found.as_ref().map_or(0, read).to_string();
        let mut all = json!({
            "QueueArn": self.arn(&settings.name),
            "ApproximateNumberOfMessages": count(|queue| queue.ready),
            "ApproximateNumberOfMessagesNotVisible": count(|queue| queue.leased),
            "ApproximateNumberOfMessagesDelayed": count(|queue| queue.delayed),
            "VisibilityTimeout": settings.visibility.unwrap_or(VISIBILITY).as_secs().to_string(),
            "DelaySeconds": settings.delay.as_secs().to_string(),
            "ReceiveMessageWaitTimeSeconds": settings.wait.as_secs().to_string(),
        });
        if settings.is_fifo() {
            all["FifoQueue"] = "true".into();
            all["ContentBasedDeduplication"] = settings.deduplicates_by_content.to_string().into();
        }
        if let Some(redrive) = &settings.redrive {
            let dead = self.aws.queues.settings(&redrive.queue);
            let policy =
                json!({"deadLetterTargetArn": self.arn(&dead.name), "maxReceiveCount": redrive.receives_max});
            all["RedrivePolicy"] = policy.to_string().into();
        }
        let names = self.request.get("AttributeNames").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Ok(json!({"Attributes": chosen(&all, &names.collect::<Vec<_>>())}))
    }

    async fn list(&self) -> Result<Value, Fault> {
        let prefix = text(self.request, "QueueNamePrefix").unwrap_or_default();
        let stored = self.aws.store.queues().await?;
        let names = self.aws.queues.names(stored.iter().map(|queue| queue.name.as_str()));
        let urls = names.into_iter().filter(|name| name.starts_with(prefix)).map(|name| self.url(name));
        Ok(json!({"QueueUrls": urls.collect::<Vec<String>>()}))
    }
}

/// A message and what its sender is told besides what the store says of it.
struct Outgoing {
    message: NewMessage,
    told: Value,
}

fn answered(mut told: Value, sent: Sent, is_grouped: bool) -> Value {
    told["MessageId"] = sent.message_id.to_string().into();
    if is_grouped {
        told["SequenceNumber"] = sequence_number(sent.sequence).into();
    }
    told
}

/// Those members that are asked for by name, or by `All`.
fn chosen(all: &Value, names: &[String]) -> Map<String, Value> {
    chosen_by(all, |key| names.iter().any(|name| name == "All" || name == key))
}

/// Attributes of a message may be asked for by the beginnings of their names, too: `bar.*`.
fn chosen_of(all: &Value, names: &[String]) -> Map<String, Value> {
    chosen_by(all, |key| {
        names.iter().any(|name| match name.strip_suffix(".*") {
            Some(begin) => key.starts_with(begin),
            None => name == "All" || name == key,
        })
    })
}

fn chosen_by(all: &Value, is_chosen: impl Fn(&str) -> bool) -> Map<String, Value> {
    let members = all.as_object().into_iter().flatten().filter(|(key, _)| is_chosen(key));
    members.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn missing(name: &str) -> Fault {
    Fault::bad("MissingParameter", format!("The request must contain the parameter {name}."))
}

fn failure(entry: &Value, fault: &Fault) -> Value {
    json!({"Id": entry["Id"], "SenderFault": true, "Code": fault.code, "Message": fault.message})
}

fn batch(done: Vec<Value>, failed: Vec<Value>) -> Value {
    let mut answer = json!({"Successful": done});
    if !failed.is_empty() {
        answer["Failed"] = failed.into();
    }
    answer
}
