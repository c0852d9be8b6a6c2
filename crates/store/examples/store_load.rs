//! Measures the store: `cargo run --release -p ingle-store --example store_load -- <directory>`.
//!
//! Prints commits, leases and finishes per second with 64 callers at once.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ingle_store::{ContainerName, NewMessage, Operation, Options, Store};
use ingle_types::clock::SystemClock;
use ingle_types::faults::Faults;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CALLERS: usize = 64;
const EACH: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name an empty directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = Store::open(Options::new(directory), Arc::new(SystemClock), Faults::none())?;
    runtime.block_on(async {
        measure("enqueue 200 B", &store, EACH, |store, _| async move {
            store.commit(vec![Operation::Enqueue(NewMessage::new("orders", vec![b'x'; 200]))]).await
        })
        .await?;
        measure("lease 1, delete + upsert in one commit", &store, EACH, |store, number| async move {
            for message in store.lease_messages("orders", 1, Duration::from_secs(600)).await? {
                let document = Operation::UpsertDocument {
                    container: ContainerName::new("shop", "orders"),
                    body: serde_json::json!({"id": number.to_string(), "state": "done"}),
                    partition_key_path: None,
                    hop_count: 0,
                };
                store.commit(vec![document, Operation::DeleteMessage(message.lease)]).await?;
            }
            Ok(())
        })
        .await?;
        store.close().await;
        Ok(())
    })
}

async fn measure<F>(
    what: &str,
    store: &Store,
    each: usize,
    work: impl Fn(Store, usize) -> F + Copy + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>>
where
    F: Future<Output = Result<(), ingle_store::Error>> + Send,
{
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            for number in 0..each {
                work(store.clone(), caller * each + number).await?;
            }
            Ok::<(), ingle_store::Error>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let count = CALLERS * each;
    writeln!(std::io::stdout(), "{what}: {count} in {seconds:.2} s, {:.0}/s", (count as f64) / seconds)?;
    Ok(())
}
