//! A message on its way, and the name of the transaction that carries it.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::NameError;

/// Names one accepted transaction from edge to mailbox, across retries and nodes. Sorted by time of birth (UUID
/// version 7, RFC 9562 §5.7). It is also the id under which a message's way is found in the logs of all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId(pub Uuid);

impl DeliveryId {
    /// A new one.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// As it goes between nodes, as ENVID (RFC 3461 §4.4). No stranger calls a message so by chance: what they call theirs comes
    /// through other people's servers, and is not ours to know repeats by.
    pub fn to_envelope_id(self) -> String {
        format!("{ENVELOPE_ID}{self}")
    }

    /// The way back; none when it is a stranger's.
    pub fn from_envelope_id(text: &str) -> Option<Self> {
        text.strip_prefix(ENVELOPE_ID)?.parse().ok()
    }
}

/// How the delivery ids of the cluster begin as envelope ids.
const ENVELOPE_ID: &str = "estafeta-";

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Uuid::parse_str(text).map(Self).map_err(|_| NameError(format!("{text:?} is not a delivery id (a UUID)")))
    }
}

/// A whole message, readable again and again, cheap to clone: some bytes put before (trace headers) and the body as it
/// came. The body is memory up to 256 KB and a mapped file beyond (`estafeta_storage::spool` makes them), so that a
/// large message never stands on the heap.
///
/// Invariant: the body is a message by itself, and begins with its own header; the prefix holds nothing but header
/// fields that were added on the way. So whoever looks at the author's header or the MIME structure may read the body
/// alone. Who changes the header makes a new body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    prefix: Bytes,
    body: Bytes,
}

impl Message {
    /// A message with nothing put before it: header, empty line, text. Lines end in CRLF.
    pub fn new(body: Bytes) -> Self {
        Self { prefix: Bytes::new(), body }
    }

    /// The same message with `lines` put before all: whole header lines, each ended by CRLF.
    #[must_use]
    pub fn with_prefix(&self, lines: impl Into<Bytes>) -> Self {
        let lines: Bytes = lines.into();
        let prefix = if self.prefix.is_empty() { lines } else { [lines, self.prefix.clone()].concat().into() };
        Self { prefix, body: self.body.clone() }
    }

    /// The size in bytes, the prefix included.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.body.len()
    }

    /// Whether there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was put before.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The message that came: its own header first, whatever was put before.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The parts in order: what a writer sends.
    pub fn parts(&self) -> [&Bytes; 2] {
        [&self.prefix, &self.body]
    }

    /// The message in one piece: copied when there is a prefix, so ask for it only where a parser needs it.
    pub fn contiguous(&self) -> Bytes {
        if self.prefix.is_empty() {
            self.body.clone()
        } else {
            [self.prefix.as_ref(), self.body.as_ref()].concat().into()
        }
    }
}
