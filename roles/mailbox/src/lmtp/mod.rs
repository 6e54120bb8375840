//! LMTP (RFC 2033) between nodes: edge hands over what it has accepted.
//!
//! The envelope id is the delivery id, by which a repeat is known, where one of the cluster's nodes gave it; other transactions get an
//! id of their own. One answer a recipient, after the commit.
//!
//! DSN (RFC 3461): ORCPT is who the sender named; NOTIFY=SUCCESS is obeyed ([`crate::receipt`]). The rest of NOTIFY, and RET, are for
//! whoever holds the queue, and writes the reports of failure and delay.

use std::io;
use std::sync::Arc;

use estafeta_core::delivery::{Outcome, Parcel, Recipient};
use estafeta_core::{Address, DeliveryId, Message};
use estafeta_net::connection::Connection;
use estafeta_net::drain::Drain;
use estafeta_net::drive::{Flow, Handler, Output, Timeouts, Upgrade, drive};
use estafeta_protocols::smtp::server::{self, Config, Event, Limits, Mail, OriginalRecipient, Server, Tls};
use estafeta_protocols::smtp::{Dialect, Enhanced, ForwardPath, Mailbox, Reply, ReversePath};
use estafeta_storage::StorageError;
use estafeta_storage::spool::Spool;

use crate::accounts::Accounts;
use crate::delivery::{LocalDelivery, outcome_of};
use crate::receipt::{Asked, Receipts};

/// How many transactions, and how many refusals, a connection may see: other nodes keep theirs for long.
const TRANSACTIONS_LIMIT: usize = 100_000;

/// What all conversations share.
pub struct Lmtp {
    /// This node's name in the protocol.
    pub hostname: String,
    /// Who lives here.
    pub accounts: Accounts,
    /// Into their mailboxes.
    pub delivery: LocalDelivery,
    /// How long the peer may be silent or slow.
    pub timeouts: Timeouts,
    /// When to stop.
    pub drain: Drain,
}

/// Talks with an edge node, or any client that it was told to trust.
pub async fn talk(lmtp: Arc<Lmtp>, connection: Connection) {
    let peer =
        connection.identity.as_ref().map_or_else(|| connection.peer.to_string(), |identity| identity.node.to_string());
    let message_bytes = lmtp.accounts.store().message_limit_bytes().into();
    let limits =
        Limits { message_bytes, errors: TRANSACTIONS_LIMIT, transactions: TRANSACTIONS_LIMIT, ..Limits::default() };
    let config = Config { dialect: Dialect::Lmtp, hostname: lmtp.hostname.clone(), tls: Tls::Established, limits };
    let mut server = Server::new(config);
    let mut conversation = Conversation { lmtp: &lmtp, transaction: None };
    let ended = drive(connection, &mut server, &mut conversation, Upgrade::Never, lmtp.timeouts, &lmtp.drain).await;
    if let Err(error) = ended {
        tracing::debug!(peer, %error, "LMTP broken off");
    }
}

struct Conversation<'a> {
    lmtp: &'a Lmtp,
    transaction: Option<Transaction>,
}

/// What was said since MAIL.
struct Transaction {
    id: DeliveryId,
    sender: Option<Address>,
    recipients: Vec<Recipient>,
    receipts: Receipts,
    /// Once the message begins.
    spool: Option<Spool>,
}

impl Conversation<'_> {
    /// A transaction under the client's delivery id, or under a new one.
    fn begin(&mut self, mail: Mail) -> Result<(), Reply> {
        let id =
            mail.envelope_id.as_deref().and_then(DeliveryId::from_envelope_id).unwrap_or_else(DeliveryId::generate);
        let sender = match mail.sender {
            ReversePath::Null => None,
            // A sender that this cluster cannot write down (an address literal) is delivered as a null path would be,
            // rather than not at all: it is only shown.
            ReversePath::Mailbox(mailbox) => address(&mailbox),
        };
        let receipts =
            Receipts { hostname: self.lmtp.hostname.clone(), envelope_id: mail.envelope_id, ..Receipts::default() };
        self.transaction = Some(Transaction { id, sender, recipients: Vec::new(), receipts, spool: None });
        Ok(())
    }

    async fn add_recipient(&mut self, recipient: server::Recipient) -> Result<(), Reply> {
        const UNKNOWN: Reply = Reply::known(550, Enhanced(5, 1, 1), "there is no such account");
        let ForwardPath::Mailbox(mailbox) = recipient.path else { return Err(UNKNOWN) };
        let address = address(&mailbox).ok_or(UNKNOWN)?;
        let Some(transaction) = &mut self.transaction else { return Err(UNEXPECTED) };
        match self.lmtp.accounts.recipient(&address).await {
            Ok(account) => {
                if recipient.notify_success {
                    let asked = Asked { address: address.clone(), original: recipient.original.clone() };
                    transaction.receipts.asked.insert(transaction.recipients.len(), asked);
                }
                let named = recipient.original.as_ref().and_then(OriginalRecipient::of_mail);
                let named = named.and_then(|named| named.parse::<Address>().ok());
                // The folder is what RCPT says, whoever was named first.
                let detail = |address: &Address| {
                    let own = address.key() == account.address.key();
                    address.split_detail().filter(|_| !own).map(|(_, detail)| detail.to_owned())
                };
                let named = named.filter(|named| detail(named) == detail(&address));
                transaction.recipients.push(Recipient { account, original: named.unwrap_or(address) });
                Ok(())
            }
            Err(failure) => {
                tracing::info!(id = %transaction.id, to = %address, %failure, "recipient refused");
                Err(reply(outcome_of(&failure)))
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Reply> {
        let Some(transaction) = &mut self.transaction else { return Err(UNEXPECTED) };
        let store = self.lmtp.accounts.store();
        transaction.spool.get_or_insert_with(|| store.spool()).write(bytes).await.map_err(refusal)
    }

    /// One reply a recipient.
    async fn deliver(&mut self) -> Result<Vec<Reply>, Reply> {
        let Transaction { id, sender, recipients, receipts, spool } = self.transaction.take().ok_or(UNEXPECTED)?;
        let message = match spool {
            Some(spool) => spool.finish().await.map_err(refusal)?,
            None => Message::default(),
        };
        let parcel = Parcel { id, sender, recipients, message };
        let outcomes = self.lmtp.delivery.deliver_and_tell(&parcel, &receipts).await;
        Ok(outcomes.into_iter().map(reply).collect())
    }
}

const UNEXPECTED: Reply = Reply::known(451, Enhanced(4, 3, 0), "Internal error, try again later");

impl Handler<Server> for Conversation<'_> {
    async fn handle(&mut self, event: Event, server: &mut Server, _: &mut Output<'_>) -> io::Result<Flow> {
        let answer = match event {
            Event::Connected | Event::Hello(_) => Ok(()),
            // Not offered under LMTP.
            Event::Authenticate(_) => Err(Reply::known(503, Enhanced(5, 5, 1), "Not offered here")),
            Event::Mail(mail) => self.begin(mail),
            Event::Recipient(recipient) => self.add_recipient(recipient).await,
            Event::Data(bytes) => {
                if let Err(refusal) = self.write(&bytes).await {
                    server.reply(refusal);
                }
                return Ok(Flow::Continue);
            }
            Event::EndOfMessage => {
                match self.deliver().await {
                    Ok(replies) => server.reply_each(replies),
                    Err(refusal) => server.reply(refusal),
                }
                return Ok(Flow::Continue);
            }
            Event::Reset => {
                self.transaction = None;
                return Ok(Flow::Continue);
            }
        };
        match answer {
            Ok(()) => server.accept(),
            Err(refusal) => server.reply(refusal),
        }
        Ok(Flow::Continue)
    }
}

fn address(mailbox: &Mailbox) -> Option<Address> {
    mailbox.as_str().parse().ok()
}

/// Why the message could not be taken in.
fn refusal(error: StorageError) -> Reply {
    tracing::warn!(%error, "a message could not be taken in");
    match error {
        StorageError::TooLarge { .. } => Reply::known(552, Enhanced(5, 3, 4), "the message is too large"),
        error if error.is_full() => Reply::known(452, Enhanced(4, 3, 1), "insufficient storage, try again later"),
        _ => UNEXPECTED,
    }
}

fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Delivered => Reply::known(250, Enhanced(2, 0, 0), "Delivered"),
        Outcome::Later(answer) | Outcome::Refused(answer) => {
            Reply { code: answer.code, enhanced: Enhanced::parse(&answer.status), text: answer.text.into() }
        }
    }
}
