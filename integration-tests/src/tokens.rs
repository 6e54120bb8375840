//! Messages that can be told apart, and what mailboxes hold of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::imap::literal;
use crate::client::{Imap, Trust};
use crate::cluster::PASSWORD;

/// A message as people write them: with all the headers without which a filter would think ill of it.
pub fn letter(subject: &str, body: &str) -> String {
    format!(
        "From: sender@example.com\r\nTo: ana@demo.test\r\nSubject: {subject}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{}@example.com>\r\n\r\n{body}\r\n",
        subject.replace(' ', ".")
    )
}

/// A message that carries a token, of about `size_bytes`.
pub fn message(token: &str, to: &str, size_bytes: usize) -> Vec<u8> {
    let mut message = format!(
        "From: sender@example.com\r\nTo: {to}\r\nSubject: token {token}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{token}@example.com>\r\nX-Token: {token}\r\n\r\n"
    )
    .into_bytes();
    // Text that differs from message to message, as mail does.
    let mut number = token.bytes().fold(17_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    while message.len() < size_bytes {
        let mut line = String::with_capacity(80);
        while line.len() < 72 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            line += &format!("{:08x} ", number);
        }
        message.extend_from_slice(line.trim_end().as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// How often each token is in an account's INBOX.
pub fn in_mailbox(access: SocketAddr, trust: &Trust, login: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut imap = Imap::connect_tls(access, trust)?;
    imap.login(login, PASSWORD)?.ok()?;
    imap.command("EXAMINE INBOX")?.ok()?;
    let mut found = BTreeMap::new();
    for response in imap.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-TOKEN)])")?.untagged {
        let Some(header) = literal(&response) else { continue };
        if let Some((_, token)) = String::from_utf8_lossy(header).trim().split_once(": ") {
            *found.entry(token.to_owned()).or_default() += 1;
        }
    }
    Ok(found)
}
