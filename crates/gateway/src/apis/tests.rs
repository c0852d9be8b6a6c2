//! Which route a request has.

use std::time::Duration;

use http::Request;
use ingle_store::keys::KeyFile;
use ingle_types::clock::SystemClock;
use tokio::sync::watch;

use super::cors::{OF_CORS, allowed_origin, preflight};
use super::*;
use crate::auth::Guard;
use crate::limits::HeadLimits;
use crate::service::Options;

/// Routes as `GET /a/{b}` or `ANY /`, all of one function.
fn apis(format: &Format, routes: &[&str], cors: Option<&Cors>) -> Apis {
    let options = Options {
        guard: Guard::new(false, KeyFile::in_folder(std::path::Path::new("/nowhere")), Arc::new(SystemClock)),
        limits: HeadLimits::default(),
        development: true,
        start_wait: Duration::from_secs(1),
    };
    let service = Arc::new(Service::new(options, watch::channel(None).1, watch::channel(None).1));
    let mut apis = Apis::default();
    for route in routes {
        let (method, path) = route.split_once(' ').unwrap();
        let route = Route {
            format: format.clone(),
            method: (method != "ANY").then(|| method.to_owned()),
            path: path.to_owned(),
            stage: if matches!(format, Format::Rest { .. }) { "Prod" } else { DEFAULT }.to_owned(),
            api: "api".to_owned(),
            cors: cors.cloned(),
            is_guarded: false,
        };
        apis.add(route, Arc::default(), service.clone());
    }
    apis
}

fn rest() -> Format {
    Format::Rest { binary_types: Vec::new() }
}

/// `GET /a/{b} b=1` of the route and its parameters, or `404 body` of an answer.
fn found(apis: &Apis, method: &str, path: &str) -> String {
    let head = Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
    match apis.choose(&head) {
        Chosen::Function(_, matched) => {
            let method = matched.route.method.as_deref().unwrap_or("ANY");
            let parameters = matched.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            let stage = if matched.has_stage { " with stage" } else { "" };
            format!("{method} {}{}{stage}", matched.route.path, parameters.collect::<String>())
        }
        Chosen::Answer(answer) => {
            format!("{} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body()))
        }
    }
}

#[test]
fn the_most_exact_route_wins() {
    let routes = [
        "ANY /{all+}",
        "GET /items/{id}",
        "GET /items/new",
        "ANY /items/{id}",
        "GET /",
        "ANY /a/{b}/c",
        "ANY /a/{b+}",
    ];
    for format in [rest(), Format::Http1, Format::Http2] {
        let apis = apis(&format, &routes, None);
        let check = |method: &str, path: &str, expected: &str| {
            assert_eq!(found(&apis, method, path), expected, "{method} {path} {format:?}");
        };
        check("GET", "/", "GET /");
        check("GET", "/items/new", "GET /items/new");
        check("GET", "/items/7", "GET /items/{id} id=7");
        check("PUT", "/items/7", "ANY /items/{id} id=7");
        check("PUT", "/items/new", "ANY /items/{id} id=new");
        check("GET", "/items/7/", "GET /items/{id} id=7");
        check("GET", "/items/7/x", "ANY /{all+} all=items/7/x");
        check("GET", "/a/1/c", "ANY /a/{b}/c b=1");
        check("GET", "/a/1/d", "ANY /a/{b+} b=1/d");
        check("GET", "/items/a%2Fb", "GET /items/{id} id=a%2Fb");
        check("GET", "/%69tems/new", "GET /items/new");
    }
}

#[test]
fn what_no_api_has_is_refused_as_there() {
    let check = |format: Format, routes: &[&str], path: &str, expected: &str| {
        assert_eq!(found(&apis(&format, routes, None), "GET", path), expected);
    };
    check(rest(), &["POST /a"], "/a", "403 {\"message\":\"Missing Authentication Token\"}");
    check(Format::Http2, &["GET /a"], "/b", "404 {\"message\":\"Not Found\"}");
    check(Format::Http2, &["GET /a", "ANY $default"], "/b/c", "ANY $default");
    check(Format::Http2, &[], "/", "404 {\"message\":\"Not Found\"}");
    check(rest(), &["GET /{all+}"], "/", "403 {\"message\":\"Missing Authentication Token\"}");
}

#[test]
fn a_stage_goes_before_routes_that_take_anything() {
    let mut all = apis(&rest(), &["ANY /{proxy+}", "GET /", "GET /{id}"], None);
    assert_eq!(found(&all, "POST", "/Prod/items/1"), "ANY /{proxy+} proxy=items/1 with stage");
    assert_eq!(found(&all, "POST", "/items/1"), "ANY /{proxy+} proxy=items/1");
    assert_eq!(found(&all, "GET", "/Prod"), "GET / with stage");
    assert_eq!(found(&all, "GET", "/Produce"), "GET /{id} id=Produce");
    // Another API, which has something that the first one would take, too.
    let known = all.routes[0].service.clone();
    let mut other = |path: &str, format: Format, stage: &str| {
        let route = Route {
            format,
            method: Some("GET".to_owned()),
            path: path.to_owned(),
            stage: stage.to_owned(),
            api: "other".to_owned(),
            cors: None,
            is_guarded: false,
        };
        all.add(route, Arc::default(), known.clone());
    };
    other("/users", rest(), "admin");
    other("/Prod/tools", Format::Http2, "v1");
    assert_eq!(found(&all, "GET", "/admin/users"), "GET /users with stage");
    assert_eq!(found(&all, "GET", "/v1/Prod/tools"), "GET /Prod/tools with stage");
    // What is written out is what it says.
    assert_eq!(found(&all, "GET", "/Prod/tools"), "GET /Prod/tools");
    // A stage of which nothing fits is a part of the path.
    assert_eq!(found(&all, "GET", "/admin/none"), "ANY /{proxy+} proxy=admin/none");
}

#[test]
fn a_rest_api_may_have_its_stage_in_front() {
    let apis = apis(&rest(), &["GET /a", "GET /"], None);
    assert_eq!(found(&apis, "GET", "/Prod/a"), "GET /a with stage");
    assert_eq!(found(&apis, "GET", "/Prod"), "GET / with stage");
    assert_eq!(found(&apis, "GET", "/Produce/a"), "403 {\"message\":\"Missing Authentication Token\"}");
}

fn cors() -> Cors {
    Cors {
        origins: vec!["https://a.example".to_owned()],
        methods: vec!["GET".to_owned(), "PUT".to_owned()],
        headers: vec!["x-own".to_owned()],
        exposed_headers: vec!["x-seen".to_owned()],
        credentials: true,
        max_age: Some(Duration::from_secs(60)),
    }
}

#[test]
fn browsers_are_answered_in_the_api_s_name() {
    let ask = |format: Format, origin: &str| {
        let apis = apis(&format, &["GET /a", "ANY /b"], Some(&cors()));
        let request = Request::options("/a").header("origin", origin);
        let head = request.body(()).unwrap().into_parts().0;
        match apis.choose(&head) {
            Chosen::Answer(answer) => answer,
            Chosen::Function(..) => panic!("a function was asked"),
        }
    };
    let answer = ask(Format::Http2, "https://a.example");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(header("access-control-allow-methods"), Some("GET,PUT"));
    assert_eq!(header("access-control-max-age"), Some("60"));
    assert!(ask(Format::Http2, "https://b.example").headers().is_empty());
    let answer = ask(rest(), "https://b.example");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example");
}

#[test]
fn the_origin_that_asks_is_named_if_it_is_allowed() {
    let check =
        |origins: &[&str], credentials: bool, asks: Option<&'static str>, expected: [Option<&str>; 2]| {
            let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
            let cors = Cors { origins, credentials, ..Cors::default() };
            let asked = asks.map(|asks| (http::header::ORIGIN, HeaderValue::from_static(asks)));
            let asked = HeaderMap::from_iter(asked);
            let found = [true, false].map(|is_rest| allowed_origin(&cors, &asked, is_rest));
            assert_eq!(
                found.each_ref().map(Option::as_deref),
                expected,
                "{origins:?} {asks:?}",
                origins = cors.origins
            );
        };
    let (a, b) = ("https://a.example", "https://b.example");
    let both = |origin| [Some(origin), Some(origin)];
    check(&[a, b], false, Some(b), both(b));
    // A REST API has an answer for everybody.
    check(&[a, b], false, Some("https://c.example"), [Some(a), None]);
    check(&[a, b], false, None, [Some(a), None]);
    check(&["*"], false, Some(b), both("*"));
    // Without credentials (T-043).
    check(&["*"], true, Some(b), both("*"));
    let local = ["https://*.b.example", "http://localhost:*"];
    check(&local, false, Some("https://x.b.example"), both("https://x.b.example"));
    check(&local, false, Some("http://localhost:3000"), both("http://localhost:3000"));
    check(&local, false, Some("https://.b.example"), [Some("https://*.b.example"), None]);
    check(&local, false, Some("https://x.b.example.evil"), [Some("https://*.b.example"), None]);
}

#[test]
fn an_http_api_adds_what_browsers_need_to_answers() {
    let route = |format: Format| Route {
        format,
        method: None,
        path: "/".to_owned(),
        stage: DEFAULT.to_owned(),
        api: "api".to_owned(),
        cors: Some(cors()),
        is_guarded: false,
    };
    let asked = HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static("https://a.example"))]);
    let own =
        || {
            let names = OF_CORS.into_iter().chain(["x-own"]);
            HeaderMap::from_iter(names.map(|name| {
                (http::HeaderName::from_static(name), HeaderValue::from_static("of the function"))
            }))
        };
    let mut answered = own();
    decorate(&route(rest()), &asked, &mut answered);
    assert_eq!(answered, own());
    // What the function says of other origins is not heard.
    decorate(&route(Format::Http1), &asked, &mut answered);
    assert_eq!(answered["access-control-expose-headers"], "x-seen");
    assert_eq!(answered["access-control-allow-origin"], "https://a.example");
    assert_eq!(answered["access-control-allow-credentials"], "true");
    assert_eq!((answered.len(), &answered["x-own"]), (4, &HeaderValue::from_static("of the function")));
    let mut answered = own();
    decorate(&route(Format::Http2), &HeaderMap::new(), &mut answered);
    assert_eq!(answered.len(), 1, "{answered:?}");
    // Without rules of the API, the function's count.
    let mut answered = own();
    decorate(&Route { cors: None, ..route(Format::Http2) }, &asked, &mut answered);
    assert_eq!(answered, own());
}

/// T-043: every page could read what is the user's.
#[test]
fn every_origin_gets_no_credentials() {
    let check = |origins: &[&str], expected: (&str, bool)| {
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let route = Route {
            format: Format::Http2,
            method: None,
            path: "/".to_owned(),
            stage: DEFAULT.to_owned(),
            api: "api".to_owned(),
            cors: Some(Cors { origins, ..cors() }),
            is_guarded: false,
        };
        let asked =
            HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static("https://evil.example"))]);
        let mut answered = HeaderMap::new();
        decorate(&route, &asked, &mut answered);
        let preflight = preflight(route.cors.as_ref().unwrap(), Answers::Http, &asked);
        for headers in [&answered, preflight.headers()] {
            let has_credentials = headers.contains_key("access-control-allow-credentials");
            let origin = headers["access-control-allow-origin"].to_str().unwrap();
            assert_eq!((origin, has_credentials), expected);
        }
    };
    check(&["*"], ("*", false));
    check(&["https://a.example", "*"], ("*", false));
    check(&["https://evil.example"], ("https://evil.example", true));
    check(&["https://*"], ("https://evil.example", true));
}
