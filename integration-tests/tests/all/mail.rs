//! Mail that leaves, and mail that comes back.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use estafeta_integration_tests::client::imap::literal;
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::postfix::Postfix;
use estafeta_integration_tests::sink::Sink;
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

fn submit(cluster: &Cluster, from: &str, to: &[&str], message: &str) -> anyhow::Result<()> {
    let mut smtp = Smtp::connect_tls(cluster.at("submissions")?, &cluster.trust)?;
    smtp.authenticate(from, PASSWORD)?.expect(235)?;
    smtp.send(from, to, message.as_bytes())?.expect(250)?;
    smtp.quit()
}

/// The whole messages in an INBOX, when there are so many.
fn wait_for_inbox(cluster: &Cluster, login: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(login, PASSWORD)?.ok()?;
        imap.command("EXAMINE INBOX")?.ok()?;
        let fetched = imap.command("FETCH 1:* (BODY.PEEK[])")?;
        let messages: Vec<String> = fetched
            .untagged
            .iter()
            .filter_map(|response| Some(String::from_utf8_lossy(literal(response)?).into_owned()))
            .collect();
        if messages.len() >= count {
            return Ok(messages);
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "{} messages for {count}", messages.len());
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn mail_to_other_domains_goes_out_and_is_tried_again() -> anyhow::Result<()> {
    let sink = Sink::start(&["451 4.3.0 come again"])?;
    Cluster::run(&Topology::apart().route("example.org", sink.address), |cluster| {
        let ana = cluster.account("ana")?;
        submit(
            cluster,
            &ana,
            &["friend@example.org"],
            &format!("From: {ana}\r\nTo: friend@example.org\r\nSubject: out\r\n\r\n.dot\r\n"),
        )?;
        let taken = sink.wait_for(1)?;
        ensure!(taken[0].from.starts_with(&format!("<{ana}>")) && taken[0].to == ["<friend@example.org>"], "{taken:?}");
        ensure!(
            taken[0].message.contains("Subject: out\r\n") && taken[0].message.ends_with("\r\n\r\n.dot\r\n"),
            "{taken:?}"
        );
        ensure!(taken[0].message.contains("Received: "), "{taken:?}");
        // RFC 6409 §8.1, §8.3: what a submission lacks is added.
        ensure!(
            taken[0].message.contains("Date: ") && taken[0].message.to_lowercase().contains("message-id: <"),
            "{taken:?}"
        );
        // Who sent it stays private in the trace where the client wrote nothing of it: no password, no login name.
        ensure!(!taken[0].message.contains(PASSWORD), "{taken:?}");
        thread::sleep(Duration::from_secs(2));
        ensure!(sink.taken().len() == 1, "exactly once");
        Ok(())
    })
}

#[test]
fn what_is_refused_elsewhere_comes_back_as_a_report() -> anyhow::Result<()> {
    let sink = Sink::start(&["550 5.1.1 no such user here"])?;
    Cluster::run(&Topology::apart().route("example.org", sink.address), |cluster| {
        let ana = cluster.account("ana")?;
        submit(
            cluster,
            &ana,
            &["nobody@example.org"],
            &format!("From: {ana}\r\nTo: nobody@example.org\r\nSubject: lost\r\n\r\nx\r\n"),
        )?;
        let report = wait_for_inbox(cluster, &ana, 1)?.remove(0);
        // RFC 3464: three parts, and the fields that programs read.
        for wanted in [
            "multipart/report",
            "report-type=delivery-status",
            "message/delivery-status",
            "Reporting-MTA: dns;",
            "Final-Recipient: rfc822;nobody@example.org",
            "Action: failed",
            "Status: 5.1.1",
            "no such user here",
            "Subject: lost",
            "Auto-Submitted: auto-replied",
            "Return-Path: <>",
        ] {
            let squeezed = report.to_lowercase().replace("; ", ";").replace('"', "");
            ensure!(squeezed.contains(&wanted.to_lowercase().replace("; ", ";")), "no {wanted:?} in\n{report}");
        }
        Ok(())
    })
}

#[test]
fn an_alias_leads_here_and_elsewhere_once_each() -> anyhow::Result<()> {
    let sink = Sink::start(&[])?;
    Cluster::run(&Topology::apart().route("example.org", sink.address), |cluster| {
        let (ana, luis) = (cluster.account("ana")?, cluster.account("luis")?);
        let (team, all) = (format!("team@{DOMAIN}"), format!("all@{DOMAIN}"));
        cluster.administer(&["alias", "add", &team, &ana, &luis], "")?;
        cluster.administer(&["alias", "add", &all, &team, &ana, "friend@example.org"], "")?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.send("sender@example.com", &[&all, &team, &ana], letter("to all", "x").as_bytes())?.expect(250)?;
        sink.wait_for(1)?;
        ensure!(
            wait_for_inbox(cluster, &ana, 1)?.len() == 1 && wait_for_inbox(cluster, &luis, 1)?.len() == 1,
            "once each"
        );
        thread::sleep(Duration::from_secs(2));
        ensure!(sink.taken().len() == 1 && sink.taken()[0].to == ["<friend@example.org>"], "{:?}", sink.taken());
        Ok(())
    })
}

/// How a message to a mailbox of 100 KB that is full is answered.
fn over_quota(cluster: &mut Cluster) -> anyhow::Result<estafeta_integration_tests::client::smtp::Reply> {
    let ana = cluster.account("ana")?;
    cluster.administer(&["account", "quota", &ana, "100K"], "")?;
    let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
    let large = letter("large", &"filling the mailbox with words of no weight\r\n".repeat(4_000));
    let reply = smtp.send("sender@example.com", &[&ana], large.as_bytes())?;
    smtp.send("sender@example.com", &[&ana], letter("small", "fits").as_bytes())?.expect(250)?;
    let inbox = wait_for_inbox(cluster, &ana, 1)?;
    ensure!(inbox.len() == 1 && inbox[0].contains("Subject: small"), "{inbox:?}");
    Ok(reply)
}

#[test]
fn a_full_mailbox_defers_or_refuses_as_configured() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let reply = over_quota(cluster)?;
        // Later: it waits at the sender, or in our queue.
        ensure!(reply.code == 452 || reply.lines.join(" ").contains("queued"), "{reply:?}");
        Ok(())
    })?;
    Cluster::run(&Topology::apart().section("mailbox", "when_over_quota = \"refuse\""), |cluster| {
        over_quota(cluster)?.expect(552)?;
        Ok(())
    })
}

#[test]
fn a_disabled_account_takes_no_mail() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        cluster.administer(&["account", "disable", &ana], "")?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        let reply = smtp.send("sender@example.com", &[&ana], letter("x", "x").as_bytes())?;
        ensure!((450..=554).contains(&reply.code), "{reply:?}");
        Ok(())
    })
}

/// One message's way can be followed by one id through the logs of all nodes.
#[test]
fn one_id_leads_through_all_logs() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        let reply = smtp.send("sender@example.com", &[&ana], letter("x", "x").as_bytes())?.expect(250)?;
        let text = reply.lines.join(" ");
        let id = text
            .split_whitespace()
            .find(|word| word.trim_matches(['<', '>', '(', ')']).len() == 36 && word.matches('-').count() == 4);
        let id = id.map(|word| word.trim_matches(['<', '>', '(', ')']).to_owned());
        let Some(id) = id else { anyhow::bail!("the 250 names no delivery id: {text}") };
        for node in ["edge1", "filter1", "mailbox1"] {
            ensure!(cluster.node(node)?.log().contains(&id), "the log of {node} does not name {id}");
        }
        Ok(())
    })
}

/// Postfix leaves the report to whoever offers DSN (RFC 3461 §5.2.2), as a mailbox node does.
#[test]
fn who_asked_a_postfix_before_us_is_told_of_the_delivery() -> anyhow::Result<()> {
    let sink = Sink::start(&[])?;
    Cluster::run(&Topology::apart().route("example.org", sink.address), |cluster| {
        let ana = cluster.account("ana")?;
        let edge = cluster.node("edge1")?.directory.clone();
        let postfix = Postfix::start_as_edge(cluster.at("lmtp")?, &cluster.authority, &edge)?;
        let mut smtp = Smtp::connect(postfix.smtp)?;
        smtp.command("MAIL FROM:<friend@example.org> ENVID=QQ314159")?.expect(250)?;
        smtp.command(&format!("RCPT TO:<{ana}> NOTIFY=SUCCESS"))?.expect(250)?;
        smtp.command("DATA")?.expect(354)?;
        smtp.wire.write(b"Subject: in by Postfix\r\n\r\nhello\r\n.\r\n")?;
        smtp.reply()?.expect(250)?;
        let inbox = wait_for_inbox(cluster, &ana, 1)?;
        ensure!(inbox[0].contains("Subject: in by Postfix\r\n"), "{inbox:?}");
        let told = sink.wait_for(1)?;
        ensure!(told[0].from.starts_with("<>") && told[0].to == ["<friend@example.org>"], "{told:?}");
        for part in [
            "Original-Envelope-Id: QQ314159\r\n".to_owned(),
            format!("Original-Recipient: rfc822; {ana}\r\nFinal-Recipient: rfc822; {ana}\r\nAction: delivered\r\n"),
        ] {
            ensure!(told[0].message.contains(&part), "{part} is not in {told:?}");
        }
        thread::sleep(Duration::from_secs(2));
        ensure!(sink.taken().len() == 1, "told once: {:?}", sink.taken());
        Ok(())
    })
}
