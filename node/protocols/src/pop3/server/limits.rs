//! What a machine is told when it is made.

use crate::sasl::Mechanism;

/// The bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line that is taken, its end included, in bytes. RFC 2449 §4 says 255; programs send more of a SASL
    /// initial response than RFC 5034 §4 allows.
    pub line_bytes: usize,
    /// Commands in a row that may be faulty before the connection is closed.
    pub faults: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes: 4 * 1024, faults: 20 }
    }
}

/// How a client may say who it is. Nothing of it is open before TLS is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// STLS, where TLS is not on from the start.
    pub start_tls: bool,
    /// USER and PASS.
    pub login: bool,
    /// What AUTH takes.
    pub mechanisms: Vec<Mechanism>,
    /// How long an account has to wait from one login to the next, in seconds; whoever handles the logins refuses those
    /// that come too soon.
    pub login_delay_seconds: u32,
    /// XCLIENT: the peer is trusted to say for whom it speaks. Only between nodes.
    pub forwarding: bool,
}

impl Offer {
    /// The lines of CAPA before the login (RFC 2449 §6, RFC 2595 §4, RFC 5034 §6, RFC 6856 §2, §3).
    pub(super) fn capabilities(&self, secure: bool) -> Vec<String> {
        let mut lines = transaction_capabilities();
        if self.start_tls && !secure {
            lines.push("STLS".to_owned());
        }
        if self.login && secure {
            lines.push("USER".to_owned());
        }
        if secure && !self.mechanisms.is_empty() {
            let names: Vec<_> = self.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("SASL {}", names.join(" ")));
        }
        if self.login {
            lines.push(format!("LOGIN-DELAY {}", self.login_delay_seconds));
        }
        if self.forwarding {
            lines.push("XCLIENT".to_owned());
        }
        lines
    }
}

/// The lines of CAPA after the login. Like Dovecot we do not repeat there how one could have logged in (RFC 2449 §3
/// wants it): what greets and what opens the mailbox may be two nodes.
pub(super) fn transaction_capabilities() -> Vec<String> {
    // No message goes away by itself for having been read (EXPIRE), and names and passwords may be UTF-8 (USER).
    [
        "TOP",
        "UIDL",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "PIPELINING",
        "EXPIRE NEVER",
        "UTF8 USER",
        "LANG",
        "IMPLEMENTATION Estafeta",
    ]
    .map(str::to_owned)
    .to_vec()
}
