//! Text as it is compared: without regard to case, to accents, and to how lines are broken.
//!
//! Spanish words are found however they were typed: `manana` finds `Mañana`, and `Mañana` finds `manana`. It is one
//! function for what is searched for, for what is read, and for what an index keeps, so that all three agree.
//!
//! Invariants: what is folded holds no control character, no line's end and no two spaces in a row; folding it again
//! changes nothing.

use unicode_normalization::UnicodeNormalization;

/// The text as it is compared.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (plain, behind) = rest.split_at(ascii);
        plain.chars().for_each(|character| put(&mut folded, character));
        // An accent that stands by itself behind a plain letter is in the run that follows.
        let foreign = behind.bytes().position(|byte| byte.is_ascii()).unwrap_or(behind.len());
        let (run, behind) = behind.split_at(foreign);
        // Composed again, for scripts whose letters come apart but have no accents.
        for character in run.nfkd().filter(|character| !is_passed_over(*character)).nfc() {
            character.to_lowercase().for_each(|character| put(&mut folded, character));
        }
        rest = behind;
    }
    folded
}

fn put(folded: &mut String, character: char) {
    match character {
        'A'..='Z' => folded.push(character.to_ascii_lowercase()),
        '!'..='~' => folded.push(character),
        // The same letter, at a word's end.
        'ς' => folded.push('σ'),
        character if character.is_whitespace() || character.is_control() => {
            if !folded.ends_with(' ') {
                folded.push(' ');
            }
        }
        character => folded.push(character),
    }
}

/// Accents of the Latin, Greek and Cyrillic scripts, and what nobody sees. Not the vowel signs of other scripts, without
/// which words are other words.
fn is_passed_over(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// What is searched for, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle(String);

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self(folded(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.is_empty() || folded(text).contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles() {
        for (needle, text, found) in [
            ("", "", true),
            ("", "a", true),
            ("a", "", false),
            ("ab", "xAABy", true),
            ("aab", "aaab", true),
            ("abc", "ab", false),
            ("ä", "Ä", true),
            ("manana", "MAÑANA", true),
            ("Mañana", "manana", true),
            ("man\u{303}ana", "mañana", true),
            ("éa", "xEAx", true),
            ("oficina de correos", "la oficina\r\n\tde  correos", true),
            ("straße", "STRASSE", false),
            ("ΟΔΟΣ", "οδοσα", true),
            ("οδός", "ΟΔΟΣ", true),
            // Vowel signs are no accents, and a syllable is no beginning of another.
            ("कि", "कु", false),
            ("가", "각", false),
            ("が", "か", false),
            ("ﬁn", "FIN", true),
            ("co\u{ad}rreo", "correo", true),
        ] {
            assert_eq!(Needle::new(needle).is_in(text), found, "{needle} in {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn folded_once_is_folded_for_good(text in ".{0,40}") {
            let once = folded(&text);
            proptest::prop_assert_eq!(folded(&once), once);
        }

        #[test]
        fn nothing_is_left_that_an_index_could_not_keep(text in proptest::arbitrary::any::<String>()) {
            let folded = folded(&text);
            proptest::prop_assert!(!folded.contains(char::is_control) && !folded.contains("  "));
        }
    }
}
