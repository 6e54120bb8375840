//! GTUBE, the generic test for unsolicited bulk email: a string that every spam filter takes for spam, so that one can
//! be tried without any. As rspamd does, its first letter chooses what is done: `X` refuses, `Y` files into Junk.

use estafeta_core::judge::Action;

use crate::content::search::find;
use crate::verdict::{Finding, Thresholds};

/// The string behind its first letter.
const PATTERN: &[u8] = b"JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// Looks for it in a text.
pub fn check(text: &[u8], thresholds: &Thresholds) -> Option<Finding> {
    let mut rest = text;
    loop {
        let at = find(rest, PATTERN)?;
        let (action, score) = match at.checked_sub(1).map(|before| rest[before]) {
            Some(b'X') => (Action::Reject, thresholds.reject),
            Some(b'Y') => (Action::Junk, thresholds.junk),
            _ => {
                rest = &rest[at + PATTERN.len()..];
                continue;
            }
        };
        return Some(Finding::new("GTUBE", score).demands(action, "Message refused: it holds the spam test GTUBE"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { greylist: None, junk: 6.0, reject: 15.0 };

    fn action(text: &str) -> Option<Action> {
        check(text.as_bytes(), &THRESHOLDS).map(|finding| finding.ruling.unwrap().action)
    }

    #[test]
    fn the_first_letter_chooses() {
        let pattern = std::str::from_utf8(PATTERN).unwrap();
        assert_eq!(action(&format!("Hello\r\nX{pattern}\r\n")), Some(Action::Reject));
        assert_eq!(action(&format!("Y{pattern}")), Some(Action::Junk));
        assert_eq!(action(pattern), None);
        assert_eq!(action(&format!("Q{pattern} X{pattern}")), Some(Action::Reject));
        assert_eq!(action(&format!("X{}", &pattern[..60])), None);
    }
}
