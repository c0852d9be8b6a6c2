//! D-03: keys on a terminal.

use ingle_testkit::{App, Launch, Python, Server, on_each_python};
use serde_json::json;

on_each_python!(keys_on_a_terminal_do_what_the_help_says);

const APP: &str = r#"
@app.route(route="page")
def page(req: func.HttpRequest) -> str:
    return "one"

@app.route(route="echo/{name}", methods=["POST"])
def echo(req: func.HttpRequest) -> str:
    print("echo says", req.route_params["name"])
    return "%s: %s" % (req.route_params["name"], req.get_body().decode())

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
def work(message: func.QueueMessage) -> None:
    print("worked on", message.get_body().decode())

@app.timer_trigger(schedule="* * * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    print("tick")
"#;

fn launch(python: &Python) -> Launch {
    App::python(APP).settings(&json!({"S": ""})).launch(python).terminal()
}

/// A line that comes after all that was printed before.
fn next_line(server: &Server, printed: usize, part: &str) -> String {
    server.events().look_until(part, || {
        server.events().lines().into_iter().skip(printed).find(|line| line.contains(part))
    })
}

fn press(server: &mut Server, keys: &str, part: &str) -> String {
    let printed = server.events().lines().len();
    server.press(keys);
    next_line(server, printed, part)
}

fn keys_on_a_terminal_do_what_the_help_says(python: &Python) {
    let mut server = launch(python).start();
    server.events().wait_for_line("h shows the keys");
    let help = press(&mut server, "h", "q quit");
    for word in ["r reload", "t try", "l show less", "o open", "p pause"] {
        assert!(help.contains(word), "{help}");
    }
    press(&mut server, "r", "reloaded in");
    // The paused timers start nothing, and go on.
    press(&mut server, "p", "timers pause");
    press(&mut server, "p", "timers go on");
    next_line(&server, server.events().lines().len(), "tick");
    press(&mut server, "p", "timers pause");
    // A function is chosen by its number or name; what it was called with is remembered.
    let list = press(&mut server, "t", "(queue)");
    let number = list.trim().split(' ').next().unwrap().to_owned();
    press(&mut server, &format!("{number}\n"), "payload for work []:");
    press(&mut server, "first message\n", "worked on first message");
    press(&mut server, "t", "number of the function");
    press(&mut server, "work\n", "payload for work [first message]:");
    press(&mut server, "\n", "worked on first message");
    press(&mut server, "t", "number of the function");
    press(&mut server, "echo\n", "METHOD PATH BODY for echo [POST /api/echo/{name}]:");
    press(&mut server, "POST /api/echo/Ada some text\n", "Ada: some text");
    // Less is shown: another function's lines are not.
    press(&mut server, "l", "show only");
    press(&mut server, "nobody\n", "'nobody' is neither a function");
    press(&mut server, "l", "show only");
    press(&mut server, "work\n", "the log shows work");
    let printed = server.events().lines().len();
    server.post("/api/echo/hidden", "").status(200);
    server.send_queue("work", "shown");
    next_line(&server, printed, "worked on shown");
    let hidden = server.events().lines().into_iter().skip(printed).find(|line| line.contains("hidden"));
    assert_eq!(hidden, None);
    press(&mut server, "l", "show only");
    press(&mut server, "\n", "the log shows everything");
    let ended = {
        server.press("q");
        server.wait()
    };
    assert_eq!(ended.code, Some(0));
    assert!(ended.lines.iter().any(|line| line.contains("stopping")), "{:?}", ended.lines);
}

/// The user's browser gets the first page that can be asked for as it stands.
#[test]
fn the_browser_is_opened_with_the_first_page() {
    let launch = launch(&Python::any());
    let seen = launch.folder().parent().unwrap().join("seen");
    let script = launch.folder().parent().unwrap().join("browser");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$1\" > {0}.part; mv {0}.part {0}\n", seen.display()))
        .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut server = launch.variable("BROWSER", &script.display().to_string()).start();
    press(&mut server, "o", "opening http://");
    let url = server.events().look_until("the browser", || std::fs::read_to_string(&seen).ok());
    assert_eq!(url.trim(), format!("http://{}/api/page", server.address()));
}
