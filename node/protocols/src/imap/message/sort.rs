//! What SORT and THREAD compare of a message (RFC 5256 §2.2, §3; RFC 5957 §3), read from its header.

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use super::address::{Entry, parse};
use super::subject::{BaseSubject, unicode_casemap};
use super::text::decode_field;
use super::{Message, identifier};
use crate::imap::command::sort::{Criterion, SortKey};
use crate::imap::thread::Threadable;

/// What a message is sorted by under one criterion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A time in seconds since 1970, or a size in bytes.
    Number(i64),
    /// As `i;unicode-casemap` compares it.
    Text(String),
}

/// Puts ranks in the order that the criteria ask for; `None` where the messages are alike.
pub fn compare(criteria: &[Criterion], one: &[Rank], other: &[Rank]) -> std::cmp::Ordering {
    let each = criteria.iter().zip(one.iter().zip(other));
    let mut orders = each.map(|(criterion, (one, other))| {
        let order = one.cmp(other);
        if criterion.reverse { order.reverse() } else { order }
    });
    orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

impl Message {
    /// What the message is sorted by. Of the message nothing is read but its header; it was received at `received`, in
    /// seconds since 1970, has so many bytes, and is so relevant, of 100.
    pub fn rank(&self, key: SortKey, received: i64, size: u64, relevancy: u8) -> Rank {
        match key {
            // RFC 6203 §6: the highest first.
            SortKey::Relevancy => Rank::Number(-i64::from(relevancy)),
            SortKey::Arrival => Rank::Number(received),
            SortKey::Size => Rank::Number(size.try_into().unwrap_or(i64::MAX)),
            SortKey::Date => Rank::Number(self.sent_at().unwrap_or(received)),
            SortKey::Subject => Rank::Text(unicode_casemap(&self.base_subject().text)),
            SortKey::Cc => self.first_address("Cc", false),
            SortKey::From => self.first_address("From", false),
            SortKey::To => self.first_address("To", false),
            SortKey::DisplayFrom => self.first_address("From", true),
            SortKey::DisplayTo => self.first_address("To", true),
        }
    }

    /// What the message is threaded by.
    pub fn threadable(&self, received: i64) -> Threadable {
        let header = self.header();
        let identifiers = |name: &str| header.value(name).map(|value| identifier::all(&value)).unwrap_or_default();
        let mut references = identifiers("References");
        if references.is_empty() {
            // RFC 5256 §3: of In-Reply-To only the first.
            references = identifiers("In-Reply-To");
            references.truncate(1);
        }
        let subject = self.base_subject();
        Threadable {
            id: identifiers("Message-ID").into_iter().next(),
            references,
            subject: unicode_casemap(&subject.text),
            is_reply_or_forward: subject.is_reply_or_forward,
            sent: self.sent_at().unwrap_or(received),
        }
    }

    fn base_subject(&self) -> BaseSubject {
        BaseSubject::of(&self.header().first("Subject").map(|field| decode_field(field.value)).unwrap_or_default())
    }

    /// The moment in the Date field, in seconds since 1970; none when there is none that makes sense.
    fn sent_at(&self) -> Option<i64> {
        let line = [self.header().first("Date")?.value.trim_ascii(), b"\n"].concat();
        match MessageStream::new(&line).parse_date() {
            HeaderValue::DateTime(date) if date.is_valid() => Some(date.to_timestamp()),
            _ => None,
        }
    }

    /// Of the first address its `addr-mailbox`; or what is shown of it, which is its name, or else the address (RFC 5957
    /// §3).
    fn first_address(&self, field: &str, shown: bool) -> Rank {
        let first = self.header().first(field).and_then(|field| parse(field.value).into_iter().next());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Rank::Text(unicode_casemap(&match first {
            Some(Entry::Mailbox { name: Some(name), .. }) if shown => decode_field(&name),
            Some(Entry::Mailbox { local, domain, .. }) if shown && !domain.is_empty() => {
                format!("{}@{}", text(&local), text(&domain))
            }
            Some(Entry::Mailbox { local, .. }) => text(&local),
            Some(Entry::GroupStart(name)) => decode_field(&name),
            Some(Entry::GroupEnd) | None => String::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn rank(header: &str, key: SortKey) -> Rank {
        Message::new(Bytes::new(), Bytes::copy_from_slice(header.as_bytes())).rank(key, 1_000, 77, 40)
    }

    #[test]
    fn known_answers() {
        let text = |text: &str| Rank::Text(text.to_owned());
        for (header, key, expected) in [
            ("", SortKey::Arrival, Rank::Number(1_000)),
            ("", SortKey::Size, Rank::Number(77)),
            ("", SortKey::Relevancy, Rank::Number(-40)),
            ("Date: Thu, 1 Jan 1970 01:00:05 +0100\r\n", SortKey::Date, Rank::Number(5)),
            ("Date: soon\r\n", SortKey::Date, Rank::Number(1_000)),
            ("", SortKey::Date, Rank::Number(1_000)),
            ("Subject: Re: [x] =?utf-8?q?h=C3=B3la?=\r\n", SortKey::Subject, text("HO\u{301}LA")),
            ("From: \"B\" <ana@x>, c@d\r\n", SortKey::From, text("ANA")),
            ("From: \"B\" <ana@x>, c@d\r\n", SortKey::DisplayFrom, text("B")),
            ("From: =?utf-8?q?=C3=81na?= <a@x>\r\n", SortKey::DisplayFrom, text("A\u{301}NA")),
            ("To: ana@x\r\n", SortKey::DisplayTo, text("ANA@X")),
            ("To: Team: a@b, c@d;\r\n", SortKey::DisplayTo, text("TEAM")),
            ("To: x\r\n", SortKey::Cc, text("")),
            ("Cc: zed@y\r\n", SortKey::Cc, text("ZED")),
        ] {
            assert_eq!(rank(header, key), expected, "{header} {key:?}");
        }
    }

    #[test]
    fn reversed_one_by_one() {
        let criterion = |key, reverse| Criterion { key, reverse };
        let criteria = [criterion(SortKey::Size, true), criterion(SortKey::Subject, false)];
        let ranks = |size, subject: &str| [Rank::Number(size), Rank::Text(subject.to_owned())];
        assert!(compare(&criteria, &ranks(2, "b"), &ranks(1, "a")).is_lt());
        assert!(compare(&criteria, &ranks(1, "b"), &ranks(1, "a")).is_gt());
        assert!(compare(&criteria, &ranks(1, "a"), &ranks(1, "a")).is_eq());
    }
}
