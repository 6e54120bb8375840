//! A cluster that grows by tokens and shrinks by removal: one node is configured, the others join.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::joining::JoinToken;
use estafeta_integration_tests::client::{Imap, Smtp, Trust};
use estafeta_integration_tests::cluster::PASSWORD;
use estafeta_integration_tests::node::{Done, Node, tail};
use estafeta_integration_tests::tokens::letter;
use estafeta_integration_tests::topology::{ADMINISTRATION_PORT, Planned, SERVICES, STATUS_PORT};
use estafeta_integration_tests::{binary, loopback};
use tempfile::TempDir;

const DENIED: i32 = 77;
const EXISTS: i32 = 73;

/// A cluster whose first node, a directory, runs.
struct Growing {
    nodes: Vec<Node>,
    addresses: Vec<IpAddr>,
    authority: PathBuf,
    binary: PathBuf,
    directory: TempDir,
}

fn planned(name: &str, roles: &[&'static str], store_group: Option<&'static str>) -> Planned {
    Planned { name: name.to_owned(), roles: roles.to_vec(), store_group }
}

/// Where the services of a node are, as `[listen]` has them.
fn listen(roles: &[&str], address: IpAddr) -> Vec<(&'static str, String)> {
    let own = SERVICES.iter().filter(|service| roles.contains(&service.role));
    let own = own.map(|service| (service.name, format!("{address}:{}", service.port)));
    own.chain([("administration", format!("{address}:{ADMINISTRATION_PORT}")), ("gossip", format!("{address}:17946"))])
        .collect()
}

impl Growing {
    fn begin() -> anyhow::Result<Self> {
        let binary = binary::path()?;
        let directory = tempfile::Builder::new().prefix("estafeta-test-").tempdir()?;
        let addresses = loopback::network(5)?;
        let authority = directory.path().join("authority");
        let place = authority.to_str().context("a path")?;
        for arguments in [
            vec!["cluster", "init", "--directory", place],
            vec!["cluster", "certificate", "directory1", "--role", "directory", "--directory", place],
        ] {
            ensure!(Command::new(&binary).args(arguments).output()?.status.success());
        }
        let (own, address) = (directory.path().join("directory1"), addresses[0]);
        fs::create_dir(&own)?;
        let listen: String =
            listen(&["directory"], address).iter().map(|(name, at)| format!("{name} = \"{at}\"\n")).collect();
        fs::write(
            own.join("estafeta.toml"),
            format!(
                "name = \"directory1\"\nroles = [\"directory\"]\naddress = \"{address}\"\ndata = \"data\"\n\
                 status = \"{address}:{STATUS_PORT}\"\n[listen]\n{listen}\n[cluster]\nauthority = \"{place}/ca.pem\"\n\
                 certificate = \"{place}/directory1.pem\"\nkey = \"{place}/directory1.key\"\n\
                 authority_key = \"{place}/ca.key\"\n"
            ),
        )?;
        let mut first = Node::new(planned("directory1", &["directory"], None), address, own, binary.clone(), None);
        first.start()?;
        Ok(Self { nodes: vec![first], addresses, authority, binary, directory })
    }

    fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name() == name).with_context(|| format!("no node {name}"))
    }

    /// A token for these roles, made on the first node.
    fn token(&self, roles: &str) -> anyhow::Result<String> {
        let done = self.nodes[0].command(&["cluster", "token", "--role", roles, "--json"], "")?.ok()?;
        Ok(done.json()?["token"].as_str().context("no token")?.to_owned())
    }

    /// Runs `cluster join` for a node, asking the node `through`; the node is not started.
    fn join(&self, wanted: &Planned, token: &str, through: &Node) -> anyhow::Result<(Node, Done)> {
        let index = self.nodes.len();
        let address = self.addresses[index];
        let own = self.directory.path().join(&wanted.name);
        fs::create_dir_all(&own)?;
        let authority = AuthorityFiles::open(&self.authority)?;
        let service = authority.issue_service(&[address.to_string()], std::time::SystemTime::now())?;
        let (certificate, key) = (own.join("service.pem"), own.join("service.key"));
        fs::copy(&service.certificate, &certificate)?;
        fs::copy(&service.key, &key)?;
        let mut command = Command::new(&self.binary);
        command.args(["cluster", "join", &format!("{}:{ADMINISTRATION_PORT}", through.address), "--token", token]);
        command.args(["--name", &wanted.name, "--address", &address.to_string()]);
        command.args(["--status", &format!("{address}:{STATUS_PORT}")]);
        command.arg("--data").arg(own.join("data")).arg("--config").arg(own.join("estafeta.toml"));
        command.arg("--tls-certificate").arg(&certificate).arg("--tls-key").arg(&key);
        for (service, at) in listen(&wanted.roles, address) {
            command.args(["--listen", &format!("{service}={at}")]);
        }
        if let Some(group) = wanted.store_group {
            command.args(["--store-group", group]);
        }
        let output = command.stdin(Stdio::null()).output()?;
        let done = Done {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        Ok((Node::new(wanted.clone(), address, own, self.binary.clone(), None), done))
    }

    /// A node joins through the one of this name, and serves.
    fn grow(&mut self, wanted: &Planned, through: &str) -> anyhow::Result<()> {
        let token = self.token(&wanted.roles.join(","))?;
        let through = self.nodes.iter().position(|node| node.name() == through).context("no such node")?;
        let (mut node, done) = self.join(wanted, &token, &self.nodes[through])?;
        let done = done.ok()?;
        ensure!(done.output.contains("start it with"), "{}", done.output);
        if wanted.roles.contains(&"filter") {
            // No name server of the outside is asked in tests.
            let mut file = fs::OpenOptions::new().append(true).open(&node.configuration)?;
            file.write_all(b"\n[filter]\nresolvers = [\"127.0.0.1:1\"]\n")?;
        }
        node.start()?;
        self.nodes.push(node);
        Ok(())
    }
}

/// Asks until it is so.
fn until(what: &str, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !holds()? {
        ensure!(begun.elapsed() < Duration::from_secs(30), "not within 30 seconds: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn nodes_join_serve_and_are_removed() -> anyhow::Result<()> {
    let mut cluster = Growing::begin()?;
    cluster.grow(&planned("mailbox1", &["mailbox"], Some("a")), "directory1")?;
    // The request is passed on by a node that keeps no directory.
    cluster.grow(&planned("front1", &["edge", "access", "filter"], None), "mailbox1")?;

    let front = cluster.node("front1")?;
    front.command(&["domain", "add", "demo.test"], "")?.ok()?;
    until("a node with mailboxes is known", || {
        let done = front.command(&["account", "add", "ana@demo.test"], &format!("{PASSWORD}\n"))?;
        Ok(done.code == 0)
    })?;
    let mut smtp = Smtp::connect(front.at("smtp")?)?;
    smtp.send("a@example.com", &["ana@demo.test"], letter("joined", "x").as_bytes())?.expect(250)?;
    let (imaps, smtp_at) = (front.at("imaps")?, front.at("smtp")?);
    let trust = Trust::in_file(&cluster.authority.join("ca.pem"))?;
    let mut imap = Imap::connect_tls(imaps, &trust)?;
    imap.login("ana@demo.test", PASSWORD)?.ok()?;
    until("the letter is there", || {
        Ok(imap.command("STATUS INBOX (MESSAGES)")?.ok()?.texts().join("\n").contains("MESSAGES 1"))
    })?;

    let listed = cluster.nodes[0].command(&["node", "list", "--json"], "")?.ok()?.json()?;
    let names: Vec<&str> = listed.as_array().context("rows")?.iter().filter_map(|row| row["node"].as_str()).collect();
    ensure!(names == ["directory1", "front1", "mailbox1"], "{listed}");
    // Roles are granted where the directory is, and nowhere else.
    let done = cluster.node("front1")?.command(&["cluster", "token", "--role", "directory"], "")?;
    ensure!(done.code == DENIED && done.errors.contains("with the role directory"), "{done:?}");

    cluster.nodes[0].command(&["node", "remove", "front1", "--yes"], "")?.ok()?;
    let front = cluster.node("front1")?;
    until("the removed node is refused", || Ok(front.command(&["domain", "list"], "")?.code != 0))?;
    // The session that it relays is cut, and what it would deliver is refused.
    until("the session through the removed node ends", || Ok(imap.command("NOOP").is_err()))?;
    let mailbox = cluster.node("mailbox1")?;
    until("the mailbox refuses it", || Ok(mailbox.log().contains("node front1 (certificate")))?;
    // What it took in now, nobody would ever get: it stops, and says why.
    let front = cluster.node("front1")?;
    let mut ended = None;
    until("the removed node stops", || {
        ended = front.ended()?;
        Ok(ended.is_some())
    })
    .with_context(|| tail(&front.log(), 30))?;
    ensure!(ended.and_then(|status| status.code()) == Some(DENIED), "{ended:?}");
    let log = front.log();
    ensure!(log.contains("node front1 was removed from the cluster") && log.contains("cluster join"), "{log}");
    ensure!(Smtp::connect(smtp_at).is_err(), "the removed node still takes mail");
    let listed = cluster.nodes[0].command(&["node", "list"], "")?.ok()?.output;
    ensure!(!listed.contains("front1") && listed.contains("mailbox1"), "{listed}");
    let again = cluster.nodes[0].command(&["node", "remove", "front1", "--yes"], "")?;
    ensure!(again.code != 0 && again.errors.contains("front1"), "{again:?}");
    Ok(())
}

#[test]
fn a_token_that_is_not_good_lets_nobody_in() -> anyhow::Result<()> {
    let cluster = Growing::begin()?;
    let first = &cluster.nodes[0];
    let edge = planned("edge1", &["edge"], None);
    let token = cluster.token("edge")?;

    // Of another cluster, as far as the node that is asked can tell: nothing is sent to it.
    let mut foreign: JoinToken = token.parse()?;
    foreign.fingerprint[0] ^= 1;
    let (_, done) = cluster.join(&edge, &foreign.to_string(), first)?;
    ensure!(done.code == DENIED && done.errors.contains("nothing was sent"), "{done:?}");
    ensure!(done.errors.lines().count() == 1, "{done:?}");
    // Unknown.
    let unknown = JoinToken { secret: [0; 16], ..token.parse()? };
    let (_, done) = cluster.join(&edge, &unknown.to_string(), first)?;
    ensure!(done.code == DENIED && done.errors.contains("not known"), "{done:?}");
    // No token at all.
    let (_, done) = cluster.join(&edge, "estafeta-x", first)?;
    ensure!(done.code == 65, "{done:?}");

    // Whoever shows no certificate may do nothing else.
    let shell = format!(
        "printf 'POST /v1/node/list HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}' | \
         openssl s_client -quiet -connect {}:{ADMINISTRATION_PORT} 2> /dev/null",
        first.address
    );
    let output = Command::new("sh").args(["-c", &shell]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.starts_with("HTTP/1.1 403") && !said.contains("directory1"), "{said}");

    let (node, done) = cluster.join(&edge, &token, first)?;
    done.ok()?;
    let kept = node.directory.join("data/cluster/node.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&kept)?.permissions());
    ensure!(mode & 0o077 == 0, "the key can be read by others: {mode:o}");
    // Used, by another node; and this machine has a node now.
    let (_, done) = cluster.join(&planned("edge2", &["edge"], None), &token, first)?;
    ensure!(done.code == DENIED && done.errors.contains("was used by node edge1"), "{done:?}");
    let (_, done) = cluster.join(&edge, &token, first)?;
    ensure!(done.code == EXISTS && done.errors.contains("--force"), "{done:?}");
    Ok(())
}
