//! The values that commands and responses speak of. Each type holds only legal values: what parses, encodes, and
//! parses again to the same.

mod dialect;
mod flag;
mod list_pattern;
mod mailbox_name;
pub(crate) mod modified_utf7;
mod rights;
mod section;
mod sequence_set;
mod tag;
mod uid;
mod url;
mod window;

pub use dialect::Dialect;
pub use flag::{Flag, Flags, Keyword};
pub use list_pattern::ListPattern;
pub use mailbox_name::{HIERARCHY_SEPARATOR, MailboxName, NAME_BYTES, NameError};
pub use rights::Rights;
pub use section::{Partial, Section, SectionPart};
pub use sequence_set::{Endpoint, Messages, SequenceSet};
pub use tag::Tag;
pub use uid::{NumberSet, Uid, UidSet, UidValidity};
pub use url::MessageUrl;
pub use window::Window;

pub(crate) use section::header_name;

pub use crate::date::{Date, DateTime};
