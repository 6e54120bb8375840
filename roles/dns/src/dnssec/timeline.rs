//! The life of a zone's keys: pure; the present time is an argument.
//!
//! A zone has one key, which signs its keys and its content and whose DS stands at the parent (a combined signing key,
//! RFC 9499 §11). A roll-over brings a second one in and the first one out, in steps (RFC 6781 §4.1.3, RFC 7583 §3.3):
//!
//! | stage | the keys in the zone | signs the content | what ends it |
//! | --- | --- | --- | --- |
//! | settled | one | it | an operator wants another one |
//! | announced | both | the old one | every DNS node has the new one |
//! | published | both | the old one | caches have the new one |
//! | offered | both | the old one | an operator has put the new one's DS at the parent |
//! | delegated | both | the old one | caches have forgotten the old DS |
//! | switching | both | the new one | every DNS node knows |
//! | switched | both | the new one | caches have forgotten what the old one signed; it goes, its private half too |
//!
//! A zone's first key goes through announced, published and offered, and is then settled.
//!
//! Invariants: nothing is signed by a key that a cache may not know yet; no key goes that a signature or a DS in a cache
//! may need. A step is taken only when every enrolled DNS node has the keys as they stand, so a node that was cut off
//! holds a roll-over up, and breaks nothing.

use serde::{Deserialize, Serialize};

/// A key as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptKey {
    /// Its private half: PKCS #8 in base64.
    pub private: String,
    /// When it was made, in seconds since 1970.
    pub made_seconds: u64,
}

impl std::fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptKey").field("made_seconds", &self.made_seconds).finish_non_exhaustive()
    }
}

/// How far a zone's keys have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// There is one key, and nothing to do.
    Settled,
    /// The newest key is in the zone, on those nodes that know of it.
    Announced,
    /// It is in the zone everywhere, and caches learn of it.
    Published,
    /// Every cache has it: its DS may be put at the parent.
    Offered,
    /// Its DS stands at the parent, in place of the old one.
    Delegated,
    /// It signs, on those nodes that know.
    Switching,
    /// It signs everywhere.
    Switched,
}

/// How long each step waits, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Until no cache has the keys as they were.
    pub keys_seconds: u64,
    /// Until no cache has the parent's DS as it was.
    pub delegation_seconds: u64,
    /// Until no cache has the content as it was.
    pub content_seconds: u64,
}

/// A zone's keys, and how far they have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneKeys {
    /// The key that is in use, and in a roll-over its successor.
    pub keys: Vec<KeptKey>,
    /// How far they have come.
    pub stage: Stage,
    /// Since when, in seconds since 1970.
    pub since_seconds: u64,
    /// Before when nothing may happen, in seconds since 1970. Kept, not computed: so nodes with another configuration,
    /// or the same node with a changed one, never step back.
    pub until_seconds: u64,
}

impl ZoneKeys {
    /// A zone's first key.
    pub fn first(key: KeptKey, now_seconds: u64) -> Self {
        Self { keys: vec![key], stage: Stage::Announced, since_seconds: now_seconds, until_seconds: now_seconds }
    }

    /// Which of the keys signs the content. All of them sign the keys.
    pub fn signing(&self) -> usize {
        match self.stage {
            Stage::Switching | Stage::Switched => self.keys.len().saturating_sub(1),
            _ => 0,
        }
    }

    /// Which key's DS should stand at the parent; none while caches may still have a zone's content unsigned.
    pub fn delegated(&self) -> Option<usize> {
        let newest = self.keys.len().saturating_sub(1);
        match self.stage {
            Stage::Announced | Stage::Published if newest == 0 => None,
            Stage::Settled | Stage::Announced | Stage::Published => Some(0),
            Stage::Offered | Stage::Delegated | Stage::Switching | Stage::Switched => Some(newest),
        }
    }

    /// The next step, when its time has come. `everywhere`: every enrolled DNS node has this book as it stands.
    pub fn advanced(&self, now_seconds: u64, everywhere: bool, waits: &Waits) -> Option<Self> {
        if !everywhere || now_seconds < self.until_seconds {
            return None;
        }
        let rolls = self.keys.len() > 1;
        match self.stage {
            // The first key waits until no cache has the content unsigned, a later one until none has the keys without it.
            Stage::Announced if rolls => Some(self.at(Stage::Published, now_seconds, waits.keys_seconds)),
            Stage::Announced => {
                Some(self.at(Stage::Published, now_seconds, waits.content_seconds.max(waits.keys_seconds)))
            }
            Stage::Published => Some(self.at(Stage::Offered, now_seconds, 0)),
            Stage::Delegated => Some(self.at(Stage::Switching, now_seconds, 0)),
            Stage::Switching => Some(self.at(Stage::Switched, now_seconds, waits.content_seconds)),
            Stage::Switched => {
                let mut settled = self.at(Stage::Settled, now_seconds, 0);
                settled.keys.drain(..settled.keys.len().saturating_sub(1));
                Some(settled)
            }
            Stage::Settled | Stage::Offered => None,
        }
    }

    /// Begins a roll-over to `fresh`; an error says in words why not now.
    pub fn rolled(&self, fresh: KeptKey, now_seconds: u64) -> Result<Self, String> {
        if self.stage != Stage::Settled {
            return Err(match (self.keys.len(), self.stage) {
                (1, _) => "its first key has not been said to be at the parent yet: `estafeta dns key list` says what \
                           is waited for"
                    .to_owned(),
                _ => "it is in a roll-over already: `estafeta dns key list` says what is waited for".to_owned(),
            });
        }
        let mut rolled = self.at(Stage::Announced, now_seconds, 0);
        rolled.keys.push(fresh);
        Ok(rolled)
    }

    /// Takes an operator's word that the newest key's DS stands at the parent, and no other; an error says in words why
    /// that cannot be.
    pub fn with_ds_published(&self, now_seconds: u64, waits: &Waits) -> Result<Self, String> {
        match self.stage {
            Stage::Offered if self.keys.len() == 1 => Ok(self.at(Stage::Settled, now_seconds, 0)),
            Stage::Offered => Ok(self.at(Stage::Delegated, now_seconds, waits.delegation_seconds)),
            Stage::Announced | Stage::Published => Err(format!(
                "resolvers may not know the new key yet, so its DS must not be at the parent: {}",
                self.next(now_seconds),
            )),
            Stage::Settled => Err("no DS is waited for: begin a roll-over with `estafeta dns key roll ZONE`".into()),
            Stage::Delegated | Stage::Switching | Stage::Switched => Err("it has been said already".into()),
        }
    }

    /// What is waited for, in words for an operator.
    pub fn next(&self, now_seconds: u64) -> String {
        let waits = now_seconds < self.until_seconds;
        let wait = duration(self.until_seconds.saturating_sub(now_seconds));
        match self.stage {
            Stage::Settled => "nothing to do".into(),
            Stage::Announced => "waits until every DNS node has the new key".into(),
            Stage::Published if waits && self.keys.len() == 1 => {
                format!("in {wait} no resolver has unsigned answers any more: then give the DS to the parent")
            }
            Stage::Published if waits => format!("in {wait} every resolver can know the new key: then change the DS"),
            Stage::Published => "the DS is about to be offered, once every DNS node agrees".into(),
            Stage::Offered => "put what `estafeta dns ds` shows at the parent, in place of any other DS; once the \
                               parent has it, say `estafeta dns key roll ZONE --ds-published`"
                .into(),
            Stage::Delegated if waits => {
                format!("in {wait} no resolver has the old DS any more: then the new key signs")
            }
            Stage::Delegated => "the new key is about to sign, once every DNS node has heard of the new DS".into(),
            Stage::Switching => "waits until every DNS node signs with the new key".into(),
            Stage::Switched if waits => {
                format!("in {wait} no resolver has old signatures any more: then the old key goes")
            }
            Stage::Switched => "the old key is about to go, once every DNS node agrees".into(),
        }
    }

    fn at(&self, stage: Stage, now_seconds: u64, wait_seconds: u64) -> Self {
        Self {
            keys: self.keys.clone(),
            stage,
            since_seconds: now_seconds,
            until_seconds: now_seconds.saturating_add(wait_seconds),
        }
    }
}

/// A time as people say it, rounded up.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        7_200..=172_799 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests;
