//! What opens an account, and what of it is shown: keys, signatures, identities, certificates.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ingle_testkit::App;
use ingle_testkit::azurite::Azurite;
use serde_json::{Value, json};

use super::{CHAIN, ECHO, launch, python, wait_until_degraded};

/// Every account in the cloud speaks TLS. A certificate that this machine does not trust is refused, with the reason.
#[test]
fn an_account_is_reached_through_tls_if_its_certificate_is_trusted() {
    let azurite = Azurite::start_with_tls();
    let app = App::python(CHAIN);
    let trusting = launch(&app, &azurite.connection())
        .variable("SSL_CERT_FILE", &azurite.certificate().display().to_string());
    let server = trusting.start();
    server.post("/api/order", r#"{"name": "Eve", "total": 1}"#).status(200);
    let record = &server.invocations("book", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    let row: Value = server.get("/api/total/Eve").status(200).json();
    assert_eq!(row["Total"], 1, "{row}");
    drop(server.stop());

    let server = launch(&app, &azurite.connection()).start();
    let found = wait_until_degraded(&server, |found| !found.is_empty());
    assert!(found.iter().any(|one| one.to_lowercase().contains("certificate")), "{found:?}");
}

/// The endpoint that a hosting service gives to its machines: it hands out one token, and counts how often.
fn identity(token: String) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
    let count = asked.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
            let known =
                head.contains("x-identity-header: open sesame") && head.contains("client_id=one-of-two");
            let body = json!({"access_token": token, "expires_on": "4102444800"}).to_string();
            let status = if known { "200 OK" } else { "403 Forbidden" };
            let size = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{body}");
            drop(stream.write_all(answer.as_bytes()));
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, asked)
}

#[test]
fn a_managed_identity_opens_an_account() {
    let azurite = Azurite::start_with_tls();
    let script = "
import time
part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip('=')
now = int(time.time())
claims = {'aud': 'https://storage.azure.com', 'iss': 'https://sts.windows.net/story/', 'iat': now, 'nbf': now - 60,
    'exp': now + 3600}
print(part({'alg': 'HS256', 'typ': 'JWT'}) + '.' + part(claims) + '.c3Rvcnk')";
    let token = azurite.python(script, &[]);
    let (port, asked) = identity(token.clone());
    let whole = azurite.connection();
    let address = |service: &str| {
        let found = whole.split(';').find_map(|part| part.strip_prefix(&format!("{service}Endpoint=")));
        found.unwrap().to_owned()
    };
    let values = json!({"Cloud__queueServiceUri": address("Queue"), "Cloud__blobServiceUri": address("Blob"),
        "Cloud__tableServiceUri": address("Table"), "Cloud__clientId": "one-of-two"});
    let server = App::python(CHAIN)
        .settings(&values)
        .launch(&python())
        .variable("SSL_CERT_FILE", &azurite.certificate().display().to_string())
        .variable("IDENTITY_ENDPOINT", &format!("http://127.0.0.1:{port}/token"))
        .variable("IDENTITY_HEADER", "open sesame")
        .start();
    server.post("/api/order", r#"{"name": "Kim", "total": 3}"#).status(200);
    let record = &server.invocations("book", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    let row: Value = server.get("/api/total/Kim").status(200).json();
    assert_eq!(row["Total"], 3, "{row}");
    assert!(asked.load(Ordering::SeqCst) <= 3, "a token is kept for each service");
    let ended = server.stop();
    assert!(!ended.lines.iter().chain(&ended.stderr).any(|line| line.contains(&token)));
}

/// Given by the account's owner instead of its key: it goes with every request to all three services.
#[test]
fn a_shared_access_signature_opens_an_account() {
    let azurite = Azurite::start();
    let script = "
from datetime import datetime, timedelta, timezone
from azure.storage.blob import generate_account_sas, ResourceTypes, AccountSasPermissions
import re
name, key = re.search('AccountName=([^;]*)', connection)[1], re.search('AccountKey=([^;]*)', connection)[1]
print(generate_account_sas(name, key, ResourceTypes(service=True, container=True, object=True),
    AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True, update=True, process=True),
    datetime.now(timezone.utc) + timedelta(hours=1), services='bqt'))
";
    let signature = azurite.python(script, &[]);
    let good = azurite.connection();
    let addresses = good.split_once("BlobEndpoint").unwrap().1;
    let signed = format!("BlobEndpoint{addresses};SharedAccessSignature={signature}");
    let server = launch(&App::python(CHAIN), &signed).start();
    server.post("/api/order", r#"{"name": "Bob", "total": 7}"#).status(200);
    let record = &server.invocations("book", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    let row: Value = server.get("/api/total/Bob").status(200).json();
    assert_eq!(row["Total"], 7, "{row}");
    let ended = server.stop();
    let secret = signature.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!ended.lines.iter().chain(&ended.stderr).any(|line| line.contains(secret)));
}

/// T-041.
#[test]
fn t_041_a_broken_connection_is_told_without_its_value() {
    let key = "bm90IHRoZSBrZXkgeW91IGxvb2sgZm9y";
    let server = launch(&App::python(ECHO), &format!("AccountKey={key}")).start();
    let ready = server.ready();
    let problems = ready["problems"].as_array().unwrap();
    let all_told = problems.iter().all(|problem| problem["code"] == "E0241");
    assert!(!problems.is_empty() && all_told, "{problems:#?}");
    let message = problems[0]["message"].as_str().unwrap();
    assert_eq!(message, "the setting Cloud is no connection string: it has an AccountKey and no AccountName");
    assert_eq!(server.get("/api/alive").status(200).text(), "alive");
    let ended = server.stop();
    assert!(!ended.lines.iter().chain(&ended.stderr).any(|line| line.contains(key)));
}

/// A wrong key: the account answers, so nothing is tried again, and the reason is told without the key.
#[test]
fn t_041_a_refused_key_is_told_without_the_key() {
    let azurite = Azurite::start();
    let key = "bm90IHRoZSBrZXkgeW91IGxvb2sgZm9y";
    let good = azurite.connection();
    let (before, rest) = good.split_once("AccountKey=").unwrap();
    let (_, after) = rest.split_once(';').unwrap();
    let server = launch(&App::python(ECHO), &format!("{before}AccountKey={key};{after}")).start();
    server.get("/api/large/5").status(500);
    let refused = &server.invocations("large", 1)[0];
    assert_eq!(refused["failure"]["code"], "E0431", "{refused}");
    assert!(refused["failure"]["message"].as_str().unwrap().contains("403"), "{refused}");
    let found = wait_until_degraded(&server, |found| !found.is_empty());
    assert!(found[0].contains("403"), "{found:?}");
    let ended = server.stop();
    assert!(!ended.lines.iter().chain(&ended.stderr).any(|line| line.contains(key)));
}
