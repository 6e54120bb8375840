//! Real name servers, NSD and Knot, have our zones by transfer: from a hidden primary of two dns nodes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::dns::{addresses, ask};
use estafeta_integration_tests::cluster::{Cluster, DOMAIN};
use estafeta_integration_tests::loopback;
use estafeta_integration_tests::node::{Node, tail};
use estafeta_integration_tests::topology::Topology;
use hickory_proto::rr::{RData, RecordType};

/// A zone out of a file, far beyond what one message holds.
const BIG: &str = "big.test";

/// How many hosts it has: over 64 KB on the wire, compressed.
const HOSTS: usize = 4000;

const KEY: &str = "transfer.demo.test";
const SECRET: &str = "ZXN0YWZldGEtdGVzdHMtZXN0YWZldGEtdGVzdHMtMTI=";

/// Where secondaries listen.
const PORT: u16 = 10153;

/// How long a change may take to reach a secondary, on a machine that is busy with other tests.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A name server of somebody else's.
struct Secondary {
    name: &'static str,
    address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
    log: std::path::PathBuf,
}

impl Secondary {
    fn start(name: &'static str, address: SocketAddr, primaries: &[SocketAddr]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("estafeta-secondary-").tempdir()?;
        let at = directory.path();
        let (program, arguments, text) = match name {
            "nsd" => ("/usr/sbin/nsd", vec!["-d", "-c"], nsd(at, address, primaries)),
            _ => ("/usr/sbin/knotd", vec!["-c"], knot(at, address, primaries)),
        };
        ensure!(Path::new(program).exists(), "{program} is not there: install {name}");
        let (configuration, log) = (at.join("configuration"), at.join("log"));
        fs::write(&configuration, text)?;
        let output = File::create(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { name, address, child, _directory: directory, log })
    }

    fn serial(&self, zone: &str) -> Option<u32> {
        serial(self.address, zone).ok()
    }

    /// Waits until something is so here, and gives how long that took.
    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !is_so(self) {
            if begun.elapsed() > ARRIVAL {
                let log = fs::read(&self.log).unwrap_or_default();
                bail!("{}: not in {ARRIVAL:?}: {what}; {}", self.name, tail(&String::from_utf8_lossy(&log), 30));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(begun.elapsed())
    }

    fn has(&self, host: &str, address: &str) -> bool {
        addresses(self.address, host).is_ok_and(|found| found.iter().any(|one| one.to_string() == address))
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        // NSD answers in processes of its own, which end with it when it ends in order.
        let id = i32::try_from(self.child.id()).unwrap_or_default();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn nsd(at: &Path, address: SocketAddr, primaries: &[SocketAddr]) -> String {
    let at = at.display();
    let mut text = format!(
        "server:\n  ip-address: {}@{}\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{at}\"\n  database: \"\"\n  \
         pidfile: \"{at}/pid\"\n  xfrdfile: \"{at}/xfrd\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/zones\"\n  \
         verbosity: 2\nremote-control:\n  control-enable: no\nkey:\n  name: \"{KEY}\"\n  algorithm: hmac-sha256\n  \
         secret: \"{SECRET}\"\n",
        address.ip(),
        address.port(),
    );
    for zone in [BIG, DOMAIN] {
        let _ =
            write!(text, "zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}\"\n  outgoing-interface: {}\n", address.ip());
        for primary in primaries {
            let _ = write!(
                text,
                "  allow-notify: {} {KEY}\n  request-xfr: {}@{} {KEY}\n",
                primary.ip(),
                primary.ip(),
                primary.port()
            );
        }
    }
    text
}

fn knot(at: &Path, address: SocketAddr, primaries: &[SocketAddr]) -> String {
    let at = at.display();
    let mut text = format!(
        "server:\n  rundir: \"{at}\"\n  listen: {}@{}\nlog:\n  - target: stdout\n    any: info\ndatabase:\n  storage: \
         \"{at}/database\"\nkey:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\nremote:\n",
        address.ip(),
        address.port(),
    );
    for (index, primary) in primaries.iter().enumerate() {
        let _ =
            write!(text, "  - id: primary{index}\n    address: {}@{}\n    key: {KEY}\n", primary.ip(), primary.port());
    }
    let names: Vec<String> = (0..primaries.len()).map(|index| format!("primary{index}")).collect();
    let _ = write!(
        text,
        "acl:\n  - id: notify\n    key: {KEY}\n    action: notify\ntemplate:\n  - id: default\n    storage: \"{at}\"\nzone:\n"
    );
    for zone in [BIG, DOMAIN] {
        let _ = write!(text, "  - domain: {zone}\n    master: [{}]\n    acl: notify\n", names.join(", "));
    }
    text
}

fn serial(server: SocketAddr, zone: &str) -> anyhow::Result<u32> {
    let answers = ask(server, zone, RecordType::SOA)?;
    let found = answers.into_iter().find_map(|data| if let RData::SOA(soa) = data { Some(soa.serial) } else { None });
    found.with_context(|| format!("{server} has no SOA record of {zone}"))
}

fn write_zone(file: &Path, more: &str) -> anyhow::Result<()> {
    let mut text = format!("$ORIGIN {BIG}.\n$TTL 300\n");
    for host in 0..HOSTS {
        let _ = writeln!(text, "host{host} A 198.51.{}.{}", host / 250, host % 250 + 1);
    }
    fs::write(file, text + more)?;
    Ok(())
}

/// What `dig` prints.
fn dig(server: SocketAddr, key: bool, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("dig");
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), "+time=10", "+tries=1"]);
    if key {
        command.args(["-y", &format!("hmac-sha256:{KEY}:{SECRET}")]);
    }
    let output = command.args(arguments).output().context("dig, of Debian's package bind9-dnsutils")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn real_secondaries_follow_a_hidden_primary() -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let file = files.path().join("big.zone");
    write_zone(&file, "")?;
    let places: Vec<SocketAddr> =
        loopback::network(2)?.into_iter().map(|address: IpAddr| SocketAddr::new(address, PORT)).collect();
    let secondaries: Vec<String> =
        places.iter().map(|place| format!("{{ address = \"{place}\", key = \"{KEY}\" }}")).collect();
    let lines = format!(
        "zone_files = {{ \"{BIG}\" = \"{}\" }}\nname_servers = [\"ns1.elsewhere.test\", \"ns2.elsewhere.test\"]\n\n\
         [dns.transfer]\nsecondaries = [{}]\nkeys = [{{ name = \"{KEY}\", secret = \"{SECRET}\" }}]\nallow = [\"127.0.0.0/8\"]\n",
        file.display(),
        secondaries.join(", "),
    );
    let topology = Topology::default()
        .with("dns1", &["dns"], None)
        .with("dns2", &["dns"], None)
        .with("directory1", &["directory"], None)
        .section("dns", &lines);
    Cluster::run(&topology, |cluster| {
        let primaries = cluster.all_at("dns")?;
        let secondaries = ["nsd", "knot"]
            .into_iter()
            .zip(&places)
            .map(|(name, place)| Secondary::start(name, *place, &primaries))
            .collect::<anyhow::Result<Vec<_>>>()?;
        they_get_both_zones(&primaries, &secondaries)?;
        only_who_has_the_key_gets_a_zone(primaries[0])?;
        a_change_arrives(&file, &primaries, &secondaries)?;
        a_node_alone_shows_nothing_new(cluster, &file, &primaries, &secondaries)
    })
}

fn they_get_both_zones(primaries: &[SocketAddr], secondaries: &[Secondary]) -> anyhow::Result<()> {
    for secondary in secondaries {
        for zone in [BIG, DOMAIN] {
            secondary.wait(zone, |secondary| secondary.serial(zone).is_some())?;
            // The live answers of both nodes say the version's number.
            secondary.wait("the same serial number everywhere", |secondary| {
                let expected = secondary.serial(zone);
                primaries.iter().all(|primary| serial(*primary, zone).ok() == expected)
            })?;
        }
        let last = format!("host{}.{BIG}", HOSTS - 1);
        ensure!(secondary.has(&last, &format!("198.51.{}.{}", (HOSTS - 1) / 250, (HOSTS - 1) % 250 + 1)), "{last}");
        let names: Vec<String> = ask(secondary.address, DOMAIN, RecordType::NS)?
            .into_iter()
            .filter_map(|data| if let RData::NS(ns) = data { Some(ns.0.to_ascii()) } else { None })
            .collect();
        ensure!(names.len() == 2 && names.iter().all(|name| name.ends_with("elsewhere.test.")), "{names:?}");
    }
    Ok(())
}

fn only_who_has_the_key_gets_a_zone(primary: SocketAddr) -> anyhow::Result<()> {
    let whole = dig(primary, true, &[BIG, "AXFR"])?;
    let hosts = whole.lines().filter(|line| line.starts_with("host") && line.contains("\tA\t198.51.")).count();
    ensure!(hosts == HOSTS && whole.contains("hmac-sha256."), "{hosts} hosts; {}", tail(&whole, 10));
    let messages = whole.lines().find(|line| line.contains("XFR size")).context("no summary")?;
    ensure!(!messages.contains("messages 1,"), "several messages: {messages}");
    ensure!(!whole.contains("TSIG could not be validated"), "{}", tail(&whole, 10));
    ensure!(dig(primary, false, &[BIG, "AXFR"])?.contains("Transfer failed"), "without a key it is refused");
    let wrong = format!("hmac-sha256:{KEY}:{}", SECRET.replace('Z', "Y"));
    let refused = dig(primary, false, &["-y", &wrong, BIG, "SOA"])?;
    ensure!(refused.contains("NOTAUTH") && refused.contains("BADSIG"), "{refused}");
    let unknown = dig(primary, false, &["-y", &format!("hmac-sha512:{KEY}:{SECRET}"), BIG, "SOA"])?;
    ensure!(unknown.contains("NOTAUTH") && unknown.contains("BADKEY"), "{unknown}");
    let signed = dig(primary, true, &[BIG, "SOA", "+tcp"])?;
    ensure!(signed.contains("NOERROR") && signed.contains("TSIG PSEUDOSECTION"), "{signed}");
    Ok(())
}

fn a_change_arrives(file: &Path, primaries: &[SocketAddr], secondaries: &[Secondary]) -> anyhow::Result<()> {
    let before = serial(primaries[0], BIG)?;
    write_zone(file, "new A 203.0.113.1\n")?;
    for secondary in secondaries {
        // Its own refreshing comes after an hour: this was a notice.
        let took = secondary.wait("a new record", |secondary| secondary.has(&format!("new.{BIG}"), "203.0.113.1"))?;
        println!("{}: a change arrived after {took:?}", secondary.name);
    }
    let after = serial(primaries[0], BIG)?;
    ensure!(after > before, "{before}, then {after}");
    let difference = dig(primaries[0], true, &[BIG, &format!("IXFR={before}")])?;
    let records = difference.lines().filter(|line| !line.starts_with(';') && line.contains("\tIN\t")).count();
    ensure!(records == 5 && difference.contains("203.0.113.1"), "{records} records: {}", tail(&difference, 20));
    Ok(())
}

/// Of two nodes the second alone is no more than half, and not the lowest-named.
fn a_node_alone_shows_nothing_new(
    cluster: &mut Cluster,
    file: &Path,
    primaries: &[SocketAddr],
    secondaries: &[Secondary],
) -> anyhow::Result<()> {
    cluster.node("dns1")?.kill()?;
    let before = serial(primaries[1], BIG)?;
    write_zone(file, "new A 203.0.113.2\n")?;
    thread::sleep(Duration::from_secs(6));
    ensure!(serial(primaries[1], BIG)? == before, "the second node has gone on alone");
    ensure!(secondaries.iter().all(|secondary| secondary.serial(BIG) == Some(before)), "secondaries keep theirs");
    let first: &mut Node = cluster.node("dns1")?;
    first.start()?;
    ensure!(serial(primaries[0], BIG)? >= before, "a node that starts anew does not go back");
    for secondary in secondaries {
        secondary.wait("what waited", |secondary| secondary.has(&format!("new.{BIG}"), "203.0.113.2"))?;
        ensure!(secondary.serial(BIG) > Some(before), "the serial number has grown");
    }
    Ok(())
}
