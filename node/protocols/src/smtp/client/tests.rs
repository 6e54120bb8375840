use proptest::prelude::*;

use super::*;
use crate::sasl::Password;
use crate::smtp::server::{self, Server};
use crate::smtp::{Enhanced, Mailbox, ReversePath};

fn config(dialect: Dialect, tls: Tls) -> Config {
    Config { dialect, hostname: "edge.example".to_owned(), tls, login: None, chunking: true }
}

fn envelope(recipients: &[&str], message: &[u8]) -> Envelope {
    Envelope {
        sender: ReversePath::Mailbox(Mailbox::parse("a@x.example").unwrap()),
        recipients: recipients.iter().map(|recipient| Mailbox::parse(recipient).unwrap()).collect(),
        originals: Vec::new(),
        size_bytes: message.len() as u64,
        eight_bit: false,
        smtputf8: false,
        envelope_id: None,
    }
}

/// A role that sends some messages, and what came of them.
struct Play {
    client: Client,
    to_send: VecDeque<(Envelope, Vec<u8>)>,
    sending: Option<Vec<u8>>,
    outcomes: Vec<Outcome>,
    failed: Option<Problem>,
    wants_tls: bool,
    closed: bool,
    piece_bytes: usize,
}

impl Play {
    fn new(config: Config, to_send: Vec<(Envelope, Vec<u8>)>) -> Self {
        Self {
            client: Client::new(config),
            to_send: to_send.into(),
            sending: None,
            outcomes: vec![],
            failed: None,
            wants_tls: false,
            closed: false,
            piece_bytes: 7,
        }
    }

    /// Runs until the client wants to read; gives what it wrote.
    fn run(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            match self.client.next() {
                Step::Read => return written,
                Step::Write(bytes) => written.extend_from_slice(&bytes),
                Step::Event(Event::Ready) => {
                    if let Some((envelope, message)) = self.to_send.pop_front() {
                        self.sending = Some(message);
                        self.client.send(envelope);
                    }
                }
                Step::Event(Event::Content) => {
                    let message = self.sending.as_mut().unwrap();
                    if message.is_empty() {
                        self.client.finish();
                    } else {
                        let piece: Vec<u8> = message.drain(..self.piece_bytes.min(message.len())).collect();
                        self.client.content(piece.into());
                    }
                }
                Step::Event(Event::Outcome(outcome)) => self.outcomes.push(outcome),
                Step::Event(Event::Failed(problem)) => self.failed = Some(problem),
                Step::Compress => panic!("SMTP knows no compression"),
                Step::StartTls => {
                    self.wants_tls = true;
                    return written;
                }
                Step::Close => {
                    self.closed = true;
                    return written;
                }
            }
        }
    }

    /// What the client says after the server has said `text`.
    fn hears(&mut self, text: &str) -> String {
        self.client.receive(text.as_bytes());
        String::from_utf8(self.run()).unwrap()
    }

    fn codes(&self) -> Vec<Vec<u16>> {
        let codes = |outcome: &Outcome| outcome.replies.iter().map(|reply| reply.code).collect();
        self.outcomes.iter().map(codes).collect()
    }
}

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.hi\r\n";

fn smtp(recipients: &[&str]) -> Play {
    let mut play =
        Play::new(config(Dialect::Smtp, Tls::Never), vec![(envelope(recipients, MESSAGE), MESSAGE.to_vec())]);
    assert_eq!(play.run(), b"");
    assert_eq!(play.hears("220 mx\r\n"), "EHLO edge.example\r\n");
    play
}

#[test]
fn one_command_at_a_time() {
    let mut play = smtp(&["b@y.example", "c@y.example"]);
    assert_eq!(play.hears("250 mx\r\n"), "MAIL FROM:<a@x.example>\r\n");
    assert_eq!(play.hears("250 ok\r\n"), "RCPT TO:<b@y.example>\r\n");
    assert_eq!(play.hears("250 ok\r\n"), "RCPT TO:<c@y.example>\r\n");
    assert_eq!(play.hears("550 5.1.1 no\r\n"), "DATA\r\n");
    assert_eq!(play.hears("354 go\r\n"), "Subject: x\r\n\r\n..hi\r\n.\r\n");
    assert_eq!(play.hears("250 2.0.0 taken\r\n"), "QUIT\r\n");
    assert_eq!(play.codes(), [[250, 550]]);
    assert_eq!(play.outcomes[0].replies[0].text, "taken");
    play.hears("221 bye\r\n");
    assert!(play.closed);
}

#[test]
fn pipelined() {
    let mut play = smtp(&["b@y.example", "c@y.example"]);
    assert_eq!(
        play.hears("250-mx\r\n250-SIZE\r\n250 PIPELINING\r\n"),
        "MAIL FROM:<a@x.example> SIZE=19\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n"
    );
    assert_eq!(play.hears("250 ok\r\n452 4.5.3 later\r\n250 ok\r\n"), "");
    assert_eq!(play.hears("354 go\r\n"), "Subject: x\r\n\r\n..hi\r\n.\r\n");
    play.hears("451 4.0.0 not now\r\n");
    assert_eq!(play.codes(), [[452, 451]]);
}

#[test]
fn by_chunks() {
    let mut play = smtp(&["b@y.example"]);
    assert_eq!(
        play.hears("250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"),
        "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n"
    );
    assert_eq!(play.hears("250 ok\r\n250 ok\r\n"), "BDAT 19 LAST\r\nSubject: x\r\n\r\n.hi\r\n");
    assert_eq!(play.hears("250 2.0.0 taken\r\n"), "QUIT\r\n");
    assert_eq!(play.codes(), [[250]]);
}

#[test]
fn a_refused_transaction_is_reset_before_the_next() {
    let mut play = smtp(&["b@y.example"]);
    play.to_send.push_back((envelope(&["c@y.example"], MESSAGE), MESSAGE.to_vec()));
    play.hears("250-mx\r\n250 PIPELINING\r\n");
    assert_eq!(
        play.hears("250 ok\r\n550 5.1.1 no\r\n554 5.5.1 none\r\n"),
        "RSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n"
    );
    assert_eq!(play.hears("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), "Subject: x\r\n\r\n..hi\r\n.\r\n");
    play.hears("250 ok\r\n");
    assert_eq!(play.codes(), [[550], [250]]);
}

#[test]
fn data_taken_without_a_recipient_is_ended_by_an_empty_message() {
    let mut play = smtp(&["b@y.example"]);
    play.hears("250-mx\r\n250 PIPELINING\r\n");
    assert_eq!(play.hears("250 ok\r\n550 no\r\n354 go\r\n"), ".\r\n");
    assert_eq!(play.hears("554 none\r\n"), "QUIT\r\n");
    assert_eq!(play.codes(), [[550]]);
}

#[test]
fn a_refused_sender_is_everyones_answer() {
    let mut play = smtp(&["b@y.example", "c@y.example"]);
    play.hears("250-mx\r\n250 PIPELINING\r\n");
    play.hears("553 5.1.8 who\r\n503 no\r\n503 no\r\n503 no\r\n");
    assert_eq!(play.codes(), [[553, 553]]);
    let mut play = smtp(&["b@y.example", "c@y.example"]);
    play.hears("250 mx\r\n");
    assert_eq!(play.hears("553 5.1.8 who\r\n"), "QUIT\r\n");
    assert_eq!(play.codes(), [[553, 553]]);
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let refused = |change: &dyn Fn(&mut Envelope), offers: &str| {
        let mut envelope = envelope(&["b@y.example"], MESSAGE);
        change(&mut envelope);
        let mut play = Play::new(config(Dialect::Smtp, Tls::Never), vec![(envelope, MESSAGE.to_vec())]);
        play.run();
        play.hears("220 mx\r\n");
        assert_eq!(play.hears(offers), "QUIT\r\n");
        play.codes()
    };
    assert_eq!(refused(&|envelope| envelope.eight_bit = true, "250 mx\r\n"), [[554]]);
    assert_eq!(refused(&|envelope| envelope.smtputf8 = true, "250-mx\r\n250 8BITMIME\r\n"), [[553]]);
    let accented = |envelope: &mut Envelope| envelope.recipients = vec![Mailbox::parse("é@y.example").unwrap()];
    assert_eq!(refused(&accented, "250 mx\r\n"), [[553]]);
    assert_eq!(refused(&|_| {}, "250-mx\r\n250 SIZE 18\r\n"), [[552]]);
    assert_eq!(refused(&|envelope| envelope.recipients.clear(), "250 mx\r\n"), [[0u16; 0]]);
}

#[test]
fn lmtp_takes_an_answer_for_each_accepted_recipient() {
    let mut letter = envelope(&["b@y.example", "c@y.example", "d@y.example"], MESSAGE);
    letter.envelope_id = Some("0190=x".to_owned());
    letter.originals = vec![None, Mailbox::parse("list+x@y.example").ok()];
    let mut play = Play::new(config(Dialect::Lmtp, Tls::Established), vec![(letter, MESSAGE.to_vec())]);
    play.run();
    assert_eq!(play.hears("220 mx\r\n"), "LHLO edge.example\r\n");
    let said = play.hears("250-mx\r\n250-DSN\r\n250 PIPELINING\r\n");
    assert!(said.starts_with("MAIL FROM:<a@x.example> ENVID=0190+3Dx\r\nRCPT TO:<b@y.example>\r\n"), "{said}");
    assert!(said.contains("RCPT TO:<c@y.example> ORCPT=rfc822;list+2Bx@y.example\r\n"), "{said}");
    play.hears("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    assert!(play.outcomes.is_empty());
    play.hears("250 stored\r\n");
    assert!(play.outcomes.is_empty());
    play.hears("452 4.2.2 full\r\n");
    assert_eq!(play.codes(), [[250, 550, 452]]);
}

#[test]
fn whatever_happens_there_is_one_outcome() {
    // LMTP: the verdict that came stands, the one that did not is ours.
    let letter = (envelope(&["b@y.example", "c@y.example"], MESSAGE), MESSAGE.to_vec());
    let mut play = Play::new(config(Dialect::Lmtp, Tls::Established), vec![letter]);
    play.run();
    play.hears("220 mx\r\n");
    play.hears("250-mx\r\n250 PIPELINING\r\n");
    play.hears("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 stored\r\n");
    play.client.end();
    play.run();
    assert_eq!(play.codes(), [[250, 451]]);
    assert_eq!(play.outcomes[0].problem, Some(Problem::Lost));
    assert!(play.closed && play.failed.is_none());

    for (said, problem) in [
        ("421 4.3.2 down\r\n", Problem::Refused(Reply::known(421, Enhanced(4, 3, 2), "down"))),
        ("what?\r\n", Problem::Malformed),
    ] {
        let mut play = smtp(&["b@y.example"]);
        play.hears("250 mx\r\n");
        play.hears(said);
        assert_eq!(play.outcomes[0].problem, Some(problem));
        assert!(play.outcomes[0].replies[0].code == 421 || play.outcomes[0].replies[0].code == 451);
        assert!(play.closed && play.failed.is_none());
    }

    let mut play = smtp(&["b@y.example"]);
    play.hears("250 mx\r\n");
    play.client.farewell(Farewell::Idle);
    play.run();
    assert_eq!(play.outcomes[0].problem, Some(Problem::Silent));
}

#[test]
fn a_useless_server_fails() {
    let fails = |config: Config, said: &[&str]| {
        let mut play = Play::new(config, vec![]);
        play.run();
        for said in said {
            play.hears(said);
        }
        if !play.closed {
            play.client.end();
            play.run();
        }
        assert!(play.closed && play.outcomes.is_empty());
        play.failed
    };
    let smtp = || config(Dialect::Smtp, Tls::Required);
    assert!(matches!(fails(smtp(), &["554 5.7.1 no\r\n"]), Some(Problem::Refused(_))));
    assert_eq!(fails(smtp(), &["220 mx\r\n", "250 mx\r\n"]), Some(Problem::NoTls));
    assert_eq!(fails(smtp(), &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "454 no\r\n"]), Some(Problem::NoTls));
    assert_eq!(
        fails(smtp(), &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n250 inject\r\n"]),
        Some(Problem::Malformed)
    );
    assert_eq!(fails(smtp(), &[]), Some(Problem::Lost));
    assert_eq!(fails(smtp(), &["SSH-2.0\r\n"]), Some(Problem::Malformed));
    let ana = Some(Login { name: "ana".to_owned(), password: Password::new("secret".to_owned()) });
    let login = |tls| Config { login: ana.clone(), ..config(Dialect::Submission, tls) };
    assert_eq!(
        fails(login(Tls::Never), &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n"]),
        Some(Problem::NoAuthentication)
    );
    assert!(matches!(
        fails(login(Tls::Established), &["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "535 no\r\n"]),
        Some(Problem::AuthenticationRefused(_))
    ));
}

#[test]
fn tls_where_it_is_offered() {
    let mut play = Play::new(config(Dialect::Smtp, Tls::Opportunistic), vec![]);
    play.run();
    play.hears("220 mx\r\n");
    assert_eq!(play.hears("250-mx\r\n250 STARTTLS\r\n"), "STARTTLS\r\n");
    assert_eq!(play.hears("220 go\r\n"), "");
    assert!(play.wants_tls);
    play.client.secured();
    assert_eq!(play.run(), b"EHLO edge.example\r\n");
    assert_eq!(play.hears("250 mx\r\n"), "QUIT\r\n");

    let mut play = Play::new(config(Dialect::Smtp, Tls::Opportunistic), vec![]);
    play.run();
    play.hears("220 mx\r\n");
    play.hears("250-mx\r\n250 STARTTLS\r\n");
    assert_eq!(play.hears("454 4.7.0 not now\r\n"), "QUIT\r\n");
}

#[test]
fn an_old_server_is_greeted_by_helo() {
    let mut play = smtp(&["b@y.example"]);
    assert_eq!(play.hears("502 what\r\n"), "HELO edge.example\r\n");
    assert_eq!(play.hears("250 mx\r\n"), "MAIL FROM:<a@x.example>\r\n");
}

#[test]
fn a_message_that_cannot_be_read_is_not_ended() {
    let mut play = smtp(&["b@y.example"]);
    play.hears("250-mx\r\n250 PIPELINING\r\n");
    let client = &mut play.client;
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(client.next(), Step::Event(Event::Content));
    client.content(Bytes::from_static(b"half"));
    assert_eq!(client.next(), Step::Write(Bytes::from_static(b"half")));
    assert_eq!(client.next(), Step::Event(Event::Content));
    client.abort();
    assert_eq!(play.run(), b"");
    assert_eq!(play.outcomes[0].problem, Some(Problem::Aborted));
    assert!(play.closed);
}

/// Plays a client against our server, bytes cut anywhere; gives what the server's role got.
fn converse(play: &mut Play, dialect: Dialect, tls: server::Tls, cut_bytes: usize) -> Vec<(Vec<String>, Vec<u8>)> {
    let limits = server::Limits::default();
    let mut server = Server::new(server::Config { dialect, hostname: "mx.example".to_owned(), tls, limits });
    let (mut messages, mut envelope, mut message) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let mut said = Vec::new();
        loop {
            match server.next() {
                Step::Read | Step::Close => break,
                Step::Write(bytes) => said.extend_from_slice(&bytes),
                Step::Compress => panic!("SMTP knows no compression"),
                Step::StartTls => {
                    server.secured();
                    break;
                }
                Step::Event(event) => {
                    match event {
                        server::Event::Mail(mail) => envelope = vec![mail.sender.to_string()],
                        server::Event::Recipient(recipient) => {
                            if recipient.path.to_string().starts_with("no") {
                                server.reply(Reply::known(550, Enhanced(5, 1, 1), "Unknown"));
                                continue;
                            }
                            envelope.push(recipient.path.to_string());
                        }
                        server::Event::Data(bytes) => {
                            message.extend_from_slice(&bytes);
                            continue;
                        }
                        server::Event::EndOfMessage => {
                            messages.push((std::mem::take(&mut envelope), std::mem::take(&mut message)));
                        }
                        server::Event::Reset => continue,
                        _ => {}
                    }
                    server.accept();
                }
            }
        }
        let mut answer = Vec::new();
        for piece in said.chunks(cut_bytes) {
            play.client.receive(piece);
            answer.extend(play.run());
        }
        if play.wants_tls {
            play.wants_tls = false;
            play.client.secured();
            answer.extend(play.run());
        }
        if play.closed {
            return messages;
        }
        assert!(!answer.is_empty(), "both wait");
        for piece in answer.chunks(cut_bytes) {
            server.receive(piece);
        }
    }
}

#[test]
fn client_and_server_agree_in_every_dialect() {
    let message = b"Subject: x\r\n\r\n.dot\r\n..\r\n.\r\nend\r\n".to_vec();
    for (dialect, tls, server_tls) in [
        (Dialect::Smtp, Tls::Opportunistic, server::Tls::Offered),
        (Dialect::Smtp, Tls::Never, server::Tls::Unavailable),
        (Dialect::Submission, Tls::Required, server::Tls::Offered),
        (Dialect::Lmtp, Tls::Established, server::Tls::Established),
    ] {
        for chunking in [false, true] {
            let ana = Login { name: "a".to_owned(), password: Password::new("b".to_owned()) };
            let login = (dialect == Dialect::Submission).then_some(ana);
            let config = Config { chunking, login, ..config(dialect, tls) };
            let letter = || (envelope(&["b@y.example", "no@y.example", "c@y.example"], &message), message.clone());
            let mut play = Play::new(config, vec![letter(), letter()]);
            play.run();
            let messages = converse(&mut play, dialect, server_tls, 5);
            assert_eq!(play.codes(), [[250, 550, 250], [250, 550, 250]], "{dialect:?}");
            let addresses = ["a@x.example", "b@y.example", "c@y.example"].map(str::to_owned).to_vec();
            assert_eq!(messages, [(addresses.clone(), message.clone()), (addresses, message.clone())]);
        }
    }
}

#[test]
fn many_recipients_go_in_groups() {
    let addresses: Vec<String> = (0..250).map(|number| format!("u{number}@y.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    for chunking in [false, true] {
        let config = Config { chunking, ..config(Dialect::Smtp, Tls::Never) };
        let mut play = Play::new(config, vec![(envelope(&addresses, MESSAGE), MESSAGE.to_vec())]);
        play.run();
        let messages = converse(&mut play, Dialect::Smtp, server::Tls::Unavailable, 1000);
        assert_eq!(messages[0].0.len(), 251);
        assert!(play.outcomes[0].replies.iter().all(Reply::is_positive));
    }
}

proptest! {
    #[test]
    fn messages_arrive_as_they_were(
        lines in prop::collection::vec("[.a-z]{0,5}", 0..30),
        piece_bytes in 1usize..40,
        cut_bytes in 1usize..60,
        chunking in any::<bool>(),
    ) {
        let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let message = message.into_bytes();
        let config = Config { chunking, ..config(Dialect::Smtp, Tls::Never) };
        let mut play = Play::new(config, vec![(envelope(&["b@y.example"], &message), message.clone())]);
        play.piece_bytes = piece_bytes;
        play.run();
        let messages = converse(&mut play, Dialect::Smtp, server::Tls::Unavailable, cut_bytes);
        prop_assert_eq!(&messages[0].1, &message);
        prop_assert_eq!(play.codes(), [[250]]);
    }

    #[test]
    fn any_bytes_are_safe_and_each_envelope_has_one_outcome(
        said in prop::collection::vec(prop_oneof![
            prop::sample::select(vec!["220 mx\r\n", "250 ok\r\n", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "354 go\r\n", "550 no\r\n", "421 bye\r\n", "250-", "\n"])
                .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..10),
        ], 0..20),
    ) {
        let mut play = Play::new(config(Dialect::Smtp, Tls::Never), vec![(envelope(&["b@y.example"], MESSAGE), MESSAGE.to_vec()); 2]);
        play.run();
        for said in said {
            play.client.receive(&said);
            play.run();
        }
        play.client.end();
        play.run();
        prop_assert!(play.closed);
        prop_assert_eq!(play.outcomes.len(), 2 - play.to_send.len());
    }
}
