//! As much of IMAP as the canary speaks (RFC 3501): log in, search, delete. Every line is bounded.

use estafeta_core::Secret;
use estafeta_core::sessions::BoxStream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// The longest line of a server, in bytes, and how many come before a command's completion.
const LINE_BYTES: u64 = 64 * 1024;
const LINES_LIMIT: usize = 1000;

/// A conversation with a server.
pub struct Imap {
    stream: BufReader<BoxStream>,
    tag: u32,
}

impl Imap {
    /// Reads the greeting.
    pub async fn greeted(stream: BoxStream) -> Result<Self, String> {
        let mut imap = Self { stream: BufReader::new(stream), tag: 0 };
        let greeting = imap.line().await?;
        if greeting.starts_with("* OK") { Ok(imap) } else { Err(format!("it greets with {greeting:?}")) }
    }

    /// LOGIN.
    pub async fn login(&mut self, name: &str, password: &Secret) -> Result<(), String> {
        let command = format!("LOGIN {} {}", quoted(name)?, quoted(password.expose())?);
        self.command(&command).await.map(drop)
    }

    /// The UIDs of the messages in the selected mailbox that have this text in this header field; any text when empty.
    pub async fn search(&mut self, field: &str, text: &str) -> Result<Vec<u32>, String> {
        let lines = self.command(&format!("UID SEARCH HEADER {field} {}", quoted(text)?)).await?;
        let found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH")).unwrap_or_default();
        Ok(found.split_whitespace().filter_map(|uid| uid.parse().ok()).collect())
    }

    /// Deletes messages of the selected mailbox (RFC 4315 §2.1: these alone).
    pub async fn delete(&mut self, uids: &[u32]) -> Result<(), String> {
        if uids.is_empty() {
            return Ok(());
        }
        let set = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        self.command(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await?;
        self.command(&format!("UID EXPUNGE {set}")).await.map(drop)
    }

    /// Sends a command and gives the lines before its completion. The error is the completion that is no OK.
    pub async fn command(&mut self, command: &str) -> Result<Vec<String>, String> {
        self.tag += 1;
        let tag = format!("c{} ", self.tag);
        let broken = |error: std::io::Error| format!("the connection broke: {error}");
        self.stream.write_all(format!("{tag}{command}\r\n").as_bytes()).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        let mut lines = Vec::new();
        while lines.len() < LINES_LIMIT {
            let line = self.line().await?;
            match line.strip_prefix(&tag) {
                Some(completion) if completion.starts_with("OK") => return Ok(lines),
                // Not the whole command: LOGIN holds a password.
                Some(completion) => {
                    return Err(format!("{}: {completion}", command.split(' ').next().unwrap_or_default()));
                }
                None => lines.push(line),
            }
        }
        Err(format!("more than {LINES_LIMIT} lines in answer to one command"))
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE_BYTES).read_until(b'\n', &mut line).await;
        match read {
            Ok(_) if line.ends_with(b"\n") => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Ok(count) if count as u64 == LINE_BYTES => Err("a line without end".into()),
            Ok(_) => Err("the server closed the connection".into()),
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }
}

/// A quoted string (RFC 3501 §4.3).
fn quoted(text: &str) -> Result<String, String> {
    if text.contains(['\r', '\n', '\0']) {
        return Err("a line break or NUL cannot be said in IMAP".into());
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_logs_in_searches_and_deletes() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(async move {
            let mut far = BufReader::new(far);
            far.write_all(b"* OK ready\r\n").await.unwrap();
            let said: &[(&str, &str)] = &[
                ("c1 LOGIN \"ana\" \"a\\\"b\"", "c1 OK in\r\n"),
                ("c2 UID SEARCH HEADER X \"\"", "* 3 EXISTS\r\n* SEARCH 4 17\r\nc2 OK\r\n"),
                ("c3 UID STORE 4,17 +FLAGS.SILENT (\\Deleted)", "c3 OK\r\n"),
                ("c4 UID EXPUNGE 4,17", "* 1 EXPUNGE\r\nc4 OK\r\n"),
                ("c5 NOOP", "c5 NO not now\r\n"),
            ];
            for (expected, answer) in said {
                let mut line = String::new();
                far.read_line(&mut line).await.unwrap();
                assert_eq!(line.trim_end(), *expected);
                far.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut imap = Imap::greeted(Box::new(near)).await.unwrap();
        imap.login("ana", &Secret::new("a\"b".to_owned())).await.unwrap();
        let found = imap.search("X", "").await.unwrap();
        assert_eq!(found, [4, 17]);
        imap.delete(&found).await.unwrap();
        imap.delete(&[]).await.unwrap();
        assert_eq!(imap.command("NOOP").await.unwrap_err(), "NOOP: NO not now");
        server.await.unwrap();
        assert!(imap.command("NOOP").await.is_err());
        assert!(quoted("a\r\nb").is_err());
    }
}
