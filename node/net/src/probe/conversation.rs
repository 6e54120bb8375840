//! The few words of each line protocol that a probe speaks.

use std::io;

use estafeta_core::sessions::BoxStream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};

/// The longest line that is read, in bytes.
const LINE_BYTES: u64 = 4096;

/// The most lines of one reply.
const REPLY_LINES: usize = 64;

/// How much of an unexpected line an error repeats, in characters.
const QUOTED_CHARACTERS: usize = 120;

/// A conversation in lines.
pub struct Conversation(BufStream<BoxStream>);

impl Conversation {
    /// On a connection on which nothing was said yet.
    pub fn new(stream: BoxStream) -> Self {
        Self(BufStream::new(stream))
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_BYTES).read_until(b'\n', &mut line).await;
        read.map_err(|error| broken(&error))?;
        if line.is_empty() {
            return Err("the connection was closed in place of an answer".into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Sends a line.
    pub async fn say(&mut self, line: &str) -> Result<(), String> {
        let said = async {
            self.0.write_all(line.as_bytes()).await?;
            self.0.write_all(b"\r\n").await?;
            self.0.flush().await
        };
        said.await.map_err(|error| broken(&error))
    }

    /// The next line must begin so.
    pub async fn expect(&mut self, beginning: &str) -> Result<(), String> {
        let line = self.line().await?;
        if line.starts_with(beginning) { Ok(()) } else { Err(unexpected(&line)) }
    }

    /// A reply of SMTP's form, of one or more lines (RFC 5321 §4.2.1), must have this code.
    pub async fn expect_reply(&mut self, code: &str) -> Result<(), String> {
        for _ in 0..REPLY_LINES {
            let line = self.line().await?;
            let rest = line.strip_prefix(code).ok_or_else(|| unexpected(&line))?;
            if !rest.starts_with('-') {
                return Ok(());
            }
        }
        Err("a reply without an end".into())
    }

    /// Says goodbye and lets the other side close. What comes of it is not worth an error: the answer was there.
    async fn leave(mut self, goodbye: &str) {
        if self.say(goodbye).await.is_ok() {
            let _ = self.line().await;
        }
        let _ = self.0.shutdown().await;
    }
}

/// RFC 5321 §4.1.1.1, and RFC 2033 §4.1 for LMTP: the greeting, then `hello` and our name.
pub async fn smtp(mut conversation: Conversation, hello: &str, hostname: &str) -> Result<(), String> {
    conversation.expect_reply("220").await?;
    conversation.say(&format!("{hello} {hostname}")).await?;
    conversation.expect_reply("250").await?;
    conversation.leave("QUIT").await;
    Ok(())
}

/// RFC 9051 §7.1.1: the greeting. `PREAUTH` would be a bug, and `BYE` a refusal.
pub async fn imap(mut conversation: Conversation) -> Result<(), String> {
    conversation.expect("* OK").await?;
    conversation.leave("p LOGOUT").await;
    Ok(())
}

/// RFC 1939 §4: the greeting.
pub async fn pop3(mut conversation: Conversation) -> Result<(), String> {
    conversation.expect("+OK").await?;
    conversation.leave("QUIT").await;
    Ok(())
}

fn broken(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

fn unexpected(line: &str) -> String {
    format!("it answers {:?}", line.chars().take(QUOTED_CHARACTERS).collect::<String>())
}
