//! The listener against a service that is played by the test: it speaks HTTP and hands out one message.

use std::sync::Mutex;

use ingle_types::account::{Credential, Secret};
use ingle_types::clock::SystemClock;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invoker, Phases};
use ingle_types::health::Health;
use ingle_types::outcome::Outputs;
use ingle_types::spec::DataType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

#[test]
fn looks_into_an_empty_queue_become_rare() {
    let check = |looks, last: Option<u64>, at_least_ms: u64, at_most_ms: u64| {
        let found = poll_pause(looks, last.map(Duration::from_millis)).as_millis();
        assert!(found >= u128::from(at_least_ms) && found <= u128::from(at_most_ms), "{looks}: {found} ms");
    };
    check(1, None, 80, 120);
    check(2, None, 160, 240);
    check(5, None, 1280, 1920);
    check(100, None, 2000, 2000);
    check(100, Some(60_000), 60_000, 60_000);
    check(u32::MAX, Some(100), 80, 100);
}

/// What the played service was asked, without what does not matter here: `PUT r1`, `DELETE r4`.
#[derive(Default)]
struct Service {
    asked: Mutex<Vec<String>>,
    /// How often the message was held on to.
    renewals: watch::Sender<u32>,
    done: watch::Sender<bool>,
}

impl Service {
    async fn serve(self: Arc<Self>, listener: TcpListener, tasks: Tasks) {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tasks.spawn(TaskKind::Connection, "played service", self.clone().talk(stream)));
        }
    }

    async fn talk(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                let answer = self.answer(&String::from_utf8_lossy(&head));
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                head.clear();
            }
        }
    }

    fn answer(&self, head: &str) -> String {
        let line = head.lines().next().unwrap_or_default();
        let receipt = line.split("popreceipt=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
        let renewals = *self.renewals.borrow();
        match (line.split(' ').next(), receipt) {
            (Some("GET"), _) => {
                let is_first = self.asked.lock().unwrap().is_empty();
                self.asked.lock().unwrap().push("GET".to_owned());
                let message = "<QueueMessage><MessageId>m</MessageId><PopReceipt>r0</PopReceipt>\
                    <DequeueCount>1</DequeueCount><MessageText>aGVsbG8=</MessageText></QueueMessage>";
                let message = if is_first { message } else { "" };
                let body = format!("<?xml version=\"1.0\"?><QueueMessagesList>{message}</QueueMessagesList>");
                let length = body.len();
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\r\n{body}"
                )
            }
            (Some("PUT"), Some(receipt)) => {
                self.asked.lock().unwrap().push(format!("PUT {receipt}"));
                self.renewals.send_replace(renewals + 1);
                format!("HTTP/1.1 204 No Content\r\nx-ms-popreceipt: r{}\r\n\r\n", renewals + 1)
            }
            (Some("DELETE"), Some(receipt)) => {
                self.asked.lock().unwrap().push(format!("DELETE {receipt}"));
                self.done.send_replace(true);
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
            }
            _ => "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_owned(),
        }
    }
}

/// A function that is not finished before its message was renewed three times.
struct Function(Arc<Service>);

impl Invoker for Function {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let mut renewals = self.0.renewals.subscribe();
        Box::pin(async move {
            assert!(matches!(invocation.event.delivery, Delivery::Remote(_)));
            renewals.wait_for(|count| *count >= 3).await.unwrap();
            let outcome = Outcome::Success(Outputs::default());
            Completion {
                id: invocation.id,
                outcome,
                phases: Phases::default(),
                effects: Vec::new(),
                log: None,
            }
        })
    }
}

#[tokio::test]
async fn a_message_is_held_for_as_long_as_its_function_runs() {
    let (service, tasks) = (Arc::new(Service::default()), Tasks::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/shop", listener.local_addr().unwrap());
    drop(tasks.spawn(TaskKind::Acceptor, "played service", service.clone().serve(listener, tasks.clone())));
    let account = StorageAccount {
        connection: "Cloud".to_owned(),
        queues: Some(address),
        blobs: None,
        tables: None,
        credential: Credential::SharedKey { account: "shop".to_owned(), key: Secret::new("a2V5") },
    };
    let clock = Arc::new(SystemClock);
    let options = RemoteListenerOptions {
        function: FunctionName::new("work"),
        queue: "work".to_owned(),
        account: Arc::new(account),
        queues: QueueOptions::default(),
        reader: Messages::reader("work", DataType::Undefined, clock.clone()),
        held_for: Duration::from_millis(40),
    };
    let accounts = Accounts::new(clock, Health::default());
    let invoker = Arc::new(Function(service.clone()));
    let stopper = RemoteListener::new(options, accounts, invoker, tasks.clone()).start();
    service.done.subscribe().wait_for(|done| *done).await.unwrap();
    drop(stopper);
    let asked = service.asked.lock().unwrap().clone();
    let kept: Vec<&str> = asked.iter().filter(|asked| *asked != "GET").map(String::as_str).collect();
    let (last, renewals) = kept.split_last().unwrap();
    let expected: Vec<String> = (0..renewals.len()).map(|count| format!("PUT r{count}")).collect();
    assert_eq!(renewals, expected, "each renewal takes the newest receipt");
    assert!(renewals.len() >= 3 && *last == format!("DELETE r{}", renewals.len()), "{asked:?}");
}
