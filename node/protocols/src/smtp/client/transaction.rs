//! One transaction: MAIL, RCPT and DATA in groups where the server offers PIPELINING (RFC 2920 §3.1), the message, and
//! a reply for every recipient.

use std::collections::VecDeque;

use bytes::Bytes;

use super::content::{Content, Framing};
use super::{Client, Envelope, Event, Outcome, Phase, Problem};
use crate::machine::Step;
use crate::smtp::Dialect;
use crate::smtp::parameters::encode_xtext;
use crate::smtp::path::Mailbox;
use crate::smtp::reply::{Enhanced, Reply, Severity};

/// How many recipients are named before their replies are read: so few that neither side's buffers can fill up while
/// both write (RFC 2920 §3.1).
const GROUP_RECIPIENTS: usize = 100;

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Reset,
    Mail,
    Recipient(usize),
    Data,
}

/// How far the commands before the message have come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    Unsaid,
    Asked,
    Refused(Reply),
    Wanted,
}

/// A transaction that is going on.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: Envelope,
    /// What became of each recipient, once that is known.
    verdicts: Vec<Option<Reply>>,
    /// The recipients that the server accepted and that have no verdict yet, in order.
    accepted: VecDeque<usize>,
    /// The commands whose replies are to come, in order.
    asked: VecDeque<Asked>,
    mail_said: bool,
    /// How many recipients were named.
    named: usize,
    data: Data,
    content: Content,
}

impl Transaction {
    fn new(envelope: Envelope, framing: Framing) -> Self {
        Self {
            verdicts: vec![None; envelope.recipients.len()],
            envelope,
            accepted: VecDeque::new(),
            asked: VecDeque::new(),
            mail_said: false,
            named: 0,
            data: Data::Unsaid,
            content: Content::new(framing),
        }
    }

    /// The outcome; every recipient without a verdict gets `reply`.
    fn outcome(self, reply: &Reply, problem: Option<Problem>) -> Outcome {
        let replies = self.verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| reply.clone())).collect();
        Outcome { replies, problem }
    }

    /// The outcome when the connection is of no more use.
    pub(super) fn lost(self, problem: Problem) -> Outcome {
        let reply = match &problem {
            Problem::Refused(reply) if reply.severity() == Severity::Temporary => reply.clone(),
            // RFC 3463 §3.5: X.4.2 bad connection.
            problem => Reply::new(451, Enhanced(4, 4, 2), problem.to_string()),
        };
        self.outcome(&reply, Some(problem))
    }

    /// Gives each recipient that still waits for a verdict this one.
    fn decide_accepted(&mut self, verdict: &Reply) {
        for index in self.accepted.drain(..) {
            self.verdicts[index] = Some(verdict.clone());
        }
    }
}

impl Client {
    /// Begins a transaction, unless what the server offers forbids it.
    pub(super) fn begin_transaction(&mut self, envelope: Envelope) {
        let by_chunks = self.config.chunking && self.offers.chunking;
        let framing = if by_chunks { Framing::Counted(envelope.size_bytes) } else { Framing::Lines };
        let mut transaction = Transaction::new(envelope, framing);
        if let Some(refusal) = self.unsendable(&transaction.envelope) {
            self.events.push_back(Event::Outcome(transaction.outcome(&refusal, None)));
            self.phase = Phase::Idle;
            return;
        }
        if std::mem::take(&mut self.stale) {
            transaction.asked.push_back(Asked::Reset);
            self.command("RSET");
        }
        self.transaction = Some(transaction);
        self.phase = Phase::Envelope;
        self.say_envelope();
    }

    /// Why the server cannot be given this message at all; we convert nothing.
    fn unsendable(&self, envelope: &Envelope) -> Option<Reply> {
        let limit_bytes = self.offers.size.flatten().unwrap_or(u64::MAX);
        if needs_smtputf8(envelope) && !self.offers.smtputf8 {
            // RFC 6531 §3.5.
            Some(Reply::known(553, Enhanced(5, 6, 7), "The next server does not support SMTPUTF8"))
        } else if envelope.eight_bit && !self.offers.eight_bit {
            // RFC 6152 §3.
            Some(Reply::known(554, Enhanced(5, 6, 3), "The next server does not support 8BITMIME"))
        } else if envelope.size_bytes > limit_bytes {
            // RFC 1870 §6.3.
            Some(Reply::known(552, Enhanced(5, 3, 4), "The message is too large for the next server"))
        } else if envelope.recipients.is_empty() {
            Some(Reply::known(554, Enhanced(5, 5, 1), "No recipients"))
        } else {
            None
        }
    }

    /// Says the next commands: one, or as many as go in a group where the server offers PIPELINING.
    fn say_envelope(&mut self) {
        let Some(mut transaction) = self.transaction.take() else { return };
        let pipelining = self.offers.pipelining;
        let room = |transaction: &Transaction| pipelining || transaction.asked.is_empty();

        if !transaction.mail_said && room(&transaction) {
            let line = self.mail_line(&transaction.envelope);
            self.command(&line);
            transaction.mail_said = true;
            transaction.asked.push_back(Asked::Mail);
        }
        let mut group = 0;
        while transaction.mail_said && group < GROUP_RECIPIENTS && room(&transaction) {
            let Some(recipient) = transaction.envelope.recipients.get(transaction.named) else { break };
            let mut line = format!("RCPT TO:<{recipient}>");
            let original = transaction.envelope.originals.get(transaction.named).and_then(Option::as_ref);
            // RFC 6533 has another form for what is not ASCII.
            if let Some(original) = original.filter(|original| self.offers.dsn && original.as_str().is_ascii()) {
                line.push_str(&format!(" ORCPT=rfc822;{}", encode_xtext(original.as_str())));
            }
            self.command(&line);
            transaction.asked.push_back(Asked::Recipient(transaction.named));
            transaction.named += 1;
            group += 1;
        }
        let all_named = transaction.named == transaction.envelope.recipients.len();
        let by_lines = transaction.content.framing() == Framing::Lines;
        if all_named && by_lines && transaction.data == Data::Unsaid && room(&transaction) {
            self.command("DATA");
            transaction.data = Data::Asked;
            transaction.asked.push_back(Asked::Data);
        }
        self.transaction = Some(transaction);
    }

    fn mail_line(&self, envelope: &Envelope) -> String {
        let mut line = format!("MAIL FROM:<{}>", envelope.sender);
        if self.offers.size.is_some() {
            line.push_str(&format!(" SIZE={}", envelope.size_bytes));
        }
        if envelope.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if needs_smtputf8(envelope) {
            line.push_str(" SMTPUTF8");
        }
        if let Some(id) = envelope.envelope_id.as_ref().filter(|_| self.offers.dsn) {
            line.push_str(&format!(" ENVID={}", encode_xtext(id)));
        }
        line
    }

    /// Takes a reply to a command before the message.
    pub(super) fn take_envelope_reply(&mut self, reply: Reply) {
        let Some(transaction) = &mut self.transaction else { return };
        match transaction.asked.pop_front() {
            // Where MAIL was refused, its reply stands for all.
            Some(Asked::Recipient(index)) if transaction.verdicts[index].is_some() => {}
            Some(Asked::Recipient(index)) if reply.is_positive() => transaction.accepted.push_back(index),
            Some(Asked::Recipient(index)) => transaction.verdicts[index] = Some(reply),
            Some(Asked::Mail) if !reply.is_positive() => {
                transaction.verdicts.fill(Some(reply));
                transaction.named = transaction.verdicts.len();
            }
            Some(Asked::Data) if reply.severity() == Severity::Intermediate => transaction.data = Data::Wanted,
            Some(Asked::Data) => transaction.data = Data::Refused(reply),
            Some(Asked::Mail | Asked::Reset) | None => {}
        }
        if transaction.asked.is_empty() {
            self.go_on();
        }
    }

    /// Decides what comes next when everything that was said has its reply.
    fn go_on(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        let undecided = transaction.verdicts.iter().any(Option::is_none);
        let unnamed = transaction.named < transaction.verdicts.len();
        match &transaction.data {
            Data::Unsaid | Data::Asked if !undecided && !unnamed => self.end_transaction(true),
            Data::Unsaid | Data::Asked if !unnamed && transaction.content.framing() != Framing::Lines => {
                let line = format!("BDAT {} LAST", transaction.envelope.size_bytes);
                transaction.data = Data::Wanted;
                self.command(&line);
                self.phase = Phase::Content;
            }
            Data::Unsaid | Data::Asked => self.say_envelope(),
            Data::Refused(reply) => {
                let reply = reply.clone();
                // An answer that is neither "go on" nor a refusal makes no sense.
                if reply.is_positive() {
                    return self.fail(Problem::Malformed);
                }
                transaction.decide_accepted(&reply);
                self.end_transaction(true);
            }
            Data::Wanted if transaction.accepted.is_empty() => {
                // RFC 2920 §3.1: DATA was taken without a recipient; an empty message ends it.
                self.output.extend_from_slice(b".\r\n");
                self.phase = Phase::Verdict;
            }
            Data::Wanted => self.phase = Phase::Content,
        }
    }

    /// Writes what the role gave of the message, or asks for more.
    pub(super) fn next_content(&mut self) -> Step<Event> {
        match self.transaction.as_mut().and_then(|transaction| transaction.content.next_piece()) {
            Some(piece) => Step::Write(piece),
            None => {
                self.phase = Phase::ContentAsked;
                Step::Event(Event::Content)
            }
        }
    }

    pub(super) fn give_content(&mut self, bytes: Bytes) {
        self.phase = Phase::Content;
        if self.transaction.as_mut().is_none_or(|transaction| transaction.content.give(bytes).is_err()) {
            self.fail(Problem::Aborted);
        }
    }

    pub(super) fn end_content(&mut self) {
        match self.transaction.as_ref().map(|transaction| transaction.content.end()) {
            Some(Ok(end)) => {
                self.output.extend_from_slice(end);
                self.phase = Phase::Verdict;
            }
            _ => self.fail(Problem::Aborted),
        }
    }

    /// Takes a reply to the message: under LMTP one for each accepted recipient (RFC 2033 §4.2).
    pub(super) fn take_verdict(&mut self, reply: Reply) {
        if reply.severity() == Severity::Intermediate {
            return self.fail(Problem::Malformed);
        }
        let Some(transaction) = &mut self.transaction else { return };
        if self.config.dialect != Dialect::Lmtp {
            transaction.decide_accepted(&reply);
        } else if let Some(index) = transaction.accepted.pop_front() {
            transaction.verdicts[index] = Some(reply);
        }
        if transaction.accepted.is_empty() {
            self.end_transaction(false);
        }
    }

    /// Tells the outcome; `stale` says that the server still has a transaction open.
    fn end_transaction(&mut self, stale: bool) {
        let Some(transaction) = self.transaction.take() else { return };
        self.stale = stale;
        // Nobody is left without a verdict; were it so, trying again is right.
        let reply = Reply::known(451, Enhanced(4, 3, 0), "No answer for this recipient");
        self.events.push_back(Event::Outcome(transaction.outcome(&reply, None)));
        self.phase = Phase::Idle;
    }
}

fn needs_smtputf8(envelope: &Envelope) -> bool {
    let mailboxes = || envelope.sender.mailbox().into_iter().chain(&envelope.recipients);
    envelope.smtputf8 || mailboxes().any(Mailbox::needs_smtputf8)
}
