//! What is said of the selected mailbox and of the server: EXISTS, RECENT, EXPUNGE, FLAGS, SEARCH, STATUS, CAPABILITY,
//! NAMESPACE, ID, ENABLED (RFC 3501 §7.2 to §7.4.1).

use super::Output;
use crate::imap::capability::Capabilities;
use crate::imap::command::search::Give;
use crate::imap::command::status::StatusItem;
use crate::imap::thread::{Step, Threads};
use crate::imap::types::{Flags, HIERARCHY_SEPARATOR, MailboxName, NumberSet, Tag};

/// One figure of a STATUS response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusValue {
    /// Which.
    pub item: StatusItem,
    /// How much.
    pub value: u64,
}

impl Output {
    /// `* n EXISTS`: so many messages are in the mailbox now. Never fewer than before: that, only EXPUNGE says.
    pub fn exists(&mut self, count: u32) {
        self.numbered(count, b"EXISTS");
    }

    /// `* n RECENT`: so many of them are recent in this session. IMAP4rev2 does not know it (RFC 9051 appendix E).
    pub fn recent(&mut self, count: u32) {
        if !self.dialect().rev2 {
            self.numbered(count, b"RECENT");
        }
    }

    /// `* n EXPUNGE`: that sequence number is gone, those behind it move up by one.
    pub fn expunge(&mut self, sequence: u32) {
        self.numbered(sequence, b"EXPUNGE");
    }

    /// `* VANISHED [(EARLIER)] uids`: these are expunged; `earlier`, before the client opened the mailbox, so that no sequence
    /// number moves (RFC 7162 §3.2.10).
    pub fn vanished(&mut self, uids: &NumberSet, earlier: bool) {
        let earlier = if earlier { "(EARLIER) " } else { "" };
        self.put_display(format_args!("* VANISHED {earlier}{uids}\r\n"));
    }

    fn numbered(&mut self, number: u32, word: &[u8]) {
        self.put(b"* ");
        self.put_number(u64::from(number));
        self.put_byte(b' ');
        self.put(word);
        self.end_line();
    }

    /// `* FLAGS (…)`: the flags that messages here may have.
    pub fn flags(&mut self, flags: &Flags) {
        self.put(b"* FLAGS (");
        self.put_display(flags);
        self.put(b")\r\n");
    }

    /// `* SEARCH …`: sequence numbers or UIDs; with the highest modification sequence among them when the search asked for
    /// one (RFC 7162 §3.1.5).
    pub fn search(&mut self, numbers: impl IntoIterator<Item = u32>, mod_sequence: Option<u64>) {
        self.put(b"* SEARCH");
        for number in numbers {
            self.put_byte(b' ');
            self.put_number(u64::from(number));
        }
        if let Some(value) = mod_sequence {
            self.put_display(format_args!(" (MODSEQ {value})"));
        }
        self.end_line();
    }

    /// `* ESEARCH (TAG "…") …`: what the search was asked to give of its result (RFC 4731 §3.1), or a SORT (RFC 5267 §3.1):
    /// `found` is ascending, or in the order asked for. MIN and MAX are the first and the last in it. `scores` are the
    /// messages' in the same order, when they are asked for.
    pub(crate) fn extended_search(
        &mut self,
        tag: Option<&Tag>,
        by_uid: bool,
        give: Give,
        found: &[u32],
        scores: &[u8],
        mod_sequence: Option<u64>,
    ) {
        self.put(b"* ESEARCH");
        if let Some(tag) = tag {
            self.put_display(format_args!(" (TAG \"{}\")", tag.as_str()));
        }
        if by_uid {
            self.put(b" UID");
        }
        // §3.1: what nothing was found of is not named, but COUNT.
        if let (true, Some(first)) = (give.min, found.first()) {
            self.put_display(format_args!(" MIN {first}"));
        }
        if let (true, Some(last)) = (give.max, found.last()) {
            self.put_display(format_args!(" MAX {last}"));
        }
        if give.all && !found.is_empty() {
            self.put(b" ALL ");
            self.ordered_set(found);
        }
        if let Some(window) = give.window {
            // RFC 9394 §3.1: "NIL" where there is nothing.
            self.put_display(format_args!(" PARTIAL ({window} "));
            match found.get(window.of(found.len())) {
                Some(page @ [_, ..]) => self.ordered_set(page),
                _ => self.put(b"NIL"),
            }
            self.put(b")");
        }
        if give.count {
            self.put_display(format_args!(" COUNT {}", found.len()));
        }
        if give.relevancy {
            // RFC 6203 §6: of a page, those of the page.
            let shown = give.window.map_or(0..scores.len(), |window| window.of(scores.len()));
            self.put(b" RELEVANCY (");
            for (place, score) in scores.get(shown).unwrap_or_default().iter().enumerate() {
                self.put_display(format_args!("{}{score}", if place > 0 { " " } else { "" }));
            }
            self.put(b")");
        }
        if let Some(value) = mod_sequence {
            self.put_display(format_args!(" MODSEQ {value}"));
        }
        self.end_line();
    }

    /// `* SORT …`: sequence numbers or UIDs, in order; with the highest modification sequence among them when the search
    /// asked for one (RFC 7162 §3.1.6).
    pub fn sort(&mut self, numbers: impl IntoIterator<Item = u32>, mod_sequence: Option<u64>) {
        self.put(b"* SORT");
        for number in numbers {
            self.put_byte(b' ');
            self.put_number(u64::from(number));
        }
        if let Some(value) = mod_sequence {
            self.put_display(format_args!(" (MODSEQ {value})"));
        }
        self.end_line();
    }

    /// Numbers as a set whose order says something: a range only where they ascend one by one.
    fn ordered_set(&mut self, numbers: &[u32]) {
        let runs = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
        for (index, run) in runs.enumerate() {
            if index > 0 {
                self.put_byte(b',');
            }
            match run {
                [first, .., last] => self.put_display(format_args!("{first}:{last}")),
                only => only.iter().for_each(|number| self.put_number(u64::from(*number))),
            }
        }
    }

    /// `* THREAD (…)(…)`, each message under its number (RFC 5256 §5).
    pub fn thread(&mut self, threads: &Threads, number: impl Fn(usize) -> u32) {
        self.put(b"* THREAD");
        let mut before = None;
        for step in threads.steps() {
            match (step, before) {
                (Step::Open, None | Some(Step::Message(_))) => self.put(b" ("),
                (Step::Open, _) => self.put_byte(b'('),
                (Step::Close, _) => self.put_byte(b')'),
                (Step::Message(index), before) => {
                    if matches!(before, Some(Step::Message(_))) {
                        self.put_byte(b' ');
                    }
                    self.put_number(u64::from(number(index)));
                }
            }
            before = Some(step);
        }
        self.end_line();
    }

    /// `* STATUS mailbox (…)`
    pub fn mailbox_status(&mut self, mailbox: &MailboxName, values: &[StatusValue]) {
        self.put(b"* STATUS ");
        self.mailbox(mailbox);
        self.put(b" (");
        for (index, StatusValue { item, value }) in values.iter().enumerate() {
            if index > 0 {
                self.put_byte(b' ');
            }
            match item {
                StatusItem::MailboxId => self.put_display(format_args!("{} ({})", item.name(), mailbox_id(*value))),
                _ => self.put_display(format_args!("{} {value}", item.name())),
            }
        }
        self.put(b")\r\n");
    }

    /// `* CAPABILITY …`
    pub(crate) fn capability(&mut self, capabilities: &Capabilities<'_>) {
        self.put(b"* CAPABILITY ");
        self.put_display(capabilities);
        self.end_line();
    }

    /// `* NAMESPACE (("" "/")) ((prefix "/")) NIL`: the user's own mailboxes, and where those of others are (RFC 2342 §5).
    pub fn namespace(&mut self, others: &MailboxName) {
        self.put_display(format_args!("* NAMESPACE ((\"\" \"{HIERARCHY_SEPARATOR}\")) (("));
        self.string(format!("{}{HIERARCHY_SEPARATOR}", others.to_wire()).as_bytes());
        self.put_display(format_args!(" \"{HIERARCHY_SEPARATOR}\")) NIL\r\n"));
    }

    /// `* ID (…)`: what the server calls itself (RFC 2971 §3.2).
    pub fn id(&mut self, parameters: &[(&str, &str)]) {
        self.put(b"* ID ");
        if parameters.is_empty() {
            self.put(b"NIL");
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            self.put_byte(if index == 0 { b'(' } else { b' ' });
            self.string(name.as_bytes());
            self.put_byte(b' ');
            self.string(value.as_bytes());
        }
        if !parameters.is_empty() {
            self.put_byte(b')');
        }
        self.end_line();
    }

    /// `* ENABLED …`: these extensions were switched on just now (RFC 5161 §3.2).
    pub fn enabled(&mut self, capabilities: &[&str]) {
        self.put(b"* ENABLED");
        for capability in capabilities {
            self.put_byte(b' ');
            self.put(capability.as_bytes());
        }
        self.end_line();
    }
}

/// MAILBOXID, of the number that stands for it (RFC 8474 §4).
pub(super) fn mailbox_id(number: u64) -> impl std::fmt::Display {
    format!("F{number:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::types::{Flag, Keyword};

    #[test]
    fn known_answers() {
        let mut output = Output::default();
        output.exists(23);
        output.recent(0);
        output.expunge(44);
        output.vanished(&[41, 43, 44].into_iter().collect(), true);
        output.vanished(&[7].into_iter().collect(), false);
        output.flags(&Flags::from_iter([Flag::Seen, Flag::Keyword(Keyword::new(b"work").unwrap())]));
        output.search([2, 3, 6], None);
        output.search([], None);
        output.search([2, 5], Some(917_162_500));
        let tag = Tag::new(b"A282").unwrap();
        let give = Give { min: true, count: true, ..Give::default() };
        output.extended_search(Some(&tag), false, give, &[2, 10, 11], &[], None);
        let give = Give { max: true, all: true, ..Give::default() };
        output.extended_search(Some(&tag), true, give, &[2, 10, 11], &[], Some(7));
        output.extended_search(None, false, Give { min: true, max: true, all: true, ..give }, &[], &[], None);
        let values = [(StatusItem::Messages, 231), (StatusItem::UidNext, 44_292)]
            .map(|(item, value)| StatusValue { item, value });
        output.mailbox_status(&MailboxName::new("a b").unwrap(), &values);
        output.namespace(&MailboxName::new("Other users").unwrap());
        output.id(&[("name", "Estafeta"), ("version", "0.1")]);
        output.id(&[]);
        output.enabled(&[]);
        output.enabled(&["CONDSTORE"]);
        output.sort([3, 1, 2], None);
        output.sort([], Some(9));
        let give = Give { min: true, max: true, all: true, count: true, ..Give::default() };
        output.extended_search(Some(&tag), true, give, &[9, 2, 3, 4, 1], &[], Some(7));
        output.mailbox_status(&MailboxName::inbox(), &[StatusValue { item: StatusItem::MailboxId, value: 0xabc }]);
        let give = Give { all: true, relevancy: true, ..Give::default() };
        output.extended_search(Some(&tag), false, give, &[1, 5, 10], &[4, 99, 42], None);
        output.extended_search(None, false, give, &[], &[], None);
        let expected = [
            "* 23 EXISTS",
            "* 0 RECENT",
            "* 44 EXPUNGE",
            "* VANISHED (EARLIER) 41,43:44",
            "* VANISHED 7",
            "* FLAGS (\\Seen work)",
            "* SEARCH 2 3 6",
            "* SEARCH",
            "* SEARCH 2 5 (MODSEQ 917162500)",
            "* ESEARCH (TAG \"A282\") MIN 2 COUNT 3",
            "* ESEARCH (TAG \"A282\") UID MAX 11 ALL 2,10:11 MODSEQ 7",
            "* ESEARCH",
            "* STATUS \"a b\" (MESSAGES 231 UIDNEXT 44292)",
            "* NAMESPACE ((\"\" \"/\")) ((\"Other users/\" \"/\")) NIL",
            "* ID (\"name\" \"Estafeta\" \"version\" \"0.1\")",
            "* ID NIL",
            "* ENABLED",
            "* ENABLED CONDSTORE",
            "* SORT 3 1 2",
            "* SORT (MODSEQ 9)",
            "* ESEARCH (TAG \"A282\") UID MIN 9 MAX 1 ALL 9,2:4,1 COUNT 5 MODSEQ 7",
            "* STATUS INBOX (MAILBOXID (Fabc))",
            "* ESEARCH (TAG \"A282\") ALL 1,5,10 RELEVANCY (4 99 42)",
            "* ESEARCH RELEVANCY ()",
            "",
        ];
        assert_eq!(output.drain(), expected.join("\r\n"));
    }
}
