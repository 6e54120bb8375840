//! Keepers of several nodes over one store of secrets, as it is in the directory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use estafeta_core::Domain;
use estafeta_core::members::{Member, Readiness};
use estafeta_core::settings::{KeptSecret, Settings};

use super::*;
use crate::dnssec::DnssecConfig;
use crate::dnssec::operations::KeyOperations;
use crate::dnssec::timeline::Stage;
use crate::zone::absolute;

#[derive(Default)]
struct Store {
    secret: Mutex<Option<KeptSecret>>,
    away: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl SettingsStore for Store {
    async fn read(&self) -> Result<Settings, Failure> {
        Ok(Settings::default())
    }

    async fn add_domain(&self, _: &Domain) -> Result<(), Failure> {
        Err(Failure::unavailable("not here"))
    }

    async fn remove_domain(&self, _: &Domain) -> Result<(), Failure> {
        Err(Failure::unavailable("not here"))
    }

    async fn read_secret(&self, _: &RoleName, _: &str) -> Result<Option<KeptSecret>, Failure> {
        if self.away.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Failure::unavailable("away"));
        }
        Ok(self.secret.lock().unwrap().clone())
    }

    async fn write_secret(&self, _: &RoleName, _: &str, known: u64, content: &str) -> Result<(), Failure> {
        let mut secret = self.secret.lock().unwrap();
        if secret.as_ref().map_or(0, |secret| secret.version) != known {
            return Err(Failure::new(Reason::Exists, "another version"));
        }
        *secret = Some(KeptSecret { version: known + 1, content: content.into() });
        Ok(())
    }
}

struct World {
    store: Arc<Store>,
    members: MembersView,
    directory: tempfile::TempDir,
    zone: Name,
}

impl World {
    fn new(nodes: &[&str]) -> Self {
        let member = |name: &&str| Member {
            roles: BTreeMap::from([(RoleName::DNS, Readiness::Ready)]),
            ..Member::named(name.parse().unwrap())
        };
        Self {
            store: Arc::default(),
            members: MembersView::new(Members::new(nodes.iter().map(member).collect())),
            directory: tempfile::tempdir().unwrap(),
            zone: absolute(&"demo.test".parse().unwrap()),
        }
    }

    fn keeper(&self, node: &str) -> Arc<Keeper> {
        let config = DnssecConfig {
            zones: vec!["demo.test".parse().unwrap()],
            dnskey_ttl_seconds: 1,
            parent_ds_seconds: 0,
            longest_ttl_seconds: 0,
            margin_seconds: 0,
            ..DnssecConfig::default()
        };
        let data = self.directory.path().join(node);
        fs::create_dir_all(&data).unwrap();
        let keeper =
            Keeper::with(node.parse().unwrap(), KeyRing::new(config), self.store.clone(), self.members.clone(), &data);
        Arc::new(keeper.unwrap())
    }

    async fn round(&self, keeper: &Keeper, seconds: u64) {
        keeper.round(vec![self.zone.clone()], at(seconds)).await.unwrap();
    }

    fn stage(&self, keeper: &Keeper) -> Option<Stage> {
        keeper.ring().of(&self.zone).map(|open| open.kept.stage)
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[tokio::test]
async fn the_first_node_makes_the_key_and_every_node_must_have_it() {
    let world = World::new(&["dns1", "dns2"]);
    let (one, two) = (world.keeper("dns1"), world.keeper("dns2"));
    assert!(!one.ring().is_known());
    world.round(&two, 100).await;
    assert_eq!(world.stage(&two), None, "the second node makes none");
    world.round(&one, 100).await;
    world.round(&one, 200).await;
    assert_eq!(world.stage(&one), Some(Stage::Announced), "the second node has not got it");
    assert_eq!(one.waited_for(one.ring().generation()), ["dns2".parse().unwrap()]);
    world.round(&two, 200).await;
    assert_eq!(one.ring().book(), two.ring().book());
    world.round(&one, 201).await;
    assert_eq!(world.stage(&one), Some(Stage::Published));
    for keeper in [&two, &one, &two] {
        world.round(keeper, 203).await;
    }
    assert_eq!(world.stage(&two), Some(Stage::Offered));
}

#[tokio::test]
async fn a_restarted_node_has_its_keys_without_the_directory_and_in_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(&["dns1"]);
    let before = world.keeper("dns1");
    world.round(&before, 100).await;
    world.store.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let after = world.keeper("dns1");
    assert!(after.round(vec![], at(101)).await.is_err());
    assert_eq!(after.ring().book(), before.ring().book());
    assert!(after.ring().is_known() && after.ring().of(&world.zone).is_some());
    let file = world.directory.path().join("dns1/dnssec.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&file, "{").unwrap();
    let broken = Keeper::with(
        "dns1".parse().unwrap(),
        KeyRing::new(DnssecConfig { all: true, ..DnssecConfig::default() }),
        world.store.clone(),
        world.members.clone(),
        &world.directory.path().join("dns1"),
    );
    assert!(broken.err().unwrap().cause.contains("dnssec.json"));
}

#[tokio::test]
async fn a_directory_from_a_backup_gets_its_keys_back() {
    let world = World::new(&["dns1"]);
    let keeper = world.keeper("dns1");
    world.round(&keeper, 100).await;
    world.round(&keeper, 101).await;
    let book = keeper.ring().book();
    *world.store.secret.lock().unwrap() = None;
    world.round(&keeper, 101).await;
    assert_eq!(keeper.ring().book(), book);
    let stored = world.store.secret.lock().unwrap().clone().unwrap();
    assert_eq!(serde_json::from_str::<Book>(&stored.content).unwrap(), book);
}

#[tokio::test]
async fn two_that_both_believe_themselves_first_make_one_key() {
    let world = World::new(&["dns1", "dns2"]);
    let one = world.keeper("dns1");
    let two =
        Keeper { members: MembersView::new(Members::new(vec![])), ..Arc::into_inner(world.keeper("dns2")).unwrap() };
    let read = (one.read().await.unwrap(), two.read().await.unwrap());
    let key = || Book {
        generation: 1,
        zones: [(world.zone.to_ascii(), ZoneKeys::first(Key::generate(1).unwrap(), 1))].into(),
    };
    one.write(read.0.version, key()).await.unwrap();
    assert_eq!(two.write(read.1.version, key()).await.unwrap_err().reason, Reason::Exists);
    two.read().await.unwrap();
    assert_eq!(one.ring().book(), two.ring().book());
}

#[tokio::test]
async fn operations_roll_a_key_over_and_say_what_is_next() {
    let world = World::new(&["dns1"]);
    let keeper = world.keeper("dns1");
    let operations = KeyOperations::new(keeper.clone());
    let perform = async |name: &str, input| operations.perform(name, input).await.unwrap();
    let zone = serde_json::json!({ "zone": "demo.test" });
    let published = serde_json::json!({ "zone": "demo.test", "ds_published": true });
    assert_eq!(perform("dns ds", zone.clone()).await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(
        perform("dns ds", serde_json::json!({ "zone": "else.test" })).await.unwrap_err().reason,
        Reason::NotFound
    );

    // Operations go by the real time.
    let mut clock = seconds(SystemTime::now());
    let end = clock + 1000;
    let mut step = async |stage| {
        while world.stage(&keeper) != Some(stage) {
            clock += 1;
            assert!(clock < end, "never {stage:?}");
            world.round(&keeper, clock).await;
        }
    };
    step(Stage::Announced).await;
    assert_eq!(perform("dns ds", zone.clone()).await.unwrap_err().reason, Reason::Denied);
    step(Stage::Offered).await;
    let first = perform("dns ds", zone.clone()).await.unwrap();
    let record = first[0]["record"].as_str().unwrap();
    assert!(record.starts_with("demo.test. 1 IN DS ") && record.split(' ').count() == 8, "{record}");
    perform("dns key roll", published.clone()).await.unwrap();
    let rows = perform("dns key roll", zone.clone()).await.unwrap();
    assert_eq!(
        (rows[0]["does"].as_str(), rows[1]["does"].as_str()),
        (Some("signs; its DS is at the parent"), Some("published"))
    );
    assert_eq!(perform("dns key roll", zone.clone()).await.unwrap_err().reason, Reason::Denied);
    assert_eq!(perform("dns key roll", published.clone()).await.unwrap_err().reason, Reason::Denied);
    step(Stage::Offered).await;
    let second = perform("dns ds", zone.clone()).await.unwrap();
    assert_ne!(first[0], second[0]);
    let rows = perform("dns key list", serde_json::json!({})).await.unwrap();
    assert!(rows[1]["next"].as_str().unwrap().contains("--ds-published"), "{rows}");
    assert!(operations.perform("dns records", zone.clone()).await.is_none());
}
