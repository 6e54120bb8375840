//! Ready-made answers: what is asked most is written once for all who ask, as long as the zones are the same.
//!
//! Invariants: an answer is of the zones that it is asked from, and at most [`AGE_MS`] old, so that signatures in it are
//! young; the order of equals goes on changing with each turn; bounded, and names that are asked once (a flood of random
//! ones, say) do not push out those that are asked often.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::packet::request::Question;
use crate::packet::response::Body;
use crate::zones::Zones;

/// How many turns are told apart: as many numbers up to 16 as possible divide it, so that each of so many equals comes
/// first equally often.
pub const TURNS: usize = 240;

/// For how long an answer is used again, in milliseconds: next to nothing of what a signature holds.
const AGE_MS: u64 = 60_000;

/// How many answers each of the two generations holds: of the usual size 1 MB, of the largest 5 MB.
const GENERATION: usize = 4096;

/// The longest question, and what else tells answers apart.
const KEY_BYTES: usize = 255 + 4 + KIND_BYTES;
const KIND_BYTES: usize = 1 + 2 + 4 + 1;

/// What tells apart answers to different questions, or to different clients.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; KEY_BYTES],
    length: usize,
    name_length: usize,
}

impl Key {
    /// The key of a question: in lower case, as one client may hear the answer. `signed`: with signatures; `room_bytes`:
    /// so long at most; `place`: where the client stands; `subnet`: whether a resolver says so.
    pub fn new(question: &Question<'_>, signed: bool, room_bytes: u16, place: u32, subnet: bool) -> Self {
        let mut bytes = [0; KEY_BYTES];
        let asked = question.bytes.len();
        bytes[..asked].copy_from_slice(question.bytes);
        bytes[..question.name.len()].make_ascii_lowercase();
        bytes[asked] = signed.into();
        bytes[asked + 1..asked + 3].copy_from_slice(&room_bytes.to_be_bytes());
        bytes[asked + 3..asked + 7].copy_from_slice(&place.to_be_bytes());
        bytes[asked + 7] = subnet.into();
        Self { bytes, length: asked + KIND_BYTES, name_length: question.name.len() }
    }

    /// The name in lower case, as it stands in a packet.
    pub fn name(&self) -> &[u8] {
        &self.bytes[..self.name_length]
    }

    /// Name, type and class: whatever the client.
    pub fn question(&self) -> &[u8] {
        &self.bytes[..self.length - KIND_BYTES]
    }

    fn all(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// An answer, ready to be sent, and what limits count it as.
#[derive(Debug, Clone)]
pub struct Ready {
    /// What is sent.
    pub body: Arc<Body>,
    /// The same number for answers that are the same to a victim.
    pub account: u64,
    /// For how many bits of the client's subnet it is the same (RFC 7871 §7.2.1).
    pub scope_bits: u8,
}

/// The answers to one question.
enum Answers {
    /// It is the same at every turn.
    One(Ready),
    /// One for each turn, as far as they were asked for.
    InTurn(BTreeMap<usize, Ready>),
}

/// The ready-made answers of one loop, which alone uses them.
#[derive(Default)]
pub struct ReadyAnswers {
    zones: Option<Arc<Zones>>,
    epoch: u64,
    since_ms: u64,
    young: HashMap<Box<[u8]>, Answers>,
    old: HashMap<Box<[u8]>, Answers>,
    /// How many answers the young generation holds.
    count: usize,
}

impl ReadyAnswers {
    /// Forgets what is not of these zones and of this epoch, or too old.
    pub fn refresh(&mut self, zones: &Arc<Zones>, epoch: u64, now_ms: u64) {
        let same = self.zones.as_ref().is_some_and(|known| Arc::ptr_eq(known, zones)) && self.epoch == epoch;
        if !same || now_ms.saturating_sub(self.since_ms) > AGE_MS {
            self.young.clear();
            self.old.clear();
            self.count = 0;
            self.since_ms = now_ms;
            self.epoch = epoch;
            self.zones = Some(zones.clone());
        }
    }

    /// The answer to a question at a turn.
    pub fn get(&mut self, key: &Key, turn: usize) -> Option<&Ready> {
        if !self.young.contains_key(key.all()) {
            // What is asked again is kept longer.
            let (kept, answers) = self.old.remove_entry(key.all())?;
            self.make_room();
            self.count += answers.count();
            self.young.insert(kept, answers);
        }
        match self.young.get(key.all())? {
            Answers::One(ready) => Some(ready),
            Answers::InTurn(ready) => ready.get(&(turn % TURNS)),
        }
    }

    /// Keeps an answer; at every turn the same, or for this one.
    pub fn put(&mut self, key: &Key, turn: usize, in_turn: bool, ready: Ready) {
        self.make_room();
        self.count += 1;
        if !in_turn {
            self.young.insert(key.all().into(), Answers::One(ready));
            return;
        }
        let answers = self.young.entry(key.all().into()).or_insert_with(|| Answers::InTurn(BTreeMap::new()));
        if let Answers::InTurn(answers) = answers {
            answers.insert(turn % TURNS, ready);
        }
    }

    fn make_room(&mut self) {
        if self.count >= GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.count = 0;
        }
    }
}

impl Answers {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::InTurn(ready) => ready.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Query, ResponseCode};
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::answer::Answer;

    fn key(name: &[u8], signed: bool) -> Key {
        let bytes = [name, &[0, 1, 0, 1]].concat();
        let question = Question { name: &bytes[..name.len()], kind: RecordType::A, class: 1, bytes: &bytes };
        Key::new(&question, signed, 512, 0, false)
    }

    fn numbered(account: u64) -> Ready {
        let body = Body::new(&Query::new(), Answer::refusal(ResponseCode::Refused), 512).unwrap();
        Ready { body: Arc::new(body), account, scope_bits: 0 }
    }

    fn names(number: u32) -> Vec<u8> {
        [&[8][..], format!("{number:08}").as_bytes(), &[0]].concat()
    }

    #[test]
    fn what_tells_answers_apart_is_in_the_key() {
        let mut ready = ReadyAnswers::default();
        ready.put(&key(b"\x01A\x00", false), 3, true, numbered(1));
        let mut account = |name: &[u8], signed, turn| ready.get(&key(name, signed), turn).map(|ready| ready.account);
        assert_eq!(account(b"\x01a\x00", false, 3 + TURNS), Some(1), "in whatever case");
        assert_eq!(account(b"\x01a\x00", false, 4), None);
        assert_eq!(account(b"\x01a\x00", true, 3), None);
        assert_eq!(account(b"\x01b\x00", false, 3), None);
        ready.put(&key(b"\x01b\x00", false), 0, false, numbered(2));
        assert_eq!(ready.get(&key(b"\x01b\x00", false), 17).map(|ready| ready.account), Some(2));
    }

    #[test]
    fn other_zones_another_epoch_and_age_make_it_forget() {
        let (zones, others) = (Arc::new(Zones::default()), Arc::new(Zones::default()));
        for (zones_then, epoch, now_ms, kept) in
            [(&zones, 0, AGE_MS, true), (&others, 0, 0, false), (&zones, 1, 0, false), (&zones, 0, AGE_MS + 1, false)]
        {
            let mut ready = ReadyAnswers::default();
            ready.refresh(&zones, 0, 0);
            ready.put(&key(b"\x01a\x00", false), 0, false, numbered(1));
            ready.refresh(zones_then, epoch, now_ms);
            assert_eq!(ready.get(&key(b"\x01a\x00", false), 0).is_some(), kept);
        }
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_leaves_what_is_asked_often() {
        let mut ready = ReadyAnswers::default();
        let often = key(b"\x05often\x00", false);
        ready.put(&often, 0, false, numbered(7));
        for number in 0..20 * GENERATION as u32 {
            ready.put(&key(&names(number), false), 0, false, numbered(0));
            if number.is_multiple_of(100) {
                assert!(ready.get(&often, 0).is_some(), "pushed out by {number} others");
            }
        }
        assert!(ready.young.len() + ready.old.len() <= 2 * GENERATION);
    }
}
