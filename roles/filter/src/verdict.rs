//! From what the rules found to what is done.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use estafeta_core::delivery::{SPAM_HEADER, SPAM_HEADER_YES};
use estafeta_core::judge::{Action, Symbol, Verdict};

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its name, weight and details.
    pub symbol: Symbol,
    /// What it demands, whatever the score.
    pub ruling: Option<Ruling>,
}

/// A demand of a single finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// At least this is done.
    pub action: Action,
    /// What the client of a refusal reads.
    pub explanation: String,
}

impl Finding {
    /// A finding that only counts.
    pub fn new(name: &str, score: f64) -> Self {
        Self { symbol: Symbol { name: name.to_owned(), score, options: Vec::new() }, ruling: None }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, option: impl Into<String>) -> Self {
        self.symbol.options.push(option.into());
        self
    }

    /// Makes it demand an action.
    #[must_use]
    pub fn demands(mut self, action: Action, explanation: impl Into<String>) -> Self {
        self.ruling = Some(Ruling { action, explanation: explanation.into() });
        self
    }
}

/// The scores from which something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// The sender shall come again; none for never.
    pub greylist: Option<f64>,
    /// Into Junk.
    pub junk: f64,
    /// Refused.
    pub reject: f64,
}

impl Thresholds {
    fn action(&self, score: f64) -> Action {
        match score {
            score if score >= self.reject => Action::Reject,
            score if score >= self.junk => Action::Junk,
            score if self.greylist.is_some_and(|greylist| score >= greylist) => Action::Greylist,
            _ => Action::Accept,
        }
    }
}

/// The header field that shows the score and the one from which mail is refused.
pub const SCORE_HEADER: &str = "X-Spam-Score";

/// Sums up. `headers` are put before ours. Findings of one name become one symbol, as rspamd has them; they stand in the
/// order of their names.
pub fn decide(findings: Vec<Finding>, mut headers: Vec<(String, String)>, thresholds: &Thresholds) -> Verdict {
    let score = findings.iter().map(|finding| finding.symbol.score).sum();
    let by_score = thresholds.action(score);
    // The first of the strongest demands.
    let ruling = findings
        .iter()
        .filter_map(|finding| finding.ruling.as_ref())
        .reduce(|a, b| if b.action > a.action { b } else { a });
    let (action, explanation) = match ruling {
        Some(ruling) if ruling.action >= by_score => (ruling.action, Some(ruling.explanation.clone())),
        _ => (by_score, None),
    };
    let explanation = explanation.or_else(|| default_explanation(action).map(str::to_owned));
    if action == Action::Junk {
        headers.push((SPAM_HEADER.into(), SPAM_HEADER_YES.into()));
    }
    headers.push((SCORE_HEADER.into(), format!("{score:.2} / {:.2}", thresholds.reject)));
    Verdict { action, score, required_score: thresholds.reject, symbols: by_name(findings), headers, explanation }
}

fn by_name(findings: Vec<Finding>) -> Vec<Symbol> {
    let mut symbols: BTreeMap<String, Symbol> = BTreeMap::new();
    for Finding { symbol, .. } in findings {
        match symbols.entry(symbol.name.clone()) {
            Entry::Vacant(place) => {
                place.insert(symbol);
            }
            Entry::Occupied(mut place) => {
                place.get_mut().score += symbol.score;
                place.get_mut().options.extend(symbol.options);
            }
        }
    }
    symbols.into_values().collect()
}

/// What the client of a refusal reads when no finding has words of its own.
pub fn default_explanation(action: Action) -> Option<&'static str> {
    match action {
        Action::Reject => Some("Message refused as spam"),
        Action::Defer => Some("Message not accepted now, try again later"),
        Action::Greylist => Some("Greylisted, try again in some minutes"),
        Action::Accept | Action::Junk => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { greylist: None, junk: 6.0, reject: 15.0 };

    fn actions(scores: &[f64]) -> Action {
        decide(scores.iter().map(|&score| Finding::new("A", score)).collect(), vec![], &THRESHOLDS).action
    }

    #[test]
    fn the_sum_decides() {
        assert_eq!(actions(&[]), Action::Accept);
        assert_eq!(actions(&[5.9]), Action::Accept);
        assert_eq!(actions(&[5.0, 1.0]), Action::Junk);
        assert_eq!(actions(&[20.0, -5.0]), Action::Reject);
        let greylisting = Thresholds { greylist: Some(4.0), ..THRESHOLDS };
        assert_eq!(decide(vec![Finding::new("A", 4.0)], vec![], &greylisting).action, Action::Greylist);
    }

    #[test]
    fn findings_of_one_name_are_one_symbol() {
        let verdict = decide(
            vec![Finding::new("B", 1.0), Finding::new("A", 1.0).with("x"), Finding::new("A", 2.0).with("y")],
            vec![],
            &THRESHOLDS,
        );
        let symbols: Vec<_> =
            verdict.symbols.iter().map(|symbol| (symbol.name.as_str(), symbol.score, symbol.options.len())).collect();
        assert_eq!(symbols, [("A", 3.0, 2), ("B", 1.0, 0)]);
    }

    #[test]
    fn the_strongest_demand_stands_whatever_the_score() {
        let findings = || {
            vec![
                Finding::new("J", -3.0).demands(Action::Junk, "junk"),
                Finding::new("R", 0.0).demands(Action::Reject, "first"),
                Finding::new("R", 0.0).demands(Action::Reject, "second"),
            ]
        };
        let verdict = decide(findings(), vec![], &THRESHOLDS);
        assert_eq!((verdict.action, verdict.explanation.as_deref()), (Action::Reject, Some("first")));
        let verdict = decide(findings()[..1].to_vec(), vec![], &THRESHOLDS);
        assert_eq!(verdict.action, Action::Junk);
        assert_eq!(verdict.headers, [("X-Spam".into(), "Yes".into()), ("X-Spam-Score".into(), "-3.00 / 15.00".into())]);
        let verdict = decide(vec![Finding::new("J", 16.0).demands(Action::Junk, "junk")], vec![], &THRESHOLDS);
        assert_eq!((verdict.action, verdict.explanation.as_deref()), (Action::Reject, Some("Message refused as spam")));
    }
}
