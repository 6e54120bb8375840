//! `dns key list`, `dns key roll` and `dns ds`: the operations on keys.

use std::sync::Arc;
use std::time::SystemTime;

use estafeta_core::administration::{Field, Kind, Operation, Perform, Placing, input, output};
use estafeta_core::{Domain, Failure, Reason, RoleName};
use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keeper::Keeper;
use super::key::Key;
use super::ring::OpenKeys;
use super::signer::seconds;
use super::timeline::{Stage, ZoneKeys};
use crate::zone::absolute;

const LIST: &str = "dns key list";
const ROLL: &str = "dns key roll";
const DS: &str = "dns ds";

const ZONE: Field =
    Field { name: "zone", kind: Kind::Text, placing: Placing::Positional, about: "The zone, as `dns key list` has it" };
const ONE_ZONE: Field =
    Field { name: "zone", kind: Kind::Text, placing: Placing::Option, about: "One zone alone; all by default" };
const DS_PUBLISHED: Field = Field {
    name: "ds_published",
    kind: Kind::Flag,
    placing: Placing::Option,
    about: "Say that the parent has the DS that `dns ds` shows, and no other",
};

/// The rows.
pub fn rows() -> Vec<Operation> {
    let row = Operation {
        name: LIST,
        about: "Show the keys of the signed zones, what each does, and what is waited for",
        fields: &[ONE_ZONE],
        changes: false,
        confirm: None,
        columns: &["zone", "key", "made", "does", "next"],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::DNS),
    };
    vec![
        row.clone(),
        Operation {
            name: ROLL,
            about: "Give a signed zone another key, step by step; with --ds-published, say that the parent has its DS",
            fields: &[ZONE, DS_PUBLISHED],
            changes: true,
            ..row.clone()
        },
        Operation {
            name: DS,
            about: "Show the DS record that the parent of a signed zone needs, ready to paste",
            fields: &[ZONE],
            columns: &["record"],
            ..row
        },
    ]
}

/// Carries them out, where the keys are.
pub struct KeyOperations(Arc<Keeper>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    zone: Option<Domain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneZone {
    zone: Domain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    zone: Domain,
    #[serde(default)]
    ds_published: bool,
}

#[derive(Serialize)]
struct KeyRow {
    zone: String,
    key: u16,
    made: String,
    does: &'static str,
    next: String,
}

#[derive(Serialize)]
struct RecordRow {
    record: String,
}

impl KeyOperations {
    /// On the keys of this keeper.
    pub fn new(keeper: Arc<Keeper>) -> Self {
        Self(keeper)
    }

    /// Carries an operation out; none when it is not one of these.
    pub async fn perform(&self, operation: &str, value: Value) -> Option<Result<Value, Failure>> {
        match operation {
            LIST => Some(input(value).and_then(|Which { zone }| self.list(zone))),
            ROLL => Some(match input(value) {
                Ok(roll) => self.roll(roll).await,
                Err(failure) => Err(failure),
            }),
            DS => Some(input(value).and_then(|OneZone { zone }| self.ds(&zone))),
            _ => None,
        }
    }

    fn list(&self, zone: Option<Domain>) -> Result<Value, Failure> {
        let ring = self.0.ring();
        let origins: Vec<Name> = match zone {
            Some(zone) => vec![absolute(&zone)],
            None => ring.zones(),
        };
        let mut rows = Vec::new();
        for origin in origins {
            let open = self.open(&origin)?;
            let next = self.next(&open.kept);
            let last = open.keys.len() - 1;
            for (index, (key, kept)) in open.keys.iter().zip(&open.kept.keys).enumerate() {
                rows.push(KeyRow {
                    zone: origin.to_ascii(),
                    key: key.tag,
                    made: date(kept.made_seconds),
                    does: does(&open.kept, index),
                    // Said once a zone, at its newest key.
                    next: if index == last { next.clone() } else { String::new() },
                });
            }
        }
        output(&rows)
    }

    /// What is waited for, and for whom.
    fn next(&self, kept: &ZoneKeys) -> String {
        let next = kept.next(seconds(SystemTime::now()));
        let late = match kept.stage {
            Stage::Settled | Stage::Offered => vec![],
            _ => self.0.waited_for(self.0.ring().generation()),
        };
        if late.is_empty() {
            return next;
        }
        let late: Vec<&str> = late.iter().map(|node| node.as_str()).collect();
        format!("{next}; these nodes have not got the newest keys: {}: start them, or remove them", late.join(", "))
    }

    async fn roll(&self, Roll { zone, ds_published }: Roll) -> Result<Value, Failure> {
        let origin = absolute(&zone);
        self.open(&origin)?;
        let now_seconds = seconds(SystemTime::now());
        let waits = self.0.ring().config().waits();
        let fresh = Key::generate(now_seconds).map_err(Failure::internal)?;
        let change = |keys: &ZoneKeys| {
            let changed = if ds_published {
                keys.with_ds_published(now_seconds, &waits)
            } else {
                keys.rolled(fresh, now_seconds)
            };
            changed.map_err(|why| Failure::new(Reason::Denied, format!("{zone}: {why}")))
        };
        self.0.change(&origin, change).await?;
        self.list(Some(zone))
    }

    fn ds(&self, zone: &Domain) -> Result<Value, Failure> {
        let origin = absolute(zone);
        let open = self.open(&origin)?;
        let Some(key) = open.delegated() else {
            return Err(Failure::new(
                Reason::Denied,
                format!("{zone}: its DS must not be at the parent yet: {}", self.next(&open.kept)),
            ));
        };
        let ttl_seconds = self.0.ring().config().dnskey_ttl_seconds;
        let ds = key.ds(&origin).map_err(Failure::internal)?;
        output(&[
            RecordRow { record: format!("{origin} {ttl_seconds} IN DS {}", ds_text(&ds)) },
            RecordRow { record: format!("{origin} {ttl_seconds} IN DNSKEY {}", key.record) },
        ])
    }

    fn open(&self, origin: &Name) -> Result<Arc<OpenKeys>, Failure> {
        let ring = self.0.ring();
        let missing = || {
            let why = match (ring.signs(origin), ring.is_known()) {
                (false, _) => "is not signed: name it in [dns.dnssec] zones, on every dns node",
                (true, false) => "has its keys in the directory, which has not been reached yet",
                (true, true) => "has no keys yet: the first ready dns node makes them within seconds, if it serves it",
            };
            Failure::new(Reason::NotFound, format!("the zone {origin} {why}"))
        };
        ring.of(origin).ok_or_else(missing)
    }
}

/// A DS in presentation form, its digest in one piece.
pub fn ds_text(ds: &hickory_proto::dnssec::rdata::DS) -> String {
    let digest: String = ds.digest().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{} {} {} {digest}", ds.key_tag(), u8::from(ds.algorithm()), u8::from(ds.digest_type()))
}

/// What a key does, in words.
fn does(kept: &ZoneKeys, index: usize) -> &'static str {
    let delegated = kept.delegated() == Some(index);
    let offered = delegated && kept.stage == Stage::Offered;
    match (kept.signing() == index, delegated) {
        (true, _) if offered => "signs; its DS is to go to the parent",
        (false, _) if offered => "published; its DS is to go to the parent",
        (true, true) => "signs; its DS is at the parent",
        (true, false) => "signs",
        (false, true) => "published; its DS is at the parent",
        (false, false) if index == 0 => "published until nobody needs it",
        (false, false) => "published",
    }
}

/// A day as people write it, in UTC.
fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    date.map_or_else(String::new, |date| date.date().to_string())
}
