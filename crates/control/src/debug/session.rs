//! What passed between the editor and the debugger: enough to repeat it to the next process, and to tell the editor what
//! a move means for it. No input or output.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Requests of ours count from here, so that their answers are known and no editor sees them.
const OWN_FIRST: i64 = 1 << 40;
/// Requests that describe what the editor wants, as opposed to what it wants to know. `initialize` and `attach` come
/// first in every session, and `configurationDone` is repeated last.
const REPEATED: [&str; 9] = [
    "initialize",
    "attach",
    "launch",
    "setBreakpoints",
    "setFunctionBreakpoints",
    "setExceptionBreakpoints",
    "setDebuggerProperty",
    "setPydevdSourceMap",
    CONFIGURED,
];
const CONFIGURED: &str = "configurationDone";

/// A request without its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) command: String,
    pub(super) arguments: Value,
}

/// One editor's session, over any number of processes.
#[derive(Default, Debug)]
pub(super) struct Session {
    wishes: Vec<Wish>,
    /// Requests of the editor that have no answer yet.
    pending: BTreeMap<i64, String>,
    /// Threads that the editor knows.
    threads: Vec<i64>,
    /// The thread at a breakpoint.
    stopped: Option<i64>,
    sent: i64,
    own: i64,
    /// Numbers of breakpoints are those of the first process; later ones are none that the editor knows.
    has_moved: bool,
}

impl Session {
    /// The editor has said that its breakpoints are set.
    pub(super) fn is_configured(&self) -> bool {
        self.wishes.iter().any(|wish| wish.command == CONFIGURED)
    }

    pub(super) fn is_begun(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// Whether a thread stands at a breakpoint.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Takes note of what the editor says, before it is passed on.
    pub(super) fn editor_says(&mut self, message: &Value) {
        if message["type"] != "request" {
            return;
        }
        let command = message["command"].as_str().unwrap_or_default();
        self.pending.extend(message["seq"].as_i64().map(|seq| (seq, command.to_owned())));
        if !REPEATED.contains(&command) {
            return;
        }
        let wish = Wish { command: command.to_owned(), arguments: message["arguments"].clone() };
        match self.wishes.iter_mut().find(|known| known.is_replaced_by(&wish)) {
            Some(known) => *known = wish,
            None => self.wishes.push(wish),
        }
    }

    /// What the editor is to hear of what the debugger says.
    pub(super) fn debugger_says(&mut self, mut message: Value) -> Option<Value> {
        match message["type"].as_str() {
            Some("response") => {
                let answered = message["request_seq"].as_i64().unwrap_or_default();
                if answered >= OWN_FIRST {
                    return None;
                }
                self.pending.remove(&answered);
            }
            Some("event") => self.note_event(&mut message)?,
            _ => {}
        }
        Some(self.numbered(message))
    }

    fn note_event(&mut self, message: &mut Value) -> Option<()> {
        let body = &message["body"];
        let thread = body["threadId"].as_i64().unwrap_or_default();
        match message["event"].as_str().unwrap_or_default() {
            "stopped" => {
                self.stopped = Some(thread);
                if let (true, Some(body)) = (self.has_moved, message["body"].as_object_mut()) {
                    body.remove("hitBreakpointIds");
                }
            }
            "continued" => self.stopped = None,
            "thread" if body["reason"] == "exited" => self.threads.retain(|known| *known != thread),
            "thread" if !self.threads.contains(&thread) => self.threads.push(thread),
            "breakpoint" if self.has_moved => return None,
            _ => {}
        }
        Some(())
    }

    /// Says something to the editor.
    fn numbered(&mut self, mut message: Value) -> Value {
        self.sent += 1;
        message["seq"] = Value::from(self.sent);
        message
    }

    /// A request of ours.
    pub(super) fn request(&mut self, command: &str, arguments: Value) -> Value {
        self.own += 1;
        json!({"seq": OWN_FIRST + self.own, "type": "request", "command": command, "arguments": arguments})
    }

    /// What to repeat to the next process, in order; `configurationDone` is the last.
    pub(super) fn wishes(&self) -> Vec<Wish> {
        let (last, mut wishes): (Vec<Wish>, Vec<Wish>) =
            self.wishes.iter().cloned().partition(|wish| wish.command == CONFIGURED);
        wishes.extend(last);
        wishes
    }

    /// The process is another one, or none: what the editor has to hear of the old one's threads and unanswered
    /// requests.
    pub(super) fn moved(&mut self) -> Vec<Value> {
        self.has_moved = true;
        let mut said: Vec<Value> = std::mem::take(&mut self.pending)
            .into_iter()
            .map(|(seq, command)| {
                json!({"type": "response", "request_seq": seq, "success": false, "command": command,
                    "message": "the app was reloaded"})
            })
            .collect();
        if let Some(thread) = self.stopped.take() {
            let body = json!({"threadId": thread, "allThreadsContinued": true});
            said.push(json!({"type": "event", "event": "continued", "body": body}));
        }
        for thread in std::mem::take(&mut self.threads) {
            let body = json!({"reason": "exited", "threadId": thread});
            said.push(json!({"type": "event", "event": "thread", "body": body}));
        }
        said.into_iter().map(|message| self.numbered(message)).collect()
    }

    /// What to ask of the debugger when the editor has left: the process goes on as if nobody had been there.
    pub(super) fn release(&mut self) -> Vec<Value> {
        let wishes = std::mem::take(&mut self.wishes);
        let undone = wishes.into_iter().filter_map(|wish| match wish.command.as_str() {
            "setBreakpoints" => {
                let source = wish.arguments["source"].clone();
                Some((wish.command, json!({"source": source, "breakpoints": []})))
            }
            "setFunctionBreakpoints" => Some((wish.command, json!({"breakpoints": []}))),
            "setExceptionBreakpoints" => Some((wish.command, json!({"filters": []}))),
            _ => None,
        });
        let undone: Vec<(String, Value)> = undone.collect();
        let mut asked: Vec<Value> =
            undone.into_iter().map(|(command, arguments)| self.request(&command, arguments)).collect();
        // debugpy takes `*` for all threads; with nothing stopped it changes nothing.
        asked.push(self.request("continue", json!({"threadId": "*"})));
        asked
    }

    /// For the next editor. Numbers of requests go on: late answers must not be taken for new ones.
    pub(super) fn next(&self) -> Self {
        Self { own: self.own, ..Self::default() }
    }

    /// A last word before the connection is closed.
    pub(super) fn farewell(&mut self, message: Value) -> Value {
        self.numbered(message)
    }
}

impl Wish {
    fn is_replaced_by(&self, next: &Self) -> bool {
        let source = |wish: &Self| wish.arguments["source"].clone();
        self.command == next.command
            && (self.command != "setBreakpoints" || source(self)["path"] == source(next)["path"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(session: &mut Session, seq: i64, command: &str, arguments: Value) {
        session
            .editor_says(&json!({"seq": seq, "type": "request", "command": command, "arguments": arguments}));
    }

    fn breakpoints(path: &str, line: u32) -> Value {
        json!({"source": {"path": path}, "breakpoints": [{"line": line}]})
    }

    fn attached() -> Session {
        let mut session = Session::default();
        asks(&mut session, 1, "initialize", json!({"clientID": "a"}));
        asks(&mut session, 2, "attach", json!({"justMyCode": true}));
        asks(&mut session, 3, "setBreakpoints", breakpoints("/a.py", 3));
        asks(&mut session, 4, "configurationDone", Value::Null);
        asks(&mut session, 5, "threads", Value::Null);
        session
    }

    #[test]
    fn what_the_editor_wants_is_repeated_and_what_it_asks_is_not() {
        let mut session = attached();
        asks(&mut session, 6, "setBreakpoints", breakpoints("/b.py", 1));
        asks(&mut session, 7, "setBreakpoints", breakpoints("/a.py", 5));
        let wishes = session.wishes();
        let told: Vec<(&str, &Value)> = wishes
            .iter()
            .map(|wish| (wish.command.as_str(), &wish.arguments["breakpoints"][0]["line"]))
            .collect();
        let nothing = Value::Null;
        assert_eq!(
            told,
            [
                ("initialize", &nothing),
                ("attach", &nothing),
                ("setBreakpoints", &json!(5)),
                ("setBreakpoints", &json!(1)),
                ("configurationDone", &nothing),
            ]
        );
    }

    #[test]
    fn answers_go_to_whoever_asked_and_are_counted_anew() {
        let mut session = attached();
        let own = session.request("disconnect", Value::Null);
        let answer = |seq: &Value| json!({"seq": 77, "type": "response", "request_seq": seq});
        assert_eq!(session.debugger_says(answer(&own["seq"])), None);
        let told = session.debugger_says(answer(&json!(5))).unwrap();
        assert_eq!((&told["seq"], &told["request_seq"]), (&json!(1), &json!(5)));
        let event = json!({"seq": 3, "type": "event", "event": "module"});
        assert_eq!(session.debugger_says(event).unwrap()["seq"], 2);
    }

    /// P-04: nothing that the editor shows of the old process stays, and nothing that it waits for stays unanswered.
    #[test]
    fn p_04_the_editor_hears_of_a_move() {
        let mut session = attached();
        let event = |name: &str, body: Value| json!({"seq": 1, "type": "event", "event": name, "body": body});
        for thread in [1, 2] {
            session.debugger_says(event("thread", json!({"reason": "started", "threadId": thread})));
        }
        session.debugger_says(event("thread", json!({"reason": "exited", "threadId": 1})));
        session.debugger_says(event("stopped", json!({"threadId": 2, "hitBreakpointIds": [0]})));
        for seq in 1..=4 {
            session.debugger_says(json!({"seq": 1, "type": "response", "request_seq": seq}));
        }
        assert!(session.is_stopped());
        let said: Vec<String> = session.moved().iter().map(ToString::to_string).collect();
        assert!(said[0].contains("\"request_seq\":5") && said[0].contains("\"success\":false"), "{said:?}");
        assert!(said[1].contains("continued") && said[2].contains("exited"), "{said:?}");
        assert_eq!((said.len(), session.is_stopped()), (3, false));
        let stopped =
            session.debugger_says(event("stopped", json!({"threadId": 1, "hitBreakpointIds": [0]})));
        assert_eq!(stopped.unwrap()["body"].get("hitBreakpointIds"), None);
        assert_eq!(session.moved().len(), 1);
    }

    #[test]
    fn an_editor_that_leaves_takes_its_breakpoints_along() {
        let mut session = attached();
        let asked = session.release();
        let commands: Vec<&str> = asked.iter().filter_map(|message| message["command"].as_str()).collect();
        assert_eq!(commands, ["setBreakpoints", "continue"]);
        assert_eq!(asked[0]["arguments"], json!({"source": {"path": "/a.py"}, "breakpoints": []}));
        assert!(!session.is_configured());
        assert!(session.next().request("x", Value::Null)["seq"].as_i64() > asked[1]["seq"].as_i64());
    }
}
