use proptest::prelude::*;

use super::*;
use crate::sasl::{Credentials, Password};

/// Drives a machine through a script: what the client sends, and a role that takes everything but what it was told to
/// refuse.
struct Play {
    server: Server,
    said: String,
    told: Vec<String>,
    message: Vec<u8>,
    closed: bool,
    wants_tls: bool,
    refusals: Vec<(&'static str, Reply)>,
}

impl Play {
    fn new(dialect: Dialect, tls: Tls) -> Self {
        Self::with_limits(dialect, tls, Limits::default())
    }

    fn with_limits(dialect: Dialect, tls: Tls, limits: Limits) -> Self {
        let config = Config { dialect, hostname: "mx.example".to_owned(), tls, limits };
        let mut play = Self {
            server: Server::new(config),
            said: String::new(),
            told: vec![],
            message: vec![],
            closed: false,
            wants_tls: false,
            refusals: vec![],
        };
        play.run();
        play
    }

    /// A server that was greeted.
    fn greeted(dialect: Dialect) -> Self {
        let mut play = Self::new(dialect, Tls::Unavailable);
        play.send(if dialect == Dialect::Lmtp { "LHLO c.example\r\n" } else { "EHLO c.example\r\n" });
        play.said.clear();
        play.told.clear();
        play
    }

    fn refusing(mut self, what: &'static str, reply: Reply) -> Self {
        self.refusals.push((what, reply));
        self
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            match self.server.next() {
                Step::Read => return,
                Step::Write(bytes) => self.said.push_str(std::str::from_utf8(&bytes).unwrap()),
                Step::Event(Event::Data(bytes)) => {
                    self.message.extend_from_slice(&bytes);
                    self.decide("DATA", false);
                }
                Step::Event(Event::Reset) => {
                    self.told.push("RESET".to_owned());
                    self.message.clear();
                }
                Step::Event(event) => {
                    let told = match event {
                        Event::Connected => "CONNECTED".to_owned(),
                        Event::Hello(hello) => format!("HELLO {}", hello.name),
                        Event::Authenticate(Credentials::Password { name, password, .. }) => {
                            format!("AUTH {name} {}", password.expose())
                        }
                        Event::Mail(mail) => format!("MAIL {}", mail.sender),
                        Event::Recipient(recipient) => format!("RCPT {}", recipient.path),
                        Event::EndOfMessage => {
                            format!("END {:?}", String::from_utf8_lossy(&std::mem::take(&mut self.message)))
                        }
                        Event::Data(_) | Event::Reset | Event::Authenticate(_) => unreachable!(),
                    };
                    self.decide(&told, true);
                    self.told.push(told);
                }
                Step::Compress => panic!("SMTP knows no compression"),
                Step::StartTls => {
                    self.wants_tls = true;
                    return;
                }
                Step::Close => {
                    self.closed = true;
                    assert_eq!(self.server.next(), Step::Close);
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    fn decide(&mut self, told: &str, accept: bool) {
        match self.refusals.iter().find(|(what, _)| told.starts_with(what)) {
            Some((_, reply)) => self.server.reply(reply.clone()),
            None if accept => self.server.accept(),
            None => {}
        }
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BYTES) {
            if !self.closed && !self.wants_tls {
                self.server.receive(piece);
                self.run();
            }
        }
    }

    fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// Sends, and gives the codes of what was answered, one a line.
    fn codes(&mut self, text: &str) -> Vec<u16> {
        self.said.clear();
        self.send(text);
        self.said.lines().map(|line| line[..3].parse().unwrap()).collect()
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";

#[test]
fn a_plain_dialog() {
    let mut play = Play::new(Dialect::Smtp, Tls::Offered);
    play.send("EHLO c.example\r\n");
    play.send("MAIL FROM:<a@x.example> SIZE=20\r\n");
    play.send("RCPT TO:<b@y.example>\r\n");
    play.send("RCPT TO:<postmaster>\r\n");
    play.send("DATA\r\n");
    play.send("Subject: x\r\n\r\n..hi\r\n.\r\n");
    play.send("QUIT\r\n");
    assert_eq!(
        play.said,
        "220 mx.example ESMTP Estafeta\r\n\
         250-mx.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
         250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 STARTTLS\r\n\
         250 2.1.0 Sender accepted\r\n250 2.1.5 Recipient accepted\r\n250 2.1.5 Recipient accepted\r\n\
         354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 Message accepted\r\n\
         221 2.0.0 mx.example closing the connection\r\n"
    );
    let end = "END \"Subject: x\\r\\n\\r\\n.hi\\r\\n\"";
    assert_eq!(
        play.told,
        ["CONNECTED", "HELLO c.example", "MAIL a@x.example", "RCPT b@y.example", "RCPT postmaster", end]
    );
    assert!(play.closed);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut play = Play::greeted(Dialect::Smtp).refusing("RCPT no", Reply::known(550, Enhanced(5, 1, 1), "Unknown"));
    let codes = play.codes(
        "MAIL FROM:<a@x.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nhi\r\n.\r\n\
         MAIL FROM:<>\r\nRSET\r\nNOOP\r\nQUIT\r\n",
    );
    assert_eq!(codes, [250, 550, 250, 354, 250, 250, 250, 250, 221]);
}

#[test]
fn the_order_of_commands_is_enforced() {
    let mut play = Play::new(Dialect::Smtp, Tls::Unavailable);
    assert_eq!(play.codes("MAIL FROM:<a@x.example>\r\n"), [503]);
    assert_eq!(play.codes("EHLO c\r\nRCPT TO:<b@y.example>\r\n")[7..], [503]);
    assert_eq!(play.codes("DATA\r\n"), [503]);
    assert_eq!(play.codes("BDAT 3 LAST\r\nabcNOOP\r\n"), [503, 250]);
    assert_eq!(play.codes("MAIL FROM:<a@x.example>\r\nMAIL FROM:<a@x.example>\r\n"), [250, 503]);
    assert_eq!(play.codes("DATA\r\nBDAT 3\r\nabcNOOP\r\n"), [554, 554, 250]);
    assert_eq!(
        play.codes("STARTTLS\r\nAUTH PLAIN\r\nLHLO x\r\nVRFY b\r\nEXPN l\r\nHELP\r\n"),
        [502, 502, 500, 252, 502, 214]
    );
    assert_eq!(play.codes("HELO again\r\nRCPT TO:<b@y.example>\r\n"), [250, 503]);
    assert_eq!(play.told[play.told.len() - 2..], ["RESET", "HELLO again"]);
}

#[test]
fn smuggling_is_refused() {
    for smuggled in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r"] {
        let mut play = Play::greeted(Dialect::Smtp);
        let text =
            format!("{ENVELOPE}DATA\r\nhi{smuggled}MAIL FROM:<x@x.example>\r\nRCPT TO:<y@y.example>\r\n.\r\nNOOP\r\n");
        assert_eq!(play.codes(&text), [250, 250, 354, 550, 250], "{smuggled:?}");
        assert_eq!(play.told, ["MAIL a@x.example", "RCPT b@y.example", "RESET"]);
    }
    let mut play = Play::greeted(Dialect::Smtp);
    assert_eq!(play.codes(&format!("{ENVELOPE}BDAT 6 LAST\r\na\n.\r\nbNOOP\r\n")), [250, 250, 550, 250]);
}

#[test]
fn odd_lines_are_refused() {
    let mut play = Play::greeted(Dialect::Smtp);
    assert_eq!(play.codes("NOOP\n"), [500]);
    assert_eq!(play.codes("NO\rOP\r\n"), [500]);
    assert_eq!(play.codes("\r\n"), [500]);
    play.send_bytes(b"NOOP \0\r\n\xff\xfe\r\n");
    assert_eq!(play.said.matches("500 5.5.2").count(), 2);
    let long = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(100_000));
    assert_eq!(play.codes(&long), [500, 250]);
    let fitting = format!("NOOP {}\r\n", "x".repeat(4096 - 7));
    assert_eq!(play.codes(&fitting), [250]);
    let too_long = format!("NOOP {}\r\n", "x".repeat(4096 - 6));
    assert_eq!(play.codes(&too_long), [500]);
    assert_eq!(play.codes("GET / HTTP/1.1\r\nHost: mx\r\n"), [521]);
    assert!(play.closed);
}

#[test]
fn utf8_addresses_need_smtputf8() {
    let mut play = Play::greeted(Dialect::Smtp);
    assert_eq!(play.codes("MAIL FROM:<josé@x.example>\r\n"), [553]);
    assert_eq!(play.codes("MAIL FROM:<a@x.example>\r\nRCPT TO:<josé@x.example>\r\nRSET\r\n"), [250, 553, 250]);
    assert_eq!(play.codes("MAIL FROM:<josé@x.example> SMTPUTF8\r\nRCPT TO:<ana@ñ.example>\r\n"), [250, 250]);
}

#[test]
fn a_message_too_large_is_refused_early_or_late() {
    let limits = Limits { message_bytes: 100, ..Limits::default() };
    let play = || {
        let mut play = Play::with_limits(Dialect::Smtp, Tls::Unavailable, limits.clone());
        play.send("HELO c\r\n");
        play.told.clear();
        play
    };
    assert_eq!(play().codes("MAIL FROM:<a@x.example> SIZE=101\r\n"), [552]);
    let text = "x".repeat(150);
    let mut late = play();
    assert_eq!(late.codes(&format!("{ENVELOPE}DATA\r\n{text}\r\n.\r\nNOOP\r\n")), [250, 250, 354, 552, 250]);
    assert_eq!(late.told.last().map(String::as_str), Some("RESET"));
    let mut endless = play();
    assert_eq!(endless.codes(&format!("{ENVELOPE}DATA\r\n{text}{text}")), [250, 250, 354, 552]);
    assert!(endless.closed);
    let mut chunks = play();
    let two = format!("{ENVELOPE}BDAT 60\r\n{}BDAT 50\r\n{}BDAT 0 LAST\r\nNOOP\r\n", "x".repeat(60), "y".repeat(50));
    assert_eq!(chunks.codes(&two), [250, 250, 250, 552, 503, 250]);
    let mut huge = play();
    assert_eq!(huge.codes(&format!("{ENVELOPE}BDAT 99999999999999999999 LAST\r\nabc")), [250, 250, 552]);
    assert!(huge.closed);
}

#[test]
fn chunks_make_one_message() {
    let mut play = Play::greeted(Dialect::Smtp);
    let codes = play
        .codes(&format!("{ENVELOPE}BDAT 6\r\n.a\r\n.\rRCPT TO:<c@y.example>\r\nDATA\r\nBDAT 3 LAST\r\n\nbcNOOP\r\n"));
    assert_eq!(codes, [250, 250, 250, 503, 503, 250, 250]);
    assert_eq!(play.told.last().map(String::as_str), Some("END \".a\\r\\n.\\r\\nbc\\r\\n\""));
}

#[test]
fn recipients_past_the_limit_and_errors_are_bounded() {
    let limits = Limits { recipients: 3, errors: 5, ..Limits::default() };
    let mut play = Play::with_limits(Dialect::Smtp, Tls::Unavailable, limits);
    play.send("HELO c\r\nMAIL FROM:<>\r\n");
    let codes = play.codes(&"RCPT TO:<b@y.example>\r\n".repeat(100_000));
    assert_eq!(codes, [250, 250, 250, 452, 452, 452, 452, 452, 452, 421]);
    assert!(play.closed);
}

#[test]
fn transactions_are_bounded() {
    let limits = Limits { transactions: 2, ..Limits::default() };
    let mut play = Play::with_limits(Dialect::Smtp, Tls::Unavailable, limits);
    play.send("HELO c\r\n");
    assert_eq!(
        play.codes("MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n"),
        [250, 250, 250, 250, 421]
    );
    assert!(play.closed);
}

#[test]
fn lmtp_answers_each_recipient() {
    let mut play = Play::greeted(Dialect::Lmtp).refusing("RCPT no", Reply::known(550, Enhanced(5, 1, 1), "Unknown"));
    let envelope = "MAIL FROM:<a@x.example> ENVID=0190-x\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<no@y.example>\r\nRCPT TO:<c@y.example> NOTIFY=NEVER\r\n";
    assert_eq!(play.codes(&format!("{envelope}DATA\r\nhi\r\n.\r\nNOOP\r\n")), [250, 250, 550, 250, 354, 250, 250, 250]);
    assert_eq!(
        play.codes(&format!("{envelope}DATA\r\nhi\n\r\n.\r\nNOOP\r\n")),
        [250, 250, 550, 250, 354, 550, 550, 250]
    );
    assert_eq!(play.codes("EHLO c\r\nHELO c\r\n"), [500, 500]);
    assert_eq!(play.codes("MAIL FROM:<>\r\nDATA\r\n"), [250, 554]);
}

#[test]
fn lmtp_replies_may_differ() {
    let mut play = Play::greeted(Dialect::Lmtp);
    play.send("MAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nRCPT TO:<d@y.example>\r\n");
    play.said.clear();
    let server = &mut play.server;
    server.receive(b"DATA\r\n.\r\n");
    assert!(matches!(server.next(), Step::Event(Event::EndOfMessage)));
    server.reply_each([Reply::known(250, Enhanced(2, 0, 0), "OK"), Reply::known(552, Enhanced(5, 2, 2), "Full")]);
    play.run();
    assert_eq!(
        play.said,
        "354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 OK\r\n552 5.2.2 Full\r\n\
         451 4.3.0 Internal error, try again later\r\n"
    );
}

#[test]
fn full_mailboxes_are_no_error_of_the_client() {
    let limits = Limits { errors: 2, ..Limits::default() };
    let full = Reply::known(452, Enhanced(4, 2, 2), "Full");
    let mut play = Play::with_limits(Dialect::Lmtp, Tls::Established, limits).refusing("END", full);
    play.send("LHLO c\r\n");
    let envelope = format!("MAIL FROM:<>\r\n{}", "RCPT TO:<b@y.example>\r\n".repeat(10));
    let codes = play.codes(&format!("{envelope}DATA\r\n.\r\nNOOP\r\n"));
    assert_eq!(codes[12..], [[452; 10].as_slice(), &[250]].concat());
}

#[test]
fn an_event_without_an_answer_is_a_temporary_error() {
    let mut server = Server::new(Config {
        dialect: Dialect::Smtp,
        hostname: "mx".to_owned(),
        tls: Tls::Unavailable,
        limits: Limits::default(),
    });
    assert!(matches!(server.next(), Step::Event(Event::Connected)));
    assert!(matches!(server.next(), Step::Write(bytes) if bytes.starts_with(b"451 4.3.0")));
    assert_eq!(server.next(), Step::Close);
}

#[test]
fn a_role_may_refuse_in_the_middle_of_a_message() {
    let full = Reply::known(452, Enhanced(4, 3, 1), "No room");
    let mut play = Play::greeted(Dialect::Smtp).refusing("DATA", full);
    assert_eq!(play.codes(&format!("{ENVELOPE}DATA\r\nhi\r\n.\r\nNOOP\r\n")), [250, 250, 354, 452, 250]);
    assert_eq!(play.codes(&format!("{ENVELOPE}BDAT 2\r\nhiBDAT 2 LAST\r\nhoNOOP\r\n")), [250, 250, 452, 503, 250]);
    assert!(!play.told.iter().any(|told| told.starts_with("END") || told == "RESET"));
}

#[test]
fn starttls_starts_anew() {
    let mut play = Play::new(Dialect::Submission, Tls::Offered);
    assert_eq!(play.codes("EHLO c\r\nMAIL FROM:<a@x.example>\r\nAUTH PLAIN AGEAYg==\r\n")[8..], [530, 538]);
    assert_eq!(play.codes("STARTTLS\r\n"), [220]);
    assert!(play.wants_tls);
    play.wants_tls = false;
    play.server.secured();
    assert!(play.server.is_secured());
    assert_eq!(play.codes("MAIL FROM:<a@x.example>\r\n"), [503]);
    play.send("EHLO c\r\n");
    assert!(play.said.contains("250 AUTH PLAIN LOGIN\r\n") && !play.said.contains("STARTTLS"));
    assert_eq!(play.codes("STARTTLS\r\n"), [503]);
}

#[test]
fn what_follows_starttls_in_the_clear_is_refused() {
    let mut play = Play::new(Dialect::Smtp, Tls::Offered);
    play.send("EHLO c\r\n");
    assert_eq!(play.codes("STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n"), [554]);
    assert!(play.closed && !play.wants_tls);
    assert!(!play.told.iter().any(|told| told.starts_with("MAIL")));
}

fn submission() -> Play {
    let mut play = Play::new(Dialect::Submission, Tls::Established);
    play.send("EHLO c\r\n");
    play.told.clear();
    play
}

#[test]
fn authentication() {
    let mut play = submission();
    assert_eq!(play.codes("MAIL FROM:<a@x.example>\r\n"), [530]);
    assert_eq!(play.codes("AUTH CRAM-MD5\r\nAUTH PLAIN !\r\nAUTH PLAIN =\r\n"), [504, 501, 501]);
    assert_eq!(play.codes("AUTH PLAIN\r\n*\r\nAUTH LOGIN\r\n*\r\nNOOP\r\n"), [334, 501, 334, 501, 250]);
    assert_eq!(play.codes("AUTH PLAIN AGFuYQBzZWNyZXQ=\r\n"), [235]);
    assert_eq!(play.codes("AUTH PLAIN AGFuYQBzZWNyZXQ=\r\nMAIL FROM:<a@x.example>\r\n"), [503, 250]);
    assert_eq!(play.told, ["AUTH ana secret", "MAIL a@x.example"]);

    let mut play = submission();
    play.said.clear();
    play.send("AUTH LOGIN\r\n");
    play.send("YW5h\r\n");
    play.send("c2VjcmV0\r\n");
    assert_eq!(play.said, "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Authentication succeeded\r\n");
    let mut play = submission();
    assert_eq!(play.codes("AUTH PLAIN\r\nAGFuYQBzZWNyZXQ=\r\nQUIT\r\n"), [334, 235, 221]);
    assert_eq!(play.told, ["AUTH ana secret"]);

    let mut play = submission().refusing("AUTH", Reply::known(535, Enhanced(5, 7, 8), "No"));
    assert_eq!(play.codes("AUTH LOGIN YW5h\r\nc2VjcmV0\r\nMAIL FROM:<a@x.example>\r\n"), [334, 535, 530]);
}

#[test]
fn draining_lets_a_transaction_finish() {
    let mut play = Play::greeted(Dialect::Smtp);
    play.send(&format!("{ENVELOPE}DATA\r\nhi"));
    play.server.farewell(Farewell::Draining);
    play.run();
    assert!(!play.closed);
    assert_eq!(play.codes("\r\n.\r\n"), [250, 421]);
    assert!(play.closed);

    let mut play = Play::greeted(Dialect::Smtp);
    play.server.farewell(Farewell::Draining);
    play.run();
    assert!(play.closed && play.said.starts_with("421 4.3.2 mx.example"));
}

#[test]
fn the_end_of_the_stream_ends_the_connection() {
    let mut play = Play::greeted(Dialect::Smtp);
    play.send(&format!("{ENVELOPE}DATA\r\nhi\r\n"));
    play.server.end();
    play.run();
    assert!(play.closed && !play.told.iter().any(|told| told.starts_with("END")));

    let mut play = Play::greeted(Dialect::Smtp);
    play.server.receive(b"NOOP\r\nQUIT\r\n");
    play.server.end();
    play.run();
    assert_eq!(play.said, "250 2.0.0 OK\r\n221 2.0.0 mx.example closing the connection\r\n");
}

#[test]
fn passwords_do_not_print() {
    let password = Password::new("secret".to_owned());
    let event = Event::Authenticate(Credentials::Password { on_behalf_of: None, name: "ana".to_owned(), password });
    assert!(!format!("{event:?}").contains("secret"));
}

/// What a script of a client is made of.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scrap = prop_oneof![
        8 => prop::sample::select(vec![
            "EHLO c\r\n", "LHLO c\r\n", "MAIL FROM:<a@x.example>\r\n", "MAIL FROM:<> SIZE=3\r\n", "RCPT TO:<b@y.example>\r\n",
            "DATA\r\n", ".\r\n", "\r\n.\r\n", "hi\r\n", "..hi\r\n", "BDAT 3\r\n", "BDAT 4 LAST\r\n", "BDAT 0 LAST\r\n",
            "BDAT 900\r\n", "RSET\r\n", "NOOP\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN YW5h\r\n", "AGEAYg==\r\n", "*\r\n", "\n",
            "\r", ".", "MAIL", "QUIT\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (1usize..700).prop_map(|size| vec![b'x'; size]),
    ];
    prop::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_to_the_same(
        script in scraps(),
        dialect in prop::sample::select(vec![Dialect::Smtp, Dialect::Submission, Dialect::Lmtp]),
        sizes in prop::collection::vec(1usize..50, 1..8),
    ) {
        let limits = Limits { message_bytes: 500, command_line_bytes: 100, errors: 12, recipients: 4, transactions: 5, ..Limits::default() };
        let mut whole = Play::with_limits(dialect, Tls::Established, limits.clone());
        whole.send_bytes(&script);
        let mut pieces = Play::with_limits(dialect, Tls::Established, limits);
        let mut rest = &script[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            pieces.send_bytes(piece);
            rest = behind;
        }
        prop_assert_eq!(&whole.said, &pieces.said);
        prop_assert_eq!(&whole.told, &pieces.told);
        prop_assert_eq!(whole.closed, pieces.closed);
    }
}

/// A role measures by it whether a client gets on, also with what is swallowed.
#[test]
fn every_byte_that_comes_in_is_counted() {
    let mut play = Play::new(Dialect::Smtp, Tls::Unavailable);
    assert_eq!(play.server.received_bytes(), 0);
    play.send("EHLO c.example\r\n");
    play.send(&"x".repeat(10_000));
    assert_eq!(play.server.received_bytes(), 10_016);
}
