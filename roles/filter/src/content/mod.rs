//! What a message holds: its header fields, and every file in it, however it was wrapped.
//!
//! Invariants: nothing here panics or recurses deeper than its bounds, whatever it is fed; one [`Budget`] bounds all
//! work that one message causes. `mail_parser` parses single fields only: its parser of whole messages nests as deep as
//! the message says, which overflows the stack when the result is dropped, and decodes every part at once.

pub mod archive;
pub mod budget;
pub mod entity;
pub mod header;
pub mod search;
pub mod transfer;
pub mod uuencode;

pub use budget::{Budget, Limits, Overrun};
pub use entity::{File, walk};
