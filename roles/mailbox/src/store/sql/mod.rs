//! The store's tables, and every statement on them. Nothing outside this folder writes SQL.
//!
//! A function takes a connection: the writer's, inside its transaction, or a reader's. Rows are named by their numbers
//! here ([`AccountRow`], [`MailboxRow`]); numbers of mailboxes are never used again.

pub mod accounts;
pub mod blobs;
pub mod choice;
pub mod contents;
pub mod deleted;
pub mod deliveries;
pub mod expunging;
pub mod images;
pub mod imports;
pub mod keywords;
pub mod mailboxes;
mod marks;
pub mod messages;
pub mod metadata;
pub mod outbox;
pub mod overview;
pub mod pages;
pub mod relocation;
pub mod rights;
mod schema;
pub mod search;
pub mod unfinished;
pub mod verify;

pub use schema::{MIGRATIONS, RENEW_UIDVALIDITY};

use estafeta_storage::sql::{Column, Error, FromColumn, Row, Value};

/// A row's number, which goes into the database and comes out of it as the integer that it is.
macro_rules! row_number {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub i64);

        impl From<$name> for Value {
            fn from(row: $name) -> Self {
                row.0.into()
            }
        }

        impl<'r> FromColumn<'r> for $name {
            fn from_column(row: &'r Row, column: impl Column) -> Result<Self, Error> {
                i64::from_column(row, column).map(Self)
            }
        }
    };
}

row_number!(
    /// The number of an account's row.
    AccountRow
);
row_number!(
    /// The number of a mailbox's row: one mailbox's life, whatever it is called.
    MailboxRow
);
row_number!(
    /// The number of a blob's row.
    BlobRow
);
