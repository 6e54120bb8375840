//! The name servers that are compared, each started in the foreground with what its package's defaults are, two workers
//! for two processors and so on, and without limits for this machine.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use estafeta_cluster::files::AuthorityFiles;
use estafeta_core::RoleName;
use estafeta_integration_tests::binary;
use estafeta_integration_tests::client::dns;
use estafeta_integration_tests::node::tail;
use hickory_proto::rr::RecordType;

use super::content::{Content, ZONE};

/// Where all of them listen.
pub const PORT: u16 = 10053;

/// How long one may take until it answers.
const START: Duration = Duration::from_secs(30);

/// The programs, and Debian's packages that they are in.
const PROGRAMS: [(&str, &str); 4] = [
    ("/usr/sbin/nsd", "nsd"),
    ("/usr/sbin/knotd", "knot"),
    ("/usr/sbin/pdns_server", "pdns-server pdns-backend-bind"),
    ("/usr/bin/dnsperf", "dnsperf"),
];

/// A running name server. It ends with this value.
pub struct NameServer {
    /// What it is.
    pub name: &'static str,
    /// Where it answers.
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// The packages of which a program is not there.
pub fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|(program, _)| !Path::new(program).exists()).map(|(_, package)| *package).collect()
}

impl NameServer {
    /// Starts all of them, and sees that they answer the same.
    pub fn start_all(directory: &Path, content: &Content) -> anyhow::Result<Vec<Self>> {
        let missing = missing();
        ensure!(missing.is_empty(), "install these packages: {}", missing.join(" "));
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let place = |name: &str| -> anyhow::Result<PathBuf> {
            let own = directory.join(name);
            fs::create_dir(&own)?;
            Ok(own)
        };
        let [estafeta, nsd, knot, power, lua] = content.servers[..] else { bail!("one address for each name server") };
        let servers = vec![
            Self::estafeta(&place("estafeta")?, content, estafeta)?,
            Self::nsd(&place("nsd")?, content, nsd, workers)?,
            Self::knot(&place("knot")?, content, knot, workers)?,
            Self::power_dns("PowerDNS", &place("pdns")?, content, power, workers, false)?,
            Self::power_dns("PowerDNS, Lua health records", &place("pdns-lua")?, content, lua, workers, true)?,
        ];
        for server in &servers {
            server.wait_for(content)?;
        }
        Ok(servers)
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn estafeta(own: &Path, content: &Content, address: IpAddr) -> anyhow::Result<Self> {
        // Other nodes are listed, so it takes a certificate; that nobody of them answers is as good as at a start.
        let authority = AuthorityFiles::init(own, SystemTime::now())?;
        let pair = authority.issue_node(&"dns1".parse()?, &[RoleName::DNS], SystemTime::now())?;
        let cluster = format!(
            "[cluster]\nauthority = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            authority.certificate(),
            pair.certificate,
            pair.key
        );
        fs::write(own.join("estafeta.toml"), content.configuration(address) + &cluster)?;
        let mut command = Command::new(binary::path()?);
        command
            .args(["serve", "--until-stdin-closes", "--config"])
            .arg(own.join("estafeta.toml"))
            .stdin(Stdio::piped());
        Self::start("Estafeta", own, address, command)
    }

    fn nsd(own: &Path, content: &Content, address: IpAddr, workers: usize) -> anyhow::Result<Self> {
        let at = own.display();
        fs::write(own.join("zone"), content.zone_file(address, false))?;
        let text = format!(
            "server:\n ip-address: {address}@{PORT}\n server-count: {workers}\n reuseport: yes\n zonesdir: \"{at}\"\n \
             username: \"\"\n chroot: \"\"\n pidfile: \"{at}/pid\"\n database: \"\"\n zonelistfile: \"{at}/list\"\n \
             xfrdfile: \"{at}/xfrd\"\n xfrdir: \"{at}\"\n logfile: \"{at}/own-log\"\n rrl-ratelimit: 0\n \
             rrl-whitelist-ratelimit: 0\n\
             remote-control:\n control-enable: no\nzone:\n name: \"{ZONE}\"\n zonefile: \"zone\"\n"
        );
        fs::write(own.join("nsd.conf"), text)?;
        let mut command = Command::new("/usr/sbin/nsd");
        command.arg("-d").arg("-c").arg(own.join("nsd.conf"));
        Self::start("NSD", own, address, command)
    }

    fn knot(own: &Path, content: &Content, address: IpAddr, workers: usize) -> anyhow::Result<Self> {
        let at = own.display();
        fs::write(own.join("zone"), content.zone_file(address, false))?;
        let text = format!(
            "server:\n  rundir: \"{at}\"\n  listen: {address}@{PORT}\n  udp-workers: {workers}\n\
             log:\n  - target: stderr\n    any: warning\n\
             database:\n  storage: \"{at}\"\n\
             zone:\n  - domain: {ZONE}\n    storage: \"{at}\"\n    file: zone\n"
        );
        fs::write(own.join("knot.conf"), text)?;
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(own.join("knot.conf"));
        Self::start("Knot", own, address, command)
    }

    fn power_dns(
        name: &'static str,
        own: &Path,
        content: &Content,
        address: IpAddr,
        workers: usize,
        health: bool,
    ) -> anyhow::Result<Self> {
        let at = own.display();
        fs::write(own.join("zone"), content.zone_file(address, health))?;
        fs::write(own.join("named.conf"), format!("zone \"{ZONE}\" {{ type master; file \"{at}/zone\"; }};\n"))?;
        let text = format!(
            "launch=bind\nbind-config={at}/named.conf\nlocal-address={address}\nlocal-port={PORT}\nsocket-dir={at}\n\
             daemon=no\nguardian=no\nreceiver-threads={workers}\nreuseport=yes\nenable-lua-records={}\n\
             security-poll-suffix=\n",
            if health { "yes" } else { "no" }
        );
        fs::write(own.join("pdns.conf"), text)?;
        let mut command = Command::new("/usr/sbin/pdns_server");
        command.arg(format!("--config-dir={at}"));
        Self::start(name, own, address, command)
    }

    fn start(name: &'static str, own: &Path, address: IpAddr, mut command: Command) -> anyhow::Result<Self> {
        let log = own.join("log");
        let file = fs::File::create(&log)?;
        command.current_dir(own).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, address: SocketAddr::new(address, PORT), child, log })
    }

    /// Waits until it answers what all answer.
    fn wait_for(&self, content: &Content) -> anyhow::Result<()> {
        let access: BTreeSet<IpAddr> = content.access.iter().copied().collect();
        let begun = Instant::now();
        loop {
            let addresses = dns::addresses(self.address, &format!("imap.{ZONE}."));
            let named = addresses.as_ref().map(|found| found.iter().copied().collect::<BTreeSet<IpAddr>>());
            let exchanges = dns::exchanges(self.address, &format!("{ZONE}.")).map_or(0, |found| found.len());
            let authority = dns::ask(self.address, &format!("{ZONE}."), RecordType::SOA).map_or(0, |found| found.len());
            if named.is_ok_and(|named| named == access) && (exchanges, authority) == (1 + content.edge.len(), 1) {
                return Ok(());
            }
            if begun.elapsed() > START {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!(
                    "{} does not answer as it should: addresses {addresses:?}, {exchanges} MX, {authority} SOA: {}",
                    self.name,
                    tail(&log, 10)
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // NSD's own children end when they are told so, not when it dies.
        let id = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
