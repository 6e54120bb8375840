//! POP3 before login (RFC 1939 §4).

use std::io;

use estafeta_core::Reason;
use estafeta_core::sessions::Protocol;
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Facts, Flow, Handler, Output};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Limits, Offer, Server};

use crate::front::{Front, MECHANISMS};
use crate::greeting::{self, Arrival, Greeter};

/// Talks with a client until its maildrop is open or it gives up.
pub async fn talk(front: &Front, connection: Connection) {
    let greet = |Arrival { secure, start_tls }| {
        let login_delay_seconds = front.pop3_pace.seconds();
        let mechanisms = MECHANISMS.to_vec();
        let offer = Offer { start_tls, login: true, mechanisms, login_delay_seconds, ..Offer::default() };
        Server::greet(offer, secure, Limits::default())
    };
    greeting::talk(front, Protocol::Pop3, connection, greet).await
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
        Reason::Unavailable | Reason::Internal | Reason::Elsewhere => Some(Code::SysTemp),
        Reason::Busy => Some(Code::LoginDelay),
        Reason::NotFound | Reason::TooLarge | Reason::OverQuota | Reason::Exists => Some(Code::SysPerm),
        Reason::Invalid => None,
    }
}
