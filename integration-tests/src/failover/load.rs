//! Clients that send without a pause while nodes fail, each message until it is accepted, and the reckoning afterwards:
//! what was answered 250 is in its mailbox, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::watch;
use crate::client::smtp::stuffed;
use crate::client::wire::Wire;
use crate::client::{Smtp, Trust};
use crate::tokens;

/// How long a client waits for a connection, and for each reply.
const CONNECT: Duration = Duration::from_secs(2);
const REPLY: Duration = Duration::from_secs(15);

/// The pause of each client after a message.
const PAUSE: Duration = Duration::from_millis(40);

/// How long queues may take to empty at the end.
const SETTLING: Duration = Duration::from_secs(120);

/// What became of one message, as its client saw it.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    to: String,
    /// How often the whole message was sent and no reply was seen.
    unanswered: usize,
    /// Whether it was answered 250.
    accepted: bool,
}

/// Everything that was sent.
#[derive(Default)]
pub struct Load(Mutex<BTreeMap<String, Sent>>);

/// The reckoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reckoning {
    /// Answered 250.
    pub accepted: usize,
    /// Answered 250, and not there.
    pub lost: usize,
    /// There more often than its client may have brought it.
    pub twice: usize,
    /// Sent again by its client, which saw no answer.
    pub repeated: usize,
}

enum Attempt {
    Accepted,
    /// No, or not reached: it is certain that the message was not taken.
    Refused,
    /// All of it was sent and no answer came.
    Unanswered,
}

impl Load {
    /// One client: message after message until told to stop, each to the exchanges that DNS names at that moment.
    pub fn send(&self, client: u64, servers: &[SocketAddr], port: u16, accounts: &[String], stop: &AtomicBool) {
        let mut random = fastrand::Rng::with_seed(client);
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            let token = format!("load-{client}-{count}");
            let to = &accounts[random.usize(..accounts.len())];
            let message = tokens::message(&token, to, random.usize(500..8_000));
            let mut sent = Sent { to: to.clone(), ..Sent::default() };
            // Once begun it is sent until it is accepted, as a real sender does.
            let begun = Instant::now();
            while !sent.accepted && (!stop.load(Ordering::Relaxed) || begun.elapsed() < REPLY) {
                match attempt(servers, port, to, &message, &mut random) {
                    Attempt::Accepted => sent.accepted = true,
                    Attempt::Refused => thread::sleep(PAUSE),
                    Attempt::Unanswered => sent.unanswered += 1,
                }
            }
            self.lock().insert(token, sent);
            thread::sleep(PAUSE);
        }
    }

    /// Compares what clients were told with what mailboxes hold, once queues have emptied.
    pub fn reckon(&self, access: SocketAddr, trust: &Trust, accounts: &[String]) -> anyhow::Result<Reckoning> {
        let begun = Instant::now();
        loop {
            let mut there = BTreeMap::new();
            for account in accounts {
                let tokens = tokens::in_mailbox(access, trust, account)?;
                there.extend(tokens.into_iter().map(|(token, copies)| ((account.clone(), token), copies)));
            }
            let reckoning = self.compare(&there);
            if reckoning.lost == 0 || begun.elapsed() > SETTLING {
                // What is still queued a second time would come now.
                thread::sleep(Duration::from_secs(3));
                return Ok(reckoning);
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// `there` says how often a mailbox holds a message.
    fn compare(&self, there: &BTreeMap<(String, String), usize>) -> Reckoning {
        let mut reckoning = Reckoning::default();
        for (token, sent) in self.lock().iter() {
            let copies = there.get(&(sent.to.clone(), token.clone())).copied().unwrap_or_default();
            reckoning.accepted += usize::from(sent.accepted);
            reckoning.lost += usize::from(sent.accepted && copies == 0);
            reckoning.twice += usize::from(copies > usize::from(sent.accepted) + sent.unanswered);
            reckoning.repeated += usize::from(sent.unanswered > 0);
        }
        reckoning
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Sent>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn attempt(servers: &[SocketAddr], port: u16, to: &str, message: &[u8], random: &mut fastrand::Rng) -> Attempt {
    for address in watch::exchanges(servers, random) {
        // The next exchange only when this one does not answer (RFC 5321 §5.1).
        let Ok(smtp) = Wire::connect_within(SocketAddr::new(address, port), CONNECT, REPLY).and_then(Smtp::greeted)
        else {
            continue;
        };
        return transaction(smtp, to, message);
    }
    Attempt::Refused
}

fn transaction(mut smtp: Smtp, to: &str, message: &[u8]) -> Attempt {
    let mut begin = || -> anyhow::Result<()> {
        for (line, code) in [("MAIL FROM:<sender@example.com>", 250), (&*format!("RCPT TO:<{to}>"), 250), ("DATA", 354)]
        {
            let reply = smtp.command(line)?;
            ensure!(reply.code == code, "{} {:?}", reply.code, reply.lines);
        }
        Ok(())
    };
    if begin().is_err() {
        return Attempt::Refused;
    }
    // From the first byte of the message on, a broken connection leaves the client in doubt.
    if smtp.wire.write(&stuffed(message)).is_err() {
        return Attempt::Unanswered;
    }
    match smtp.reply() {
        Ok(reply) if reply.code == 250 => Attempt::Accepted,
        Ok(_) => Attempt::Refused,
        Err(_) => Attempt::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_is_doubled_is_told_apart_from_what_was_sent_again() {
        let load = Load::default();
        let sent = |accepted, unanswered| Sent { to: "a@b".into(), accepted, unanswered };
        let all =
            [("once", sent(true, 0)), ("lost", sent(true, 0)), ("twice", sent(true, 0)), ("again", sent(true, 1))];
        load.lock().extend(all.map(|(token, sent)| (token.to_owned(), sent)));
        let there = [("once", 1), ("twice", 2), ("again", 2)];
        let there = there.map(|(token, count)| (("a@b".to_owned(), token.to_owned()), count));
        let reckoning = load.compare(&there.into());
        assert_eq!(reckoning, Reckoning { accepted: 4, lost: 1, twice: 1, repeated: 1 });
    }
}
