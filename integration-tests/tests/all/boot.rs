//! Start, stop, and what is wrong with a configuration: one clear line that names the file, the line and the mend, and a
//! code of `sysexits.h`, before anything is served.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::binary;
use estafeta_integration_tests::client::smtp::stuffed;
use estafeta_integration_tests::client::{Imap, Smtp};
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;
use nix::sys::signal::Signal;

const NO_INPUT: i32 = 66;
const CONFIG: i32 = 78;

/// Changes the first node's configuration, and expects `check` and `serve` to refuse it with this code and line.
fn refused(
    topology: &Topology,
    change: impl FnOnce(String) -> String,
    code: i32,
    words: &[&str],
) -> anyhow::Result<()> {
    let cluster = Cluster::prepare(topology)?;
    let node = &cluster.nodes[0];
    let text = change(fs::read_to_string(&node.configuration)?);
    fs::write(&node.configuration, &text)?;
    for command in ["check", "serve"] {
        let done = node.command(&[command], "")?;
        let said = done.errors.lines().last().unwrap_or_default();
        ensure!(done.code == code, "{command}: exit code {} for {code}: {}", done.code, done.errors);
        for word in words.iter().chain(&["estafeta.toml"]) {
            ensure!(said.contains(word), "{command}: no {word:?} in {said:?}");
        }
        ensure!(done.errors.lines().count() == 1, "{command}: not one line: {}", done.errors);
    }
    ensure!(!node.directory.join("data/estafeta.sock").exists());
    cluster.succeed();
    Ok(())
}

#[test]
fn a_wrong_configuration_is_refused_in_one_line() -> anyhow::Result<()> {
    let single = Topology::single();
    refused(&single, |text| text.replace("hostname =", "hostnam ="), CONFIG, &["line 4:", "hostnam", "\"hostname\""])?;
    refused(&single, |text| text.replace("\"edge\"", "\"egde\""), CONFIG, &["line 3:", "egde", "\"edge\""])?;
    refused(&single, |text| text.replace("smtp =", "smpt ="), CONFIG, &["smpt"])?;
    refused(&single, |text| text.replace("[dns]\n", "[dns]\nttl = 1\n"), CONFIG, &["ttl", "line"])?;
    let no_time = |text: String| text.replace("[dns]\n", "[dns]\nservice_ttl_seconds = 0\n");
    refused(&single, no_time, CONFIG, &["service_ttl_seconds"])?;
    refused(&single, |text| text.replace("address = \"127", "address = \"327"), CONFIG, &["line 2:"])?;
    refused(&single, |text| text + "\nnonsense", CONFIG, &["line"])?;
    refused(&single, |text| text.replace("[tls]", "[tls.x]"), CONFIG, &[])?;
    // A store group on SQLite has exactly one node: what it keeps its own node knows.
    let twice = Topology::default()
        .with("mailbox1", &["mailbox"], Some("a"))
        .with("mailbox2", &["mailbox"], Some("b"))
        .with("rest", &["dns", "access", "edge", "filter", "directory"], None);
    refused(
        &twice,
        |text| text.replace("store_group = \"b\"", "store_group = \"a\""),
        CONFIG,
        &["store group a", "mailbox2"],
    )
}

#[test]
fn a_missing_file_and_a_port_in_use() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(&Topology::single())?;
    let output = Command::new(binary::path()?).args(["serve", "--config", "/nonexistent/estafeta.toml"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(NO_INPUT) && said.contains("/nonexistent/estafeta.toml"), "{said}");

    let taken = cluster.at("imaps")?;
    let _holder = TcpListener::bind(taken)?;
    let done = cluster.nodes[0].command(&["serve"], "")?;
    let said = done.errors.lines().last().unwrap_or_default();
    ensure!(
        (64..=78).contains(&done.code) && said.contains(&taken.to_string()) && said.contains("imaps"),
        "{} {said}",
        done.code
    );
    ensure!(cluster.nodes[0].status("/health").is_err());
    drop(cluster.nodes.drain(..));
    cluster.succeed();
    Ok(())
}

#[test]
fn a_data_directory_of_somebody_else() -> anyhow::Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        println!("only root can give a directory away: not run");
        return Ok(());
    }
    let cluster = Cluster::prepare(&Topology::single())?;
    let data = cluster.nodes[0].directory.join("data");
    fs::create_dir(&data)?;
    nix::unistd::chown(&data, Some(nix::unistd::Uid::from_raw(12345)), None)?;
    let done = cluster.nodes[0].command(&["check"], "")?;
    ensure!(done.code == 77 && done.errors.contains("12345") && done.errors.contains("chown"), "{done:?}");
    cluster.succeed();
    Ok(())
}

/// What `openssl s_client` hears from a service between nodes when it shows a node's certificate.
fn heard(cluster: &mut Cluster, service: &str, as_node: &str) -> anyhow::Result<String> {
    let (at, own) = (cluster.at(service)?, cluster.node(as_node)?.directory.clone());
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &at.to_string(), "-CAfile"])
        .arg(&cluster.authority)
        .arg("-cert")
        .arg(own.join("node.pem"))
        .arg("-key")
        .arg(own.join("node.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // The greeting comes unasked; a refusal ends the connection.
    std::thread::sleep(Duration::from_secs(1));
    client.kill()?;
    Ok(String::from_utf8_lossy(&client.wait_with_output()?.stdout).into_owned())
}

#[test]
fn between_nodes_only_granted_roles_are_heard() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        for (service, allowed, others) in [
            ("lmtp", "edge1", &["filter1", "access1", "directory1"][..]),
            ("mailbox-imap", "access1", &["filter1", "edge1", "directory1"]),
            ("mailbox-pop3", "access1", &["filter1", "edge1", "directory1"]),
            ("edge-submission", "mailbox1", &["access1"]),
        ] {
            let greeting = heard(cluster, service, allowed)?;
            ensure!(!greeting.is_empty(), "{service} does not greet {allowed}");
            for other in others {
                let said = heard(cluster, service, other)?;
                ensure!(said.is_empty(), "{service} says to {other}: {said}");
            }
        }
        // An edge that shows the certificate of an access node gets no verdict, and takes no mail.
        let (access, edge) = (cluster.node("access1")?.directory.clone(), cluster.node("edge1")?.directory.clone());
        cluster.node("edge1")?.terminate()?;
        for file in ["node.pem", "node.key"] {
            fs::copy(access.join(file), edge.join(file))?;
        }
        let Ok(()) = cluster.node("edge1")?.start() else { return Ok(()) };
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        let reply = smtp.send("a@example.com", &[&ana], letter("x", "x").as_bytes())?;
        ensure!((400..500).contains(&reply.code), "an access node's certificate was taken for an edge's: {reply:?}");
        Ok(())
    })
}

#[test]
fn the_clusters_authority() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let place = directory.path().join("authority");
    let place = place.to_str().context("a path")?;
    let run = |arguments: &[&str]| Command::new(binary::path()?).args(arguments).output().context("run");
    let made = run(&["cluster", "init", "--directory", place])?;
    ensure!(made.status.success(), "{made:?}");
    let again = run(&["cluster", "init", "--directory", place])?;
    ensure!(again.status.code() == Some(73), "an authority is never written over: {again:?}");
    let issued = run(&["cluster", "certificate", "edge7", "--role", "edge", "--directory", place])?;
    ensure!(issued.status.success(), "{issued:?}");
    let unknown = run(&["cluster", "certificate", "edge7", "--role", "egde", "--directory", place])?;
    ensure!(
        unknown.status.code() == Some(64) && String::from_utf8_lossy(&unknown.stderr).contains("edge"),
        "{unknown:?}"
    );
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            ensure!(fs::metadata(&path)?.permissions().mode() & 0o077 == 0, "{} can be read by others", path.display());
        }
    }
    let certificate = format!("{place}/edge7.pem");
    let shown =
        Command::new("openssl").args(["x509", "-noout", "-ext", "subjectAltName", "-in", &certificate]).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(
        shown.contains("estafeta:node:edge7") && shown.contains("estafeta:role:edge") && !shown.contains("role:dns"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn status_and_drain() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let ana = cluster.account("ana")?;
        let (code, health) = cluster.nodes[0].status("/health")?;
        ensure!(code == 200);
        for role in ["dns", "access", "edge", "filter", "mailbox", "directory"] {
            ensure!(health.contains(role), "{health}");
        }
        Smtp::connect(cluster.at("smtp")?)?.send("a@example.com", &[&ana], letter("x", "x").as_bytes())?.expect(250)?;
        let (_, metrics) = cluster.nodes[0].status("/metrics")?;
        for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            ensure!(line.starts_with("estafeta_"), "a metric of another name: {line}");
        }
        ensure!(cluster.nodes[0].metric("estafeta_connections_total")? >= 1.0);

        // Reload is not an end.
        cluster.nodes[0].signal(Signal::SIGHUP)?;
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;

        // An open transaction may end; then the node ends, well.
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        smtp.command("MAIL FROM:<a@example.com>")?.expect(250)?;
        smtp.command(&format!("RCPT TO:<{ana}>"))?.expect(250)?;
        smtp.command("DATA")?.expect(354)?;
        cluster.nodes[0].signal(Signal::SIGTERM)?;
        std::thread::sleep(Duration::from_millis(300));
        smtp.wire.write(&stuffed(letter("in the drain", "x").as_bytes()))?;
        let reply = smtp.reply().context("the reply to a message that was being sent when the drain began")?;
        ensure!(reply.code == 250, "{reply:?}");
        let bye = imap.wire.text_line()?;
        ensure!(bye.starts_with("* BYE"), "{bye}");
        let status = cluster.nodes[0].terminate()?;
        ensure!(status.success(), "{status}");

        cluster.nodes[0].start()?;
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;
        let listed = imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join("\n");
        ensure!(listed.contains("MESSAGES 2"), "{listed}");
        Ok(())
    })
}

/// The serial number of the certificate that a service shows.
fn serial_shown(cluster: &Cluster, service: &str) -> anyhow::Result<String> {
    let shell = format!(
        "openssl s_client -connect {} -CAfile {} < /dev/null 2> /dev/null | openssl x509 -noout -serial",
        cluster.at(service)?,
        cluster.authority.display()
    );
    let output = Command::new("sh").args(["-c", &shell]).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn sighup_reloads_certificates_and_hangs_up_on_nobody() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let ana = cluster.account("ana")?;
        let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
        imap.login(&ana, PASSWORD)?.ok()?;
        let before = serial_shown(cluster, "imaps")?;
        cluster.renew_service_certificate("all1")?;
        ensure!(serial_shown(cluster, "imaps")? == before, "nobody has said that the files are complete");
        cluster.nodes[0].signal(Signal::SIGHUP)?;
        let begun = Instant::now();
        while serial_shown(cluster, "imaps")? == before {
            ensure!(begun.elapsed() < Duration::from_secs(10), "the old certificate is still shown");
        }
        ensure!(serial_shown(cluster, "submissions")? == serial_shown(cluster, "imaps")?);
        imap.command("NOOP")?.ok()?;
        // Half-written files are refused, and what was good stays.
        fs::write(cluster.nodes[0].directory.join("service.pem"), "-----BEGIN CERTIFICATE-----\n")?;
        let good = serial_shown(cluster, "imaps")?;
        cluster.nodes[0].signal(Signal::SIGHUP)?;
        std::thread::sleep(Duration::from_secs(1));
        ensure!(serial_shown(cluster, "imaps")? == good);
        Ok(())
    })
}

#[test]
fn the_demonstration_tells_its_story() -> anyhow::Result<()> {
    let output = Command::new(binary::path()?).args(["demo", "--once"]).output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{out}\n{err}", output.status);
    Ok(())
}
