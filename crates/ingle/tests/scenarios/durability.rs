//! Nothing that was accepted is lost, and nothing is done twice, at whatever moment the server dies.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use ingle_testkit::{App, Client, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

const ORDERS: usize = 5000;
const CLIENTS: usize = 8;
const KILLS: usize = 20;

on_each_python!(five_thousand_orders_survive_twenty_kills);

/// Where the server listens now. Clients wait here while there is none.
#[derive(Default)]
struct Place {
    address: Mutex<String>,
    changed: Condvar,
}

impl Place {
    fn set(&self, address: &str) {
        *self.address.lock().unwrap() = address.to_owned();
        self.changed.notify_all();
    }

    /// Connects to the server, as soon as there is one.
    fn connect(&self) -> Client {
        loop {
            let address = self.address.lock().unwrap().clone();
            if let Ok(client) = Client::connect(&address) {
                return client;
            }
            let guard = self.address.lock().unwrap();
            drop(self.changed.wait_timeout(guard, Duration::from_millis(20)).unwrap());
        }
    }
}

/// Sends orders until there are no more; one without answer is sent again, on a new connection.
fn send_orders(place: &Place, next: &AtomicUsize, answered: &AtomicUsize) {
    let mut client = place.connect();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= ORDERS {
            return;
        }
        let order = json!({"id": format!("order-{number}"), "number": number}).to_string();
        while !matches!(client.send(Request::post("/api/orders", order.clone())), Ok(answer) if answer.status == 202)
        {
            client = place.connect();
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// After how many answers each kill comes: spread by a fixed seed, so that a failure can be seen again.
fn kill_moments(seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut random = || {
        // Constants of Knuth's MMIX generator (The Art of Computer Programming, volume 2, section 3.3.4).
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0)
    };
    let mut moments: Vec<usize> = (0..KILLS).map(|_| random() % (ORDERS - 100)).collect();
    moments.sort_unstable();
    moments
}

/// T-064, T-065.
fn five_thousand_orders_survive_twenty_kills(python: &Python) {
    let mut server = App::folder("tests/scenarios/orders").start(python);
    let (place, next, answered) = (Place::default(), AtomicUsize::new(0), AtomicUsize::new(0));
    place.set(server.address());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| send_orders(&place, &next, &answered));
        }
        for moment in kill_moments(20_261_121) {
            server.events().look_until("answers before the next kill", || {
                (answered.load(Ordering::Relaxed) >= moment).then_some(())
            });
            server.kill9();
            server.restart();
            place.set(server.address());
        }
    });
    assert_eq!(answered.load(Ordering::Relaxed), ORDERS);
    server.events().look_until("an empty queue", || (server.queue_length("orders") == 0).then_some(()));
    let documents = server.documents("shop/orders");
    let numbers: BTreeSet<u64> =
        documents.iter().filter_map(|document| document["number"].as_u64()).collect();
    assert_eq!(documents.len(), ORDERS, "documents that are there twice, or not at all");
    assert_eq!(numbers.len(), ORDERS);
    assert_eq!(server.queue_length("orders-poison"), 0);
    assert_eq!(server.stop().code, Some(0));
}

/// Each message has a document that counts how often it was worked on.
fn counting_app() -> App {
    App::python(
        r#"
@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="ticket", queue_name="orders", connection="S")
def take(req: func.HttpRequest, ticket: func.Out[str]) -> func.HttpResponse:
    ticket.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)

@app.queue_trigger(arg_name="ticket", queue_name="orders", connection="S")
@app.cosmos_db_input(arg_name="before", connection="S", database_name="shop", container_name="counts", id="{id}",
                     partition_key="{id}")
@app.cosmos_db_output(arg_name="after", connection="S", database_name="shop", container_name="counts",
                      create_if_not_exists=True, partition_key="/id")
@app.queue_output(arg_name="done", queue_name="done", connection="S")
def keep(ticket: func.QueueMessage, before: func.DocumentList, after: func.Out[func.Document],
         done: func.Out[str]) -> None:
    count = before[0]["count"] if before else 0
    name = ticket.get_json()["name"]
    after.set(func.Document.from_dict({"id": ticket.id, "count": count + 1, "name": name}))
    done.set(name)
"#,
    )
    .settings(&json!({"S": "embedded"}))
}

const COUNTED_ORDERS: usize = 6;

/// How often each order was sent, and whether the server died meanwhile.
type Sent = (BTreeMap<String, u64>, bool);

/// Sends orders until each is answered; a server that died is started again, without its fault.
fn send_counted(server: &mut Server, padding: &str) -> Sent {
    let mut sent = BTreeMap::new();
    let mut died = false;
    for number in 0..COUNTED_ORDERS {
        let name = format!("order {number}");
        let order = json!({"name": name, "padding": padding}).to_string();
        loop {
            let times = sent.entry(name.clone()).or_insert(0);
            *times += 1;
            assert!(*times < 4, "{name} is never answered");
            let request = Request::post("/api/orders", order.clone());
            match server.try_client().and_then(|mut client| client.send(request)) {
                Ok(answer) if answer.status == 202 => break,
                Ok(_refused) => {}
                Err(_died) => {
                    server.wait_for_end();
                    server.restart_with_fault("");
                    died = true;
                }
            }
        }
    }
    (sent, died)
}

fn assert_once(server: &Server, sent: &BTreeMap<String, u64>) {
    server.events().look_until("an empty queue", || (server.queue_length("orders") == 0).then_some(()));
    let counts = server.documents("shop/counts");
    for document in &counts {
        assert_eq!(document["count"], 1, "a message was worked on twice: {document}");
    }
    let done: Vec<Value> =
        server.messages("done").into_iter().map(|message| message["text"].clone()).collect();
    assert_eq!(done.len(), counts.len(), "an output is missing, or there twice");
    for (name, times) in sent {
        let found = counts.iter().filter(|document| document["name"] == **name).count() as u64;
        assert!((1..=*times).contains(&found), "{name} was sent {times} times and is there {found} times");
    }
    assert_eq!(server.queue_length("orders-poison"), 0);
}

/// T-065: the server dies at a point between two steps.
fn dies_at(point: &str, passes: &[u32], padding: &str) {
    for pass in passes {
        let plan = format!("{point}@{pass}=abort");
        let mut server = counting_app().launch(&Python::any()).fault(&plan).start();
        let (sent, died) = send_counted(&mut server, padding);
        if !died {
            // The fault lies behind the last answer, in the work on the last messages.
            assert_eq!(server.wait_for_end().signal(), Some(6), "{plan} was not reached");
            server.restart_with_fault("");
        }
        assert_once(&server, &sent);
    }
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_before_a_commit() {
    dies_at("store.commit.before", &[1, 2, 7], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_after_a_commit() {
    dies_at("store.commit.after", &[1, 2, 7], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_before_a_lease() {
    dies_at("store.lease.before", &[2, 4], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_after_a_lease() {
    dies_at("store.lease.after", &[1, 3], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_after_a_large_message_was_written() {
    dies_at("store.blob.written", &[1, 4], &"x".repeat(200_000));
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_before_a_run() {
    dies_at("dispatch.run.before", &[1, 2, 7], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_before_an_outcome_is_written() {
    dies_at("dispatch.commit.before", &[1, 2, 7], "");
}

#[test]
fn nothing_is_lost_or_done_twice_when_the_server_dies_after_an_outcome_was_written() {
    dies_at("dispatch.commit.after", &[1, 2, 7], "");
}

/// A commit that fails is a failed invocation: the caller is told, the message comes back.
#[test]
fn what_can_not_be_written_is_not_acknowledged() {
    for plan in
        ["dispatch.commit.before@1=fail", "dispatch.commit.before@2=fail", "dispatch.run.before@2=fail"]
    {
        let mut server = counting_app().launch(&Python::any()).fault(plan).start();
        let (sent, _) = send_counted(&mut server, "");
        assert_once(&server, &sent);
        let planted = server.events().all().iter().any(|event| event["failure"]["kind"] == "PlantedFault");
        assert!(planted, "{plan} was not reached");
    }
}
