//! What of an account travels from one store group to another, as JSON: all that the store knows of it, under the same
//! numbers.

use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_storage::blobs::BlobHash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes, which JSON has as base64.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Octets(Vec<u8>);

impl From<Vec<u8>> for Octets {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Octets> for Vec<u8> {
    fn from(octets: Octets) -> Self {
        octets.0
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Self).map_err(de::Error::custom)
    }
}

/// Entries by name (RFC 5464).
pub type Entries = Vec<(String, Octets)>;

/// An account without its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOfAccount {
    /// Its mailboxes.
    pub mailboxes: Vec<ImageOfMailbox>,
    /// Its subscriptions, by name.
    pub subscriptions: Vec<String>,
    /// Its own entries.
    pub entries: Entries,
    /// The address that it shares under.
    pub shares_as: Option<String>,
}

/// A mailbox without its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOfMailbox {
    /// Its row there.
    pub number: i64,
    /// What stands for it (RFC 8474).
    pub object_number: i64,
    /// Its name.
    pub name: String,
    /// Whether it is a mailbox, or only holds others.
    pub selectable: bool,
    /// As LIST shows it.
    pub special_use: Option<String>,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: i64,
    /// HIGHESTMODSEQ.
    pub modseq: i64,
    /// UIDs from here on are recent.
    pub recent_from: i64,
    /// Word of expunged messages up to this one may be forgotten.
    pub forgotten_modseq: i64,
    /// How many messages.
    pub messages: i64,
    /// How many bytes.
    pub size_bytes: i64,
    /// Its keywords, by number.
    pub keywords: Vec<String>,
    /// Whom its owner named.
    pub rights: Vec<Given>,
    /// Its entries for everybody.
    pub shared: Entries,
    /// Its owner's.
    pub private: Entries,
}

/// Rights that were given or taken (RFC 4314).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// As the database has it.
    pub identifier: String,
    /// Taken, not given.
    pub negative: bool,
    /// The account that is meant, 16 bytes; none for everybody.
    pub account: Option<Octets>,
    /// As bits.
    pub rights: i64,
}

/// A message without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOfMessage {
    /// Its UID.
    pub uid: u32,
    /// Its last change.
    pub modseq: i64,
    /// Its system flags, as bits.
    pub flags: i64,
    /// Its keywords, as bits.
    pub keywords: i64,
    /// In bytes, prefix and body.
    pub size: i64,
    /// In seconds since 1970.
    pub internal_date: i64,
    /// In seconds since 1970.
    pub saved: i64,
    /// Its body's hash.
    pub hash: Octets,
    /// What stands before the body.
    pub prefix: Octets,
}

impl ImageOfMessage {
    /// What its body is called; none when that is no hash.
    pub fn body(&self) -> Option<BlobHash> {
        <[u8; 32]>::try_from(&self.hash[..]).ok().map(BlobHash)
    }
}

/// Messages that were expunged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expunged {
    /// By which change.
    pub modseq: i64,
    /// The first UID and the last one: all between were expunged.
    pub uids: (u32, u32),
    /// When, in seconds since 1970.
    pub at: i64,
}

/// Some of a mailbox's changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Messages in the order of their changes.
    pub messages: Vec<ImageOfMessage>,
    /// Expunged ones, in the order of their changes.
    pub expunged: Vec<Expunged>,
}
