//! UIDs and sets of them.

use std::fmt;
use std::num::NonZeroU32;

/// Names a message within a mailbox and its [`UidValidity`], for ever (RFC 3501 §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU32);

/// Says whether UIDs that a client remembers still mean the same messages (RFC 3501 §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(NonZeroU32);

impl Uid {
    /// The UID of that number; zero is none.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl UidValidity {
    /// The validity of that number; zero is none.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sequence numbers or UIDs in the order in which they were put in, runs joined: what MODIFIED and ESEARCH carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberSet(Vec<(u32, u32)>);

/// The same of UIDs alone: what APPENDUID and COPYUID carry. The order counts: the n-th of COPYUID's source became the
/// n-th of its destination (RFC 4315 §3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidSet(NumberSet);

impl NumberSet {
    /// Appends one.
    pub fn push(&mut self, number: u32) {
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => self.0.push((number, number)),
        }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl UidSet {
    /// Appends one.
    pub fn push(&mut self, uid: Uid) {
        self.0.push(uid.get());
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u32> for NumberSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.push(number));
        set
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        Self(uids.into_iter().map(Uid::get).collect())
    }
}

/// `uid-set` (RFC 4315 §4).
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `sequence-set` without `*`.
impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{first}")?;
            if first != last {
                write!(f, ":{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_and_the_order_is_kept() {
        let set: UidSet = [3, 4, 5, 9, 7, 8, u32::MAX, 1].into_iter().filter_map(Uid::new).collect();
        assert_eq!(set.to_string(), "3:5,9,7:8,4294967295,1");
        assert!(UidSet::default().is_empty());
    }
}
