//! The API's listeners and its one handler: a path names an operation, the body is its input, the answer is JSON.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use estafeta_cluster::enrolment::ADMINISTRATION;
use estafeta_core::administration::Administration;
use estafeta_core::{Failure, Reason};
use estafeta_net::accept::{ConnectionLimits, Security, serve};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::http;
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::Tls;
use serde_json::Value;

use super::caller::{Caller, ThroughOwnSocket};
use super::{AdministrationRouter, FORWARDED, openapi};

/// The largest input, in bytes.
const INPUT_BYTES: usize = 1 << 20;

/// How many conversations at once, by socket or by TLS.
const CONVERSATIONS: usize = 256;

/// How many conversations at once with whoever shows no certificate, and how long each may be: they take no room from the
/// nodes.
const STRANGERS: usize = 8;
const STRANGERS_TIME: Duration = Duration::from_secs(90);

/// Serves the API on the Unix socket and, in a cluster, to the other nodes.
pub fn listen(
    router: &Arc<AdministrationRouter>,
    socket: &Path,
    sockets: &Sockets,
    tls: Arc<Tls>,
) -> io::Result<Drain> {
    let drain = Drain::new();
    let api = Router::new()
        .route("/v1/openapi.json", get(describe))
        .route("/v1/{*operation}", post(perform))
        .layer(DefaultBodyLimit::max(INPUT_BYTES))
        .with_state(Api { router: router.clone(), tls: tls.clone() });
    let unix = http::bind_unix(socket)?;
    let own = api.clone().layer(axum::Extension(ThroughOwnSocket));
    drain.spawn("administration", serve_unix(unix, own, drain.clone()));
    let strangers = Arc::new(tokio::sync::Semaphore::new(STRANGERS));
    for listener in sockets.tcp(&ADMINISTRATION.0)? {
        let (api, talking, strangers, known) = (api.clone(), drain.clone(), strangers.clone(), tls.clone());
        let talk = move |connection: Connection| {
            let is_member = connection.identity.as_ref().is_some_and(|peer| !known.is_shut_out(peer));
            talk(connection, is_member, api.clone(), talking.clone(), strangers.clone())
        };
        let limits = ConnectionLimits { connections: CONVERSATIONS, connections_per_address: CONVERSATIONS };
        let security = Security::ClusterAndStrangers(tls.clone());
        drain.spawn("administration", serve(listener, ADMINISTRATION.0, security, limits, drain.clone(), talk));
    }
    Ok(drain)
}

/// What requests are answered from.
#[derive(Clone)]
struct Api {
    router: Arc<AdministrationRouter>,
    /// Knows who was removed.
    tls: Arc<Tls>,
}

/// Talks with a node, or for a while with one of few strangers.
async fn talk(
    connection: Connection,
    is_member: bool,
    api: Router,
    drain: Drain,
    strangers: Arc<tokio::sync::Semaphore>,
) {
    if is_member {
        return http::serve(connection, api, drain).await;
    }
    let peer = connection.peer;
    let Ok(_room) = strangers.try_acquire() else {
        tracing::info!(client = %peer, "too many conversations with callers without a certificate: closed");
        return;
    };
    if tokio::time::timeout(STRANGERS_TIME, http::serve(connection, api, drain)).await.is_err() {
        tracing::info!(client = %peer, "a conversation with a caller without a certificate was cut off");
    }
}

async fn serve_unix(listener: tokio::net::UnixListener, api: Router, drain: Drain) {
    let room = Arc::new(tokio::sync::Semaphore::new(CONVERSATIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.begun() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (api, talking) = (api.clone(), drain.clone());
                drain.spawn("administration", async move {
                    http::serve_stream(Box::new(stream), api, talking).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the administration socket accepts nothing now");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn describe(State(Api { router, tls }): State<Api>, extensions: Extensions) -> Response {
    match Caller::of(&extensions, &tls) {
        Caller::Stranger | Caller::Removed(_) => StatusCode::FORBIDDEN.into_response(),
        _ => Json(openapi::description(router.table())).into_response(),
    }
}

async fn perform(
    State(Api { router, tls }): State<Api>,
    UrlPath(words): UrlPath<String>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = Caller::of(&extensions, &tls);
    let operation = words.replace('/', " ");
    let input = if body.is_empty() { Ok(Value::Object(Default::default())) } else { serde_json::from_slice(&body) };
    let input = input.map_err(|error| Failure::new(Reason::Invalid, format!("the input is not JSON: {error}")));
    let allowed = input.and_then(|input| match router.table().get(&operation) {
        // The router says that there is none; a stranger learns nothing.
        None => caller.check_known().map(|()| input),
        Some(row) => caller.may_ask(row, &input).map(|()| input),
    });
    let answer = match allowed {
        Err(failure) => Err(failure),
        Ok(input) if headers.contains_key(FORWARDED) => router.perform_here(&operation, input).await,
        Ok(input) => router.perform(&operation, input).await,
    };
    let changes = router.table().get(&operation).is_some_and(|row| row.changes);
    match answer {
        Ok(answer) => {
            if changes {
                tracing::info!(operation, ?caller, "administration");
            }
            Json(answer).into_response()
        }
        Err(failure) => {
            tracing::info!(operation, ?caller, %failure, "administration: refused");
            (status(failure.reason), Json(failure)).into_response()
        }
    }
}

fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::Unavailable | Reason::Elsewhere => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Busy => StatusCode::TOO_MANY_REQUESTS,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::Credentials => StatusCode::UNAUTHORIZED,
        Reason::Denied => StatusCode::FORBIDDEN,
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::Exists => StatusCode::CONFLICT,
        Reason::Invalid => StatusCode::BAD_REQUEST,
        Reason::OverQuota => StatusCode::INSUFFICIENT_STORAGE,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
