//! Signed zones as those see them who believe nothing else: `delv` and a validating unbound, before, in and after a
//! roll-over of keys.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN};
use estafeta_integration_tests::loopback;
use estafeta_integration_tests::topology::Topology;

/// How long a step of a roll-over may take, on a machine that is busy with other tests.
const STEP: Duration = Duration::from_secs(60);

/// Where the resolver listens.
const PORT: u16 = 10253;

/// Signed, with short waits, so that a roll-over takes seconds.
const SIGNED: &str = r#"
service_ttl_seconds = 1
stable_ttl_seconds = 1
dnssec = { zones = ["demo.test"], dnskey_ttl_seconds = 1, parent_ds_seconds = 2, longest_ttl_seconds = 1, margin_seconds = 1 }
records = [
    { zone = "demo.test", name = "*.wild", type = "TXT", ttl_seconds = 1, value = '"any name"' },
    { zone = "demo.test", name = "www", type = "CNAME", ttl_seconds = 1, value = "mx" },
    { zone = "demo.test", name = "lost", type = "CNAME", ttl_seconds = 1, value = "nowhere" },
    { zone = "demo.test", name = "other", type = "NS", ttl_seconds = 1, value = "ns.other" },
    { zone = "demo.test", name = "ns.other", type = "A", ttl_seconds = 1, value = "192.0.2.99" },
]"#;

/// What is asked, and whether there is such a thing.
const QUESTIONS: [(&str, &str, bool); 9] = [
    ("demo.test", "MX", true),
    ("demo.test", "SOA", true),
    ("mx.demo.test", "A", true),
    ("www.demo.test", "A", true),
    ("x.y.wild.demo.test", "TXT", true),
    ("demo.test", "AAAA", false),
    ("nobody.demo.test", "A", false),
    ("lost.demo.test", "A", false),
    ("_tcp.demo.test", "A", false),
];

/// The DS that the parent should have, and the key, as an operator would paste them.
fn delegation(cluster: &mut Cluster) -> anyhow::Result<Option<String>> {
    let done = cluster.nodes[0].command(&["dns", "ds", DOMAIN], "")?;
    if done.code != 0 {
        return Ok(None);
    }
    let mut lines = done.output.lines();
    let (ds, key) = (lines.next().context("no DS")?, lines.next().context("no DNSKEY")?);
    ensure!(
        ds.starts_with("demo.test. ") && ds.contains(" IN DS ") && key.contains(" IN DNSKEY 257 3 13 "),
        "{ds}\n{key}"
    );
    Ok(Some(ds.to_owned()))
}

/// Waits for a DS that is not this one.
fn next_delegation(
    cluster: &mut Cluster,
    before: Option<&str>,
    meanwhile: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        match delegation(cluster)? {
            Some(ds) if Some(ds.as_str()) != before => return Ok(ds),
            _ => ensure!(begun.elapsed() < STEP, "no DS in {STEP:?}"),
        }
        meanwhile()?;
        thread::sleep(Duration::from_millis(200));
    }
}

/// Asks everything with `delv`, which believes this DS alone and has no cache.
fn validate(server: SocketAddr, ds: &str, directory: &Path) -> anyhow::Result<()> {
    for (name, kind, exists) in QUESTIONS {
        validate_one(server, ds, directory, name, kind, exists)?;
    }
    Ok(())
}

fn validate_one(
    server: SocketAddr,
    ds: &str,
    directory: &Path,
    name: &str,
    kind: &str,
    exists: bool,
) -> anyhow::Result<()> {
    let fields: Vec<&str> = ds.split_whitespace().collect();
    let [owner, _, _, _, tag, algorithm, digest_type, digest] = fields[..] else { bail!("no DS: {ds}") };
    let anchors = directory.join("anchors");
    let anchor = format!("{owner:?} static-ds {tag} {algorithm} {digest_type} {digest:?};");
    fs::write(&anchors, format!("trust-anchors {{ {anchor} }};\n"))?;
    let output = Command::new("delv")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "-a"])
        .arg(&anchors)
        .args([&format!("+root={DOMAIN}"), name, kind])
        .output()
        .context("delv, of Debian's package bind9-dnsutils, is not installed")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let expected = match (exists, said.contains("CNAME")) {
        (true, _) => "; fully validated",
        (false, false) => "; negative response, fully validated",
        // Of an alias that leads nowhere it says so once for both.
        (false, true) => "ncache nx",
    };
    ensure!(said.contains("fully validated"), "{name} {kind}: {said}");
    ensure!(said.contains(expected), "{name} {kind}: {said}");
    Ok(())
}

/// A resolver that validates.
struct Resolver {
    address: IpAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Resolver {
    fn start(server: SocketAddr, ds: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("estafeta-resolver-").tempdir()?;
        let address = loopback::network(1)?[0];
        let file = directory.path().join("unbound.conf");
        fs::write(
            &file,
            format!(
                "server:\n interface: {address}@{PORT}\n access-control: 127.0.0.0/8 allow\n do-daemonize: no\n \
                 username: \"\"\n chroot: \"\"\n directory: {directory:?}\n pidfile: \"\"\n use-syslog: no\n verbosity: 2\n \
                 do-not-query-localhost: no\n local-zone: \"test.\" nodefault\n module-config: \"validator iterator\"\n \
                 trust-anchor: \"{ds}\"\nremote-control:\n control-enable: no\nstub-zone:\n name: \"{DOMAIN}\"\n \
                 stub-addr: {}@{}\n",
                server.ip(),
                server.port(),
                directory = directory.path(),
            ),
        )?;
        let log = File::create(directory.path().join("log"))?;
        let child = Command::new("/usr/sbin/unbound")
            .args(["-d", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unbound is not there: install it")?;
        let resolver = Self { address, child, _directory: directory };
        let begun = Instant::now();
        while resolver.dig("demo.test", "SOA").is_err() {
            ensure!(begun.elapsed() < STEP, "unbound does not answer");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(resolver)
    }

    fn dig(&self, name: &str, kind: &str) -> anyhow::Result<String> {
        let output = Command::new("dig")
            .arg(format!("@{}", self.address))
            .args(["-p", &PORT.to_string(), "+dnssec", "+time=5", "+tries=1", name, kind])
            .output()?;
        ensure!(output.status.success(), "no answer");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Everything that can be asked comes out validated, or, below the cut without DS, as insecure.
    fn validate(&self) -> anyhow::Result<()> {
        for (name, kind, exists) in QUESTIONS {
            let said = self.dig(name, kind)?;
            let flags = said.lines().find(|line| line.contains("flags:")).unwrap_or_default();
            ensure!(flags.split([' ', ';']).any(|flag| flag == "ad"), "{name} {kind} is not validated: {said}");
            ensure!(said.contains("ANSWER: 0") != exists || name.starts_with("lost"), "{name} {kind}: {said}");
        }
        Ok(())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A roll-over from its first step to its last: whoever asks whichever name server believes every answer all the while.
fn roll_over(topology: Topology) -> anyhow::Result<()> {
    Cluster::run(&topology.section("dns", SIGNED), |cluster| {
        let (servers, directory) = (cluster.all_at("dns")?, tempfile::tempdir()?);
        let directory = directory.path();
        let believed = |ds: &str| servers.iter().try_for_each(|server| validate(*server, ds, directory));
        let say = |cluster: &mut Cluster, arguments: &[&str]| cluster.nodes[0].command(arguments, "")?.ok();
        let patiently = |ds: &str| {
            let begun = Instant::now();
            while let Err(error) = believed(ds) {
                ensure!(begun.elapsed() < STEP, "{error}");
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        };

        let first = next_delegation(cluster, None, || Ok(()))?;
        // Each name server reads the first key when its turn comes.
        patiently(&first)?;
        let resolver = Resolver::start(servers[0], &first)?;
        resolver.validate()?;
        // The proof that there is no DS makes what is below the cut insecure, not forged.
        validate_one(servers[0], &first, directory, "other.demo.test", "DS", false)?;

        let early = cluster.nodes[0].command(&["dns", "key", "roll", DOMAIN], "")?;
        ensure!(early.code != 0 && early.errors.contains("first key"), "{early:?}");
        say(cluster, &["dns", "key", "roll", DOMAIN, "--ds-published"])?;
        say(cluster, &["dns", "key", "roll", DOMAIN])?;
        // Until the parent changes, everyone believes the first key; the new one may already be there.
        let second = next_delegation(cluster, Some(&first), || believed(&first))?;
        believed(&first)?;
        believed(&second)?;
        resolver.validate()?;

        say(cluster, &["dns", "key", "roll", DOMAIN, "--ds-published"])?;
        let begun = Instant::now();
        loop {
            believed(&second)?;
            let keys = say(cluster, &["dns", "key", "list", "--json"])?.json()?;
            if keys.as_array().is_some_and(|keys| keys.len() == 1) {
                break;
            }
            ensure!(begun.elapsed() < STEP, "the old key does not go: {keys}");
            thread::sleep(Duration::from_millis(300));
        }
        believed(&second)?;
        Resolver::start(servers[0], &second)?.validate()?;
        let begun = Instant::now();
        while servers.iter().any(|server| validate(*server, &first, directory).is_ok()) {
            ensure!(begun.elapsed() < STEP, "what the old key has signed is still believed");
            thread::sleep(Duration::from_millis(300));
        }

        // A restart has the keys at once.
        cluster.nodes[0].terminate()?;
        cluster.nodes[0].spawn()?;
        cluster.nodes[0].wait_healthy()?;
        believed(&second)
    })
}

#[test]
fn a_signed_zone_validates_through_a_whole_roll_over() -> anyhow::Result<()> {
    roll_over(Topology::single())
}

#[test]
fn three_name_servers_roll_their_keys_together() -> anyhow::Result<()> {
    roll_over(Topology::single().with("dns2", &["dns"], None).with("dns3", &["dns"], None))
}

/// The key of a secondary that never comes.
const TRANSFER: &str = "hmac-sha256:k.test:ZXN0YWZldGEtdGVzdHMtZXN0YWZldGEtdGVzdHMtMTI=";

#[test]
fn a_zone_with_secondaries_is_answered_and_handed_out_with_one_chain() -> anyhow::Result<()> {
    let (_, secret) = TRANSFER.rsplit_once(':').context("no secret")?;
    let transfer = format!(
        "\n[dns.transfer]\nkeys = [{{ name = \"k.test\", secret = \"{secret}\" }}]\n\
         secondaries = [{{ address = \"127.0.0.1:1\", key = \"k.test\" }}]"
    );
    let topology = Topology::single().section("dns", &(SIGNED.to_owned() + &transfer));
    Cluster::run(&topology, |cluster| {
        let (server, directory) = (cluster.at("dns")?, tempfile::tempdir()?);
        let dig = |arguments: &[&str]| -> anyhow::Result<String> {
            let output = Command::new("dig")
                .arg(format!("@{}", server.ip()))
                .args(["-p", &server.port().to_string(), "+time=5", "+tries=1"])
                .args(arguments)
                .output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let ds = next_delegation(cluster, None, || Ok(()))?;
        let begun = Instant::now();
        while !dig(&["+dnssec", "nobody.demo.test", "A"])?.contains("status: NXDOMAIN") {
            ensure!(begun.elapsed() < STEP, "no version of the zone is shown");
            thread::sleep(Duration::from_millis(200));
        }
        validate(server, &ds, directory.path())?;

        let zone = dig(&["+tcp", "+onesoa", "-y", TRANSFER, DOMAIN, "AXFR"])?;
        let records: String = zone
            .lines()
            .filter(|line| !line.starts_with(';') && !line.contains("TSIG"))
            .map(|l| format!("{l}\n"))
            .collect();
        let file = directory.path().join("zone");
        fs::write(&file, &records)?;
        let output = Command::new("ldns-verify-zone")
            .args(["-V", "2"])
            .arg(&file)
            .output()
            .context("ldns-verify-zone, of Debian's package ldnsutils, is not installed")?;
        ensure!(output.status.success(), "{}{records}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}
