//! The suite of `Directory`: what every implementation must do, whether it keeps people itself or asks another node.
// A suite is test code, built for the tests of others: a panic is how it speaks.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use super::{
    ALIAS_DEPTH, ALIAS_TARGETS, Account, AccountChange, Alias, Directory, NewAccount, PASSWORD_CHARACTERS, Resolution,
    Target,
};
use crate::address::Address;
use crate::failure::{Failure, Reason};
use crate::secret::Secret;

/// A directory to try.
pub struct Fixture {
    /// The directory: empty, `example.edu` and `example.org` its only domains. Nobody has failed to log in yet.
    pub directory: Arc<dyn Directory>,
    /// What lives as long as it.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Runs the suite; each part on a directory of its own.
pub async fn run(make: impl AsyncFn() -> Fixture) {
    accounts(&*make().await.directory).await;
    changes(&*make().await.directory).await;
    strange_names(&*make().await.directory).await;
    passwords(&*make().await.directory).await;
    guesses(&*make().await.directory).await;
    aliases(&*make().await.directory).await;
    resolutions(&*make().await.directory).await;
    bounds(&*make().await.directory).await;
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn new(text: &str, password: Option<&str>) -> NewAccount {
    NewAccount {
        address: address(text),
        name: String::new(),
        store_group: "group1".parse().unwrap(),
        quota_bytes: None,
        quota_messages: None,
        password: password.map(secret),
    }
}

fn alias(text: &str, targets: &[&str]) -> Alias {
    Alias { address: address(text), targets: targets.iter().map(|target| address(target)).collect() }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>, reason: Reason) {
    match answer {
        Err(failure) if failure.reason == reason => assert!(!failure.client.is_empty(), "a failure without words"),
        other => panic!("expected {reason:?}, not {other:?}"),
    }
}

/// The order of targets means nothing: LDAP keeps them as a set.
fn sorted(mut aliases: Vec<Alias>) -> Vec<Alias> {
    for alias in &mut aliases {
        alias.targets.sort_by_key(Address::key);
    }
    aliases
}

/// Who gets the mail, in an order of its own.
#[track_caller]
fn recipients(resolution: Resolution) -> Vec<String> {
    let Resolution::Recipients(targets) = resolution else { panic!("{resolution:?}") };
    let name = |target: &Target| match target {
        Target::Account(account) => format!("{} {}", account.address, account.id),
        Target::Remote(address) => address.key(),
    };
    let mut names: Vec<String> = targets.iter().map(name).collect();
    names.sort();
    names
}

fn names(accounts: &[Account]) -> Vec<String> {
    accounts.iter().map(|account| account.address.to_string()).collect()
}

async fn accounts(directory: &dyn Directory) {
    let (edu, org) = ("example.edu".parse().unwrap(), "example.org".parse().unwrap());
    assert_eq!(directory.accounts(None).await.unwrap(), []);
    let asked = NewAccount {
        name: "Ana Pérez".into(),
        quota_bytes: Some(5_000_000_000),
        quota_messages: Some(70),
        ..new("Ana@example.edu", None)
    };
    let ana = directory.add_account(&asked).await.unwrap();
    assert_eq!((&ana.address, ana.name.as_str(), ana.store_group.as_str()), (&asked.address, "Ana Pérez", "group1"));
    assert_eq!((ana.quota_bytes, ana.quota_messages, ana.enabled), (Some(5_000_000_000), Some(70), true));
    assert!(ana.created > 1_700_000_000, "{}", ana.created);
    for text in ["Ana@example.edu", "ana@example.edu", "ANA@EXAMPLE.EDU"] {
        assert_eq!(directory.account(&address(text)).await.unwrap(), ana);
        refused(directory.add_account(&new(text, None)).await, Reason::Exists);
    }
    refused(directory.account(&address("bea@example.edu")).await, Reason::NotFound);
    refused(directory.account(&address("ana@foreign.net")).await, Reason::NotFound);
    refused(directory.add_account(&new("ana@foreign.net", None)).await, Reason::NotFound);
    refused(directory.add_account(&new("bea@example.edu", Some("1234567"))).await, Reason::Invalid);
    refused(directory.account(&address("bea@example.edu")).await, Reason::NotFound);

    for text in ["carla@example.edu", "bea@example.org", "bea@example.edu"] {
        directory.add_account(&new(text, None)).await.unwrap();
    }
    let all = ["Ana@example.edu", "bea@example.edu", "bea@example.org", "carla@example.edu"];
    assert_eq!(names(&directory.accounts(None).await.unwrap()), all);
    assert_eq!(names(&directory.accounts(Some(&edu)).await.unwrap()), [all[0], all[1], all[3]]);
    assert_eq!(names(&directory.accounts(Some(&org)).await.unwrap()), [all[2]]);
    assert_eq!(names(&directory.accounts(Some(&"foreign.net".parse().unwrap())).await.unwrap()), [""; 0]);
    assert_eq!(directory.accounts(Some(&edu)).await.unwrap()[0], ana);

    assert_eq!(directory.accounts_in(&"group1".parse().unwrap()).await.unwrap(), 4);
    assert_eq!(directory.accounts_in(&"group2".parse().unwrap()).await.unwrap(), 0);

    directory.remove_account(&ana.address).await.unwrap();
    refused(directory.account(&ana.address).await, Reason::NotFound);
    refused(directory.remove_account(&ana.address).await, Reason::NotFound);
    let again = directory.add_account(&asked).await.unwrap();
    assert_ne!(again.id, ana.id, "the id of a removed account came back");
}

async fn changes(directory: &dyn Directory) {
    let made = directory.add_account(&new("ana@example.edu", None)).await.unwrap();
    let change = async |change: AccountChange| directory.change_account(&address("ANA@example.edu"), &change).await;
    let same = change(AccountChange::default()).await.unwrap();
    assert_eq!(same, made);
    let named = change(AccountChange {
        name: Some("Ana".into()),
        store_group: Some("group2".parse().unwrap()),
        quota_bytes: Some(Some(0)),
        quota_messages: Some(Some(9)),
        ..Default::default()
    })
    .await
    .unwrap();
    let expected = Account {
        name: "Ana".into(),
        store_group: "group2".parse().unwrap(),
        quota_bytes: Some(0),
        quota_messages: Some(9),
        ..made.clone()
    };
    assert_eq!(named, expected);
    let disabled = change(AccountChange { enabled: Some(false), ..Default::default() }).await.unwrap();
    assert_eq!(disabled, Account { enabled: false, ..named });
    let back = AccountChange {
        name: Some(String::new()),
        store_group: Some(made.store_group.clone()),
        quota_bytes: Some(None),
        quota_messages: Some(None),
        enabled: Some(true),
    };
    assert_eq!(change(back).await.unwrap(), made);
    assert_eq!(directory.account(&made.address).await.unwrap(), made);
    refused(change(AccountChange { name: Some("two\nlines".into()), ..Default::default() }).await, Reason::Invalid);
    let nobody = address("bea@example.edu");
    refused(directory.change_account(&nobody, &AccountChange::default()).await, Reason::NotFound);
    refused(
        directory.change_account(&nobody, &AccountChange { enabled: Some(true), ..Default::default() }).await,
        Reason::NotFound,
    );
}

/// What means something in an LDAP name, in a filter, in SQL or in nothing at all.
async fn strange_names(directory: &dyn Directory) {
    let locals = [
        "o'hara",
        "a+b",
        "a=b",
        "#number",
        "josé",
        "用户",
        "\" leading\"",
        "\"trailing \"",
        "\"in side\"",
        "\"comma,\"",
        "\"semi;\"",
        "\"back\\\\slash\"",
        "\"quote\\\"\"",
        "\"(paren*)\"",
        "\"<angle>\"",
        "%",
        "a%",
        "_",
        "null",
        "ou=people",
    ];
    let mut made = Vec::new();
    for (number, local) in locals.iter().enumerate() {
        let asked = NewAccount { name: format!("{local} \\2c *"), ..new(&format!("{local}@example.edu"), None) };
        let account = directory.add_account(&asked).await.unwrap_or_else(|failure| panic!("{local}: {failure}"));
        assert_eq!((&account.address, &account.name), (&asked.address, &asked.name));
        let target = format!("list{number}@example.edu");
        directory.add_alias(&Alias { address: address(&target), targets: vec![asked.address.clone()] }).await.unwrap();
        made.push(account);
    }
    for account in &made {
        assert_eq!(&directory.account(&account.address).await.unwrap(), account);
        let expected = Resolution::Recipients(vec![Target::Account(account.clone())]);
        assert_eq!(directory.resolve(&account.address).await.unwrap(), expected);
    }
    assert_eq!(directory.aliases(None).await.unwrap().len(), locals.len());
    directory.set_password(&made[0].address, &secret("correct horse")).await.unwrap();
    assert_eq!(directory.authenticate("o'hara@example.edu", &secret("correct horse"), CLIENT).await.unwrap(), made[0]);
    directory.set_password(&made[11].address, &secret("correct horse")).await.unwrap();
    assert_eq!(
        directory.authenticate("\"back\\\\slash\"@example.edu", &secret("correct horse"), CLIENT).await.unwrap(),
        made[11]
    );
    for account in &made {
        directory.remove_account(&account.address).await.unwrap();
    }
    assert_eq!(directory.accounts(None).await.unwrap(), []);
}

async fn passwords(directory: &dyn Directory) {
    let log_in = async |login: &str, password: &str| directory.authenticate(login, &secret(password), CLIENT).await;
    let ana = directory.add_account(&new("ana@example.edu", Some("correct horse"))).await.unwrap();
    directory.add_account(&new("bea@example.edu", None)).await.unwrap();
    assert_eq!(log_in("ana@example.edu", "correct horse").await.unwrap(), ana);
    assert_eq!(log_in("ANA@Example.Edu", "correct horse").await.unwrap(), ana);
    for (login, password) in [
        ("ana@example.edu", "Correct horse"),
        ("ana@example.edu", ""),
        ("bea@example.edu", ""),
        ("bea@example.edu", "correct horse"),
        ("nobody@example.edu", "correct horse"),
        ("ana@foreign.net", "correct horse"),
        ("ana", "correct horse"),
        ("", "correct horse"),
        ("", ""),
    ] {
        refused(log_in(login, password).await, Reason::Credentials);
    }
    refused(directory.set_password(&ana.address, &secret(&"x".repeat(PASSWORD_CHARACTERS - 1))).await, Reason::Invalid);
    refused(directory.set_password(&address("nobody@example.edu"), &secret("correct horse")).await, Reason::NotFound);
    log_in("ana@example.edu", "correct horse").await.unwrap();

    directory.set_password(&ana.address, &secret("contraseña nueva")).await.unwrap();
    refused(log_in("ana@example.edu", "correct horse").await, Reason::Credentials);
    // The ñ of another keyboard: n and a combining tilde.
    assert_eq!(log_in("ana@example.edu", "contrasen\u{303}a nueva").await.unwrap(), ana);

    let off = AccountChange { enabled: Some(false), ..Default::default() };
    directory.change_account(&ana.address, &off).await.unwrap();
    refused(log_in("ana@example.edu", "contraseña nueva").await, Reason::Credentials);
    let on = AccountChange { enabled: Some(true), ..Default::default() };
    directory.change_account(&ana.address, &on).await.unwrap();
    assert_eq!(log_in("ana@example.edu", "contraseña nueva").await.unwrap(), ana);

    directory.add_alias(&alias("staff@example.edu", &["ana@example.edu"])).await.unwrap();
    refused(log_in("staff@example.edu", "contraseña nueva").await, Reason::Credentials);
    directory.remove_account(&ana.address).await.unwrap();
    refused(log_in("ana@example.edu", "contraseña nueva").await, Reason::Credentials);
    // A recreated name does not inherit the password.
    directory.add_account(&new("ana@example.edu", None)).await.unwrap();
    refused(log_in("ana@example.edu", "contraseña nueva").await, Reason::Credentials);
}

async fn guesses(directory: &dyn Directory) {
    let ana = directory.add_account(&new("ana@example.edu", Some("correct horse"))).await.unwrap();
    directory.add_account(&new("bea@example.edu", Some("correct horse"))).await.unwrap();
    let log_in = async |login: &str, password: &str, client: IpAddr| {
        directory.authenticate(login, &secret(password), client).await
    };
    let mut limited = false;
    for _ in 0..50 {
        let failure = log_in("ana@example.edu", "wrong horse", CLIENT).await.unwrap_err();
        limited = failure.reason == Reason::Busy;
        if limited {
            break;
        }
        assert_eq!(failure.reason, Reason::Credentials);
    }
    assert!(limited, "50 wrong passwords and no limit");
    refused(log_in("ana@example.edu", "correct horse", CLIENT).await, Reason::Busy);
    // Others, there and elsewhere, are not locked out with them.
    log_in("bea@example.edu", "correct horse", CLIENT).await.unwrap();
    assert_eq!(log_in("ana@example.edu", "correct horse", "2001:db8::7".parse().unwrap()).await.unwrap(), ana);
}

async fn aliases(directory: &dyn Directory) {
    let (edu, org) = ("example.edu".parse().unwrap(), "example.org".parse().unwrap());
    directory.add_account(&new("ana@example.edu", None)).await.unwrap();
    let staff = alias("Staff@example.edu", &["bea@foreign.net", "Ana@example.edu", "nobody@example.edu"]);
    directory.add_alias(&staff).await.unwrap();
    refused(directory.add_alias(&alias("staff@example.edu", &["bea@foreign.net"])).await, Reason::Exists);
    refused(directory.add_alias(&alias("ANA@example.edu", &["bea@foreign.net"])).await, Reason::Exists);
    refused(directory.add_account(&new("staff@example.edu", None)).await, Reason::Exists);
    refused(directory.add_alias(&alias("staff@foreign.net", &["ana@example.edu"])).await, Reason::NotFound);
    refused(directory.add_alias(&alias("empty@example.edu", &[])).await, Reason::Invalid);
    refused(directory.account(&staff.address).await, Reason::NotFound);
    refused(directory.remove_account(&staff.address).await, Reason::NotFound);
    refused(directory.remove_alias(&address("ana@example.edu")).await, Reason::NotFound);

    let other = alias("a@example.org", &["staff@example.edu"]);
    directory.add_alias(&other).await.unwrap();
    let list = async |domain| sorted(directory.aliases(domain).await.unwrap());
    assert_eq!(list(None).await, sorted(vec![other.clone(), staff.clone()]));
    assert_eq!(list(Some(&edu)).await, sorted(vec![staff.clone()]));
    assert_eq!(list(Some(&org)).await, [other]);
    directory.remove_alias(&address("staff@EXAMPLE.edu")).await.unwrap();
    refused(directory.remove_alias(&staff.address).await, Reason::NotFound);
    directory.add_account(&new("staff@example.edu", None)).await.unwrap();
}

async fn resolutions(directory: &dyn Directory) {
    let ana = directory.add_account(&new("ana@example.edu", None)).await.unwrap();
    let bea = directory.add_account(&new("bea@example.org", None)).await.unwrap();
    directory.add_account(&new("off@example.edu", None)).await.unwrap();
    let off = AccountChange { enabled: Some(false), ..Default::default() };
    directory.change_account(&address("off@example.edu"), &off).await.unwrap();
    for (name, targets) in [
        ("staff@example.edu", &["ana@example.edu", "Bea@example.org", "ana@EXAMPLE.edu", "x@foreign.net"][..]),
        (
            "all@example.org",
            &["staff@example.edu", "off@example.edu", "nobody@example.edu", "X@foreign.net", "bea@example.org"],
        ),
        ("none@example.edu", &["off@example.edu", "nobody@example.edu"]),
        ("ring1@example.edu", &["ring2@example.edu", "ana@example.edu"]),
        ("ring2@example.edu", &["ring1@example.edu"]),
    ] {
        directory.add_alias(&alias(name, targets)).await.unwrap();
    }
    let resolve = async |text: &str| directory.resolve(&address(text)).await.unwrap();
    let everyone =
        [format!("ana@example.edu {}", ana.id), format!("bea@example.org {}", bea.id), "x@foreign.net".to_owned()];
    assert_eq!(resolve("ANA@example.edu").await, Resolution::Recipients(vec![Target::Account(ana.clone())]));
    assert_eq!(resolve("ana+Some+thing@example.edu").await, Resolution::Recipients(vec![Target::Account(ana)]));
    assert_eq!(recipients(resolve("staff+x@example.edu").await), everyone);
    assert_eq!(resolve("nobody+ana@example.edu").await, Resolution::Unknown);
    assert!(matches!(resolve("off+x@example.edu").await, Resolution::Blocked(_)));
    assert_eq!(recipients(resolve("staff@example.edu").await), everyone);
    assert_eq!(recipients(resolve("all@example.org").await), everyone);
    assert_eq!(resolve("nobody@example.edu").await, Resolution::Unknown);
    assert_eq!(resolve("ana@sub.example.edu").await, Resolution::Foreign);
    assert_eq!(resolve("ana@edu").await, Resolution::Foreign);
    for blocked in ["off@example.edu", "none@example.edu", "ring1@example.edu", "ring2@example.edu"] {
        let answer = resolve(blocked).await;
        assert!(matches!(&answer, Resolution::Blocked(why) if !why.is_empty()), "{blocked}: {answer:?}");
    }
}

async fn bounds(directory: &dyn Directory) {
    let ana = directory.add_account(&new("ana@example.edu", None)).await.unwrap();
    let many = |count: usize| (0..count).map(|i| address(&format!("someone{i}@foreign.net"))).collect::<Vec<_>>();
    let list = |name: &str, targets: Vec<Address>| Alias { address: address(name), targets };
    refused(directory.add_alias(&list("big@example.edu", many(ALIAS_TARGETS + 1))).await, Reason::Invalid);
    let big = list("big@example.edu", many(ALIAS_TARGETS));
    directory.add_alias(&big).await.unwrap();
    assert_eq!(sorted(directory.aliases(None).await.unwrap()), sorted(vec![big.clone()]));
    assert_eq!(recipients(directory.resolve(&big.address).await.unwrap()).len(), ALIAS_TARGETS);
    directory.add_alias(&alias("bigger@example.edu", &["big@example.edu", "ana@example.edu"])).await.unwrap();
    let answer = directory.resolve(&address("bigger@example.edu")).await.unwrap();
    assert!(matches!(answer, Resolution::Blocked(_)), "{answer:?}");

    directory.add_alias(&alias("chain1@example.edu", &["ana@example.edu"])).await.unwrap();
    for i in 2..=ALIAS_DEPTH + 1 {
        let target = format!("chain{}@example.edu", i - 1);
        directory.add_alias(&alias(&format!("chain{i}@example.edu"), &[&target])).await.unwrap();
    }
    let deep = directory.resolve(&address(&format!("chain{ALIAS_DEPTH}@example.edu"))).await.unwrap();
    assert_eq!(deep, Resolution::Recipients(vec![Target::Account(ana)]));
    let deeper = directory.resolve(&address(&format!("chain{}@example.edu", ALIAS_DEPTH + 1))).await.unwrap();
    assert!(matches!(deeper, Resolution::Blocked(_)), "{deeper:?}");
}
