//! Requests to others, and how they fare.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;

/// Asks for a URL: the status and the body, or the name of the error.
pub(crate) async fn get(url: &str) -> Result<(u16, String), String> {
    let request = request(url)?;
    let answer = client::send(request).await.map_err(name)?;
    let status = answer.get_status_code();
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (stream, trailers) = Response::consume_body(answer, result);
    let body = stream.collect().await;
    trailers.await.map_err(name)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn request(url: &str) -> Result<Request, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL has a scheme")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (trailers, after) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _sent) = Request::new(Fields::new(), None, after, None);
    let set = request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| format!("no such URL: {url}"))?;
    Ok(request)
}

/// The name of an error, without what it holds.
fn name(code: ErrorCode) -> String {
    let told = format!("{code:?}");
    let end = told.find(|c: char| !c.is_alphanumeric() && c != '-' && c != ':');
    let name = told.get(..end.unwrap_or(told.len())).unwrap_or_default();
    name.rsplit("::").next().unwrap_or_default().to_owned()
}

/// Waits for two at once.
pub(crate) async fn both<A, B>(
    one: impl Future<Output = A>,
    two: impl Future<Output = B>,
) -> (A, B) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let (mut first, mut second) = (None, None);
    poll_fn(move |cx| {
        if first.is_none()
            && let Poll::Ready(it) = one.as_mut().poll(cx)
        {
            first = Some(it);
        }
        if second.is_none()
            && let Poll::Ready(it) = two.as_mut().poll(cx)
        {
            second = Some(it);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one, two) => {
                (first, second) = (one, two);
                Poll::Pending
            }
        }
    })
    .await
}
