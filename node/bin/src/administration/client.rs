//! Asking the administration API: over the node's Unix socket, or another node by mutual TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::administration::Administration;
use estafeta_core::joining::{JOIN, JoinRequest, Joined};
use estafeta_core::sessions::BoxStream;
use estafeta_core::{Failure, NodeName, Reason};
use estafeta_net::http;
use estafeta_net::tls::{Tls, connect_by_fingerprint};
use http_body_util::Full;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{FORWARDED, path};

/// The largest answer that is read, in bytes: a list of 100,000 accounts is some 30 MB.
const ANSWER_BYTES: usize = 64 << 20;

/// How long an operation may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node's administration API through its Unix socket.
pub struct SocketClient(pub PathBuf);

#[async_trait]
impl Administration for SocketClient {
    async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        let stream = UnixStream::connect(&self.0).await.map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    "is the node running? start it, or name its socket with --socket or its configuration with --config"
                }
                io::ErrorKind::PermissionDenied => "only root and the node's own user and group may administrate it",
                _ => "the socket cannot be used",
            };
            let reason =
                if error.kind() == io::ErrorKind::PermissionDenied { Reason::Denied } else { Reason::Unavailable };
            Failure::new(reason, format!("{}: {error}: {mend}", self.0.display()))
        })?;
        ask(Box::new(stream), operation, &input, false).await
    }
}

/// Passes an operation on to another node.
pub async fn ask_node(
    tls: &Tls,
    node: &NodeName,
    address: SocketAddr,
    operation: &str,
    input: &Value,
) -> Result<Value, Failure> {
    let connection = tls.connect_node(node, address).await?;
    ask(connection.stream, operation, input, true).await
}

/// Asks any node to be let into the cluster, without a certificate: the token says which cluster it must be.
pub async fn ask_to_join(address: SocketAddr, fingerprint: [u8; 32], request: &JoinRequest) -> Result<Joined, Failure> {
    let connection = connect_by_fingerprint(address, fingerprint).await?;
    let input = serde_json::to_value(request).map_err(Failure::internal)?;
    let answer = ask(connection.stream, JOIN, &input, false).await?;
    serde_json::from_value(answer)
        .map_err(|error| Failure::internal(format_args!("{JOIN} was answered with something else: {error}")))
}

async fn ask(stream: BoxStream, operation: &str, input: &Value, forwarded: bool) -> Result<Value, Failure> {
    let mut request = Request::post(path(operation)).header(CONTENT_TYPE, "application/json");
    if forwarded {
        request = request.header(FORWARDED, "1");
    }
    let body = serde_json::to_vec(input).map_err(Failure::internal)?;
    let request = request.body(Full::new(Bytes::from(body))).map_err(Failure::internal)?;
    let answer = tokio::time::timeout(PATIENCE, http::ask(stream, request, ANSWER_BYTES))
        .await
        .unwrap_or_else(|_| Err(Failure::unavailable(format!("no answer within {} seconds", PATIENCE.as_secs()))))?;
    let unreadable = |error| Failure::internal(format_args!("an answer that is none: {error}"));
    if answer.status().is_success() {
        return serde_json::from_slice(answer.body()).map_err(unreadable);
    }
    Err(serde_json::from_slice(answer.body()).unwrap_or_else(unreadable))
}
