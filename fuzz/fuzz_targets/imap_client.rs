//! Whatever a server says, in pieces of whatever size, while it is asked what an import asks: the client machine keeps the
//! invariants that it states, hears the same however the bytes are cut, and sends a foreign name as one string.
//!
//! The first byte of the input chooses the size of the pieces, the second how the conversation goes; the rest is what the
//! server says. In it 0xff, two bytes of a count, a length, and so many bytes stand for these bytes so many times: the
//! limits are far behind the end of any input that libFuzzer makes.
#![no_main]

use bytes::Bytes;
use estafeta_protocols::imap::client::{
    Client, Command, Event, Fetched, Listed, Namespaces, Value, capabilities, exists, expunged, status_of,
};
use estafeta_protocols::machine::{Farewell, Machine, READ_BYTES, Step};
use libfuzzer_sys::fuzz_target;

/// What the machine says of itself: how long a line is, a response, and a literal that stands in one.
const LINE_BYTES: usize = 64 * 1024;
const RESPONSE_BYTES: usize = 1024 * 1024;
const IN_PLACE_BYTES: u64 = 64 * 1024;

/// The most that a server says: more than a line and a literal hold, or, rarely, for it takes a second, than a response.
const SCRIPT_BYTES: usize = 2 * LINE_BYTES;
const LONG_SCRIPT_BYTES: usize = RESPONSE_BYTES * 5 / 4;

/// What the server says, of at most so many bytes if there are runs in it, which are written out.
fn written_out(mut rest: &[u8], limit_bytes: usize) -> Vec<u8> {
    let mut script = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (0xff, [high, low, length, behind @ ..]) => {
                let (run, behind) = behind.split_at(usize::from(*length).min(behind.len()));
                let room = limit_bytes.saturating_sub(script.len()).checked_div(run.len()).unwrap_or(0);
                script.extend_from_slice(&run.repeat(room.min(usize::from(*high) << 8 | usize::from(*low))));
                rest = behind;
            }
            _ => script.push(byte),
        }
    }
    script
}

/// What the import asks next; `name` is the last mailbox that the server told of.
fn command(number: usize, plain: bool, name: &[u8]) -> Command {
    match number {
        0 | 2 => Command::new("CAPABILITY"),
        1 if plain => Command::new("AUTHENTICATE PLAIN").answer("AGFuYQBzZWNyZXQ="),
        1 => Command::new("LOGIN").string(b"an\"a").string("contraseña".as_bytes()),
        3 => Command::new("ENABLE UTF8=ACCEPT"),
        4 => Command::new("NAMESPACE"),
        5 => Command::new("LIST \"\" \"*\" RETURN (SPECIAL-USE)"),
        6 => Command::new("STATUS").string(name).words(" (MESSAGES UIDNEXT UIDVALIDITY)"),
        7 => Command::new("EXAMINE").string(name),
        number if number % 2 == 0 => Command::new("FETCH 1:500 (UID FLAGS INTERNALDATE RFC822.SIZE)"),
        _ => Command::new("UID FETCH 3,5 (UID BODY.PEEK[])"),
    }
}

/// A conversation, and what is looked at in it.
struct Conversation {
    client: Client,
    /// Whether AUTHENTICATE logs in, in place of LOGIN.
    plain: bool,
    /// How many commands were sent, and whether the last of them waits for its completion.
    commands: usize,
    waits: bool,
    /// Whether nothing of the last one was written; and the literal that its next part begins with.
    unwritten: bool,
    literal_bytes: usize,
    name: Bytes,
    /// The large literals of the response that comes, and what is missing of the last.
    large: Vec<u64>,
    missing: u64,
    transcript: Transcript,
}

/// What was heard, the pieces of large literals one behind the other; and what was sent.
#[derive(Default, PartialEq)]
struct Transcript {
    events: Vec<Event>,
    pieces: Vec<u8>,
    sent: Vec<u8>,
}

impl Conversation {
    fn new(plain: bool) -> Self {
        Self {
            client: Client::new(),
            plain,
            commands: 0,
            waits: false,
            unwritten: false,
            literal_bytes: 0,
            name: Bytes::from_static(b"INBOX"),
            large: Vec::new(),
            missing: 0,
            transcript: Transcript::default(),
        }
    }

    /// With a server that says `script` in pieces, and no more: then the connection is closed, or it is `idle`.
    fn play(mut self, script: &[u8], piece_bytes: usize, idle: bool) -> Transcript {
        let mut fed_bytes = 0;
        for piece in script.chunks(piece_bytes) {
            self.client.receive(piece);
            if !self.go_on() {
                return self.over();
            }
            fed_bytes += piece.len();
            // Looking at what it keeps costs a copy.
            if fed_bytes >= READ_BYTES {
                fed_bytes = 0;
                assert!(self.hand_over() <= LINE_BYTES);
            }
        }
        let heard = self.transcript.events.len();
        if idle {
            self.client.farewell(Farewell::Idle)
        } else {
            self.client.end()
        }
        assert!(!self.go_on() && self.transcript.events.len() == heard + 1, "there was more to hear");
        self.over()
    }

    /// Until the machine wants to read. Says whether it does, for it may have failed.
    fn go_on(&mut self) -> bool {
        loop {
            match self.client.next() {
                Step::Read => return true,
                Step::Write(bytes) => self.write(&bytes),
                Step::Event(event) => {
                    let (failed, completed) = (matches!(event, Event::Failed(_)), matches!(event, Event::Completed(_)));
                    self.hear(event);
                    if failed {
                        return false;
                    }
                    if completed {
                        self.hand_over();
                    }
                }
                Step::Close | Step::StartTls | Step::Compress => panic!("nobody asked for this"),
            }
        }
    }

    /// Between two commands the stream goes from one driver to the next. Says how much went with it.
    fn hand_over(&mut self) -> usize {
        let unread = self.client.take_unread();
        unread.chunks(READ_BYTES).for_each(|bytes| self.client.receive(bytes));
        unread.len()
    }

    /// A part of a command is one line, behind the literal that the part before announced.
    fn write(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.unwritten) {
            assert!(bytes.starts_with(format!("e{} ", self.commands).as_bytes()));
        }
        let line = &bytes[std::mem::take(&mut self.literal_bytes)..];
        let text = line.strip_suffix(b"\r\n").expect("a whole line");
        assert!(!text.contains(&b'\n') && !text.contains(&b'\r'));
        if let Some((_, size)) = str::from_utf8(text).ok().and_then(|text| text.strip_suffix('}')?.rsplit_once('{')) {
            self.literal_bytes = size.parse().expect("a size");
        }
        self.transcript.sent.extend_from_slice(bytes);
    }

    fn hear(&mut self, event: Event) {
        if !matches!(event, Event::Piece(_) | Event::Failed(_)) {
            assert_eq!(self.missing, 0, "a literal was not whole");
        }
        match &event {
            Event::Large(bytes) => {
                assert!(*bytes > IN_PLACE_BYTES);
                self.large.push(*bytes);
                self.missing = *bytes;
            }
            Event::Piece(bytes) => {
                assert!(!bytes.is_empty());
                self.missing = self.missing.checked_sub(bytes.len() as u64).expect("no more than was announced");
                self.transcript.pieces.extend_from_slice(bytes);
                return;
            }
            Event::Data(values) => {
                let (mut bytes, mut large) = (0, Vec::new());
                weigh(values, &mut bytes, &mut large);
                assert!(bytes <= RESPONSE_BYTES && large == std::mem::take(&mut self.large));
                self.look_at(values);
            }
            Event::Said(condition) | Event::Completed(condition) => {
                // For each byte that is not UTF-8 stands a sign of three.
                assert!(self.large.is_empty() && condition.code.len() + condition.text.len() <= 3 * LINE_BYTES);
                let _ = (condition.is_ok(), condition.code_of("UIDVALIDITY"));
                let completed = matches!(event, Event::Completed(_));
                assert!(!completed || std::mem::take(&mut self.waits), "nothing was asked");
                if completed || self.commands == 0 {
                    self.ask();
                }
            }
            Event::Failed(_) => {}
        }
        self.transcript.events.push(event);
    }

    fn ask(&mut self) {
        self.client.send(command(self.commands, self.plain, &self.name));
        self.commands += 1;
        (self.waits, self.unwritten, self.literal_bytes) = (true, true, 0);
    }

    /// What an import makes of a response, which is one kind at most.
    fn look_at(&mut self, values: &[Value]) {
        let (listed, fetched) = (Listed::of(values), Fetched::of(values.to_vec()));
        let kinds = [
            capabilities(values).is_some(),
            listed.is_some(),
            Namespaces::of(values).is_some(),
            status_of(values).is_some(),
            exists(values).is_some(),
            expunged(values).is_some(),
            fetched.is_some(),
        ];
        assert!(kinds.into_iter().filter(|is| *is).count() <= 1);
        if let Some(listed) = listed {
            let _ = (listed.name(false), listed.name(true), listed.has("\\Noselect"));
            self.name = listed.wire;
        }
        if let Some(fetched) = fetched {
            assert!(fetched.uid != Some(0) && !matches!(fetched.text, Some(Value::List(_))));
            let _ = fetched.internal_date.map(|date| (date.unix_seconds(), date.to_string()));
        }
    }

    /// Nothing follows the end.
    fn over(mut self) -> Transcript {
        assert!(matches!(self.transcript.events.last(), Some(Event::Failed(_))));
        self.client.receive(b"* OK still here\r\n");
        self.client.end();
        assert!((0..3).all(|_| self.client.next() == Step::Close));
        self.transcript
    }
}

/// How many bytes stand in values, and the large literals among them.
fn weigh(values: &[Value], bytes: &mut usize, large: &mut Vec<u64>) {
    for value in values {
        match value {
            Value::Atom(text) | Value::Text(text) => *bytes += text.len(),
            Value::Large(size) => large.push(*size),
            Value::List(values) => weigh(values, bytes, large),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [pieces, choice, script @ ..] = input else { return };
    let script = written_out(script, if *choice >= 0xf0 { LONG_SCRIPT_BYTES } else { SCRIPT_BYTES });
    let (plain, idle) = (choice & 1 != 0, choice & 2 != 0);
    let piece_bytes = if *pieces < 128 { usize::from(*pieces) + 1 } else { (usize::from(*pieces) - 127) * 127 };
    // A long script in very small pieces takes long, and shows no more.
    let in_pieces = Conversation::new(plain).play(&script, piece_bytes.max(script.len() / 10_000), idle);
    assert!(in_pieces == Conversation::new(plain).play(&script, READ_BYTES, idle), "it depends on how it was cut");
});
