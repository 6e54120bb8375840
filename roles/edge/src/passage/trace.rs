//! The lines that edge puts before a message: its trace (RFC 5321 §4.4), the verdict, what a user's program left out.
//!
//! Invariant: nothing that comes from a client or a filter can end a line or begin a field of its own.

use std::net::IpAddr;
use std::time::SystemTime;

use estafeta_core::delivery::{SPAM_HEADER, SPAM_HEADER_YES};
use estafeta_core::judge::{Action, Verdict};
use estafeta_core::sessions::TlsFacts;
use estafeta_core::{Address, DeliveryId};
use estafeta_protocols::date::DateTime;

/// The most bytes of one value that a filter gives.
const VALUE_LIMIT_BYTES: usize = 4_000;

/// How a message came here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The client's address.
    pub client: IpAddr,
    /// What the client called itself.
    pub helo: String,
    /// Whether it spoke ESMTP.
    pub extended: bool,
    /// Its TLS.
    pub tls: Option<TlsFacts>,
    /// The login of a client that authenticated.
    pub authenticated: Option<String>,
    /// Whether the transaction was one of SMTPUTF8.
    pub smtputf8: bool,
}

/// The `Received` field of this hop. The recipient is named when there is but one: others must not learn of each other.
pub fn received(hop: &Hop, hostname: &str, id: DeliveryId, recipients: &[Address], now: SystemTime) -> String {
    let mut line = format!(
        "Received: from {} ({})\r\n\tby {hostname} with {}",
        clean_name(&hop.helo),
        literal(hop.client),
        protocol(hop)
    );
    if let Some(tls) = &hop.tls {
        line.push_str(&format!("\r\n\t({} {})", tls.version, tls.cipher));
    }
    line.push_str(&format!("\r\n\tid {id}"));
    if let [recipient] = recipients {
        line.push_str(&format!("\r\n\tfor <{recipient}>"));
    }
    line.push_str(&format!(";\r\n\t{}\r\n", DateTime::of(now).rfc5322()));
    line
}

/// RFC 3848, RFC 6531 §4.3.
fn protocol(hop: &Hop) -> String {
    let base = match hop {
        Hop { smtputf8: true, .. } => "UTF8SMTP",
        Hop { extended: true, .. } => "ESMTP",
        _ => return "SMTP".to_owned(),
    };
    let secured = if hop.tls.is_some() { "S" } else { "" };
    let authenticated = if hop.authenticated.is_some() { "A" } else { "" };
    format!("{base}{secured}{authenticated}")
}

fn literal(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// A client may call itself anything; what is no name or literal is not repeated.
fn clean_name(name: &str) -> &str {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if !name.is_empty() && name.bytes().all(legal) { name } else { "unknown" }
}

/// The fields that a verdict adds, Junk's own included. What our users submit goes to other people too, who need not
/// know how our filter came to its verdict: of theirs, only Junk's is added. That one follows from the action alone,
/// whatever a filter adds by itself, so that it stands there once.
pub fn verdict(verdict: &Verdict, submitted: bool) -> String {
    let mut lines = String::new();
    let others = verdict.headers.iter().filter(|(name, _)| !submitted && !name.eq_ignore_ascii_case(SPAM_HEADER));
    for (name, value) in others {
        lines.push_str(&field(name, value));
    }
    if verdict.action == Action::Junk {
        lines.push_str(&field(SPAM_HEADER, SPAM_HEADER_YES));
    }
    lines
}

/// The field of a message that was accepted without a verdict.
pub fn unjudged() -> String {
    field(SPAM_HEADER, "Unjudged")
}

/// What RFC 6409 §8 lets a submission server add.
pub fn missing(has_date: bool, has_message_id: bool, id: DeliveryId, hostname: &str, now: SystemTime) -> String {
    let mut lines = String::new();
    if !has_date {
        lines.push_str(&field("Date", &DateTime::of(now).rfc5322()));
    }
    if !has_message_id {
        lines.push_str(&field("Message-ID", &format!("<{id}@{hostname}>")));
    }
    lines
}

/// One field; empty when the name is none.
fn field(name: &str, value: &str) -> String {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return String::new();
    }
    let mut line = format!("{name}: ");
    let limit = line.len() + VALUE_LIMIT_BYTES;
    // Folded where the filter folded it: a line end and white space make a continuation line, anything else none.
    for part in value.split(['\r', '\n']).map(|part| part.trim_matches(|c: char| c.is_control() || c == ' ')) {
        for character in part.chars().filter(|character| !character.is_control()) {
            if line.len() < limit {
                line.push(character);
            }
        }
        if !part.is_empty() {
            line.push_str("\r\n\t");
        }
    }
    let mut line = line.trim_end().to_owned();
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop() -> Hop {
        Hop {
            client: "192.0.2.1".parse().unwrap(),
            helo: "client.example".to_owned(),
            extended: true,
            tls: None,
            authenticated: None,
            smtputf8: false,
        }
    }

    #[test]
    fn received_known_answers() {
        let id: DeliveryId = "0192f5a1-0000-7000-8000-000000000000".parse().unwrap();
        let to: Address = "ana@example.edu".parse().unwrap();
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(
            received(&hop(), "mx.example.edu", id, std::slice::from_ref(&to), now),
            "Received: from client.example ([192.0.2.1])\r\n\tby mx.example.edu with ESMTP\r\n\
             \tid 0192f5a1-0000-7000-8000-000000000000\r\n\tfor <ana@example.edu>;\r\n\
             \tThu, 01 Jan 1970 00:00:00 +0000\r\n"
        );
        let tls = TlsFacts { version: "TLSv1_3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into() };
        let other = Hop {
            client: "2001:db8::1".parse().unwrap(),
            helo: "a) by evil (".to_owned(),
            tls: Some(tls),
            authenticated: Some("ana".into()),
            smtputf8: true,
            ..hop()
        };
        let line = received(&other, "mx", id, &[to.clone(), to], now);
        assert!(line.starts_with(
            "Received: from unknown ([IPv6:2001:db8::1])\r\n\tby mx with UTF8SMTPSA\r\n\t(TLSv1_3 TLS13_AES_256_GCM_SHA384)\r\n"
        ));
        assert!(!line.contains("for <"));
    }

    #[test]
    fn a_verdict_cannot_forge() {
        let headers = vec![
            ("Authentication-Results".to_owned(), "mx;\r\n\tspf=pass\r\nX-Evil: yes".to_owned()),
            ("X Bad\r\nName".to_owned(), "x".to_owned()),
            ("X-Empty".to_owned(), String::new()),
            // As rspamd's milter headers may have it.
            ("x-spam".to_owned(), "Yes".to_owned()),
        ];
        let spam = Verdict {
            action: Action::Junk,
            score: 9.0,
            required_score: 15.0,
            symbols: vec![],
            headers,
            explanation: None,
        };
        assert_eq!(
            verdict(&spam, false),
            "Authentication-Results: mx;\r\n\tspf=pass\r\n\tX-Evil: yes\r\nX-Empty:\r\nX-Spam: Yes\r\n"
        );
        assert_eq!(verdict(&spam, true), "X-Spam: Yes\r\n");
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let id = DeliveryId::generate();
        assert_eq!(missing(true, true, id, "mx", SystemTime::UNIX_EPOCH), "");
        assert_eq!(
            missing(false, false, id, "mx", SystemTime::UNIX_EPOCH),
            format!("Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <{id}@mx>\r\n")
        );
    }
}
