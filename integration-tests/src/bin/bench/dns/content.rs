//! What all name servers of the comparison hold, and what they are asked for.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;

use estafeta_integration_tests::loopback;

/// The zone.
pub const ZONE: &str = "bench.test";

/// How many nodes of each of the two roles.
const NODES: usize = 4;

/// The port at which a node of each role is looked for.
pub const IMAPS: u16 = 10993;
/// The same of edge.
pub const SMTP: u16 = 10025;

/// How many questions the file holds; dnsperf begins again at its end.
const QUESTIONS: usize = 20_000;

/// A zone, and the nodes that it names. Something listens at each of them.
pub struct Content {
    /// One address for each name server.
    pub servers: Vec<IpAddr>,
    /// Where IMAP is.
    pub access: Vec<IpAddr>,
    /// Where SMTP is.
    pub edge: Vec<IpAddr>,
}

impl Content {
    /// Takes addresses, and lets somebody listen at those of the nodes: PowerDNS looks for them.
    pub fn new() -> anyhow::Result<Self> {
        let addresses = loopback::network(5 + 2 * NODES)?;
        let (servers, nodes) = addresses.split_at(5);
        let (access, edge) = nodes.split_at(NODES);
        for (addresses, port) in [(access, IMAPS), (edge, SMTP)] {
            for address in addresses {
                listen(SocketAddr::new(*address, port))?;
            }
        }
        Ok(Self { servers: servers.to_vec(), access: access.to_vec(), edge: edge.to_vec() })
    }

    /// The zone file, with the name server at `server`. With `health`, service names are Lua records that look whether
    /// something listens at each address, and name all that are there.
    pub fn zone_file(&self, server: IpAddr, health: bool) -> String {
        let mut file = format!(
            "$ORIGIN {ZONE}.\n@ 300 SOA dns1 hostmaster 1 3600 600 604800 30\n@ 300 NS dns1\ndns1 300 A {server}\n"
        );
        let services = [
            ("imap", &self.access, IMAPS),
            ("pop", &self.access, IMAPS),
            ("smtp", &self.edge, SMTP),
            ("mx", &self.edge, SMTP),
        ];
        for (name, addresses, port) in services {
            if health {
                let listed: Vec<String> = addresses.iter().map(|address| format!("'{address}'")).collect();
                let _ = writeln!(
                    file,
                    "{name} 30 LUA A \"ifportup({port}, {{{}}}, {{selector='all'}})\"",
                    listed.join(", ")
                );
            } else {
                for address in addresses {
                    let _ = writeln!(file, "{name} 30 A {address}");
                }
            }
        }
        file += "@ 300 MX 10 mx\n";
        for (number, address) in (1..).zip(&self.edge) {
            let _ = writeln!(file, "@ 300 MX 20 edge{number}\nedge{number} 300 A {address}");
        }
        file
    }

    /// Estafeta's own configuration: the same nodes, of which the zone follows.
    pub fn configuration(&self, server: IpAddr) -> String {
        let mut file = format!(
            "name = \"dns1\"\nroles = [\"dns\"]\naddress = \"{server}\"\ndata = \"data\"\nstatus = \"{server}:17480\"\n\
             [listen]\ndns = \"{server}:{}\"\nadministration = \"{server}:17443\"\ngossip = \"{server}:17946\"\n\
             dns-transfer = \"{server}:18530\"\n[dns]\nzones = [\"{ZONE}\"]\nmail_domains = false\n",
            super::servers::PORT
        );
        let nodes = [("access", &self.access, "imaps", IMAPS), ("edge", &self.edge, "smtp", SMTP)];
        for (role, addresses, service, port) in nodes {
            for (number, address) in (1..).zip(addresses) {
                let _ = writeln!(
                    file,
                    "[[nodes]]\nname = \"{role}{number}\"\naddress = \"{address}\"\nroles = [\"{role}\"]\n\
                     [nodes.listen]\n{service} = \"{address}:{port}\""
                );
            }
        }
        file
    }

    /// The questions, in dnsperf's form, always the same ones: of a hundred sixty for service names, twenty for MX, five
    /// for SOA, and fifteen for names that do not exist, each of which comes once in the file.
    pub fn questions(&self) -> String {
        let mut questions = String::new();
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..QUESTIONS {
            let _ = match random.usize(..100) {
                choice @ 0..60 => writeln!(questions, "{}.{ZONE} A", ["imap", "pop", "smtp", "mx"][choice % 4]),
                60..80 => writeln!(questions, "{ZONE} MX"),
                80..85 => writeln!(questions, "{ZONE} SOA"),
                _ => writeln!(questions, "nobody{number}.{ZONE} A"),
            };
        }
        questions
    }
}

/// Takes connections and closes them, until this process ends.
fn listen(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(())
}
