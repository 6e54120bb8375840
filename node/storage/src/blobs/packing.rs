//! Bodies compressed, where that pays.
//!
//! A body's hash is always that of its own bytes, not of what they were compressed to: how they are kept may change, what
//! they are called does not.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

use crate::error::StorageError;

/// A body larger than this is kept as it is: it is mapped when it is read, so that a part of it costs no more than the
/// part. What is compressed is always read whole.
const PACKED_BYTES: usize = 1024 * 1024;

/// A body smaller than this has nothing to gain.
const WORTHWHILE_BYTES: usize = 128;

/// Fast rather than tight: a delivery waits for it.
const LEVEL: i32 = 1;

thread_local! {
    // What zstd works with takes longer to make than a small body to pack. It is made when it is first used.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) => compressor.compress(body),
        None => kept.insert(Compressor::new(LEVEL)?).compress(body),
    })
}

fn decompress(packed: &[u8]) -> io::Result<Vec<u8>> {
    // Nothing larger was ever packed, and nothing without saying how large it was: a frame that says otherwise is damaged.
    let length = zstd_safe::get_frame_content_size(packed).ok().flatten();
    let length = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= PACKED_BYTES);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its length is not a possible one"))?;
    DECOMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(decompressor) => decompressor.decompress(packed, length),
        None => kept.insert(Decompressor::new()?).decompress(packed, length),
    })
}

/// How a body is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Packing {
    /// As it is.
    #[default]
    Plain,
    /// As one zstd frame (RFC 8878).
    Zstd,
}

impl Packing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Zstd];

    /// As a database keeps it.
    pub fn number(self) -> i64 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }

    /// Of a number; none for one that a later version wrote.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|packing| packing.number() == number)
    }

    /// What a file's name ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Zstd => ".zst",
        }
    }

    /// A body as it is to be kept: compressed when that saves at least a tenth. It computes for some milliseconds at most.
    pub fn pack(body: &Bytes) -> (Self, Bytes) {
        if !(WORTHWHILE_BYTES..=PACKED_BYTES).contains(&body.len()) {
            return (Self::Plain, body.clone());
        }
        match compress(body) {
            Ok(packed) if packed.len() <= body.len() / 10 * 9 => (Self::Zstd, packed.into()),
            // What cannot be compressed is kept as it is, whatever the reason.
            _ => (Self::Plain, body.clone()),
        }
    }

    /// A body kept this way, whether that pays or not.
    pub fn pack_as(self, body: &Bytes) -> Result<Bytes, StorageError> {
        match self {
            Self::Plain => Ok(body.clone()),
            Self::Zstd => compress(body).map(Bytes::from).map_err(StorageError::Packed),
        }
    }

    /// The body again.
    pub fn unpack(self, kept: Bytes) -> Result<Bytes, StorageError> {
        match self {
            Self::Plain => Ok(kept),
            Self::Zstd => decompress(&kept).map(Bytes::from).map_err(StorageError::Packed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_by_a_tenth_is_packed_and_comes_back() {
        let repeated = |len: usize| Bytes::from(b"All the same, all the time. ".repeat(len / 28));
        let mut random = fastrand::Rng::with_seed(4);
        let noise = Bytes::from_iter(std::iter::repeat_with(|| random.u8(..)).take(50_000));
        let letters = Bytes::from_iter(std::iter::repeat_with(|| b"ABCDEFGH"[random.usize(..8)]).take(50_000));
        for (body, packing) in [
            (Bytes::new(), Packing::Plain),
            (Bytes::from_static(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), Packing::Plain),
            (repeated(WORTHWHILE_BYTES * 2), Packing::Zstd),
            (repeated(PACKED_BYTES), Packing::Zstd),
            (repeated(PACKED_BYTES * 2), Packing::Plain),
            (noise, Packing::Plain),
            (letters, Packing::Zstd),
        ] {
            let (chosen, kept) = Packing::pack(&body);
            assert_eq!(chosen, packing, "{} bytes", body.len());
            assert!(kept.len() <= body.len());
            assert_eq!(chosen.unpack(kept).unwrap(), body);
            assert_eq!(Packing::from_number(chosen.number()), Some(chosen));
        }
        assert_eq!(Packing::from_number(2), None);
    }

    #[test]
    fn damage_is_an_error_and_never_more_memory_than_was_packed() {
        let (_, kept) = Packing::pack(&Bytes::from(b"word ".repeat(1000)));
        assert!(Packing::Zstd.unpack(kept.slice(..kept.len() - 1)).is_err());
        assert!(Packing::Zstd.unpack(Bytes::from_static(b"not a frame")).is_err());
        let bomb = zstd::bulk::compress(&vec![0; PACKED_BYTES * 4], LEVEL).unwrap();
        assert!(Packing::Zstd.unpack(bomb.into()).is_err());
    }
}
