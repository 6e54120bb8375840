//! The header of a message that comes in: what is in it, what has to leave it, and where it ends.
//!
//! Invariants: nothing is copied unless something leaves the header, and then the message becomes a new one, which
//! begins with its header ([`Message`]'s own invariant); a header beyond [`HEADER_LIMIT_BYTES`] is refused; what leaves
//! the header is gone whole, with its continuation lines.

use bytes::{Bytes, BytesMut};
use estafeta_core::Message;
use estafeta_protocols::header::Fields;
use estafeta_storage::StorageError;
use estafeta_storage::spool::SpoolDirectory;

/// The largest header that is taken, in bytes.
pub const HEADER_LIMIT_BYTES: usize = 256 * 1024;

/// Header fields that only we may set: whoever reads the mail believes them. A name that ends in `*` stands for all that
/// begin so.
///
/// RFC 8601 §5 asks a border to remove `Authentication-Results` that claim to be its own and allows to remove all; all
/// is what cannot be got wrong. `Return-Path` and `Original-Recipient` are for the mailbox to set (RFC 5321 §4.4; RFC 8098 §2.3,
/// which lets final delivery remove what it finds).
const OURS: &[&str] = &["x-spam*", "authentication-results", "return-path", "original-recipient"];

/// What a user's program leaves for us to remove (RFC 5322 §3.6.3).
const SUBMITTED: &[&str] = &["bcc", "resent-bcc"];

/// Where a message comes from, which decides what has to leave its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Another mail server.
    Foreign,
    /// One of our users.
    Submitted,
}

/// What was found in a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The header as it has to be and what stands behind it, when the message must not stay as it came.
    rewritten: Option<[Bytes; 2]>,
    /// How many `Received` fields there are: hops so far.
    pub hops: usize,
    /// Whether there is a `Date`.
    pub has_date: bool,
    /// Whether there is a `Message-ID`.
    pub has_message_id: bool,
    /// Whether the header is not ASCII, so that it may need SMTPUTF8 (RFC 6532).
    pub is_utf8: bool,
}

impl Swept {
    /// The message without what had to leave: `body` itself, or one put together anew. Spooled again, because a large
    /// one must not stand on the heap.
    pub async fn message(&self, body: &Bytes, spools: &SpoolDirectory) -> Result<Message, StorageError> {
        let Some(parts) = &self.rewritten else { return Ok(Message::new(body.clone())) };
        let mut spool = spools.spool(u64::MAX);
        for part in parts {
            spool.write(part).await?;
        }
        spool.finish().await
    }
}

/// The header is larger than [`HEADER_LIMIT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header is larger than {HEADER_LIMIT_BYTES} bytes")]
pub struct TooLarge;

/// Looks through the header of `body`, a whole message.
pub fn sweep(body: &Bytes, origin: Origin) -> Result<Swept, TooLarge> {
    let mut swept = Swept::default();
    let mut removed = Vec::new();
    let mut fields = Fields::of(body);
    for field in fields.by_ref() {
        if field.end > HEADER_LIMIT_BYTES {
            return Err(TooLarge);
        }
        let name = field.name(body);
        if name.eq_ignore_ascii_case(b"Received") {
            swept.hops += 1;
        }
        swept.has_date |= name.eq_ignore_ascii_case(b"Date");
        swept.has_message_id |= name.eq_ignore_ascii_case(b"Message-ID");
        let submitted = origin == Origin::Submitted && is_one_of(name, SUBMITTED);
        if submitted || is_one_of(name, OURS) {
            removed.push(field);
        }
    }
    let header_end = fields.position();
    swept.is_utf8 = !body[..header_end].is_ascii();
    // RFC 5322 §2.1: an empty line stands between header and body.
    let separated = body.len() == header_end || body[header_end..].starts_with(b"\r\n");
    if removed.is_empty() && separated {
        return Ok(swept);
    }
    let mut header = BytesMut::with_capacity(header_end + 2);
    let mut kept_to = 0;
    for field in removed {
        header.extend_from_slice(&body[kept_to..field.start]);
        kept_to = field.end;
    }
    header.extend_from_slice(&body[kept_to..header_end]);
    if !separated {
        header.extend_from_slice(b"\r\n");
    }
    swept.rewritten = Some([header.freeze(), body.slice(header_end..)]);
    Ok(swept)
}

fn is_one_of(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => name.len() >= start.len() && name[..start.len()].eq_ignore_ascii_case(start.as_bytes()),
        None => name.eq_ignore_ascii_case(known.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn swept(text: &'static str, origin: Origin) -> (String, Swept) {
        let body = Bytes::from_static(text.as_bytes());
        let swept = sweep(&body, origin).unwrap();
        (String::from_utf8(after(&swept, &body).to_vec()).unwrap(), swept)
    }

    fn after(swept: &Swept, body: &Bytes) -> Bytes {
        swept.rewritten.as_ref().map_or_else(|| body.clone(), |parts| parts.concat().into())
    }

    /// Whoever reads only the body must see the header: a judge its fields, a mailbox the message's structure.
    #[tokio::test]
    async fn a_body_always_begins_with_its_header() {
        let root = tempfile::tempdir().unwrap();
        let spools = SpoolDirectory::open(root.path()).unwrap();
        for size in [10, 1_000_000] {
            let rest = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(size));
            for text in [rest.clone(), format!("Authentication-Results: x\r\n{rest}")] {
                let body = Bytes::from(text);
                let message = sweep(&body, Origin::Foreign).unwrap().message(&body, &spools).await.unwrap();
                assert!(message.prefix().is_empty());
                assert_eq!(message.body(), &rest);
            }
        }
    }

    #[test]
    fn what_is_harmless_is_not_touched() {
        let text = "Received: a\r\n\tb\r\nreceived: c\r\nSubject: x\r\nDate: now\r\n\r\nX-Spam: in the body\r\n";
        let (after, found) = swept(text, Origin::Foreign);
        assert_eq!(after, text);
        assert_eq!(found.rewritten, None);
        assert_eq!((found.hops, found.has_date, found.has_message_id, found.is_utf8), (2, true, false, false));
    }

    #[test]
    fn forged_fields_leave_with_their_continuation_lines() {
        let text = "X-Spam: No\r\nFrom: a\r\nx-SPAM-score : -9\r\n\tof 5\r\nAuthentication-Results: us;\r\n dkim=pass\r\n\
                    Return-Path: <x@y>\r\nOriginal-Recipient: rfc822;z@y\r\nBcc: b@y\r\nX-Spa: m\r\n\r\nbody\r\n";
        assert_eq!(swept(text, Origin::Foreign).0, "From: a\r\nBcc: b@y\r\nX-Spa: m\r\n\r\nbody\r\n");
        assert_eq!(swept(text, Origin::Submitted).0, "From: a\r\nX-Spa: m\r\n\r\nbody\r\n");
    }

    #[test]
    fn a_message_without_a_header_gets_an_empty_line() {
        assert_eq!(swept("hello there\r\n", Origin::Foreign).0, "\r\nhello there\r\n");
        assert_eq!(swept("Subject: x\r\nhello there\r\n", Origin::Foreign).0, "Subject: x\r\n\r\nhello there\r\n");
        assert_eq!(swept("Subject: x\r\n", Origin::Foreign).0, "Subject: x\r\n");
        assert_eq!(swept("", Origin::Foreign).0, "");
        assert_eq!(swept(" : x\r\n", Origin::Foreign).0, "\r\n : x\r\n");
    }

    #[test]
    fn bounds() {
        let large = format!("X: {}\r\n\r\n", "y".repeat(HEADER_LIMIT_BYTES));
        assert_eq!(sweep(&large.into(), Origin::Foreign), Err(TooLarge));
        let body = format!("X: y\r\n\r\n{}", "y".repeat(HEADER_LIMIT_BYTES));
        assert!(sweep(&body.into(), Origin::Foreign).is_ok());
        assert!(swept("Subject: é\r\n\r\n", Origin::Foreign).1.is_utf8);
        assert!(!swept("Subject: e\r\n\r\né\r\n", Origin::Foreign).1.is_utf8);
    }

    proptest! {
        #[test]
        fn nothing_forged_survives_and_any_bytes_are_safe(text in "(X-Spam|Subject|[ -~é]{0,6}|\r\n|:| |\t){0,40}") {
            let body = Bytes::from(text.into_bytes());
            let once = after(&sweep(&body, Origin::Foreign).unwrap(), &body);
            prop_assert_eq!(sweep(&once, Origin::Foreign).unwrap().rewritten, None);
            for field in Fields::of(&once) {
                prop_assert!(!is_one_of(field.name(&once), OURS));
            }
        }
    }
}
