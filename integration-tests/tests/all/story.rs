//! The story of the demonstration, told to the real cluster: mail comes in at the edge that DNS names, is judged,
//! stored and read, and goes on when nodes die.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estafeta_integration_tests::client::imap::literal;
use estafeta_integration_tests::client::smtp::Reply;
use estafeta_integration_tests::client::{Imap, Pop3, Smtp, dns};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

/// The test strings are written in two pieces, so that no scanner takes this file for what it tests.
const GTUBE: &str = concat!("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
const EICAR: &str = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");

/// Sends a message the way the world does: the domain's exchanges from DNS, the next one when one does not answer.
fn send_by_dns(cluster: &Cluster, to: &str, message: &str) -> anyhow::Result<Reply> {
    let server = cluster.at("dns")?;
    let port = cluster.at("smtp")?.port();
    for (_, host) in dns::exchanges(server, DOMAIN)? {
        for address in dns::addresses(server, &host)? {
            if let Ok(mut smtp) = Smtp::connect(SocketAddr::new(address, port)) {
                return smtp.send("sender@example.com", &[to], message.as_bytes());
            }
        }
    }
    anyhow::bail!("no exchange of {DOMAIN} answers")
}

/// A message with an attachment inside a multipart inside a multipart.
fn nested(subject: &str, name: &str, attachment: &[u8]) -> String {
    let encoded = STANDARD.encode(attachment);
    let lines: Vec<&str> = encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let body = format!(
        "--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain\r\n\r\nsee \
         there\r\n--inner\r\nContent-Type: application/octet-stream; name={name}\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename={name}\r\n\r\n{}\r\n--inner--\r\n--outer--",
        lines.join("\r\n")
    );
    letter(subject, &body).replace(
        "\r\n\r\n--outer\r\n",
        "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n",
    )
}

fn zipped(name: &str, content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file(name, zip::write::SimpleFileOptions::default())?;
    archive.write_all(content)?;
    Ok(archive.finish()?.into_inner())
}

/// The subjects in a mailbox.
fn subjects(address: SocketAddr, cluster: &Cluster, login: &str, mailbox: &str) -> anyhow::Result<Vec<String>> {
    let mut imap = Imap::connect_tls(address, &cluster.trust)?;
    imap.login(login, PASSWORD)?.ok()?;
    if imap.command(&format!("EXAMINE {mailbox}"))?.status != "OK" {
        return Ok(vec![]);
    }
    let fetched = imap.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?;
    let subject = |response: &Vec<u8>| Some(String::from_utf8_lossy(literal(response)?).trim().to_owned());
    Ok(fetched
        .untagged
        .iter()
        .filter_map(subject)
        .map(|line| line.trim_start_matches("Subject: ").to_owned())
        .collect())
}

/// Waits until the mailbox holds the subject.
fn wait_for(address: SocketAddr, cluster: &Cluster, login: &str, subject: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = subjects(address, cluster, login, "INBOX");
        if found.as_ref().is_ok_and(|found| found.iter().any(|known| known == subject)) {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "{subject} is not in {found:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn across_the_demonstrations_cluster() -> anyhow::Result<()> {
    Cluster::run(&Topology::demonstration(), |cluster| {
        let ana = cluster.account_in("ana", Some("a"))?;
        let luis = cluster.account_in("luis", Some("b"))?;
        names(cluster)?;

        // One message for two people of two store groups.
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.send("sender@example.com", &[&ana, &luis], letter("clean", "hello").as_bytes())?.expect(250)?;
        for access in cluster.all_at("imaps")? {
            for account in [&ana, &luis] {
                ensure!(subjects(access, cluster, account, "INBOX")? == ["clean"], "{account} at {access}");
            }
        }
        let mut pop3 = Pop3::connect_tls(cluster.at("pop3s")?, &cluster.trust)?;
        pop3.login(&ana, PASSWORD)?;
        ensure!(pop3.lines("RETR 1")?.iter().any(|line| line == b"hello"));
        pop3.ok("QUIT")?;

        // What must not come in does not.
        let spam = send_by_dns(cluster, &ana, &letter("spam", GTUBE))?;
        ensure!((550..=554).contains(&spam.code), "GTUBE: {spam:?}");
        let virus = send_by_dns(cluster, &ana, &nested("virus", "eicar.com", EICAR.as_bytes()))?;
        ensure!((550..=554).contains(&virus.code), "EICAR in a nested part: {virus:?}");
        let archive = zipped("eicar.com", EICAR.as_bytes())?;
        let virus = send_by_dns(cluster, &ana, &nested("archive", "invoice.zip", &archive))?;
        ensure!((550..=554).contains(&virus.code), "EICAR in a zip: {virus:?}");
        let harmless = zipped("notes.txt", b"nothing bad")?;
        send_by_dns(cluster, &ana, &nested("harmless", "notes.zip", &harmless))?.expect(250)?;
        ensure!(subjects(cluster.at("imaps")?, cluster, &ana, "INBOX")? == ["clean", "harmless"]);

        // A node of each role that has another dies: the next message arrives and is read all the same.
        for name in ["edge1", "access1", "filter1", "dns2"] {
            cluster.node(name)?.kill()?;
        }
        send_by_dns(cluster, &ana, &letter("after", "the deaths"))?.expect(250)?;
        let access2 = cluster.node("access2")?.at("imaps")?;
        wait_for(access2, cluster, &ana, "after")?;
        Ok(())
    })
}

/// What DNS says of the cluster.
fn names(cluster: &Cluster) -> anyhow::Result<()> {
    let mut edges: Vec<IpAddr> = cluster.all_at("smtp")?.iter().map(SocketAddr::ip).collect();
    let mut accesses: Vec<IpAddr> = cluster.all_at("imaps")?.iter().map(SocketAddr::ip).collect();
    edges.sort();
    accesses.sort();
    for server in cluster.all_at("dns")? {
        // The settings come to each node in their own time.
        let begun = Instant::now();
        let exchanges = loop {
            match dns::exchanges(server, DOMAIN) {
                Ok(exchanges) if !exchanges.is_empty() => break exchanges,
                other if begun.elapsed() > Duration::from_secs(60) => {
                    anyhow::bail!("{server} does not serve {DOMAIN}: {other:?}")
                }
                _ => thread::sleep(Duration::from_millis(200)),
            }
        };
        let hosts: Vec<&str> = exchanges.iter().map(|(_, host)| host.as_str()).collect();
        ensure!(hosts.first() == Some(&"mx.demo.test."), "{hosts:?}");
        for (name, wanted) in [("mx", &edges), ("smtp", &edges), ("imap", &accesses), ("pop", &accesses)] {
            let host = format!("{name}.{DOMAIN}.");
            let first = dns::addresses(server, &host)?;
            let second = dns::addresses(server, &host)?;
            ensure!(first != second, "{host} does not rotate");
            let mut sorted = first.clone();
            sorted.sort();
            ensure!(&sorted == wanted, "{host}: {first:?}");
        }
    }
    Ok(())
}

/// The directory may be gone for a while: who is known is known, and mail for them is taken and read.
#[test]
fn while_the_directory_is_away() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.send("sender@example.com", &[&ana], letter("before", "x").as_bytes())?.expect(250)?;
        wait_for(cluster.at("imaps")?, cluster, &ana, "before")?;
        cluster.node("directory1")?.kill()?;
        let reply = Smtp::connect(cluster.at("smtp")?)?.send(
            "sender@example.com",
            &[&ana],
            letter("during", "x").as_bytes(),
        )?;
        reply.expect(250).context("a known recipient while the directory is away")?;
        let unknown =
            Smtp::connect(cluster.at("smtp")?)?.send("sender@example.com", &[&format!("unknown@{DOMAIN}")], b"x")?;
        ensure!((400..500).contains(&unknown.code), "an unknown recipient may exist, so try again: {unknown:?}");
        cluster.node("directory1")?.start()?;
        wait_for(cluster.at("imaps")?, cluster, &ana, "during")
    })
}

/// With no filter ready, mail is asked to come again, and comes in when one is back.
#[test]
fn while_no_filter_is_ready() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        cluster.node("filter1")?.kill()?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.send("sender@example.com", &[&ana], letter("early", "x").as_bytes())?.expect(451)?;
        cluster.node("filter1")?.start()?;
        let begun = Instant::now();
        while Smtp::connect(cluster.at("smtp")?)?
            .send("sender@example.com", &[&ana], letter("late", "x").as_bytes())?
            .code
            != 250
        {
            ensure!(begun.elapsed() < Duration::from_secs(30), "the filter is back and not used");
            thread::sleep(Duration::from_millis(500));
        }
        ensure!(subjects(cluster.at("imaps")?, cluster, &ana, "INBOX")? == ["late"]);
        Ok(())
    })
}

/// With its mailbox node down, mail is queued durably, also over a crash of the edge, and arrives once.
#[test]
fn while_the_mailbox_is_away() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        cluster.node("mailbox1")?.kill()?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.send("sender@example.com", &[&ana], letter("queued", "x").as_bytes())?.expect(250)?;
        cluster.node("edge1")?.kill()?;
        cluster.node("edge1")?.start()?;
        cluster.node("mailbox1")?.start()?;
        wait_for(cluster.at("imaps")?, cluster, &ana, "queued")?;
        thread::sleep(Duration::from_secs(2));
        ensure!(subjects(cluster.at("imaps")?, cluster, &ana, "INBOX")? == ["queued"], "exactly once");
        Ok(())
    })
}
