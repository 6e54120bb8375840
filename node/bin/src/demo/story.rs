//! The story: accounts are made, mail arrives, spam and viruses do not, mail is read, nodes are killed, mail goes on.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use estafeta_core::administration::Administration;
use estafeta_core::{RoleName, ServiceName};
use serde_json::json;

use super::children::Children;
use super::clients;
use super::layout::{DOMAIN, Layout};
use super::messages::{self, STRANGER, ana, luis};
use super::print;
use super::trace;
use crate::administration::SocketClient;
use crate::roles;

/// The running story.
pub struct Story<'a> {
    layout: &'a Layout,
    children: &'a mut Children,
    name_servers: Vec<SocketAddr>,
    passwords: [(String, String); 2],
    ports: Ports,
    well: bool,
}

/// The ports of the services that the story uses.
struct Ports {
    smtp: u16,
    imaps: u16,
    pop3s: u16,
    submissions: u16,
}

impl<'a> Story<'a> {
    /// A story in this cluster.
    pub fn new(layout: &'a Layout, children: &'a mut Children) -> Self {
        let table = roles::table();
        let port = |service| layout.service_port(&table, &ServiceName::fixed(service));
        let ports =
            Ports { smtp: port("smtp"), imaps: port("imaps"), pop3s: port("pop3s"), submissions: port("submissions") };
        let name_servers =
            layout.with(&RoleName::DNS).iter().map(|node| SocketAddr::new(node.address, layout.port(53))).collect();
        let passwords = [ana(), luis()].map(|login| (login, password()));
        Self { layout, children, name_servers, passwords, ports, well: true }
    }

    /// Tells it; whether every step went well.
    pub async fn tell(mut self) -> anyhow::Result<bool> {
        self.make_accounts().await?;

        print::heading("Mail arrives at E, is judged at B, checked at C, stored at D");
        let took = self
            .mail("a real message", &messages::clean("The first letter", &ana()), &[&ana(), &luis()], "250")
            .await?;
        self.mail("a spam (GTUBE)", &messages::spam(&ana()), &[&ana()], "5").await?;
        self.mail("a virus (EICAR) as base64 in a nested multipart", &messages::nested_virus(&ana()), &[&ana()], "5")
            .await?;
        self.mail("a virus (EICAR) in a zip archive", &messages::zipped_virus(&ana()), &[&ana()], "5").await?;

        print::heading("It is read at A");
        let imap = self.read("The first letter", 1, true).await?;
        self.read("The first letter", 1, false).await?;

        print::heading("An edge and an access node lose their power (SIGKILL)");
        for address in [took, imap] {
            if let Some(node) = address.and_then(|address| self.layout.at(address)) {
                self.children.kill(&node.name).await?;
                print::done(&format!("killed {} at {}", node.name, node.address));
            }
        }
        self.mail("the next message", &messages::clean("The second letter", &ana()), &[&ana()], "250").await?;
        self.read("The second letter", 2, true).await?;
        self.read("The second letter", 2, false).await?;
        self.invite();
        Ok(self.well)
    }

    fn step(&mut self, well: bool, text: &str) {
        self.well &= well;
        if well { print::done(text) } else { print::failed(text) }
    }

    /// Through a node that has no directory role, and with every node's view of it awaited.
    async fn make_accounts(&mut self) -> anyhow::Result<()> {
        print::heading("Accounts, through the administration API of a node without the role directory");
        let node = *self.layout.with(&RoleName::EDGE).first().context("no edge node")?;
        let name = node.name.clone();
        let api = SocketClient(self.layout.socket(node));
        api.perform("domain add", json!({ "domain": DOMAIN })).await?;
        self.step(true, &format!("{name}: estafeta domain add {DOMAIN}"));
        for (login, password) in self.passwords.clone() {
            let account = api.perform("account add", json!({ "address": login, "password": password })).await?;
            let group = account["store_group"].as_str().unwrap_or_default().to_owned();
            self.step(true, &format!("{name}: estafeta account add {login}  (store group {group})"));
        }
        let began = Instant::now();
        for server in self.name_servers.clone() {
            while clients::mail_exchangers(&[server], DOMAIN).await.is_err() {
                anyhow::ensure!(
                    began.elapsed() < Duration::from_secs(10),
                    "{server} does not serve {DOMAIN} after 10 seconds"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.step(
            true,
            &format!("both name servers answer for {DOMAIN} after {}", print::milliseconds(began.elapsed())),
        );
        Ok(())
    }

    /// Sends a message to the first of the domain's exchangers that answers, and gives its address.
    async fn mail(
        &mut self,
        what: &str,
        message: &str,
        recipients: &[&str],
        expected: &str,
    ) -> anyhow::Result<Option<IpAddr>> {
        let exchangers = clients::mail_exchangers(&self.name_servers, DOMAIN).await?;
        let mut unreachable = Vec::new();
        for (name, address) in exchangers {
            let began = Instant::now();
            let reply =
                match clients::send(SocketAddr::new(address, self.ports.smtp), STRANGER, recipients, message).await {
                    Ok(reply) => reply,
                    Err(error) => {
                        unreachable.push(format!("{name} ({address}): {error:#}"));
                        continue;
                    }
                };
            let took = print::milliseconds(began.elapsed());
            let well = reply.starts_with(expected);
            let verb = if expected == "250" { "taken" } else { "refused" };
            self.step(
                well,
                &format!(
                    "{what}: {} by {} in {took}",
                    if well { verb } else { "wrongly answered" },
                    self.node_at(address)
                ),
            );
            print::detail(&format!("DNS: MX {DOMAIN} → {name} → {address}"));
            for line in unreachable {
                print::detail(&format!("not reached before: {line}"));
            }
            print::detail(&reply);
            self.way(&reply).await;
            return Ok(Some(address));
        }
        self.step(false, &format!("{what}: no exchanger answers: {}", unreachable.join("; ")));
        Ok(None)
    }

    /// The message's way, hop by hop. Logs may come a moment after the reply.
    async fn way(&self, reply: &str) {
        let Some(id) = trace::id_in(reply) else { return };
        tokio::time::sleep(Duration::from_millis(100)).await;
        for hop in trace::of(self.layout, id) {
            print::detail(&format!("{:<11} {:<50} {}", hop.node, hop.what, hop.took.join(", ")));
        }
    }

    /// Reads the newest message through the first access node that answers, and gives that node's address.
    async fn read(&mut self, subject: &str, expected: usize, imap: bool) -> anyhow::Result<Option<IpAddr>> {
        let (service, name, port) = if imap {
            ("IMAPS", format!("imap.{DOMAIN}"), self.ports.imaps)
        } else {
            ("POP3S", format!("pop.{DOMAIN}"), self.ports.pop3s)
        };
        let authority = self.layout.authority();
        let (login, password) = self.passwords[0].clone();
        let mut unreachable = Vec::new();
        for address in clients::addresses(&self.name_servers, &name).await? {
            let began = Instant::now();
            let server = SocketAddr::new(address, port);
            let read = if imap {
                clients::read_imap(server, &name, &authority, &login, &password).await
            } else {
                clients::read_pop3(server, &name, &authority, &login, &password).await
            };
            match read {
                Ok((count, message)) => {
                    let well = count == expected
                        && message.contains(&format!("Subject: {subject}"))
                        && message.contains("handed from runner to runner");
                    let took = print::milliseconds(began.elapsed());
                    self.step(
                        well,
                        &format!(
                            "{service}: {login} reads {subject:?} through {} in {took}; {count} in INBOX",
                            self.node_at(address)
                        ),
                    );
                    print::detail(&format!("DNS: A {name} → {address}"));
                    for line in unreachable {
                        print::detail(&format!("not reached before: {line}"));
                    }
                    return Ok(Some(address));
                }
                Err(error) => unreachable.push(format!("{address}: {error:#}")),
            }
        }
        self.step(false, &format!("{service}: no access node answers for {name}: {}", unreachable.join("; ")));
        Ok(None)
    }

    fn node_at(&self, address: IpAddr) -> String {
        self.layout.at(address).map_or_else(|| address.to_string(), |node| node.name.to_string())
    }

    /// What to try by hand.
    fn invite(&self) {
        print::heading("Try it");
        for (login, password) in &self.passwords {
            print::copy("account and password", &format!("{login}  {password}"));
        }
        let alive = |role: &RoleName| {
            self.layout
                .with(role)
                .into_iter()
                .find(|node| self.children.pid(&node.name).is_some())
                .map(|node| node.address)
        };
        let (Some(dns), Some(edge), Some(access)) =
            (alive(&RoleName::DNS), alive(&RoleName::EDGE), alive(&RoleName::ACCESS))
        else {
            return;
        };
        let authority = self.layout.authority();
        let authority = authority.display();
        let Ports { smtp, imaps, pop3s, submissions } = &self.ports;
        let (login, password) = &self.passwords[0];
        print::copy("the names", &format!("dig @{dns} -p {} {DOMAIN} MX", self.layout.port(53)));
        print::copy("send from outside", &format!("swaks --server {edge}:{smtp} --from {STRANGER} --to {login}"));
        print::copy(
            "send as a user",
            &format!(
                "swaks --server {edge}:{submissions} --tlsc --auth-user {login} --auth-password {password} --from {login} --to {}",
                luis()
            ),
        );
        print::copy(
            "read by IMAP",
            &format!(
                "openssl s_client -quiet -crlf -CAfile {authority} -servername imap.{DOMAIN} -connect {access}:{imaps}"
            ),
        );
        print::copy(
            "read by POP3",
            &format!(
                "openssl s_client -quiet -crlf -CAfile {authority} -servername pop.{DOMAIN} -connect {access}:{pop3s}"
            ),
        );
        if let Some(node) =
            self.layout.with(&RoleName::EDGE).into_iter().find(|node| self.children.pid(&node.name).is_some())
        {
            print::copy(
                "administrate",
                &format!("estafeta account list --socket {}", self.layout.socket(node).display()),
            );
        }
    }
}

/// A password that can be typed: 16 letters and digits that look like nothing else.
fn password() -> String {
    let letters = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = std::iter::repeat_with(|| uuid::Uuid::new_v4().into_bytes()).flatten();
    let mut next =
        || random.by_ref().find(|byte| usize::from(*byte) < 256 / letters.len() * letters.len()).unwrap_or_default();
    (0..16).map(|_| char::from(letters[usize::from(next()) % letters.len()])).collect()
}
