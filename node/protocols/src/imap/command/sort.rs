//! SORT and UID SORT (RFC 5256 §3, RFC 5267 §3.1, RFC 5957 §3, RFC 6203 §6).

use super::search::{Give, SearchKey, charset, check_relevancy, keys};
use super::{Command, Numbering, Request};
use crate::imap::cursor::{Cursor, Refusal};

/// The most criteria of one command.
const CRITERIA: usize = 32;

/// Which messages, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// UID SORT: answer with UIDs.
    pub by_uid: bool,
    /// The first decides; where messages are alike by it, the next.
    pub criteria: Vec<Criterion>,
    /// What must hold of a message.
    pub key: SearchKey,
    /// What of the result to answer, by ESEARCH; none for all of it by SORT.
    pub give: Option<Give>,
}

/// `sort-criterion`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Criterion {
    /// By what.
    pub key: SortKey,
    /// `REVERSE`: the other way round.
    pub reverse: bool,
}

/// `sort-key`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// `ARRIVAL`: INTERNALDATE.
    Arrival,
    /// `CC`: the first address's mailbox.
    Cc,
    /// `DATE`: when it was sent.
    Date,
    /// `DISPLAYFROM`: what is shown of the first sender (RFC 5957 §3).
    DisplayFrom,
    /// `DISPLAYTO`: what is shown of the first recipient (RFC 5957 §3).
    DisplayTo,
    /// `FROM`: the first address's mailbox.
    From,
    /// `RELEVANCY`: how well it answers what FUZZY asks for, the best first (RFC 6203 §6).
    Relevancy,
    /// `SIZE`
    Size,
    /// `SUBJECT`: the base subject.
    Subject,
    /// `TO`: the first address's mailbox.
    To,
}

impl SortKey {
    /// Whether it is read from the message's header.
    pub fn needs_header(self) -> bool {
        !matches!(self, Self::Arrival | Self::Relevancy | Self::Size)
    }
}

/// `sort = ["UID" SP] "SORT" [SP "RETURN" SP search-return-opts] SP sort-criteria SP search-criteria`
/// `sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"`
/// `search-criteria = charset 1*(SP search-key)`
pub(super) fn parse(cursor: &mut Cursor<'_>, numbering: Numbering) -> Result<Request, Refusal> {
    cursor.space()?;
    let mut give = None;
    if cursor.take_word(b"RETURN") {
        cursor.space()?;
        give = Some(Give::parse(cursor)?);
        cursor.space()?;
    }
    let criteria = criteria(cursor)?;
    cursor.space()?;
    charset(cursor)?;
    cursor.space()?;
    let key = keys(cursor)?;
    let by_relevancy = criteria.iter().any(|criterion| criterion.key == SortKey::Relevancy);
    check_relevancy(by_relevancy || give.is_some_and(|give| give.relevancy), &key)?;
    Ok(Request::Role(Command::Sort(Sort { by_uid: numbering == Numbering::Uid, criteria, key, give })))
}

fn criteria(cursor: &mut Cursor<'_>) -> Result<Vec<Criterion>, Refusal> {
    let mut criteria = Vec::new();
    cursor.expect(b'(')?;
    loop {
        let reverse = cursor.take_word(b"REVERSE");
        if reverse {
            cursor.space()?;
        }
        let key = match cursor.atom()?.to_ascii_uppercase().as_slice() {
            b"ARRIVAL" => SortKey::Arrival,
            b"CC" => SortKey::Cc,
            b"DATE" => SortKey::Date,
            b"DISPLAYFROM" => SortKey::DisplayFrom,
            b"DISPLAYTO" => SortKey::DisplayTo,
            b"FROM" => SortKey::From,
            b"RELEVANCY" => SortKey::Relevancy,
            b"SIZE" => SortKey::Size,
            b"SUBJECT" => SortKey::Subject,
            b"TO" => SortKey::To,
            _ => return Err(Refusal::Bad("Unknown sort key")),
        };
        criteria.push(Criterion { key, reverse });
        if criteria.len() > CRITERIA {
            return Err(Refusal::Bad("Too many sort keys"));
        }
        if cursor.take(b')') {
            return Ok(criteria);
        }
        cursor.space()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::{command, request};

    #[test]
    fn known_answers() {
        let criterion = |key, reverse| Criterion { key, reverse };
        let sort = Sort {
            by_uid: false,
            criteria: vec![criterion(SortKey::Subject, false), criterion(SortKey::Date, true)],
            key: SearchKey::All,
            give: None,
        };
        assert_eq!(command("SORT (SUBJECT REVERSE DATE) UTF-8 ALL"), Some(Command::Sort(sort.clone())));
        assert_eq!(
            command("UID SORT (subject reverse date) us-ascii ALL"),
            Some(Command::Sort(Sort { by_uid: true, ..sort.clone() }))
        );
        let give = Some(Give { all: true, ..Give::default() });
        assert_eq!(
            command("SORT RETURN () (SUBJECT REVERSE DATE) UTF-8 ALL"),
            Some(Command::Sort(Sort { give, ..sort }))
        );
        for line in [
            "SORT",
            "SORT () UTF-8 ALL",
            "SORT (SUBJECT) ALL",
            "SORT (SUBJECT) UTF-8",
            "SORT (FOO) UTF-8 ALL",
            "SORT (REVERSE) UTF-8 ALL",
            "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
            "SORT (SUBJECT UTF-8 ALL",
            "SORT SUBJECT UTF-8 ALL",
            "SORT (RELEVANCY) UTF-8 TEXT x",
            "SORT RETURN (RELEVANCY) (DATE) UTF-8 TEXT x",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
        assert!(command("SORT RETURN (RELEVANCY) (REVERSE RELEVANCY DATE) UTF-8 FUZZY TEXT x").is_some());
        assert_eq!(request(b"SORT (DATE) KOI8-R ALL"), Err(Refusal::BadCharset));
        assert_eq!(command(&format!("SORT ({}DATE) UTF-8 ALL", "DATE ".repeat(CRITERIA))), None);
    }
}
