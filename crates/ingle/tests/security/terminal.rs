//! A server that somebody has started on a terminal: what is typed there is for them, and what is shown there is theirs.

use ingle_testkit::{App, Python, Request};

use crate::stage::{descendants, stopped};

/// T-056: a function has no part in the terminal, although the server was started on it.
#[test]
fn t_056_the_terminal_of_the_server_is_out_of_reach() {
    let launch = App::folder("tests/security/attacker").launch(&Python::any());
    let mut server = launch.terminal().started_by(&["setsid", "--wait", "--ctty"]).start();
    let ingle = descendants(server.process_id())[0];
    assert_ne!(terminal_of(ingle), "0", "the server itself is on the terminal");
    let answer = server.send(Request::post("/api/attack/kernel_calls/terminal", "{}")).status(200).json();
    assert_eq!(stopped(&answer), "stopped", "{answer}");
    for process in server.workers().into_iter().chain([server.zygote()]) {
        assert_eq!(terminal_of(process), "0", "process {process} of the app is on the terminal");
    }
    server.press("q");
    server.wait();
}

/// Number of the terminal that controls a process; 0 for none (proc_pid_stat(5)).
fn terminal_of(process: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.split(' ').nth(4).unwrap().to_owned()
}
