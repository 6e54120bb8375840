//! The tools that administrators know, from Debian's package ldap-utils, against the real service.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use estafeta_core::RoleName;
use estafeta_core::directory::Directory as _;

use super::*;

/// Runs a tool with a node's certificate; gives its exit code and what it wrote.
async fn run(served: &Served, tool: &str, arguments: &[&str], input: &str) -> (i32, String) {
    let (files, authority) = served.files("dns1", &[RoleName::DNS]);
    let mut command = Command::new(tool);
    command
        .args(["-H", &format!("ldaps://{}", served.address)])
        .args(arguments)
        .env("LDAPTLS_CACERT", authority)
        .env("LDAPTLS_CERT", files.certificate)
        .env("LDAPTLS_KEY", files.key)
        // The certificate names the node; here it is called by its address.
        .env("LDAPTLS_REQCERT", "allow")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (tool, input) = (tool.to_owned(), input.to_owned());
    let ran = tokio::task::spawn_blocking(move || -> Output {
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{tool}: {error}: install the package ldap-utils"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = ran.await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

const NODE: [&str; 3] = ["-Q", "-Y", "EXTERNAL"];

async fn as_node(served: &Served, tool: &str, arguments: &[&str], input: &str) -> (i32, String) {
    run(served, tool, &[&NODE, arguments].concat(), input).await
}

fn address(text: &str) -> estafeta_core::Address {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_server_describes_itself() {
    let served = Served::start().await;
    let (code, text) = run(&served, "ldapsearch", &["-x", "-LLL", "-b", "", "-s", "base", "+"], "").await;
    assert_eq!(code, 0, "{text}");
    for line in [
        "namingContexts: dc=example,dc=edu",
        "namingContexts: dc=example,dc=org",
        "supportedLDAPVersion: 3",
        "supportedSASLMechanisms: EXTERNAL",
        "supportedExtension: 1.3.6.1.4.1.4203.1.11.1",
        "supportedExtension: 1.3.6.1.4.1.4203.1.11.3",
        "supportedControl: 1.2.840.113556.1.4.319",
        "subschemaSubentry: cn=subschema",
        "vendorName: Estafeta",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    let schema =
        ["-x", "-LLL", "-o", "ldif-wrap=no", "-b", "cn=subschema", "-s", "base", "attributeTypes", "objectClasses"];
    let (code, text) = run(&served, "ldapsearch", &schema, "").await;
    assert!(
        code == 0 && text.contains("NAME ( 'estafetaQuotaBytes' )") && text.contains("NAME 'nisMailAlias'"),
        "{text}"
    );
}

#[tokio::test]
async fn accounts_from_add_to_delete() {
    let served = Served::start().await;
    let ldif = "dn: uid=ana,ou=people,dc=example,dc=edu\n\
        objectClass: inetOrgPerson\nobjectClass: estafetaAccount\nuid: ana\ncn: Ana Pérez\nsn: Pérez\nmail: ana@example.edu\n\
        estafetaStoreGroup: group1\nestafetaQuotaBytes: 2000000000\nuserPassword: correct horse\n\n\
        dn: cn=staff,ou=aliases,dc=example,dc=edu\n\
        objectClass: nisMailAlias\ncn: staff\nrfc822MailMember: ana@example.edu\nrfc822MailMember: x@foreign.net\n";
    let (code, text) = as_node(&served, "ldapadd", &[], ldif).await;
    assert_eq!(code, 0, "{text}");
    let ana = served.store.account(&address("ana@example.edu")).await.unwrap();
    assert_eq!(
        (ana.name.as_str(), ana.quota_bytes, ana.store_group.as_str()),
        ("Ana Pérez", Some(2_000_000_000), "group1")
    );
    assert_eq!(
        served.store.aliases(None).await.unwrap()[0].targets,
        [address("ana@example.edu"), address("x@foreign.net")]
    );
    let (code, text) = as_node(&served, "ldapadd", &[], ldif).await;
    assert!(code == 68 && text.contains("ana@example.edu exists already: it is an account"), "{code} {text}");
    let foreign =
        "dn: uid=ana,ou=people,dc=foreign,dc=net\nobjectClass: estafetaAccount\nuid: ana\nestafetaStoreGroup: group1\n";
    let (code, text) = as_node(&served, "ldapadd", &[], foreign).await;
    assert!(code == 32 && text.contains("estafeta domain add foreign.net"), "{code} {text}");

    let (code, text) =
        as_node(&served, "ldapsearch", &["-LLL", "-b", "dc=example,dc=edu", "(mail=ANA@example.edu)", "*", "+"], "")
            .await;
    assert_eq!(code, 0, "{text}");
    for line in [
        "dn: uid=ana,ou=people,dc=example,dc=edu",
        "objectClass: inetOrgPerson",
        "mail: ana@example.edu",
        "estafetaEnabled: TRUE",
        &format!("entryUUID: {}", ana.id),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    assert!(!text.contains("userPassword"), "{text}");

    let ldif = "dn: uid=ana,ou=people,dc=example,dc=edu\nchangetype: modify\nreplace: displayName\ndisplayName: Ana\n-\ndelete: estafetaQuotaBytes\n-\n\
        replace: estafetaEnabled\nestafetaEnabled: FALSE\n\n\
        dn: cn=staff,ou=aliases,dc=example,dc=edu\nchangetype: modify\nadd: rfc822MailMember\nrfc822MailMember: y@foreign.net\n-\n\
        delete: rfc822MailMember\nrfc822MailMember: X@foreign.net\n";
    let (code, text) = as_node(&served, "ldapmodify", &[], ldif).await;
    assert_eq!(code, 0, "{text}");
    let changed = served.store.account(&ana.address).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.quota_bytes, changed.enabled, changed.id), ("Ana", None, false, ana.id));
    assert_eq!(
        served.store.aliases(None).await.unwrap()[0].targets,
        [address("ana@example.edu"), address("y@foreign.net")]
    );

    for dn in ["uid=ana,ou=people,dc=example,dc=edu", "cn=staff,ou=aliases,dc=example,dc=edu"] {
        let (code, text) = as_node(&served, "ldapdelete", &[dn], "").await;
        assert_eq!(code, 0, "{text}");
        assert_eq!(as_node(&served, "ldapdelete", &[dn], "").await.0, 32);
    }
    assert!(
        served.store.accounts(None).await.unwrap().is_empty() && served.store.aliases(None).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn passwords_and_who_am_i() {
    let served = Served::start().await;
    served.add("ana@example.edu", Some("correct horse")).await;
    let ana = "uid=ana,ou=people,dc=example,dc=edu";
    assert_eq!(as_node(&served, "ldapwhoami", &[], "").await, (0, "u:node:dns1\n".into()));
    let who = async |password: &str| run(&served, "ldapwhoami", &["-x", "-D", ana, "-w", password], "").await;
    assert_eq!(who("correct horse").await, (0, format!("dn:{ana}\n")));
    let (code, text) = who("wrong horse").await;
    assert!(code == 49 && text.contains("Invalid credentials"), "{code} {text}");

    let (code, text) = as_node(&served, "ldappasswd", &["-s", "battery staple", ana], "").await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(who("battery staple").await.0, 0);
    assert_eq!(who("correct horse").await.0, 49);
    // Its own, without a word: the server makes one.
    let (code, text) = run(&served, "ldappasswd", &["-x", "-D", ana, "-w", "battery staple"], "").await;
    let made = text.lines().find_map(|line| line.strip_prefix("New password: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(code == 0 && made.len() == 16);
    assert_eq!(who(made).await.0, 0);
    let (code, text) = as_node(&served, "ldappasswd", &["-s", "short", ana], "").await;
    assert!(code != 0 && text.contains("(19)") && text.contains("at least 8 characters"), "{code} {text}");
}

#[tokio::test]
async fn many_entries_come_in_pages() {
    let served = Served::start().await;
    let adding: Vec<_> = (0..1200)
        .map(|i| {
            let store = served.store.clone();
            let domain = if i % 2 == 0 { "edu" } else { "org" };
            tokio::spawn(async move {
                let account = NewAccount {
                    address: format!("user{i:04}@example.{domain}").parse().unwrap(),
                    name: String::new(),
                    store_group: "group1".parse().unwrap(),
                    quota_bytes: None,
                    quota_messages: None,
                    password: None,
                };
                store.add_account(&account).await.unwrap();
            })
        })
        .collect();
    for one in adding {
        one.await.unwrap();
    }
    let count = |text: &str| text.lines().filter(|line| line.starts_with("dn: ")).count();
    let filter = "(objectClass=estafetaAccount)";
    let (code, text) = as_node(&served, "ldapsearch", &["-LLL", "-b", "", filter, "uid"], "").await;
    assert!(code == 4 && count(&text) == 1000 && text.contains("ask for them in pages"), "{code} {}", count(&text));
    for size in ["7", "333", "600", "5000"] {
        let (code, text) = as_node(
            &served,
            "ldapsearch",
            &["-LLL", "-E", &format!("pr={size}/noprompt"), "-b", "", filter, "uid"],
            "",
        )
        .await;
        assert_eq!((code, count(&text)), (0, 1200), "{size}");
    }
    let (code, text) = as_node(&served, "ldapsearch", &["-LLL", "-z", "10", "-b", "", filter, "uid"], "").await;
    assert_eq!((code, count(&text)), (4, 10));
    let asked = served.client("edge1", &[RoleName::EDGE]).accounts(None).await.unwrap();
    assert_eq!(asked, served.store.accounts(None).await.unwrap());
    assert_eq!(asked.len(), 1200);
}

#[tokio::test]
async fn critical_controls_that_nobody_knows_are_refused() {
    let served = Served::start().await;
    let (code, text) = as_node(&served, "ldapsearch", &["-b", "", "-s", "base", "-e", "!1.2.3.4.5"], "").await;
    assert_eq!(code, 12, "{text}");
    let (code, text) =
        as_node(&served, "ldapsearch", &["-b", "", "-s", "base", "-e", "1.2.3.4.5", "-e", "sessiontracking=ana"], "")
            .await;
    assert_eq!(code, 0, "{text}");
}
