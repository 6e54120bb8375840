//! Any bytes in any pieces through the IMAP server machine, before and after login; and what FETCH, SEARCH, SORT and
//! THREAD say of any bytes that were appended.
#![no_main]

use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::command::fetch::FetchItem;
use estafeta_protocols::imap::command::search::SearchKey;
use estafeta_protocols::imap::command::sort::Criterion;
use estafeta_protocols::imap::command::thread::Algorithm;
use estafeta_protocols::imap::message::search::{Candidate, Circumstances, Query};
use estafeta_protocols::imap::message::sort::{Rank, compare};
use estafeta_protocols::imap::message::{Message, envelope::envelope, structure::structure};
use estafeta_protocols::imap::response::Completion;
use estafeta_protocols::imap::server::{Event, Limits, Offer, Server, State};
use estafeta_protocols::imap::thread::{ordered_subject, references};
use estafeta_protocols::imap::types::{Dialect, Flag, MessageUrl, Uid};
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
    fn received(&self) -> i64 {
        0
    }
    fn saved(&self) -> i64 {
        1
    }
    fn mod_sequence(&self) -> u64 {
        2
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn message(&self) -> Option<&Message> {
        Some(&self.0)
    }
}

/// Whether the only message is found by this key, and how relevant it is.
fn finds(key: &SearchKey, only: &Only) -> (bool, u8) {
    let circumstances = Circumstances { last_sequence: 1, last_uid: 7, saved: &[7..=7], now: 3 };
    let query = Query::with_worths(key, &circumstances);
    (query.matches(only).unwrap_or(false), query.worth(only).map_or(1, |worth| worth.clamp(1, 100) as u8))
}

fn carry_out(command: Command, server: &mut Server, only: &Only) {
    let message = &only.0;
    match command {
        Command::Fetch(fetch) => server.output().fetch_of(1, Some(only.uid()), |items| {
            items.uid(only.uid());
            for item in &fetch.items {
                match item {
                    FetchItem::Envelope => items.envelope(&envelope(message)),
                    FetchItem::Body => items.structure(&structure(message, false), false),
                    FetchItem::BodyStructure => items.structure(&structure(message, true), true),
                    FetchItem::Preview => items.preview(&message.preview().unwrap_or_default()),
                    FetchItem::Binary { section, partial, .. } => {
                        items.binary(section, *partial, message.binary(section, *partial).unwrap_or_default());
                    }
                    item => {
                        if let Some((section, partial)) = item.section() {
                            items.content(item, message.section(&section, partial));
                        }
                    }
                }
            }
        }),
        Command::Search(search) => {
            let (found, relevancy) = finds(&search.key, only);
            let found: Vec<u32> = found.then_some(1).into_iter().collect();
            match search.give {
                Some(give) => server.extended_search(search.by_uid, give, &found, &vec![relevancy; found.len()], None),
                None => server.output().search(found, Some(1)),
            }
        }
        Command::Sort(sort) => {
            let (found, relevancy) = finds(&sort.key, only);
            let rank = |criterion: &Criterion| message.rank(criterion.key, 0, 1, relevancy);
            let ranks: Vec<Rank> = sort.criteria.iter().map(rank).collect();
            assert!(compare(&sort.criteria, &ranks, &ranks).is_eq());
            server.output().sort(found.then_some(1), None);
        }
        Command::Thread(thread) => {
            let messages = [message.threadable(0), message.threadable(1)];
            let threads = match thread.algorithm {
                Algorithm::OrderedSubject => ordered_subject(&messages),
                Algorithm::References => references(&messages),
            };
            server.output().thread(&threads, |index| index as u32 + 1);
        }
        Command::Enable(_) => server.output().speak(Dialect { rev2: true, utf8: true, uid_only: true }),
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
