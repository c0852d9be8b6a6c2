//! Settings of Zappa as people write them.

use super::super::*;

fn read(files: &[(&str, &str)], stage: Option<&str>) -> Result<Project, Error> {
    let folder = tempfile::Builder::new().prefix("Shop_").tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let options = ProjectOptions { stage: stage.map(str::to_owned), ..ProjectOptions::default() };
    super::super::read(folder.path(), &options).map(|found| found.expect("a project"))
}

const SETTINGS: &str = r#"{
    "base": {"project_name": "My Shop", "app_function": "app.app", "timeout_seconds": 20, "keep_warm": true},
    "dev": {
        "extends": "base",
        "memory_size": 256,
        "environment_variables": {"A": "stage", "STAGE": "mine"},
        "aws_environment_variables": {"A": "function", "B": "2", "FRAMEWORK": "none"}, "aws_region": "eu-west-1",
        "authorizer": {"function": "app.only_ada"},
        "events": [
            {"function": "tasks.hourly", "expressions": ["rate(1 hour)", "cron(0 12 * * ? *)"], "kwargs": {"n": 1}},
            {"function": "tasks.take", "event_source": {"arn": "arn:aws:sqs:us-east-1:000000000000:orders", "batch_size": 3}},
            {"function": "tasks.seen", "event_source": {"arn": "arn:aws:s3:::pictures", "events": ["s3:ObjectCreated:*"]}},
            {"function": "tasks.told", "event_source": {"arn": "arn:aws:sns:eu-west-1:000000000000:news", "filters": {"kind": ["new"]}}},
            {"function": "tasks.read", "event_source": {"arn": "arn:aws:dynamodb:eu-west-1:000000000000:table/a/stream/b"}}
        ]
    }
}"#;

#[test]
fn a_stage_is_a_web_app_and_functions() {
    let found = read(
        &[("zappa_settings.json", SETTINGS), ("tasks.py", "from zappa.asynchronous import task")],
        Some("dev"),
    );
    let found = found.unwrap();
    assert_eq!((found.kind, found.problems.len()), (ProjectKind::Zappa, 0), "{:?}", found.problems);
    let names: Vec<(&str, &str, Entry)> =
        found.functions.iter().map(|one| (&*one.name, &*one.handler, one.entry)).collect();
    let expected = [
        ("my-shop-dev", "app.app", Entry::WebApp),
        ("my-shop-dev-tasks-hourly", "tasks.hourly", Entry::Handler),
        ("my-shop-dev-tasks-take", "tasks.take", Entry::Handler),
        ("my-shop-dev-tasks-seen", "tasks.seen", Entry::Handler),
        ("my-shop-dev-tasks-told", "tasks.told", Entry::Handler),
    ];
    assert_eq!(names, expected);
    let app = &found.functions[0];
    assert_eq!((app.timeout.as_secs(), app.memory_mb), (20, 256));
    let variable = |name: &str| app.variables.get(name).map(String::as_str);
    assert_eq!((variable("A"), variable("B"), variable("STAGE")), (Some("stage"), Some("2"), Some("mine")));
    assert_eq!((variable("AWS_REGION"), found.region.as_str()), (Some("eu-west-1"), "eu-west-1"));
    assert_eq!((variable("FRAMEWORK"), variable("PROJECT")), (Some("Zappa"), Some("my-shop")));
    let [EventSource::Schedule(first), EventSource::Schedule(second)] = found.functions[1].sources.as_slice()
    else {
        panic!("{:?}", found.functions[1].sources);
    };
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("my-shop-dev-tasks.hourly", "my-shop-dev-1-tasks.hourly")
    );
    assert_eq!(first.input, Some(serde_json::json!({"kwargs": {"n": 1}})));
    let [EventSource::Queue(queue)] = found.functions[2].sources.as_slice() else { panic!() };
    assert_eq!((queue.queue.as_str(), queue.batch_size, queue.line), ("orders", 3, 11));
    let [EventSource::Bucket(bucket)] = found.functions[3].sources.as_slice() else { panic!() };
    assert_eq!((bucket.bucket.as_str(), bucket.events.len()), ("pictures", 1));
    let [EventSource::Topic(topic)] = found.functions[4].sources.as_slice() else { panic!() };
    assert_eq!((topic.topic.as_str(), topic.filter.is_some()), ("news", true));
    let ignored: Vec<String> = found
        .ignored
        .iter()
        .map(|one| {
            format!(
                "{}:{} {}",
                one.file.as_ref().map_or("".into(), |file| file.display().to_string()),
                one.line,
                one.what
            )
        })
        .collect();
    for expected in [
        ":2 the stage base",
        ":2 keep_warm",
        ":8 authorizer",
        ":14 the event source arn:aws:dynamodb:eu-west-1:000000000000:table/a/stream/b of tasks.read",
        "tasks.py:1 zappa.asynchronous",
    ] {
        assert!(ignored.iter().any(|one| one == expected), "{expected} in {ignored:?}");
    }
}

#[test]
fn what_starts_nothing_here_is_missing() {
    let found = read(&[("zappa_settings.json", SETTINGS)], Some("dev")).unwrap();
    let missing: Vec<&str> =
        found.ignored.iter().filter(|one| one.is_missing).map(|one| one.what.as_str()).collect();
    assert_eq!(
        missing,
        [
            "authorizer",
            "the event source arn:aws:dynamodb:eu-west-1:000000000000:table/a/stream/b of tasks.read"
        ]
    );
}

#[test]
fn the_other_formats_are_read() {
    let toml = "[dev]\ndjango_settings = \"shop.settings\"\nproject_name = \"shop\"\n";
    let found = read(&[("zappa_settings.toml", toml)], None).unwrap();
    assert_eq!(
        (found.functions[0].entry, found.functions[0].handler.as_str()),
        (Entry::DjangoSettings, "shop.settings")
    );
    assert_eq!(found.functions[0].variables["DJANGO_SETTINGS_MODULE"], "shop.settings");
    let yaml = "dev:\n  app_function: app.app\n";
    let found = read(&[("zappa_settings.yml", yaml)], None).unwrap();
    assert!(found.functions[0].name.starts_with("shop-"), "{}", found.functions[0].name);
}

#[test]
fn a_stage_that_is_not_known_is_asked_for() {
    let check = |stage: Option<&str>, part: &str| {
        let error = read(&[("zappa_settings.json", SETTINGS)], stage).unwrap_err();
        assert_eq!(error.code(), "E0248");
        assert!(format!("{error} {:?}", error.hint()).contains(part), "{error} {:?}", error.hint());
    };
    check(None, "base, dev");
    check(Some("prod"), "no stage prod");
}

#[test]
fn what_is_wrong_has_its_line() {
    let check = |text: &str, code: &str, line: u32| {
        let (found, at) = match read(&[("zappa_settings.json", text)], None) {
            Err(Error::Project { line, .. }) => ("E0115".to_owned(), Some(line)),
            Err(error) => panic!("{error}"),
            Ok(found) => (found.problems[0].code.clone(), found.problems[0].line),
        };
        assert_eq!((found.as_str(), at), (code, Some(line)), "{text}");
    };
    check("[]", "E0115", 1);
    check("{\"dev\": 7}", "E0115", 1);
    check("{\"dev\": {\n\"extends\": \"none\"}}", "E0115", 2);
    check("{\"dev\": {\n\"extends\": \"dev\"}}", "E0115", 2);
    check("{\n\"dev\": {}}", "E0116", 2);
    check("{\"dev\": {\n\"app_function\": \"../app.app\"}}", "E0215", 2);
    check("{\"dev\": {\n\"app_function\": \"app\"}}", "E0215", 2);
    check(
        "{\"dev\": {\"events\": [\n{\"function\": \"a.b\", \"expression\": \"rate(1 fortnight)\"}]}}",
        "E0243",
        2,
    );
    check("{\"dev\": {\"events\": [\n{\"expression\": \"rate(1 hour)\"}]}}", "E0116", 2);
    check("{\"dev\": {\"app_function\": \"a.b\",\n\"timeout_seconds\": \"long\"}}", "E0116", 2);
}
