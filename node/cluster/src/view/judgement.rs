//! What is to be said of one role of one node, by itself.

use std::time::Duration;

use estafeta_core::members::Readiness;

use super::standing::Standing;

/// What is to be said of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing new: it stays as it is known.
    AsKnown,
    /// It says that it is ready, and nobody says otherwise.
    Well,
    /// It says that it finishes what it has.
    Draining,
    /// It says that it cannot serve.
    Refuses(String),
    /// Those who probe it cannot reach it.
    OutOfReach(String),
    /// Its node is silent.
    Unheard(String),
}

/// A verdict, and whether it is sure that it is not this node's own fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub verdict: Verdict,
    pub confirmed: bool,
}

impl Judged {
    /// Whether it is heard, and well.
    pub fn is_well(&self) -> bool {
        self.verdict == Verdict::Well
    }
}

impl Verdict {
    /// Whether it may as well be this node that cannot see.
    pub fn is_vanished(&self) -> bool {
        matches!(self, Self::OutOfReach(_) | Self::Unheard(_))
    }

    /// Whether the node itself says that it must not be chosen.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Draining | Self::Refuses(_))
    }
}

/// How a role stands by its node's own words.
pub(super) fn said(draining: bool, says: &Readiness) -> (Standing, String) {
    match says {
        _ if draining => (Standing::Draining, String::new()),
        Readiness::Ready => (Standing::Ready, String::new()),
        Readiness::NotReady(why) => (Standing::NotReady, why.clone()),
    }
}

/// Of a node that is heard. One whose heartbeat is here before its words stays as it is known until they come.
pub(super) fn heard(draining: bool, says: &Readiness, out_of_reach: Option<String>, has_spoken: bool) -> Verdict {
    if !has_spoken {
        return Verdict::AsKnown;
    }
    match (said(draining, says), out_of_reach) {
        ((Standing::Draining, _), _) => Verdict::Draining,
        ((Standing::NotReady, why), _) => Verdict::Refuses(why),
        (_, Some(why)) => Verdict::OutOfReach(why),
        _ => Verdict::Well,
    }
}

/// Of a node that is not heard: `silence` since it was, or none when it never was; then there is some patience. One that
/// drained has stopped, as it said that it would.
pub(super) fn silent(drained: bool, silence: Option<Duration>, is_over_patience: bool) -> Verdict {
    match silence {
        Some(_) if drained => Verdict::Draining,
        Some(silence) => Verdict::Unheard(format!("not heard of for {:.1} s", silence.as_secs_f64())),
        None if is_over_patience => Verdict::Unheard("not heard of since this node started".into()),
        None => Verdict::AsKnown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_words_go_first() {
        let no = Readiness::NotReady("disk full".into());
        let out = || Some("cannot be reached by a, b: refused".to_owned());
        assert_eq!(heard(true, &no, out(), true), Verdict::Draining);
        assert_eq!(heard(false, &no, out(), true), Verdict::Refuses("disk full".into()));
        assert!(heard(false, &Readiness::Ready, out(), true).is_vanished());
        assert_eq!(heard(false, &Readiness::Ready, None, true), Verdict::Well);
        assert_eq!(heard(false, &no, None, false), Verdict::AsKnown);
        assert_eq!(silent(false, None, false), Verdict::AsKnown);
        assert_eq!(
            silent(false, Some(Duration::from_millis(1420)), false),
            Verdict::Unheard("not heard of for 1.4 s".into())
        );
        assert_eq!(silent(true, Some(Duration::from_secs(9)), false), Verdict::Draining);
    }
}
