//! What FETCH and SEARCH say of a message, computed from its bytes. Whatever the bytes are, there is an answer.
//!
//! Invariants: nothing is decoded that was asked for as it stands; the work is proportional to the message, for its
//! parts are bounded in number and depth.

mod address;
pub mod binary;
mod content_type;
pub mod contents;
pub mod envelope;
mod field;
pub mod fold;
mod fuzzy;
mod identifier;
mod part;
mod preview;
pub mod search;
mod section;
pub mod sort;
pub mod structure;
pub mod subject;
mod text;

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use field::Fields;
use part::Part;

pub use section::Piece;
pub use text::Searchable;

/// A message, looked at no further than is asked for: its parts are found when a first answer needs them. It is read
/// where it lies, and never copied together.
#[derive(Debug)]
pub struct Message {
    /// Whole header lines that stand before `body`; may be empty.
    prefix: Bytes,
    body: Bytes,
    /// Where the header ends in `body`, its empty line included.
    header_end: usize,
    /// Of `body`: what is put before it is no affair of MIME.
    root: OnceLock<Part>,
}

impl Message {
    /// The message that is `prefix` (whole header lines of the transport, none of MIME; or nothing) and then `body`.
    pub fn new(prefix: Bytes, body: Bytes) -> Self {
        let header_end = part::header_end(&body);
        Self { prefix, body, header_end, root: OnceLock::new() }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.body.len()
    }

    /// Whether there is not a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.body.get(range.clone()).unwrap_or_default()
    }

    fn header(&self) -> Fields<'_> {
        Fields::of(&self.prefix, &self.body[..self.header_end])
    }

    fn root(&self) -> &Part {
        self.root.get_or_init(|| Part::parse(&self.body))
    }
}
