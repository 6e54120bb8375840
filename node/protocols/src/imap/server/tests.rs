//! Dialogs with a role that does nothing but say yes, and what must hold of any bytes in any pieces.

use super::*;
use crate::imap::types::MailboxName;
use crate::machine::READ_BYTES;
use crate::sasl::{Mechanism, Password};

/// A role that agrees to everything, and the log of what it was asked.
pub(crate) struct Dialog {
    server: Server,
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<Event>,
    closed: bool,
    /// Whether commands are left without an answer.
    mute: bool,
    refuse_append: bool,
}

impl Dialog {
    pub(crate) fn new(server: Server) -> Self {
        let mut dialog =
            Self { server, sent: Vec::new(), events: Vec::new(), closed: false, mute: false, refuse_append: false };
        dialog.run();
        dialog
    }

    pub(crate) fn front() -> Self {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
        let mut dialog =
            Self::new(Server::greet(Offer { start_tls: true, login: true, mechanisms }, true, Limits::default()));
        dialog.sent.clear();
        dialog
    }

    pub(crate) fn selected() -> Self {
        let mut server = Server::authenticated(b"", Limits::default());
        server.enter(State::Selected);
        Self::new(server)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BYTES) {
            if !self.closed {
                self.server.receive(piece);
                self.run();
            }
        }
    }

    /// Feeds a line and gives what was said in answer.
    fn say(&mut self, line: &str) -> String {
        self.hear(line.as_bytes())
    }

    /// The same of any bytes.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> String {
        self.feed(bytes);
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }

    fn run(&mut self) {
        loop {
            match self.server.next() {
                Step::Read => return,
                Step::Write(bytes) => self.sent.extend_from_slice(&bytes),
                Step::StartTls => self.server.secured(),
                Step::Compress => self.server.compressed(),
                Step::Close => {
                    self.closed = true;
                    assert_eq!(self.server.next(), Step::Close);
                    return;
                }
                Step::Event(event) => {
                    if self.handle(event) {
                        return;
                    }
                }
            }
        }
    }

    /// Gives true when the dialog is over.
    fn handle(&mut self, event: Event) -> bool {
        match &event {
            Event::Authenticate(_) => self.server.hand_over(Completion::ok("Logged in")),
            Event::Command(_) if self.mute => {}
            Event::Command(_) | Event::AppendEnd | Event::IdleEnd => {
                self.server.complete(Completion::ok("Done"));
            }
            Event::AppendBegin(_) if self.refuse_append => {
                self.server.complete(Completion::no("No such mailbox").with(Code::TryCreate));
            }
            Event::AppendBegin(_)
            | Event::AppendMessage(_)
            | Event::AppendLiteral(_)
            | Event::AppendUrl(_)
            | Event::AppendData(_)
            | Event::AppendAbort
            | Event::IdleBegin
            | Event::HandOver => {}
        }
        let over = event == Event::HandOver;
        match (self.events.last_mut(), event) {
            // Pieces depend on how the bytes came: only their sum counts.
            (Some(Event::AppendData(first)), Event::AppendData(second)) => {
                *first = [&first[..], &second[..]].concat().into()
            }
            (_, event) => self.events.push(event),
        }
        over
    }
}

/// A message for INBOX, offered.
fn append(size: u64) -> [Event; 3] {
    [
        Event::AppendBegin(Append { mailbox: MailboxName::inbox(), replaces: None }),
        Event::AppendMessage(NewMessage::default()),
        Event::AppendLiteral(Literal { size, binary: false }),
    ]
}

#[test]
fn greeting_says_what_is_open() {
    let offer = Offer { start_tls: true, login: true, mechanisms: vec![Mechanism::Plain] };
    let mut dialog = Dialog::new(Server::greet(offer, false, Limits::default()));
    assert_eq!(
        dialog.say(""),
        "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED] Estafeta ready.\r\n"
    );
    // No password in clear text is looked at.
    assert_eq!(dialog.say("a LOGIN ana secret\r\n"), "a NO [PRIVACYREQUIRED] Not without TLS\r\n");
    assert_eq!(dialog.say("b AUTHENTICATE PLAIN\r\n"), "b NO [PRIVACYREQUIRED] Not without TLS\r\n");
    assert!(dialog.events.is_empty());
    // What is sent ahead of the handshake is dropped.
    assert_eq!(dialog.say("c STARTTLS\r\nx NOOP\r\n"), "c OK Begin TLS negotiation now\r\n");
    assert_eq!(
        dialog.say("d CAPABILITY\r\ne STARTTLS\r\n"),
        "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN\r\nd OK CAPABILITY completed\r\n\
         e BAD TLS is on already\r\n"
    );
}

#[test]
fn login_is_handed_over_with_what_was_read_ahead() {
    let mut dialog = Dialog::front();
    assert_eq!(
        dialog.say("a NOOP\r\nb LOGIN ana {3+}\r\na b\r\nc SELECT INBOX\r\nd"),
        "a OK NOOP completed\r\nb OK Logged in\r\n"
    );
    let (name, password) = ("ana".to_owned(), Password::new("a b".to_owned()));
    let credentials = Credentials::Password { on_behalf_of: None, name, password };
    assert_eq!(dialog.events, [Event::Authenticate(credentials), Event::HandOver]);
    let unread = dialog.server.take_unread();
    assert_eq!(unread, "c SELECT INBOX\r\nd");
    let mut behind = Dialog::new(Server::authenticated(&unread, Limits::default()));
    assert_eq!(behind.say(" NOOP\r\n"), "c OK Done\r\nd OK Done\r\n");
}

#[test]
fn authenticate() {
    let mut dialog = Dialog::front();
    assert_eq!(dialog.say("a AUTHENTICATE PLAIN\r\n"), "+ \r\n");
    assert_eq!(dialog.say("*\r\n"), "a BAD Authentication cancelled\r\n");
    assert_eq!(dialog.say("b AUTHENTICATE LOGIN\r\ndGlt\r\n"), "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n");
    assert_eq!(dialog.say("%%%\r\n"), "b BAD Response is not base64\r\n");
    assert_eq!(
        dialog.say("c AUTHENTICATE EXTERNAL =\r\n"),
        "c NO [CANNOT] Authentication mechanism is not offered\r\n"
    );
    assert_eq!(dialog.say("d AUTHENTICATE PLAIN AHRpbQBh\r\n"), "d OK Logged in\r\n");
    assert!(matches!(dialog.events[..], [Event::Authenticate(_), Event::HandOver]));
}

#[test]
fn states() {
    let mut dialog = Dialog::front();
    assert_eq!(dialog.say("a SELECT INBOX\r\n"), "a BAD Not authenticated\r\n");
    assert_eq!(dialog.say("b FETCH 1 FLAGS\r\n"), "b BAD Not authenticated\r\n");
    let mut dialog = Dialog::new(Server::authenticated(b"", Limits::default()));
    assert_eq!(dialog.say("a LOGIN a b\r\n"), "a BAD Already authenticated\r\n");
    assert_eq!(dialog.say("b FETCH 1 FLAGS\r\n"), "b BAD No mailbox selected\r\n");
    assert_eq!(
        dialog.say("c CAPABILITY\r\n"),
        format!("* CAPABILITY {}\r\nc OK CAPABILITY completed\r\n", Limits::default().capabilities())
    );
    assert_eq!(dialog.say("d LOGOUT\r\ne NOOP\r\n"), "* BYE Logging out\r\nd OK LOGOUT completed\r\n");
    assert!(dialog.closed && dialog.events.is_empty());
}

#[test]
fn faults_are_answered_and_counted() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("\r\n"), "* BAD Expected a tag\r\n");
    assert_eq!(dialog.say("a\r\n"), "a BAD Unknown command\r\n");
    assert_eq!(dialog.say("a+ NOOP\r\n"), "* BAD Expected a tag\r\n");
    assert_eq!(dialog.say("a FOO\n"), "a BAD Unknown command\r\n");
    assert_eq!(dialog.say("a APPEND INBOX\r\n"), "a BAD Expected the message as a literal\r\n");
    assert_eq!(dialog.say("a SEARCH CHARSET X ALL\r\n"), "a NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset\r\n");
    assert_eq!(dialog.say("a DELETE a//b\r\n"), "a NO [CANNOT] Mailbox name has an empty level\r\n");
    assert_eq!(dialog.say("a NOOP\r\n"), "a OK Done\r\n");
    let answer = dialog.say(&"x\r\n".repeat(100));
    assert!(dialog.closed);
    assert_eq!(answer.matches("BAD").count(), 21);
    assert!(answer.ends_with("* BYE Too many faulty commands\r\n"));
}

#[test]
fn literals_are_asked_for() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a SEARCH FROM {4}\r\n"), "+ OK\r\n");
    assert_eq!(dialog.say("a\r\nb TO {2}\r\n"), "+ OK\r\n");
    assert_eq!(dialog.say("x\n\r\n"), "a OK Done\r\n");
    assert_eq!(dialog.say("b SEARCH FROM {4+}\r\na\r\nb TO {2+}\r\nx\n\r\n"), "b OK Done\r\n");
    assert_eq!(dialog.events.len(), 2);
    // LITERAL+ is not LITERAL-, which ends at 4096 bytes (RFC 7888 §5).
    let long = format!("c SEARCH FROM {{4097+}}\r\n{}\r\n", "x".repeat(4097));
    assert_eq!(dialog.say(&long), "c OK Done\r\n");
    assert_eq!(dialog.events[0], dialog.events[1]);
}

#[test]
fn what_is_too_long_is_refused_before_it_is_asked_for() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a SEARCH FROM {10000000000}\r\nb NOOP\r\n"), "a BAD Literal too long\r\nb OK Done\r\n");
    assert_eq!(dialog.say("c SEARCH FROM {65536}\r\n"), "c BAD Literal too long\r\n");
    assert_eq!(dialog.say("d SEARCH FROM {60000}\r\n"), "+ OK\r\n");
    assert_eq!(dialog.say(&("x".repeat(60_000) + " TO {6000}\r\n")), "d BAD Literal too long\r\n");
    assert_eq!(
        dialog.say("e APPEND INBOX {10000000000}\r\nf NOOP\r\n"),
        "e NO [TOOBIG] Message too large\r\nf OK Done\r\n"
    );
    assert_eq!(
        dialog.say("f APPEND INBOX {99999999999999999999999}\r\n"),
        "f BAD Expected the message as a literal\r\n"
    );
    assert_eq!(
        dialog.say("g APPEND INBOX {10000000000+}\r\nh NOOP\r\n"),
        "g NO [TOOBIG] Message too large\r\n* BYE Message too large\r\n"
    );
    assert!(dialog.closed);
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a SEARCH FROM {65536+}\r\n"), "a BAD Literal too long\r\n* BYE Literal too long\r\n");
    let mut dialog = Dialog::selected();
    let answer = dialog.say(&format!("a SEARCH FROM {}", "x".repeat(100_000)));
    assert_eq!(answer, "a BAD Command line too long\r\n* BYE Closing the connection\r\n");
    let mut dialog = Dialog::front();
    assert_eq!(dialog.say("a APPEND INBOX {70000+}\r\n"), "a BAD Literal too long\r\n* BYE Literal too long\r\n");
}

#[test]
fn append_is_streamed() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a APPEND INBOX {10}\r\n"), "+ Ready for the message\r\n");
    assert_eq!(dialog.say("01234"), "");
    assert_eq!(dialog.say("56789\r\n"), "a OK Done\r\n");
    let content = [Event::AppendData(Bytes::from_static(b"0123456789")), Event::AppendEnd];
    let whole = [&append(10)[..], &content].concat();
    assert_eq!(dialog.events, whole);
    dialog.events.clear();
    assert_eq!(dialog.say("b APPEND {5}\r\n"), "+ OK\r\n");
    assert_eq!(dialog.say("inbox {10+}\r\n0123456789\r\nc NOOP\r\n"), "b OK Done\r\nc OK Done\r\n");
    assert_eq!(dialog.events[..5], whole);
    // Larger than a command may be.
    dialog.events.clear();
    let large = "x".repeat(300_000);
    assert_eq!(dialog.say(&format!("d APPEND INBOX {{300000+}}\r\n{large}\r\n")), "d OK Done\r\n");
    assert_eq!(dialog.events[3], Event::AppendData(large.into()));
}

#[test]
fn append_refused_by_the_role() {
    let mut dialog = Dialog::selected();
    dialog.refuse_append = true;
    assert_eq!(dialog.say("a APPEND INBOX {10}\r\n"), "a NO [TRYCREATE] No such mailbox\r\n");
    assert_eq!(dialog.say("b NOOP\r\n"), "b OK Done\r\n");
    // The client did not wait: what it sends is passed over.
    assert_eq!(
        dialog.say("c APPEND INBOX {10+}\r\n0 NOOP\r\n78\r\nd NOOP\r\n"),
        "c NO [TRYCREATE] No such mailbox\r\nd OK Done\r\n"
    );
    assert_eq!(
        dialog.say("e APPEND a//b {4+}\r\nabcd\r\nf NOOP\r\n"),
        "e NO [CANNOT] Mailbox name has an empty level\r\nf OK Done\r\n"
    );
    assert_eq!(
        dialog.say("g APPEND a//b {4}\r\nh NOOP\r\n"),
        "g NO [CANNOT] Mailbox name has an empty level\r\nh OK Done\r\n"
    );
}

#[test]
fn append_with_more_behind_it_is_aborted() {
    let mut dialog = Dialog::selected();
    assert_eq!(
        dialog.say("a APPEND INBOX {2+}\r\nab foo\r\nb NOOP\r\n"),
        "a BAD Expected the message as a literal\r\nb OK Done\r\n"
    );
    assert_eq!(dialog.events[4], Event::AppendAbort);
    // REPLACE takes one message.
    let expected = "a BAD Unexpected text behind the message\r\nb OK Done\r\n";
    assert_eq!(dialog.say("a REPLACE 1 INBOX {2+}\r\nab {3+}\r\nabc\r\nb NOOP\r\n"), expected);
    assert_eq!(dialog.say("a UID REPLACE 1 INBOX {2}\r\n"), "+ Ready for the message\r\n");
    assert_eq!(dialog.say("ab {3}\r\nb NOOP\r\n"), expected);
}

#[test]
fn several_messages_and_pieces_of_messages() {
    let mut dialog = Dialog::selected();
    // RFC 3502
    assert_eq!(dialog.say("a APPEND INBOX {2+}\r\nab {3}\r\n"), "+ Ready for the message\r\n");
    assert_eq!(dialog.say("foo\r\n"), "a OK Done\r\n");
    let [begin, message, _] = append(0);
    let literal = |size, binary| Event::AppendLiteral(Literal { size, binary });
    let data = |text: &'static str| Event::AppendData(Bytes::from_static(text.as_bytes()));
    let url = |url: &str| Event::AppendUrl(url.to_owned());
    let expected = [
        begin.clone(),
        message.clone(),
        literal(2, false),
        data("ab"),
        message.clone(),
        literal(3, false),
        data("foo"),
        Event::AppendEnd,
    ];
    assert_eq!(dialog.events, expected);
    // RFC 4469, RFC 3516
    dialog.events.clear();
    let answer = dialog.say("a APPEND INBOX CATENATE (URL /x TEXT {2+}\r\nab URL {2+}\r\n/y) ~{1+}\r\n\0\r\n");
    assert_eq!(answer, "a OK Done\r\n");
    let expected = [
        begin.clone(),
        message.clone(),
        url("/x"),
        literal(2, false),
        data("ab"),
        url("/y"),
        message.clone(),
        literal(1, true),
        data("\0"),
        Event::AppendEnd,
    ];
    assert_eq!(dialog.events, expected);
    dialog.events.clear();
    assert_eq!(dialog.say("a append inbox catenate (url /x)\r\nb NOOP\r\n"), "a OK Done\r\nb OK Done\r\n");
    assert_eq!(dialog.events[..4], [begin, message, url("/x"), Event::AppendEnd]);
}

#[test]
fn the_second_message_is_refused_like_the_first() {
    let mut dialog = Dialog::selected();
    assert_eq!(
        dialog.say("a APPEND INBOX {2+}\r\nab {10000000000}\r\nb NOOP\r\n"),
        "a NO [TOOBIG] Message too large\r\nb OK Done\r\n"
    );
    assert_eq!(dialog.events[5], Event::AppendAbort);
    assert_eq!(
        dialog.say("a APPEND INBOX CATENATE (TEXT {2+}\r\nab URL {70000}\r\nb NOOP\r\n"),
        "a BAD Literal too long\r\nb OK Done\r\n"
    );
    assert_eq!(dialog.events.iter().filter(|event| **event == Event::AppendAbort).count(), 2);
    dialog.refuse_append = true;
    assert_eq!(
        dialog.say("c APPEND INBOX {2+}\r\nab {2+}\r\ncd\r\nd APPEND INBOX CATENATE (URL x)\r\ne APPEND INBOX CATENATE (URL x TEXT {2}\r\n"),
        "c NO [TRYCREATE] No such mailbox\r\nd NO [TRYCREATE] No such mailbox\r\ne NO [TRYCREATE] No such mailbox\r\n"
    );
    assert_eq!(dialog.say("f NOOP\r\n"), "f OK Done\r\n");
}

#[test]
fn compression_and_leaving_without_closing() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a COMPRESS DEFLATE\r\n"), "a OK DEFLATE begins\r\n");
    assert_eq!(dialog.say("b COMPRESS DEFLATE\r\n"), "b NO [COMPRESSIONACTIVE] Compressed already\r\n");
    dialog.server.output().speak(crate::imap::types::Dialect { uid_only: true, ..Default::default() });
    assert_eq!(dialog.say("c FETCH 1 FLAGS\r\n"), "c BAD [UIDREQUIRED] Name messages by UID\r\n");
    dialog.mute = true;
    dialog.feed(b"d UNAUTHENTICATE\r\n");
    assert_eq!(dialog.events, [Event::Command(Command::Unauthenticate)]);
    let mut front = Dialog::front();
    assert_eq!(
        front.say("a UNAUTHENTICATE\r\nb COMPRESS DEFLATE\r\n"),
        "a BAD Not authenticated\r\nb BAD Not authenticated\r\n"
    );
    let mut server = Server::authenticated(b"a UNAUTHENTICATE\r\n", Limits::default());
    assert_eq!(server.next(), Step::Event(Event::Command(Command::Unauthenticate)));
    server.forget(Offer { login: true, ..Offer::default() });
    let mut dialog = Dialog::new(server);
    assert!(dialog.say("").starts_with("a OK [CAPABILITY IMAP4rev1 "));
    assert_eq!(dialog.say("b SELECT INBOX\r\n"), "b BAD Not authenticated\r\n");
    assert_eq!(dialog.say("c LOGIN a b\r\n"), "c OK Logged in\r\n");
}

#[test]
fn idle() {
    let mut dialog = Dialog::selected();
    assert_eq!(dialog.say("a IDLE\r\n"), "+ idling\r\n");
    dialog.server.output().exists(4);
    dialog.run();
    assert_eq!(dialog.say(""), "* 4 EXISTS\r\n");
    assert_eq!(dialog.say("b NOOP\r\n"), "* BAD Expected DONE\r\n");
    assert_eq!(dialog.say("done\r\nc NOOP\r\n"), "a OK Done\r\nc OK Done\r\n");
    assert!(matches!(dialog.events[..], [Event::IdleBegin, Event::IdleEnd, Event::Command(Command::Noop)]));
}

#[test]
fn a_role_that_forgets_to_answer_does_not_hang_the_client() {
    let mut dialog = Dialog::selected();
    dialog.mute = true;
    assert_eq!(dialog.say("a NOOP\r\n"), "a NO [SERVERBUG] Internal error\r\n");
}

#[test]
fn farewells_and_ends() {
    let mut dialog = Dialog::selected();
    dialog.server.farewell(Farewell::Draining);
    dialog.run();
    assert_eq!(dialog.say("a NOOP\r\n"), "* BYE [UNAVAILABLE] Restarting, please connect again\r\n");
    assert!(dialog.closed);
    let mut dialog = Dialog::selected();
    dialog.say("a IDLE\r\n");
    dialog.server.farewell(Farewell::Draining);
    dialog.run();
    assert_eq!(dialog.say(""), "* BYE [UNAVAILABLE] Restarting, please connect again\r\n");
    let mut dialog = Dialog::selected();
    dialog.feed(b"a NOOP\r\nb NOOP");
    dialog.server.end();
    dialog.run();
    assert!(dialog.closed);
    assert_eq!(dialog.say(""), "a OK Done\r\n");
}

#[test]
fn draining_lets_finish_what_has_begun() {
    for (before, after, answer) in [
        ("a NO", "OP\r\n", "a OK Done\r\n"),
        ("a SELECT {5}\r\n", "INBOX\r\n", "a OK Done\r\n"),
        ("a APPEND INBOX {4+}\r\nab", "cd\r\n", "a OK Done\r\n"),
        ("a APPEND INBOX {4}\r\n", "abcd\r\n", "a OK Done\r\n"),
        ("a APPEND INBOX {4+}\r\nabcd", "\r\n", "a OK Done\r\n"),
        ("a APPEND INBOX (\\Bad\\) {4+}\r\nab", "cd\r\n", ""),
        ("a NO", "OP\r\nb IDLE\r\n", "a OK Done\r\n+ idling\r\n"),
        // What was sent ahead is answered too.
        ("a NOOP\r\nb NO", "OP\r\nc NOOP\r\n", "b OK Done\r\nc OK Done\r\n"),
    ] {
        let mut dialog = Dialog::selected();
        dialog.say(before);
        dialog.server.farewell(Farewell::Draining);
        dialog.run();
        assert_eq!((dialog.say(""), dialog.closed), (String::new(), false), "{before}");
        assert_eq!(dialog.say(after), format!("{answer}* BYE [UNAVAILABLE] Restarting, please connect again\r\n"));
        assert!(dialog.closed);
    }
    let mut dialog = Dialog::front();
    dialog.say("a AUTHENTICATE LOGIN\r\n");
    dialog.server.farewell(Farewell::Draining);
    dialog.run();
    assert!(dialog.say("*\r\n").starts_with("a BAD Authentication cancelled\r\n* BYE [UNAVAILABLE]"));
}

#[test]
fn a_silent_connection_keeps_no_memory() {
    let mut dialog = Dialog::selected();
    dialog.say(&format!("a SEARCH TEXT {{50000+}}\r\n{}\r\n", "x".repeat(50_000)));
    assert_eq!(dialog.server.next(), Step::Read);
    assert_eq!(dialog.server.output.len(), 0);
    assert!(format!("{:?}", dialog.server.input).len() < 200);
}

/// Commands, good and bad, one after the other.
fn script() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let piece = prop_oneof![
        Just(b"a NOOP\r\n".to_vec()),
        Just(b"b SEARCH FROM {3}\r\na\r\n TO {2+}\r\nx\"\r\n".to_vec()),
        Just(b"c APPEND INBOX (\\Seen) {12}\r\nhello\r\nworld\r\n".to_vec()),
        Just(b"d APPEND INBOX {5+}\r\nhello rest {2+}\r\nab\r\n".to_vec()),
        Just(b"d APPEND INBOX {5+}\r\nhello (\\Seen) ~{2}\r\nab\r\n".to_vec()),
        Just(b"d APPEND INBOX CATENATE (URL x TEXT {2+}\r\nab URL {1}\r\ny)\r\n".to_vec()),
        Just(b"d UID REPLACE 7 INBOX UTF8 (~{2+}\r\nab)\r\n".to_vec()),
        Just(b"e APPEND {5+}\r\nINBOX {3+}\r\nabc\r\n".to_vec()),
        Just(b"f IDLE\r\nfoo\r\nDONE\r\n".to_vec()),
        Just(b"g FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM)])\r\n".to_vec()),
        Just(b"h APPEND a//b {4+}\r\nabcd\r\n".to_vec()),
        Just(b"i SEARCH TEXT {99999}\r\n".to_vec()),
        Just(b"j AUTHENTICATE PLAIN\r\nAHRpbQBh\r\n".to_vec()),
        Just(b"k STARTTLS\r\n".to_vec()),
        Just(b"l LOGOUT\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        "[ -~]{0,40}(\\{[0-9]{1,2}\\+?\\})?\r?\n".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest::proptest! {
    /// Any bytes in any pieces: the same events and the same answers as in one piece, and no more memory than allowed.
    #[test]
    fn pieces_do_not_matter(script in script(), cuts in proptest::collection::vec(1_usize..20, 1..40), front: bool) {
        let dialog = || if front { Dialog::front() } else { Dialog::selected() };
        let mut whole = dialog();
        whole.feed(&script);
        let mut pieces = dialog();
        let mut rest = &script[..];
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.feed(piece);
            proptest::prop_assert!(pieces.server.input.get(usize::MAX).len() <= Limits::default().command_bytes + READ_BYTES);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        // After STARTTLS and after a hand-over, what was sent ahead is dropped or left unread: there, pieces matter.
        let cut_off = |dialog: &Dialog| dialog.events.contains(&Event::HandOver);
        if !cut_off(&whole) {
            proptest::prop_assert_eq!(&pieces.events, &whole.events);
            proptest::prop_assert_eq!(&pieces.sent, &whole.sent);
            proptest::prop_assert_eq!(pieces.closed, whole.closed);
        }
        for dialog in [&mut whole, &mut pieces] {
            if !cut_off(dialog) {
                dialog.server.end();
                dialog.run();
                proptest::prop_assert!(dialog.closed);
            }
        }
    }
}
