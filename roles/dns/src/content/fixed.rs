//! What was written by hand, beside what the cluster says itself.
//!
//! The cluster's own wins wherever both speak of one name and type: else a zone file from before would go on naming the
//! old servers. But texts stand beside each other, and of policies that somebody wrote on purpose (DMARC, DKIM, MTA-STS,
//! reports) the written one wins. SPF is ours, or our own mail would fail it; `sender_policy_terms` adds to it.

use std::collections::BTreeSet;

use hickory_proto::rr::{Name, RecordType};

use super::policy::text_of;
use crate::zone::{RecordSet, Zone};
use crate::zonefile::Held;

/// How many notes are kept.
const NOTES: usize = 100;

/// Puts what was written by hand into a zone.
pub fn put(zone: &mut Zone, fixed: &Held, notes: &mut BTreeSet<String>) {
    for (name, sets) in fixed {
        for set in sets {
            if let Err(why) = put_one(zone, name, set)
                && notes.len() < NOTES
            {
                notes.insert(format!("{name} {}: {why}", set.kind));
            }
        }
    }
}

fn put_one(zone: &mut Zone, name: &Name, set: &RecordSet) -> Result<(), &'static str> {
    let origin = zone.origin.clone();
    let own = zone.names.entry(name.clone()).or_default();
    // RFC 2181 §10.1; at the zone's own name SOA and NS always stand.
    if set.kind == RecordType::CNAME && !own.is_empty() {
        return Err("left out: the cluster has records of this name itself, and a CNAME bears none beside it");
    }
    if own.iter().any(|known| known.kind == RecordType::CNAME) {
        return Err("left out: this name has a CNAME, and beside it nothing may stand");
    }
    let Some(known) = own.iter_mut().find(|known| known.kind == set.kind) else {
        own.push(set.clone());
        return Ok(());
    };
    if set.kind != RecordType::TXT {
        return Err("left out: the cluster says itself what stands here");
    }
    if *name != origin {
        *known = set.clone();
        return Ok(());
    }
    let is_sender_policy = |text: String| text.to_ascii_lowercase().starts_with("v=spf1");
    let (policies, texts): (Vec<_>, Vec<_>) =
        set.data.iter().cloned().partition(|datum| text_of(&datum.data).is_some_and(is_sender_policy));
    known.ttl_seconds = known.ttl_seconds.min(set.ttl_seconds);
    known.data.extend(texts);
    match policies.is_empty() {
        true => Ok(()),
        false => Err("the SPF is left out: the cluster makes its own (sender_policy_terms adds to it)"),
    }
}
