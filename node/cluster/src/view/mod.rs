//! One node's view of all: who may be named, decided from what is heard. Pure: no socket, no clock, no randomness; the
//! same is run on simulated time (`simulation`).
//!
//! Invariants (DESIGN.md, 5 and 6): the view is opinion; every enrolled node stands in it, dead or alive; what a node says
//! of itself goes as it says; quick to leave, slower to come back; when over half vanish at once, this node suspects
//! itself. Each decision is a function of its own: [`hearing`] (is it heard), [`reach`] (do the probes reach it),
//! [`suspicion`] (is it they, or is it us), [`comeback`] (may it be named again).

mod comeback;
mod hearing;
mod judgement;
mod other;
pub mod reach;
pub mod standing;
mod suspicion;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use estafeta_core::members::{Member, Members};
use estafeta_core::{NodeName, RoleName};

use crate::gossip::description::{Description, Unreached};
use crate::membership::Config;
use judgement::{Judged, Verdict};
use other::{Other, State};
use standing::{Change, NodeStanding, RoleStanding, Standing};
use suspicion::Looks;

/// When it is now: by the clock that never jumps, and by the one that people read.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For measuring.
    pub instant: Instant,
    /// For telling.
    pub wall: SystemTime,
}

/// The view of one node.
pub struct View {
    config: Config,
    own: NodeName,
    /// Since when this node takes gossip; nobody is judged before.
    listening: Option<Instant>,
    others: BTreeMap<NodeName, Other>,
    own_roles: BTreeMap<RoleName, RoleStanding>,
    looked: bool,
}

impl View {
    /// A view that begins with what was known before the restart.
    pub fn new(config: Config, own: NodeName, kept: &Members, now: Now) -> Self {
        let others = kept.iter().filter(|member| member.name != own);
        let others = others.map(|member| (member.name.clone(), Other::begin(member.clone(), now))).collect();
        Self { config, own, listening: None, others, own_roles: BTreeMap::new(), looked: false }
    }

    /// From now on this node takes gossip.
    pub fn listen(&mut self, now: Instant) {
        self.listening.get_or_insert(now);
    }

    /// Takes the heartbeat of a node that is enrolled.
    pub fn hear(&mut self, node: &NodeName, boot: u64, heartbeat: u64, now: Instant) {
        if let Some(other) = self.others.get_mut(node) {
            other.hearing.hear(boot, heartbeat, now);
        }
    }

    /// The start of a node that is speaking: what was said at other starts counts no more.
    pub fn speaking(&self, node: &NodeName) -> Option<u64> {
        self.others.get(node)?.hearing.speaking()
    }

    /// Takes what a node says since its start `boot`, once it is believed.
    pub fn describe(&mut self, node: &NodeName, boot: u64, said: Description) {
        if let Some(other) = self.others.get_mut(node) {
            other.said = Some((boot, said));
        }
    }

    /// This node was away for so long (stopped, or its machine was): what fell silent meanwhile did not.
    pub fn excuse(&mut self, away: Duration) {
        self.others.values_mut().for_each(|other| other.hearing.excuse(away));
        self.listening = self.listening.and_then(|since| since.checked_add(away));
    }

    /// The nodes whom this node hears now, itself included.
    fn heard(&self, now: Instant) -> BTreeSet<&NodeName> {
        let others = self.others.iter().filter(|(_, other)| other.hearing.is_heard(&self.config, now));
        others.map(|(name, _)| name).chain([&self.own]).collect()
    }

    /// Of whom this node has not heard for too long: what it tells the others.
    pub fn cannot_hear(&self, now: Instant) -> BTreeSet<NodeName> {
        let silent = self.others.iter().filter(|(_, other)| {
            !other.hearing.is_heard(&self.config, now)
                && (other.hearing.speaking().is_some() || self.is_over_patience(other, now))
        });
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Whom this node probes.
    pub fn probe_targets(&self, now: Instant) -> Vec<NodeName> {
        let heard = self.heard(now);
        let is_mine = |target: &&NodeName| {
            reach::probers(target, heard.iter().copied(), self.config.probers).contains(&&self.own)
        };
        self.others.keys().filter(is_mine).cloned().collect()
    }

    /// How long a node that was enrolled lately, or not heard of since this node started, may still be silent.
    fn is_over_patience(&self, other: &Other, now: Instant) -> bool {
        self.listening
            .is_some_and(|since| now.saturating_duration_since(since.max(other.known_since)) > self.config.patience())
    }

    /// Looks at everyone. `enrolled` is who counts, and how they are known while they have said nothing; `complaints` is
    /// whom this node itself cannot reach. Gives the others as members, and what has changed since the last look.
    pub fn look(
        &mut self,
        enrolled: &Members,
        own: &Member,
        complaints: &[Unreached],
        now: Now,
    ) -> (Members, Vec<Change>) {
        let mut changes = self.enrol(enrolled, now);
        for other in self.others.values_mut() {
            let is_heard = other.hearing.is_heard(&self.config, now.instant);
            other.heard_since = other.heard_since.or(Some(now.instant)).filter(|_| is_heard);
        }
        let judged = self.judge(complaints, now.instant);
        self.settle(judged, now, &mut changes);
        self.look_at_itself(own, now, &mut changes);
        self.looked = true;
        (Members::new(self.others.values().map(Other::shown).collect()), changes)
    }

    /// Takes over who is enrolled.
    fn enrol(&mut self, enrolled: &Members, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        let node = |node: &NodeName, from, to, why: &str| Change {
            at: now.wall,
            node: node.clone(),
            role: None,
            from,
            to,
            why: why.to_owned(),
        };
        self.others.retain(|name, _| {
            let stays = enrolled.get(name).is_some();
            if !stays && self.looked {
                changes.push(node(name, Standing::Ready, Standing::Removed, "it is not enrolled any more"));
            }
            stays
        });
        for member in enrolled.iter().filter(|member| member.name != self.own) {
            match self.others.get_mut(&member.name) {
                Some(other) => other.adapt(member),
                None => {
                    if self.looked {
                        changes.push(node(&member.name, Standing::Removed, Standing::Ready, "it was enrolled"));
                    }
                    self.others.insert(member.name.clone(), Other::begin(member.clone(), now));
                }
            }
        }
        changes
    }

    /// What is to be said of each role of each other node, were it for that one alone.
    fn judge(&self, complaints: &[Unreached], now: Instant) -> BTreeMap<(NodeName, RoleName), Judged> {
        let heard = self.heard(now);
        let complaints_of = |name: &NodeName| match self.others.get(name) {
            Some(other) if other.is_settled(now) => other.says().map(|said| said.cannot_reach.as_slice()),
            Some(_) => None,
            None => (name == &self.own).then_some(complaints),
        };
        let mut judged = BTreeMap::new();
        for (name, other) in &self.others {
            let probers = reach::probers(name, heard.iter().copied(), self.config.probers);
            let missing = heard.iter().filter_map(|heard| self.others.get(*heard)?.says());
            let missing = missing.filter(|said| said.cannot_hear.contains(name)).count();
            let gone = suspicion::is_confirmed(self.others.len() + 1, heard.len(), missing);
            for (role, says) in &other.member().roles {
                let verdict = if self.listening.is_none() {
                    Verdict::AsKnown
                } else if heard.contains(name) {
                    let reach =
                        reach::out_of_reach(name, role, &probers, complaints_of).filter(|_| other.is_settled(now));
                    judgement::heard(other.member().draining, says, reach, other.says().is_some())
                } else {
                    let drained = other.said.as_ref().is_some_and(|(_, said)| said.member.draining);
                    let silence = other.hearing.silence(now);
                    judgement::silent(drained, silence, self.is_over_patience(other, now))
                };
                // Out of reach is what several found; it is sure unless this node stands with the smaller part.
                let confirmed = match verdict {
                    Verdict::Unheard(_) => gone,
                    Verdict::OutOfReach(_) => heard.len() * 2 > self.others.len() + 1,
                    _ => false,
                };
                judged.insert((name.clone(), role.clone()), Judged { verdict, confirmed });
            }
        }
        judged
    }

    /// Decides from all verdicts together, and changes how each role stands.
    fn settle(&mut self, judged: BTreeMap<(NodeName, RoleName), Judged>, now: Now, changes: &mut Vec<Change>) {
        for other in self.others.values_mut() {
            let roles: Vec<RoleName> = other.member().roles.keys().cloned().collect();
            other.roles.retain(|role, _| roles.contains(role));
            for role in roles {
                let begin = State::begin(other.kept.draining, other.kept.roles.get(&role), now);
                other.roles.entry(role).or_insert(begin);
            }
        }
        let looks: BTreeMap<&(NodeName, RoleName), Looks> = judged
            .iter()
            .filter_map(|(key, judged)| {
                let state = self.others.get_mut(&key.0)?.roles.get_mut(&key.1)?;
                state.notice(judged, now.instant);
                Some((key, state.looks(judged, self.config.window(), now.instant)))
            })
            .collect();
        let mut by_role: BTreeMap<&RoleName, Vec<Looks>> = BTreeMap::new();
        looks.iter().for_each(|((_, role), looks)| by_role.entry(role).or_default().push(*looks));
        // This node itself is one of those that it can be sure of.
        for (role, standing) in &self.own_roles {
            if standing.standing == Standing::Ready {
                by_role.entry(role).or_default().push(Looks::Well);
            }
        }
        let suspects: BTreeSet<&RoleName> = by_role
            .iter()
            .filter(|(_, looks)| suspicion::suspects_itself(looks.iter().copied()))
            .map(|(role, _)| *role)
            .collect();
        let suspects_all = suspicion::suspects_itself(self.whole(&looks));
        // Slower to come back, but not while nobody else of the role is well.
        let wanted = |role: &RoleName| {
            let own = self.own_roles.get(role).is_some_and(|own| own.standing == Standing::Ready);
            let well = |((_, of), looks): (&&(NodeName, RoleName), &Looks)| of == role && *looks == Looks::Well;
            !own && !looks.iter().filter(|(key, _)| judged.get(**key).is_some_and(Judged::is_well)).any(well)
        };
        let wanted: BTreeSet<&RoleName> = by_role.keys().copied().filter(|role| wanted(role)).collect();
        for (key, judged) in &judged {
            let vanished = looks.get(key) == Some(&Looks::Vanished);
            let held = vanished && (suspects_all || suspects.contains(&key.1));
            let Some(state) = self.others.get_mut(&key.0).and_then(|other| other.roles.get_mut(&key.1)) else {
                continue;
            };
            let from = state.standing.standing;
            let at_once = wanted.contains(&key.1);
            state.settle(&judged.verdict, held, at_once, &self.config, now);
            if state.standing.standing != from {
                changes.push(Change {
                    at: now.wall,
                    node: key.0.clone(),
                    role: Some(key.1.clone()),
                    from,
                    to: state.standing.standing,
                    why: state.standing.why.clone(),
                });
            }
        }
    }

    /// How each node as a whole looks: vanished when a role of it has.
    fn whole<'a>(&self, looks: &BTreeMap<&'a (NodeName, RoleName), Looks>) -> impl Iterator<Item = Looks> + use<'a> {
        let mut nodes: BTreeMap<&NodeName, Looks> = BTreeMap::new();
        for ((name, _), looks) in looks {
            let node = nodes.entry(name).or_insert(Looks::Out);
            if *node == Looks::Out || *looks == Looks::Vanished {
                *node = *looks;
            }
        }
        nodes.into_values().chain([Looks::Well])
    }

    /// How this node's own roles stand, as it says: for the log and `cluster status`.
    fn look_at_itself(&mut self, own: &Member, now: Now, changes: &mut Vec<Change>) {
        self.own_roles.retain(|role, _| own.roles.contains_key(role));
        for (role, says) in &own.roles {
            let (standing, why) = judgement::said(own.draining, says);
            let fresh = RoleStanding { standing, why, since: now.wall };
            match self.own_roles.get_mut(role) {
                Some(known) if known.standing == standing => known.why = fresh.why,
                Some(known) => {
                    let (node, role) = (own.name.clone(), Some(role.clone()));
                    let (from, to, why) = (known.standing, standing, fresh.why.clone());
                    changes.push(Change { at: now.wall, node, role, from, to, why });
                    *known = fresh;
                }
                None => {
                    self.own_roles.insert(role.clone(), fresh);
                }
            }
        }
    }

    /// How long another node has been silent.
    #[cfg(test)]
    pub fn silence(&self, node: &NodeName, now: Instant) -> Option<Duration> {
        self.others.get(node)?.hearing.silence(now)
    }

    /// How everyone stands, this node first.
    pub fn standings(&self, own: &Member, now: Instant) -> Vec<NodeStanding> {
        let mut own = NodeStanding::of(own, true, None);
        own.roles.clone_from(&self.own_roles);
        let others = self.others.values().map(|other| {
            let silence =
                other.hearing.silence(now).map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
            let mut standing = NodeStanding::of(other.member(), false, silence);
            standing.roles = other.roles.iter().map(|(role, state)| (role.clone(), state.standing.clone())).collect();
            standing
        });
        std::iter::once(own).chain(others).collect()
    }
}

#[cfg(test)]
mod tests;
