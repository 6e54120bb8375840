//! What the server says of itself: its greeting, and the extensions that it offers.

use super::authentication::MECHANISMS;
use super::{Server, Tls};
use crate::sasl::Mechanism;
use crate::smtp::Dialect;
use crate::smtp::command::Offered;
use crate::smtp::reply::Reply;

impl Server {
    pub(super) fn greeting(&self) -> Reply {
        let protocol = if self.config.dialect == Dialect::Lmtp { "LMTP" } else { "ESMTP" };
        Reply::plain(220, format!("{} {protocol} Estafeta", self.config.hostname))
    }

    pub(super) fn offered(&self) -> Offered {
        Offered {
            // RFC 3461: ENVID carries the delivery id between the cluster's nodes.
            dsn: matches!(self.config.dialect, Dialect::Lmtp | Dialect::Nodes),
            auth: self.config.dialect == Dialect::Submission && self.secured,
        }
    }

    /// The answer to EHLO: one line each (RFC 5321 §4.1.1.1).
    pub(super) fn extensions(&self) -> Reply {
        let mut lines = vec![
            self.config.hostname.clone(),
            "PIPELINING".to_owned(),
            // RFC 1870 §3.
            format!("SIZE {}", self.config.limits.message_bytes),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
            "CHUNKING".to_owned(),
        ];
        if self.config.tls == Tls::Offered && !self.secured {
            lines.push("STARTTLS".to_owned());
        }
        let Offered { dsn, auth } = self.offered();
        if auth {
            lines.push(format!("AUTH {}", MECHANISMS.map(Mechanism::name).join(" ")));
        }
        if dsn {
            lines.push("DSN".to_owned());
        }
        Reply::plain(250, lines.join("\n"))
    }
}
