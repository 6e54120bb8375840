//! The store's tables on SQLite, and every statement on them. Nothing outside this folder writes SQL.
//!
//! A function takes a connection: the writer's, inside its transaction, or a reader's. Rows are named by their numbers
//! here ([`AccountRow`], [`MailboxRow`]); numbers of mailboxes are never used again.

pub mod accounts;
pub mod blobs;
pub mod deliveries;
pub mod keywords;
pub mod mailboxes;
pub mod messages;
mod schema;

pub use schema::MIGRATIONS;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{Sqlite, SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Type};

/// A row's number, which goes into the database and comes out of it as the integer that it is.
macro_rules! row_number {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub i64);

        impl Type<Sqlite> for $name {
            fn type_info() -> SqliteTypeInfo {
                <i64 as Type<Sqlite>>::type_info()
            }
        }

        impl Encode<'_, Sqlite> for $name {
            fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
                self.0.encode_by_ref(buffer)
            }
        }

        impl<'r> Decode<'r, Sqlite> for $name {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                i64::decode(value).map(Self)
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
