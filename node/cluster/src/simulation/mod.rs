//! Seeded simulations of membership and of what is named, on simulated network and time.
//!
//! `ESTAFETA_SEED=N` plays one seed again and prints its story; `ESTAFETA_LONG=1` plays many.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use estafeta_core::members::Readiness;

use world::{ROLES, STEP, World};

/// How many seeds the plain run plays of each simulation, and the long one.
const SEEDS: u64 = 2000;
const LONG: u64 = 50_000;

/// Plays each seed, on every processor; a panic names the seed and tells its story.
fn play(simulate: fn(&mut World), nodes: std::ops::Range<usize>, share: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let one = number("ESTAFETA_SEED");
    let count = if number("ESTAFETA_LONG").is_some() { LONG } else { SEEDS } / share;
    let seeds: Vec<u64> = one.map_or_else(|| (0..count).collect(), |seed| vec![seed]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (seeds, nodes) = (&seeds, nodes.clone());
            scope.spawn(move || {
                for seed in seeds.iter().skip(thread).step_by(threads) {
                    let size = nodes.start + (*seed as usize) % (nodes.end - nodes.start);
                    let mut world = World::new(*seed, size);
                    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulate(&mut world)));
                    if told.is_err() || one.is_some() {
                        eprintln!("seed {seed}, {size} nodes:\n{}", world.story.join("\n"));
                    }
                    assert!(told.is_ok(), "play it again with ESTAFETA_SEED={seed}");
                }
            });
        }
    });
}

fn run(world: &mut World, time: Duration, mut check: impl FnMut(&World)) {
    let until = world.now + time;
    while world.now < until {
        world.step();
        one_view(world);
        check(world);
    }
}

/// The invariant "one view": an answer is never empty, and never names only others while one that is ready is known.
fn one_view(world: &World) {
    for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.up && !node.frozen) {
        for ((role, _), named) in ROLES.iter().zip(world.named(number)) {
            if !world.enrolled.iter().any(|member| member.roles.contains_key(role)) {
                continue;
            }
            let ready = world.known_ready(number, role, false);
            assert!(!named.is_empty(), "{} names nobody for {role}", node.name);
            let alive = world.known_ready(number, role, true);
            assert!(
                ready.is_empty() || !named.is_disjoint(&alive),
                "{} names {named:?} for {role}, and knows that {ready:?} are ready",
                node.name
            );
        }
    }
}

/// Whether everyone names exactly those who are well, or all where nobody is.
fn converged(world: &World) -> Result<(), String> {
    for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.up) {
        for ((role, _), named) in ROLES.iter().zip(world.named(number)) {
            let having = |member: &&estafeta_core::members::Member| member.roles.contains_key(role);
            let all: BTreeSet<_> = world.enrolled.iter().filter(having).map(|member| member.name.clone()).collect();
            let is_well = |name: &estafeta_core::NodeName| {
                world.nodes.iter().position(|node| &node.name == name).is_some_and(|number| world.is_well(number, role))
            };
            let well: BTreeSet<_> = all.iter().filter(|name| is_well(name)).cloned().collect();
            let should = if well.is_empty() { all } else { well };
            if should != named {
                return Err(format!("{} names {named:?} for {role} and should name {should:?}", node.name));
            }
        }
    }
    Ok(())
}

/// Something happens to somebody.
fn trouble(world: &mut World) {
    let count = world.nodes.len();
    let (one, other) = (world.random.usize(..count), world.random.usize(..count));
    match world.random.u8(..11) {
        0 | 1 if world.nodes[one].up => {
            world.tell(format!("n{one} is killed"));
            world.nodes[one].up = false;
        }
        0 | 1 => {
            world.tell(format!("n{one} starts again"));
            world.restart(one);
        }
        2 => {
            let frozen = !world.nodes[one].frozen;
            world.tell(format!("n{one} {}", if frozen { "freezes" } else { "thaws" }));
            world.nodes[one].frozen = frozen;
        }
        3 => {
            let part: BTreeSet<usize> = (0..count).filter(|_| world.random.bool()).collect();
            world.tell(format!("{part:?} are cut off from the others"));
            for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
                if part.contains(&a) != part.contains(&b) {
                    world.cut.insert((a, b));
                }
            }
        }
        4 => {
            world.tell(format!("nothing comes from n{one} to n{other}"));
            world.cut.insert((one, other));
        }
        5 => {
            world.tell(format!("n{one} is cut off"));
            (0..count).for_each(|node| world.cut.extend([(one, node), (node, one)]));
        }
        6 => {
            world.tell("every path is there again".into());
            world.cut.clear();
        }
        7 => {
            world.loss = world.random.u32(..40);
            world.tell(format!("{} of 100 packets are lost", world.loss));
        }
        8 => {
            let node = &mut world.nodes[one];
            node.own.draining = !node.own.draining;
            let word = if node.own.draining { "drains" } else { "resumes" };
            world.tell(format!("n{one} {word}"));
        }
        9 => {
            let node = &mut world.nodes[one];
            let ready = node.own.roles.values().all(|says| *says == Readiness::Ready);
            let says = if ready { Readiness::NotReady("its disk is full".into()) } else { Readiness::Ready };
            node.own.roles.values_mut().for_each(|role| *role = says.clone());
            world.tell(format!("n{one} {}", if ready { "cannot serve" } else { "can serve again" }));
        }
        _ => {
            let node = &mut world.nodes[one];
            node.skewed = !node.skewed;
            node.serves = world.random.bool();
            world.tell(format!("the clock of n{one} is wrong or right, its listeners answer or do not"));
        }
    }
}

/// All that was broken is whole again.
fn heal(world: &mut World) {
    world.tell("all is well again".into());
    world.cut.clear();
    world.loss = 0;
    for number in 0..world.nodes.len() {
        if !world.nodes[number].up {
            world.restart(number);
        }
        let node = &mut world.nodes[number];
        (node.frozen, node.skewed, node.serves, node.own.draining) = (false, false, true, false);
        node.own.roles.values_mut().for_each(|role| *role = Readiness::Ready);
    }
}

#[test]
fn through_any_troubles_the_view_is_one_and_comes_together_again() {
    play(
        |world| {
            run(world, Duration::from_secs(3), |_| {});
            for _ in 0..world.random.usize(2..9) {
                trouble(world);
                let time = Duration::from_millis(world.random.u64(100..4000));
                run(world, time, |_| {});
            }
            heal(world);
            let longest = Duration::from_millis(world.config.return_longest_ms + world.config.silence_longest_ms);
            let until = world.now + longest + Duration::from_secs(5);
            // Together, and not by chance: for two seconds on end.
            let mut together = 0;
            while together < 20 {
                run(world, STEP, |_| {});
                together = if converged(world).is_ok() { together + 1 } else { 0 };
                if world.now > until {
                    converged(world).unwrap();
                }
            }
        },
        3..8,
        4,
    );
}

#[test]
fn who_is_killed_is_soon_named_by_nobody_and_nobody_else_is_dropped() {
    play(
        |world| {
            world.loss = world.random.u32(..5);
            run(world, Duration::from_secs(4), |_| {});
            converged(world).unwrap();
            let victim = world.random.usize(..world.nodes.len());
            world.tell(format!("n{victim} is killed"));
            world.nodes[victim].up = false;
            let name = world.nodes[victim].name.clone();
            let all_but_the_victim = |world: &World, number: usize| {
                ROLES.iter().zip(world.named(number)).all(|((role, _), named)| {
                    let having = world.enrolled.iter().filter(|member| member.roles.contains_key(role));
                    having.filter(|member| member.name != name).all(|member| named.contains(&member.name))
                })
            };
            let others: Vec<usize> = (0..world.nodes.len()).filter(|number| *number != victim).collect();
            run(world, Duration::from_secs(4), |world| {
                others.iter().for_each(|number| assert!(all_but_the_victim(world, *number), "as n{number} names them"));
            });
            converged(world).unwrap();
        },
        4..12,
        8,
    );
}

#[test]
fn who_sees_nobody_names_all() {
    play(
        |world| {
            world.loss = world.random.u32(..5);
            run(world, Duration::from_secs(4), |_| {});
            converged(world).unwrap();
            let count = world.nodes.len();
            // One node, or each of two name servers alone, or everyone.
            let alone: Vec<usize> = match world.random.u8(..3) {
                0 => vec![world.random.usize(..count)],
                1 => vec![0, 2.min(count - 1)],
                _ => (0..count).collect(),
            };
            world.tell(format!("{alone:?} see nobody"));
            for number in &alone {
                (0..count).for_each(|node| world.cut.extend([(*number, node), (node, *number)]));
            }
            run(world, Duration::from_secs(4), |_| {});
            run(world, Duration::from_secs(5), |world| {
                for (number, named) in alone.iter().map(|number| (number, world.named(*number))) {
                    for ((role, _), named) in ROLES.iter().zip(named) {
                        let having = world.enrolled.iter().filter(|member| member.roles.contains_key(role));
                        let all: BTreeSet<_> = having.map(|member| member.name.clone()).collect();
                        assert_eq!(named, all, "as n{number} names them for {role}");
                    }
                }
            });
        },
        4..9,
        8,
    );
}
