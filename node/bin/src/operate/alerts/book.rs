//! Which troubles are told, and when: once when one has lasted, once when it is over, nothing in between. Pure; time is
//! an argument.
//!
//! Invariants: a trouble is told of at most once until its end was told of; one that comes and goes within the wait is
//! never told of; a node that does not speak tells nothing, and learns from whoever speaks what was told already, so
//! that it does not repeat it when its turn comes; the book is bounded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about: the same while it lasts. `access1/access`, `edge2/queue`.
    pub about: String,
    /// What is wrong, in a line.
    pub text: String,
}

/// Whether a trouble has come or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It has lasted long enough to be told of.
    Began,
    /// It is over.
    Over,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub about: String,
    /// Whether it began or is over.
    pub turn: Turn,
    /// What is wrong, or was, in a line.
    pub text: String,
    /// Since when, in seconds since 1970.
    pub since_seconds: u64,
}

/// How many troubles the book holds; a cluster with more has been told enough.
const TROUBLES_LIMIT: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    text: String,
    since_seconds: u64,
    /// Since when it has not been seen any more.
    gone_seconds: Option<u64>,
    told: bool,
}

/// What is wrong, and what of it was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertBook(BTreeMap<String, Entry>);

impl AlertBook {
    /// Takes over what is wrong at `now`, and gives what is to be told. `after_seconds` is how long a trouble must last,
    /// or be gone; `speaks` says whether it is this node that tells.
    pub fn observe(&mut self, troubles: &[Trouble], now_seconds: u64, after_seconds: u64, speaks: bool) -> Vec<Alert> {
        for trouble in troubles {
            if let Some(entry) = self.0.get_mut(&trouble.about) {
                entry.text.clone_from(&trouble.text);
                entry.gone_seconds = None;
            } else if self.0.len() < TROUBLES_LIMIT {
                let entry =
                    Entry { text: trouble.text.clone(), since_seconds: now_seconds, gone_seconds: None, told: false };
                self.0.insert(trouble.about.clone(), entry);
            }
        }
        let seen: BTreeSet<&str> = troubles.iter().map(|trouble| trouble.about.as_str()).collect();
        let mut alerts = Vec::new();
        self.0.retain(|about, entry| {
            let alert = |turn, entry: &Entry| Alert {
                about: about.clone(),
                turn,
                text: entry.text.clone(),
                since_seconds: entry.since_seconds,
            };
            if seen.contains(about.as_str()) {
                let lasted = now_seconds.saturating_sub(entry.since_seconds) >= after_seconds;
                if lasted && !entry.told && speaks {
                    entry.told = true;
                    alerts.push(alert(Turn::Began, entry));
                }
                return true;
            }
            if !entry.told {
                // It was gone before anybody was told of it.
                return false;
            }
            let gone = *entry.gone_seconds.get_or_insert(now_seconds);
            let over = now_seconds.saturating_sub(gone) >= after_seconds;
            if over && speaks {
                alerts.push(alert(Turn::Over, entry));
            }
            !over
        });
        alerts
    }

    /// What was told of and is not over: what the other nodes are told, so that they do not repeat it.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, entry)| entry.told).map(|(about, _)| about.as_str())
    }

    /// Whoever speaks has told of every trouble for which this says so.
    pub fn learn(&mut self, told: impl Fn(&str) -> bool) {
        for (about, entry) in &mut self.0 {
            entry.told |= told(about);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(about: &str) -> Trouble {
        Trouble { about: about.into(), text: format!("{about} is wrong") }
    }

    /// Observes at each second what is wrong then, and gives when what was told.
    fn told(book: &mut AlertBook, wrong: &[&[&str]], speaks: bool) -> Vec<(u64, String, Turn)> {
        let mut all = Vec::new();
        for (second, wrong) in wrong.iter().enumerate() {
            let troubles: Vec<Trouble> = wrong.iter().map(|about| trouble(about)).collect();
            for alert in book.observe(&troubles, second as u64, 2, speaks) {
                all.push((second as u64, alert.about, alert.turn));
            }
        }
        all
    }

    #[test]
    fn once_when_it_lasts_and_once_when_it_is_over() {
        let wrong: &[&[&str]] = &[&["a"], &["a"], &["a"], &["a"], &[], &[], &[], &[]];
        let said = told(&mut AlertBook::default(), wrong, true);
        assert_eq!(said, [(2, "a".into(), Turn::Began), (6, "a".into(), Turn::Over)]);
    }

    #[test]
    fn what_comes_and_goes_is_one_trouble_or_none() {
        let blip: &[&[&str]] = &[&["a"], &["a"], &[], &["a"], &[], &[]];
        assert!(told(&mut AlertBook::default(), blip, true).is_empty());
        let flaps: &[&[&str]] = &[&["a"], &["a"], &["a"], &[], &["a"], &[], &["a"], &[], &[], &[]];
        let said = told(&mut AlertBook::default(), flaps, true);
        assert_eq!(said, [(2, "a".into(), Turn::Began), (9, "a".into(), Turn::Over)]);
    }

    #[test]
    fn each_trouble_is_told_apart() {
        let wrong: &[&[&str]] = &[&["a"], &["a", "b"], &["a", "b"], &["b"], &["b"], &["b"]];
        let said = told(&mut AlertBook::default(), wrong, true);
        let expected = [(2, "a".into(), Turn::Began), (3, "b".into(), Turn::Began), (5, "a".into(), Turn::Over)];
        assert_eq!(said, expected);
    }

    #[test]
    fn who_takes_over_does_not_repeat_and_tells_the_end() {
        let mut book = AlertBook::default();
        assert!(told(&mut book, &[&["a", "b"], &["a", "b"], &["a", "b"]], false).is_empty());
        // The one that spoke had told of a.
        book.learn(|about| about == "a");
        assert_eq!(book.told().collect::<Vec<_>>(), ["a"]);
        let alerts = book.observe(&[trouble("a"), trouble("b")], 3, 2, true);
        assert_eq!(alerts.iter().map(|alert| alert.about.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(book.observe(&[trouble("b")], 4, 2, true).is_empty());
        let alerts = book.observe(&[trouble("b")], 6, 2, true);
        assert_eq!((alerts[0].about.as_str(), alerts[0].turn, alerts[0].since_seconds), ("a", Turn::Over, 0));
    }

    #[test]
    fn a_restart_repeats_nothing_and_the_book_is_bounded() {
        let mut book = AlertBook::default();
        told(&mut book, &[&["a"], &["a"], &["a"]], true);
        let mut book: AlertBook = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
        assert!(book.observe(&[trouble("a")], 100, 2, true).is_empty());
        let many: Vec<Trouble> = (0..5000).map(|number| trouble(&number.to_string())).collect();
        book.observe(&many, 101, 2, true);
        assert_eq!(book.0.len(), TROUBLES_LIMIT);
    }
}
