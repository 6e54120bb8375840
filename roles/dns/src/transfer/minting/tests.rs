//! Single decisions, and a seeded simulation: nodes with wrong views of each other, partitions, lost messages, crashes at
//! any step, clocks that are days apart and jump.

use std::collections::HashMap;

use super::super::version::Digest;
use super::*;

fn node(index: usize) -> NodeName {
    format!("dns{index}").parse().unwrap()
}

fn nodes(indices: impl IntoIterator<Item = usize>) -> BTreeSet<NodeName> {
    indices.into_iter().map(node).collect()
}

fn mark(serial: u32, content: u64) -> Mark {
    Mark { serial, digest: Digest::of(&[serial.to_be_bytes().as_slice(), &content.to_be_bytes()].concat()) }
}

fn electorate(enrolled: usize, ready: impl IntoIterator<Item = usize>) -> Electorate {
    Electorate { enrolled: nodes(0..enrolled), ready: nodes(ready) }
}

struct Told {
    own: usize,
    electorate: Electorate,
    held: Option<Mark>,
    shown: Option<Mark>,
    others: Vec<(usize, Option<Mark>)>,
    is_due: bool,
}

fn decided(told: Told) -> Option<Action> {
    let (own, others) = (node(told.own), told.others.into_iter().map(|(index, mark)| (node(index), mark)).collect());
    decide(&Situation {
        own: &own,
        electorate: &told.electorate,
        held: told.held,
        shown: told.shown,
        others: &others,
        is_due: told.is_due,
        now_seconds: 1000,
    })
}

#[test]
fn more_than_half_or_half_with_the_lowest_is_enough() {
    let quorum = |enrolled, ready: &[usize]| electorate(enrolled, []).is_quorum(&nodes(ready.iter().copied()));
    assert!(quorum(1, &[0]) && quorum(2, &[0]) && !quorum(2, &[1]));
    assert!(quorum(3, &[1, 2]) && !quorum(3, &[0]));
    assert!(quorum(4, &[0, 3]) && !quorum(4, &[1, 2]) && !quorum(0, &[1]));
    assert!(electorate(3, [1, 2]).is_minter(&node(1)) && !electorate(3, [1, 2]).is_minter(&node(2)));
    assert!(!electorate(3, [0]).is_minter(&node(0)));
}

#[test]
fn a_single_node_mints_and_shows() {
    let alone =
        |held, shown, is_due| Told { own: 0, electorate: electorate(1, [0]), held, shown, others: vec![], is_due };
    assert_eq!(decided(alone(None, None, true)), Some(Action::Mint(1000)));
    assert_eq!(decided(alone(Some(mark(1000, 1)), None, false)), Some(Action::Show));
    assert_eq!(decided(alone(Some(mark(1000, 1)), Some(mark(1000, 1)), true)), Some(Action::Mint(1001)));
    assert_eq!(decided(alone(Some(mark(1000, 1)), Some(mark(1000, 1)), false)), None);
    assert_eq!(decided(alone(Some(mark(900, 1)), Some(mark(900, 1)), true)), Some(Action::Mint(1000)));
}

#[test]
fn the_others_take_over_and_all_show_when_all_hold() {
    let (old, new) = (Some(mark(900, 1)), Some(mark(950, 2)));
    let told =
        |own, held, others| Told { own, electorate: electorate(3, [0, 1, 2]), held, shown: old, others, is_due: true };
    assert_eq!(decided(told(1, old, vec![(0, new), (2, old)])), Some(Action::TakeOver(node(0))));
    assert_eq!(decided(told(0, new, vec![(1, new), (2, old)])), None, "one is behind, and nothing new is minted");
    assert_eq!(decided(told(0, new, vec![(1, new), (2, new)])), Some(Action::Show));
    assert_eq!(decided(told(0, new, vec![(1, new)])), None, "one has not been heard");
}

#[test]
fn who_does_not_know_what_the_others_hold_mints_nothing() {
    let told =
        |others| Told { own: 0, electorate: electorate(3, [0, 1]), held: None, shown: None, others, is_due: true };
    assert_eq!(decided(told(vec![])), None);
    assert_eq!(decided(told(vec![(1, None)])), Some(Action::Mint(1000)));
}

#[test]
fn one_number_with_two_contents_is_left_behind() {
    let told = |own| Told {
        own,
        electorate: electorate(2, [0, 1]),
        held: Some(mark(950, own as u64)),
        shown: None,
        others: vec![(1 - own, Some(mark(950, 1 - own as u64)))],
        is_due: false,
    };
    assert_eq!((decided(told(0)), decided(told(1))), (Some(Action::Mint(1000)), None));
}

#[test]
fn what_hinders_is_said() {
    let said = |electorate, others: Vec<(usize, Option<Mark>)>| {
        let others = others.into_iter().map(|(index, mark)| (node(index), mark)).collect();
        obstacle(&Situation {
            own: &node(0),
            electorate: &electorate,
            held: Some(mark(9, 1)),
            shown: None,
            others: &others,
            is_due: false,
            now_seconds: 1000,
        })
    };
    assert!(said(electorate(3, [0]), vec![]).contains("1 of 3"));
    assert!(said(electorate(3, [0, 1]), vec![]).starts_with("dns1 cannot be asked"));
    assert!(said(electorate(3, [0, 1]), vec![(1, None)]).starts_with("dns1 does not take over"));
}

/// One node of the simulation: what is on its disk survives it, the rest does not.
#[derive(Default)]
struct Simulated {
    held: Option<(Mark, u64)>,
    shown: Option<Mark>,
    heard: BTreeMap<NodeName, Option<Mark>>,
    ready: BTreeSet<NodeName>,
    content: u64,
    clock_skew_seconds: i64,
}

struct World {
    random: fastrand::Rng,
    nodes: Vec<Simulated>,
    /// Which part of the network each node is in.
    part: Vec<usize>,
    now_seconds: u64,
    content: u64,
    /// Everything that was ever shown: the one content of each serial number.
    ever: HashMap<u32, Mark>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(1..=5);
        let day = 86_400;
        let nodes: Vec<Simulated> = (0..count)
            .map(|_| Simulated { clock_skew_seconds: random.i64(-3 * day..3 * day), ..Default::default() })
            .collect();
        Self { random, part: vec![0; nodes.len()], nodes, now_seconds: 1_800_000_000, content: 0, ever: HashMap::new() }
    }

    fn enrolled(&self) -> BTreeSet<NodeName> {
        nodes(0..self.nodes.len())
    }

    /// What goes wrong, or merely happens.
    fn disturb(&mut self) {
        let index = self.random.usize(0..self.nodes.len());
        match self.random.u8(0..12) {
            // The content changes; who has heard of it is another matter.
            0 | 1 => self.content += 1,
            2 => self.part = (0..self.nodes.len()).map(|_| self.random.usize(0..2)).collect(),
            3 => self.part = vec![0; self.nodes.len()],
            4 => self.nodes[index].clock_skew_seconds = self.random.i64(-300_000..300_000),
            // A crash: what it had heard is gone, what it held is not.
            5 => self.nodes[index].heard.clear(),
            6 => self.nodes[index].content = self.random.u64(0..=self.content),
            // A view of the others that is simply wrong.
            7 => self.nodes[index].ready = nodes((0..self.nodes.len()).filter(|_| self.random.bool())),
            _ => {
                let part = self.part[index];
                self.nodes[index].ready = nodes((0..self.nodes.len()).filter(|other| self.part[*other] == part));
                self.nodes[index].content = self.content;
            }
        }
    }

    /// One node hears another, or not, and does the next thing.
    fn step(&mut self, index: usize) {
        let other = self.random.usize(0..self.nodes.len());
        if other != index && self.part[other] == self.part[index] && self.random.u8(0..10) > 0 {
            let held = self.nodes[other].held.map(|(mark, _)| mark);
            self.nodes[index].heard.insert(node(other), held);
        }
        let clock = self.now_seconds.saturating_add_signed(self.nodes[index].clock_skew_seconds);
        let electorate = Electorate { enrolled: self.enrolled(), ready: self.nodes[index].ready.clone() };
        let (own, one) = (node(index), &self.nodes[index]);
        let action = decide(&Situation {
            own: &own,
            electorate: &electorate,
            held: one.held.map(|(mark, _)| mark),
            shown: one.shown,
            others: &one.heard,
            is_due: one.held.is_none_or(|(_, content)| content != one.content),
            now_seconds: clock,
        });
        // A crash between the decision and the disk.
        if self.random.u8(0..20) == 0 {
            return;
        }
        match action {
            Some(Action::Mint(serial)) => {
                let content = self.nodes[index].content;
                // Two mints of one content are two contents: signatures differ.
                self.hold(index, mark(serial, content << 8 | index as u64), content);
            }
            Some(Action::TakeOver(from)) => {
                let from = (0..self.nodes.len()).find(|other| node(*other) == from).unwrap();
                if self.part[from] == self.part[index]
                    && let Some((theirs, content)) = self.nodes[from].held
                {
                    self.nodes[index].heard.insert(node(from), Some(theirs));
                    if self.nodes[index].held.is_none_or(|(held, _)| theirs.is_after(held.serial)) {
                        self.hold(index, theirs, content);
                    }
                }
            }
            Some(Action::Show) => self.show(index),
            None => {}
        }
    }

    fn hold(&mut self, index: usize, new: Mark, content: u64) {
        let before = self.nodes[index].held;
        assert!(before.is_none_or(|(held, _)| new.is_after(held.serial)), "{index}: {before:?} then {new}");
        self.nodes[index].held = Some((new, content));
    }

    fn show(&mut self, index: usize) {
        let (new, _) = self.nodes[index].held.unwrap();
        let before = self.nodes[index].shown;
        assert!(before.is_none_or(|shown| new.is_after(shown.serial)), "{index} went back: {before:?} then {new}");
        assert_eq!(*self.ever.entry(new.serial).or_insert(new), new, "one serial number, two contents");
        self.nodes[index].shown = Some(new);
    }

    /// Everything is mended: every node sees every other and the newest content.
    fn heal(&mut self) {
        self.part = vec![0; self.nodes.len()];
        let all = self.enrolled();
        for one in &mut self.nodes {
            (one.ready, one.content) = (all.clone(), self.content);
        }
    }
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    world.heal();
    for _ in 0..400 {
        world.now_seconds += world.random.u64(0..3);
        if world.random.u8(0..4) == 0 {
            world.disturb();
        }
        let index = world.random.usize(0..world.nodes.len());
        world.step(index);
    }
    world.heal();
    for _ in 0..600 {
        let index = world.random.usize(0..world.nodes.len());
        world.step(index);
    }
    let first = world.nodes[0].shown;
    for (index, one) in world.nodes.iter().enumerate() {
        assert!(one.shown.is_some() && one.shown == first, "{index} shows {:?}, the first {first:?}", one.shown);
        assert_eq!(one.held.map(|(_, content)| content), Some(world.content), "{index} does not hold the newest");
    }
}

#[test]
fn whatever_happens_a_serial_number_names_one_content_and_never_goes_back() {
    let seeds: Vec<u64> = match std::env::var("ESTAFETA_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) if std::env::var_os("ESTAFETA_LONG").is_some() => (0..20_000).collect(),
        Err(_) => (0..1500).collect(),
    };
    for seed in seeds {
        let simulated = std::panic::catch_unwind(|| simulate(seed));
        assert!(simulated.is_ok(), "replay it with ESTAFETA_SEED={seed}");
    }
}
