//! The conversation before login, whatever language it is in: a machine is driven until the mail is open, then the stream
//! is handed over and the machine is gone. What the languages do differently is how [`Greeter`] handles their events.

use estafeta_core::sessions::Protocol;
use estafeta_net::connection::Connection;
use estafeta_net::drive::{Ended, Handler, Upgrade, drive};
use estafeta_protocols::machine::Machine;

use crate::front::{Front, Visitor};
use crate::hand_over::hand_over;

/// Whoever answers a visitor: the handler of each language's machine.
pub struct Greeter<'a> {
    /// What all conversations share.
    pub front: &'a Front,
    /// Who came.
    pub visitor: Visitor,
}

/// What a machine has to know when it greets.
pub struct Arrival {
    /// TLS is on already.
    pub secure: bool,
    /// TLS can be started inside the conversation.
    pub start_tls: bool,
}

/// Talks with a client until its mail is open or it gives up.
pub async fn talk<'f, M>(front: &'f Front, protocol: Protocol, connection: Connection, greet: impl FnOnce(Arrival) -> M)
where
    M: Machine,
    Greeter<'f>: Handler<M>,
{
    let secure = connection.tls.is_some();
    let visitor = Visitor::new(protocol, &connection);
    let upgrade = if secure { Upgrade::Never } else { front.upgrade() };
    let start_tls = matches!(upgrade, Upgrade::Accept(_));
    // Boxed, so that a session of hours does not carry them along.
    let mut machine = Box::new(greet(Arrival { secure, start_tls }));
    let mut greeter = Box::new(Greeter { front, visitor });
    let drive = drive(connection, machine.as_mut(), greeter.as_mut(), upgrade, front.timeouts, &front.drain);
    let ended = Box::pin(front.in_time(drive)).await;
    drop(machine);
    match (ended, greeter.visitor.into_session()) {
        (Ok(Ended::HandedOver(connection, unread)), Some(session)) => {
            hand_over(session, protocol, connection, unread, &front.drain).await
        }
        (Ok(_), _) => {}
        (Err(error), _) => tracing::debug!(%error, "broken off before login"),
    }
}
