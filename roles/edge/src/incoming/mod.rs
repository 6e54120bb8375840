//! Mail on its way in: the listeners of ports 25, 465 and 587, and one session a connection.

pub mod header;
pub mod progress;
mod session;
mod transaction;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use estafeta_core::{Failure, ServiceName};
use estafeta_net::accept::{Security, serve};
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Timeouts, Upgrade, drive};
use estafeta_net::sockets::Sockets;
use estafeta_net::tls::Tls;
use estafeta_protocols::smtp::Dialect;
use estafeta_protocols::smtp::server::{self, Server};
use tokio::task::JoinSet;

use crate::edge::Edge;

use self::session::Session;

/// Port 25: from other mail servers.
pub const SMTP: ServiceName = ServiceName::fixed("smtp");
/// Port 465: from users' programs, TLS from the first byte (RFC 8314 §3.3).
pub const SUBMISSIONS: ServiceName = ServiceName::fixed("submissions");
/// Port 587: from users' programs, TLS by STARTTLS.
pub const SUBMISSION: ServiceName = ServiceName::fixed("submission");

/// Serves the three until the drain begins, in these tasks: all or none.
pub fn listen(edge: &Arc<Edge>, sockets: &Sockets, tls: &Arc<Tls>) -> Result<JoinSet<()>, Failure> {
    let mut listening = JoinSet::new();
    for service in [SMTP, SUBMISSIONS, SUBMISSION] {
        let security = if service == SUBMISSIONS { Security::Tls(tls.clone()) } else { Security::Clear };
        for listener in sockets.tcp(&service).map_err(Failure::internal)? {
            let (drain, limits) = (edge.drain.clone(), edge.config.connection_limits());
            let (edge, tls, name) = (edge.clone(), tls.clone(), service.clone());
            let talk = move |connection| talk(edge.clone(), tls.clone(), name.clone(), connection);
            listening.spawn(serve(listener, service.clone(), security.clone(), limits, drain, talk));
        }
    }
    Ok(listening)
}

/// One connection, from greeting to goodbye.
async fn talk(edge: Arc<Edge>, tls: Arc<Tls>, service: ServiceName, connection: Connection) {
    let acceptor = tls.service();
    let tls_state = match &acceptor {
        _ if connection.tls.is_some() => server::Tls::Established,
        Some(_) => server::Tls::Offered,
        None => server::Tls::Unavailable,
    };
    let upgrade = acceptor.map_or(Upgrade::Never, Upgrade::Accept);
    let client = connection.peer;
    match converse(edge, service.clone(), connection, tls_state, upgrade).await {
        Ok(()) => {}
        Err(error) => tracing::debug!(%service, %client, %error, "connection lost"),
    }
}

async fn converse(
    edge: Arc<Edge>,
    service: ServiceName,
    connection: Connection,
    tls: server::Tls,
    upgrade: Upgrade,
) -> io::Result<()> {
    let dialect = if service == SMTP { Dialect::Smtp } else { Dialect::Submission };
    let config = server::Config { dialect, hostname: edge.hostname.clone(), tls, limits: edge.config.limits() };
    let silence = Duration::from_secs(edge.config.client_timeout_seconds);
    let drain = edge.drain.clone();
    let mut session = Session::new(edge, service, &connection);
    let timeouts = Timeouts { read: silence, write: silence };
    drive(connection, &mut Server::new(config), &mut session, upgrade, timeouts, &drain).await?;
    Ok(())
}
