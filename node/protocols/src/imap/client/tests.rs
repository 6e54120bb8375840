use proptest::prelude::*;

use super::*;
use crate::imap::types::Flag;

/// Feeds what a server says in pieces of `size` bytes: what was sent, and what was made of it. Pieces are joined.
fn play(client: &mut Client, server: &[u8], size: usize) -> (String, Vec<Event>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    let mut pieces = server.chunks(size.max(1));
    loop {
        match client.next() {
            Step::Write(bytes) => sent.extend_from_slice(&bytes),
            Step::Event(Event::Piece(bytes)) => match events.last_mut() {
                Some(Event::Piece(before)) => *before = [before.clone(), bytes].concat().into(),
                _ => events.push(Event::Piece(bytes)),
            },
            Step::Event(event) => events.push(event),
            Step::Read => match pieces.next() {
                Some(piece) => client.receive(piece),
                None => break,
            },
            Step::Close | Step::StartTls | Step::Compress => break,
        }
    }
    (String::from_utf8_lossy(&sent).into_owned(), events)
}

fn data(server: &[u8]) -> Vec<Value> {
    match &play(&mut Client::new(), server, 7).1[..] {
        [Event::Data(values)] => values.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conversation() {
    let mut client = Client::new();
    let (_, heard) = play(&mut client, b"* OK [CAPABILITY IMAP4rev1] hello\r\n", 5);
    let [Event::Said(greeting)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((greeting.is_ok(), greeting.code_of("capability"), &*greeting.text), (true, Some("IMAP4rev1"), "hello"));
    client.send(Command::new("LOGIN").string(b"an\"a").string("contraseña".as_bytes()));
    let (sent, heard) = play(&mut client, b"+ go on\r\n* CAPABILITY IMAP4rev1 uidplus\r\ne1 OK in\r\n", 3);
    assert_eq!(sent, "e1 LOGIN \"an\\\"a\" {11}\r\ncontraseña\r\n");
    let [Event::Data(told), Event::Completed(done)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(capabilities(told).unwrap(), ["IMAP4REV1", "UIDPLUS"]);
    assert!(done.is_ok());
    client.send(Command::new("NOOP"));
    assert!(
        matches!(&play(&mut client, b"* 4 EXPUNGE\r\ne2 NO [X] later\r\n", 100).1[1], Event::Completed(no) if !no.is_ok())
    );
}

#[test]
fn what_responses_say() {
    let listed = Listed::of(&data(b"* LIST (\\HasNoChildren \\Sent) \".\" \"INBOX.Env&AO0-os\"\r\n")).unwrap();
    assert_eq!((listed.delimiter, listed.has("\\SENT")), (Some('.'), true));
    assert_eq!(listed.name(false).unwrap(), "INBOX.Envíos");
    assert_eq!(listed.name(true).unwrap(), "INBOX.Env&AO0-os");
    let listed = Listed::of(&data(b"* LIST () NIL {7}\r\na \"b\" c\r\n")).unwrap();
    assert_eq!((listed.delimiter, listed.name(false).unwrap()), (None, "a \"b\" c".to_owned()));
    let spaces =
        Namespaces::of(&data(b"* NAMESPACE ((\"INBOX.\" \".\")) NIL ((\"Public/\" \"/\")(\"News/\" \"/\"))\r\n"));
    let spaces = spaces.unwrap();
    assert_eq!((spaces.own, spaces.foreign.len()), (vec![Bytes::from("INBOX.")], 2));
    let status = status_of(&data(b"* STATUS {5}\r\nInbox (UIDNEXT 9 MESSAGES 3 UIDVALIDITY 7)\r\n")).unwrap();
    assert_eq!(status, Status { messages: 3, uid_next: 9, uid_validity: 7 });
    assert_eq!(exists(&data(b"* 172 EXISTS\r\n")), Some(172));
    assert_eq!(expunged(&data(b"* 172 EXISTS\r\n")), None);

    let fetched = b"* 12 FETCH (FLAGS (\\Seen \\Recent $Junk) BODY[] {6}\r\na\r\nb\r\n INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
        X (1 (2)) RFC822.SIZE 6 UID 99)\r\n";
    let fetched = Fetched::of(data(fetched)).unwrap();
    assert_eq!((fetched.sequence, fetched.uid, fetched.size), (12, Some(99), Some(6)));
    assert_eq!(fetched.internal_date.unwrap().unix_seconds(), 837_596_665);
    assert!(fetched.flags.contains(&Flag::Seen) && fetched.flags.len() == 2);
    assert_eq!(fetched.text, Some(Value::Text(Bytes::from("a\r\nb\r\n"))));
    assert_eq!(Fetched::of(data(b"* 1 FETCH (BODY[] NIL)\r\n")).unwrap().text, None);
}

#[test]
fn a_large_literal_is_handed_on() {
    let text = vec![b'x'; IN_PLACE_BYTES + 1];
    let server = [format!("* 1 FETCH (BODY[] {{{}}}\r\n", text.len()).as_bytes(), &text, b" UID 5)\r\n"].concat();
    for size in [1_000, 16_384, server.len()] {
        let (_, events) = play(&mut Client::new(), &server, size);
        let [Event::Large(size), Event::Piece(piece), Event::Data(values)] = &events[..] else { panic!() };
        assert!(*size == text.len() as u64 && *piece == text);
        let fetched = Fetched::of(values.clone()).unwrap();
        assert_eq!((fetched.uid, fetched.text), (Some(5), Some(Value::Large(*size))));
    }
}

#[test]
fn a_line_is_as_long_as_it_may_be_however_it_comes() {
    // Found by fuzzing: one that was too long passed where its end came with its limit, and one that came byte by byte was
    // looked at from its begin for each.
    for size in [1, 7, LINE_BYTES - 1, LINE_BYTES + 1] {
        let heard = |length: usize| {
            let line = [b"* OK ", &vec![b'x'; length - 7][..], b"\r\n"].concat();
            play(&mut Client::new(), &line, size).1
        };
        assert!(matches!(heard(LINE_BYTES)[..], [Event::Said(_)]));
        assert!(matches!(heard(LINE_BYTES + 1)[..], [Event::Failed(_)]));
    }
}

#[test]
fn a_server_that_is_none_is_left() {
    let endless = [b"* LIST (", &[b'x'; LINE_BYTES][..]].concat();
    let mut literals = b"* X {60000}\r\n".to_vec();
    for _ in 0..20 {
        literals.extend_from_slice(&[b'y'; 60_000]);
        literals.extend_from_slice(b" {60000}\r\n");
    }
    for server in [
        &b"hello\r\n"[..],
        b"e1 OK who asked?\r\n",
        b"+ go on\r\n",
        b"* LIST (\r\n",
        b"* LIST ))\r\n",
        b"* LIST \"\r\n",
        b"* \rX\r\n",
        &[b"* X ".as_slice(), &b"(".repeat(100)].concat(),
        &endless,
        &literals,
    ] {
        let mut client = Client::new();
        let (_, mut events) = play(&mut client, server, 4096);
        if events.is_empty() {
            client.end();
            events = play(&mut client, b"", 1).1;
        }
        assert!(matches!(events.last(), Some(Event::Failed(_))), "{events:?}");
        assert_eq!(client.next(), Step::Close);
    }
    let mut client = Client::new();
    client.farewell(Farewell::Idle);
    assert!(matches!(play(&mut client, b"", 1).1[..], [Event::Failed(_)]));
}

proptest! {
    #[test]
    fn anything_in_any_pieces_is_the_same_and_bounded(
        lines in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "\\* [A-Z0-9 ()\"{}~+\\[\\]]{0,30}(\\{[0-9]{1,2}\\})?".prop_map(String::into_bytes),
                Just(b"* 1 FETCH (BODY[] {70000}".to_vec()),
            ],
            0..12,
        ),
        size in 1usize..200,
    ) {
        let server = lines.join(&b"\r\n"[..]);
        let mut in_pieces = Client::new();
        let told = play(&mut in_pieces, &server, size);
        prop_assert!(in_pieces.input.len() <= LINE_BYTES.max(IN_PLACE_BYTES) + size);
        prop_assert_eq!(told, play(&mut Client::new(), &server, server.len()));
    }

    #[test]
    fn strings_are_read_as_they_were_written(text in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut command = Command::new("X").string(&text);
        let mut sent = command.next_part().unwrap();
        sent.truncate(sent.len() - 2);
        if let Some(literal) = command.next_part() {
            sent.extend_from_slice(b"\r\n");
            sent.extend_from_slice(&literal[..literal.len() - 2]);
        }
        let heard = data(&[b"* ", &sent[..], b"\r\n"].concat());
        prop_assert_eq!(&heard[1], &Value::Text(text.into()));
    }
}
