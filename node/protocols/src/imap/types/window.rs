//! A page of a result (RFC 9394): `1:100` from its begin, `-1:-100` from its end.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use crate::imap::cursor::{Cursor, Refusal};

/// `partial-range`: places in a result, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// One end, as it was written.
    first: NonZeroU32,
    /// The other end.
    last: NonZeroU32,
    /// Counted from the result's end.
    from_end: bool,
}

impl Window {
    /// `partial-range       = partial-range-first / partial-range-last`
    /// `partial-range-first = nz-number ":" nz-number`
    /// `partial-range-last  = "-" nz-number ":" "-" nz-number`
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Refusal> {
        let from_end = cursor.take(b'-');
        let first = cursor.nonzero_number()?;
        cursor.expect(b':')?;
        if cursor.take(b'-') != from_end {
            return Err(Refusal::Bad("Both ends must be counted from the same side"));
        }
        Ok(Self { first, last: cursor.nonzero_number()?, from_end })
    }

    /// Which of `count` things, in their order, it shows. The order of the two ends does not count (RFC 9394 §3.1).
    pub fn of(self, count: usize) -> Range<usize> {
        let (low, high) = (self.first.min(self.last).get() as usize, self.first.max(self.last).get() as usize);
        if self.from_end {
            count.saturating_sub(high)..(count + 1).saturating_sub(low)
        } else {
            (low - 1).min(count)..high.min(count)
        }
    }
}

/// As it was written (RFC 9394 §3.1).
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Window> {
        let mut cursor = Cursor::new(text.as_bytes());
        Window::parse(&mut cursor).ok().filter(|_| cursor.at_end())
    }

    #[test]
    fn decode_encode_decode() {
        for text in ["1:500", "500:1", "-1:-100", "1:4294967295"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1", "0:1", "1:-1", "-1:1", "-0:-1", "1:", "*:1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_they_show() {
        let of = |text: &str, count| parse(text).unwrap().of(count);
        assert_eq!((of("1:3", 10), of("3:1", 10), of("8:20", 10), of("11:20", 10)), (0..3, 0..3, 7..10, 10..10));
        assert_eq!((of("-1:-3", 10), of("-3:-1", 10), of("-8:-20", 10)), (7..10, 7..10, 0..3));
        assert!(of("-11:-20", 10).is_empty() && of("1:5", 0).is_empty() && of("-1:-5", 0).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn pages_follow_each_other(count in 0_usize..50, page in 1_u32..9) {
            let pages = |sign: &str| (0..60 / page).flat_map(|number| {
                let (first, last) = (number * page + 1, (number + 1) * page);
                parse(&format!("{sign}{first}:{sign}{last}")).unwrap().of(count).collect::<Vec<_>>()
            }).collect::<Vec<_>>();
            proptest::prop_assert_eq!(pages(""), (0..count).collect::<Vec<_>>());
            let mut back = pages("-");
            back.sort_unstable();
            proptest::prop_assert_eq!(back, (0..count).collect::<Vec<_>>());
        }
    }
}
