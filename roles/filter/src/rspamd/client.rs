//! The remote implementation of `Judge`: asks another node's filter over mutual TLS, or a real rspamd in clear text.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use estafeta_core::judge::{Envelope, Judge, Verdict};
use estafeta_core::members::Candidate;
use estafeta_core::sessions::BoxStream;
use estafeta_core::{Failure, Message, Reason};
use estafeta_net::role::Remote;
use estafeta_net::tls::{CONNECT, Tls};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::MessageBody;
use super::reply::Reply;
use super::{CHECK, envelope};

/// How long a verdict may take. Longer than a filter takes by default, less than edge has.
const TIME_LIMIT: Duration = Duration::from_secs(50);

/// The longest reply that is read, in bytes.
const REPLY_BYTES: usize = 1024 * 1024;

/// The most connections that are kept for the next message.
const IDLE: usize = 16;

type Sender = SendRequest<MessageBody>;

/// A judge at the other end of a network.
pub struct RemoteJudge {
    to: To,
    idle: Mutex<Vec<Sender>>,
}

enum To {
    Node(Arc<Tls>, Box<Candidate>),
    Rspamd(SocketAddr),
}

/// The client of a filter on another node. It connects when it is first asked.
pub fn connect(remote: &Remote, candidate: &Candidate) -> Arc<dyn Judge> {
    Arc::new(RemoteJudge::new(To::Node(remote.tls.clone(), Box::new(candidate.clone()))))
}

impl RemoteJudge {
    fn new(to: To) -> Self {
        Self { to, idle: Mutex::default() }
    }

    /// The client of a real rspamd's worker, in clear text: on this machine, or in a network that is to be trusted.
    pub fn rspamd(address: SocketAddr) -> Self {
        Self::new(To::Rspamd(address))
    }

    fn unavailable(&self, cause: impl std::fmt::Display) -> Failure {
        match &self.to {
            To::Node(_, candidate) => Failure::unavailable(format!(
                "filter on node {} at {}: {cause}",
                candidate.node, candidate.endpoint.address
            )),
            To::Rspamd(address) => Failure::unavailable(format!("rspamd at {address}: {cause}")),
        }
    }

    async fn open(&self) -> Result<Sender, Failure> {
        let stream: BoxStream = match &self.to {
            To::Node(tls, candidate) => tls.connect(candidate).await?.stream,
            To::Rspamd(address) => {
                let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
                Box::new(
                    connected
                        .map_err(|_| self.unavailable("no connection in time"))?
                        .map_err(|error| self.unavailable(error))?,
                )
            }
        };
        let (sender, conversation) = handshake(TokioIo::new(stream)).await.map_err(|error| self.unavailable(error))?;
        // It ends when the sender is dropped, or when the other side closes.
        tokio::spawn(conversation);
        Ok(sender)
    }

    /// A kept connection that is still open.
    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|sender| sender.is_ready())
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(sender);
        }
    }

    async fn ask(
        &self,
        mut sender: Sender,
        question: &Envelope,
        message: &Message,
    ) -> Result<(StatusCode, Bytes), hyper::Error> {
        let mut request = Request::new(MessageBody::new(message));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(CHECK);
        request.headers_mut().insert(HOST, HeaderValue::from_static("filter"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("message/rfc822"));
        envelope::write(question, request.headers_mut());
        let (head, body) = sender.send_request(request).await?.into_parts();
        // Past the limit there is no reply worth reading.
        let reply = Limited::new(body, REPLY_BYTES).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        if sender.ready().await.is_ok() {
            self.keep(sender);
        }
        Ok((head.status, reply))
    }
}

#[async_trait]
impl Judge for RemoteJudge {
    async fn judge(&self, envelope: &Envelope, message: &Message) -> Result<Verdict, Failure> {
        let asked = async {
            // A kept connection may have been closed by the other side just now; to judge twice does no harm.
            if let Some(sender) = self.kept()
                && let Ok(answer) = self.ask(sender, envelope, message).await
            {
                return Ok(answer);
            }
            let sender = self.open().await?;
            self.ask(sender, envelope, message).await.map_err(|error| self.unavailable(error))
        };
        let answer = tokio::time::timeout(TIME_LIMIT, asked).await;
        let (status, reply) =
            answer.map_err(|_| self.unavailable(format_args!("no verdict in {} s", TIME_LIMIT.as_secs())))??;
        match status {
            StatusCode::OK => serde_json::from_slice::<Reply>(&reply)
                .map_err(|error| self.unavailable(format_args!("its reply cannot be read: {error}")))?
                .into_verdict()
                .map_err(|action| self.unavailable(format_args!("it wants an unknown action: {action:?}"))),
            StatusCode::PAYLOAD_TOO_LARGE => {
                let cause = self.unavailable("the message is larger than its message_bytes").cause;
                Err(Failure::new(Reason::TooLarge, "message too large to be checked").because(cause))
            }
            status => {
                let text: String = String::from_utf8_lossy(&reply).chars().take(200).collect();
                Err(self.unavailable(format_args!("it answered {status}: {text}")))
            }
        }
    }
}
