//! What values of imap-codec's are here; where there is none, why not.

use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::datetime::NaiveDate;
use imap_codec::imap_types::extensions::sort;
use imap_codec::imap_types::fetch::{self, MessageDataItemName};
use imap_codec::imap_types::flag;
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::search;
use imap_codec::imap_types::sequence::{self, SeqOrUid, Sequence};
use imap_codec::imap_types::status::StatusDataItemName;

use crate::imap::command::fetch::FetchItem;
use crate::imap::command::search::SearchKey;
use crate::imap::command::sort::{Criterion, SortKey};
use crate::imap::command::status::StatusItem;
use crate::imap::cursor::Cursor;
use crate::imap::types::{Date, Flag, Keyword, MailboxName, Messages, Partial, Section, SectionPart, SequenceSet};

/// Why what is theirs is refused here.
pub(super) type Refused = &'static str;

pub(super) fn fetch_item(name: &MessageDataItemName<'_>) -> Result<FetchItem, Refused> {
    let stretch = |partial: &Option<(u32, _)>| partial.map(|(offset, length)| Partial { offset, length });
    let part = |path: &[_]| Section::new(path.to_vec(), SectionPart::Whole).unwrap();
    Ok(match name {
        MessageDataItemName::Body => FetchItem::Body,
        MessageDataItemName::BodyExt { section, partial, peek } => FetchItem::Section {
            section: section.as_ref().map_or_else(|| Ok(part(&[])), self::section)?,
            partial: stretch(partial),
            peek: *peek,
        },
        MessageDataItemName::BodyStructure => FetchItem::BodyStructure,
        MessageDataItemName::Envelope => FetchItem::Envelope,
        MessageDataItemName::Flags => FetchItem::Flags,
        MessageDataItemName::InternalDate => FetchItem::InternalDate,
        MessageDataItemName::Rfc822 => FetchItem::Rfc822,
        MessageDataItemName::Rfc822Header => FetchItem::Rfc822Header,
        MessageDataItemName::Rfc822Size => FetchItem::Rfc822Size,
        MessageDataItemName::Rfc822Text => FetchItem::Rfc822Text,
        MessageDataItemName::Uid => FetchItem::Uid,
        MessageDataItemName::ModSeq => FetchItem::ModSeq,
        MessageDataItemName::Binary { section, partial, peek } => {
            FetchItem::Binary { section: part(section), partial: stretch(partial), peek: *peek }
        }
        MessageDataItemName::BinarySize { section } => FetchItem::BinarySize(part(section)),
    })
}

fn section(section: &fetch::Section<'_>) -> Result<Section, Refused> {
    let path = |part: Option<&fetch::Part>| part.map_or_else(Vec::new, |part| part.0.as_ref().to_vec());
    let fields = |names: &[AString<'_>]| names.iter().map(field_name).collect::<Result<Vec<_>, _>>();
    let (path, part) = match section {
        fetch::Section::Part(part) => (path(Some(part)), SectionPart::Whole),
        fetch::Section::Header(part) => (path(part.as_ref()), SectionPart::Header),
        fetch::Section::HeaderFields(part, names) => {
            (path(part.as_ref()), SectionPart::HeaderFields(fields(names.as_ref())?))
        }
        fetch::Section::HeaderFieldsNot(part, names) => {
            (path(part.as_ref()), SectionPart::HeaderFieldsNot(fields(names.as_ref())?))
        }
        fetch::Section::Text(part) => (path(part.as_ref()), SectionPart::Text),
        fetch::Section::Mime(part) => (path(Some(part)), SectionPart::Mime),
    };
    Section::new(path, part).ok_or("MIME without a part")
}

pub(super) fn status_item(name: &StatusDataItemName) -> StatusItem {
    match name {
        StatusDataItemName::Messages => StatusItem::Messages,
        StatusDataItemName::Recent => StatusItem::Recent,
        StatusDataItemName::UidNext => StatusItem::UidNext,
        StatusDataItemName::UidValidity => StatusItem::UidValidity,
        StatusDataItemName::Unseen => StatusItem::Unseen,
        StatusDataItemName::Deleted => StatusItem::Deleted,
        StatusDataItemName::DeletedStorage => StatusItem::DeletedStorage,
        StatusDataItemName::Size => StatusItem::Size,
        StatusDataItemName::HighestModSeq => StatusItem::HighestModSeq,
    }
}

pub(super) fn criterion(criterion: &sort::SortCriterion) -> Criterion {
    let key = match criterion.key {
        sort::SortKey::Arrival => SortKey::Arrival,
        sort::SortKey::Cc => SortKey::Cc,
        sort::SortKey::Date => SortKey::Date,
        sort::SortKey::DisplayFrom => SortKey::DisplayFrom,
        sort::SortKey::DisplayTo => SortKey::DisplayTo,
        sort::SortKey::From => SortKey::From,
        sort::SortKey::Size => SortKey::Size,
        sort::SortKey::Subject => SortKey::Subject,
        sort::SortKey::To => SortKey::To,
    };
    Criterion { key, reverse: criterion.reverse }
}

/// All of these keys.
pub(super) fn all(keys: &[search::SearchKey<'_>]) -> Result<SearchKey, Refused> {
    match keys {
        [only] => key(only),
        keys => keys.iter().map(key).collect::<Result<_, _>>().map(SearchKey::And),
    }
}

fn key(theirs: &search::SearchKey<'_>) -> Result<SearchKey, Refused> {
    use search::SearchKey as Theirs;

    let has = |flag| Ok(SearchKey::Has(flag));
    let not = |key: SearchKey| SearchKey::Not(Box::new(key));
    let lacks = |flag| Ok(not(SearchKey::Has(flag)));
    let header = |name: &str, holds: &AString<'_>| Ok(SearchKey::Header { name: name.to_owned(), text: text(holds)? });
    match theirs {
        Theirs::And(keys) => all(keys.as_ref()),
        Theirs::SequenceSet(numbers) => Ok(SearchKey::Sequence(set(numbers))),
        Theirs::Uid(numbers) => Ok(SearchKey::Uid(set(numbers))),
        Theirs::All => Ok(SearchKey::All),
        Theirs::Answered => has(Flag::Answered),
        Theirs::Deleted => has(Flag::Deleted),
        Theirs::Draft => has(Flag::Draft),
        Theirs::Flagged => has(Flag::Flagged),
        Theirs::Seen => has(Flag::Seen),
        Theirs::Unanswered => lacks(Flag::Answered),
        Theirs::Undeleted => lacks(Flag::Deleted),
        Theirs::Undraft => lacks(Flag::Draft),
        Theirs::Unflagged => lacks(Flag::Flagged),
        Theirs::Unseen => lacks(Flag::Seen),
        Theirs::Keyword(word) => has(keyword(word.as_ref())?),
        Theirs::Unkeyword(word) => lacks(keyword(word.as_ref())?),
        Theirs::Recent => Ok(SearchKey::Recent),
        Theirs::Old => Ok(not(SearchKey::Recent)),
        Theirs::New => Ok(SearchKey::And(vec![SearchKey::Recent, not(SearchKey::Has(Flag::Seen))])),
        Theirs::Bcc(holds) => header("BCC", holds),
        Theirs::Cc(holds) => header("CC", holds),
        Theirs::From(holds) => header("FROM", holds),
        Theirs::Subject(holds) => header("SUBJECT", holds),
        Theirs::To(holds) => header("TO", holds),
        Theirs::Header(name, holds) => header(&field_name(name)?, holds),
        Theirs::Body(holds) => text(holds).map(SearchKey::Body),
        Theirs::Text(holds) => text(holds).map(SearchKey::Text),
        Theirs::Before(day) => Ok(SearchKey::Before(date(day))),
        Theirs::On(day) => Ok(SearchKey::On(date(day))),
        Theirs::Since(day) => Ok(SearchKey::Since(date(day))),
        Theirs::SentBefore(day) => Ok(SearchKey::SentBefore(date(day))),
        Theirs::SentOn(day) => Ok(SearchKey::SentOn(date(day))),
        Theirs::SentSince(day) => Ok(SearchKey::SentSince(date(day))),
        Theirs::Larger(size) => Ok(SearchKey::Larger(*size)),
        Theirs::Smaller(size) => Ok(SearchKey::Smaller(*size)),
        Theirs::Older(seconds) => Ok(SearchKey::Older(seconds.get())),
        Theirs::Younger(seconds) => Ok(SearchKey::Younger(seconds.get())),
        Theirs::ModSequence { modseq, .. } => Ok(SearchKey::ModSeq(*modseq)),
        Theirs::Not(one) => Ok(not(key(one)?)),
        Theirs::Or(one, other) => Ok(SearchKey::Or(Box::new(key(one)?), Box::new(key(other)?))),
    }
}

pub(super) fn date(day: &NaiveDate) -> Date {
    Date::parse(day.as_ref().format("%d-%b-%Y").to_string().as_bytes()).unwrap()
}

/// None for `\Recent`, which is let through and is not the client's to set.
pub(super) fn flag(flag: &flag::Flag<'_>) -> Result<Option<Flag>, Refused> {
    Ok(Some(match flag {
        flag::Flag::Answered => Flag::Answered,
        flag::Flag::Deleted => Flag::Deleted,
        flag::Flag::Draft => Flag::Draft,
        flag::Flag::Flagged => Flag::Flagged,
        flag::Flag::Seen => Flag::Seen,
        flag::Flag::Keyword(word) => keyword(word.as_ref())?,
        flag::Flag::Extension(_) if flag.to_string().eq_ignore_ascii_case("\\Recent") => return Ok(None),
        // RFC 3501 §9: none is defined.
        flag::Flag::Extension(_) => return Err("a flag that no standard knows"),
    }))
}

fn keyword(word: &str) -> Result<Flag, Refused> {
    Keyword::new(word.as_bytes()).map(Flag::Keyword).ok_or("a keyword that is too long")
}

/// RFC 3501 §6.4.4: US-ASCII must be known, UTF-8 is.
pub(super) fn known(charset: &str) -> Result<(), Refused> {
    let known = ["US-ASCII", "UTF-8"].iter().any(|known| known.eq_ignore_ascii_case(charset));
    if known { Ok(()) } else { Err("a charset that is not offered") }
}

pub(super) fn text(string: &AString<'_>) -> Result<String, Refused> {
    String::from_utf8(string.as_ref().to_vec()).map_err(|_| "text is UTF-8 here, whatever it is said to be")
}

/// RFC 5322 §2.2. An `astring` may be more, and could not be found.
fn field_name(string: &AString<'_>) -> Result<String, Refused> {
    let name = text(string)?;
    let legal = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if legal { Ok(name) } else { Err("not the name of a field") }
}

/// RFC 5464 §3.2: what no standard allows is answered BAD. Random bytes make no name.
pub(super) fn entry_name(name: &[u8]) -> Result<(), Refused> {
    if name.starts_with(b"/private/") || name.starts_with(b"/shared/") {
        Ok(())
    } else {
        Err("not the name of an entry")
    }
}

pub(super) fn wire<'m>(mailbox: &'m Mailbox<'_>) -> &'m [u8] {
    match mailbox {
        Mailbox::Inbox => b"INBOX",
        Mailbox::Other(other) => other.as_ref(),
    }
}

pub(super) fn name(mailbox: &Mailbox<'_>) -> Result<MailboxName, Refused> {
    named(wire(mailbox))
}

pub(super) fn named(wire: &[u8]) -> Result<MailboxName, Refused> {
    MailboxName::from_wire(wire).map_err(|_| "not modified UTF-7, or no name (answered CANNOT)")
}

pub(super) fn messages(numbers: &sequence::SequenceSet, by_uid: bool) -> Messages {
    if by_uid { Messages::ByUid(set(numbers)) } else { Messages::BySequence(set(numbers)) }
}

pub(super) fn set(numbers: &sequence::SequenceSet) -> SequenceSet {
    let number = |number: &SeqOrUid| match number {
        SeqOrUid::Value(value) => value.to_string(),
        SeqOrUid::Asterisk => "*".to_owned(),
    };
    let range = |range: &Sequence| match range {
        Sequence::Single(one) => number(one),
        Sequence::Range(first, last) => format!("{}:{}", number(first), number(last)),
    };
    let ranges: Vec<String> = numbers.0.as_ref().iter().map(range).collect();
    SequenceSet::parse(&mut Cursor::new(ranges.join(",").as_bytes())).unwrap()
}

pub(super) fn once<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut all, item| {
        if !all.contains(&item) {
            all.push(item);
        }
        all
    })
}

/// imap-codec writes an empty list, too; the grammar wants one.
pub(super) fn some<T>(items: Vec<T>) -> Result<Vec<T>, Refused> {
    if items.is_empty() { Err("an empty list") } else { Ok(items) }
}
