//! Where mail for an address goes: aliases expanded, level by level, whoever answers the look-ups (the database here,
//! or a directory over LDAP).
//!
//! Invariants: at most [`ALIAS_DEPTH`] levels and [`ALIAS_TARGETS`] recipients, so that no alias costs more than that; no
//! recipient twice; an alias that leads back to itself is refused as a whole, so that its owner notices.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use estafeta_core::directory::{ALIAS_DEPTH, ALIAS_TARGETS, Account, Alias, Resolution, Target};
use estafeta_core::{Address, Failure};

/// The most addresses that one expansion looks up: recipients, and the aliases that lead to them.
const ADDRESSES: usize = 2 * ALIAS_TARGETS;

/// What an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An account's.
    Account(Account),
    /// An alias's.
    Alias(Alias),
    /// Nobody's, in a domain of ours.
    Unknown,
    /// Not ours.
    Foreign,
}

/// Whoever knows what addresses are.
#[async_trait]
pub trait LookUp: Sync {
    /// What each of these is, in their order. At most twice [`ALIAS_TARGETS`] are asked at once.
    async fn look_up(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure>;
}

/// Where mail for `address` goes. One that nobody has is looked for without its detail (RFC 5233).
pub async fn resolve(directory: &dyn LookUp, address: &Address) -> Result<Resolution, Failure> {
    let resolution = resolve_as_it_stands(directory, address).await?;
    match address.split_detail() {
        Some((base, _)) if resolution == Resolution::Unknown => resolve_as_it_stands(directory, &base).await,
        _ => Ok(resolution),
    }
}

async fn resolve_as_it_stands(directory: &dyn LookUp, address: &Address) -> Result<Resolution, Failure> {
    let mut known: HashMap<String, Found> = HashMap::new();
    let mut level = vec![address.clone()];
    let mut depth = 0;
    while !level.is_empty() {
        let found = directory.look_up(&level).await?;
        let mut next: Vec<Address> = Vec::new();
        for (address, found) in level.iter().zip(found) {
            if let Found::Alias(alias) = &found {
                next.extend(alias.targets.iter().cloned());
            }
            known.insert(address.key(), found);
        }
        let mut seen = HashSet::new();
        next.retain(|target| !known.contains_key(&target.key()) && seen.insert(target.key()));
        depth += 1;
        // The first level is the address itself.
        if depth > ALIAS_DEPTH && !next.is_empty() {
            return Ok(Resolution::Blocked(format!(
                "{address} is an alias that leads through more than {ALIAS_DEPTH} aliases"
            )));
        }
        if known.len() + next.len() > ADDRESSES {
            return Ok(too_many(address));
        }
        level = next;
    }
    Ok(gather(&known, address))
}

fn too_many(address: &Address) -> Resolution {
    Resolution::Blocked(format!("{address} is an alias that stands for more than {ALIAS_TARGETS} addresses"))
}

/// The answer, once everything that the address leads to is known.
fn gather(known: &HashMap<String, Found>, address: &Address) -> Resolution {
    match known.get(&address.key()) {
        None | Some(Found::Foreign) => Resolution::Foreign,
        Some(Found::Unknown) => Resolution::Unknown,
        Some(Found::Account(account)) if account.enabled => {
            Resolution::Recipients(vec![Target::Account(account.clone())])
        }
        Some(Found::Account(_)) => Resolution::Blocked(format!("the account {address} is disabled")),
        Some(Found::Alias(_)) => {
            let mut walk = Walk { known, path: Vec::new(), done: HashSet::new(), recipients: Vec::new() };
            if let Err(circle) = walk.visit(address) {
                return Resolution::Blocked(format!("an alias leads in a circle: {circle}"));
            }
            match walk.recipients {
                recipients if recipients.is_empty() => Resolution::Blocked(format!(
                    "{address} is an alias, and nobody whom it stands for can receive mail"
                )),
                recipients if recipients.len() > ALIAS_TARGETS => too_many(address),
                recipients => Resolution::Recipients(recipients),
            }
        }
    }
}

/// A walk along the aliases, depth first. As deep as there are levels, which are bounded.
struct Walk<'a> {
    known: &'a HashMap<String, Found>,
    path: Vec<String>,
    done: HashSet<String>,
    recipients: Vec<Target>,
}

impl Walk<'_> {
    /// Notes the recipients behind `address`; gives the circle that it leads in, if it does.
    fn visit(&mut self, address: &Address) -> Result<(), String> {
        let key = address.key();
        if let Some(start) = self.path.iter().position(|before| *before == key) {
            return Err(format!("{} → {key}", self.path[start..].join(" → ")));
        }
        if !self.done.insert(key.clone()) {
            return Ok(());
        }
        match self.known.get(&key) {
            Some(Found::Alias(alias)) => {
                self.path.push(key);
                for target in &alias.targets {
                    self.visit(target)?;
                }
                self.path.pop();
            }
            Some(Found::Account(account)) if account.enabled => self.recipients.push(Target::Account(account.clone())),
            Some(Found::Foreign) => self.recipients.push(Target::Remote(address.clone())),
            // One target that is disabled or gone must not keep the mail from the others.
            Some(Found::Account(_) | Found::Unknown) | None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::AccountId;
    use proptest::prelude::*;

    /// Addresses of one domain: aliases by name, and accounts `a…` (enabled) and `d…` (disabled).
    struct Table(HashMap<String, Vec<String>>);

    fn address(name: &str) -> Address {
        let text = if name.contains('@') { name.to_owned() } else { format!("{name}@example.edu") };
        text.parse().unwrap()
    }

    #[async_trait]
    impl LookUp for Table {
        async fn look_up(&self, addresses: &[Address]) -> Result<Vec<Found>, Failure> {
            assert!(addresses.len() <= ADDRESSES);
            Ok(addresses.iter().map(|address| self.find(address)).collect())
        }
    }

    impl Table {
        fn find(&self, of: &Address) -> Found {
            if of.domain().as_str() != "example.edu" {
                return Found::Foreign;
            }
            if let Some(targets) = self.0.get(of.local()) {
                return Found::Alias(Alias {
                    address: of.clone(),
                    targets: targets.iter().map(|name| address(name)).collect(),
                });
            }
            let enabled = of.local().starts_with('a');
            if !enabled && !of.local().starts_with('d') {
                return Found::Unknown;
            }
            Found::Account(Account {
                id: AccountId::random(),
                address: of.clone(),
                name: String::new(),
                store_group: "g".parse().unwrap(),
                quota_bytes: None,
                quota_messages: None,
                enabled,
                created: 0,
            })
        }
    }

    fn table(aliases: &[(&str, &[&str])]) -> Table {
        Table(
            aliases
                .iter()
                .map(|(name, targets)| ((*name).to_owned(), targets.iter().map(|t| (*t).to_owned()).collect()))
                .collect(),
        )
    }

    async fn names(table: &Table, name: &str) -> Vec<String> {
        match resolve(table, &address(name)).await.unwrap() {
            Resolution::Recipients(targets) => targets
                .iter()
                .map(|target| match target {
                    Target::Account(account) => account.address.local().to_owned(),
                    Target::Remote(address) => address.to_string(),
                })
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[tokio::test]
    async fn nested_lists_name_nobody_twice() {
        let table = table(&[
            ("all", &["staff", "students", "x@else.where"]),
            ("staff", &["a1", "a2"]),
            ("students", &["a2", "a3", "d1", "z"]),
        ]);
        assert_eq!(names(&table, "all").await, ["a1", "a2", "a3", "x@else.where"]);
        assert_eq!(names(&table, "a1").await, ["a1"]);
        assert_eq!(names(&table, "z").await, ["Unknown"]);
        assert_eq!(names(&table, "a1@else.where").await, ["Foreign"]);
        assert!(names(&table, "d1").await[0].contains("disabled"));
    }

    #[tokio::test]
    async fn circles_and_depths_are_refused() {
        let circle = table(&[("x", &["y", "a1"]), ("y", &["x"]), ("outside", &["x"]), ("none", &["d1", "z"])]);
        for name in ["x", "y", "outside"] {
            assert!(names(&circle, name).await[0].contains("circle"), "{name}");
        }
        assert!(names(&circle, "none").await[0].contains("nobody"));
        let chain: Vec<(String, String)> = (0..20).map(|i| (format!("c{i}"), format!("c{}", i + 1))).collect();
        let mut chain = Table(chain.into_iter().map(|(name, target)| (name, vec![target])).collect());
        chain.0.insert("c20".into(), vec!["a1".into()]);
        // c11 to c20 are ten aliases, c10 to c20 eleven.
        assert_eq!(names(&chain, "c11").await, ["a1"]);
        assert!(names(&chain, "c10").await[0].contains("more than 10 aliases"));
    }

    #[tokio::test]
    async fn a_thousand_recipients_and_no_more() {
        let many = |count: usize| (0..count).map(|i| format!("a{i}")).collect::<Vec<_>>();
        let table = Table(
            [
                ("full".to_owned(), many(1000)),
                ("half".to_owned(), vec!["full".into(), "b".into()]),
                ("b".to_owned(), (1000..1020).map(|i| format!("a{i}")).collect()),
            ]
            .into(),
        );
        assert_eq!(names(&table, "full").await.len(), 1000);
        assert!(names(&table, "half").await[0].contains("more than 1000"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any graph of aliases ends in an answer within the bounds.
        #[test]
        fn any_graph_ends(edges in prop::collection::vec((0_u8..12, 0_u8..24), 0..60)) {
            let mut table = Table(HashMap::new());
            for (from, to) in edges {
                let to = if to < 12 { format!("l{to}") } else { format!("a{to}") };
                table.0.entry(format!("l{from}")).or_default().push(to);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for name in 0..12 {
                if let Resolution::Recipients(targets) = runtime.block_on(resolve(&table, &address(&format!("l{name}")))).unwrap() {
                    prop_assert!(!targets.is_empty() && targets.len() <= 12);
                    for (i, target) in targets.iter().enumerate() {
                        let Target::Account(one) = target else { panic!() };
                        prop_assert!(targets[..i].iter().all(|other| !matches!(other, Target::Account(two) if two.address == one.address)));
                    }
                }
            }
        }
    }
}
