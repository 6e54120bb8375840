//! Messages as they come: broken, huge, deep, empty. What was delivered or appended comes back byte for byte, by IMAP and
//! by POP3, and FETCH has an answer to everything that it is asked of it.

use bytes::Bytes;
use estafeta_core::DeliveryId;
use estafeta_core::delivery::Recipient;
use estafeta_core::sessions::Protocol;
use tokio::io::AsyncReadExt;

use super::*;

/// Parts within parts, `levels` deep: of multiparts, or of messages.
fn nested(levels: usize, messages: bool) -> String {
    let mut text = String::from("Subject: deep\r\n");
    for level in 0..levels {
        if messages {
            text.push_str("Content-Type: message/rfc822\r\n\r\n");
        } else {
            text.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n"));
        }
    }
    text.push_str("\r\nthe innermost\r\n");
    if !messages {
        (0..levels).rev().for_each(|level| text.push_str(&format!("--b{level}x--\r\n")));
    }
    text
}

/// What SMTP takes: its lines end in CRLF.
fn odd_messages() -> Vec<(&'static str, Vec<u8>)> {
    let parts: String = (0..10_000).map(|number| format!("--b\r\nX: {number}\r\n\r\npart {number}\r\n")).collect();
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("no header at all", text("just a text\r\nof two lines\r\n")),
        ("an empty line and a body", text("\r\nbody\r\n")),
        ("a header alone", text("Subject: nothing else\r\n")),
        ("a header that has no end", text(&format!("Subject: x\r\n{}", "X-Filler: y\r\n".repeat(2_000)))),
        ("lines that begin with dots", text("Subject: .\r\n\r\n.\r\n..\r\n...x\r\n.\r\n")),
        (
            "8-bit header",
            b"Subject: caf\xe9 \xff\xfe\r\nFrom: \xc3\xb1 <a@b>\r\nX-\x80: y\r\n\r\n\x80\x81\r\n".to_vec(),
        ),
        ("NUL", b"Subject: a\0b\r\nContent-Type: text/plain;\0 charset=x\r\n\r\n\0\0x\0\r\n".to_vec()),
        ("a multipart without an end", text("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n")),
        ("a multipart without a boundary", text("Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\none\r\n--b--\r\n")),
        (
            "one boundary for two",
            text(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\n\r\none\r\n--b--\r\n--b--\r\n--b--\r\n",
            ),
        ),
        (
            "types that are none",
            text("Content-Type: ;;;=\"\r\nContent-Type: a\r\nContent-Transfer-Encoding: (\r\n\r\nx\r\n"),
        ),
        (
            "a quoted string without an end",
            text("From: \"a <b@c>, d@e\r\nTo: <<<>>>,,;:\r\nDate: yesterday\r\n\r\nx\r\n"),
        ),
        ("10,000 parts", text(&format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"))),
        ("1,000 levels", text(&nested(1_000, false))),
        ("1,000 messages in each other", text(&nested(1_000, true))),
    ]
}

/// What SMTP does not take, and IMAP and other ways do.
fn odder_messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("CR in odd places", b"Subject: a\rb\r\r\n\r\r\n\rx\r\r\r\n".to_vec()),
        ("a CR at the end of a header's name", b"Subject\r: x\r\n\r\ny\r\n".to_vec()),
    ]
}

struct Reader {
    sessions: Arc<dyn Sessions>,
    account: Account,
}

impl Reader {
    /// Everything that is said to these commands.
    async fn say(&self, protocol: Protocol, commands: Vec<u8>) -> Bytes {
        let client = "192.0.2.1:1".parse().unwrap();
        let request = SessionRequest { protocol, account: self.account.clone(), client, tls: None };
        let session = self.sessions.open(&request).await.unwrap();
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(session.serve(Box::new(near), commands.into()));
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        served.await.unwrap().unwrap();
        said.into()
    }

    /// The only message of a mailbox that ends with `end`, in answer to an item that gives a literal.
    async fn fetched(&self, number: usize, item: &str) -> Vec<u8> {
        let commands = format!("a SELECT INBOX\r\nb FETCH {number} {item}\r\nc LOGOUT\r\n");
        let said = self.say(Protocol::Imap, commands.into_bytes()).await;
        let ok = said.windows(6).any(|window| window == b"\r\nb OK");
        assert!(ok, "{item}: {}", String::from_utf8_lossy(&said[said.len().saturating_sub(300)..]));
        let literal = suites::literals(&said).into_iter().next();
        literal.map(|literal| literal.to_vec()).unwrap_or_default()
    }

    /// The same by POP3, its dots taken away.
    async fn retrieved(&self, number: usize) -> Vec<u8> {
        let commands = format!("RETR {number}\r\nQUIT\r\n");
        let said = self.say(Protocol::Pop3, commands.into_bytes()).await;
        let start = said.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = said[start..].windows(5).position(|window| window == b"\r\n.\r\n").unwrap() + start + 2;
        let mut message = Vec::new();
        for line in said[start..end].split_inclusive(|byte| *byte == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        message
    }
}

async fn node() -> (Node, Reader) {
    let node = Node::start().await;
    let account = node.account("ana@example.edu", None).await;
    let sessions = node.provides.sessions.clone().unwrap();
    (node, Reader { sessions, account })
}

fn parcel(account: &Account, message: &[u8]) -> Parcel {
    Parcel {
        id: DeliveryId::generate(),
        sender: None,
        recipients: vec![Recipient { account: account.clone(), original: account.address.clone() }],
        message: Message::new(Bytes::copy_from_slice(message)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_comes_back_byte_for_byte() {
    let (node, ana) = node().await;
    let lmtp = node.remote_delivery();
    for (number, (what, message)) in (1..).zip(odd_messages()) {
        assert_eq!(lmtp.deliver(&parcel(&ana.account, &message)).await, [Outcome::Delivered], "{what}");
        // What delivery puts before it is two lines.
        let fetched = ana.fetched(number, "BODY.PEEK[]").await;
        let trace = fetched.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
        assert!(fetched.starts_with(b"Return-Path: <>\r\nDelivered-To: ") && fetched[trace..] == message, "{what}");
        assert!(ana.retrieved(number).await == fetched, "{what}");
        ana.fetched(number, "(ENVELOPE BODY BODYSTRUCTURE PREVIEW BODY.PEEK[1] BODY.PEEK[1.MIME] BINARY.SIZE[1])")
            .await;
        let header = ana.fetched(number, "BODY.PEEK[HEADER]").await;
        assert_eq!([header, ana.fetched(number, "BODY.PEEK[TEXT]").await].concat(), fetched, "{what}");
    }
    for (what, message) in odder_messages() {
        let outcomes = lmtp.deliver(&parcel(&ana.account, &message)).await;
        assert!(
            matches!(&outcomes[..], [Outcome::Refused(answer)] if answer.status == "5.6.0"),
            "{what}: {outcomes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_comes_back_byte_for_byte() {
    let (_node, ana) = node().await;
    // RFC 3501 §9: no NUL in a literal.
    let messages = odd_messages().into_iter().chain(odder_messages()).filter(|(what, _)| *what != "NUL");
    for (number, (what, message)) in (1..).zip(messages) {
        let mut commands = format!("a APPEND INBOX {{{}+}}\r\n", message.len()).into_bytes();
        commands.extend_from_slice(&message);
        commands.extend_from_slice(b"\r\nb LOGOUT\r\n");
        let said = ana.say(Protocol::Imap, commands).await;
        assert!(said.starts_with(b"a OK"), "{what}: {}", String::from_utf8_lossy(&said));
        assert!(ana.fetched(number, "BODY.PEEK[]").await == message, "{what}");
        assert!(ana.retrieved(number).await == message, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_beyond_the_bounds_are_opaque_and_whole() {
    let (node, ana) = node().await;
    let lmtp = node.remote_delivery();
    for messages in [false, true] {
        let deep = nested(1_000, messages);
        assert_eq!(lmtp.deliver(&parcel(&ana.account, deep.as_bytes())).await, [Outcome::Delivered]);
    }
    for number in 1..=2 {
        // The deepest part that is one: what is deeper is its text.
        let mut path = String::from("1");
        let mut deepest = Vec::new();
        for _ in 0..60 {
            let part = ana.fetched(number, &format!("BODY.PEEK[{path}]")).await;
            if part.is_empty() {
                break;
            }
            deepest = part;
            path.push_str(".1");
        }
        let deepest = String::from_utf8(deepest).unwrap();
        assert!(deepest.contains("the innermost"), "{number}: {path}");
        assert!(deepest.contains("multipart/mixed; boundary=b999x") || deepest.contains("message/rfc822"), "{path}");
    }
    let parts: String = (0..10_000).map(|number| format!("--b\r\n\r\npart {number}\r\n")).collect();
    let wide = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    assert_eq!(lmtp.deliver(&parcel(&ana.account, wide.as_bytes())).await, [Outcome::Delivered]);
    for number in [1, 5_000, 10_000] {
        let part = ana.fetched(3, &format!("BODY.PEEK[{number}]<0.{}>", u32::MAX)).await;
        assert_eq!(String::from_utf8(part).unwrap(), format!("part {}", number - 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_come_and_go() {
    let (node, ana) = node().await;
    let line = "fifty megabytes of the same line, but for its number: 0123456789\r\n";
    let mut large = String::from("Subject: large\r\n\r\n");
    let room = 50_000_000 - large.len();
    (0..room / line.len()).for_each(|_| large.push_str(line));
    assert_eq!(node.remote_delivery().deliver(&parcel(&ana.account, large.as_bytes())).await, [Outcome::Delivered]);
    let fetched = ana.fetched(1, "BODY.PEEK[]").await;
    assert!(fetched.ends_with(large.as_bytes()));
    assert!(ana.retrieved(1).await == fetched);
}
