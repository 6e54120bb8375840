//! Dialogs with a role that does nothing but say yes, and what must hold of any bytes in any pieces.

use super::*;
use crate::machine::READ_BYTES;
use crate::pop3::command::MessageNumber;
use crate::sasl::{Mechanism, Password};

/// A role that agrees to everything, and the log of what it was asked.
struct Dialog {
    server: Server,
    sent: Vec<u8>,
    events: Vec<Event>,
    closed: bool,
    refuse_login: bool,
}

impl Dialog {
    fn new(server: Server) -> Self {
        let mut dialog = Self { server, sent: Vec::new(), events: Vec::new(), closed: false, refuse_login: false };
        dialog.run();
        dialog
    }

    fn front(secure: bool) -> Self {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
        let offer = Offer { start_tls: true, login: true, mechanisms, ..Offer::default() };
        Self::new(Server::greet(offer, secure, Limits::default())).greeted()
    }

    fn between_nodes() -> Self {
        let offer = Offer { forwarding: true, mechanisms: vec![Mechanism::External], ..Offer::default() };
        Self::new(Server::greet(offer, true, Limits::default()))
    }

    fn open() -> Self {
        Self::new(Server::authenticated(b"", Limits::default()))
    }

    fn greeted(mut self) -> Self {
        self.sent.clear();
        self
    }

    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BYTES) {
            if !self.closed {
                self.server.receive(piece);
                self.run();
            }
        }
    }

    /// Feeds lines and gives what was said in answer.
    fn say(&mut self, lines: &str) -> String {
        self.feed(lines.as_bytes());
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }

    fn run(&mut self) {
        loop {
            match self.server.next() {
                Step::Read => return,
                Step::Write(bytes) => self.sent.extend_from_slice(&bytes),
                Step::StartTls => self.server.secured(),
                Step::Compress => panic!("POP3 knows no compression"),
                Step::Close => {
                    self.closed = true;
                    assert_eq!(self.server.next(), Step::Close);
                    return;
                }
                Step::Event(event) => {
                    self.handle(&event);
                    let over = event == Event::HandOver;
                    self.events.push(event);
                    if over {
                        return;
                    }
                }
            }
        }
    }

    fn handle(&mut self, event: &Event) {
        match event {
            Event::Authenticate(_) if self.refuse_login => {
                self.server.complete(Completion::no("Wrong").with(Code::Auth));
            }
            Event::Authenticate(_) => self.server.hand_over(Completion::ok("Logged in")),
            Event::Command(Command::Quit) => self.server.goodbye(Completion::ok("Bye")),
            Event::Command(Command::Retr(_)) => {
                self.sent.extend_from_slice(b"+OK\r\ntext\r\n.\r\n");
                self.server.answered();
            }
            Event::Command(_) => self.server.complete(Completion::ok("Done")),
            Event::Forwarded(_) | Event::HandOver => {}
        }
    }

    fn logged_in_as(&self, name: &str, password: &str) -> bool {
        let password = Password::new(password.to_owned());
        let credentials = Credentials::Password { on_behalf_of: None, name: name.to_owned(), password };
        self.events == [Event::Authenticate(credentials), Event::HandOver]
    }
}

#[test]
fn nothing_is_open_before_tls() {
    let mut dialog = Dialog::front(false);
    assert_eq!(
        dialog.say("CAPA\r\n"),
        "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Estafeta\r\nSTLS\r\nLOGIN-DELAY 0\r\n.\r\n"
    );
    assert_eq!(dialog.say("USER ana\r\n"), "-ERR Not without TLS\r\n");
    assert_eq!(dialog.say("PASS secret\r\n"), "-ERR Not without TLS\r\n");
    assert_eq!(dialog.say("AUTH PLAIN AGFuYQBzZWNyZXQ=\r\n"), "-ERR Not without TLS\r\n");
    assert_eq!(dialog.say("AUTH\r\n"), "+OK Mechanisms follow\r\n.\r\n");
    assert!(dialog.events.is_empty());
    // What was sent ahead in clear text never reaches the other side of TLS.
    assert_eq!(dialog.say("STLS\r\nUSER eve\r\nPASS x\r\n"), "+OK Begin TLS negotiation now\r\n");
    assert_eq!(
        dialog.say("CAPA\r\nAUTH\r\nSTLS\r\nPASS x\r\n"),
        "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Estafeta\r\nUSER\r\nSASL PLAIN LOGIN\r\nLOGIN-DELAY 0\r\n.\r\n\
         +OK Mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.\r\n-ERR TLS is on already\r\n-ERR USER first\r\n"
    );
    assert_eq!(dialog.say("USER ana\r\nPASS secret\r\n"), "+OK Now the password\r\n+OK Logged in\r\n");
    assert!(dialog.logged_in_as("ana", "secret"));
}

#[test]
fn tls_is_not_started_where_it_is_not_offered() {
    let mut dialog = Dialog::new(Server::greet(Offer::default(), false, Limits::default()));
    assert_eq!(dialog.say("STLS\r\n"), "+OK Estafeta ready.\r\n-ERR STLS is not offered\r\n");
}

#[test]
fn user_and_pass() {
    let mut dialog = Dialog::front(true);
    dialog.refuse_login = true;
    assert_eq!(
        dialog.say("STAT\r\nPASS x\r\nuser ana\r\n"),
        "-ERR Log in first\r\n-ERR USER first\r\n+OK Now the password\r\n"
    );
    assert_eq!(dialog.say("PASS wrong one\r\n"), "-ERR [AUTH] Wrong\r\n");
    // RFC 1939 §7: after a refusal it is USER again.
    assert_eq!(dialog.say("PASS right\r\n"), "-ERR USER first\r\n");
    assert_eq!(dialog.events.len(), 1);
    dialog.refuse_login = false;
    dialog.events.clear();
    assert_eq!(
        dialog.say("USER ana\r\nUSER luis\r\nPASS two words\r\n"),
        "+OK Now the password\r\n".repeat(2) + "+OK Logged in\r\n"
    );
    assert!(dialog.logged_in_as("luis", "two words"));
}

#[test]
fn what_comes_behind_the_login_is_left_for_the_next() {
    let mut dialog = Dialog::front(true);
    assert_eq!(dialog.say("USER ana\r\nPASS secret\r\nSTAT\r\nRE"), "+OK Now the password\r\n+OK Logged in\r\n");
    let unread = dialog.server.take_unread();
    let mut behind = Dialog::new(Server::authenticated(&unread, Limits::default()));
    assert_eq!(behind.say("TR 3\r\n"), "+OK Done\r\n+OK\r\ntext\r\n.\r\n");
    let message = MessageNumber::new(3).unwrap();
    assert_eq!(behind.events, [Event::Command(Command::Stat), Event::Command(Command::Retr(message))]);
}

#[test]
fn sasl() {
    let plain = "AGFuYQBzZWNyZXQ=";
    for dialogue in [
        format!("AUTH PLAIN {plain}\r\n"),
        format!("auth plain\r\n{plain}\r\n"),
        "AUTH LOGIN\r\nYW5h\r\nc2VjcmV0\r\n".to_owned(),
        "AUTH LOGIN YW5h\r\nc2VjcmV0\r\n".to_owned(),
    ] {
        let mut dialog = Dialog::front(true);
        assert!(dialog.say(&dialogue).ends_with("+OK Logged in\r\n"), "{dialogue}");
        assert!(dialog.logged_in_as("ana", "secret"), "{dialogue}");
    }
    let mut dialog = Dialog::front(true);
    assert_eq!(dialog.say("AUTH PLAIN\r\n"), "+ \r\n");
    assert_eq!(dialog.say("*\r\n"), "-ERR Authentication cancelled\r\n");
    assert_eq!(dialog.say("AUTH LOGIN\r\n"), "+ VXNlcm5hbWU6\r\n");
    assert_eq!(dialog.say("YW5h\r\n"), "+ UGFzc3dvcmQ6\r\n");
    assert_eq!(dialog.say("%\r\n"), "-ERR Response is not base64\r\n");
    assert_eq!(dialog.say("AUTH PLAIN YQ==\r\n"), "-ERR Response does not fit the mechanism\r\n");
    assert_eq!(dialog.say("AUTH EXTERNAL =\r\n"), "-ERR Authentication mechanism is not offered\r\n");
    assert_eq!(dialog.say("AUTH GSSAPI\r\n"), "-ERR Authentication mechanism is not offered\r\n");
    // A response may be longer than a command line.
    assert_eq!(
        dialog.say(&format!("AUTH PLAIN\r\n{}\r\n", "A".repeat(8000))),
        "+ \r\n-ERR Response does not fit the mechanism\r\n"
    );
    assert_eq!(
        dialog.say(&format!("AUTH PLAIN\r\n{}", "A".repeat(RESPONSE_TOO_LONG))),
        "+ \r\n-ERR Response too long\r\n"
    );
    assert!(dialog.closed && dialog.events.is_empty());
}

const RESPONSE_TOO_LONG: usize = crate::sasl::RESPONSE_BYTES + 2;

#[test]
fn a_relay_says_for_whom_it_speaks() {
    let mut dialog = Dialog::between_nodes();
    assert_eq!(dialog.say(""), "+OK [XCLIENT] Estafeta ready.\r\n");
    assert_eq!(
        dialog.say("CAPA\r\n"),
        "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Estafeta\r\nSASL EXTERNAL\r\nXCLIENT\r\n.\r\n"
    );
    assert_eq!(dialog.say("USER ana\r\n"), "-ERR USER and PASS are not offered\r\n");
    assert_eq!(dialog.say("XCLIENT ADDR=192.0.2.7 PORT=40000\r\n"), "+OK Updated\r\n");
    assert_eq!(dialog.say("AUTH EXTERNAL YW5hQGV4YW1wbGUuZWR1\r\n"), "+OK Logged in\r\n");
    let origin = Origin { address: Some("192.0.2.7".parse().unwrap()), port: Some(40_000) };
    let credentials = Credentials::External { on_behalf_of: Some("ana@example.edu".to_owned()) };
    assert_eq!(dialog.events, [Event::Forwarded(origin), Event::Authenticate(credentials), Event::HandOver]);
    // Nobody else may.
    assert_eq!(Dialog::front(true).say("XCLIENT ADDR=192.0.2.7\r\n"), "-ERR Unknown command\r\n");
}

#[test]
fn commands_of_an_open_mailbox() {
    let mut dialog = Dialog::open();
    assert_eq!(dialog.say(""), "");
    assert_eq!(
        dialog.say("capa\r\n"),
        "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\nIMPLEMENTATION Estafeta\r\n.\r\n"
    );
    assert_eq!(
        dialog.say("NOOP\r\nSTAT\r\nUSER ana\r\nRETR 0\r\nSTLS\r\nAUTH\r\nFROB\r\n\r\n"),
        "+OK\r\n+OK Done\r\n-ERR Already logged in\r\n-ERR Messages are numbered from 1\r\n-ERR Already logged in\r\n\
         -ERR Already logged in\r\n-ERR Unknown command\r\n-ERR Unknown command\r\n"
    );
    assert_eq!(dialog.say("QUIT\r\nSTAT\r\n"), "+OK Bye\r\n");
    assert!(dialog.closed);
    assert_eq!(dialog.events, [Event::Command(Command::Stat), Event::Command(Command::Quit)]);
}

#[test]
fn quit_before_the_login() {
    let mut dialog = Dialog::front(true);
    assert_eq!(dialog.say("QUIT\r\nCAPA\r\n"), "+OK Goodbye\r\n");
    assert!(dialog.closed && dialog.events.is_empty());
}

#[test]
fn a_role_that_forgets_to_answer_is_answered_for() {
    let mut server = Server::authenticated(b"STAT\r\n", Limits::default());
    assert_eq!(server.next(), Step::Event(Event::Command(Command::Stat)));
    assert_eq!(server.next(), Step::Write("-ERR [SYS/TEMP] Internal error\r\n".into()));
    assert_eq!(server.next(), Step::Read);
}

#[test]
fn bounds() {
    let limits = Limits { line_bytes: 255, faults: 3 };
    let mut dialog = Dialog::new(Server::authenticated(b"", limits));
    assert_eq!(dialog.say(&format!("STAT{}\r\n", " ".repeat(249))), "+OK Done\r\n");
    assert_eq!(dialog.say(&format!("STAT{}\r\n", " ".repeat(250))), "-ERR Command line too long\r\n");
    assert!(dialog.closed);
    let mut dialog = Dialog::new(Server::authenticated(b"", limits));
    assert_eq!(dialog.say("a\r\nb\r\nc\r\nSTAT\r\na\r\nb\r\nc\r\n").matches("Unknown").count(), 6);
    assert_eq!(dialog.say("d\r\nSTAT\r\n"), "-ERR Too many faulty commands\r\n");
    assert!(dialog.closed);
}

#[test]
fn farewells_and_ends() {
    for (why, word) in
        [(Farewell::Draining, ""), (Farewell::Idle, ""), (Farewell::Internal, "-ERR [SYS/TEMP] Internal error\r\n")]
    {
        let mut dialog = Dialog::open();
        dialog.server.farewell(why);
        dialog.run();
        assert!(dialog.closed);
        assert_eq!(dialog.say("STAT\r\n"), word);
    }
    // What has begun, and what was sent ahead, is answered before.
    let mut dialog = Dialog::open();
    dialog.feed(b"ST");
    dialog.server.farewell(Farewell::Draining);
    dialog.run();
    assert!(!dialog.closed);
    assert_eq!(dialog.say("AT\r\nSTAT\r\n"), "+OK Done\r\n+OK Done\r\n");
    assert!(dialog.closed);
    let mut dialog = Dialog::open();
    dialog.feed(b"STAT\r\nQUIT");
    dialog.server.end();
    dialog.run();
    assert!(dialog.closed);
    // QUIT was not whole: the connection broke, and nothing is removed.
    assert_eq!(dialog.events, [Event::Command(Command::Stat)]);
}

/// Commands, good and bad, one after the other.
fn script() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let line = prop::sample::select(vec![
        "CAPA",
        "STAT",
        "LIST",
        "LIST 3",
        "RETR 1",
        "TOP 1 5",
        "UIDL",
        "DELE 2",
        "RSET",
        "NOOP",
        "AUTH",
        "AUTH PLAIN",
        "AUTH LOGIN",
        "AUTH PLAIN AGFuYQBhbmE=",
        "AUTH EXTERNAL =",
        "*",
        "YW5h",
        "USER ana",
        "PASS secret",
        "STLS",
        "XCLIENT ADDR=::1 PORT=1",
        "XCLIENT X",
        "QUIT",
        "",
    ]);
    let piece = prop_oneof![
        8 => (line, prop::sample::select(vec!["\r\n", "\n"])).prop_map(|(line, end)| [line, end].concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~]{0,300}\r?\n".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest::proptest! {
    /// Any bytes in any pieces: the same events and the same answers as in one piece, and no more memory than allowed.
    #[test]
    fn pieces_do_not_matter(script in script(), cuts in proptest::collection::vec(1_usize..20, 1..40), kind in 0..3, refuse_login: bool) {
        let dialog = || {
            let mut dialog = match kind {
                0 => Dialog::front(true),
                1 => Dialog::between_nodes(),
                _ => Dialog::open(),
            };
            dialog.refuse_login = refuse_login;
            dialog
        };
        let mut whole = dialog();
        whole.feed(&script);
        let mut pieces = dialog();
        let mut rest = &script[..];
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.feed(piece);
            proptest::prop_assert!(pieces.server.input.len() <= crate::sasl::RESPONSE_BYTES + READ_BYTES);
            rest = behind;
            if rest.is_empty() || pieces.events.contains(&Event::HandOver) {
                break;
            }
        }
        proptest::prop_assert_eq!(&pieces.events, &whole.events);
        proptest::prop_assert_eq!(&pieces.sent, &whole.sent);
        proptest::prop_assert_eq!(pieces.closed, whole.closed);
        for mut dialog in [whole, pieces] {
            if !dialog.events.contains(&Event::HandOver) {
                dialog.server.end();
                dialog.run();
                proptest::prop_assert!(dialog.closed);
            }
        }
    }
}

#[test]
fn languages_and_utf8() {
    let mut dialog = Dialog::front(true);
    // RFC 6856 §2.1: only before the login.
    assert_eq!(dialog.say("UTF8\r\n"), "+OK UTF8 enabled\r\n");
    assert_eq!(dialog.say("UTF8 now\r\n"), "-ERR Unexpected argument\r\n");
    assert_eq!(dialog.say("LANG\r\n"), "+OK Languages follow\r\nen English\r\n.\r\n");
    for spoken in ["*", "en", "EN-gb", "i-default"] {
        assert_eq!(dialog.say(&format!("LANG {spoken}\r\n")), "+OK en English is spoken\r\n", "{spoken}");
    }
    assert_eq!(dialog.say("LANG es\r\n"), "-ERR That language is not spoken here\r\n");
    let mut open = Dialog::open();
    assert_eq!(open.say("LANG en\r\nUTF8\r\n"), "+OK en English is spoken\r\n-ERR Already logged in\r\n");
}
