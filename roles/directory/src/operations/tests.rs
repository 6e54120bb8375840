//! The operations as the command line asks them, on a directory of their own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use estafeta_core::administration::{Administration, OperationContext, Perform};
use estafeta_core::contracts::Contracts;
use estafeta_core::members::{Member, Members, MembersView, Readiness};
use estafeta_core::nobody::Nobody;
use estafeta_core::settings::{SettingsStore as _, SettingsView};
use estafeta_core::{Failure, Reason, RoleName};
use serde_json::{Value, json};

use super::domain::{DomainAdministration, settings_client};
use super::*;
use crate::store::Store;

/// The contracts of a node that is a directory and nothing else.
pub(crate) fn contracts(store: Store, domains: Arc<DomainAdministration>) -> Contracts {
    Contracts {
        directory: Arc::new(store.clone()),
        directory_uncached: Arc::new(store),
        judge: Arc::new(Nobody),
        delivery: Arc::new(Nobody),
        sessions: Arc::new(Nobody),
        submit: Arc::new(Nobody),
        settings: settings_client(domains.clone()),
        administration: domains,
    }
}

struct Node {
    context: OperationContext,
    domains: Arc<DomainAdministration>,
    _data: tempfile::TempDir,
}

impl Node {
    /// In a cluster whose mailbox nodes serve these store groups.
    async fn new(groups: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path().to_owned()).await.unwrap();
        let domains = Arc::new(DomainAdministration::new(store.clone(), SettingsView::default()));
        let member = |group: &&str| Member {
            roles: BTreeMap::from([(RoleName::MAILBOX, Readiness::Ready)]),
            store_group: Some(group.parse().unwrap()),
            ..Member::named(format!("mailbox-{group}").parse().unwrap())
        };
        let contracts = contracts(store, domains.clone());
        let members = MembersView::new(Members::new(groups.iter().map(member).collect()));
        Self { context: OperationContext { contracts, members }, domains, _data: data }
    }

    async fn run(&self, name: &str, input: Value) -> Result<Value, Failure> {
        let row = all().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}"));
        match row.perform {
            Perform::Anywhere(perform) => perform(self.context.clone(), input).await,
            Perform::ByRole(_) | Perform::InGroup(..) | Perform::OnNode(_) => self.domains.perform(name, input).await,
        }
    }

    async fn refused(&self, name: &str, input: Value) -> (Reason, String) {
        let failure = self.run(name, input).await.unwrap_err();
        (failure.reason, failure.client)
    }
}

#[test]
fn names_fields_and_questions_are_in_order() {
    let operations = all();
    let names: HashSet<&str> = operations.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), operations.len());
    for one in operations {
        let fields: HashSet<&str> = one.fields.iter().map(|field| field.name).collect();
        assert_eq!(fields.len(), one.fields.len(), "{}", one.name);
        if let Some(question) = one.confirm {
            let asks_for = one.fields.iter().any(|field| question.contains(&format!("{{{}}}", field.name)));
            assert!(question.ends_with('?') && asks_for, "{}", one.name);
        }
    }
}

#[tokio::test]
async fn accounts_are_spread_over_the_store_groups() {
    let node = Node::new(&["group2", "group1"]).await;
    node.run("domain add", json!({ "domain": "example.edu" })).await.unwrap();
    let mut groups = Vec::new();
    for name in ["a", "b", "c"] {
        let input = json!({ "address": format!("{name}@example.edu"), "password": "correct horse" });
        groups.push(node.run("account add", input).await.unwrap()["store_group"].clone());
    }
    assert_eq!(groups, ["group1", "group2", "group1"]);
    let chosen = json!({ "address": "d@example.edu", "password": "correct horse", "group": "group1", "quota": 2_000, "name": "Dora" });
    let made = node.run("account add", chosen).await.unwrap();
    assert_eq!(
        (&made["store_group"], &made["quota_bytes"], &made["name"], &made["enabled"]),
        (&json!("group1"), &json!(2_000), &json!("Dora"), &json!(true))
    );
    let (reason, text) = node
        .refused("account add", json!({ "address": "e@example.edu", "password": "correct horse", "group": "group9" }))
        .await;
    assert_eq!(
        (reason, text.as_str()),
        (Reason::NotFound, "no mailbox node serves the store group group9; those that are served: group1, group2")
    );

    let empty = Node::new(&[]).await;
    empty.run("domain add", json!({ "domain": "example.edu" })).await.unwrap();
    let (reason, text) =
        empty.refused("account add", json!({ "address": "a@example.edu", "password": "correct horse" })).await;
    assert!(reason == Reason::NotFound && text.contains("role mailbox"), "{text}");
}

#[tokio::test]
async fn an_account_from_add_to_remove() {
    let node = Node::new(&["group1"]).await;
    node.run("domain add", json!({ "domain": "example.edu" })).await.unwrap();
    let ana = || json!({ "address": "ana@example.edu" });
    let made =
        node.run("account add", json!({ "address": "ana@example.edu", "password": "correct horse" })).await.unwrap();
    assert_eq!(node.run("account show", ana()).await.unwrap(), made);
    assert_eq!(node.run("account list", json!({})).await.unwrap(), json!([made]));
    assert_eq!(node.run("account list", json!({ "domain": "example.org" })).await.unwrap(), json!([]));
    let created = made["created"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");

    let quota = node.run("account quota", json!({ "address": "ana@example.edu", "quota": 5_000 })).await.unwrap();
    assert_eq!(quota["quota_bytes"], json!(5_000));
    let input = json!({ "address": "ana@example.edu", "quota": 5_000, "messages": 70 });
    assert_eq!(node.run("account quota", input).await.unwrap()["quota_messages"], json!(70));
    let kept = node.run("account quota", json!({ "address": "ana@example.edu", "quota": null })).await.unwrap();
    assert_eq!((&kept["quota_bytes"], &kept["quota_messages"]), (&Value::Null, &json!(70)));
    let input = json!({ "address": "ana@example.edu", "quota": null, "messages": null });
    let none = node.run("account quota", input).await.unwrap();
    assert_eq!(none, made);
    assert_eq!(node.run("account disable", ana()).await.unwrap()["enabled"], json!(false));
    assert_eq!(node.run("account enable", ana()).await.unwrap(), made);
    let password = json!({ "address": "ana@example.edu", "password": "battery staple" });
    assert_eq!(node.run("account password", password).await.unwrap(), Value::Null);
    let client = "192.0.2.1".parse().unwrap();
    let password = estafeta_core::Secret::new("battery staple".into());
    node.context.contracts.directory.authenticate("ana@example.edu", &password, client).await.unwrap();
    assert_eq!(node.run("account remove", ana()).await.unwrap(), Value::Null);
    assert_eq!(
        node.refused("account show", ana()).await,
        (Reason::NotFound, "there is no account ana@example.edu".into())
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let node = Node::new(&["group1"]).await;
    node.run("domain add", json!({ "domain": "example.edu" })).await.unwrap();
    node.run("account add", json!({ "address": "ana@example.edu", "password": "correct horse" })).await.unwrap();
    node.run("alias add", json!({ "address": "staff@example.edu", "targets": ["ana@example.edu"] })).await.unwrap();
    for (operation, input, reason, text) in [
        (
            "account add",
            json!({ "address": "ana@example.org", "password": "correct horse" }),
            Reason::NotFound,
            "example.org is not a domain of this cluster; add it with: estafeta domain add example.org",
        ),
        (
            "account add",
            json!({ "address": "ANA@example.edu", "password": "correct horse" }),
            Reason::Exists,
            "ANA@example.edu exists already: it is an account",
        ),
        (
            "account add",
            json!({ "address": "staff@example.edu", "password": "correct horse" }),
            Reason::Exists,
            "staff@example.edu exists already: it is an alias",
        ),
        (
            "account add",
            json!({ "address": "eva@example.edu", "password": "short" }),
            Reason::Invalid,
            "the password is too short: it takes at least 8 characters",
        ),
        (
            "account add",
            json!({ "address": "no address", "password": "correct horse" }),
            Reason::Invalid,
            "wrong input: \"no address\" is not a mail address: it takes the form name@domain",
        ),
        (
            "account add",
            json!({ "address": "eva@example.edu" }),
            Reason::Invalid,
            "wrong input: missing field `password`",
        ),
        (
            "account quota",
            json!({ "address": "ana@example.edu" }),
            Reason::Invalid,
            "wrong input: missing field `quota`",
        ),
        (
            "account remove",
            json!({ "address": "staff@example.edu" }),
            Reason::NotFound,
            "there is no account staff@example.edu",
        ),
        (
            "alias add",
            json!({ "address": "ana@example.edu", "targets": ["x@y.z"] }),
            Reason::Exists,
            "ana@example.edu exists already: it is an account",
        ),
        (
            "alias add",
            json!({ "address": "none@example.edu", "targets": [] }),
            Reason::Invalid,
            "the alias none@example.edu needs at least one target",
        ),
        (
            "alias add",
            json!({ "address": "self@example.edu", "targets": ["Self@example.edu"] }),
            Reason::Invalid,
            "the alias self@example.edu cannot stand for itself",
        ),
        (
            "alias remove",
            json!({ "address": "ana@example.edu" }),
            Reason::NotFound,
            "there is no alias ana@example.edu",
        ),
        (
            "domain add",
            json!({ "domain": "Example.EDU" }),
            Reason::Exists,
            "example.edu is a domain of this cluster already",
        ),
        (
            "domain add",
            json!({ "domain": "exa mple" }),
            Reason::Invalid,
            "wrong input: \"exa mple\" is not a domain: a label takes letters, digits and hyphens",
        ),
        (
            "domain remove",
            json!({ "domain": "example.edu" }),
            Reason::Denied,
            "example.edu is in use by 1 account and 1 alias: remove them first",
        ),
        (
            "domain remove",
            json!({ "domain": "example.org" }),
            Reason::NotFound,
            "example.org is not a domain of this cluster",
        ),
    ] {
        assert_eq!(node.refused(operation, input.clone()).await, (reason, text.to_owned()), "{operation} {input}");
    }
    assert_eq!(node.domains.perform("domain paint", json!({})).await.unwrap_err().reason, Reason::NotFound);
}

#[tokio::test]
async fn aliases_and_domains_are_listed() {
    let node = Node::new(&["group1"]).await;
    for domain in ["example.edu", "example.org"] {
        assert_eq!(node.run("domain add", json!({ "domain": domain })).await.unwrap(), Value::Null);
    }
    let staff = json!({ "address": "staff@example.edu", "targets": ["ana@example.edu", "x@foreign.net"] });
    assert_eq!(node.run("alias add", staff.clone()).await.unwrap(), staff);
    assert_eq!(node.run("alias list", json!({ "domain": "example.edu" })).await.unwrap(), json!([staff]));
    assert_eq!(node.run("alias list", json!({ "domain": "example.org" })).await.unwrap(), json!([]));
    let rows = json!([{ "domain": "example.edu", "accounts": 0, "aliases": 1 }, { "domain": "example.org", "accounts": 0, "aliases": 0 }]);
    assert_eq!(node.run("domain list", json!({})).await.unwrap(), rows);
    let settings = node.run("settings read", json!({})).await.unwrap();
    assert_eq!((&settings["version"], &settings["domains"]), (&json!(2), &json!(["example.edu", "example.org"])));
    node.run("alias remove", json!({ "address": "staff@example.edu" })).await.unwrap();
    node.run("domain remove", json!({ "domain": "example.edu" })).await.unwrap();
    assert_eq!(node.context.contracts.settings.read().await.unwrap().version, 3);
}

#[tokio::test]
async fn a_secret_is_replaced_by_who_knows_it() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path().to_owned()).await.unwrap();
    let asked = settings_client(Arc::new(secret::SecretAdministration(store.clone())));
    let (dns, edge) = (RoleName::DNS, RoleName::EDGE);
    assert_eq!(asked.read_secret(&dns, "key").await.unwrap(), None);
    asked.write_secret(&dns, "key", 0, "one").await.unwrap();
    assert_eq!(asked.write_secret(&dns, "key", 0, "other").await.unwrap_err().reason, Reason::Exists);
    asked.write_secret(&dns, "key", 1, "two").await.unwrap();
    assert_eq!(asked.write_secret(&dns, "key", 1, "other").await.unwrap_err().reason, Reason::Exists);
    let kept = asked.read_secret(&dns, "key").await.unwrap().unwrap();
    assert_eq!((kept.version, kept.content.as_str()), (2, "two"));
    assert_eq!(asked.read_secret(&edge, "key").await.unwrap(), None);
    let large = "x".repeat(256 * 1024 + 1);
    assert_eq!(asked.write_secret(&dns, "large", 0, &large).await.unwrap_err().reason, Reason::TooLarge);
    assert_eq!(asked.write_secret(&edge, "key", 3, "none").await.unwrap_err().reason, Reason::Exists);
    assert_eq!(store.read().await.unwrap().version, 0, "secrets are none of the settings");
}
