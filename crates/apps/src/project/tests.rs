//! Projects as people write them: files in, functions out.

use std::fmt::Write as _;

use ingle_types::spec::InvokeMode;

use super::*;

mod balancers;
mod damage;
mod front;
mod keys;
mod openapi;
mod parameters;
mod queues;
mod references;
mod sam;
mod serverless;
mod stored;

/// A folder with files; a name that ends in `/` is a folder.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("shop").tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn options(environment: &[(&str, &str)], stage: Option<&str>, parameters: &[(&str, &str)]) -> ProjectOptions {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    ProjectOptions {
        environment: map(environment),
        stage: stage.map(str::to_owned),
        region: None,
        parameters: map(parameters),
    }
}

#[track_caller]
fn project(files: &[(&str, &str)], options: &ProjectOptions) -> Project {
    read(folder(files).path(), options).unwrap_or_else(|error| panic!("{error}")).expect("a project")
}

/// All that a project is, a line for each thing.
fn shown(project: &Project) -> String {
    let mut text = String::new();
    for function in &project.functions {
        let ProjectFunction { id, name, handler, runtime, code, timeout, memory_mb, .. } = function;
        let runtime = runtime.as_deref().unwrap_or("-");
        let (line, code) = (function.line, code.display());
        writeln!(text, "{line} {id} = {name}: {handler} in `{code}`, {runtime}, {timeout:?}, {memory_mb} MB")
            .unwrap();
        for (name, value) in &function.variables {
            writeln!(text, "  {name}={value}").unwrap();
        }
        for layer in &function.layers {
            writeln!(text, "  layer {}", layer.display()).unwrap();
        }
        for source in &function.sources {
            writeln!(text, "  {}", shown_source(source)).unwrap();
        }
    }
    for queue in project.queues.iter().filter(|queue| **queue != QueueSettings::new(&queue.name)) {
        let QueueSettings { name, visibility, delay, wait, deduplicates_by_content, redrive } = queue;
        let redrive = redrive.as_ref().map(|redrive| (redrive.receives_max, redrive.queue.as_str()));
        let content = if *deduplicates_by_content { "contents" } else { "no contents" };
        writeln!(text, "queue {name}: {visibility:?}, {delay:?}, {wait:?}, {content}, {redrive:?}").unwrap();
    }
    for QueueSubscription { topic, queue, filter, is_raw, line } in &project.subscriptions {
        let is_filtered = filter.is_some();
        writeln!(text, "{line} topic {topic} to queue {queue}: filtered {is_filtered}, raw {is_raw}")
            .unwrap();
    }
    for Ignored { line, what, why, .. } in &project.ignored {
        writeln!(text, "ignored {line}: {what}: {why}").unwrap();
    }
    for problem in &project.problems {
        writeln!(text, "{}", problem.to_string().replace("\n  fix:", "; fix:")).unwrap();
    }
    text
}

/// `, wants a key of [name, name=value in plan 10.0/s 2, 5 DAY+0]`.
fn shown_keys(http: &HttpSource) -> String {
    let Some(keys) = &http.front.keys else { return String::new() };
    let shown = keys.iter().map(|key| {
        let mut text = key.name.clone();
        if let Some(value) = &key.value {
            write!(text, "={value}").unwrap();
        }
        if let Some(plan) = &key.plan {
            let throttle = plan.throttle.map(|throttle| format!(" {}/s {}", throttle.rate, throttle.burst));
            let quota =
                plan.quota.map(|one| format!(" {} {}+{}", one.limit, one.period.as_str(), one.offset));
            let (throttle, quota) = (throttle.unwrap_or_default(), quota.unwrap_or_default());
            write!(text, " in {}{throttle}{quota}", plan.name).unwrap();
        }
        text
    });
    format!(", wants a key of [{}]", shown.collect::<Vec<_>>().join(", "))
}

fn shown_source(source: &EventSource) -> String {
    match source {
        EventSource::Http(http) => {
            let api = match &http.api {
                Api::Rest { id, binary_types } if binary_types.is_empty() => format!("rest {id}"),
                Api::Rest { id, binary_types } => format!("rest {id} {binary_types:?}"),
                Api::Http { id, payload } => format!("http {id} {payload:?}"),
                Api::Alb { listener, rule, target_group, multi_value } => {
                    format!("alb {listener} to {target_group} ({rule}), lists {multi_value},")
                }
                Api::Url(InvokeMode::Buffered) => "url".to_owned(),
                Api::Url(InvokeMode::ResponseStream) => "url in pieces".to_owned(),
            };
            let method = http.method.as_deref().unwrap_or("ANY");
            let mut text = format!("{} {api} {}: {method} {}", http.line, http.stage, http.path);
            if let Some(cors) = &http.cors {
                write!(text, ", {cors:?}").unwrap();
            }
            write!(text, "{}", shown_keys(http)).unwrap();
            if let Some(guard) = &http.guard {
                write!(text, ", guarded by {guard}").unwrap();
            }
            text
        }
        EventSource::Schedule(schedule) => {
            let ScheduleSource { name, expression, zone, is_scheduler, enabled, input, line } = schedule;
            let zone = zone.as_deref().unwrap_or("UTC");
            let kind = if *is_scheduler { "scheduler" } else { "rule" };
            let input = input.as_ref().map(|input| format!(", sends {input}")).unwrap_or_default();
            let state = if *enabled { "" } else { ", disabled" };
            format!("{line} {kind} {name}: {expression} {zone}{input}{state}")
        }
        EventSource::Queue(queue) => {
            let QueueSource {
                queue,
                batch_size,
                window,
                reports_failures,
                enabled,
                concurrency,
                visibility: _,
                redrive: _,
                filters,
                line,
            } = queue;
            let filters =
                if filters.is_empty() { String::new() } else { format!(", {} filters", filters.len()) };
            format!(
                "{line} queue {queue}: {batch_size} in {window:?}, reports {reports_failures}, enabled {enabled}, {concurrency:?}{filters}"
            )
        }
        EventSource::Bucket(bucket) => {
            let BucketSource { bucket, events, prefix, suffix, line } = bucket;
            format!("{line} bucket {bucket}: {events:?} {prefix:?} {suffix:?}")
        }
        EventSource::Topic(topic) => {
            let TopicSource { topic, filter, line } = topic;
            format!("{line} topic {topic}: filtered {}", filter.is_some())
        }
    }
}

#[track_caller]
fn check_with(files: &[(&str, &str)], options: &ProjectOptions, expected: &str) {
    let found = shown(&project(files, options));
    assert_eq!(found.trim_end(), expected.trim(), "\n{found}");
}

/// Only the findings of one kind: the lines that begin so.
#[track_caller]
fn check_findings(files: &[(&str, &str)], begin: &str, expected: &[&str]) {
    let found = shown(&project(files, &ProjectOptions::default()));
    let found: Vec<&str> = found.lines().filter(|line| line.starts_with(begin)).collect();
    assert_eq!(found, expected);
}

/// Line and words of what makes a file unreadable.
#[track_caller]
fn check_unreadable(name: &str, text: &str, expected: &str) {
    let folder = folder(&[(name, text)]);
    let error = read(folder.path(), &ProjectOptions::default()).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("E0115", expected));
    assert_eq!(error.blame(), ingle_types::outcome::Blame::App);
    assert!(error.hint().unwrap().contains(name));
}

const HELLO: &str = "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: app.handler, CodeUri: .}\n";

#[test]
fn a_folder_without_a_project_has_none() {
    let none = |files: &[(&str, &str)]| {
        assert_eq!(read(folder(files).path(), &ProjectOptions::default()).unwrap(), None, "{files:?}");
    };
    none(&[]);
    none(&[("host.json", "{}")]);
    // Other tools' files of that name, whatever is in them.
    none(&[("template.yaml", "name: [\nx")]);
    none(&[("template.yaml", "Resources:\n  Bucket:\n    Type: AWS::S3::Bucket\n")]);
    none(&[("template.json", "{\"Resources\": {\"Bucket\": {\"Type\": \"AWS::S3::Bucket\"}}}")]);
    let missing = read(Path::new("/nowhere/at/all"), &ProjectOptions::default()).unwrap_err();
    assert_eq!(missing.code(), "E0101");
}

#[test]
fn one_file_is_the_project_s() {
    let yml = "service: x\nprovider: aws\n";
    let both = project(&[("template.yaml", HELLO), ("serverless.yml", yml)], &ProjectOptions::default());
    assert_eq!((both.kind, both.file.to_str()), (ProjectKind::Sam, Some("template.yaml")));
    let why = "template.yaml is the project's file".to_owned();
    assert_eq!(
        both.ignored,
        [Ignored { file: None, line: 1, what: "serverless.yml".to_owned(), why, is_missing: false }]
    );
    // A file of another tool does not hide the project.
    let one = project(&[("template.yaml", "a: b"), ("serverless.yml", yml)], &ProjectOptions::default());
    assert_eq!((one.kind, one.file.to_str()), (ProjectKind::Serverless, Some("serverless.yml")));
    let yml = project(&[("template.yml", HELLO)], &ProjectOptions::default());
    assert_eq!(yml.functions[0].id, "Hello");
}

#[test]
fn the_region_is_the_nearest_that_is_said() {
    let of = |region: Option<&str>, environment: &[(&str, &str)], yml: &str| {
        let options = ProjectOptions { region: region.map(str::to_owned), ..options(environment, None, &[]) };
        project(&[("serverless.yml", yml)], &options).region
    };
    let (plain, own) =
        ("service: x\nprovider: aws\n", "service: x\nprovider: {name: aws, region: eu-west-3}\n");
    let environment = [("AWS_REGION", "eu-central-1"), ("AWS_DEFAULT_REGION", "eu-north-1")];
    assert_eq!(of(None, &[], plain), "us-east-1");
    assert_eq!(of(None, &environment[1..], plain), "eu-north-1");
    assert_eq!(of(None, &environment, plain), "eu-central-1");
    assert_eq!(of(None, &environment, own), "eu-west-3");
    assert_eq!(of(Some("ap-east-1"), &environment, own), "ap-east-1");
}

#[test]
fn what_is_no_tree_is_an_error_with_its_line() {
    let template = |rest: &str| format!("# AWS::Serverless\nResources:\n{rest}");
    check_unreadable(
        "template.yaml",
        "- AWS::Serverless",
        "template.yaml:1: the template is a list, and not a map",
    );
    check_unreadable(
        "template.yaml",
        "Transform: AWS::Serverless-2016-10-31\n",
        "template.yaml:1: the template has no `Resources`",
    );
    check_unreadable("serverless.yml", "service: x\n", "serverless.yml:1: the file has no `provider`");
    check_unreadable(
        "serverless.yml",
        "just text",
        "serverless.yml:1: the file is a text or a number, and not a map",
    );
    check_unreadable(
        "serverless.yml",
        "service: x\nprovider:\n  name: google\n",
        "serverless.yml:3: the provider is google, and only functions for aws are served",
    );
    check_unreadable(
        "template.json",
        "{\"AWS::Serverless\": 1,\n}}",
        "template.json:2: something follows after the end",
    );
    let long = format!("# AWS::Serverless\n{}", "# x\n".repeat(300_000));
    check_unreadable("template.yaml", &long, "template.yaml:1: the file has more than 1 MiB");
    let many: String = (0..501).map(|number| format!("  R{number}: {{Type: AWS::S3::Bucket}}\n")).collect();
    check_unreadable(
        "template.yaml",
        &template(&format!("{many}  F: {{Type: AWS::Serverless::Function}}\n")),
        "template.yaml:3: there are more than 500 resources",
    );
    let wide = folder(&[]);
    std::fs::write(wide.path().join("serverless.yml"), b"a: \xff\xfe").unwrap();
    let error = read(wide.path(), &ProjectOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("serverless.yml:1: serverless.yml is not UTF-8"), "{error}");
}
