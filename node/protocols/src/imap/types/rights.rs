//! Rights on a mailbox (RFC 4314 §2.1).

use std::fmt;

/// What somebody may do with a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u16);

/// The letters, each the right of its place.
const LETTERS: &[u8; 11] = b"lrswipkxtea";

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// `l`: it is there, LIST shows it.
    pub const LOOKUP: Self = Self(1);
    /// `r`: SELECT, STATUS.
    pub const READ: Self = Self(1 << 1);
    /// `s`: to change `\Seen`.
    pub const SEEN: Self = Self(1 << 2);
    /// `w`: to change flags but `\Seen` and `\Deleted`.
    pub const WRITE: Self = Self(1 << 3);
    /// `i`: APPEND and COPY into it.
    pub const INSERT: Self = Self(1 << 4);
    /// `p`: to send mail to it.
    pub const POST: Self = Self(1 << 5);
    /// `k`: to create mailboxes below it.
    pub const CREATE: Self = Self(1 << 6);
    /// `x`: to delete or rename it.
    pub const DELETE_MAILBOX: Self = Self(1 << 7);
    /// `t`: to change `\Deleted`.
    pub const DELETE_MESSAGES: Self = Self(1 << 8);
    /// `e`: EXPUNGE.
    pub const EXPUNGE: Self = Self(1 << 9);
    /// `a`: to see and change who has which rights.
    pub const ADMINISTER: Self = Self(1 << 10);
    /// All of them: the owner's.
    pub const ALL: Self = Self((1 << 11) - 1);

    /// The rights of these letters. `c` and `d` of RFC 2086 stand for those that came in their place (RFC 4314 §2.1.1). None
    /// when some letter is no right.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self::NONE, |all, letter| {
            let right = match letter {
                b'c' => Self::CREATE,
                b'd' => Self::OLD_DELETE,
                letter => Self(1 << LETTERS.iter().position(|one| one == letter)?),
            };
            Some(all.with(right))
        })
    }

    /// What `d` stood for.
    const OLD_DELETE: Self = Self(Self::DELETE_MAILBOX.0 | Self::DELETE_MESSAGES.0 | Self::EXPUNGE.0);

    /// As a number, to be kept.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Of a number that was kept.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Both.
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without those.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether all of `others` are among them.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of `others` is among them.
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each letter by itself, `c` and `d` too: what LISTRIGHTS says can be given.
    pub(crate) const EACH: &'static str = "l r s w i p k x t e a c d";
}

/// The letters; `c` and `d` beside what they stood for, for clients that know no others (RFC 4314 §2.1.1).
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (place, letter) in LETTERS.iter().enumerate() {
            if self.0 >> place & 1 == 1 {
                f.write_char(char::from(*letter))?;
            }
        }
        if self.contains(Self::CREATE) {
            f.write_char('c')?;
        }
        if self.intersects(Self::OLD_DELETE) {
            f.write_char('d')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        for (given, told) in [
            ("", ""),
            ("lr", "lr"),
            ("rl", "lr"),
            ("ll", "l"),
            ("c", "kc"),
            ("d", "xted"),
            ("e", "ed"),
            ("lrswipkxtea", "lrswipkxteacd"),
            ("lrswipcda", "lrswipkxteacd"),
        ] {
            assert_eq!(Rights::parse(given.as_bytes()).unwrap().to_string(), told, "{given}");
        }
        for wrong in ["L", "z", "0", "l r", "é"] {
            assert_eq!(Rights::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Rights::parse(b"lrswipkxtea"), Some(Rights::ALL));
        assert_eq!(Rights::from_bits(Rights::EXPUNGE.bits()), Rights::EXPUNGE);
        assert_eq!(Rights::from_bits(u16::MAX), Rights::ALL);
    }

    #[test]
    fn sets() {
        let some = Rights::LOOKUP.with(Rights::READ);
        assert!(some.contains(Rights::READ) && !some.contains(Rights::READ.with(Rights::WRITE)));
        assert!(some.intersects(Rights::READ.with(Rights::WRITE)) && !some.intersects(Rights::WRITE));
        assert!(some.without(Rights::ALL).is_empty() && some.contains(Rights::NONE));
    }
}
