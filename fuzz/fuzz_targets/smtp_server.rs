//! Whatever a client sends, in pieces of whatever size: the server machine does not panic, comes to rest, and hands on
//! only messages whose lines end in CRLF and that keep within their limit.
//!
//! The first byte of the input chooses dialect and size of the pieces; the rest is what the client says.
#![no_main]

use estafeta_protocols::machine::{Machine, READ_BYTES, Step};
use estafeta_protocols::smtp::Dialect;
use estafeta_protocols::smtp::server::{Config, Event, Limits, Server, Tls};
use libfuzzer_sys::fuzz_target;

const MESSAGE_LIMIT_BYTES: u64 = 2_000;

/// Runs the machine until it wants more, or has closed; answers whether it is still open.
fn run(server: &mut Server, message: &mut Vec<u8>) -> bool {
    for _ in 0..10 * READ_BYTES {
        match server.next() {
            Step::Read => return true,
            Step::Close => return false,
            Step::StartTls => server.secured(),
            Step::Compress => server.compressed(),
            Step::Write(bytes) => assert!(bytes.ends_with(b"\r\n") && bytes.is_ascii()),
            Step::Event(Event::Data(bytes)) => message.extend_from_slice(&bytes),
            Step::Event(Event::Reset) => message.clear(),
            Step::Event(event) => {
                if event == Event::EndOfMessage {
                    check(message);
                    message.clear();
                }
                server.accept();
            }
        }
    }
    panic!("the machine does not come to rest");
}

fn check(message: &[u8]) {
    // A chunk's missing last line end is added.
    assert!(message.len() as u64 <= MESSAGE_LIMIT_BYTES + 2);
    assert!(message.is_empty() || message.ends_with(b"\r\n"));
    for (index, &byte) in message.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| message[before]);
        assert_eq!(byte == b'\n', before == Some(b'\r'), "a bare CR or LF was handed on");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, script)) = input.split_first() else { return };
    let (dialect, tls) = match choice % 3 {
        0 => (Dialect::Smtp, Tls::Offered),
        1 => (Dialect::Submission, Tls::Established),
        _ => (Dialect::Lmtp, Tls::Established),
    };
    let piece_bytes = if choice >= 128 { READ_BYTES } else { usize::from(choice / 3) + 1 };
    let limits = Limits { message_bytes: MESSAGE_LIMIT_BYTES, recipients: 3, ..Limits::default() };
    let mut server = Server::new(Config { dialect, hostname: "mx.example".to_owned(), tls, limits });
    let mut message = Vec::new();
    let mut open = run(&mut server, &mut message);
    for piece in script.chunks(piece_bytes) {
        if open {
            server.receive(piece);
            open = run(&mut server, &mut message);
        }
    }
    server.end();
    assert!(!run(&mut server, &mut message));
});
