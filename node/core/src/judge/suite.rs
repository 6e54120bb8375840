//! The suite of `Judge`: what every implementation must do, whether it judges itself or asks another node.
// A suite is test code, built for the tests of others: a panic is how it speaks.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use super::{Action, Envelope, Judge, Verdict};
use crate::delivery::{SPAM_HEADER, SPAM_HEADER_YES};
use crate::message::{DeliveryId, Message};

/// Runs the suite. The judge knows nothing yet of the senders and clients in it, which are those of documentation
/// (RFC 2606, RFC 5737).
pub async fn run(judge: &dyn Judge) {
    plain_mail_is_accepted(judge).await;
    the_spam_test_is_refused_in_every_wrapping(judge).await;
    every_envelope_is_taken(judge).await;
    every_message_is_taken(judge).await;
    a_prefix_belongs_to_the_message(judge).await;
    many_are_judged_at_once(judge).await;
}

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n";

/// [`GTUBE`] in base64.
const GTUBE_BASE64: &str =
    "WEpTKkM0SkRCUUFETjEuTlNCTjMqMklETkVOKkdUVUJFLVNUQU5EQVJELUFOVEktVUJFLVRFU1Qt\r\nRU1BSUwqQy4zNFgNCg==\r\n";

/// The header of an honest message, written just now: judges look at the date.
fn header() -> String {
    let date = date(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    format!(
        "From: Ana <ana@example.org>\r\nTo: luis@example.edu\r\nSubject: Lunch\r\nDate: {date}\r\nMessage-ID: <1@example.org>\r\n"
    )
}

/// RFC 5322 §3.3, without the day of the week. The day by Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, second) = (seconds / 86400 + 719_468, seconds % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day} {} {year} {hour:02}:{minute:02}:{second:02} +0000", MONTHS[month as usize])
}

fn envelope() -> Envelope {
    Envelope {
        id: DeliveryId::generate(),
        client: "192.0.2.7".parse().unwrap(),
        helo: "mail.example.org".into(),
        authenticated: None,
        sender: Some("ana@example.org".parse().unwrap()),
        recipients: vec!["luis@example.edu".parse().unwrap()],
    }
}

/// A client of ours: what is accepted of it does not hang on DNS.
fn submission() -> Envelope {
    Envelope { authenticated: Some("ana@example.org".into()), ..envelope() }
}

fn message(header: &str, body: &str) -> Message {
    Message::new(format!("{header}\r\n{body}").into())
}

async fn judged(judge: &dyn Judge, envelope: &Envelope, message: &Message) -> Verdict {
    let verdict = judge.judge(envelope, message).await.unwrap_or_else(|failure| panic!("no verdict: {failure}"));
    check(&verdict);
    verdict
}

/// What holds of every verdict.
fn check(verdict: &Verdict) {
    assert!(verdict.score.is_finite() && verdict.required_score.is_finite(), "{verdict:?}");
    for symbol in &verdict.symbols {
        assert!(!symbol.name.is_empty() && symbol.score.is_finite(), "{verdict:?}");
    }
    for (name, value) in &verdict.headers {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'), "{verdict:?}");
        assert!(!value.contains(['\r', '\n', '\0']) && name.len() + value.len() < 990, "{verdict:?}");
    }
    let marked = verdict.headers.iter().any(|(name, value)| name == SPAM_HEADER && value == SPAM_HEADER_YES);
    assert_eq!(marked, verdict.action == Action::Junk, "{verdict:?}");
    if verdict.action == Action::Reject {
        let explanation = verdict.explanation.as_deref().unwrap_or_default();
        assert!(!explanation.is_empty() && !explanation.contains(['\r', '\n']), "{verdict:?}");
    }
}

fn has(verdict: &Verdict, symbol: &str) -> bool {
    verdict.symbols.iter().any(|one| one.name == symbol)
}

async fn plain_mail_is_accepted(judge: &dyn Judge) {
    let plain = message(&header(), "Lunch at two?\r\n");
    let verdict = judged(judge, &submission(), &plain).await;
    assert_eq!(verdict.action, Action::Accept, "{verdict:?}");
    assert!(verdict.required_score > verdict.score);
    // From a stranger it may be suspect, as far as DNS says; it is no reason to refuse.
    let verdict = judged(judge, &envelope(), &plain).await;
    assert!(verdict.action < Action::Defer, "{verdict:?}");
}

async fn the_spam_test_is_refused_in_every_wrapping(judge: &dyn Judge) {
    let base64 =
        format!("{}MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n", header());
    let multipart = format!("{}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"x y\"\r\n", header());
    let part = format!(
        "--x y\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{GTUBE_BASE64}--x y--\r\n"
    );
    for message in [message(&header(), GTUBE), message(&base64, GTUBE_BASE64), message(&multipart, &part)] {
        let verdict = judged(judge, &envelope(), &message).await;
        assert!(verdict.action == Action::Reject && has(&verdict, "GTUBE"), "{verdict:?}");
    }
    // Also from a client that authenticated.
    let verdict = judged(judge, &submission(), &message(&header(), GTUBE)).await;
    assert_eq!(verdict.action, Action::Reject, "{verdict:?}");
}

async fn every_envelope_is_taken(judge: &dyn Judge) {
    let envelopes = [
        Envelope { sender: None, ..envelope() },
        Envelope { client: "2001:db8::7".parse().unwrap(), helo: "[IPv6:2001:db8::7]".into(), ..envelope() },
        Envelope { helo: "no host name\t\u{7f}\u{f1}".into(), ..envelope() },
        Envelope { helo: String::new(), recipients: Vec::new(), ..envelope() },
        Envelope { authenticated: Some("\u{f1}u\u{e9}@example.edu".into()), ..envelope() },
        Envelope { sender: Some("jos\u{e9}@correo.example".parse().unwrap()), ..envelope() },
        Envelope { sender: Some("\"a b\"@example.org".parse().unwrap()), ..envelope() },
        Envelope { recipients: vec![format!("{}@example.edu", "a".repeat(64)).parse().unwrap(); 1000], ..envelope() },
    ];
    for envelope in envelopes {
        judged(judge, &envelope, &message(&header(), "Hello\r\n")).await;
    }
}

async fn every_message_is_taken(judge: &dyn Judge) {
    let megabytes = "All work and no play makes Jack a dull boy.\r\n".repeat(100_000);
    let messages = [
        Message::default(),
        Message::new("\r\n".into()),
        Message::new("no header at all".into()),
        Message::new(vec![0xff; 5000].into()),
        message(&header(), "\0\0\0"),
        message("Content-Type: multipart/mixed; boundary=x\r\n", "--x\r\nContent-Type: multipart/mixed; boundary=\r\n"),
        message(&header(), &megabytes),
    ];
    for message in messages {
        judged(judge, &envelope(), &message).await;
    }
    // Nested so deep that a parser which follows it without a bound would overflow the stack. Only that it is survived.
    let deep = Message::new("Content-Type: message/rfc822\r\n\r\n".repeat(200).into());
    check(&judge.judge(&envelope(), &deep).await.unwrap());
}

async fn a_prefix_belongs_to_the_message(judge: &dyn Judge) {
    let received = "Received: from mail.example.org by mx.example.edu;\r\n Mon, 23 Nov 2026 12:00:01 +0100\r\n";
    let clean = message(&header(), "Lunch at two?\r\n").with_prefix(received);
    assert_eq!(judged(judge, &submission(), &clean).await.action, Action::Accept);
    let spam = message(&header(), GTUBE).with_prefix(received);
    assert_eq!(judged(judge, &envelope(), &spam).await.action, Action::Reject);
}

async fn many_are_judged_at_once(judge: &dyn Judge) {
    let mut judgements: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for index in 0..32 {
        judgements.push(Box::pin(async move {
            let (body, action) = if index % 2 == 0 { ("Hello\r\n", Action::Accept) } else { (GTUBE, Action::Reject) };
            assert_eq!(judged(judge, &submission(), &message(&header(), body)).await.action, action);
        }));
    }
    poll_fn(|context| {
        judgements.retain_mut(|judgement| judgement.as_mut().poll(context).is_pending());
        if judgements.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
