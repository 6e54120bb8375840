//! Somebody else's mail server: takes what comes, or answers as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// One transaction as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// MAIL FROM's argument.
    pub from: String,
    /// RCPT TO's arguments.
    pub to: Vec<String>,
    /// The message, dots undone.
    pub message: String,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// What the next ends of data are answered; then 250.
    answers: Vec<String>,
}

/// The server. It runs until the test ends.
#[derive(Clone)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Sink {
    /// Starts one that answers the first ends of data with these lines and the others with 250.
    pub fn start(answers: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let state = Arc::new(Mutex::new(State { taken: vec![], answers }));
        let sink = Self { address, state };
        let serving = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = serving.clone();
                thread::spawn(move || sink.converse(stream));
            }
        });
        Ok(sink)
    }

    /// What it has taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken.clone()
    }

    /// Waits until it has taken so many messages.
    pub fn wait_for(&self, count: usize) -> Result<Vec<Taken>> {
        let begun = Instant::now();
        while self.taken().len() < count {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("{} messages for {count}: {:?}", self.taken().len(), self.taken());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(self.taken())
    }

    fn converse(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut lines = BufReader::new(stream).lines();
        let mut say = move |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).ok();
        let (mut from, mut to) = (String::new(), Vec::new());
        say("220 sink.example ESMTP")?;
        while let Some(Ok(line)) = lines.next() {
            let upper = line.to_ascii_uppercase();
            if upper.starts_with("EHLO") {
                say("250-sink.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 100000000")?;
            } else if let Some(rest) = upper.strip_prefix("MAIL FROM:") {
                from = line[line.len() - rest.len()..].to_owned();
                to.clear();
                say("250 ok")?;
            } else if let Some(rest) = upper.strip_prefix("RCPT TO:") {
                to.push(line[line.len() - rest.len()..].to_owned());
                say("250 ok")?;
            } else if upper == "DATA" {
                say("354 go on")?;
                let mut message = String::new();
                loop {
                    let line = lines.next()?.ok()?;
                    if line == "." {
                        break;
                    }
                    message += line.strip_prefix('.').unwrap_or(&line);
                    message += "\r\n";
                }
                let answer = {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    if state.answers.is_empty() {
                        state.taken.push(Taken { from: from.clone(), to: to.clone(), message });
                        "250 taken".to_owned()
                    } else {
                        state.answers.remove(0)
                    }
                };
                say(&answer)?;
            } else if upper == "QUIT" {
                say("221 bye")?;
                return None;
            } else if upper == "RSET" || upper == "NOOP" {
                say("250 ok")?;
            } else {
                say("502 not here")?;
            }
        }
        None
    }
}
