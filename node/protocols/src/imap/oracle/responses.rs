//! What is said here, imap-codec reads, all of it, and would say the same.

use std::num::NonZeroU32;

use bytes::Bytes;
use imap_codec::decode::Decoder;
use imap_codec::encode::Encoder;
use imap_codec::imap_types::fetch::MessageDataItem;
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::response::{Data, Response, Status};
use imap_codec::{GreetingCodec, ResponseCodec};
use proptest::prelude::*;

use crate::imap::capability::Capabilities;
use crate::imap::command::Command;
use crate::imap::command::fetch::{Fetch, FetchItem};
use crate::imap::command::status::StatusItem;
use crate::imap::command::tests::command;
use crate::imap::message::Message;
use crate::imap::message::envelope::envelope;
use crate::imap::message::structure::structure;
use crate::imap::response::{Attribute, Code, Completion, FetchItems, ListEntry, Output, QuotaResource, StatusValue};
use crate::imap::server::tests::Dialog;
use crate::imap::server::{Limits, Offer, Server};
use crate::imap::thread::{Threadable, ordered_subject, references};
use crate::imap::types::{
    DateTime, Dialect, Flag, Flags, Keyword, MailboxName, NumberSet, Tag, Uid, UidSet, UidValidity,
};
use crate::sasl::Mechanism;

/// What is written, read by imap-codec, which must be what it would have written itself.
fn agreed(write: impl FnOnce(&mut Output)) -> Vec<Response<'static>> {
    agreed_in(Dialect::default(), write)
}

/// The same, for a client that speaks so.
fn agreed_in(dialect: Dialect, write: impl FnOnce(&mut Output)) -> Vec<Response<'static>> {
    let mut output = Output::default();
    output.speak(dialect);
    write(&mut output);
    let ours = output.into_bytes();
    let shown = String::from_utf8_lossy(&ours);
    let (mut said, mut theirs, mut rest) = (Vec::new(), Vec::new(), &ours[..]);
    while !rest.is_empty() {
        let read = ResponseCodec::default().decode_static(rest);
        let (behind, response) = read.unwrap_or_else(|error| {
            panic!("{shown}\nis not read from here: {}\n{error:?}", String::from_utf8_lossy(rest))
        });
        rest = behind;
        theirs.extend(ResponseCodec::default().encode(&response).dump());
        said.push(response);
    }
    // Where case does not count, imap-codec writes some words in capitals: IMAP4REV1, "TEXT".
    let theirs = String::from_utf8_lossy(&theirs);
    assert!(shown.eq_ignore_ascii_case(&theirs), "{shown}\nwould be\n{theirs}");
    said
}

#[test]
fn greetings() {
    for (secure, mechanisms) in [(false, vec![]), (true, vec![Mechanism::Plain, Mechanism::Login])] {
        let offer = Offer { start_tls: !secure, login: true, mechanisms };
        let dialog = Dialog::new(Server::greet(offer, secure, Limits::default()));
        let (rest, greeting) = GreetingCodec::default().decode(&dialog.sent).unwrap();
        assert!(rest.is_empty());
        assert!(GreetingCodec::default().encode(&greeting).dump().eq_ignore_ascii_case(&dialog.sent));
    }
}

#[test]
fn what_is_said_of_mailboxes() {
    let (inbox, drafts) = (MailboxName::inbox(), MailboxName::new("Entwürfe/a \"b\" & c").unwrap());
    let numbers: NumberSet = [41, 43, 44].into_iter().collect();
    let flags = Flags::from_iter([Flag::Seen, Flag::Draft, Flag::Keyword(Keyword::new(b"$work").unwrap())]);
    let said = agreed(|output| {
        output.exists(0);
        output.exists(u32::MAX);
        output.recent(3);
        output.expunge(44);
        output.vanished(&numbers, true);
        output.vanished(&numbers, false);
        output.flags(&flags);
        output.flags(&Flags::new());
        output.search([2, 3, 6], None);
        output.search([], None);
        output.search([2, 5], Some(917_162_500));
        output.sort([3, 1, 2], None);
        output.sort([3], Some(9));
        for name in [&inbox, &drafts] {
            output.list(&ListEntry::new(name, &[Attribute::HasNoChildren, Attribute::Sent, Attribute::NonExistent]));
            output.lsub(&ListEntry::new(name, &[Attribute::NoSelect]));
            let items = [
                StatusItem::Messages,
                StatusItem::Recent,
                StatusItem::UidNext,
                StatusItem::UidValidity,
                StatusItem::Unseen,
                StatusItem::Deleted,
                StatusItem::DeletedStorage,
                StatusItem::Size,
                StatusItem::HighestModSeq,
            ];
            output.mailbox_status(name, &items.map(|item| StatusValue { item, value: 7 }));
            output.metadata(Some(name), [("/shared/comment", Some(&b"My \"comment\""[..])), ("/private/c", None)]);
            output.metadata(Some(name), [("/private/a b", Some(&b"a\0b"[..])), ("/private/c", Some(&b"\xff"[..]))]);
            output.metadata_changed(Some(name), ["/shared/comment", "/private/a b"]);
            output.quota_root(name, &["", "ana@example.edu"]);
        }
        output.list_separator();
        output.metadata_changed(None, ["/private/c"]);
        let storage = QuotaResource { name: "STORAGE", used: 10, limit: u64::from(u32::MAX) + 1 };
        output.quota("", &[storage, QuotaResource { name: "MESSAGE", used: 3, limit: 100 }]);
        output.id(&[("name", "Estafeta"), ("version", "0.1")]);
        output.id(&[]);
        output.enabled(&["CONDSTORE", "QRESYNC", "UTF8=ACCEPT"]);
        output.capability(&Capabilities::Authenticated { append_limit: 50_000_000 });
    });
    let named = |data: &Response<'_>| match data {
        Response::Data(Data::Lsub { mailbox: Mailbox::Other(name), .. }) => MailboxName::from_wire(name.as_ref()).ok(),
        _ => None,
    };
    assert_eq!(said.iter().find_map(named), Some(drafts));
}

#[test]
fn how_commands_end() {
    let tag = Tag::new(b"a1").unwrap();
    let uids = |numbers: &[u32]| numbers.iter().filter_map(|number| Uid::new(*number)).collect::<UidSet>();
    let flags = Flags::from_iter([Flag::Deleted, Flag::Seen]);
    let validity = UidValidity::new(38505).unwrap();
    let codes = [
        Code::Alert,
        Code::AlreadyExists,
        Code::AppendUid(validity, uids(&[3955, 3956])),
        Code::AuthenticationFailed,
        Code::BadCharset,
        Code::BadEvent,
        Code::BadUrl("/a]b;UID=1".into()),
        Code::Cannot,
        Code::Capability(Capabilities::Authenticated { append_limit: 1 }),
        Code::Closed,
        Code::CompressionActive,
        Code::CopyUid { validity, source: uids(&[304, 319, 320]), destination: uids(&[3956, 3957, 3958]) },
        Code::ExpungeIssued,
        Code::HighestModSeq(715_194_045_007),
        Code::InProgress(Some(&tag), NonZeroU32::new(1000).map(|goal| (454, goal))),
        Code::InProgress(None, None),
        Code::MailboxId(31),
        Code::MetadataLongEntries(2199),
        Code::MetadataMaxSize(1024),
        Code::MetadataTooMany,
        Code::Modified([7, 9, 10].into_iter().collect()),
        Code::NonExistent,
        Code::NotificationOverflow,
        Code::OverQuota,
        Code::PermanentFlags { flags: &flags, create: true },
        Code::PermanentFlags { flags: &flags, create: false },
        Code::PermanentFlags { flags: &Flags::new(), create: false },
        Code::ReadOnly,
        Code::ReadWrite,
        Code::TooBig,
        Code::TryCreate,
        Code::UidNext(Uid::new(3955).unwrap()),
        Code::UidRequired,
        Code::UidValidity(validity),
        Code::Unavailable,
        Code::UnknownCte,
        Code::Unseen(17),
        Code::UseAttribute,
    ];
    for code in codes {
        let said = agreed(|output| {
            output.notice(&code, "done");
            output.warning(Some(&code), "done");
            output.bye(Some(&code), "done");
            output.completion(Some(&tag), &Completion::ok("done").with(code.clone()));
            output.completion(Some(&tag), &Completion::bad("done").with(code.clone()));
        });
        let coded = said.iter().all(|response| match response {
            Response::Status(Status::Untagged(body)) => body.code.is_some() && body.text.as_ref() == "done",
            Response::Status(Status::Tagged(tagged)) => tagged.body.code.is_some(),
            Response::Status(Status::Bye(bye)) => bye.code.is_some(),
            _ => false,
        });
        assert!(coded, "{said:?}");
    }
    agreed(|output| output.continuation("idling"));
}

/// Everything of a message that imap-codec knows.
fn tell(items: &mut FetchItems<'_>, message: &Message) {
    items.uid(Uid::new(7).unwrap());
    items.flags(["\\Seen", "$work"], true);
    items.internal_date(DateTime::from_unix_seconds(1_700_000_000));
    items.size(message.len() as u64);
    items.mod_sequence(u64::from(u32::MAX) + 1);
    items.envelope(&envelope(message));
    items.structure(&structure(message, true), true);
    items.structure(&structure(message, false), false);
}

#[test]
fn sections() {
    let asked = "(BODY[] BODY[HEADER] BODY[TEXT]<0.5> BODY[1.2] BODY[1.MIME] BODY[HEADER.FIELDS (From \"X-(A)\")] \
                 BODY[3.HEADER.FIELDS.NOT (X)] RFC822 RFC822.HEADER RFC822.TEXT BINARY[1] BINARY.SIZE[1.2])";
    let Some(Command::Fetch(Fetch { items, .. })) = command(&format!("FETCH 1 {asked}")) else { panic!("{asked}") };
    let piece = |text: &'static str| Some([Bytes::from_static(text.as_bytes()), Bytes::new()]);
    for content in [piece("hi\r\n"), piece(""), None] {
        let said = agreed(|output| {
            output.fetch(1, |writer| {
                for item in &items {
                    match item {
                        FetchItem::Binary { section, partial, .. } => {
                            writer.binary(section, *partial, content.clone());
                        }
                        FetchItem::BinarySize(section) => writer.binary_size(section, 9),
                        item => writer.content(item, content.clone()),
                    }
                }
            });
        });
        let [Response::Data(Data::Fetch { items: said, .. })] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(said.as_ref().len(), items.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn messages(body in "((From|To|Cc|Reply-To|Subject|Date|Message-ID|In-Reply-To|Content-(ID|Description|Language|Location|MD5|Disposition|Transfer-Encoding)): [ -~é\t\x00\x01]{0,30}(\r\n [a-z@<>\"]{0,9})?\r\n|(Content-Type: (multipart/[a-b]; boundary=[ab]|message/rfc822|text/(html|plain); charset=\"?[a\"()\\\\]\"?|[a-z]{0,3}/[a-z]{0,3}; (name|[a-z*0]{1,4})=[ -~]{0,9})|--[ab]|--[ab]--|[<>&;a \"()\\\\é]{0,9}|Subject: x)?\r?\n?){0,25}") {
        let message = Message::new(Bytes::new(), Bytes::from(body));
        let said = agreed(|output| output.fetch(12, |items| tell(items, &message)));
        let [Response::Data(Data::Fetch { seq, items })] = said.as_slice() else { panic!("{said:?}") };
        prop_assert_eq!((seq.get(), items.as_ref().len()), (12, 8));
        let size = items.as_ref().iter().find_map(|item| match item {
            MessageDataItem::Rfc822Size(size) => Some(*size as usize),
            _ => None,
        });
        prop_assert_eq!(size, Some(message.len()));
    }

    #[test]
    fn conversations(messages in proptest::collection::vec((0..3_u8, proptest::collection::vec(0..9_u8, 0..3)), 1..9)) {
        let messages: Vec<Threadable> = (0_u8..).zip(messages).map(|(index, (subject, references))| Threadable {
            id: Some(vec![index]),
            references: references.into_iter().map(|reference| vec![reference]).collect(),
            subject: subject.to_string(),
            is_reply_or_forward: subject == 0,
            sent: i64::from(subject),
        }).collect();
        let said = agreed(|output| {
            output.thread(&references(&messages), |index| index as u32 + 1);
            output.thread(&ordered_subject(&messages), |index| index as u32 + 1);
        });
        prop_assert!(said.iter().all(|one| matches!(one, Response::Data(Data::Thread(_)))));
    }

    #[test]
    fn names(name in "\\PC{1,30}", text in any::<String>()) {
        let Ok(name) = MailboxName::new(&name) else { return Ok(()) };
        let tag = Tag::new(b"a1").unwrap();
        for utf8 in [false, true] {
            let said = agreed_in(Dialect { utf8, ..Dialect::default() }, |output| {
                output.list(&ListEntry::new(&name, &[]));
                output.completion(Some(&tag), &Completion::no(text.as_str()));
                output.warning(None, &text);
                output.bye(Some(&Code::BadUrl(text.as_str().into())), &text);
                output.id(&[("name", &text)]);
            });
            let Some(Response::Data(Data::List { mailbox, .. })) = said.first() else { panic!("{said:?}") };
            let read = match mailbox {
                Mailbox::Inbox => Ok(MailboxName::inbox()),
                Mailbox::Other(other) if utf8 => MailboxName::new(&String::from_utf8_lossy(other.as_ref())),
                Mailbox::Other(other) => MailboxName::from_wire(other.as_ref()),
            };
            prop_assert_eq!((read.as_ref(), said.len()), (Ok(&name), 5));
        }
    }
}
