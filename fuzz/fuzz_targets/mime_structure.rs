//! Any bytes as a message: what is said of its parts fits together, and everything in it can be fetched as it stands.
#![no_main]

use std::num::NonZeroU32;

use bytes::Bytes;
use estafeta_protocols::imap::message::contents::{Contents, Kept};
use estafeta_protocols::imap::message::{Message, envelope::envelope, structure::structure};
use estafeta_protocols::imap::types::{Section, SectionPart};
use libfuzzer_sys::fuzz_target;

/// How many parts deep, and how many of each, are looked at.
const DEPTH: usize = 4;
const WIDTH: u32 = 4;

fn fetch(message: &Message, path: &[NonZeroU32], part: SectionPart) -> Option<Vec<u8>> {
    let section = Section::new(path.to_vec(), part)?;
    message.section(&section, None).map(|piece| piece.concat())
}

fn holds(outer: &[u8], inner: &[u8]) -> bool {
    inner.is_empty() || outer.windows(inner.len()).any(|window| window == inner)
}

/// A part lies in what holds it, and a message in it is its header and its text.
fn check(message: &Message, path: &mut Vec<NonZeroU32>, outer: &[u8]) {
    let Some(whole) = fetch(message, path, SectionPart::Whole) else { return };
    assert!(holds(outer, &whole));
    assert!(holds(outer, &fetch(message, path, SectionPart::Mime).unwrap_or_default()));
    if let Some(header) = fetch(message, path, SectionPart::Header) {
        let text = fetch(message, path, SectionPart::Text).expect("who has a header has a text");
        // Behind the text may stand what belongs to the boundary of nobody any more.
        assert!(whole.starts_with(&header) && whole[header.len()..].starts_with(&text));
    }
    if let Some(section) = Section::new(path.clone(), SectionPart::Whole) {
        let _ = message.binary(&section, None);
    }
    if path.len() < DEPTH {
        for number in (1..=WIDTH).filter_map(NonZeroU32::new) {
            path.push(number);
            check(message, path, &whole);
            path.pop();
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let prefix = Bytes::from_static(b"Received: here\r\n");
    let message = Message::new(prefix.clone(), body.clone());
    let whole = fetch(&message, &[], SectionPart::Whole).expect("there is a message");
    assert!(whole.starts_with(&prefix) && whole.ends_with(&body) && whole.len() == prefix.len() + body.len());
    let header = fetch(&message, &[], SectionPart::Header).expect("there is a header");
    let text = fetch(&message, &[], SectionPart::Text).expect("there is a text");
    assert_eq!([header, text].concat(), whole);
    for number in (1..=WIDTH).filter_map(NonZeroU32::new) {
        check(&message, &mut vec![number], &whole);
    }
    let Contents { summary, header } = Contents::of(&body);
    let kept = Kept::new(prefix, summary, header);
    if let Some(kept) = kept.envelope() {
        assert_eq!(kept, envelope(&message));
    }
    for extended in [true, false] {
        if let Some(kept) = kept.structure(extended) {
            assert_eq!(kept[..], structure(&message, extended)[..]);
        }
    }
    assert_eq!(kept.preview(), message.preview().as_deref());
});
