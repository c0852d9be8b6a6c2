//! Responses in pieces, without a network: heads, ends, callers who leave or take nothing.

use http::Method;
use http_body_util::BodyExt;

use super::*;

/// An exchange whose request has no body.
fn exchange(method: Method) -> (Streamed, Closer, oneshot::Receiver<Response<Pieces>>) {
    let head = http::Request::builder().method(method).body(()).unwrap().into_parts().0;
    let (streamed, (closer, begun)) = split(&FunctionName::new("f"), &head, None);
    (streamed, closer, begun)
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a caller gets of `pieces`: the body, or `None` if it breaks off.
async fn check(
    method: Method,
    status: i64,
    head: &[(&str, &str)],
    pieces: &[&'static str],
    is_good: bool,
) -> Option<String> {
    let (streamed, closer, begun) = exchange(method);
    streamed.begin(status, headers(head)).unwrap();
    assert_eq!(closer.status().map(i64::from), Some(status));
    let body = begun.await.unwrap().into_body();
    let write = async {
        for piece in pieces {
            // Who takes no more has all that it gets.
            streamed.write(Bytes::from_static(piece.as_bytes())).await.ok();
        }
        if is_good {
            closer.finish();
        } else {
            drop(closer);
        }
    };
    let ((), collected) = tokio::join!(write, body.collect());
    collected.ok().map(|whole| String::from_utf8(whole.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn only_a_good_end_is_an_end() {
    let whole = |text: &str| Some(text.to_owned());
    assert_eq!(check(Method::GET, 200, &[], &["a", "b"], true).await, whole("ab"));
    assert_eq!(check(Method::GET, 200, &[], &[], true).await, whole(""));
    assert_eq!(check(Method::GET, 200, &[], &["a", "b"], false).await, None);
    let length = [("Content-Length", "2")];
    assert_eq!(check(Method::GET, 200, &length, &["a", "b"], true).await, whole("ab"));
    assert_eq!(check(Method::GET, 200, &length, &["a"], true).await, None, "too short");
    assert_eq!(check(Method::HEAD, 200, &length, &["a", "b"], true).await, whole(""));
    assert_eq!(check(Method::GET, 204, &[], &["a"], true).await, whole(""));
}

#[tokio::test]
async fn a_head_that_can_not_be_sent_is_the_functions_failure() {
    for (status, head) in
        [(99, headers(&[])), (200, headers(&[("a b", "c")])), (200, headers(&[("a", "b\r\nc: d")]))]
    {
        let (streamed, closer, _begun) = exchange(Method::GET);
        assert_eq!(streamed.begin(status, head).unwrap_err().code, "E0504");
        assert_eq!(closer.status(), None);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_noticed() {
    let (streamed, _closer, begun) = exchange(Method::GET);
    streamed.begin(200, Vec::new()).unwrap();
    drop(begun);
    streamed.gone().await;
    assert_eq!(streamed.write(Bytes::from_static(b"a")).await, Err(NotSent::CallerGone));
}

/// T-033: a caller who takes nothing is given up on.
#[tokio::test(start_paused = true)]
async fn a_caller_who_takes_nothing_counts_as_gone() {
    let (streamed, _closer, begun) = exchange(Method::GET);
    streamed.begin(200, Vec::new()).unwrap();
    let _body = begun.await.unwrap();
    let began = tokio::time::Instant::now();
    let mut written = 0;
    while streamed.write(Bytes::from_static(b"piece")).await.is_ok() {
        written += 1;
    }
    assert_eq!((written, began.elapsed()), (PIECES_MAX, STALL_MAX));
}

/// Whoever has as much as the response said has not left: the connection takes no more than that.
#[tokio::test]
async fn who_has_the_stated_length_has_not_left() {
    let (streamed, _closer, begun) = exchange(Method::GET);
    streamed.begin(200, headers(&[("content-length", "5")])).unwrap();
    let mut body = begun.await.unwrap().into_body();
    streamed.write(Bytes::from_static(b"piece")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(streamed.write(Bytes::from_static(b"more")).await, Ok(()));
    let gone = tokio::time::timeout(Duration::from_millis(1), streamed.gone()).await;
    assert!(gone.is_err());
}
