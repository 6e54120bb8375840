//! What the server machine leaves to its role.

use bytes::Bytes;

use crate::sasl::Credentials;
use crate::smtp::{ForwardPath, ReversePath};

/// Something to decide or to carry out. To all but [`Data`](Event::Data) and [`Reset`](Event::Reset) the role answers by
/// one call of [`Server::accept`](super::Server::accept) (the usual words), [`Server::reply`](super::Server::reply) (its
/// own) or, where said, [`Server::reply_each`](super::Server::reply_each). No answer is a 451. A reply of 421 or 521
/// also closes the connection.
///
/// A transaction begins with a [`Mail`](Event::Mail) that was answered positively. It ends with
/// [`EndOfMessage`](Event::EndOfMessage), with [`Reset`](Event::Reset), with a reply to `Data`, or with the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client has connected. A refusal closes the connection.
    Connected,
    /// EHLO, HELO or LHLO.
    Hello(Hello),
    /// Somebody says who they are, by name and password, over TLS. Only under [`Dialect::Submission`](crate::smtp::Dialect::Submission).
    Authenticate(Credentials),
    /// MAIL: a transaction would begin.
    Mail(Mail),
    /// RCPT: one more recipient. Only those that are answered positively count at the end of the message.
    Recipient(Recipient),
    /// A piece of the message, without the dots of DATA; to be appended to what came before. It needs no answer; an
    /// answer refuses the message: the rest of it is swallowed, and the reply is given at its end.
    Data(Bytes),
    /// The message is complete. A positive answer takes the responsibility for it (RFC 5321 §6.1). Under LMTP each
    /// accepted recipient is owed a reply of its own, in order (`reply_each`); one reply stands for all.
    EndOfMessage,
    /// The transaction ended without a message: RSET, another hello, or a message that the machine refused. What came
    /// of it is to be forgotten.
    Reset,
}

/// How a client greets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name or the address literal that it gives. Not verified; printable, at most 255 bytes.
    pub name: String,
    /// Whether it speaks ESMTP (EHLO or LHLO).
    pub extended: bool,
}

/// A transaction, as MAIL begins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Where bounces go.
    pub sender: ReversePath,
    /// The size that the client announces, in bytes; already held against the limit.
    pub size_bytes: Option<u64>,
    /// Whether the message may hold bytes above 127 (`BODY=8BITMIME`).
    pub eight_bit: bool,
    /// Whether the message or the envelope needs SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// The envelope id (`ENVID=`, RFC 3461 §4.4), decoded: printable ASCII, at most 100 bytes. Only where DSN is offered.
    pub envelope_id: Option<String>,
}

/// A recipient, as RCPT names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Where the message goes.
    pub path: ForwardPath,
    /// Whom the sender named (`ORCPT=`, RFC 3461 §4.2). Only where DSN is offered.
    pub original: Option<OriginalRecipient>,
    /// Whether the sender wants to be told when it is delivered (`NOTIFY=SUCCESS`, RFC 3461 §4.1). Only where DSN is offered.
    pub notify_success: bool,
}

/// Whom a sender named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// The type of the address: `rfc822`, whatever the case of its letters, for one of mail.
    pub kind: String,
    /// The address, decoded: printable ASCII.
    pub address: String,
}

impl OriginalRecipient {
    /// The address, if it is one of mail.
    pub fn of_mail(&self) -> Option<&str> {
        Some(self.address.as_str()).filter(|_| self.kind.eq_ignore_ascii_case("rfc822"))
    }
}
