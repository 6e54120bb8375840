//! Logging in at a mailbox node by POP3: XCLIENT with the client's address where the greeting offers it, then AUTH
//! EXTERNAL in the account's name (RFC 5034, RFC 4422 appendix A).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_core::{Address, Failure, Reason};

use super::login::{Language, Reaction};

/// The dialog.
pub(super) struct Pop3Login {
    authorization: String,
    client: SocketAddr,
    greeted: bool,
    /// The answer to XCLIENT is still to come.
    told_client: bool,
}

impl Pop3Login {
    pub(super) fn new(account: &Address, client: SocketAddr) -> Self {
        Self { authorization: BASE64.encode(account.to_string()), client, greeted: false, told_client: false }
    }
}

impl Language for Pop3Login {
    fn hear(&mut self, line: &str) -> Reaction {
        let good = line.starts_with("+OK");
        if !self.greeted {
            self.greeted = true;
            if !good {
                return Reaction::Refused(Failure::unavailable(format!("the mailbox node greets with: {line}")));
            }
            // As Dovecot tells its proxies that it believes them.
            self.told_client = line.contains("[XCLIENT]");
            let (address, port) = (self.client.ip(), self.client.port());
            let client =
                if self.told_client { format!("XCLIENT ADDR={address} PORT={port}\r\n") } else { String::new() };
            return Reaction::Send(format!("{client}AUTH EXTERNAL {}\r\n", self.authorization));
        }
        if std::mem::take(&mut self.told_client) {
            // Without it the mail is the same; only the log knows less.
            return Reaction::Wait;
        }
        match line {
            _ if good => Reaction::LoggedIn,
            "+" | "+ " => Reaction::Send(format!("{}\r\n", self.authorization)),
            refused => Reaction::Refused(refusal(refused)),
        }
    }
}

/// What a refusal means for the client (RFC 3206 §4).
fn refusal(line: &str) -> Failure {
    let (reason, client) = if line.contains("[SYS/TEMP]") || line.contains("[IN-USE]") {
        (Reason::Unavailable, "temporarily unavailable, try again later")
    } else if line.contains("[LOGIN-DELAY]") {
        (Reason::Busy, "too many connections, try again later")
    } else if line.contains("[AUTH]") || line.contains("[SYS/PERM]") {
        (Reason::Denied, "you may not open this mailbox")
    } else {
        (Reason::Internal, "temporarily unavailable, try again later")
    };
    Failure::new(reason, client).because(format!("the mailbox node refuses the session: {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::login::Login;
    use super::super::login::tests::play;
    use super::*;

    fn login() -> Login<Pop3Login> {
        Login::new(Pop3Login::new(&"ana@example.edu".parse().unwrap(), "[2001:db8::7]:4711".parse().unwrap()))
    }

    #[test]
    fn with_and_without_xclient() {
        let (sent, outcome) = play(&mut login(), b"+OK [XCLIENT] Dovecot ready.\r\n+OK Updated\r\n+OK Logged in.\r\n");
        assert_eq!(sent, "XCLIENT ADDR=2001:db8::7 PORT=4711\r\nAUTH EXTERNAL YW5hQGV4YW1wbGUuZWR1\r\n");
        assert_eq!(outcome, Some(Ok(())));
        let (sent, outcome) = play(&mut login(), b"+OK ready\r\n+ \r\n+OK Logged in.\r\n");
        assert_eq!(sent, "AUTH EXTERNAL YW5hQGV4YW1wbGUuZWR1\r\nYW5hQGV4YW1wbGUuZWR1\r\n");
        assert_eq!(outcome, Some(Ok(())));
    }

    #[test]
    fn refusals_say_whether_another_node_may_help() {
        for (server, reason) in [
            ("-ERR full\r\n", Reason::Unavailable),
            ("+OK\r\n-ERR [SYS/TEMP] later\r\n", Reason::Unavailable),
            ("+OK\r\n-ERR [AUTH] no\r\n", Reason::Denied),
            ("+OK [XCLIENT]\r\n-ERR\r\n-ERR [SYS/PERM] no\r\n", Reason::Denied),
            ("+OK\r\n-ERR no\r\n", Reason::Internal),
        ] {
            assert_eq!(play(&mut login(), server.as_bytes()).1.unwrap().unwrap_err().reason, reason, "{server}");
        }
    }
}
