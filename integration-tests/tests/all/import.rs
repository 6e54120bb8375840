//! Mail comes over from other servers by IMAP, through a node that keeps none: out of Debian's Dovecot, and out of ourselves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::client::imap::literal;
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::dovecot::{self, Dovecot};
use estafeta_integration_tests::node::Done;
use estafeta_integration_tests::topology::Topology;
use estafeta_integration_tests::{loopback, tokens};
use serde_json::{Value, json};

/// How many messages come over, before and after a node is killed.
const MESSAGES: usize = 400;

/// How long the first messages may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn session(cluster: &Cluster, login: &str) -> anyhow::Result<Imap> {
    let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
    imap.login(login, PASSWORD)?.ok()?;
    Ok(imap)
}

/// How many messages a mailbox has.
fn count(imap: &mut Imap, mailbox: &str) -> anyhow::Result<usize> {
    let told = imap.command(&format!("STATUS {mailbox} (MESSAGES)"))?.ok()?.texts().join(" ");
    let (_, count) = told.rsplit_once("MESSAGES ").context("no count")?;
    Ok(count.trim_end().trim_end_matches(')').parse()?)
}

fn import(cluster: &Cluster, arguments: &[&str], password: &str) -> anyhow::Result<Done> {
    let access = cluster.nodes.iter().find(|node| node.name() == "access1").context("no access1")?;
    let all = [&["mailbox", "import", "--json", "--password"], arguments].concat();
    access.command(&all, &format!("{password}\n"))
}

fn came(messages: usize, there_already: usize) -> Value {
    json!([{ "messages": messages, "there_already": there_already, "refused": 0, "wrong": false }])
}

#[test]
fn out_of_dovecot_cut_off_and_again() -> anyhow::Result<()> {
    let address = loopback::network(1)?.remove(0);
    Cluster::run(&Topology::apart(), |cluster| {
        let luis = cluster.account("luis")?;
        let (certificate, key) = (cluster.directory.path().join("old.pem"), cluster.directory.path().join("old.key"));
        cluster.issue_service(address, &certificate, &key)?;
        let server = Dovecot::start_at(address, "sdbox", (&certificate, &key))?;
        let mut old = Imap::connect(server.imap)?;
        old.login("ana", &dovecot::password())?.ok()?;
        for mailbox in ["A&APE-o", "A&APE-o/2026", "Gesendet"] {
            old.command(&format!("CREATE {mailbox}"))?.ok()?;
        }
        for number in 0..MESSAGES {
            let text = tokens::message(&format!("of-{number}"), "ana@old.test", 2_000 + number);
            old.append("INBOX", if number % 2 == 0 { "\\Seen $Forwarded" } else { "" }, &text)?.ok()?;
        }
        let large = tokens::message("large", "ana@old.test", 30_000_000);
        old.append("A&APE-o/2026", "\\Flagged", &large)?.ok()?;
        old.append("Gesendet", "", &tokens::message("sent", "ana@old.test", 100_000))?.ok()?;

        let from = format!("imaps://ana@{}", server.imaps);
        let ca = cluster.authority.to_str().context("a path")?.to_owned();
        let arguments = [luis.as_str(), "--from", &from, "--ca", &ca];
        for (arguments, password, word) in [
            (&arguments[..], "wrong", "does not let ana in"),
            (&arguments[..3], "unbelieved", "certificate is not believed"),
            (&[luis.as_str(), "--from", "imap://ana@localhost"], "clear", "imaps"),
        ] {
            let refused = import(cluster, arguments, password)?;
            ensure!(refused.code != 0 && refused.errors.contains(word), "{word}: {}", refused.errors);
        }

        // The node is killed in the middle.
        let mut imap = session(cluster, &luis)?;
        let place = |name: &str| cluster.nodes.iter().position(|node| node.name() == name).context("no such node");
        let places = [place("mailbox1")?, place("access1")?];
        let before = thread::scope(|scope| -> anyhow::Result<usize> {
            let [mailbox, access] = cluster.nodes.get_disjoint_mut(places)?;
            let all = [&["mailbox", "import", "--password"], &arguments[..]].concat();
            let asked = scope.spawn(move || access.command(&all, &format!("{}\n", dovecot::password())));
            let begun = Instant::now();
            let mut before = 0;
            while before == 0 && begun.elapsed() < PATIENCE {
                before = count(&mut imap, "INBOX")?;
                thread::sleep(Duration::from_millis(5));
            }
            mailbox.kill()?;
            let cut = asked.join().map_err(|_| anyhow::anyhow!("a panic"))??;
            ensure!(cut.code != 0, "it was not cut off: {}", cut.output);
            mailbox.start()?;
            Ok(before)
        })?;
        let begun = Instant::now();
        let mut imap = loop {
            match session(cluster, &luis) {
                Ok(imap) => break imap,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        };
        let after = count(&mut imap, "INBOX")?;
        ensure!((before..MESSAGES).contains(&after), "{before}, then {after}");
        // In which order mailboxes come is the server's affair.
        let others: usize = ["Sent", "A&APE-o/2026"].iter().filter_map(|other| count(&mut imap, other).ok()).sum();
        let rest = import(cluster, &arguments, &dovecot::password())?.ok()?.json()?;
        let before = after + others;
        ensure!(rest == came(MESSAGES + 2 - before, before), "{after} and {others} were there: {rest}");
        let again = import(cluster, &arguments, &dovecot::password())?.ok()?.json()?;
        ensure!(again == came(0, MESSAGES + 2), "{again}");

        let held = tokens::in_mailbox(cluster.at("imaps")?, &cluster.trust, &luis)?;
        ensure!(held.len() == MESSAGES && held.values().all(|copies| *copies == 1), "{held:?}");
        ensure!(count(&mut imap, "Sent")? == 1);
        imap.command("SELECT A&APE-o/2026")?.ok()?;
        let told = imap.command("FETCH 1 (FLAGS BODY.PEEK[])")?.ok()?;
        ensure!(told.untagged.iter().any(|one| literal(one) == Some(&large[..])), "30 MB, byte for byte");
        ensure!(told.untagged.iter().any(|one| String::from_utf8_lossy(one).contains("\\Flagged")));
        for session in [&mut imap, &mut old] {
            session.command("SELECT INBOX")?.ok()?;
            let seen = session.command("SEARCH SEEN KEYWORD $Forwarded")?.ok()?.texts().join(" ");
            ensure!(seen.split_ascii_whitespace().count() == MESSAGES / 2 + 1, "{seen}");
        }
        cluster.administer(&["mailbox", "verify"], "")
    })
}

/// A certificate that vouches for itself, as `openssl req -x509` makes them.
fn self_signed(directory: &Path, name: &str, more: &[&str]) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=old.example.edu"]);
    let made = command.args(more).arg("-out").arg(&certificate).arg("-keyout").arg(&key).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok((certificate, key))
}

#[test]
fn out_of_a_server_that_vouches_for_itself() -> anyhow::Result<()> {
    let address = loopback::network(1)?.remove(0);
    Cluster::run(&Topology::apart(), |cluster| {
        let luis = cluster.account("luis")?;
        let directory = cluster.directory.path().to_owned();
        let named = format!("subjectAltName=IP:{address}");
        let (other, _) = self_signed(&directory, "other", &[])?;
        for (name, more, word) in [
            ("nameless", &[][..], None),
            ("named", &["-addext", &named][..], None),
            ("misnamed", &["-addext", "subjectAltName=DNS:elsewhere.example.edu"][..], Some("issued for")),
        ] {
            let (certificate, key) = self_signed(&directory, name, more)?;
            let server = Dovecot::start_at(address, "sdbox", (&certificate, &key))?;
            let from = format!("imaps://ana@{}", server.imaps);
            for (ca, word) in [(&certificate, word), (&other, Some("name this very certificate"))] {
                let ca = ca.to_str().context("a path")?;
                let told = import(cluster, &[&luis, "--from", &from, "--ca", ca], &dovecot::password())?;
                let is_so = word.map_or(told.code == 0, |word| told.code != 0 && told.errors.contains(word));
                ensure!(is_so && !told.errors.contains("OtherError"), "{name}, {ca}: {told:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn out_of_ourselves_with_names_in_utf8() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let (ana, luis) = (cluster.account("ana")?, cluster.account("luis")?);
        let mut imap = session(cluster, &ana)?;
        imap.command("CREATE \"A&APE-o &- m&AOE-s/&U,BTFw-\"")?.ok()?;
        let text = tokens::message("ours", &ana, 70_000);
        imap.append("A&APE-o &- m&AOE-s/&U,BTFw-", "\\Draft", &text)?.ok()?;
        imap.append("INBOX", "", &tokens::message("inbox", &ana, 1_000))?.ok()?;
        let from = format!("imaps://{}@{}", ana.replace('@', "%40"), cluster.at("imaps")?);
        let ca = cluster.authority.to_str().context("a path")?.to_owned();
        let arguments = [luis.as_str(), "--from", &from, "--ca", &ca];
        for (messages, there_already) in [(2, 0), (0, 2)] {
            let told = import(cluster, &arguments, PASSWORD)?.ok()?.json()?;
            ensure!(told == came(messages, there_already), "{told}");
        }
        let mut imap = session(cluster, &luis)?;
        let listed = imap.command("LIST \"\" \"A*/*\"")?.ok()?.texts().join(" ");
        ensure!(listed.contains("A&APE-o &- m&AOE-s/&U,BTFw-"), "{listed}");
        imap.command("SELECT \"A&APE-o &- m&AOE-s/&U,BTFw-\"")?.ok()?;
        let told = imap.command("FETCH 1 (FLAGS BODY.PEEK[])")?.ok()?;
        ensure!(told.untagged.iter().any(|one| literal(one) == Some(&text[..])));
        ensure!(told.texts().join(" ").contains("\\Draft"));
        // What is named alone, and then the rest of what is new.
        let mut source = session(cluster, &ana)?;
        source.append("INBOX", "", &tokens::message("later", &ana, 1_000))?.ok()?;
        source.append("Archive", "", &tokens::message("archived", &ana, 1_000))?.ok()?;
        let named = [&arguments[..], &["--mailbox", "Archive"]].concat();
        for (arguments, there_already) in [(&named[..], 0), (&arguments[..], 3)] {
            let told = import(cluster, arguments, PASSWORD)?.ok()?.json()?;
            ensure!(told == came(1, there_already), "{told}");
        }
        ensure!(count(&mut imap, "INBOX")? == 2 && count(&mut imap, "Archive")? == 1);
        Ok(())
    })
}
