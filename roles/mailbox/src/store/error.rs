//! What the store refuses, and what fails under it.

use estafeta_core::{Failure, Reason};
use estafeta_storage::StorageError;

/// Why the store did not do what it was asked. The text is for the client, except behind [`StoreError::Storage`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no mailbox of this name, or it was deleted meanwhile.
    #[error("there is no such mailbox")]
    NoMailbox,
    /// The name exists, and only to hold others below it (`\Noselect`).
    #[error("this name only holds others and cannot be selected")]
    NotSelectable,
    /// A mailbox of this name exists.
    #[error("a mailbox of this name exists already")]
    Exists,
    /// Not with this mailbox: INBOX is not deleted, a mailbox is not moved below itself.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The message was expunged meanwhile.
    #[error("the message is gone")]
    NoMessage,
    /// The account's quota does not hold it.
    #[error("the mailbox has no room for this message")]
    OverQuota,
    /// The message is larger than is accepted.
    #[error("the message is too large")]
    TooLarge,
    /// A count reached its bound: mailboxes, keywords, subscriptions, UIDs.
    #[error("{0}")]
    Limit(&'static str),
    /// The change that was asked about lies so far back that it is forgotten: read the mailbox anew.
    #[error("too much time has passed, read the mailbox again")]
    Forgotten,
    /// The account is on its way to another store group, or just comes from one.
    #[error("your mail is being moved, please connect again")]
    Moving,
    /// The account lives in another store group.
    #[error("your mail has moved, please connect again")]
    Gone,
    /// What is underneath failed: the text is for the operator.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl StoreError {
    /// Whether a body is missing or damaged, and does not come back by itself.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_lost())
    }
}

impl From<estafeta_storage::sql::Error> for StoreError {
    fn from(error: estafeta_storage::sql::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let reason = match &error {
            StoreError::Storage(cause) => return cause.to_failure(),
            StoreError::NoMailbox | StoreError::NoMessage => Reason::NotFound,
            StoreError::Exists => Reason::Exists,
            StoreError::NotSelectable | StoreError::NotAllowed(_) | StoreError::Limit(_) => Reason::Denied,
            StoreError::OverQuota => Reason::OverQuota,
            StoreError::TooLarge => Reason::TooLarge,
            StoreError::Forgotten => Reason::Unavailable,
            StoreError::Moving | StoreError::Gone => Reason::Elsewhere,
        };
        Failure::new(reason, error.to_string())
    }
}
