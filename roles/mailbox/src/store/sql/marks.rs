//! What changes of messages, as a few bytes each.
//!
//! A mark is, one behind the other: the last 8 bits of its UID; its system flags, a byte whose upper three bits are 0 (a
//! later form would set one); its keywords and its modification sequence, each as a number of 7 bits a byte, the lowest
//! first, with 0x80 on all bytes but the last (LEB128). Marks stand behind each other and know nothing of their
//! neighbours, so that marks are added by putting bytes behind bytes.

use crate::store::flags::KeywordBits;
use crate::store::{Flags, Mark, ModSeq, SystemFlags, Uid};

/// How many of a UID's bits say where on its page it stands.
pub const PAGE_BITS: u32 = 8;

/// The marks of one page as bytes.
pub fn encode(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(marks.len() * 6);
    for Mark { uid, modseq, flags } in marks {
        bytes.extend([uid.0 as u8, flags.system.bits()]);
        put(flags.keywords.0, &mut bytes);
        put(modseq.0, &mut bytes);
    }
    bytes
}

/// The marks of a page; none when the bytes are no marks.
pub fn decode(page: u32, mut bytes: &[u8]) -> Option<Vec<Mark>> {
    let mut marks = Vec::with_capacity(bytes.len() / 4);
    while let [low, flags, rest @ ..] = bytes {
        let system = SystemFlags::from_bits(*flags);
        if system.bits() != *flags {
            return None;
        }
        bytes = rest;
        let keywords = KeywordBits(take(&mut bytes)?);
        let modseq = ModSeq(take(&mut bytes)?);
        marks.push(Mark { uid: Uid(page << PAGE_BITS | u32::from(*low)), modseq, flags: Flags { system, keywords } });
    }
    bytes.is_empty().then_some(marks)
}

fn put(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(uid: u32, modseq: u64, system: u8, keywords: u64) -> Mark {
        let flags = Flags { system: SystemFlags::from_bits(system), keywords: KeywordBits(keywords) };
        Mark { uid: Uid(uid), modseq: ModSeq(modseq), flags }
    }

    #[test]
    fn marks_are_a_few_bytes_each() {
        for (page, marks, bytes) in [
            (0, vec![], &[][..]),
            (0, vec![mark(1, 2, 0, 0)], &[1, 0, 0, 2]),
            (1, vec![mark(256, 127, 1, 0b11), mark(511, 128, 31, 1 << 7)], &[0, 1, 3, 127, 255, 31, 0x80, 1, 0x80, 1]),
            (
                u32::MAX >> 8,
                vec![mark(u32::MAX, u64::MAX, 0, u64::MAX)],
                &[
                    255, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 255, 255, 255, 255, 255, 255, 255, 255,
                    255, 1,
                ],
            ),
        ] {
            assert_eq!(encode(&marks), bytes);
            assert_eq!(decode(page, bytes).as_ref(), Some(&marks));
        }
    }

    #[test]
    fn what_are_no_marks_is_none() {
        for bytes in [
            &[1][..],
            &[1, 0],
            &[1, 0, 0],
            &[1, 0, 0x80],
            &[1, 0, 0, 0x80],
            // A flag that there is not.
            &[1, 32, 0, 1],
            // A number of more than 64 bits, by its last byte and by one too many.
            &[1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 1],
            &[1, 0, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1, 1],
            // One and a half.
            &[1, 0, 0, 1, 2],
        ] {
            assert_eq!(decode(0, bytes), None, "{bytes:?}");
        }
    }

    fn marks() -> impl Strategy<Value = Vec<Mark>> {
        let one = (0u32..256, 0u8..32, any::<u64>(), any::<u64>(), 0u32..64);
        let one = one.prop_map(|(low, system, keywords, modseq, shift)| {
            mark(7 << 8 | low, modseq >> shift, system, keywords >> shift)
        });
        prop::collection::vec(one, 0..300)
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(before in marks(), behind in marks()) {
            let joined = [encode(&before), encode(&behind)].concat();
            prop_assert_eq!(decode(7, &joined), Some([before, behind].concat()));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(marks) = decode(0, &bytes) {
                prop_assert_eq!(decode(0, &encode(&marks)), Some(marks));
            }
        }
    }
}
