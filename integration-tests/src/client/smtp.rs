//! SMTP, as client.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::wire::{Trust, Wire};

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code.
    pub code: u16,
    /// The texts of its lines.
    pub lines: Vec<String>,
}

impl Reply {
    /// The error unless the code is this one.
    pub fn expect(self, code: u16) -> anyhow::Result<Self> {
        ensure!(self.code == code, "{code} expected, got {} {}", self.code, self.lines.join(" / "));
        Ok(self)
    }

    /// Whether the code says yes.
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

/// A conversation.
pub struct Smtp {
    /// The connection underneath.
    pub wire: Wire,
}

impl Smtp {
    /// Connects in clear text and says EHLO.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect(address)?)
    }

    /// Connects through TLS and says EHLO.
    pub fn connect_tls(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect_tls(address, trust)?)
    }

    /// Connects, through TLS if there is trust, and says LHLO: LMTP (RFC 2033). With one recipient a transaction is one of
    /// SMTP.
    pub fn connect_lmtp(address: SocketAddr, trust: Option<&Trust>) -> anyhow::Result<Self> {
        let wire = match trust {
            Some(trust) => Wire::connect_tls(address, trust)?,
            None => Wire::connect(address)?,
        };
        Self::greeted_by(wire, "LHLO")
    }

    /// Takes over a connection in clear text and says EHLO.
    pub fn greeted(wire: Wire) -> anyhow::Result<Self> {
        Self::greeted_by(wire, "EHLO")
    }

    fn greeted_by(wire: Wire, hello: &str) -> anyhow::Result<Self> {
        let mut smtp = Self { wire };
        smtp.reply()?.expect(220)?;
        smtp.command(&format!("{hello} client.example"))?.expect(250)?;
        Ok(smtp)
    }

    /// STARTTLS and EHLO again.
    pub fn start_tls(&mut self, trust: &Trust) -> anyhow::Result<()> {
        self.command("STARTTLS")?.expect(220)?;
        self.wire.start_tls(trust)?;
        self.command("EHLO client.example")?.expect(250)?;
        Ok(())
    }

    /// AUTH PLAIN with an initial response.
    pub fn authenticate(&mut self, login: &str, password: &str) -> anyhow::Result<Reply> {
        let response = STANDARD.encode(format!("\0{login}\0{password}"));
        self.command(&format!("AUTH PLAIN {response}"))
    }

    /// Sends a line and reads the reply.
    pub fn command(&mut self, line: &str) -> anyhow::Result<Reply> {
        self.wire.write(format!("{line}\r\n").as_bytes())?;
        self.reply().with_context(|| line.chars().take(80).collect::<String>())
    }

    /// Reads a reply.
    pub fn reply(&mut self) -> anyhow::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.text_line()?;
            let code =
                line.get(..3).and_then(|code| code.parse().ok()).with_context(|| format!("no reply: {line:?}"))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// One transaction; gives the reply to its end, or the first refusal.
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> anyhow::Result<Reply> {
        let mail = self.command(&format!("MAIL FROM:<{from}>"))?;
        if mail.code != 250 {
            return Ok(mail);
        }
        for recipient in to {
            let reply = self.command(&format!("RCPT TO:<{recipient}>"))?;
            if reply.code != 250 {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        let data = self.command("DATA")?;
        if data.code != 354 {
            return Ok(data);
        }
        self.wire.write(&stuffed(message))?;
        self.reply()
    }

    /// One transaction with one recipient, MAIL, RCPT and DATA in a group (RFC 2920 §3.1), as servers among themselves say
    /// them; gives the reply to its end, or the first refusal.
    pub fn send_grouped(&mut self, from: &str, to: &str, message: &[u8]) -> anyhow::Result<Reply> {
        self.wire.write(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes())?;
        let (mail, recipient, data) = (self.reply()?, self.reply()?, self.reply()?);
        let refusals = [(mail, 250), (recipient, 250), (data, 354)];
        if let Some((refusal, _)) = refusals.into_iter().find(|(reply, code)| reply.code != *code) {
            return Ok(refusal);
        }
        self.wire.write(&stuffed(message))?;
        self.reply()
    }

    /// QUIT.
    pub fn quit(mut self) -> anyhow::Result<()> {
        self.command("QUIT")?.expect(221)?;
        Ok(())
    }
}

/// A message as it goes over the wire: dots doubled, and the end (RFC 5321 §4.5.2).
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
