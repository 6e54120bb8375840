//! What goes wrong between roles: who must act, whether to try again, and two texts: one that the client may read, one
//! for the operator.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether trying the same again may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Try again later, here or at another node.
    Temporary,
    /// The same request will fail again.
    Permanent,
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Whoever asked: the request was wrong or not allowed.
    Client,
    /// Whoever runs the cluster.
    Operator,
}

/// The kind of a failure. Status codes of every protocol, exit codes and retries derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody who could do it can be reached now.
    Unavailable,
    /// A limit of load or rate is reached: ask again later.
    Busy,
    /// Something broke on our side.
    Internal,
    /// The name or the password is wrong.
    Credentials,
    /// Known who asks, and it is not allowed.
    Denied,
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists already.
    Exists,
    /// The request makes no sense as it stands.
    Invalid,
    /// The mailbox has no room.
    OverQuota,
    /// Larger than is accepted.
    TooLarge,
    /// What was named lives elsewhere now, or is on its way there: ask anew where.
    Elsewhere,
}

impl Reason {
    /// Whether to try again.
    pub fn persistence(self) -> Persistence {
        match self {
            Self::Unavailable | Self::Busy | Self::Internal | Self::OverQuota | Self::Elsewhere => {
                Persistence::Temporary
            }
            _ => Persistence::Permanent,
        }
    }

    /// Who must act.
    pub fn actor(self) -> Actor {
        match self {
            Self::Unavailable | Self::Internal => Actor::Operator,
            _ => Actor::Client,
        }
    }
}

/// An error that crosses a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub reason: Reason,
    /// What the client may read: no names of hosts, paths or software.
    pub client: String,
    /// What the operator reads in the log; empty when the client's text says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

impl Failure {
    /// A failure that the client's text explains fully.
    pub fn new(reason: Reason, client: impl Into<String>) -> Self {
        Self { reason, client: client.into(), cause: String::new() }
    }

    /// Adds the operator's text.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = cause.to_string();
        self
    }

    /// Nobody who could do it answers.
    pub fn unavailable(cause: impl fmt::Display) -> Self {
        Self::new(Reason::Unavailable, UNAVAILABLE).because(cause)
    }

    /// Something broke on our side.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Reason::Internal, INTERNAL).because(cause)
    }

    /// Whether to try again.
    pub fn is_temporary(&self) -> bool {
        self.reason.persistence() == Persistence::Temporary
    }
}

/// What a client reads when the cause is nothing to it. It tells an operator nothing.
const UNAVAILABLE: &str = "temporarily unavailable, try again later";
const INTERNAL: &str = "internal error, try again later";

/// All that there is to know: for the operator, never for a client.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.client.as_str(), self.cause.as_str()) {
            (client, "") => f.write_str(client),
            (UNAVAILABLE | INTERNAL, cause) => f.write_str(cause),
            // One text that has the other in it says both.
            (client, cause) if client.contains(cause) => f.write_str(client),
            (client, cause) => write!(f, "{client} ({cause})"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_the_cause_and_no_text_twice() {
        let invalid = |client: &str| Failure::new(Reason::Invalid, client);
        for (failure, text) in [
            (Failure::internal("the disk is gone"), "the disk is gone"),
            (Failure::unavailable("no primary answers"), "no primary answers"),
            (invalid("no such file").because(""), "no such file"),
            (
                invalid("/x: no such file (os error 2)").because("no such file (os error 2)"),
                "/x: no such file (os error 2)",
            ),
            (invalid("it cannot be read").because("line 3"), "it cannot be read (line 3)"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }
}
