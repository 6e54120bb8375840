//! POP3, as client.

use std::net::SocketAddr;

use anyhow::ensure;

use super::wire::{Trust, Wire};

/// A conversation.
pub struct Pop3 {
    /// The connection underneath.
    pub wire: Wire,
}

impl Pop3 {
    /// Connects in clear text.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect(address)?)
    }

    /// Connects through TLS.
    pub fn connect_tls(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect_tls(address, trust)?)
    }

    fn greeted(mut wire: Wire) -> anyhow::Result<Self> {
        let greeting = wire.text_line()?;
        ensure!(greeting.starts_with("+OK"), "{greeting}");
        Ok(Self { wire })
    }

    /// USER and PASS; gives the last answer.
    pub fn login(&mut self, login: &str, password: &str) -> anyhow::Result<String> {
        self.command(&format!("USER {login}"))?;
        self.command(&format!("PASS {password}"))
    }

    /// Sends a line and reads one.
    pub fn command(&mut self, line: &str) -> anyhow::Result<String> {
        self.wire.write(format!("{line}\r\n").as_bytes())?;
        self.wire.text_line()
    }

    /// Sends a line that must be answered `+OK`.
    pub fn ok(&mut self, line: &str) -> anyhow::Result<String> {
        let answer = self.command(line)?;
        ensure!(answer.starts_with("+OK"), "{line}: {answer}");
        Ok(answer)
    }

    /// Sends a line whose answer has several lines; gives those behind the first, dots undone.
    pub fn lines(&mut self, line: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        self.ok(line)?;
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line()?;
            match line.strip_prefix(b".") {
                Some(b"") => return Ok(lines),
                Some(rest) => lines.push(rest.to_vec()),
                None => lines.push(line),
            }
        }
    }
}
