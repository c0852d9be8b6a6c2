//! Segments of traces that an app sends to the daemon of AWS X-Ray, as its SDK does: `{"format":"json","version":1}`, a line feed
//! and a JSON document (facts of Lambda, section 8.3; the documents are specified in Amazon's developer guide of X-Ray).
//!
//! They are kept in memory, for each app by itself, as long as there is room, and shown by `ingle traces`. The segment of a call
//! itself, which on AWS the platform makes, is made of its record if something of the app belongs to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::ids::{FunctionName, InvocationId};
use crate::log::{
    InvocationRecord, LogLine, LogSink, LogSinkHandle, LogSource, RecordSink, RecordSinkHandle,
};

const SPANS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;
/// Calls whose segments may still come.
const CALLS_MAX: usize = 1_000;
const NAME_CHARACTERS_MAX: usize = 250;

/// A segment or subsegment.
struct Span {
    trace: String,
    id: String,
    parent: Option<String>,
    document: Value,
    bytes: usize,
}

/// What the segment of a call is made of, if one is needed: most calls trace nothing.
struct Call {
    id: InvocationId,
    function: FunctionName,
    received_at: SystemTime,
    total: Duration,
    /// The kind of an error, and its message.
    error: Option<(String, String)>,
}

#[derive(Default)]
struct Kept {
    /// By the order in which they came.
    spans: BTreeMap<u64, Span>,
    /// Where the span of a trace with an id is.
    places: HashMap<(String, String), u64>,
    /// Spans that name a parent, by its id: their trace, and how many there are.
    parents: HashMap<String, (String, usize)>,
    next: u64,
    bytes: usize,
    calls: VecDeque<Call>,
    forgotten: u64,
    malformed: u64,
    complaint: Option<String>,
}

/// The spans of an app. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Spans(Arc<Mutex<Kept>>);

/// The id of the segment that stands for a call: the part of the call's own id that is most by chance.
pub fn segment_id(call: InvocationId) -> String {
    let whole = call.uuid().simple().to_string();
    whole.get(16..).unwrap_or_default().to_owned()
}

impl Spans {
    /// A sink in front of another one, which gets the lines that are no segments.
    pub fn lines(&self, behind: LogSinkHandle) -> LogSinkHandle {
        Arc::new(Lines { spans: self.clone(), behind })
    }

    /// A sink in front of another one, which gets all records.
    pub fn records(&self, behind: RecordSinkHandle) -> RecordSinkHandle {
        Arc::new(Records { spans: self.clone(), behind })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, datagram: &str) {
        let read = read(datagram);
        let mut kept = self.kept();
        match read {
            Ok(span) => kept.take(span),
            Err(complaint) => {
                kept.malformed += 1;
                kept.complaint = Some(complaint);
            }
        }
    }

    /// `{"spans": [document…], "forgotten", "malformed", "complaint"}`, of one trace or of all; documents as X-Ray has them, the
    /// oldest first.
    pub fn to_json(&self, trace: Option<&str>) -> Value {
        let kept = self.kept();
        let chosen = kept.spans.values().filter(|span| trace.is_none_or(|id| id == span.trace));
        let documents: Vec<&Value> = chosen.map(|span| &span.document).collect();
        json!({"spans": documents, "forgotten": kept.forgotten, "malformed": kept.malformed,
            "complaint": kept.complaint})
    }
}

struct Lines {
    spans: Spans,
    behind: LogSinkHandle,
}

impl LogSink for Lines {
    fn line(&self, line: LogLine) {
        match line.source {
            LogSource::Segment => self.spans.take(&line.message),
            LogSource::Logging | LogSource::Stdout | LogSource::Stderr | LogSource::Security(_) => {
                self.behind.line(line);
            }
        }
    }
}

struct Records {
    spans: Spans,
    behind: RecordSinkHandle,
}

impl RecordSink for Records {
    fn record(&self, record: InvocationRecord) {
        self.spans.kept().called(Call::of(&record));
        self.behind.record(record);
    }
}

impl Call {
    fn of(record: &InvocationRecord) -> Self {
        Self {
            id: record.id,
            function: record.function.clone(),
            received_at: record.received_at,
            total: record.phases.total,
            error: record.failure.as_ref().map(|failure| (failure.kind.clone(), failure.message.clone())),
        }
    }

    /// Its segment in a trace.
    fn span(self, trace: String) -> Span {
        let id = segment_id(self.id);
        let begin = self.received_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut document = json!({"id": id, "trace_id": trace, "name": self.function.as_str(),
            "origin": "AWS::Lambda::Function", "start_time": begin, "end_time": begin + self.total.as_secs_f64(),
            "aws": {"request_id": self.id.uuid().to_string()}});
        if let Some((kind, message)) = self.error {
            document["fault"] = json!(true);
            document["cause"] = json!({"exceptions": [{"type": kind, "message": message}]});
        }
        let bytes = document.to_string().len();
        Span { trace, id, parent: None, document, bytes }
    }
}

impl Kept {
    fn take(&mut self, span: Span) {
        let parent = span.parent.clone();
        let trace = span.trace.clone();
        self.put(span);
        let Some(parent) = parent else { return };
        if self.places.contains_key(&(trace.clone(), parent.clone())) {
            return;
        }
        if let Some(found) = self.calls.iter().position(|call| segment_id(call.id) == parent)
            && let Some(call) = self.calls.remove(found)
        {
            self.put(call.span(trace));
        }
    }

    /// Notes a call. If something in it was traced, it is a span of that trace.
    fn called(&mut self, call: Call) {
        if !self.parents.is_empty()
            && let Some((trace, _)) = self.parents.get(&segment_id(call.id))
        {
            let trace = trace.clone();
            self.put(call.span(trace));
            return;
        }
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// Puts a span in place of what was known of it while it was in progress, and forgets the oldest if there is no room.
    fn put(&mut self, span: Span) {
        let key = (span.trace.clone(), span.id.clone());
        let place = self.places.get(&key).copied().unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.bytes += span.bytes;
        self.places.insert(key, place);
        if let Some(parent) = &span.parent {
            self.parents.entry(parent.clone()).or_insert_with(|| (span.trace.clone(), 0)).1 += 1;
        }
        if let Some(before) = self.spans.insert(place, span) {
            self.leave(&before);
        }
        while self.spans.len() > SPANS_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.spans.pop_first() else { return };
            self.leave(&oldest);
            self.places.remove(&(oldest.trace, oldest.id));
            self.forgotten += 1;
        }
    }

    /// A span that is not kept any more.
    fn leave(&mut self, span: &Span) {
        self.bytes -= span.bytes;
        let Some(parent) = &span.parent else { return };
        if let Some((_, count)) = self.parents.get_mut(parent) {
            *count -= 1;
            if *count == 0 {
                self.parents.remove(parent);
            }
        }
    }
}

fn read(datagram: &str) -> Result<Span, String> {
    let (head, document) = datagram.split_once('\n').ok_or("a datagram without the line of its format")?;
    let head: Value =
        serde_json::from_str(head).map_err(|error| format!("the first line is no JSON: {error}"))?;
    if head["format"] != "json" || head["version"] != 1 {
        return Err(format!("the format {} is not known", head.to_string().get(..80).unwrap_or("of it")));
    }
    let document: Value =
        serde_json::from_str(document).map_err(|error| format!("the segment is no JSON: {error}"))?;
    let text = |member: &str| document[member].as_str();
    let trace = text("trace_id").filter(|id| is_trace_id(id)).ok_or("`trace_id` is none")?.to_owned();
    let id = text("id").filter(|id| is_hex(id, 16)).ok_or("`id` has no 16 hexadecimal digits")?.to_owned();
    let parent = text("parent_id").filter(|id| is_hex(id, 16)).map(str::to_owned);
    if text("name").is_none_or(|name| name.chars().count() > NAME_CHARACTERS_MAX) {
        return Err(format!("`name` is no text of at most {NAME_CHARACTERS_MAX} characters"));
    }
    if document["start_time"].as_f64().is_none() {
        return Err("`start_time` is no number of seconds".to_owned());
    }
    Ok(Span { trace, id, parent, document, bytes: datagram.len() })
}

/// `1-`, eight digits of the time, `-`, 24 digits.
fn is_trace_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut next = |digits| parts.next().is_some_and(|part| is_hex(part, digits));
    text.starts_with("1-") && next(1) && next(8) && next(24) && parts.next().is_none()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Phases;

    const TRACE: &str = "1-5bef4de7-ad49b0e87f6ef6c87fc2e700";

    fn datagram(document: &Value) -> String {
        format!("{{\"format\":\"json\",\"version\":1}}\n{document}")
    }

    fn document(id: u64, parent: &str) -> Value {
        json!({"id": format!("{id:016x}"), "name": "## handler", "start_time": 1.5, "end_time": 2.5, "trace_id": TRACE,
            "parent_id": parent, "type": "subsegment"})
    }

    fn record(id: InvocationId) -> InvocationRecord {
        InvocationRecord {
            id,
            function: FunctionName::new("orders"),
            received_at: UNIX_EPOCH + Duration::from_secs(100),
            summary: String::new(),
            outcome: "success",
            status: None,
            phases: Phases { total: Duration::from_millis(250), ..Phases::default() },
            effects: Vec::new(),
            failure: None,
        }
    }

    struct Nobody;

    impl RecordSink for Nobody {
        fn record(&self, _record: InvocationRecord) {}
    }

    #[test]
    fn a_call_is_a_span_if_something_in_it_is_one_whoever_comes_first() {
        for call_is_first in [true, false] {
            let (spans, id) = (Spans::default(), InvocationId::random());
            let records = spans.records(Arc::new(Nobody));
            let child = datagram(&document(1, &segment_id(id)));
            if call_is_first {
                records.record(record(id));
                spans.take(&child);
            } else {
                spans.take(&child);
                records.record(record(id));
            }
            records.record(record(InvocationId::random()));
            let shown = spans.to_json(Some(TRACE));
            let found = shown["spans"].as_array().unwrap();
            assert_eq!(found.len(), 2, "{shown}");
            let call = found.iter().find(|span| span["origin"] == "AWS::Lambda::Function").unwrap();
            let times = (call["start_time"].as_f64().unwrap(), call["end_time"].as_f64().unwrap());
            assert_eq!((&call["name"], times), (&json!("orders"), (100.0, 100.25)));
            assert_eq!(call["trace_id"], TRACE);
            assert_eq!(spans.to_json(None)["spans"].as_array().unwrap().len(), 2);
            assert_eq!(spans.to_json(Some("1-5bef4de7-000000000000000000000000"))["spans"], json!([]));
        }
    }

    #[test]
    fn what_is_in_progress_is_replaced_when_it_is_over() {
        let spans = Spans::default();
        let mut begun = document(1, "");
        begun["in_progress"] = json!(true);
        spans.take(&datagram(&begun));
        spans.take(&datagram(&document(1, "")));
        let shown = spans.to_json(None);
        assert_eq!(shown["spans"], json!([document(1, "")]));
    }

    #[test]
    fn what_is_wrong_is_counted_and_said() {
        let check = |datagram: &str, expected: &str| {
            let spans = Spans::default();
            spans.take(datagram);
            let shown = spans.to_json(None);
            assert_eq!((&shown["malformed"], &shown["spans"]), (&json!(1), &json!([])), "{shown}");
            assert!(shown["complaint"].as_str().unwrap().contains(expected), "{shown}");
        };
        check("hello", "without the line");
        check("hello\n{}", "no JSON");
        check("{\"format\":\"xml\"}\n{}", "not known");
        check(&datagram(&json!([])), "`trace_id`");
        let with = |name: &str, value: Value| {
            let mut changed = document(1, "");
            changed[name] = value;
            datagram(&changed)
        };
        check(&with("trace_id", json!("2-5bef4de7-ad49b0e87f6ef6c87fc2e700")), "`trace_id`");
        check(&with("trace_id", json!("1-5bef4de7-ad49b0e8")), "`trace_id`");
        check(&with("id", json!("1")), "`id`");
        check(&with("name", json!("x".repeat(251))), "`name`");
        check(&with("start_time", json!("now")), "`start_time`");
    }

    /// T-056: what an app makes up fills no memory.
    #[test]
    fn t_056_the_oldest_spans_are_forgotten() {
        let spans = Spans::default();
        let count = u64::try_from(SPANS_MAX).unwrap() + 3;
        (0..count).for_each(|id| spans.take(&datagram(&document(id, ""))));
        let shown = spans.to_json(None);
        assert_eq!(shown["spans"].as_array().unwrap().len(), SPANS_MAX);
        assert_eq!((&shown["forgotten"], &shown["spans"][0]["id"]), (&json!(3), &json!("0000000000000003")));
        let spans = Spans::default();
        for id in 0..5 {
            let mut large = document(id, "");
            large["metadata"] = json!("x".repeat(BYTES_MAX / 4));
            spans.take(&datagram(&large));
        }
        assert_eq!(spans.to_json(None)["spans"].as_array().unwrap().len(), 3);
    }
}
