//! POP3 before login (RFC 1939 §4).

use std::io;

use estafeta_core::Reason;
use estafeta_core::sessions::Protocol;
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Ended, Facts, Flow, Handler, Output, Upgrade, drive};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Limits, Offer, Server};

use crate::front::{Front, MECHANISMS, Visitor};
use crate::hand_over::hand_over;

/// Talks with a client until its maildrop is open or it gives up.
pub async fn talk(front: &Front, connection: Connection) {
    let secure = connection.tls.is_some();
    let visitor = Visitor::new(Protocol::Pop3, &connection);
    let upgrade = if secure { Upgrade::Never } else { front.upgrade() };
    let start_tls = matches!(upgrade, Upgrade::Accept(_));
    let offer = Offer { start_tls, login: true, mechanisms: MECHANISMS.to_vec(), ..Offer::default() };
    // Boxed, so that a session of hours does not carry them along.
    let mut server = Box::new(Server::greet(offer, secure, Limits::default()));
    let mut greeter = Box::new(Greeter { front, visitor });
    let drive = drive(connection, server.as_mut(), greeter.as_mut(), upgrade, front.timeouts, &front.drain);
    let ended = Box::pin(front.in_time(drive)).await;
    drop(server);
    match (ended, greeter.visitor.into_session()) {
        (Ok(Ended::HandedOver(connection, unread)), Some(session)) => {
            hand_over(session, Protocol::Pop3, connection, unread, &front.drain).await
        }
        (Ok(_), _) => {}
        (Err(error), _) => tracing::debug!(%error, "broken off before login"),
    }
}

struct Greeter<'a> {
    front: &'a Front,
    visitor: Visitor,
}

impl Handler<Server> for Greeter<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, output: &mut Output<'_>) -> io::Result<Flow> {
        match event {
            Event::Authenticate(credentials) => {
                // What was said before must not wait for the directory.
                output.flush().await?;
                match self.front.open(&mut self.visitor, credentials).await {
                    Ok(_) => server.hand_over(Completion::ok("Logged in")),
                    Err(failure) => {
                        let refusal =
                            Completion { code: code(failure.reason), ..Completion::no(failure.client.as_str()) };
                        if self.front.has_enough_of(&self.visitor) {
                            server.goodbye(refusal);
                        } else {
                            server.complete(refusal);
                        }
                    }
                }
            }
            Event::HandOver => return Ok(Flow::HandOver),
            // The machine knows by itself what may be asked before login.
            Event::Command(_) => server.complete(Completion::no("Not authenticated")),
            Event::Forwarded(_) => {}
        }
        Ok(Flow::Continue)
    }

    fn secured(&mut self, facts: &Facts<'_>) {
        self.visitor.secured(facts.tls);
    }
}

/// RFC 2449 §8, RFC 3206: what a program makes of a refusal.
fn code(reason: Reason) -> Option<Code> {
    match reason {
        Reason::Credentials | Reason::Denied => Some(Code::Auth),
        Reason::Unavailable | Reason::Internal => Some(Code::SysTemp),
        Reason::Busy => Some(Code::LoginDelay),
        Reason::NotFound | Reason::TooLarge | Reason::OverQuota | Reason::Exists => Some(Code::SysPerm),
        Reason::Invalid => None,
    }
}
