//! The command line for domains, accounts and aliases, on a node that has no directory role.

use anyhow::ensure;
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::node::Done;
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

/// Exit codes, as `sysexits.h` has them.
const USAGE: i32 = 64;
const DATA: i32 = 65;
const NO_INPUT: i32 = 66;
const NO_USER: i32 = 67;
const UNAVAILABLE: i32 = 69;
const CANNOT_CREATE: i32 = 73;
const NO_PERMISSION: i32 = 77;

fn on_access(cluster: &mut Cluster, arguments: &[&str], input: &str) -> anyhow::Result<Done> {
    cluster.node("access1")?.command(arguments, input)
}

/// The command fails with this code and one line on standard error that names these words.
fn refused(cluster: &mut Cluster, arguments: &[&str], input: &str, code: i32, words: &[&str]) -> anyhow::Result<()> {
    let done = on_access(cluster, arguments, input)?;
    ensure!(done.code == code, "{arguments:?}: exit code {} for {code}: {}", done.code, done.errors);
    ensure!(done.output.is_empty(), "{arguments:?}: {:?} on standard output", done.output);
    for word in words {
        ensure!(done.errors.contains(word), "{arguments:?}: no {word:?} in {:?}", done.errors);
    }
    ensure!(code == USAGE || done.errors.lines().count() == 1, "{arguments:?}: {}", done.errors);
    Ok(())
}

#[test]
fn through_any_node() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = format!("ana@{DOMAIN}");
        on_access(cluster, &["domain", "add", "second.test"], "")?.ok()?;
        let domains = on_access(cluster, &["domain", "list", "--json"], "")?.ok()?.json()?.to_string();
        ensure!(domains.contains(DOMAIN) && domains.contains("second.test"), "{domains}");
        let table = on_access(cluster, &["domain", "list"], "")?.ok()?.output;
        ensure!(table.contains("second.test") && !table.contains('{'), "{table}");

        on_access(cluster, &["account", "add", &ana], &format!("{PASSWORD}\n"))?.ok()?;
        let shown = on_access(cluster, &["account", "show", &ana, "--json"], "")?.ok()?.json()?;
        ensure!(shown["address"] == ana.as_str() && shown["enabled"] == true, "{shown}");
        ensure!(!shown.to_string().to_lowercase().contains("password"), "{shown}");

        refused(cluster, &["account", "add", &ana], &format!("{PASSWORD}\n"), CANNOT_CREATE, &[&ana])?;
        refused(cluster, &["account", "add", "not an address"], &format!("{PASSWORD}\n"), DATA, &["not an address"])?;
        refused(cluster, &["account", "add", "x@nowhere.test"], &format!("{PASSWORD}\n"), NO_USER, &["nowhere.test"])?;
        refused(cluster, &["account", "add", &format!("b@{DOMAIN}")], "short\n", DATA, &[])?;
        refused(cluster, &["account", "add", &format!("b@{DOMAIN}")], "", NO_INPUT, &["standard input"])?;
        refused(cluster, &["account", "show", &format!("nobody@{DOMAIN}")], "", NO_USER, &["nobody@"])?;
        refused(cluster, &["account", "frobnicate"], "", USAGE, &["frobnicate"])?;
        refused(cluster, &["domain", "add", DOMAIN], "", CANNOT_CREATE, &[DOMAIN])?;
        refused(cluster, &["domain", "remove", DOMAIN, "--yes"], "", NO_PERMISSION, &[DOMAIN])?;
        refused(cluster, &["account", "remove", &ana], "", USAGE, &["--yes"])?;

        // What the directory was told, every role does.
        let imaps = cluster.at("imaps")?;
        let login = |cluster: &Cluster, password: &str| -> anyhow::Result<bool> {
            let mut imap = Imap::connect_tls(imaps, &cluster.trust)?;
            Ok(imap.login(&ana, password)?.status == "OK")
        };
        ensure!(login(cluster, PASSWORD)?);
        on_access(cluster, &["account", "password", &ana], "another password\n")?.ok()?;
        ensure!(login(cluster, "another password")? && !login(cluster, PASSWORD)?);
        on_access(cluster, &["account", "disable", &ana], "")?.ok()?;
        ensure!(!login(cluster, "another password")?);
        on_access(cluster, &["account", "enable", &ana], "")?.ok()?;
        ensure!(login(cluster, "another password")?);
        on_access(cluster, &["account", "quota", &ana, "2G"], "")?.ok()?;
        let shown = on_access(cluster, &["account", "show", &ana, "--json"], "")?.ok()?.json()?.to_string();
        ensure!(shown.contains(&(2_u64 << 30).to_string()), "{shown}");

        let alias = format!("info@{DOMAIN}");
        on_access(cluster, &["alias", "add", &alias, &ana], "")?.ok()?;
        ensure!(on_access(cluster, &["alias", "list", "--json"], "")?.ok()?.output.contains(&alias));
        refused(cluster, &["alias", "add", &alias, &ana], "", CANNOT_CREATE, &[&alias])?;
        Smtp::connect(cluster.at("smtp")?)?
            .send("sender@example.com", &[&alias], letter("to the alias", "x").as_bytes())?
            .expect(250)?;
        // Whom the sender named is handed on to the mailbox node (RFC 3461 §4.2), and stands in the message.
        let mut imap = Imap::connect_tls(imaps, &cluster.trust)?;
        imap.login(&ana, "another password")?.ok()?;
        imap.command("SELECT INBOX")?.ok()?;
        let fetched = imap.command("FETCH * BODY.PEEK[HEADER.FIELDS (Original-Recipient)]")?.ok()?.texts().concat();
        ensure!(fetched.contains(&format!("Original-Recipient: rfc822;{alias}")), "{fetched}");
        on_access(cluster, &["alias", "remove", &alias], "")?.ok()?;
        ensure!(!on_access(cluster, &["alias", "list", "--json"], "")?.ok()?.output.contains(&alias));

        on_access(cluster, &["account", "remove", &ana, "--yes"], "")?.ok()?;
        ensure!(!login(cluster, "another password")?);
        refused(cluster, &["account", "show", &ana], "", NO_USER, &[&ana])?;
        on_access(cluster, &["domain", "remove", "second.test", "--yes"], "")?.ok()?;

        // A name that comes again does not inherit: invariant of accounts (DESIGN.md, Words).
        on_access(cluster, &["account", "add", &ana], &format!("{PASSWORD}\n"))?.ok()?;
        let mut imap = Imap::connect_tls(imaps, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;
        let status = imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join("\n");
        ensure!(status.contains("MESSAGES 0"), "{status}");
        Ok(())
    })
}

#[test]
fn a_node_that_is_not_there() -> anyhow::Result<()> {
    let cluster = Cluster::prepare(&Topology::single())?;
    let done = cluster.nodes[0].command(&["account", "list"], "")?;
    ensure!(done.code == UNAVAILABLE && done.errors.contains("running"), "{done:?}");
    cluster.succeed();
    Ok(())
}

/// Whoever guesses is stopped, even at the right password; others log in meanwhile.
#[test]
fn guessing_is_limited() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let (ana, luis) = (cluster.account("ana")?, cluster.account("luis")?);
        let login = |login: &str, password: &str| -> anyhow::Result<String> {
            let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
            Ok(imap.login(login, password)?.status)
        };
        // At once: a wrong password is answered after a pause, and the limit forgets one a minute.
        std::thread::scope(|scope| {
            let (ana, login) = (&ana, &login);
            let guess = |number: usize| scope.spawn(move || login(ana, &format!("guess number {number}")));
            let guesses: Vec<_> = (0..15).map(guess).collect();
            guesses.into_iter().try_for_each(|guess| {
                ensure!(guess.join().unwrap()? == "NO");
                Ok(())
            })
        })?;
        ensure!(login(&ana, PASSWORD)? == "NO", "fifteen guesses, and the sixteenth is heard");
        ensure!(login(&luis, PASSWORD)? == "OK", "another account is not locked");
        let mut smtp = Smtp::connect_tls(cluster.at("submissions")?, &cluster.trust)?;
        let reply = smtp.authenticate(&ana, PASSWORD)?;
        ensure!((400..600).contains(&reply.code), "the limit holds for every protocol: {reply:?}");
        Ok(())
    })
}
