//! What `ingle.toml` may say, and how what is wrong is named.

use super::*;
use ingle_types::schedule::{TimeZone, Weekdays, Window};
use ingle_types::spec::{CpuQuota, Departures, InvokeMode, LambdaLogFormat, LambdaLogLevel, WarmWindow};
use proptest::prelude::*;

fn parse(text: &str) -> IngleToml {
    super::parse(text, &Ok(TimeZone::UTC))
}

fn window(days: &str, from: u16, to: u16, zone: &str) -> Window {
    Window::new(Weekdays::parse(days).unwrap(), from, to, zone.parse().unwrap()).unwrap()
}

fn warm(line: u32, window: Window, workers: usize) -> WarmWindow {
    WarmWindow { window, workers, line }
}

#[test]
fn everything_that_the_documentation_shows_is_read() {
    let read = parse(
        "[workers]\nplan = \"premium\"\nmin = 1\nmax = 4\nspare = 2\nprewarmed = 1\nconcurrency = 16\n\
         idle_timeout = \"5m\"\ninit_timeout = \"90s\"\nfork = \"before-import\"\nrecycle_after = 100000\nrecycle_memory = \"512MB\"\n\
         warm_up = \"Prepare\"\n[[workers.warm]]\nfrom = \"07:50\"\nto = \"09:00\"\ndays = \"mon-fri\"\n\
         time_zone = \"Europe/Berlin\"\nworkers = 2\n[[workers.warm]]\nfrom = \"22:00\"\nto = \"6:00\"\nworkers = 1\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let expected = WorkerOptions {
        plan: Some(ScalePlan::Premium),
        min: Some(1),
        max: Some(4),
        spare: Some(2),
        prewarmed: Some(1),
        concurrency: Some(16),
        idle_timeout: Some(IdleTimeout::After(Duration::from_secs(300))),
        init_timeout: Some(Duration::from_secs(90)),
        fork: Fork::BeforeImport,
        recycle_after: Some(100_000),
        recycle_memory: Some(512 << 20),
        warm_up: Some(WarmUp { function: "Prepare".to_owned(), line: 13 }),
        warm: vec![
            warm(14, window("mon-fri", 7 * 60 + 50, 9 * 60, "Europe/Berlin"), 2),
            warm(20, window("daily", 22 * 60, 6 * 60, "UTC"), 1),
        ],
    };
    assert_eq!(read.workers, expected);
    assert_eq!(parse("").workers, WorkerOptions::default());
    let auto = parse("[workers]\nidle_timeout = \"auto\"\n").workers;
    assert_eq!(auto.idle_timeout, Some(IdleTimeout::Auto));
}

#[test]
fn what_is_said_about_a_handler_is_read() {
    let read = parse(
        "[lambda]\nhandler = \"a.b\"\ninvoke_mode = \"RESPONSE_STREAM\"\ntimeout = \"1m\"\nlog_format = \"json\"\nlog_level = \"debug\"\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let expected = LambdaOptions {
        handler: Some("a.b".to_owned()),
        invoke_mode: InvokeMode::ResponseStream,
        timeout: Some(Duration::from_secs(60)),
        log_format: Some(LambdaLogFormat::Json),
        log_level: Some(LambdaLogLevel::Debug),
        ..LambdaOptions::default()
    };
    assert_eq!(read.lambda, expected);
    let wrong = parse("[lambda]\nlog_format = \"xml\"\nlog_level = \"loud\"\ninvoke_mode = \"x\"\n").problems;
    let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told[0].contains("lambda.invoke_mode is \"x\""), "{told:?}");
    assert!(told[1].contains("lambda.log_format is \"xml\""), "{told:?}");
    assert!(told[2].contains("ingle.toml:3") && told[2].contains("\"warn\""), "{told:?}");
}

#[test]
fn admission_loops_and_functions_are_read() {
    let read = parse(
        "[admission]\nwaiting_max = 50\nwait_max = \"2s\"\n[loops]\nmax_hops = 0\n[functions.Report]\nconcurrency = 2\n\
         on_disconnect = \"cancel\"\n[http]\non_disconnect = \"finish\"\n",
    );
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let expected = AdmissionOptions {
        waiting_max: Some(50),
        wait_max: Some(Duration::from_secs(2)),
        hops_max: Some(0),
        concurrency: BTreeMap::from([("report".to_owned(), 2)]),
        departures: Departures {
            of_any: OnDisconnect::Finish,
            of_function: BTreeMap::from([("report".to_owned(), OnDisconnect::Cancel)]),
        },
    };
    assert_eq!(read.admission, expected);
    assert_eq!((read.admission.hops_max(), AdmissionOptions::default().hops_max()), (None, Some(16)));
}

#[track_caller]
fn check(text: &str, line: u32, part: &str) {
    let read = parse(text);
    let [problem] = &*read.problems else { panic!("{:?}", read.problems) };
    assert_eq!((problem.file.as_deref(), problem.line), (Some(FILE), Some(line)), "{problem}");
    assert!(problem.to_string().contains(part), "{problem}");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    check("[workers]\nmin = -1\n", 2, "workers.min is -1");
    check("[workers]\n\nmax = 0\n", 3, "from 1 to 1000");
    check("[workers]\nmin = 3\nmax = 2\n", 3, "less than min");
    check("[workers]\nplan = \"free\"\n", 2, "\"consumption\"");
    check("[workers]\nfork = \"yes\"\n", 2, "before-import");
    check("[workers]\nidle_timeout = \"soon\"\n", 2, "5m");
    check("[workers]\nidle_timeout = \"5\"\n", 2, "5m");
    check("[workers]\nrecycle_memory = \"0MB\"\n", 2, "512MB");
    check("[workers]\nmni = 1\n", 2, "mni");
    check("[worker]\n", 1, "worker");
    check("[admission]\nwaiting_max = -1\n", 2, "admission.waiting_max is -1");
    check("[loops]\nmax_hops = -1\n", 2, "loops.max_hops is -1");
    check("[functions.Report]\nconcurrency = 0\n", 2, "functions.Report.concurrency is 0");
    check("[workers\n", 1, "ingle.toml can't be read");
}

/// What can't be read at all is explained where its table is.
#[test]
fn the_page_is_that_of_the_table() {
    let page = |text: &str| parse(text).problems[0].fix.clone().unwrap();
    assert!(page("[lambda]\ntimeout = 3\n").contains("docs/lambda.md"));
    assert!(page("[workers]\nmin = 1\n[sandbox]\nread = 7\n").contains("docs/security.md"));
    assert!(page("[lambda]\n[[workers.warm]]\nfrm = 1\n").contains("docs/scaling.md"));
    assert!(page("x\n").contains("docs/scaling.md"));
}

/// T-021: a number of cores, or what memory gives.
#[test]
fn the_processor_is_shared_by_cores_or_by_memory() {
    let quota = |value: &str| parse(&format!("[sandbox]\ncpu = {value}\n")).sandbox.cpu;
    assert_eq!(quota("0.5"), Some(CpuQuota::Cores(0.5)));
    assert_eq!(quota("2"), Some(CpuQuota::Cores(2.0)));
    assert_eq!(quota("\"memory\""), Some(CpuQuota::OfMemory));
    check("[sandbox]\ncpu = 0\n", 2, "sandbox.cpu is 0");
    check("[sandbox]\ncpu = \"all\"\n", 2, "\"memory\"");
}

/// S-015: an entry with something wrong in it is left out, and the others stay.
#[test]
fn what_is_wrong_with_a_part_of_the_day_is_named_with_its_line() {
    let good = "[[workers.warm]]\nfrom = \"07:50\"\nto = \"09:00\"\nworkers = 2\n";
    let check = |entry: &str, line: u32, part: &str| {
        let text = format!("{good}{entry}");
        check(&text, line, part);
        assert_eq!(parse(&text).workers.warm.len(), 1, "{text}");
    };
    let entry = |lines: &str| format!("[[workers.warm]]\n{lines}\nworkers = 1\n");
    check(&entry("from = \"7\"\nto = \"09:00\""), 6, "07:50");
    check(&entry("from = \"24:00\"\nto = \"09:00\""), 6, "workers.warm.from is \"24:00\"");
    check(&entry("from = \"07:50\"\nto = \"24:01\""), 7, "09:00");
    check(&entry("from = \"07:50\"\nto = \"7:50\""), 7, "and so is from");
    check(&entry("from = \"07:50\"\nto = \"9:00\"\ndays = \"weekdays\""), 8, "mon-fri");
    check(
        &entry("from = \"07:50\"\nto = \"9:00\"\ntime_zone = \"Europe/Berln\""),
        8,
        "did you mean `Europe/Berlin`",
    );
    check("[[workers.warm]]\nfrom = \"07:50\"\nto = \"9:00\"\nworkers = 0\n", 8, "from 1 to 1000");
    let without_zone = super::parse(good, &"Mars".parse::<TimeZone>());
    let [problem] = &*without_zone.problems else { panic!("{:?}", without_zone.problems) };
    assert_eq!(problem.line, Some(1));
    assert!(problem.message.contains("WEBSITE_TIME_ZONE is \"Mars\""), "{problem}");
}

#[test]
fn an_entry_that_lacks_a_key_can_not_be_read() {
    check("[[workers.warm]]\nfrom = \"07:50\"\nworkers = 1\n", 1, "missing field `to`");
    check("[[workers.warm]]\nfrm = \"07:50\"\n", 2, "frm");
    check("[workers]\nwarm = 3\n", 2, "a sequence");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let written = format!("[workers]\nidle_timeout = {text:?}\nrecycle_memory = {text:?}\n");
        parse(&written);
        let warm = format!("from = {text:?}\nto = {text:?}\ndays = {text:?}\ntime_zone = {text:?}\nworkers = 1\n");
        parse(&format!("[[workers.warm]]\n{warm}"));
        parse(&text);
    }
}
