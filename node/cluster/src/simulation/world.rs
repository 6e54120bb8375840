//! Nodes on simulated network and time: what they decide is the real code ([`crate::view`], [`Members::candidates`]); how
//! gossip spreads is modelled as chitchat does it: a heartbeat and a description for each start of each node, exchanged
//! with three others at a time, the newest wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use estafeta_core::members::{Endpoint, Member, Members, Readiness};
use estafeta_core::{NodeName, RoleName, ServiceName};

use crate::gossip::description::{Description, Unreached};
use crate::membership::Config;
use crate::view::{Now, View};

/// How long a step of the world is.
pub const STEP: Duration = Duration::from_millis(100);

/// The service of each role by which the simulation asks for candidates.
pub const ROLES: [(RoleName, ServiceName); 3] = [
    (RoleName::EDGE, ServiceName::fixed("smtp")),
    (RoleName::ACCESS, ServiceName::fixed("imaps")),
    (RoleName::DNS, ServiceName::fixed("dns")),
];

/// What gossip carries: for each start of each node its heartbeat and what it says.
type Gossip = BTreeMap<(usize, u64), (u64, Option<Arc<Description>>)>;

/// One node.
pub struct Node {
    pub name: NodeName,
    pub up: bool,
    pub frozen: bool,
    /// Its clock is so wrong that nothing of it is taken.
    pub skewed: bool,
    pub own: Member,
    /// Whether its services answer a probe.
    pub serves: bool,
    pub view: View,
    pub members: Members,
    boot: u64,
    heartbeat: u64,
    sequence: u64,
    gossip: Gossip,
    complaints: Vec<Unreached>,
    last_step: Instant,
    said: Option<Description>,
    /// Which words of which start of each node it took in last.
    taken: BTreeMap<usize, (u64, u64)>,
}

/// A letter on its way.
struct Letter {
    at: Instant,
    from: usize,
    to: usize,
    gossip: Arc<Gossip>,
    answer: bool,
}

/// Everything.
pub struct World {
    pub random: fastrand::Rng,
    pub config: Config,
    pub now: Instant,
    pub begin: Instant,
    pub nodes: Vec<Node>,
    names: Vec<NodeName>,
    pub enrolled: Members,
    /// Directions that are cut.
    pub cut: BTreeSet<(usize, usize)>,
    /// The part of the letters that is lost, in hundredths.
    pub loss: u32,
    letters: Vec<Letter>,
    starts: u64,
    pub story: Vec<String>,
}

fn member(number: usize, roles: &[usize]) -> Member {
    let name: NodeName = format!("n{number}").parse().unwrap();
    let mut member = Member::named(name);
    for (role, service) in roles.iter().map(|role| ROLES[*role].clone()) {
        member.roles.insert(role.clone(), Readiness::Ready);
        let address = format!("127.0.0.{}:25", number + 1).parse().unwrap();
        member.endpoints.push(Endpoint { role, service, address });
    }
    member
}

impl World {
    /// So many nodes, each with one or two roles.
    pub fn new(seed: u64, count: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let begin = Instant::now();
        let config = Config::default();
        let members: Vec<Member> = (0..count)
            .map(|number| {
                let second = (number + random.usize(1..3)) % 3;
                let roles = if random.u8(..4) == 0 { vec![number % 3, second] } else { vec![number % 3] };
                member(number, &roles)
            })
            .collect();
        let enrolled = Members::new(members.clone());
        let mut world = Self {
            random,
            config,
            now: begin,
            begin,
            nodes: Vec::new(),
            names: members.iter().map(|member| member.name.clone()).collect(),
            enrolled,
            cut: BTreeSet::new(),
            loss: 0,
            letters: Vec::new(),
            starts: 0,
            story: Vec::new(),
        };
        for own in members {
            let node = world.born(own, &Members::default());
            world.nodes.push(node);
        }
        world
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + (self.now - self.begin)
    }

    fn born(&mut self, own: Member, kept: &Members) -> Node {
        // A clock may be set back between two starts, but not so that it shows the same instant.
        self.starts += 1;
        let boot = (1000 + self.starts).saturating_add_signed(self.random.i64(-20..20)) * 1000 + self.starts;
        let now = Now { instant: self.now, wall: self.wall() };
        let mut view = View::new(self.config.clone(), own.name.clone(), kept, now);
        view.listen(self.now);
        let (members, _) = view.look(&self.enrolled, &own, &[], now);
        Node {
            name: own.name.clone(),
            up: true,
            frozen: false,
            skewed: false,
            own,
            serves: true,
            view,
            members,
            boot,
            heartbeat: 1,
            sequence: 0,
            gossip: Gossip::new(),
            complaints: Vec::new(),
            last_step: self.now,
            said: None,
            taken: BTreeMap::new(),
        }
    }

    /// Starts a node that was killed, with what it had kept of the members.
    pub fn restart(&mut self, number: usize) {
        let (own, kept) = (self.nodes[number].own.clone(), self.nodes[number].members.clone());
        self.nodes[number] = self.born(own, &kept);
    }

    pub fn tell(&mut self, what: String) {
        let at = (self.now - self.begin).as_secs_f64();
        self.story.push(format!("{at:6.1} {what}"));
    }

    /// Whether a packet from one node comes to another.
    fn passes(&self, from: usize, to: usize) -> bool {
        let skewed = self.nodes[from].skewed != self.nodes[to].skewed;
        !self.cut.contains(&(from, to)) && !skewed && self.nodes[from].up && self.nodes[to].up
    }

    /// Whether a question from one node to another is answered.
    fn answers(&self, from: usize, to: usize) -> bool {
        let there_and_back = !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from));
        there_and_back && self.nodes[to].up && !self.nodes[to].frozen && self.nodes[to].serves
    }

    /// One step of time.
    pub fn step(&mut self) {
        self.now += STEP;
        self.deliver();
        for number in 0..self.nodes.len() {
            if self.nodes[number].up && !self.nodes[number].frozen {
                self.live(number);
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.letters).into_iter().partition(|letter| letter.at <= now);
        self.letters = later;
        due.sort_by_key(|letter| letter.at);
        for letter in due {
            if !self.passes(letter.from, letter.to) {
                continue;
            }
            if self.nodes[letter.to].frozen {
                // It waits in the socket's buffer.
                self.letters.push(letter);
                continue;
            }
            let node = &mut self.nodes[letter.to];
            for (key, (heartbeat, said)) in letter.gossip.iter() {
                let known = node.gossip.entry(*key).or_insert((0, None));
                known.0 = known.0.max(*heartbeat);
                let newer =
                    |said: &&Arc<Description>| known.1.as_ref().is_none_or(|known| known.sequence < said.sequence);
                if let Some(said) = said.as_ref().filter(newer) {
                    known.1 = Some(said.clone());
                }
            }
            if letter.answer {
                self.post(letter.to, letter.from, false);
            }
        }
    }

    fn post(&mut self, from: usize, to: usize, answer: bool) {
        if self.random.u32(..100) >= self.loss {
            let gossip = Arc::new(self.nodes[from].gossip.clone());
            let at = self.now + Duration::from_millis(self.random.u64(1..90));
            self.letters.push(Letter { at, from, to, gossip, answer });
        }
    }

    fn live(&mut self, number: usize) {
        let now = Now { instant: self.now, wall: self.wall() };
        let away = self.now - self.nodes[number].last_step;
        if away > Duration::from_millis(600) {
            self.nodes[number].view.excuse(away - STEP);
        }
        self.nodes[number].last_step = self.now;
        let tick = (self.now - self.begin).as_millis() / STEP.as_millis();
        if tick.is_multiple_of(10) {
            self.probe(number);
        }
        self.speak(number);
        if (tick + number as u128).is_multiple_of(2) {
            for _ in 0..3 {
                let to = self.random.usize(..self.nodes.len());
                if to != number {
                    self.post(number, to, true);
                }
            }
        }
        let Self { nodes, names, enrolled, story, begin, .. } = self;
        let node = &mut nodes[number];
        for ((of, boot), (heartbeat, said)) in &node.gossip {
            if *of == number {
                continue;
            }
            node.view.hear(&names[*of], *boot, *heartbeat, now.instant);
            if node.view.speaking(&names[*of]) == Some(*boot)
                && let Some(said) = said
                && node.taken.insert(*of, (*boot, said.sequence)) != Some((*boot, said.sequence))
            {
                node.view.describe(&names[*of], *boot, Description::clone(said));
            }
        }
        let (members, changes) = node.view.look(enrolled, &node.own, &node.complaints, now);
        node.members = members;
        for change in changes {
            story.push(format!(
                "{:6.1} {} sees {} {} from {} to {}: {}",
                (now.instant - *begin).as_secs_f64(),
                node.name,
                change.node,
                change.role.as_ref().map_or("-", |role| role.as_str()),
                change.from.as_str(),
                change.to.as_str(),
                change.why
            ));
        }
    }

    fn probe(&mut self, number: usize) {
        let targets = self.nodes[number].view.probe_targets(self.now);
        let mut complaints = Vec::new();
        for (at, target) in self.nodes.iter().enumerate() {
            if targets.contains(&target.name) && !self.answers(number, at) {
                let complaint = |role: &RoleName| Unreached {
                    node: target.name.clone(),
                    role: role.clone(),
                    why: "no answer".into(),
                };
                complaints.extend(target.own.roles.keys().map(complaint));
            }
        }
        self.nodes[number].complaints = complaints;
    }

    fn speak(&mut self, number: usize) {
        let now = self.now;
        let node = &mut self.nodes[number];
        node.heartbeat += 1;
        let mut said = Description {
            sequence: node.sequence,
            member: node.own.clone(),
            cannot_reach: node.complaints.clone(),
            cannot_hear: node.view.cannot_hear(now),
        };
        if node.said.as_ref() != Some(&said) {
            node.sequence += 1;
            said.sequence = node.sequence;
            node.said = Some(said.clone());
            node.gossip.insert((number, node.boot), (node.heartbeat, Some(Arc::new(said))));
        } else if let Some(entry) = node.gossip.get_mut(&(number, node.boot)) {
            entry.0 = node.heartbeat;
        }
        // Only the last starts of each node are remembered.
        if node.gossip.len() > 6 * 12 {
            node.gossip.retain(|_, (heartbeat, _)| *heartbeat > 1);
        }
    }

    /// Whom a node names for each role, itself included.
    pub fn named(&self, number: usize) -> Vec<BTreeSet<NodeName>> {
        let node = &self.nodes[number];
        let all = Members::new(node.members.iter().chain([&node.own]).cloned().collect());
        let named = |service| all.candidates(service, None).into_iter().map(|candidate| candidate.node).collect();
        ROLES.iter().map(|(_, service)| named(service)).collect()
    }

    /// Whether a node can serve a role, in truth.
    pub fn is_well(&self, number: usize, role: &RoleName) -> bool {
        let node = &self.nodes[number];
        node.up && !node.frozen && node.serves && node.own.is_ready(role)
    }

    /// Whom a node knows to be ready for a role: it heard them within the longest silence (`doubtful`), and their newest
    /// words that are here say so; or it heard them within the shortest, and nobody complains of them.
    pub fn known_ready(&self, number: usize, role: &RoleName, doubtful: bool) -> BTreeSet<NodeName> {
        let node = &self.nodes[number];
        let complained = |name: &NodeName| {
            let others = node.gossip.values().filter_map(|(_, said)| said.as_ref());
            others.flat_map(|said| &said.cannot_reach).chain(&node.complaints).any(|complaint| &complaint.node == name)
        };
        let silence = if doubtful { self.config.silence_longest_ms } else { self.config.silence_shortest_ms };
        let is_known = |of: usize, name: &NodeName| {
            let said = node.view.speaking(name).and_then(|boot| node.gossip.get(&(of, boot))?.1.as_ref());
            node.view.silence(name, self.now).is_some_and(|silent| silent <= Duration::from_millis(silence))
                && said.is_some_and(|said| said.member.is_ready(role))
                && (doubtful || !complained(name))
        };
        let others = self.nodes.iter().enumerate().filter(|(of, other)| *of != number && is_known(*of, &other.name));
        others.map(|(_, other)| other.name.clone()).chain(node.own.is_ready(role).then(|| node.name.clone())).collect()
    }
}
