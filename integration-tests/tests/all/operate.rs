//! Operating a cluster: `cluster status`, alerts, the canary, `node drain` and `node resume`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::client::dns::addresses;
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::topology::Topology;
use serde_json::Value;

/// The fewest nodes of which one can go without anybody missing it.
fn topology() -> Topology {
    Topology::default()
        .with("directory1", &["directory"], None)
        .with("mailbox1", &["mailbox"], Some("a"))
        .with("filter1", &["filter"], None)
        .with("edge1", &["edge"], None)
        .with("access1", &["access"], None)
        .with("access2", &["access"], None)
        .with("dns1", &["dns"], None)
}

/// Asks again and again until it gives something.
fn eventually<T>(
    limit_seconds: u64,
    what: &str,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(Some(found)) => return Ok(found),
            last if begun.elapsed() > Duration::from_secs(limit_seconds) => {
                bail!("not within {limit_seconds} seconds: {what} ({:?})", last.err());
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn status(cluster: &mut Cluster, asked: &str) -> anyhow::Result<Value> {
    cluster.node(asked)?.command(&["cluster", "status", "--json"], "")?.ok()?.json()
}

/// The row of a node's only role.
fn row<'a>(status: &'a Value, node: &str) -> anyhow::Result<&'a Value> {
    let node = status["nodes"].as_array().and_then(|nodes| nodes.iter().find(|row| row["name"] == node));
    node.and_then(|node| node["roles"].as_object()?.values().next()).with_context(|| format!("{status}"))
}

/// Waits until a node stands so, as another sees it.
fn until_stands(cluster: &mut Cluster, asked: &str, node: &str, standing: &str) -> anyhow::Result<Value> {
    eventually(30, &format!("{node} is {standing}"), || {
        let status = status(cluster, asked)?;
        Ok((row(&status, node)?["standing"] == standing).then_some(status))
    })
}

/// Waits until `imap.` names these nodes and no other.
fn until_named(cluster: &mut Cluster, nodes: &[&str]) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for node in nodes {
        wanted.push(cluster.node(node)?.address);
    }
    wanted.sort();
    let dns = cluster.at("dns")?;
    eventually(30, &format!("imap names {nodes:?}"), || {
        let mut named = addresses(dns, &format!("imap.{DOMAIN}."))?;
        named.sort();
        Ok((named == wanted).then_some(()))
    })
}

#[test]
fn what_happens_is_shown_and_told_once() -> anyhow::Result<()> {
    let told = tempfile::tempdir()?;
    let file = told.path().join("told");
    fs::write(told.path().join("password"), format!("{PASSWORD}\n"))?;
    let mut topology = topology();
    topology.top = format!(
        "[alerts]\nafter_seconds = 2\nmail_to = [\"canary@{DOMAIN}\"]\n\
         command = [\"sh\", \"-c\", \"cat >> {0}; echo >> {0}\"]\n\
         [canary]\naccount = \"canary@{DOMAIN}\"\npassword_file = \"{1}/password\"\ninterval_seconds = 2\n\
         authorities = \"../ca.pem\"\n",
        file.display(),
        told.path().display()
    );
    Cluster::run(&topology, |cluster| {
        cluster.account("canary")?;
        for node in ["access1", "access2", "dns1", "edge1", "mailbox1", "filter1", "directory1"] {
            let status = until_stands(cluster, "dns1", node, "ready")?;
            let row = row(&status, node)?;
            ensure!(row["since_ms"].is_u64(), "{row}");
        }
        let shown = cluster.node("edge1")?.command(&["cluster", "status"], "")?.ok()?.output;
        ensure!(shown.contains("7 of 7 nodes ready, as edge1 sees it") && !shown.contains('\x1b'), "{shown}");

        // The canary flies from one node alone.
        let came = |cluster: &Cluster| -> anyhow::Result<Vec<f64>> {
            let nodes = cluster.nodes.iter().filter(|node| node.runs());
            nodes.map(|node| node.metric("estafeta_canary_messages_total")).collect()
        };
        eventually(30, "the canary comes through", || Ok((came(cluster)?.iter().sum::<f64>() >= 2.0).then_some(())))?;
        let flew = came(cluster)?.iter().filter(|count| **count > 0.0).count();
        ensure!(flew == 1, "{flew} nodes send a canary");
        let delay = cluster.node("access1")?.metric("estafeta_canary_delay_seconds_count")?;
        ensure!(delay >= 2.0, "{delay} delays");

        // On a busy machine the start itself may have been a trouble, which is over by now or soon.
        let alerts = || alerts_about(&file, "access2");
        let before = eventually(30, "what was told before is over", || {
            let told = alerts()?;
            Ok(told.len().is_multiple_of(2).then_some(told.len()))
        })?;

        cluster.node("access2")?.kill()?;
        let status = until_stands(cluster, "dns1", "access2", "unheard")?;
        let row = row(&status, "access2")?;
        ensure!(!row["why"].as_str().unwrap_or_default().is_empty(), "{row}");
        // It may be unreachable before it counts as silent: names follow whichever comes first.
        let effects = serde_json::json!(["imap names access1 only now", "pop names access1 only now"]);
        eventually(10, "the event", || {
            let status = self::status(cluster, "dns1")?;
            let events = status["events"].as_array().context("events")?;
            let is_it = |event: &&Value| event["node"] == "access2" && event["effects"] == effects;
            Ok(events.iter().find(is_it).map(ensure_why))
        })??;
        until_named(cluster, &["access1"])?;

        eventually(20, "the alert", || Ok((alerts()?.len() > before).then_some(())))?;
        std::thread::sleep(Duration::from_secs(4));
        ensure!(alerts()?[before..] == [("began".to_owned(), "access1".to_owned())], "{:?}", alerts()?);

        cluster.node("access2")?.start()?;
        until_stands(cluster, "dns1", "access2", "ready")?;
        until_named(cluster, &["access1", "access2"])?;
        eventually(20, "the end of the alert", || Ok((alerts()?.len() > before + 1).then_some(())))?;
        std::thread::sleep(Duration::from_secs(4));
        let turns: Vec<String> = alerts()?.split_off(before).into_iter().map(|(turn, _)| turn).collect();
        ensure!(turns == ["began", "over"], "{turns:?}");

        // The mail about it stands where the canary's messages came and went.
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(&format!("canary@{DOMAIN}"), PASSWORD)?.ok()?;
        imap.command("SELECT INBOX")?.ok()?;
        let found = imap.command("SEARCH HEADER SUBJECT \"PROBLEM: access2\"")?.ok()?.texts().join("\n");
        ensure!(found.split_whitespace().count() == 1 + before / 2 + 1, "one mail each is expected: {found}");

        // A restarted node remembers what it saw.
        cluster.node("dns1")?.terminate()?;
        cluster.node("dns1")?.start()?;
        let status = self::status(cluster, "dns1")?;
        let events = status["events"].as_array().context("events")?;
        ensure!(events.iter().any(|event| event["node"] == "access2" && event["to"] == "unheard"), "{status}");
        Ok(())
    })
}

/// An event says why.
fn ensure_why(event: &Value) -> anyhow::Result<()> {
    ensure!(!event["why"].as_str().unwrap_or_default().is_empty(), "{event}");
    Ok(())
}

/// What the alerts' command was given about this: `began` or `over`, and who told.
fn alerts_about(file: &Path, about: &str) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let alerts = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let word = |alert: &Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
    let about_it = alerts.iter().filter(|alert| alert["about"] == about);
    Ok(about_it.map(|alert| (word(alert, "turn"), word(alert, "told_by"))).collect())
}

/// Whether a node takes connections for IMAP.
fn takes_imap(at: SocketAddr) -> bool {
    TcpStream::connect_timeout(&at, Duration::from_secs(2)).is_ok()
}

#[test]
fn a_drained_node_cuts_nobody_off_and_comes_back() -> anyhow::Result<()> {
    let mut topology = topology();
    topology.top = "[drain]\ndeadline_seconds = 8\nquiet_seconds = 8\n".into();
    Cluster::run(&topology, |cluster| {
        let ana = cluster.account("ana")?;
        until_named(cluster, &["access1", "access2"])?;
        let at = cluster.node("access1")?.at("imaps")?;
        let mut imap = Imap::connect_tls(at, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;
        imap.command("SELECT INBOX")?.ok()?;

        // Asked of another node, it goes to the one that is meant.
        let unknown = cluster.node("dns1")?.command(&["node", "drain", "nobody"], "")?;
        ensure!(unknown.code == 67 && unknown.errors.contains("nobody"), "{unknown:?}");
        let drain = cluster.node("dns1")?.command(&["node", "drain", "access1", "--json"], "")?.ok()?;
        ensure!(drain.json()?["state"] == "draining" && drain.json()?.get("warnings").is_none(), "{drain:?}");
        let begun = Instant::now();
        until_named(cluster, &["access2"])?;
        until_stands(cluster, "dns1", "access1", "draining")?;
        ensure!(begun.elapsed() < Duration::from_secs(6), "names follow too late for this test: {:?}", begun.elapsed());
        // Who is here goes on, who still comes is served.
        imap.command("NOOP")?.ok()?;
        let mut late = Imap::connect_tls(at, &cluster.trust)?;
        late.login(&ana, PASSWORD)?.ok()?;
        drop(late);

        let waited =
            cluster.node("dns1")?.command(&["node", "drain", "access1", "--deadline-seconds", "3", "--wait"], "")?;
        ensure!(waited.code == 0 && waited.output.contains("access1 is drained"), "{waited:?}");
        let bye = imap.wire.text_line()?;
        ensure!(bye.starts_with("* BYE"), "{bye}");
        ensure!(!takes_imap(at), "a drained node refuses whoever comes");

        // It stays drained over a restart.
        cluster.node("access1")?.terminate()?;
        cluster.node("access1")?.spawn()?;
        let progress = |cluster: &mut Cluster| -> anyhow::Result<Value> {
            let arguments = ["node", "drain", "access1", "--deadline-seconds", "0", "--json"];
            cluster.node("dns1")?.command(&arguments, "")?.ok()?.json()
        };
        eventually(30, "it is drained after a restart", || {
            Ok((progress(cluster)?["state"] == "drained").then_some(()))
        })?;
        ensure!(!takes_imap(at));
        ensure!(row(&status(cluster, "dns1")?, "access1")?["standing"] == "draining");

        // Another change of mind is for its own command line.
        let resumed = cluster.node("access2")?.command(&["node", "resume", "access1"], "")?.ok()?;
        ensure!(resumed.output.contains("serving"), "{resumed:?}");
        until_stands(cluster, "dns1", "access1", "ready")?;
        until_named(cluster, &["access1", "access2"])?;
        let mut imap = Imap::connect_tls(at, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;

        // Whoever leaves something undone is told so.
        let drain = cluster.node("dns1")?.command(&["node", "drain", "filter1"], "")?.ok()?;
        ensure!(drain.errors.contains("warning: no other node is ready for the role filter"), "{drain:?}");
        cluster.node("dns1")?.command(&["node", "resume", "filter1"], "")?.ok()?;
        Ok(())
    })
}
