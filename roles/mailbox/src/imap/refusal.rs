//! Why a command is not carried out, and what the client hears of it.

use std::io;

use estafeta_core::{Failure, Reason};
use estafeta_protocols::imap::response::{Code, Completion};

use crate::store::StoreError;

/// What ends a command before it is done.
#[derive(Debug)]
pub(super) enum Refused {
    /// The client is answered so.
    Answer(Completion<'static>),
    /// What the client knows can no longer be kept true: the session ends, with these last words.
    End(&'static str),
    /// The client is gone.
    Gone(io::Error),
}

/// How a command ends.
pub(super) type Outcome = Result<Completion<'static>, Refused>;

impl Refused {
    pub(super) fn no(text: &'static str) -> Self {
        Self::Answer(Completion::no(text))
    }

    /// The same, for a command that would put messages into a mailbox: the client may make it (RFC 3501 §6.3.11,
    /// §6.4.7).
    pub(super) fn of_target(error: StoreError) -> Self {
        match error {
            StoreError::NoMailbox => Self::Answer(Completion::no("There is no such mailbox").with(Code::TryCreate)),
            other => other.into(),
        }
    }

    /// The same, of the mailbox that is open: without it, there is nothing left to talk of.
    pub(super) fn of_selected(error: StoreError) -> Self {
        match error {
            StoreError::NoMailbox => Self::End("The selected mailbox was deleted"),
            other => other.into(),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoMailbox => Code::NonExistent,
            StoreError::NotSelectable | StoreError::NotAllowed(_) => Code::Cannot,
            StoreError::Exists => Code::AlreadyExists,
            StoreError::NoMessage => Code::ExpungeIssued,
            StoreError::OverQuota => Code::OverQuota,
            StoreError::TooLarge => Code::TooBig,
            StoreError::Limit(_) => Code::Limit,
            StoreError::Forgotten => return Self::End("The mailbox changed too much, please select it again"),
            // Where it is now, the client finds by connecting again.
            StoreError::Moving | StoreError::Gone => {
                return Self::End("Your mail is being moved, please connect again");
            }
            StoreError::Storage(_) => return Failure::from(error).into(),
        };
        Self::Answer(Completion::no(error.to_string()).with(code))
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let code = match failure.reason {
            Reason::Unavailable | Reason::Busy | Reason::Elsewhere => Code::Unavailable,
            Reason::Internal => Code::ServerBug,
            Reason::Credentials => Code::AuthenticationFailed,
            Reason::Denied => Code::NoPermission,
            Reason::NotFound => Code::NonExistent,
            Reason::Exists => Code::AlreadyExists,
            Reason::Invalid => Code::Cannot,
            Reason::OverQuota => Code::OverQuota,
            Reason::TooLarge => Code::TooBig,
        };
        if !failure.cause.is_empty() {
            tracing::warn!(%failure, "an IMAP command failed");
        }
        Self::Answer(Completion::no(failure.client).with(code))
    }
}
