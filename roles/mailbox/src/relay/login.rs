//! The login of one node at another, as a pure machine: lines of text each way, until the server lets us in or not.
//!
//! What a line means, the languages know ([`super::imap`], [`super::pop3`]). Invariant: a line holds at most
//! [`LINE_BYTES`]; before login a server has no reason to send a longer one.

use bytes::{Bytes, BytesMut};
use estafeta_core::Failure;
use estafeta_protocols::machine::{Farewell, Machine, Step};

/// The longest line, its end included.
const LINE_BYTES: usize = 8 * 1024;

/// What is to be done after a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing: more lines follow.
    Wait,
    /// Send these lines, each ended by CRLF.
    Send(String),
    /// We are in.
    LoggedIn,
    /// We are not let in.
    Refused(Failure),
}

/// What lines mean.
pub(super) trait Language: Send {
    /// Hears a line of the server, without its end; the greeting is the first.
    fn hear(&mut self, line: &str) -> Reaction;
}

/// The machine. Its event is the outcome: logged in, after which the stream is to be handed over, or why not.
pub(super) struct Login<L> {
    pub(super) language: L,
    input: BytesMut,
    output: Bytes,
    outcome: Option<Result<(), Failure>>,
    ended: bool,
    closed: bool,
}

impl<L> Login<L> {
    pub(super) fn new(language: L) -> Self {
        Self { language, input: BytesMut::new(), output: Bytes::new(), outcome: None, ended: false, closed: false }
    }

    fn fail(&mut self, cause: &str) {
        self.outcome.get_or_insert_with(|| Err(Failure::unavailable(cause)));
    }
}

impl<L: Language> Login<L> {
    /// Hears the next line, if it is here; says whether it was.
    fn advance(&mut self) -> bool {
        let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
            if self.input.len() >= LINE_BYTES {
                self.fail("the mailbox node sends an endless line");
                return true;
            }
            return false;
        };
        let line = self.input.split_to(end + 1);
        match self.language.hear(String::from_utf8_lossy(&line).trim_end()) {
            Reaction::Wait => {}
            Reaction::Send(lines) => self.output = lines.into(),
            Reaction::LoggedIn => self.outcome = Some(Ok(())),
            Reaction::Refused(failure) => self.outcome = Some(Err(failure)),
        }
        true
    }
}

impl<L: Language> Machine for Login<L> {
    type Event = Result<(), Failure>;

    fn receive(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.input.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn secured(&mut self) {}

    fn next(&mut self) -> Step<Self::Event> {
        loop {
            if !self.output.is_empty() {
                return Step::Write(std::mem::take(&mut self.output));
            }
            if let Some(outcome) = self.outcome.take() {
                self.closed = true;
                return Step::Event(outcome);
            }
            if self.closed {
                return Step::Close;
            }
            if !self.advance() {
                if !self.ended {
                    return Step::Read;
                }
                self.fail("the mailbox node closed the connection before login");
            }
        }
    }

    fn farewell(&mut self, _: Farewell) {
        self.fail("the mailbox node said nothing for too long");
    }

    fn take_unread(&mut self) -> Bytes {
        self.input.split().freeze()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays a server's lines against a language: what we sent, what was left unread, and the outcome if there was one.
    pub(crate) fn play<L: Language>(login: &mut Login<L>, server: &[u8]) -> (String, Option<Result<(), Failure>>) {
        for piece in server.chunks(1000) {
            login.receive(piece);
        }
        let mut sent = String::new();
        loop {
            match login.next() {
                Step::Write(bytes) => sent.push_str(std::str::from_utf8(&bytes).unwrap()),
                Step::Event(outcome) => return (sent, Some(outcome)),
                Step::Read | Step::Close => return (sent, None),
                Step::StartTls | Step::Compress => panic!(),
            }
        }
    }

    struct Echo;

    impl Language for Echo {
        fn hear(&mut self, line: &str) -> Reaction {
            match line {
                "in" => Reaction::LoggedIn,
                "wait" => Reaction::Wait,
                other => Reaction::Send(format!("{other}\r\n")),
            }
        }
    }

    #[test]
    fn lines_go_each_way_until_the_outcome() {
        let mut login = Login::new(Echo);
        assert_eq!(play(&mut login, b"a\r\nwait\r\nb\nhal"), ("a\r\nb\r\n".into(), None));
        assert_eq!(play(&mut login, b"f\r\nin\r\nrest\r\n"), ("half\r\n".into(), Some(Ok(()))));
        assert_eq!(login.take_unread(), "rest\r\n");
    }

    #[test]
    fn silence_an_early_end_and_endless_lines_are_failures() {
        let mut login = Login::new(Echo);
        assert!(play(&mut login, &[b'x'; LINE_BYTES]).1.unwrap().is_err());
        let mut login = Login::new(Echo);
        login.end();
        assert!(play(&mut login, b"").1.unwrap().unwrap_err().is_temporary());
        let mut login = Login::new(Echo);
        login.farewell(Farewell::Idle);
        assert!(play(&mut login, b"").1.unwrap().is_err());
    }

    proptest! {
        #[test]
        fn anything_neither_panics_nor_piles_up(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut login = Login::new(Echo);
            for piece in pieces {
                play(&mut login, &piece);
                prop_assert!(login.input.len() < LINE_BYTES + piece.len());
            }
        }
    }
}
