//! What one node decides, told by hand; the simulation tells the rest.

use super::*;
use estafeta_core::ServiceName;
use estafeta_core::members::{Endpoint, Readiness};

const STEP: Duration = Duration::from_millis(100);

struct Scene {
    view: View,
    enrolled: Members,
    own: Member,
    now: Now,
    beats: BTreeMap<NodeName, u64>,
    changes: Vec<Change>,
    members: Members,
}

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn member(node: &str, role: &RoleName) -> Member {
    let address = "127.0.0.1:25".parse().unwrap();
    let endpoint = Endpoint { role: role.clone(), service: ServiceName::fixed("smtp"), address };
    Member { roles: [(role.clone(), Readiness::Ready)].into(), endpoints: vec![endpoint], ..Member::named(name(node)) }
}

impl Scene {
    /// `own` is "me", a name server; the others are edge nodes.
    fn new(others: &[&str], kept: &Members) -> Self {
        let own = member("me", &RoleName::DNS);
        let members = others.iter().map(|other| member(other, &RoleName::EDGE)).chain([own.clone()]).collect();
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let view = View::new(Config::default(), name("me"), kept, now);
        let enrolled = Members::new(members);
        let mut scene =
            Self { view, enrolled, own, now, beats: BTreeMap::new(), changes: Vec::new(), members: Members::default() };
        scene.look();
        scene
    }

    fn look(&mut self) {
        let (members, changes) = self.view.look(&self.enrolled, &self.own, &[], self.now);
        self.members = members;
        self.changes.extend(changes);
    }

    /// Lets time pass while these speak.
    fn pass(&mut self, ms: u64, speaking: &[&str]) {
        for _ in 0..ms / 100 {
            self.now.instant += STEP;
            self.now.wall += STEP;
            for node in speaking {
                let beat = self.beats.entry(name(node)).or_insert(1);
                *beat += 1;
                self.view.hear(&name(node), 7, *beat, self.now.instant);
            }
            self.look();
        }
    }

    fn say(&mut self, node: &str, change: impl FnOnce(&mut Description)) {
        let member = self.enrolled.get(&name(node)).unwrap().clone();
        let mut said = Description { sequence: 1, member, cannot_reach: Vec::new(), cannot_hear: BTreeSet::new() };
        change(&mut said);
        self.view.describe(&name(node), 7, said);
    }

    fn begin(others: &[&str]) -> Self {
        let mut scene = Self::new(others, &Members::default());
        scene.view.listen(scene.now.instant);
        scene.pass(1000, others);
        others.iter().for_each(|other| scene.say(other, |_| {}));
        scene.pass(1000, others);
        scene
    }

    fn ready(&self) -> Vec<&str> {
        let ready = self.members.iter().filter(|member| member.is_ready(&RoleName::EDGE));
        ready.map(|member| member.name.as_str()).collect()
    }

    fn why(&self, node: &str) -> String {
        let standings = self.view.standings(&self.own, self.now.instant);
        let standing = standings.into_iter().find(|standing| standing.node == name(node)).unwrap();
        standing.roles[&RoleName::EDGE].why.clone()
    }
}

#[test]
fn nobody_is_judged_without_gossip_and_with_it_only_after_some_patience() {
    let mut scene = Scene::new(&["a", "b", "c"], &Members::default());
    scene.pass(60_000, &[]);
    assert_eq!(scene.ready(), ["a", "b", "c"]);
    scene.view.listen(scene.now.instant);
    scene.pass(9900, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b", "c"]);
    scene.pass(500, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b"]);
    assert_eq!(scene.why("c"), "not heard of since this node started");
}

#[test]
fn what_was_kept_stands_until_it_is_heard() {
    let mut down = member("a", &RoleName::EDGE);
    down.roles.insert(RoleName::EDGE, Readiness::NotReady("its disk is full".into()));
    let kept = Members::new(vec![down, member("b", &RoleName::EDGE), member("gone", &RoleName::EDGE)]);
    let mut scene = Scene::new(&["a", "b"], &kept);
    assert_eq!(scene.ready(), ["b"]);
    assert_eq!(scene.members.iter().count(), 2);
    scene.view.listen(scene.now.instant);
    scene.pass(1000, &["a", "b"]);
    assert_eq!((scene.ready(), scene.why("a")), (vec!["b"], "its disk is full".to_owned()));
    scene.say("a", |_| {});
    scene.pass(100, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b"]);
}

#[test]
fn who_falls_silent_goes_soon_and_comes_back_slower_each_time() {
    let others = ["a", "b", "c"];
    let mut scene = Scene::begin(&others);
    assert!(scene.changes.is_empty(), "{:?}", scene.changes);
    scene.pass(1000, &["a", "b"]);
    assert_eq!(scene.ready(), others);
    scene.pass(200, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b"]);
    let change = &scene.changes[0];
    assert_eq!(
        (change.from, change.to, change.why.as_str()),
        (Standing::Ready, Standing::Unheard, "not heard of for 1.1 s")
    );
    scene.pass(1900, &others);
    assert_eq!(scene.ready(), ["a", "b"]);
    assert!(scene.why("c").starts_with("it is back, and named again"), "{}", scene.why("c"));
    scene.pass(300, &others);
    assert_eq!(scene.ready(), others);
    assert_eq!(scene.changes.len(), 2);
    // Two minutes of flapping.
    for _ in 0..24 {
        scene.pass(2000, &["a", "b"]);
        scene.pass(3000, &others);
    }
    let comebacks = scene.changes.iter().filter(|change| change.to == Standing::Ready).count();
    assert!((2..=4).contains(&comebacks), "{comebacks}");
}

#[test]
fn the_only_one_that_is_well_need_not_wait() {
    let mut scene = Scene::begin(&["a", "b", "c"]);
    scene.pass(1500, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b"]);
    scene.pass(200, &["a", "b", "c"]);
    for other in ["a", "b"] {
        scene.say(other, |said| said.member.draining = true);
    }
    scene.pass(100, &["a", "b", "c"]);
    assert_eq!(scene.ready(), ["c"]);
}

#[test]
fn what_a_node_says_of_itself_goes_at_once_both_ways() {
    let others = ["a", "b"];
    let mut scene = Scene::begin(&others);
    scene.say("a", |said| said.member.draining = true);
    scene.say("b", |said| {
        said.member.roles.insert(RoleName::EDGE, Readiness::NotReady("queue full".into()));
    });
    scene.pass(100, &others);
    assert!(scene.ready().is_empty());
    assert_eq!(scene.why("b"), "queue full");
    let shown = scene.members.get(&name("b")).unwrap();
    assert_eq!(shown.roles[&RoleName::EDGE], Readiness::NotReady("queue full".into()));
    others.iter().for_each(|other| scene.say(other, |_| {}));
    scene.pass(100, &others);
    assert_eq!(scene.ready(), others);
    // Whoever drained has stopped, and has not vanished.
    scene.say("a", |said| said.member.draining = true);
    scene.pass(3000, &["b"]);
    assert_eq!(scene.changes.last().unwrap().to, Standing::Draining);
}

#[test]
fn when_over_half_vanish_this_node_suspects_itself_until_others_confirm_it() {
    let others = ["a", "b", "c", "d"];
    let mut scene = Scene::begin(&others);
    scene.pass(5000, &["a"]);
    assert_eq!(scene.ready(), others);
    assert!(scene.why("b").contains("this node suspects itself"), "{}", scene.why("b"));
    // It hears two of five: whatever that one says, they may be the smaller part.
    scene.say("a", |said| said.cannot_hear = ["b", "c", "d"].map(name).into());
    scene.pass(1000, &["a"]);
    assert_eq!(scene.ready(), others);
    // Half is back: whoever is still missing is gone.
    scene.pass(300, &["a", "b"]);
    assert_eq!(scene.ready(), ["a", "b"]);
}

#[test]
fn what_most_of_those_who_are_heard_miss_is_gone() {
    let mut scene = Scene::new(&["a", "b", "x"], &Members::default());
    let enrolled = ["a", "b"].map(|node| member(node, &RoleName::ACCESS));
    scene.enrolled =
        Members::new(enrolled.into_iter().chain([member("x", &RoleName::EDGE), scene.own.clone()]).collect());
    scene.view = View::new(Config::default(), name("me"), &Members::default(), scene.now);
    scene.view.listen(scene.now.instant);
    let all = ["a", "b", "x"];
    scene.pass(500, &all);
    all.iter().for_each(|other| scene.say(other, |_| {}));
    scene.pass(1000, &all);
    scene.pass(3000, &["a", "b"]);
    assert_eq!(scene.ready(), ["x"], "the only one of its role");
    scene.say("a", |said| said.cannot_hear = [name("x")].into());
    scene.pass(100, &["a", "b"]);
    assert_eq!(scene.ready(), ["x"], "one of two does not miss it");
    scene.say("b", |said| said.cannot_hear = [name("x")].into());
    scene.pass(100, &["a", "b"]);
    assert!(scene.ready().is_empty());
}

#[test]
fn one_that_gossips_and_cannot_be_reached_is_found() {
    let others = ["a", "b", "c", "d"];
    let mut scene = Scene::begin(&others);
    scene.pass(1500, &others);
    let complaint = Unreached { node: name("a"), role: RoleName::EDGE, why: "no greeting".into() };
    for other in ["b", "c", "d"] {
        scene.say(other, |said| said.cannot_reach = vec![complaint.clone()]);
    }
    scene.pass(100, &others);
    assert_eq!(scene.ready(), ["b", "c", "d"]);
    assert!(scene.why("a").starts_with("cannot be reached by ") && scene.why("a").ends_with(": no greeting"));
    others.iter().for_each(|other| scene.say(other, |_| {}));
    scene.pass(1900, &others);
    assert_eq!(scene.ready(), ["b", "c", "d"]);
    scene.pass(300, &others);
    assert_eq!(scene.ready(), others);
}

#[test]
fn whoever_was_away_itself_judges_nobody_by_it() {
    let others = ["a", "b", "c"];
    let mut scene = Scene::begin(&others);
    scene.now.instant += Duration::from_secs(60);
    scene.view.excuse(Duration::from_secs(60));
    scene.look();
    scene.pass(800, &["a", "b"]);
    assert_eq!(scene.ready(), others);
    assert!(scene.changes.is_empty());
}

#[test]
fn who_is_enrolled_comes_and_who_is_not_goes() {
    let mut scene = Scene::begin(&["a", "b"]);
    scene.enrolled = Members::new(vec![member("b", &RoleName::EDGE), member("c", &RoleName::EDGE), scene.own.clone()]);
    scene.look();
    assert_eq!(scene.ready(), ["b", "c"]);
    let told: Vec<_> = scene.changes.iter().map(|change| (change.node.as_str(), change.from, change.to)).collect();
    assert_eq!(told, [("a", Standing::Ready, Standing::Removed), ("c", Standing::Removed, Standing::Ready)]);
    let change = scene.changes[0].clone();
    let text = serde_json::to_string(&change).unwrap();
    assert!(text.contains("\"removed\""), "{text}");
    assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
}
