//! Seals datagrams with the cluster's key, and opens them.
//!
//! ```text
//! datagram = version(1) key-id(4) nonce(12) ciphertext tag(16)
//! plaintext = name-length(1) name boot(8) counter(8) sent-ms(8) part(1) parts(1) payload     ; all numbers big-endian
//! ```
//!
//! AES-256-GCM-SIV (RFC 8452): all nodes share one key, and cannot agree on who used which nonce; so it is drawn at
//! random, and this cipher is the one that a nonce drawn twice does not break (it would only show that two datagrams are
//! equal, which the counters in them rule out). Version and key id are authenticated with the rest.
//!
//! Invariants: pure, no socket; whatever comes in, [`Opener::open`] gives a datagram of a node with a key of the cluster,
//! once, or says why not. Any key that is known is taken; the newest whose time has come is sent with, so that a new key
//! can reach everyone before anyone uses it.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use estafeta_core::NodeName;
use estafeta_core::settings::GossipKey;

use super::replay::{Seen, Stale, Stamp};

/// The largest datagram, in bytes: it goes through any path without being cut (IPv6 asks for 1280, RFC 8200 §5).
pub const DATAGRAM: usize = 1232;

/// The most payload in one datagram, in bytes.
pub const PAYLOAD: usize = DATAGRAM - HEADER - TAG - NAME - STAMP;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + NONCE_LEN;
const TAG: usize = 16;
const NAME: usize = 1 + 63;
const STAMP: usize = 8 + 8 + 8 + 1 + 1;

/// The cluster's keys.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    id: u32,
    from_seconds: u64,
    cipher: LessSafeKey,
}

impl Keys {
    /// From the settings. Those that are no key of 256 bits are left out: a node with a wrong key is one that others do
    /// not hear, and says so.
    pub fn new(keys: &[GossipKey]) -> Self {
        let cipher = |key: &GossipKey| {
            let secret = unhex(&key.secret)?;
            Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &secret).ok()?))
        };
        let read = |key: &GossipKey| Some(Key { id: key.id, from_seconds: key.from_seconds, cipher: cipher(key)? });
        Self(keys.iter().filter_map(read).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one to send with: the newest whose time has come, or the oldest while none has.
    fn sending(&self, now_ms: u64) -> Option<&Key> {
        let begun = self.0.iter().filter(|key| key.from_seconds <= now_ms / 1000);
        begun.max_by_key(|key| key.from_seconds).or_else(|| self.0.iter().min_by_key(|key| key.from_seconds))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

/// One datagram, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The node that made it, as it says: whoever has the key can say any.
    pub sender: NodeName,
    /// When it was made.
    pub stamp: Stamp,
    /// Which part of its message it is, from 0, and of how many.
    pub part: (u8, u8),
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Opened {
    /// Reads what was sealed; none when it has not the form that we know.
    pub fn read(plain: &[u8]) -> Option<Self> {
        let (length, rest) = plain.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (numbers, rest) = rest.split_at_checked(24)?;
        let number = |at: usize| numbers.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let stamp = Stamp { boot: number(0)?, counter: number(8)?, sent_ms: number(16)? };
        let (part, payload) = rest.split_at_checked(2)?;
        let sender = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some(Self { sender, stamp, part: (part[0], part[1]), payload: payload.to_vec() })
    }
}

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It is too short or too long, or its version is unknown.
    Malformed,
    /// No key of this id is known.
    UnknownKey,
    /// It was not sealed with the key that it names, or was changed on its way.
    Forged,
    /// It was taken already.
    Replayed,
    /// Its time is too far from ours.
    Skew,
}

impl Dropped {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown-key",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Skew => "skew",
        }
    }
}

/// Seals what one start of one node sends.
pub struct Sealer {
    name: NodeName,
    boot: u64,
    counter: u64,
}

impl Sealer {
    /// For this node, from now on.
    pub fn new(name: NodeName, boot: u64) -> Self {
        Self { name, boot, counter: 0 }
    }

    /// One datagram with at most [`PAYLOAD`] bytes of payload. None without a key.
    pub fn seal(&mut self, keys: &Keys, part: (u8, u8), payload: &[u8], now_ms: u64) -> Option<Vec<u8>> {
        let key = keys.sending(now_ms)?;
        self.counter += 1;
        let mut header = [0; HEADER];
        header[0] = VERSION;
        header[1..5].copy_from_slice(&key.id.to_be_bytes());
        aws_lc_rs::rand::fill(&mut header[5..]).ok()?;
        let name = self.name.as_str().as_bytes();
        let mut sealed = Vec::with_capacity(NAME + STAMP + payload.len() + TAG);
        sealed.push(u8::try_from(name.len()).ok()?);
        sealed.extend_from_slice(name);
        for number in [self.boot, self.counter, now_ms] {
            sealed.extend_from_slice(&number.to_be_bytes());
        }
        sealed.extend_from_slice(&[part.0, part.1]);
        sealed.extend_from_slice(payload);
        let nonce = Nonce::try_assume_unique_for_key(&header[5..]).ok()?;
        key.cipher.seal_in_place_append_tag(nonce, Aad::from(&header[..5]), &mut sealed).ok()?;
        let mut datagram = header.to_vec();
        datagram.extend_from_slice(&sealed);
        Some(datagram)
    }
}

/// Opens what others send.
pub struct Opener {
    seen: Seen,
    skew: Duration,
}

impl Opener {
    /// One that takes datagrams whose time is at most `skew` from ours.
    pub fn new(skew: Duration) -> Self {
        Self { seen: Seen::default(), skew }
    }

    /// Opens one datagram.
    pub fn open(&mut self, keys: &Keys, datagram: &[u8], now_ms: u64) -> Result<Opened, Dropped> {
        if datagram.len() < HEADER + TAG || datagram.len() > DATAGRAM || datagram[0] != VERSION {
            return Err(Dropped::Malformed);
        }
        let (header, sealed) = datagram.split_at(HEADER);
        let id = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut known = keys.0.iter().filter(|key| key.id == id).peekable();
        if known.peek().is_none() {
            return Err(Dropped::UnknownKey);
        }
        let plain = known.find_map(|key| {
            let mut plain = sealed.to_vec();
            let nonce = Nonce::try_assume_unique_for_key(&header[5..]).ok()?;
            let length = key.cipher.open_in_place(nonce, Aad::from(&header[..5]), &mut plain).ok()?.len();
            plain.truncate(length);
            Some(plain)
        });
        let opened = Opened::read(&plain.ok_or(Dropped::Forged)?).ok_or(Dropped::Malformed)?;
        self.seen.take(&opened.sender, opened.stamp, now_ms, self.skew).map_err(|stale| match stale {
            Stale::Seen => Dropped::Replayed,
            Stale::Skew => Dropped::Skew,
        })?;
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;
    const SKEW: Duration = Duration::from_secs(30);

    fn key(id: u32, from_seconds: u64, digit: &str) -> GossipKey {
        GossipKey { id, from_seconds, secret: digit.repeat(64) }
    }

    fn sealer() -> Sealer {
        Sealer::new("edge1".parse().unwrap(), 7)
    }

    #[test]
    fn what_was_sealed_is_opened_once() {
        let keys = Keys::new(&[key(1, 0, "a")]);
        let datagram = sealer().seal(&keys, (1, 3), &[9; PAYLOAD], NOW).unwrap();
        assert!(datagram.len() <= DATAGRAM);
        let mut opener = Opener::new(SKEW);
        let opened = opener.open(&keys, &datagram, NOW + 10).unwrap();
        assert_eq!((opened.sender.as_str(), opened.part, opened.payload.len()), ("edge1", (1, 3), PAYLOAD));
        assert_eq!(opener.open(&keys, &datagram, NOW + 10), Err(Dropped::Replayed));
        assert_eq!(Opener::new(SKEW).open(&keys, &datagram, NOW + 31_000), Err(Dropped::Skew));
    }

    #[test]
    fn what_is_forged_cut_or_sealed_with_another_key_is_dropped() {
        let keys = Keys::new(&[key(1, 0, "a")]);
        let datagram = sealer().seal(&keys, (0, 1), b"hello", NOW).unwrap();
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 1;
            assert!(Opener::new(SKEW).open(&keys, &changed, NOW).is_err(), "byte {place}");
            assert!(Opener::new(SKEW).open(&keys, &datagram[..place], NOW).is_err(), "cut at {place}");
        }
        let other = Keys::new(&[key(1, 0, "b")]);
        assert_eq!(Opener::new(SKEW).open(&other, &datagram, NOW), Err(Dropped::Forged));
        let unknown = Keys::new(&[key(2, 0, "a")]);
        assert_eq!(Opener::new(SKEW).open(&unknown, &datagram, NOW), Err(Dropped::UnknownKey));
        assert_eq!(Opener::new(SKEW).open(&Keys::default(), &datagram, NOW), Err(Dropped::UnknownKey));
    }

    #[test]
    fn keys_are_rolled_with_two_good_at_once() {
        let soon = NOW / 1000 + 60;
        let (old, new) = (key(1, 0, "a"), key(2, soon, "b"));
        let both = Keys::new(&[old.clone(), new.clone()]);
        let id = |datagram: &[u8]| datagram[4];
        let mut sealer = sealer();
        let before = sealer.seal(&both, (0, 1), b"x", NOW).unwrap();
        let after = sealer.seal(&both, (0, 1), b"x", NOW + 61_000).unwrap();
        assert_eq!((id(&before), id(&after)), (1, 2));
        let mut opener = Opener::new(SKEW);
        assert!(opener.open(&both, &before, NOW).is_ok() && opener.open(&both, &after, NOW + 61_000).is_ok());
        assert_eq!(Opener::new(SKEW).open(&Keys::new(&[new]), &before, NOW), Err(Dropped::UnknownKey));
        assert!(Keys::new(&[GossipKey { secret: "xyz".into(), ..old }]).is_empty());
        assert!(sealer.seal(&Keys::default(), (0, 1), b"x", NOW).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_dropped_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
            let keys = Keys::new(&[key(1, 0, "a")]);
            prop_assert!(Opener::new(SKEW).open(&keys, &bytes, NOW).is_err());
        }

        #[test]
        fn any_plaintext_is_read_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(opened) = Opened::read(&bytes) {
                prop_assert!(opened.payload.len() < bytes.len());
            }
        }
    }
}
