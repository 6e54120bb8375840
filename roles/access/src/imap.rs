//! IMAP before login (RFC 3501 §6.1, §6.2).

use std::io;

use estafeta_core::sessions::Protocol;
use estafeta_core::{Failure, Reason};
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Facts, Flow, Handler, Output};
use estafeta_protocols::imap::capability::Capabilities;
use estafeta_protocols::imap::command::Command;
use estafeta_protocols::imap::response::{Code, Completion};
use estafeta_protocols::imap::server::{Event, Limits, Offer, Server};

use crate::front::{Front, MECHANISMS};
use crate::greeting::{self, Arrival, Greeter};

/// The longest command before login, in bytes: names and passwords are short.
const COMMAND_BYTES: usize = 8 * 1024;

/// Talks with a client until its mail is open or it gives up.
pub async fn talk(front: &Front, connection: Connection) {
    let limits = Limits { command_bytes: COMMAND_BYTES, ..Limits::default() };
    let greet = |Arrival { secure, start_tls }| {
        let offer = Offer { start_tls, login: true, mechanisms: MECHANISMS.to_vec() };
        Server::greet(offer, secure, limits)
    };
    greeting::talk(front, Protocol::Imap, connection, greet).await
}

impl Handler<Server> for Greeter<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, output: &mut Output<'_>) -> io::Result<Flow> {
        match event {
            Event::Authenticate(credentials) => {
                // What was said before must not wait for the directory.
                output.flush().await?;
                match self.front.open(&mut self.visitor, credentials).await {
                    Ok(capabilities) => {
                        let code = Code::Capability(Capabilities::Listed(&capabilities));
                        server.hand_over(Completion::ok("Logged in").with(code));
                    }
                    Err(failure) => {
                        server.complete(Completion::no(failure.client.as_str()).with(code(&failure)));
                        if self.front.has_enough_of(&self.visitor) {
                            server.goodbye(None, "Too many wrong passwords");
                        }
                    }
                }
            }
            Event::HandOver => return Ok(Flow::HandOver),
            Event::Command(Command::Id(_)) => {
                server.output().id(&[("name", "Estafeta")]);
                server.complete(Completion::ok("ID completed"));
            }
            Event::Command(_) => server.complete(Completion::bad("Not authenticated")),
            Event::IdleEnd => server.complete(Completion::ok("IDLE completed")),
            // What the machine lets through only once an account is open.
            Event::AppendBegin(_)
            | Event::AppendMessage(_)
            | Event::AppendLiteral(_)
            | Event::AppendData(_)
            | Event::AppendUrl(_)
            | Event::AppendEnd => server.complete(Completion::bad("Not authenticated")),
            Event::AppendAbort | Event::IdleBegin => {}
        }
        Ok(Flow::Continue)
    }

    fn secured(&mut self, facts: &Facts<'_>) {
        self.visitor.secured(facts.tls);
    }
}

/// RFC 5530 §3: what a program makes of a refusal.
fn code(failure: &Failure) -> Code<'static> {
    match failure.reason {
        Reason::Credentials => Code::AuthenticationFailed,
        Reason::Denied => Code::AuthorizationFailed,
        Reason::Busy => Code::Limit,
        Reason::Invalid => Code::Cannot,
        Reason::NotFound | Reason::Exists | Reason::TooLarge | Reason::OverQuota => Code::NoPermission,
        Reason::Unavailable | Reason::Elsewhere => Code::Unavailable,
        Reason::Internal => Code::ServerBug,
    }
}
