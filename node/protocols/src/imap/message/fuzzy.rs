//! What FUZZY makes of a text (RFC 6203 §3), and how well a message answers it (§4).
//!
//! A text is found where each of its words is, in any order and whatever its ending: `reuniones aplazadas` finds
//! "aplazado: la reunión". Keys that name no text are as they are without FUZZY (§5 leaves that open). How well: the text as
//! it was written counts most, then its words as they were written, and what stands in the subject more than the rest.

use super::fold::{Needle, folded};
use super::search::Test;

/// The most words that count.
const WORDS: usize = 32;

/// What is left of a word without its ending, at least, in letters.
const STEM: usize = 4;

/// Shorter words say little, in letters.
const SHORT: usize = 3;

/// Endings of Spanish and English words, folded; the longer first.
const ENDINGS: &[&str] = &[
    "amente", "iendo", "mente", "ando", "ados", "adas", "idos", "idas", "ado", "ada", "ido", "ida", "ies", "ing", "es",
    "as", "os", "ed", "ly", "s", "a", "o", "e",
];

/// The words of a text, folded. Short ones only when there are no others.
fn words(text: &str) -> Vec<String> {
    let folded = folded(text);
    let mut words: Vec<&str> = folded.split(|letter: char| !letter.is_alphanumeric()).collect();
    words.retain(|word| !word.is_empty());
    if words.iter().any(|word| word.chars().count() >= SHORT) {
        words.retain(|word| word.chars().count() >= SHORT);
    }
    words.truncate(WORDS);
    words.into_iter().map(str::to_owned).collect()
}

/// A folded word without its ending.
fn stem(word: &str) -> &str {
    let long_enough = |stem: &&str| stem.chars().count() >= STEM;
    ENDINGS.iter().find_map(|ending| word.strip_suffix(ending).filter(long_enough)).unwrap_or(word)
}

/// A test for the text: of its words without their endings. `test` makes one of a needle.
pub(super) fn test(text: &str, test: impl Fn(Needle) -> Test) -> Test {
    let words = words(text);
    if words.is_empty() {
        return test(Needle::new(text));
    }
    Test::Every(words.iter().map(|word| test(Needle::new(stem(word)))).collect())
}

/// What a message is worth that was found by the text: each test that holds counts so much.
pub(super) fn worths(text: &str, test: impl Fn(Needle) -> Test, worths: &mut Vec<(u32, Test)>) {
    let words = words(text);
    worths.push((4 * words.len().max(1) as u32, test(Needle::new(text))));
    worths.extend(words.iter().map(|word| (2, test(Needle::new(word)))));
    worths.extend(words.iter().map(|word| (1, test(Needle::new(stem(word))))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_stems() {
        for (text, stems) in [
            ("Reuniones aplazadas", &["reunion", "aplaz"][..]),
            ("messages messaging", &["messag", "messag"]),
            ("la casa de Ana", &["casa", "ana"]),
            ("a b", &["a", "b"]),
            ("exámenes, horarios!", &["examen", "horari"]),
            ("¿?", &[]),
        ] {
            let words = words(text);
            assert_eq!(words.iter().map(|word| stem(word)).collect::<Vec<_>>(), stems, "{text}");
        }
    }
}
