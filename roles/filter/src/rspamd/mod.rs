//! rspamd's HTTP protocol (<https://docs.rspamd.com/developers/protocol>), as server and as client: `POST /checkv2`
//! with the envelope in header fields and the message as the body, answered in JSON; `GET /ping`.

mod body;
pub mod client;
pub mod envelope;
pub mod reply;
pub mod server;

/// Where messages are judged.
const CHECK: &str = "/checkv2";
