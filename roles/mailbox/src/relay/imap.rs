//! Logging in at a mailbox node by IMAP: ID with the client's address, then AUTHENTICATE EXTERNAL in the account's name
//! (RFC 2971, RFC 4422 appendix A, RFC 4959).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use estafeta_core::{Address, Failure, Reason};

use super::login::{Language, Reaction};

/// The dialog.
pub(super) struct ImapLogin {
    authorization: String,
    client: SocketAddr,
    greeted: bool,
    authenticated: bool,
    /// What the server can do once we are in.
    pub(super) capabilities: String,
}

impl ImapLogin {
    pub(super) fn new(account: &Address, client: SocketAddr) -> Self {
        let authorization = BASE64.encode(account.to_string());
        Self { authorization, client, greeted: false, authenticated: false, capabilities: String::new() }
    }

    fn greet(&mut self, line: &str) -> Reaction {
        self.greeted = true;
        if !starts_with(line, "* OK") {
            return Reaction::Refused(Failure::unavailable(format!("the mailbox node greets with: {line}")));
        }
        // The names are those by which Dovecot believes its proxies. Both commands at once: that saves a round trip.
        let (address, port) = (self.client.ip(), self.client.port());
        Reaction::Send(format!(
            "i ID (\"name\" \"Estafeta\" \"x-originating-ip\" \"{address}\" \"x-originating-port\" \"{port}\")\r\n\
             a AUTHENTICATE EXTERNAL {}\r\n",
            self.authorization
        ))
    }

    /// The answer to AUTHENTICATE.
    fn answered(&mut self, answer: &str) -> Reaction {
        if !starts_with(answer, "OK") {
            return Reaction::Refused(refusal(answer));
        }
        self.authenticated = true;
        match code(answer).and_then(|code| strip(code, "CAPABILITY ")) {
            Some(capabilities) => {
                self.capabilities = capabilities.to_owned();
                Reaction::LoggedIn
            }
            None => Reaction::Send("c CAPABILITY\r\n".to_owned()),
        }
    }
}

impl Language for ImapLogin {
    fn hear(&mut self, line: &str) -> Reaction {
        if !self.greeted {
            return self.greet(line);
        }
        let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
        match tag {
            "a" => self.answered(rest),
            "c" => Reaction::LoggedIn,
            "*" if starts_with(rest, "BYE") => {
                Reaction::Refused(Failure::unavailable(format!("the mailbox node says goodbye: {rest}")))
            }
            "*" if self.authenticated => {
                if let Some(capabilities) = strip(rest, "CAPABILITY ") {
                    self.capabilities = capabilities.to_owned();
                }
                Reaction::Wait
            }
            // A server without SASL-IR takes the first response only now.
            "+" if !self.authenticated => Reaction::Send(format!("{}\r\n", self.authorization)),
            _ => Reaction::Wait,
        }
    }
}

fn starts_with(text: &str, word: &str) -> bool {
    strip(text, word).is_some()
}

/// What follows `word`, in any case.
fn strip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// The response code of an answer.
fn code(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// What a refusal means for the client (RFC 5530 §3).
fn refusal(answer: &str) -> Failure {
    let reason = match code(answer).unwrap_or_default() {
        "AUTHORIZATIONFAILED" | "NOPERM" | "NONEXISTENT" | "EXPIRED" => Reason::Denied,
        "LIMIT" => Reason::Busy,
        "UNAVAILABLE" | "SERVERBUG" | "INUSE" | "CONTACTADMIN" => Reason::Unavailable,
        // It knows neither the account nor this node: no other node of the group would.
        _ => Reason::Internal,
    };
    let client = match reason {
        Reason::Denied => "you may not open this mailbox",
        Reason::Busy => "too many connections, try again later",
        _ => "temporarily unavailable, try again later",
    };
    Failure::new(reason, client).because(format!("the mailbox node refuses the session: {answer}"))
}

#[cfg(test)]
mod tests {
    use super::super::login::Login;
    use super::super::login::tests::play;
    use super::*;

    fn login() -> Login<ImapLogin> {
        Login::new(ImapLogin::new(&"ana@example.edu".parse().unwrap(), "192.0.2.7:4711".parse().unwrap()))
    }

    #[test]
    fn as_our_own_listener_and_dovecot_speak() {
        let mut login = login();
        let (sent, _) = play(&mut login, b"* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=EXTERNAL] Dovecot ready.\r\n");
        let expected = "i ID (\"name\" \"Estafeta\" \"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\")\r\n\
            a AUTHENTICATE EXTERNAL YW5hQGV4YW1wbGUuZWR1\r\n";
        assert_eq!(sent, expected);
        let answer = b"* ID (\"name\" \"Dovecot\")\r\ni OK ID completed.\r\na OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n* 3 EXISTS\r\n";
        assert_eq!(play(&mut login, answer).1, Some(Ok(())));
        assert_eq!(login.language.capabilities, "IMAP4rev1 IDLE");
    }

    #[test]
    fn capabilities_are_asked_for_when_they_are_not_told() {
        let mut login = login();
        play(&mut login, b"* ok hello\r\n");
        assert_eq!(play(&mut login, b"i BAD what?\r\n+ \r\na OK in\r\n").0, "YW5hQGV4YW1wbGUuZWR1\r\nc CAPABILITY\r\n");
        assert_eq!(play(&mut login, b"* CAPABILITY IMAP4rev1 MOVE\r\nc OK done\r\n").1, Some(Ok(())));
        assert_eq!(login.language.capabilities, "IMAP4rev1 MOVE");
    }

    #[test]
    fn refusals_say_whether_another_node_may_help() {
        for (server, reason) in [
            ("* BYE full\r\n", Reason::Unavailable),
            ("* OK\r\na NO [UNAVAILABLE] later\r\n", Reason::Unavailable),
            ("* OK\r\na NO [AUTHORIZATIONFAILED] no\r\n", Reason::Denied),
            ("* OK\r\na NO no\r\n", Reason::Internal),
            ("* OK\r\n* BYE restarting\r\n", Reason::Unavailable),
        ] {
            assert_eq!(play(&mut login(), server.as_bytes()).1.unwrap().unwrap_err().reason, reason, "{server}");
        }
    }
}
