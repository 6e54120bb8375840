//! A client that reads what servers write: lines, with literals in them.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(super) struct Client {
    stream: DuplexStream,
    buffer: Vec<u8>,
    tag: u32,
}

/// What came in answer to a command.
#[derive(Debug)]
pub(super) struct Answer {
    /// Each untagged response, literals included, without `* ` and without the line's end.
    pub(super) untagged: Vec<String>,
    /// The completion, without its tag.
    pub(super) completion: String,
}

impl Answer {
    /// The untagged responses that hold this.
    pub(super) fn with(&self, text: &str) -> Vec<&str> {
        self.untagged.iter().map(String::as_str).filter(|line| line.contains(text)).collect()
    }
}

impl Client {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream, buffer: Vec::new(), tag: 0 }
    }

    /// The next response, literals included; none at the end of the stream.
    pub(super) async fn response(&mut self) -> Option<String> {
        let mut from = 0;
        loop {
            while let Some(offset) = self.buffer[from..].windows(2).position(|pair| pair == b"\r\n") {
                let end = from + offset;
                let line = &self.buffer[..end];
                let literal = line.strip_suffix(b"}").and_then(|line| {
                    let start = line.iter().rposition(|byte| *byte == b'{')?;
                    std::str::from_utf8(&line[start + 1..]).ok()?.parse::<usize>().ok()
                });
                match literal {
                    Some(size) if self.buffer.len() >= end + 2 + size => from = end + 2 + size,
                    Some(_) => break,
                    None => {
                        let line = String::from_utf8_lossy(line).into_owned();
                        self.buffer.drain(..end + 2);
                        return Some(line);
                    }
                }
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).await.unwrap();
            if count == 0 {
                assert!(self.buffer.is_empty(), "half a response: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
            self.buffer.extend_from_slice(&piece[..count]);
        }
    }

    /// The next thing that is told unasked, without `* `.
    pub(super) async fn hears(&mut self) -> String {
        let heard = tokio::time::timeout(std::time::Duration::from_secs(20), self.response()).await;
        let line = heard.expect("nothing is told").expect("the connection is closed");
        line.strip_prefix("* ").unwrap_or_else(|| panic!("not unasked: {line}")).to_owned()
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a command, and gives its tag.
    pub(super) async fn begin(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(&format!("{tag} {command}\r\n")).await;
        tag
    }

    /// Reads up to the completion of that command.
    pub(super) async fn end(&mut self, tag: &str) -> Answer {
        let mut untagged = Vec::new();
        loop {
            let line = self.response().await.expect("the connection is closed");
            match line.split_once(' ') {
                Some(("*", rest)) => untagged.push(rest.to_owned()),
                Some((one, rest)) if one == tag => return Answer { untagged, completion: rest.to_owned() },
                _ => panic!("unexpected: {line}"),
            }
        }
    }

    pub(super) async fn command(&mut self, command: &str) -> Answer {
        let tag = self.begin(command).await;
        self.end(&tag).await
    }

    /// A command that succeeds.
    pub(super) async fn ok(&mut self, command: &str) -> Answer {
        let answer = self.command(command).await;
        assert!(answer.completion.starts_with("OK"), "{command}: {answer:?}");
        answer
    }

    /// A command that fails, with this beginning of its completion.
    pub(super) async fn fails(&mut self, command: &str, beginning: &str) {
        let answer = self.command(command).await;
        assert!(answer.completion.starts_with(beginning), "{command}: {answer:?}");
    }

    pub(super) async fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> Answer {
        let size = message.len();
        self.ok(&format!("APPEND {mailbox} {flags} {{{size}+}}\r\n{message}").replace("  {", " {")).await
    }
}
