//! The server: judges messages for other nodes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use estafeta_core::judge::Judge;
use estafeta_core::{Failure, Message, Reason};
use estafeta_storage::StorageError;
use estafeta_storage::spool::SpoolDirectory;
use http_body_util::BodyExt;
use mail_parser::parsers::MessageStream;
use serde_json::json;

use super::reply::Reply;
use super::{CHECK, envelope};
use crate::content::header;
use crate::health;

/// How long a client may take to send the next piece of a message.
const PIECE: Duration = Duration::from_secs(30);

/// What the server works with.
pub struct Server {
    /// Who judges.
    pub judge: Arc<dyn Judge>,
    /// Where messages stand while they come in.
    pub spools: SpoolDirectory,
    /// The largest message, in bytes.
    pub message_bytes: u64,
}

/// The requests that are answered.
pub fn router(server: Server) -> Router {
    Router::new().route(CHECK, post(check)).route("/ping", get(async || "pong\r\n")).with_state(Arc::new(server))
}

async fn check(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Response {
    let envelope = envelope::read(&headers);
    let verdict = match server.receive(body).await {
        Ok(message) => {
            server.judge.judge(&envelope, &message).await.map(|verdict| Reply::new(&verdict, message_id(&message)))
        }
        Err(failure) => Err(failure),
    };
    match verdict {
        Ok(reply) => Json(reply).into_response(),
        Err(failure) => {
            if !health::is_probe(&envelope) {
                tracing::warn!(id = %envelope.id, %failure, "a question could not be answered");
            }
            let status = match failure.reason {
                Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Reason::Invalid => StatusCode::BAD_REQUEST,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            // Both texts: whoever asks is a node of ours, and its operator reads them.
            (status, Json(json!({ "error": failure.to_string(), "error_domain": "filter" }))).into_response()
        }
    }
}

impl Server {
    async fn receive(&self, mut body: Body) -> Result<Message, Failure> {
        let mut spool = self.spools.spool(self.message_bytes);
        let broken = |cause: &dyn std::fmt::Display| {
            Failure::new(Reason::Invalid, "the message did not come whole").because(cause)
        };
        loop {
            let frame = tokio::time::timeout(PIECE, body.frame()).await.map_err(|_| broken(&"nothing came in time"))?;
            let Some(frame) = frame else { break };
            if let Ok(piece) = frame.map_err(|error| broken(&error))?.into_data() {
                spool.write(&piece).await.map_err(refused)?;
            }
        }
        spool.finish().await.map_err(refused)
    }
}

fn refused(error: StorageError) -> Failure {
    match error {
        StorageError::TooLarge { .. } => {
            Failure::new(Reason::TooLarge, "message too large to be checked").because(error)
        }
        error => Failure::unavailable(error),
    }
}

/// The message's own id, without angle brackets; for logs.
fn message_id(message: &Message) -> String {
    let (head, _) = header::split(message.body());
    let field = header::find(head, "Message-ID");
    let id = field.and_then(|field| MessageStream::new(field.value).parse_id().into_text());
    id.map(|id| id.chars().take(255).collect()).unwrap_or_default()
}
