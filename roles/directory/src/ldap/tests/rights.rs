//! Who may do what, asked by plain LDAP.

use estafeta_core::RoleName;
use estafeta_core::certificate::dns_name;
use ldap3::exop::{PasswordModify, WhoAmI, WhoAmIResp};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Mod, Scope, StdStream};
use tokio::net::TcpStream;

use super::*;

const SUCCESS: u32 = 0;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT_ACCESS: u32 = 50;
const UNWILLING: u32 = 53;

const ANA: &str = "uid=ana,ou=people,dc=example,dc=edu";
const BEA: &str = "uid=bea,ou=people,dc=example,dc=edu";

async fn connect(served: &Served) -> Ldap {
    let config = served.tls("dns1", &[RoleName::DNS]).cluster_client().unwrap();
    let stream = TcpStream::connect(served.address).await.unwrap().into_std().unwrap();
    let settings = LdapConnSettings::new().set_config(config).set_std_stream(StdStream::Tcp(stream));
    let url = format!("ldaps://{}", dns_name(&"directory1".parse().unwrap()));
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &url).await.unwrap();
    tokio::spawn(connection.drive());
    ldap
}

async fn served() -> Served {
    let served = Served::start().await;
    served.add("ana@example.edu", Some("correct horse")).await;
    served.add("bea@example.edu", Some("battery staple")).await;
    served
}

/// The result code of a search, and how many entries it found.
async fn search(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> (u32, usize) {
    let found = ldap.search(base, scope, filter, ["*", "+"]).await.unwrap();
    (found.1.rc, found.0.len())
}

async fn who(ldap: &mut Ldap) -> String {
    let answer = ldap.extended(WhoAmI).await.unwrap();
    answer.0.val.as_ref().map(|_| answer.0.parse::<WhoAmIResp>().authzid).unwrap_or_default()
}

#[tokio::test]
async fn nobody_sees_the_server_and_nothing_else() {
    let served = served().await;
    let mut ldap = connect(&served).await;
    assert_eq!(who(&mut ldap).await, "");
    assert_eq!(search(&mut ldap, "", Scope::Base, "(objectClass=*)").await, (SUCCESS, 1));
    assert_eq!(search(&mut ldap, "cn=subschema", Scope::Base, "(objectClass=subschema)").await, (SUCCESS, 1));
    for (base, scope) in
        [("", Scope::Subtree), ("dc=example,dc=edu", Scope::Base), (ANA, Scope::Base), ("dc=nothing", Scope::Base)]
    {
        assert_eq!(search(&mut ldap, base, scope, "(objectClass=*)").await, (INSUFFICIENT_ACCESS, 0), "{base}");
    }
    let replace = || vec![Mod::Replace("displayName", ["Ana"].into())];
    assert_eq!(ldap.modify(ANA, replace()).await.unwrap().rc, INSUFFICIENT_ACCESS);
    assert_eq!(ldap.delete(ANA).await.unwrap().rc, INSUFFICIENT_ACCESS);
    assert_eq!(
        ldap.add("uid=eva,ou=people,dc=example,dc=edu", vec![("uid", ["eva"].into())]).await.unwrap().rc,
        INSUFFICIENT_ACCESS
    );
    assert_eq!(ldap.compare(ANA, "uid", "ana").await.unwrap().0.rc, INSUFFICIENT_ACCESS);
    let modify = PasswordModify { user_id: Some(ANA), old_pass: None, new_pass: Some("a new password") };
    assert_eq!(ldap.extended(modify).await.unwrap().1.rc, INSUFFICIENT_ACCESS);
}

#[tokio::test]
async fn an_account_sees_itself_and_changes_its_own_password() {
    let served = served().await;
    let mut ldap = connect(&served).await;
    assert_eq!(ldap.simple_bind(ANA, "correct horse").await.unwrap().rc, SUCCESS);
    assert_eq!(who(&mut ldap).await, format!("dn:{ANA}"));
    assert_eq!(search(&mut ldap, ANA, Scope::Base, "(objectClass=*)").await, (SUCCESS, 1));
    assert_eq!(search(&mut ldap, "", Scope::Subtree, "(objectClass=*)").await, (SUCCESS, 1));
    assert_eq!(search(&mut ldap, "", Scope::Subtree, "(uid=bea)").await, (SUCCESS, 0));
    assert_eq!(search(&mut ldap, BEA, Scope::Base, "(objectClass=*)").await, (SUCCESS, 0));
    let replace = |attribute: &'static str, value: &'static str| vec![Mod::Replace(attribute, [value].into())];
    for (dn, attribute) in [(ANA, "displayName"), (ANA, "estafetaQuotaBytes"), (BEA, "userPassword")] {
        assert_eq!(
            ldap.modify(dn, replace(attribute, "77777777")).await.unwrap().rc,
            INSUFFICIENT_ACCESS,
            "{dn} {attribute}"
        );
    }
    for dn in [ANA, BEA] {
        assert_eq!(ldap.delete(dn).await.unwrap().rc, INSUFFICIENT_ACCESS);
    }
    let modify = |user, password| PasswordModify { user_id: user, old_pass: None, new_pass: Some(password) };
    assert_eq!(ldap.extended(modify(Some(BEA), "a new password")).await.unwrap().1.rc, INSUFFICIENT_ACCESS);
    assert_eq!(ldap.extended(modify(None, "short")).await.unwrap().1.rc, 19);
    assert_eq!(ldap.extended(modify(None, "a new password")).await.unwrap().1.rc, SUCCESS);
    assert_eq!(ldap.simple_bind(ANA, "correct horse").await.unwrap().rc, INVALID_CREDENTIALS);
    // A bind that fails leaves nobody bound.
    assert_eq!(who(&mut ldap).await, "");
    assert_eq!(ldap.simple_bind("ana@example.edu", "a new password").await.unwrap().rc, SUCCESS);
    assert_eq!(ldap.modify(ANA, replace("userPassword", "one more password")).await.unwrap().rc, SUCCESS);
    assert_eq!(ldap.simple_bind("ana@example.edu", "one more password").await.unwrap().rc, SUCCESS);
    let wrong_old =
        PasswordModify { user_id: None, old_pass: Some("correct horse"), new_pass: Some("the last password") };
    assert_eq!(ldap.extended(wrong_old).await.unwrap().1.rc, INVALID_CREDENTIALS);
    let right_old =
        PasswordModify { user_id: None, old_pass: Some("one more password"), new_pass: Some("the last password") };
    assert_eq!(ldap.extended(right_old).await.unwrap().1.rc, SUCCESS);
}

#[tokio::test]
async fn binds_do_not_tell_why_they_fail() {
    let served = served().await;
    served.add("off@example.edu", Some("correct horse")).await;
    let off = estafeta_core::directory::AccountChange { enabled: Some(false), ..Default::default() };
    served.store.change_account(&"off@example.edu".parse().unwrap(), &off).await.unwrap();
    let mut ldap = connect(&served).await;
    let mut texts = Vec::new();
    for (name, password) in [
        (ANA, "wrong horse"),
        ("uid=nobody,ou=people,dc=example,dc=edu", "correct horse"),
        ("uid=off,ou=people,dc=example,dc=edu", "correct horse"),
        ("uid=ana,ou=people,dc=foreign,dc=net", "correct horse"),
        ("dc=example,dc=edu", "correct horse"),
        ("no name at all", "correct horse"),
        ("", "correct horse"),
    ] {
        let result = ldap.simple_bind(name, password).await.unwrap();
        assert_eq!(result.rc, INVALID_CREDENTIALS, "{name}");
        texts.push(result.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
    // RFC 4513 §5.1.2 and §5.1.1.
    assert_eq!(ldap.simple_bind(ANA, "").await.unwrap().rc, UNWILLING);
    assert_eq!(ldap.simple_bind("", "").await.unwrap().rc, SUCCESS);
    assert_eq!(who(&mut ldap).await, "");
}

#[tokio::test]
async fn a_node_sees_the_tree_and_changes_what_can_be_changed() {
    let served = served().await;
    let mut ldap = connect(&served).await;
    assert_eq!(ldap.sasl_external_bind().await.unwrap().rc, SUCCESS);
    assert_eq!(who(&mut ldap).await, "u:node:dns1");
    for (base, scope, filter, found) in [
        ("", Scope::OneLevel, "(objectClass=*)", 2),
        ("", Scope::Subtree, "(objectClass=*)", 8),
        ("dc=example,dc=edu", Scope::Subtree, "(objectClass=*)", 5),
        ("dc=example,dc=edu", Scope::OneLevel, "(objectClass=*)", 2),
        ("ou=people,dc=example,dc=edu", Scope::OneLevel, "(objectClass=*)", 2),
        ("ou=people,dc=example,dc=edu", Scope::Subtree, "(objectClass=*)", 3),
        ("ou=aliases,dc=example,dc=edu", Scope::OneLevel, "(objectClass=*)", 0),
        (ANA, Scope::Subtree, "(objectClass=*)", 1),
        (ANA, Scope::OneLevel, "(objectClass=*)", 0),
        ("dc=example,dc=edu", Scope::Subtree, "(uid=ana)", 1),
        ("dc=example,dc=org", Scope::Subtree, "(uid=ana)", 0),
        ("", Scope::Subtree, "(|(mail=ANA@example.edu)(mail=bea@example.edu)(mail=x@y.z))", 2),
        ("", Scope::Subtree, "(&(objectClass=inetOrgPerson)(!(uid=ana)))", 1),
        ("", Scope::Subtree, "(associatedDomain=example.org)", 1),
        ("", Scope::Subtree, "(userPassword=*)", 0),
    ] {
        assert_eq!(search(&mut ldap, base, scope, filter).await, (SUCCESS, found), "{base} {scope:?} {filter}");
    }
    for base in [
        "dc=edu",
        "dc=foreign,dc=net",
        "uid=eva,ou=people,dc=example,dc=edu",
        "cn=ana,ou=aliases,dc=example,dc=edu",
        "o=nothing",
    ] {
        assert_eq!(search(&mut ldap, base, Scope::Subtree, "(objectClass=*)").await, (NO_SUCH_OBJECT, 0), "{base}");
    }
    assert_eq!(search(&mut ldap, "not a name", Scope::Base, "(objectClass=*)").await, (34, 0));
    assert_eq!(ldap.compare(ANA, "uid", "ANA").await.unwrap().0.rc, 6);
    assert_eq!(ldap.compare(ANA, "uid", "bea").await.unwrap().0.rc, 5);
    assert_eq!(ldap.compare(ANA, "displayName", "x").await.unwrap().0.rc, 16);

    let rc = async |ldap: &mut Ldap, change: Mod<&str>| ldap.modify(ANA, vec![change]).await.unwrap().rc;
    for (change, code) in [
        (Mod::Replace("displayName", ["Ana Pérez"].into()), SUCCESS),
        (Mod::Add("displayName", ["Ana"].into()), 20),
        (Mod::Delete("displayName", ["Ana"].into()), 16),
        (Mod::Replace("sn", ["Pérez"].into()), SUCCESS),
        (Mod::Replace("sn", ["García"].into()), 19),
        (Mod::Replace("cn", ["Ana García"].into()), SUCCESS),
        (Mod::Delete("displayName", ["Ana García"].into()), SUCCESS),
        (Mod::Add("estafetaQuotaBytes", ["1000"].into()), SUCCESS),
        (Mod::Replace("estafetaQuotaBytes", ["-1"].into()), 21),
        (Mod::Replace("estafetaQuotaBytes", ["1", "2"].into()), 19),
        (Mod::Delete("estafetaQuotaBytes", [].into()), SUCCESS),
        (Mod::Delete("estafetaQuotaBytes", [].into()), 16),
        (Mod::Replace("estafetaEnabled", ["maybe"].into()), 21),
        (Mod::Delete("estafetaEnabled", [].into()), 65),
        (Mod::Replace("estafetaStoreGroup", ["group2"].into()), SUCCESS),
        (Mod::Replace("estafetaStoreGroup", ["no group"].into()), 21),
        (Mod::Delete("estafetaStoreGroup", [].into()), 19),
        (Mod::Replace("mail", ["eva@example.edu"].into()), 67),
        (Mod::Replace("uid", ["eva"].into()), 67),
        (Mod::Replace("entryUUID", ["6f0d2d0e-9b1c-4c52-8a57-3e3a4c1f7e21"].into()), 19),
        (Mod::Replace("objectClass", ["person"].into()), 69),
        (Mod::Replace("telephoneNumber", ["1"].into()), 17),
        (Mod::Replace("userPassword", ["{SSHA}c2FsdGVkIGhhc2g="].into()), 19),
        (Mod::Delete("userPassword", [].into()), 19),
        (Mod::Increment("estafetaQuotaBytes", "1"), 19),
    ] {
        let text = format!("{change:?}");
        assert_eq!(rc(&mut ldap, change).await, code, "{text}");
    }
    // All of one request, or nothing of it.
    let mixed = vec![Mod::Replace("displayName", ["Nobody"].into()), Mod::Replace("userPassword", ["short"].into())];
    assert_eq!(ldap.modify(ANA, mixed).await.unwrap().rc, 19);
    assert_eq!(served.store.account(&"ana@example.edu".parse().unwrap()).await.unwrap().name, "");
    for dn in ["dc=example,dc=edu", "ou=people,dc=example,dc=edu"] {
        assert_eq!(ldap.delete(dn).await.unwrap().rc, UNWILLING);
        assert_eq!(ldap.add(dn, vec![("ou", ["people"].into())]).await.unwrap().rc, UNWILLING);
    }
    assert_eq!(ldap.modifydn(ANA, "uid=eva", true, None).await.unwrap().rc, UNWILLING);
    let modify = PasswordModify { user_id: None, old_pass: None, new_pass: Some("a new password") };
    assert_eq!(ldap.extended(modify).await.unwrap().1.rc, UNWILLING);
}
