//! When a node suspects itself instead of the others (DESIGN.md, invariant 5).
//!
//! A node that is cut off sees everyone vanish. So when over half of a role, or of the whole cluster, vanishes within a
//! short time (falls silent or out of reach; what says of itself that it cannot serve does not vanish), the node goes on
//! naming them as it did. That ends, for each of them,
//!
//! - when it is heard again: then it is as it says;
//! - when so many of the others are back that what is missing is no longer over half;
//! - when this node hears the larger part of the cluster, and most of those whom it hears miss the same one: then it is
//!   not this node that is cut off ([`is_confirmed`]).
//!
//! It does not end with time: a node that sees nobody names all for as long as it is alone.

/// How one role of one node looks, to the judgement about all who have that role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// It is named, and nothing is wrong.
    Well,
    /// It was named and has vanished, lately or while this node suspects itself, and nobody has confirmed it.
    Vanished,
    /// It does not count: it was not named before, or what happened to it is sure.
    Out,
}

/// Whether over half of those who were named have vanished.
pub fn suspects_itself(all: impl Iterator<Item = Looks>) -> bool {
    let (mut vanished, mut named) = (0, 0);
    for looks in all {
        vanished += usize::from(looks == Looks::Vanished);
        named += usize::from(looks != Looks::Out);
    }
    vanished * 2 > named
}

/// Whether those who are heard confirm that somebody is gone: this node hears the larger part of the cluster (`heard` of
/// `enrolled`, both with this node in them), and of the others that it hears most (`missing`) miss it too.
pub fn is_confirmed(enrolled: usize, heard: usize, missing: usize) -> bool {
    heard * 2 > enrolled && missing * 2 > heard.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_half_of_what_was_named() {
        use Looks::{Out, Vanished, Well};
        let suspects = |looks: &[Looks]| suspects_itself(looks.iter().copied());
        assert!(!suspects(&[]));
        assert!(!suspects(&[Well, Out]));
        assert!(!suspects(&[Well, Vanished]));
        assert!(suspects(&[Well, Vanished, Vanished]));
        assert!(suspects(&[Vanished]));
        assert!(suspects(&[Well, Vanished, Vanished, Out]));
        assert!(!suspects(&[Well, Well, Vanished, Vanished]));
    }

    #[test]
    fn only_the_larger_part_confirms() {
        assert!(is_confirmed(5, 3, 2));
        assert!(is_confirmed(5, 4, 2));
        assert!(!is_confirmed(5, 4, 1));
        assert!(!is_confirmed(4, 2, 1));
        assert!(!is_confirmed(5, 1, 0));
        assert!(!is_confirmed(1, 1, 0));
    }
}
