//! imap-codec, which others have written from the same RFCs, as an oracle: what it asks must be understood here as it means
//! it, and what is said here it must read as it was meant.
//!
//! It is asked where it knows the syntax. It knows no ESEARCH, LIST-EXTENDED, ACL, NOTIFY, OBJECTID, PREVIEW, SAVEDATE,
//! CATENATE, REPLACE, UIDONLY; those stand with their known answers beside their code. Where both differ, the difference and
//! its reason stand in the test.

mod commands;
mod responses;
mod values;

use arbitrary::Unstructured;

/// Lets values be made of random bytes, always the same ones, and says how many there were: of bytes that make none, there
/// is nothing to check. Half of the bytes are letters, so that what must be an atom often is one.
fn draw(count: usize, mut check: impl FnMut(&mut Unstructured<'_>) -> arbitrary::Result<()>) -> usize {
    let mut state = 1_u64;
    // SplitMix64.
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut byte = || match random().to_le_bytes() {
        [0..=127, any, ..] => any,
        [_, letter, ..] => b'a' + letter % 26,
    };
    let mut bytes = || -> Vec<u8> { (0..byte()).map(|_| byte()).collect() };
    (0..count).filter(|_| check(&mut Unstructured::new(&bytes())).is_ok()).count()
}
