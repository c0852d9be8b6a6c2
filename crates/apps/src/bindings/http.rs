//! `httpTrigger` and `http`.

use ingle_types::spec::{AuthLevel, BindingKind, HttpTrigger};

use super::Reported;
use super::properties::Properties;

/// First segments that belong to the server itself.
const RESERVED: [&str; 2] = ["admin", "runtime"];

pub(super) fn trigger(properties: &mut Properties<'_>) -> Result<HttpTrigger, Reported> {
    properties.direction(&["in"], "in")?;
    if properties.text("webHookType")?.is_some_and(|kind| !kind.is_empty()) {
        let message =
            "webHookType has no effect: the function gets every request as it was sent, also unsigned ones";
        properties.warn("E0233", "webHookType", message.to_owned(), "remove it");
    }
    let auth_level =
        match properties.one_of("authLevel", &["anonymous", "function", "admin", "user", "system"])? {
            Some("anonymous") => AuthLevel::Anonymous,
            Some("admin" | "system") => AuthLevel::Admin,
            // The cloud's default too.
            _ => AuthLevel::Function,
        };
    let mut methods: Vec<String> = Vec::new();
    for method in properties.texts("methods")? {
        let method = method.trim().to_uppercase();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let fix = "write methods such as GET and POST";
            return Err(properties.error("E0232", "methods", format!("`{method}` is no HTTP method"), fix));
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(HttpTrigger { route: route(properties)?, methods, auth_level })
}

fn route(properties: &mut Properties<'_>) -> Result<String, Reported> {
    let route = properties.text("route")?.unwrap_or_else(|| properties.function().to_owned());
    let route = route.trim_matches('/').to_owned();
    let first = route.split('/').next().unwrap_or_default();
    // The cloud refuses every route that starts with these letters; only the whole segment can collide here.
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(first)) {
        let message = format!("the route `{route}` starts with `{first}`, which belongs to the server");
        return Err(properties.error("E0227", "route", message, "start the route with another word"));
    }
    Ok(route)
}

pub(super) fn output(properties: &mut Properties<'_>) -> Result<BindingKind, Reported> {
    properties.direction(&["out"], "out")?;
    Ok(BindingKind::HttpOutput)
}
