//! Temporary: a listener for real clients, for POP3_PEER_SECONDS.
use super::Home;
use crate::pop3::Pop3Session;
use crate::store::{MailboxName, AccountMail};
use estafeta_core::sessions::Session;
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Ended, Flow, Handler, Output, Upgrade, drive};
use estafeta_protocols::pop3::response::{Code, Completion};
use estafeta_protocols::pop3::server::{Event, Limits, Offer, Server};
use estafeta_protocols::sasl::{Credentials, Mechanism};
struct Front(AccountMail, Option<Pop3Session>);
impl Handler<Server> for Front {
    async fn handle(&mut self, event: Event, server: &mut Server, _: &mut Output<'_>) -> std::io::Result<Flow> {
        match event {
            Event::Authenticate(Credentials::Password { password, .. }) if password.expose() == "secret" => {
                self.1 = Some(Pop3Session::open(&self.0, super::CLIENT.parse().unwrap(), Drain::new()).await.unwrap());
                server.hand_over(Completion::ok("Logged in"));
            }
            Event::Authenticate(_) => server.complete(Completion::no("wrong").with(Code::Auth)),
            Event::HandOver => return Ok(Flow::HandOver),
            _ => {}
        }
        Ok(Flow::Continue)
    }
}
#[tokio::test]
#[ignore]
async fn listen() {
    let home = Home::new().await;
    for n in 0..40 {
        home.receive(format!("From: a@example.edu\r\nTo: ana@example.edu\r\nSubject: {n}\r\nMessage-ID: <{n}@x>\r\n\r\n.dot\r\n{}.\r\nend\r\n", "line\r\n".repeat(n * 100))).await;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:41100").await.unwrap();
    let seconds = std::env::var("POP3_PEER_SECONDS").unwrap().parse().unwrap();
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mail = home.mail.clone();
            tokio::spawn(async move {
                let offer = Offer { login: true, mechanisms: vec![Mechanism::Plain, Mechanism::Login], ..Offer::default() };
                let mut server = Server::greet(offer, true, Limits::default());
                let mut front = Front(mail, None);
                let timeouts = crate::pop3::session::TIMEOUTS;
                let ended = drive(Connection::clear(stream).unwrap(), &mut server, &mut front, Upgrade::Never, timeouts, &Drain::new()).await;
                if let (Ok(Ended::HandedOver(connection, unread)), Some(session)) = (ended, front.1) {
                    Box::new(session).serve(connection.stream, unread).await.unwrap();
                }
            });
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(seconds), serve).await;
    let left = home.mail.status(&MailboxName::inbox()).await.unwrap().messages;
    println!("left {left}");
}
