//! IMAP, as client: it shows what the server says and understands little of it.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};

use super::wire::{Trust, Wire};

/// One response, its literals in place behind their counts.
pub type Response = Vec<u8>;

/// What came up to a command's completion.
#[derive(Debug, Clone)]
pub struct Completed {
    /// The untagged responses in their order, without the `* `.
    pub untagged: Vec<Response>,
    /// `OK`, `NO` or `BAD`.
    pub status: String,
    /// What stands behind the status.
    pub text: String,
}

impl Completed {
    /// The error unless it is OK.
    pub fn ok(self) -> anyhow::Result<Self> {
        ensure!(self.status == "OK", "{} {}", self.status, self.text);
        Ok(self)
    }

    /// The untagged responses as text.
    pub fn texts(&self) -> Vec<String> {
        self.untagged.iter().map(|response| String::from_utf8_lossy(response).into_owned()).collect()
    }
}

/// A conversation.
pub struct Imap {
    /// The connection underneath.
    pub wire: Wire,
    /// What the server said first.
    pub greeting: String,
    tags: u32,
}

impl Imap {
    /// Connects in clear text.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect(address)?)
    }

    /// Connects through TLS.
    pub fn connect_tls(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        Self::greeted(Wire::connect_tls(address, trust)?)
    }

    /// Takes over a connection and reads the greeting.
    pub fn greeted(mut wire: Wire) -> anyhow::Result<Self> {
        let greeting = wire.text_line()?;
        ensure!(greeting.starts_with("* OK") || greeting.starts_with("* PREAUTH"), "{greeting}");
        Ok(Self { wire, greeting, tags: 0 })
    }

    /// LOGIN.
    pub fn login(&mut self, login: &str, password: &str) -> anyhow::Result<Completed> {
        self.command(&format!("LOGIN {} {}", quoted(login), quoted(password)))
    }

    /// Sends a command and reads to its completion.
    pub fn command(&mut self, command: &str) -> anyhow::Result<Completed> {
        let tag = self.start(command)?;
        self.completion(&tag).with_context(|| command.chars().take(120).collect::<String>())
    }

    /// Sends a command and gives its tag.
    pub fn start(&mut self, command: &str) -> anyhow::Result<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.wire.write(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Sends a command and reads to its completion, which must be OK, without looking at what comes before it. Says how
    /// many bytes that were.
    pub fn measure(&mut self, command: &str) -> anyhow::Result<usize> {
        let tag = self.start(command)?;
        self.wire.skip_to(format!("{tag} OK").as_bytes()).with_context(|| command.to_owned())
    }

    /// APPEND with a synchronising literal.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &[u8]) -> anyhow::Result<Completed> {
        let tag = self.start(&format!("APPEND {} ({flags}) {{{}}}", quoted(mailbox), message.len()))?;
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            if response.starts_with(b"+") {
                break;
            }
            match response.strip_prefix(b"* ") {
                Some(rest) => untagged.push(rest.to_vec()),
                None => return completed(untagged, &response, &tag),
            }
        }
        self.wire.write(message)?;
        self.wire.write(b"\r\n")?;
        let mut done = self.completion(&tag)?;
        done.untagged.splice(..0, untagged);
        Ok(done)
    }

    /// Reads to the completion of a command.
    pub fn completion(&mut self, tag: &str) -> anyhow::Result<Completed> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            match response.strip_prefix(b"* ") {
                Some(rest) => untagged.push(rest.to_vec()),
                None => return completed(untagged, &response, tag),
            }
        }
    }

    /// Reads one response, literals included.
    pub fn response(&mut self) -> anyhow::Result<Response> {
        let mut response = self.wire.line()?;
        while let Some(count) = announced(&response) {
            response.extend_from_slice(b"\r\n");
            response.extend(self.wire.exact(count)?);
            response.extend(self.wire.line()?);
        }
        Ok(response)
    }
}

fn completed(untagged: Vec<Response>, response: &[u8], tag: &str) -> anyhow::Result<Completed> {
    let text = String::from_utf8_lossy(response).into_owned();
    let Some(rest) = text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) else {
        bail!("the completion of {tag} expected, got {text:?}");
    };
    let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
    Ok(Completed { untagged, status: status.to_owned(), text: text.to_owned() })
}

/// The size of the literal that a line ends with announcing.
fn announced(line: &[u8]) -> Option<usize> {
    let start = line.iter().rposition(|&byte| byte == b'{')?;
    let count = line.strip_suffix(b"}")?.get(start + 1..)?;
    std::str::from_utf8(count).ok()?.parse().ok()
}

/// A quoted string.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The literal in a response that has one: a message's text, say.
pub fn literal(response: &[u8]) -> Option<&[u8]> {
    let open = response.iter().position(|&byte| byte == b'{')?;
    let close = open + response[open..].windows(3).position(|window| window == b"}\r\n")?;
    let count: usize = std::str::from_utf8(&response[open + 1..close]).ok()?.parse().ok()?;
    response.get(close + 3..close + 3 + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found() {
        assert_eq!(announced(b"1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(announced(b"OK {no} literal"), None);
        assert_eq!(literal(b"1 FETCH (BODY[] {5}\r\nab{c} UID 7)"), Some(&b"ab{c}"[..]));
    }
}
