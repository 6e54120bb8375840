//! Any bytes in any pieces through the IMAP server machine, before and after login; and what FETCH and SEARCH say of
//! any bytes that were appended.
#![no_main]

use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::command::fetch::FetchItem;
use estafeta_protocols::imap::message::search::{Candidate, Query};
use estafeta_protocols::imap::message::{Message, envelope::envelope, structure::structure};
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::server::{Event, Limits, Offer, Server, State};
use estafeta_protocols::imap::types::MessageUrl;
use estafeta_protocols::imap::types::{Date, DateTime, Flag, Uid};
use estafeta_protocols::machine::{Machine, READ_BYTES, Step};
use estafeta_protocols::sasl::Mechanism;
use libfuzzer_sys::fuzz_target;

/// The last message that was appended, and the only one in the mailbox.
struct Only(Message);

impl Candidate for Only {
    fn sequence(&self) -> u32 {
        1
    }
    fn uid(&self) -> Uid {
        Uid::new(7).unwrap()
    }
    fn has(&self, flag: &Flag) -> bool {
        *flag == Flag::Seen
    }
    fn recent(&self) -> bool {
        false
    }
    fn date(&self) -> Date {
        DateTime::from_unix_seconds(0).date()
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn message(&self) -> Option<&Message> {
        Some(&self.0)
    }
}

fn carry_out(command: Command, server: &mut Server, only: &Only) {
    let message = &only.0;
    match command {
        Command::Fetch(fetch) => server.output().fetch(1, |items| {
            items.uid(only.uid());
            for item in &fetch.items {
                match item {
                    FetchItem::Envelope => items.envelope(&envelope(message)),
                    FetchItem::Body => items.structure(&structure(message, false), false),
                    FetchItem::BodyStructure => items.structure(&structure(message, true), true),
                    item => {
                        if let Some((section, partial)) = item.section() {
                            items.content(item, message.section(&section, partial));
                        }
                    }
                }
            }
        }),
        Command::Search(search) => {
            let found = Query::new(&search.key, 1, 7).matches(only);
            server.output().search(found.expect("the bytes are at hand").then_some(1));
        }
        _ => {}
    }
    server.complete(Completion::ok("Done"));
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let mut server = if mode & 1 == 0 {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login, Mechanism::External];
        Server::greet(Offer { start_tls: true, login: true, mechanisms }, mode & 2 == 0, Limits::default())
    } else {
        let mut server = Server::authenticated(b"", Limits::default());
        server.enter(State::Selected);
        server
    };
    let mut only = Only(Message::new(Default::default(), data.to_vec().into()));
    let mut appended = Vec::new();
    let piece = usize::from(mode >> 2) * 16 + 1;
    let mut pieces = data.chunks(piece.min(READ_BYTES));
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
                Event::Authenticate(_) => {
                    server.enter(State::Authenticated);
                    server.complete(Completion::ok("Done"));
                }
                Event::Command(command) => carry_out(command, &mut server, &only),
                Event::AppendBegin(_) | Event::AppendMessage(_) | Event::AppendLiteral(_) => {}
                Event::AppendUrl(url) => {
                    let _ = MessageUrl::parse(&url);
                }
                Event::AppendData(bytes) => appended.extend_from_slice(&bytes),
                Event::AppendAbort => appended.clear(),
                Event::AppendEnd => {
                    only = Only(Message::new(Default::default(), std::mem::take(&mut appended).into()));
                    server.complete(Completion::ok("Done"));
                }
                Event::IdleEnd => server.complete(Completion::ok("Done")),
                Event::IdleBegin => server.output().exists(1),
                Event::HandOver => break,
            },
        }
    }
});
