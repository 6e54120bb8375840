//! One other node, as this node knows it, and how each of its roles stands.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use estafeta_core::RoleName;
use estafeta_core::members::{Member, Readiness};

use super::Now;
use super::comeback::Comeback;
use super::hearing::Hearing;
use super::judgement::{self, Judged, Verdict};
use super::standing::{RoleStanding, Standing};
use super::suspicion::Looks;
use crate::gossip::description::Description;
use crate::membership::Config;

/// How long it takes until the probes of a node that was cut off are of now again.
const SETTLED: Duration = Duration::from_secs(3);

/// What is known of another node.
pub(super) struct Other {
    pub known_since: Instant,
    pub hearing: Hearing,
    /// Since when it has been heard without a gap.
    pub heard_since: Option<Instant>,
    /// The newest that it said, and at which of its starts.
    pub said: Option<(u64, Description)>,
    /// As it is known while it has said nothing: from the snapshot, or as it is enrolled.
    pub kept: Member,
    pub roles: BTreeMap<RoleName, State>,
}

/// How a role of another node stands, and what that depends on.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub standing: RoleStanding,
    /// Since when it has vanished, and whether it was named then.
    pub vanished: Option<(Instant, bool)>,
    /// Whether it is named although it has vanished.
    pub held: bool,
    pub comeback: Comeback,
}

impl Other {
    pub fn member(&self) -> &Member {
        self.said.as_ref().map_or(&self.kept, |(_, said)| &said.member)
    }

    /// Whether it has been heard for so long that what it finds of others, and others of it, is of now and not of a time
    /// when it was cut off.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.heard_since.is_some_and(|since| now.saturating_duration_since(since) >= SETTLED)
    }

    /// What it says since the start that is speaking.
    pub fn says(&self) -> Option<&Description> {
        self.said.as_ref().filter(|(boot, _)| self.hearing.speaking() == Some(*boot)).map(|(_, said)| said)
    }

    pub fn begin(kept: Member, now: Now) -> Self {
        let state = |says: &Readiness| State::begin(kept.draining, Some(says), now);
        let roles = kept.roles.iter().map(|(role, says)| (role.clone(), state(says))).collect();
        Self { known_since: now.instant, hearing: Hearing::default(), heard_since: None, said: None, kept, roles }
    }

    /// Takes over how it is enrolled, for as long as it has not said how it is. What is kept of its readiness stays.
    pub fn adapt(&mut self, enrolled: &Member) {
        let known = |role: &RoleName| self.kept.roles.get(role).cloned();
        let roles =
            enrolled.roles.iter().map(|(role, says)| (role.clone(), known(role).unwrap_or_else(|| says.clone())));
        let roles = roles.collect();
        let (load, version) = (self.kept.load, std::mem::take(&mut self.kept.version));
        self.kept = Member { roles, load, version, draining: self.kept.draining, ..enrolled.clone() };
    }

    /// As a member: as it says, but for the readiness, which is as it stands here.
    pub fn shown(&self) -> Member {
        let mut member = self.member().clone();
        let drains = member.draining;
        for (role, readiness) in &mut member.roles {
            *readiness = match self.roles.get(role).map(|state| &state.standing) {
                Some(RoleStanding { standing: Standing::Ready, .. }) | None => Readiness::Ready,
                Some(RoleStanding { standing: Standing::Draining, .. }) if drains => Readiness::Ready,
                Some(standing) => Readiness::NotReady(standing.why.clone()),
            };
        }
        member
    }
}

impl State {
    pub fn begin(draining: bool, says: Option<&Readiness>, now: Now) -> Self {
        let (standing, why) = judgement::said(draining, says.unwrap_or(&Readiness::Ready));
        let standing = RoleStanding { standing, why, since: now.wall };
        Self { standing, vanished: None, held: false, comeback: Comeback::default() }
    }

    /// Notes when it vanished, and that it is back.
    pub fn notice(&mut self, judged: &Judged, now: Instant) {
        if judged.verdict.is_vanished() {
            let was_named = self.standing.standing == Standing::Ready;
            self.vanished.get_or_insert((now, was_named));
        } else {
            self.vanished = None;
        }
    }

    pub fn looks(&self, judged: &Judged, window: Duration, now: Instant) -> Looks {
        match self.vanished {
            None if self.standing.standing == Standing::Ready && !judged.verdict.is_refusal() => Looks::Well,
            Some((since, true))
                if !judged.confirmed && (self.held || now.saturating_duration_since(since) <= window) =>
            {
                Looks::Vanished
            }
            _ => Looks::Out,
        }
    }

    /// Moves to where the verdict leads; `held` when this node suspects itself instead, `at_once` when it need not wait to
    /// come back.
    pub fn settle(&mut self, verdict: &Verdict, held: bool, at_once: bool, config: &Config, now: Now) {
        self.held = held;
        let named = self.standing.standing == Standing::Ready;
        let (standing, why) = match verdict {
            Verdict::AsKnown => return,
            Verdict::Unheard(why) | Verdict::OutOfReach(why) if held => (
                Standing::Ready,
                format!("{why}; named all the same: over half vanished at once, so this node suspects itself"),
            ),
            Verdict::Unheard(why) => (Standing::Unheard, why.clone()),
            Verdict::OutOfReach(why) => (Standing::NotReady, why.clone()),
            Verdict::Draining => (Standing::Draining, String::new()),
            Verdict::Refuses(why) => (Standing::NotReady, why.clone()),
            Verdict::Well => match self.comeback.well(now.instant) {
                Some(left) if !named && !at_once => {
                    let why = format!(
                        "it is back, and named again when it stays so for {:.0?}",
                        left.max(Duration::from_secs(1))
                    );
                    // It keeps the standing by which it went, so that this is one change and not two.
                    (self.standing.standing, why)
                }
                _ => (Standing::Ready, String::new()),
            },
        };
        if !matches!(verdict, Verdict::Well) {
            self.comeback.ill();
        }
        if verdict.is_vanished() && named && !held {
            self.comeback.leave(config, now.instant);
        }
        if standing != self.standing.standing {
            self.standing.since = now.wall;
        }
        self.standing.standing = standing;
        self.standing.why = why;
    }
}
