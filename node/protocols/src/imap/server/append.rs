//! Literals: those of a command, which are held, and those of APPEND and REPLACE, which are given on in pieces.

use std::collections::VecDeque;

use super::input::{Announcement, Frame};
use super::{Event, Phase, Server, State, head};
use crate::imap::command::append::{AppendStep, Grammar, Line};
use crate::imap::command::{Numbering, Row};
use crate::imap::cursor::{Cursor, Refusal};
use crate::imap::response::{Code, Completion};
use crate::machine::Step;

/// An APPEND or a REPLACE that is under way.
#[derive(Debug)]
pub(super) struct Appending {
    grammar: Grammar,
    /// What was read and not yet given to the role.
    steps: VecDeque<AppendStep>,
    /// What the last line announced, while the role has not come to it.
    announcement: Option<Announcement>,
}

impl Server {
    /// A line ends with the announcement of a literal.
    pub(super) fn announced(&mut self, announcement: Announcement) -> Option<Step<Event>> {
        let (tag, row, mut cursor) = self.head(announcement.text);
        let line = match row.and_then(|row| grammar(row, self.state, &mut cursor)) {
            Some(mut grammar) => {
                // RFC 9586 §3: REPLACE by a sequence number.
                let refused = row.filter(|row| self.output.dialect().uid_only && row.names_sequence_numbers());
                match refused {
                    Some(_) => Err(Refusal::UidRequired),
                    None => grammar.line(&mut cursor).map(|line| (grammar, line)),
                }
            }
            // Where APPEND is not allowed, its message counts as any literal: a small one is read and refused.
            None => {
                self.hold(announcement);
                return None;
            }
        };
        match line {
            Ok((_, Line::Held)) => self.hold(announcement),
            Ok((grammar, Line::Steps(steps))) => {
                self.tag = tag;
                self.input.advance(announcement.whole);
                self.begin_append(grammar, steps, Some(announcement));
            }
            Err(refusal) => {
                self.tag = tag;
                self.input.advance(announcement.whole);
                self.phase = Phase::Offered { announcement };
                self.refuse_announced(refusal, announcement, self.limits.message_bytes);
            }
        }
        None
    }

    pub(super) fn begin_append(
        &mut self,
        grammar: Grammar,
        steps: Vec<AppendStep>,
        announcement: Option<Announcement>,
    ) {
        self.faults = 0;
        self.appending = Some(Box::new(Appending { grammar, steps: steps.into(), announcement }));
        self.phase = Phase::Appending;
    }

    /// A literal that belongs to the command itself. Says whether it is short enough.
    fn hold(&mut self, announcement: Announcement) {
        let fits = usize::try_from(announcement.size)
            .ok()
            .and_then(|size| size.checked_add(announcement.whole))
            .is_some_and(|end| end <= self.limits.command_bytes);
        if fits {
            self.input.hold(announcement);
            if announcement.synchronising {
                self.output.continuation("OK");
            }
            return;
        }
        if self.appending.is_none() {
            self.tag = head(self.input.get(announcement.text)).0;
        }
        self.input.advance(announcement.whole);
        self.phase = Phase::Offered { announcement };
        self.refuse_announced(Refusal::Bad("Literal too long"), announcement, 0);
    }

    /// Gives the role the next step of an APPEND.
    pub(super) fn advance_append(&mut self) -> Option<Step<Event>> {
        let step = self.appending.as_mut().and_then(|appending| appending.steps.pop_front());
        Some(Step::Event(match step {
            Some(AppendStep::Begin(append)) => Event::AppendBegin(append),
            Some(AppendStep::Message(message)) => Event::AppendMessage(message),
            Some(AppendStep::Url(url)) => Event::AppendUrl(url),
            Some(AppendStep::Literal(literal)) => {
                let announcement = self.appending.as_mut().and_then(|appending| appending.announcement.take())?;
                self.phase = Phase::Offered { announcement };
                if literal.size > self.limits.message_bytes {
                    // RFC 7889 §4
                    self.complete(Completion::no("Message too large").with(Code::TooBig));
                    if !announcement.synchronising {
                        self.goodbye(None, "Message too large");
                    }
                    Event::AppendAbort
                } else {
                    Event::AppendLiteral(literal)
                }
            }
            Some(AppendStep::End) => {
                self.phase = Phase::Running;
                self.appending = None;
                Event::AppendEnd
            }
            // Behind a literal: the next line.
            None => {
                self.phase = Phase::Received;
                return None;
            }
        }))
    }

    /// The role has not refused what was offered.
    pub(super) fn accept_literal(&mut self, announcement: Announcement) {
        if announcement.synchronising {
            self.output.continuation("Ready for the message");
        }
        self.phase = Phase::Receiving { remaining: announcement.size };
    }

    /// Refuses a command before its literal. A client that did not wait to be asked is heard out when it sends no more
    /// than `skip_bytes`, else the connection is closed (RFC 7888 §4).
    fn refuse_announced(&mut self, refusal: Refusal, announcement: Announcement, skip_bytes: u64) {
        self.refuse(refusal);
        if !announcement.synchronising && announcement.size > skip_bytes {
            self.goodbye(None, "Literal too long");
        }
    }

    pub(super) fn advance_message(&mut self, remaining: u64) -> Option<Step<Event>> {
        if remaining == 0 {
            self.phase = Phase::Received;
            return None;
        }
        let piece = self.input.take_up_to(remaining);
        if piece.is_empty() {
            return self.read();
        }
        self.phase = Phase::Receiving { remaining: remaining - piece.len() as u64 };
        Some(Step::Event(Event::AppendData(piece)))
    }

    /// Behind a literal of an APPEND, its line goes on or ends.
    pub(super) fn advance_message_end(&mut self) -> Option<Step<Event>> {
        let (text, whole, announcement) = match self.input.frame(self.limits.command_bytes) {
            Frame::Incomplete => return self.read(),
            Frame::TooLong => {
                self.complete_and_close(Completion::bad("Command line too long"));
                return Some(Step::Event(Event::AppendAbort));
            }
            Frame::Command { text, whole } => (text, whole, None),
            Frame::Literal(announcement) => (announcement.text, announcement.whole, Some(announcement)),
        };
        let Some(mut grammar) = self.appending.as_ref().map(|appending| appending.grammar) else {
            self.refuse(Refusal::Bad("Unexpected text behind the message"));
            return Some(Step::Event(Event::AppendAbort));
        };
        match (grammar.line(&mut self.cursor(text)), announcement) {
            (Ok(Line::Held), Some(announcement)) => {
                self.hold(announcement);
                let refused = self.appending.is_none();
                refused.then_some(Step::Event(Event::AppendAbort))
            }
            (Ok(Line::Steps(steps)), announcement) => {
                self.input.advance(whole);
                self.begin_append(grammar, steps, announcement);
                None
            }
            (Ok(Line::Held), None) => {
                self.refuse(Refusal::Bad("Unexpected text behind the message"));
                Some(Step::Event(Event::AppendAbort))
            }
            // The rest of the line is skipped, and another literal with it.
            (Err(refusal), _) => {
                self.refuse(refusal);
                Some(Step::Event(Event::AppendAbort))
            }
        }
    }

    /// Where an APPEND that is refused between two steps goes on: what it announced is not asked for, or passed over.
    pub(super) fn behind_refused_append(&mut self) -> Phase {
        match self.appending.take().and_then(|appending| appending.announcement) {
            Some(announcement) if !announcement.synchronising => Phase::Skipping { remaining: announcement.size },
            _ => Phase::Ready,
        }
    }

    /// Passes over what is left of a refused command: the literal, and whatever its line goes on with.
    pub(super) fn advance_skip(&mut self, remaining: u64) -> Option<Step<Event>> {
        if remaining > 0 {
            let skipped = self.input.take_up_to(remaining).len() as u64;
            if skipped == 0 {
                return self.read();
            }
            self.phase = Phase::Skipping { remaining: remaining - skipped };
            return None;
        }
        match self.input.frame(self.limits.command_bytes) {
            Frame::Incomplete => return self.read(),
            Frame::Command { whole, .. } => {
                self.input.advance(whole);
                self.phase = Phase::Ready;
            }
            Frame::Literal(announcement) if announcement.synchronising => {
                // It waits for a "+" and gets none: the command was refused already.
                self.input.advance(announcement.whole);
                self.phase = Phase::Ready;
            }
            Frame::Literal(announcement) if announcement.size <= self.limits.message_bytes => {
                self.input.advance(announcement.whole);
                self.phase = Phase::Skipping { remaining: announcement.size };
            }
            Frame::Literal(_) | Frame::TooLong => self.goodbye(None, "Command too long"),
        }
        None
    }

    /// Takes a command's tag and name apart; the cursor stands behind them.
    fn head(&self, text: usize) -> (Option<super::Tag>, Option<&'static Row>, Cursor<'_>) {
        let (tag, row, cursor) = head(self.input.get(text));
        (tag, row, cursor.speaking(self.output.dialect()))
    }

    /// At the first of these bytes.
    fn cursor(&self, text: usize) -> Cursor<'_> {
        Cursor::new(self.input.get(text)).speaking(self.output.dialect())
    }
}

/// How a command goes on whose literals are messages; none for the others.
fn grammar(row: &Row, state: State, cursor: &mut Cursor<'_>) -> Option<Grammar> {
    match (row.name, state) {
        (b"APPEND", State::Authenticated | State::Selected) => Some(Grammar::append()),
        (b"REPLACE", State::Selected) => Some(Grammar::replace(Numbering::Sequence)),
        (b"UID", State::Selected) => {
            let mut behind = cursor.clone();
            let replace = behind.take(b' ') && behind.word().eq_ignore_ascii_case(b"REPLACE");
            replace.then(|| {
                *cursor = behind;
                Grammar::replace(Numbering::Uid)
            })
        }
        _ => None,
    }
}
