//! The envelope as header fields of the request.

use std::net::{IpAddr, Ipv4Addr};

use estafeta_core::judge::Envelope;
use estafeta_core::{Address, DeliveryId};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const FROM: HeaderName = HeaderName::from_static("from");
const RCPT: HeaderName = HeaderName::from_static("rcpt");
const IP: HeaderName = HeaderName::from_static("ip");
const HELO: HeaderName = HeaderName::from_static("helo");
const USER: HeaderName = HeaderName::from_static("user");
const QUEUE_ID: HeaderName = HeaderName::from_static("queue-id");

/// The most recipients that are named to a judge: HTTP servers bound a request's head, ours at 100 fields, and a verdict
/// is on the message, whoever gets it.
pub const RECIPIENTS: usize = 64;

/// The longest HELO that is passed on, in bytes (RFC 5321 §4.5.3.1.2).
const HELO_BYTES: usize = 255;

/// Writes the envelope.
pub fn write(envelope: &Envelope, headers: &mut HeaderMap) {
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    };
    put(QUEUE_ID, &envelope.id.to_string());
    put(IP, &envelope.client.to_canonical().to_string());
    // Whatever the client said in clear text: only what a field can hold goes on.
    let helo: String = envelope.helo.chars().filter(|character| !character.is_control()).take(HELO_BYTES).collect();
    put(HELO, &helo);
    if let Some(user) = &envelope.authenticated {
        put(USER, user);
    }
    put(FROM, &envelope.sender.as_ref().map_or_else(|| "<>".to_owned(), Address::to_string));
    for recipient in envelope.recipients.iter().take(RECIPIENTS) {
        put(RCPT, &recipient.to_string());
    }
}

/// Reads the envelope. What is missing or makes no sense is left empty, as rspamd does; a message without an id gets one.
pub fn read(headers: &HeaderMap) -> Envelope {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let addresses =
        headers.get_all(RCPT).iter().filter_map(|value| address(std::str::from_utf8(value.as_bytes()).ok()?));
    Envelope {
        id: text(&QUEUE_ID).and_then(|id| id.parse().ok()).unwrap_or_else(DeliveryId::generate),
        client: text(&IP).and_then(|client| client.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        helo: text(&HELO).unwrap_or_default().to_owned(),
        authenticated: text(&USER).map(str::to_owned).filter(|user| !user.is_empty()),
        sender: text(&FROM).and_then(address),
        recipients: addresses.collect(),
    }
}

/// An address with or without angle brackets.
fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope {
            id: DeliveryId::generate(),
            client: "192.0.2.1".parse().unwrap(),
            helo: "mx.example.org".into(),
            authenticated: Some("ana@example.edu".into()),
            sender: Some("josé@example.org".parse().unwrap()),
            recipients: vec!["a@example.edu".parse().unwrap(), "\"b c\"@example.edu".parse().unwrap()],
        }
    }

    fn there_and_back(envelope: &Envelope) -> Envelope {
        let mut headers = HeaderMap::new();
        write(envelope, &mut headers);
        read(&headers)
    }

    #[test]
    fn an_envelope_goes_there_and_back() {
        let full = envelope();
        assert_eq!(there_and_back(&full), full);
        let bare = Envelope { sender: None, authenticated: None, recipients: vec![], ..envelope() };
        assert_eq!(there_and_back(&bare), bare);
    }

    #[test]
    fn recipients_are_bounded() {
        let many = Envelope { recipients: vec!["a@example.edu".parse().unwrap(); 1000], ..envelope() };
        assert_eq!(there_and_back(&many).recipients.len(), RECIPIENTS);
    }

    #[test]
    fn as_rspamc_and_postfix_write_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("From", "<a@b.es>"), ("Rcpt", "<c@d.es>"), ("IP", "nonsense"), ("Queue-Id", "4Abc")] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        let envelope = read(&headers);
        assert_eq!(envelope.sender, Some("a@b.es".parse().unwrap()));
        assert_eq!(envelope.recipients, ["c@d.es".parse().unwrap()]);
        assert!(envelope.client.is_unspecified());
    }

    proptest! {
        #[test]
        fn any_helo_is_passed_on_without_harm(helo in any::<String>()) {
            let helo = there_and_back(&Envelope { helo, ..envelope() }).helo;
            prop_assert!(!helo.contains(['\r', '\n']));
        }
    }
}
