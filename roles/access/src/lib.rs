//! Cluster A: what the user touches, IMAP and POP3.
//!
//! A conversation here lasts until the client has said who it is: the directory is asked, the account's mail is opened by
//! the contract `Sessions` (on this node, or on a mailbox node of the account's store group), and the stream is handed
//! over. Nothing of the mail passes through code of this role.
//!
//! [`front`] decides; [`greeting`] leads the conversation, in which [`imap`] and [`pop3`] speak; [`hand_over`] gives the stream away, and brings it to its end when the
//! node drains.
#![forbid(unsafe_code)]

mod config;
mod front;
mod greeting;
mod hand_over;
mod imap;
mod pace;
mod pop3;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::{Failure, RoleName, ServiceName};
use estafeta_net::accept::{ConnectionLimits, Listeners, Security, serve};
use estafeta_net::probe;
use estafeta_net::role::{Clients, Context, Needs, Plan, Probe, Provides, Role, Running, Service, Transport};
use estafeta_net::section::{ConfigError, Section};

use config::Config;
use front::Front;

const IMAP: ServiceName = ServiceName::fixed("imap");
const IMAPS: ServiceName = ServiceName::fixed("imaps");
const POP3: ServiceName = ServiceName::fixed("pop3");
const POP3S: ServiceName = ServiceName::fixed("pop3s");

/// The role's row.
pub fn role() -> Role {
    let service = |name, port, about, probe: Probe| Service {
        name,
        port,
        transport: Transport::Tcp,
        between_nodes: false,
        about,
        probe,
    };
    Role {
        name: RoleName::ACCESS,
        cluster: Some('A'),
        purpose: "what the user touches: IMAP and POP3",
        services: vec![
            service(IMAP, 143, "IMAP with STARTTLS", probe::imap),
            service(IMAPS, 993, "IMAP over TLS", probe::imap_over_tls),
            service(POP3, 110, "POP3 with STLS", probe::pop3),
            service(POP3S, 995, "POP3 over TLS", probe::pop3_over_tls),
        ],
        operations: vec![],
        plan,
        clients: Clients::default(),
    }
}

fn plan(section: Section<'_>) -> Result<Box<dyn Plan>, ConfigError> {
    Ok(Box::new(section.read::<Config>()?.check()?))
}

#[async_trait]
impl Plan for Config {
    fn needs_service_certificate(&self) -> bool {
        true
    }

    async fn start(&self, context: Context) -> Result<Running, Failure> {
        hand_over::describe_metrics();
        let front = Arc::new(Front::new(self, &context));
        let limits = ConnectionLimits {
            connections: self.connections_limit,
            connections_per_address: self.connections_per_address_limit,
        };
        let mut sockets = Vec::new();
        for (service, speaks_imap, secure) in
            [(IMAP, true, false), (IMAPS, true, true), (POP3, false, false), (POP3S, false, true)]
        {
            for listener in context.sockets.tcp(&service).map_err(Failure::internal)? {
                sockets.push((listener, service.clone(), speaks_imap, secure));
            }
        }
        let run = Box::pin(async move {
            let (tls, drain) = (context.tls, context.drain);
            let mut loops = Listeners::default();
            for (listener, service, speaks_imap, secure) in sockets {
                let security = if secure { Security::Tls(tls.clone()) } else { Security::Clear };
                let front = front.clone();
                let talk = move |connection| {
                    let front = front.clone();
                    async move {
                        if speaks_imap {
                            imap::talk(&front, connection).await
                        } else {
                            pop3::talk(&front, connection).await
                        }
                    }
                };
                loops.spawn(serve(listener, service, security, limits, drain.clone(), talk));
            }
            loops.run(&drain).await
        });
        // Whoever logs in is looked up in the one and served by the other.
        let needs = Needs { disk: false, roles: vec![RoleName::DIRECTORY, RoleName::MAILBOX] };
        Ok(Running { provides: Provides { needs, ..Provides::default() }, run })
    }
}
