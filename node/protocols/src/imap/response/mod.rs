//! What a server says. [`Output`] is the one writer: each file here adds the responses of one concept to it.
//!
//! Invariants: nothing that is written can break a line or a literal, whatever text it is given; a large body is
//! passed on without being copied.

mod acl;
pub mod code;
pub mod completion;
pub mod fetch;
pub mod list;
pub mod mailbox;
pub mod metadata;
mod output;
pub mod quota;
mod string;

pub use code::Code;
pub use completion::{Completion, Condition};
pub use fetch::FetchItems;
pub use list::{Attribute, ListEntry};
pub use mailbox::StatusValue;
pub use output::Output;
pub use quota::QuotaResource;
