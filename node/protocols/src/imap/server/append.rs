//! Literals: those of a command, which are held, and APPEND's message, which is given on in pieces.

use super::input::{Announcement, Frame};
use super::{Event, Phase, Server, State, head};
use crate::imap::command::append::{Append, parse_announced};
use crate::imap::cursor::Refusal;
use crate::imap::response::{Code, Completion};
use crate::machine::Step;

impl Server {
    /// A line ends with the announcement of a literal.
    pub(super) fn announced(&mut self, announcement: Announcement) -> Option<Step<Event>> {
        let (tag, row, mut cursor) = head(self.input.get(announcement.text));
        // Where APPEND is not allowed, its message counts as any literal: a small one is read and refused.
        let append = row.is_some_and(|row| row.name == b"APPEND") && self.state != State::NotAuthenticated;
        match if append { parse_announced(&mut cursor) } else { Ok(None) } {
            Ok(Some(append)) => {
                self.tag = tag;
                self.input.advance(announcement.whole);
                self.offered(append, announcement)
            }
            Ok(None) => {
                self.hold(announcement);
                None
            }
            Err(refusal) => {
                self.tag = tag;
                self.input.advance(announcement.whole);
                self.phase = Phase::Offered { announcement };
                self.refuse_announced(refusal, announcement, self.limits.message_bytes);
                None
            }
        }
    }

    /// A literal that belongs to the command itself.
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
        self.tag = head(self.input.get(announcement.text)).0;
        self.input.advance(announcement.whole);
        self.phase = Phase::Offered { announcement };
        self.refuse_announced(Refusal::Bad("Literal too long"), announcement, 0);
    }

    fn offered(&mut self, append: Append, announcement: Announcement) -> Option<Step<Event>> {
        self.phase = Phase::Offered { announcement };
        if append.size > self.limits.message_bytes {
            // RFC 7889 §4
            self.complete(Completion::no("Message too large").with(Code::TooBig));
            if !announcement.synchronising {
                self.goodbye(None, "Message too large");
            }
            return None;
        }
        self.faults = 0;
        Some(Step::Event(Event::AppendBegin(append)))
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

    /// Behind the message, the command must end.
    pub(super) fn advance_message_end(&mut self) -> Option<Step<Event>> {
        match self.input.frame(self.limits.command_bytes) {
            Frame::Incomplete => self.read(),
            Frame::Command { text, whole } if self.input.get(text).iter().all(|byte| *byte == b' ') => {
                self.input.advance(whole);
                self.phase = Phase::Running;
                Some(Step::Event(Event::AppendEnd))
            }
            // The rest of the line is skipped, and another literal with it.
            Frame::Command { .. } | Frame::Literal(_) => {
                self.refuse(Refusal::Bad("Unexpected text behind the message"));
                Some(Step::Event(Event::AppendAbort))
            }
            Frame::TooLong => {
                self.complete_and_close(Completion::bad("Command line too long"));
                Some(Step::Event(Event::AppendAbort))
            }
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
}
