//! The same client for every system.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use estafeta_integration_tests::client::Smtp;
use estafeta_integration_tests::tokens;

use crate::system::System;

/// How many connections send at once.
pub const CONNECTIONS: usize = 16;

/// How many messages go over one connection, as a busy sender does it.
const MESSAGES_PER_CONNECTION: usize = 25;

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What is sent in one run.
pub struct Load {
    /// The size of each message.
    pub size_bytes: usize,
    /// How many there are.
    pub messages: usize,
}

impl Load {
    /// Small mail, and mail of the size that a university sees on average.
    pub fn usual() -> Vec<Self> {
        vec![Self { size_bytes: 4_000, messages: 6_000 }, Self { size_bytes: 200_000, messages: 1_000 }]
    }

    /// To see that it works.
    pub fn quick() -> Vec<Self> {
        vec![Self { size_bytes: 4_000, messages: 200 }, Self { size_bytes: 200_000, messages: 50 }]
    }

    /// Sends it all and waits until it is all in the mailboxes; gives messages a second.
    pub fn run(&self, system: &System, round: usize) -> anyhow::Result<f64> {
        // Made before the clock starts: each message is another one, or blobs would be stored once.
        let messages: Vec<(String, Vec<u8>)> = (0..self.messages)
            .map(|number| {
                let to = system.accounts[number % system.accounts.len()].clone();
                let token = format!("{}-{round}-{}-{number}", system.name.len(), self.size_bytes);
                let message = tokens::message(&token, &to, self.size_bytes);
                (to, message)
            })
            .collect();
        let mut watchers = system.watchers()?;
        let before = watchers.iter_mut().map(|watcher| watcher.count()).collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        send(&|number| system.client(number), &messages).context(system.name)?;
        // One mailbox after the other, so that counting takes as little as possible from whoever still delivers.
        for (number, (watcher, before)) in watchers.iter_mut().zip(before).enumerate() {
            let wanted = before + (number..self.messages).step_by(system.accounts.len()).count();
            loop {
                let there = watcher.count()?;
                ensure!(there <= wanted, "{}: {there} messages for {wanted}", system.name);
                if there == wanted {
                    break;
                }
                ensure!(begun.elapsed() < LIMIT, "{}: {there} messages for {wanted} after {LIMIT:?}", system.name);
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(self.messages as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Sends messages, each to its recipient, over [`CONNECTIONS`] at once, and returns when the last one was taken.
pub fn send(
    connect: &(impl Fn(usize) -> anyhow::Result<Smtp> + Sync),
    messages: &[(String, Vec<u8>)],
) -> anyhow::Result<()> {
    let next = &AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|number| scope.spawn(move || client(|| connect(number), messages, next))).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
    })
}

/// Sends messages until there are none left.
fn client(
    connect: impl Fn() -> anyhow::Result<Smtp>,
    messages: &[(String, Vec<u8>)],
    next: &AtomicUsize,
) -> anyhow::Result<()> {
    loop {
        let mut smtp = connect()?;
        for _ in 0..MESSAGES_PER_CONNECTION {
            let Some((to, message)) = messages.get(next.fetch_add(1, Ordering::Relaxed)) else { return smtp.quit() };
            smtp.send_grouped("sender@example.com", to, message)?.expect(250)?;
        }
        smtp.quit()?;
    }
}
