//! The examples that no other story tells of, as a user starts them.

use ingle_testkit::{App, Python};
use serde_json::json;

/// Ingle chooses the Python and installs numpy into an environment that it keeps.
#[test]
fn an_app_with_numpy_gets_its_environment_and_answers() {
    let launch = App::folder("examples/numpy-stats").launch(&Python::any()).own_choice_of_python();
    let server = launch.start();
    let stats = server.post("/api/stats", r#"{"values": [1, 2, 3, 4]}"#).status(200).json();
    assert_eq!((&stats["count"], &stats["mean"], &stats["median"]), (&json!(4), &json!(2.5), &json!(2.5)));
    server.post("/api/stats", r#"{"values": []}"#).status(400);
}

#[test]
fn plain_and_async_functions_stand_side_by_side() {
    let server = App::folder("examples/async-mix").start(&Python::any());
    assert_eq!(server.get("/api/wait?seconds=0.01").status(200).json()["how"], "async def");
    assert_eq!(server.get("/api/block?seconds=0.01").status(200).json()["how"], "def");
    let digest = server.post("/api/digest", vec![0_u8, 255, 1]).status(200).text();
    assert_eq!(digest, "47ffa3ea45a70b8a41c2c0825df323c00a8b7a01c1ea06083cc41dddcc001123");
}
