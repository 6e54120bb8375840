//! HTTP/1.1 between nodes and for the administrator: a router served on any connection, and a client that asks once.

use std::io;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use estafeta_core::Failure;
use estafeta_core::sessions::BoxStream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;

use crate::connection::Connection;
use crate::drain::Drain;

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Serves `router` on a connection until it ends or the drain begins. A peer that proved itself a node is found by the
/// handlers as an `Extension<PeerIdentity>`.
pub async fn serve(connection: Connection, router: Router, drain: Drain) {
    let router = match connection.identity {
        Some(identity) => router.layer(axum::Extension(identity)),
        None => router,
    };
    serve_stream(connection.stream, router, drain).await;
}

/// Serves `router` on a stream of any kind, a Unix socket for one.
pub async fn serve_stream(stream: BoxStream, router: Router, drain: Drain) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    let mut conversation =
        std::pin::pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let result = tokio::select! {
        result = conversation.as_mut() => result,
        () = drain.begun() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP conversation ended");
    }
}

/// Sends one request on `stream` and reads the whole answer, of at most `limit_bytes`.
pub async fn ask(
    stream: BoxStream,
    request: Request<Full<Bytes>>,
    limit_bytes: usize,
) -> Result<Response<Bytes>, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::unavailable(format!("the HTTP conversation broke: {error}"));
    let (mut sender, conversation) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let conversation = tokio::spawn(conversation);
    let (mut head, body) = request.into_parts();
    head.headers.entry(HOST).or_insert(hyper::header::HeaderValue::from_static("estafeta.invalid"));
    let answer = async {
        let answer = sender.send_request(Request::from_parts(head, body)).await.map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, limit_bytes).collect().await.map_err(|error| broken(&error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
    .await;
    conversation.abort();
    answer
}

/// A Unix socket to which only its owner and its group may connect.
pub fn bind_unix(path: &std::path::Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
