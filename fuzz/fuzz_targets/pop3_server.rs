//! Any bytes in any pieces through the POP3 server machine, before and after login; and any bytes as a message that is
//! sent by RETR and TOP.
#![no_main]

use estafeta_protocols::machine::{Machine, READ_BYTES, Step};
use estafeta_protocols::pop3::command::Command;
use estafeta_protocols::pop3::lines::{DotStuffing, Top};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Limits, Offer, Server};
use estafeta_protocols::sasl::Mechanism;
use libfuzzer_sys::fuzz_target;

/// Sends `message` in pieces, and looks at what goes over the wire: whole lines, the last one alone a dot.
fn send(message: &[u8], piece: usize, mut top: Option<Top>) {
    let (mut stuffing, mut wire) = (DotStuffing::new(), Vec::new());
    for piece in message.chunks(piece) {
        let shown = top.as_mut().map_or(piece, |top| top.take(piece));
        stuffing.stuff(shown).for_each(|run| wire.extend_from_slice(run));
    }
    wire.extend_from_slice(stuffing.finish());
    let mut lines = wire.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        assert!(line.ends_with(b"\r\n"));
        assert_eq!(line == b".\r\n", lines.peek().is_none());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let mut server = match mode & 3 {
        0 => Server::authenticated(b"", Limits::default()),
        kind => {
            let mechanisms = vec![Mechanism::Plain, Mechanism::Login, Mechanism::External];
            let forwarding = kind == 3;
            let offer = Offer { start_tls: true, login: true, mechanisms, forwarding, login_delay_seconds: 0 };
            Server::greet(offer, kind != 1, Limits::default())
        }
    };
    let piece = (usize::from(mode >> 2) * 16 + 1).min(READ_BYTES);
    let mut pieces = data.chunks(piece);
    let mut logins = 0;
    loop {
        match server.next() {
            Step::Read => match pieces.next() {
                Some(piece) => server.receive(piece),
                None => server.end(),
            },
            Step::Write(bytes) => assert!(!bytes.is_empty()),
            Step::StartTls => server.secured(),
            Step::Compress => server.compressed(),
            Step::Close => break,
            Step::Event(event) => match event {
                Event::Authenticate(_) if logins < 2 => {
                    logins += 1;
                    server.complete(Completion::no("Wrong").with(Code::Auth));
                }
                Event::Authenticate(_) => server.hand_over(Completion::ok("Logged in")),
                Event::Command(Command::Retr(_)) => {
                    send(data, piece, None);
                    server.answered();
                }
                Event::Command(Command::Top { lines, .. }) => {
                    send(data, piece, Some(Top::new(lines)));
                    server.answered();
                }
                Event::Command(Command::Quit) => server.goodbye(Completion::ok("Goodbye")),
                Event::Command(_) => server.complete(Completion::ok("Done")),
                Event::Forwarded(_) => {}
                Event::HandOver => {
                    server = Server::authenticated(&server.take_unread(), Limits::default());
                }
            },
        }
    }
});
