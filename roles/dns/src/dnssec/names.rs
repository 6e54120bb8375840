//! What the names of a zone are to each other: cuts, wildcards, the next name. Pure.

use hickory_proto::rr::{Name, RecordType};

use crate::zone::{RecordSet, Zone};

/// The longest name, in bytes (RFC 1035 §3.1). Of an absolute name [`Name::len`] does not count the root's byte.
const NAME_BYTES: usize = 254;

/// The name from which a record set at `name` comes: itself, or the wildcard that stands for it (RFC 4592 §3.3). None
/// when the name does not exist.
pub fn source(zone: &Zone, name: &Name) -> Option<Name> {
    if zone.names.contains_key(name) {
        return Some(name.to_lowercase());
    }
    let wildcard = wildcard_at(&closest_encloser(zone, name))?;
    zone.names.contains_key(&wildcard).then_some(wildcard)
}

/// The longest ancestor of a name that exists (RFC 4592 §3.3.1). The name must be of the zone.
pub fn closest_encloser(zone: &Zone, name: &Name) -> Name {
    let mut ancestor = name.to_lowercase();
    while !zone.names.contains_key(&ancestor) && ancestor != zone.origin && !ancestor.is_root() {
        ancestor = ancestor.base_name();
    }
    ancestor
}

/// The wildcard right below a name.
pub fn wildcard_at(name: &Name) -> Option<Name> {
    name.prepend_label("*").ok()
}

/// Whether another zone begins at this name (RFC 1034 §4.2).
pub fn is_cut(zone: &Zone, name: &Name) -> bool {
    *name != zone.origin && zone.set(name, RecordType::NS).is_some()
}

/// Whether a name stands below a cut: it is another zone's, and here only as glue.
pub fn is_below_cut(zone: &Zone, name: &Name) -> bool {
    let mut ancestor = name.clone();
    while ancestor != zone.origin && !ancestor.is_root() {
        ancestor = ancestor.base_name();
        if is_cut(zone, &ancestor) {
            return true;
        }
    }
    false
}

/// Which types the proof of a name speaks of (RFC 4034 §4.1.2): those that it has here; at a cut, those that are ours
/// (RFC 4035 §2.3).
pub fn kinds(zone: &Zone, name: &Name) -> Vec<RecordType> {
    let cut = is_cut(zone, name);
    let ours = |set: &&RecordSet| match set.kind {
        RecordType::NSEC | RecordType::RRSIG => false,
        RecordType::NS | RecordType::DS => true,
        _ => !cut,
    };
    let mut kinds: Vec<_> = zone.names.get(name).into_iter().flatten().filter(ours).map(|set| set.kind).collect();
    kinds.extend([RecordType::RRSIG, RecordType::NSEC]);
    kinds
}

/// The name that follows at once in the canonical order (RFC 4034 §6.1, RFC 4471 §3.1.2). None for the one name of
/// greatest length that has none.
pub fn successor(name: &Name) -> Option<Name> {
    let mut next = name.prepend_label(&[0_u8][..]).ok().filter(|next| next.len() <= NAME_BYTES);
    if next.is_none() {
        // Too long for a label more: a byte more in the first one, and if that does not fit either, its last byte grows.
        let first = name.iter().next()?.to_vec();
        let with =
            |label: Vec<u8>| name.base_name().prepend_label(&label[..]).ok().filter(|next| next.len() <= NAME_BYTES);
        let longer = [&first[..], &[0]].concat();
        let mut greater = first;
        if let Some(last) = greater.last_mut() {
            *last = last.checked_add(1)?;
        }
        next = with(longer).or_else(|| with(greater));
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_name_is_the_next_even_of_the_longest() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        assert_eq!(successor(&name("a.demo.test.")).unwrap().to_ascii(), "\\000.a.demo.test.");
        let labels = |last: usize| {
            let long = "x".repeat(63);
            name(&format!("{}.{long}.{long}.{long}.", "y".repeat(last)))
        };
        for last in 55..=61 {
            let long = labels(last);
            let next = successor(&long).unwrap();
            assert!(next > long && next.len() <= NAME_BYTES, "{last}: {} bytes", next.len());
        }
    }
}
