//! An administrator's tools and helpers: swaks, openssl, dig, the LDAP tools, clamd.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_integration_tests::client::Smtp;
use estafeta_integration_tests::cluster::{Cluster, DOMAIN, PASSWORD};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::Topology;

use super::{run, run_any, session};

#[test]
fn swaks_sends_and_submits() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let ana = cluster.account("ana")?;
        let (smtp, submission) = (cluster.at("smtp")?, cluster.at("submission")?);
        let swaks = |to: SocketAddr| {
            let mut command = Command::new("swaks");
            command.args([
                "--server",
                &to.ip().to_string(),
                "--port",
                &to.port().to_string(),
                "--to",
                &ana,
                "--ehlo",
                "client.example",
            ]);
            command
        };
        run(swaks(smtp).args(["--from", "sender@example.com", "--header", "Subject: swaks 1", "--pipeline"]))?;
        run(swaks(smtp).args(["--from", "sender@example.com", "--header", "Subject: swaks 2", "--tls"]))?;
        run(swaks(submission).args([
            "--from",
            &ana,
            "--tls",
            "--auth",
            "PLAIN",
            "--auth-user",
            &ana,
            "--auth-password",
            PASSWORD,
        ]))?;
        let (said, success) = run_any(swaks(submission).args(["--from", &ana]))?;
        ensure!(!success && said.contains("530"), "{said}");
        let (said, success) = run_any(swaks(smtp).args(["--from", "sender@example.com", "--to", "else@example.net"]))?;
        ensure!(!success && said.contains("5.7.1"), "{said}");
        let status = session(cluster, &ana)?.command("STATUS INBOX (MESSAGES)")?.texts().join(" ");
        ensure!(status.contains("MESSAGES 3"), "{status}");
        Ok(())
    })
}

#[test]
fn openssl_verifies_every_service() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        for (service, start) in [
            ("imaps", None),
            ("pop3s", None),
            ("submissions", None),
            ("imap", Some("imap")),
            ("pop3", Some("pop3")),
            ("smtp", Some("smtp")),
            ("submission", Some("smtp")),
        ] {
            let address = cluster.at(service)?;
            for version in ["-tls1_2", "-tls1_3"] {
                let mut command = Command::new("openssl");
                command.args([
                    "s_client",
                    "-brief",
                    version,
                    "-verify_return_error",
                    "-verify_ip",
                    &address.ip().to_string(),
                ]);
                command.args(["-connect", &address.to_string(), "-CAfile"]).arg(&cluster.authority);
                if let Some(protocol) = start {
                    command.args(["-starttls", protocol]);
                }
                let said = run(&mut command)?;
                ensure!(said.contains("Verification: OK"), "{service} {version}: {said}");
            }
            let (said, success) = run_any(Command::new("openssl").args([
                "s_client",
                "-brief",
                "-tls1_1",
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-connect",
                &address.to_string(),
            ]))?;
            ensure!(!success || start.is_some(), "{service} speaks TLS 1.1: {said}");
        }
        Ok(())
    })
}

#[test]
fn dig_over_udp_and_tcp() -> anyhow::Result<()> {
    Cluster::run(&Topology::single(), |cluster| {
        let server = cluster.at("dns")?;
        for transport in ["+notcp", "+tcp"] {
            let mut dig = Command::new("dig");
            dig.args([
                &format!("@{}", server.ip()),
                "-p",
                &server.port().to_string(),
                transport,
                DOMAIN,
                "MX",
                "+short",
            ]);
            // In rotation: their preferences order them, not their places.
            let mut exchanges: Vec<String> = run(&mut dig)?.lines().map(str::to_owned).collect();
            exchanges.sort();
            ensure!(exchanges == [format!("10 mx.{DOMAIN}."), format!("20 all1.{DOMAIN}.")], "{exchanges:?}");
            let mut dig = Command::new("dig");
            let question = format!("_imaps._tcp.{DOMAIN}");
            dig.args([
                &format!("@{}", server.ip()),
                "-p",
                &server.port().to_string(),
                transport,
                &question,
                "SRV",
                "+short",
            ]);
            ensure!(run(&mut dig)? == format!("0 1 {} imap.{DOMAIN}.\n", cluster.at("imaps")?.port()));
        }
        Ok(())
    })
}

#[test]
fn ldap_tools() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let url = format!("ldaps://{}", cluster.at("ldaps")?);
        let edge = cluster.node("edge1")?.directory.clone();
        let authority = cluster.authority.clone();
        let with = |program: &str, node: Option<&Path>| {
            let mut command = Command::new(program);
            // The node's certificate names the node, which no tool can compare with an address.
            command.env("LDAPTLS_CACERT", &authority).env("LDAPTLS_REQCERT", "allow").args(["-H", &url]);
            if let Some(directory) = node {
                command.env("LDAPTLS_CERT", directory.join("node.pem")).env("LDAPTLS_KEY", directory.join("node.key"));
            }
            command
        };
        let base = "dc=demo,dc=test";
        let found = run(with("ldapsearch", Some(&edge)).args([
            "-Q",
            "-Y",
            "EXTERNAL",
            "-LLL",
            "-b",
            base,
            &format!("(mail={ana})"),
        ]))?;
        ensure!(found.to_lowercase().contains("dn: uid=ana,ou=people,dc=demo,dc=test"), "{found}");
        ensure!(!found.to_lowercase().contains("argon2") && !found.to_lowercase().contains("userpassword"), "{found}");
        let person = "uid=ana,ou=people,dc=demo,dc=test";
        let own = ["-x", "-D", person, "-w", PASSWORD];
        let me = run(with("ldapwhoami", Some(&edge)).args(own))?;
        ensure!(me.to_lowercase().contains("ana"), "{me}");
        let (said, success) = run_any(with("ldapwhoami", Some(&edge)).args(["-x", "-D", person, "-w", "wrong"]))?;
        ensure!(!success && said.contains("Invalid credentials (49)"), "{said}");
        run(with("ldappasswd", Some(&edge)).args(own).args(["-a", PASSWORD, "-s", "another password", person]))?;
        run(with("ldapwhoami", Some(&edge)).args(["-x", "-D", person, "-w", "another password"]))?;
        let (said, success) = run_any(with("ldapsearch", None).args(["-x", "-b", base]))?;
        ensure!(!success, "a client without a certificate was served: {said}");
        Ok(())
    })
}

/// Debian's clamd with one signature of our own, so that nothing has to be downloaded.
struct Clamd {
    socket: PathBuf,
    child: Child,
}

impl Clamd {
    fn start(place: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(place.join("signatures"))?;
        // A body signature: name, any file, anywhere, the bytes in hexadecimal ("estafeta-test-virus").
        let hexadecimal: String = b"estafeta-test-virus".iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(place.join("signatures/test.ndb"), format!("Estafeta.Test:0:*:{hexadecimal}\n"))?;
        let (file, socket) = (place.join("clamd.conf"), place.join("clamd.sock"));
        fs::write(
            &file,
            format!(
                "Foreground yes\nLocalSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\nUser root\nLogFile {}\n",
                socket.display(),
                place.join("signatures").display(),
                place.display(),
                place.join("log").display()
            ),
        )?;
        let text = fs::read_to_string(&file)?;
        if !nix::unistd::Uid::effective().is_root() {
            fs::write(&file, text.replace("User root\n", ""))?;
        }
        let mut child = Command::new("clamd")
            .arg("--config-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("clamd is not installed: see integration-tests/all")?;
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let ended = child.try_wait()?;
            ensure!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(60),
                "clamd does not start: {}",
                fs::read_to_string(place.join("log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { socket, child })
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clamd_scans_for_us() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let clamd = Clamd::start(place.path())?;
    let topology = Topology::apart().section("filter", &format!("clamd = {:?}", clamd.socket.display().to_string()));
    Cluster::run(&topology, |cluster| {
        let ana = cluster.account("ana")?;
        let mut smtp = Smtp::connect(cluster.at("smtp")?)?;
        let send = |smtp: &mut Smtp, body: &str| {
            let message = letter("x", body);
            smtp.send("sender@example.com", &[&ana], message.as_bytes())
        };
        send(&mut smtp, "harmless")?.expect(250)?;
        let infected = send(&mut smtp, "estafeta-test-virus")?;
        ensure!((550..=554).contains(&infected.code), "{infected:?}");
        drop(clamd);
        let unscanned = send(&mut smtp, "harmless")?;
        ensure!(unscanned.code == 451, "without clamd nothing is let in unscanned: {unscanned:?}");
        Ok(())
    })
}
