//! What client and server agreed on by ENABLE (RFC 5161), as far as it changes how both write.

/// How both speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// `IMAP4rev2`: the client hears nothing of what RFC 9051 appendix E has taken away.
    pub rev2: bool,
    /// `UTF8=ACCEPT`: quoted strings hold UTF-8 (RFC 9755 §3).
    pub utf8: bool,
    /// `UIDONLY`: messages are named by their UIDs alone (RFC 9586 §3).
    pub uid_only: bool,
}

impl Dialect {
    /// Whether strings and mailbox names are written in UTF-8, and not in modified UTF-7 (RFC 9051 §5.1, RFC 9755 §3).
    pub fn is_utf8(self) -> bool {
        self.rev2 || self.utf8
    }
}
