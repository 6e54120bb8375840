//! Where mail comes over from: `imaps://user@host[:port]`.

use std::str::FromStr;

/// The port of IMAP through TLS (RFC 8314 §7.3).
const PORT: u16 = 993;

/// An account on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Who logs in there.
    pub user: String,
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Source {
    /// Whether somebody means a server, and no directory.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// By which what came over is remembered.
    pub fn key(&self) -> String {
        format!("{}@{}:{}", self.user, self.host, self.port)
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?}: {why}: write imaps://user@host or imaps://user@host:port");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no URL"))?;
        if !scheme.eq_ignore_ascii_case("imaps") {
            return Err(wrong("only imaps, which encrypts from the first byte on, is spoken"));
        }
        // A login may be an address: the last @ counts.
        let (user, server) = rest.rsplit_once('@').ok_or_else(|| wrong("whose mail? the user is missing"))?;
        let server = server.strip_suffix('/').unwrap_or(server);
        if user.contains(':') {
            return Err(
                "a password has no place in the URL, where others can see it: give --password and it is asked for"
                    .into(),
            );
        }
        let user = percent_decoded(user).filter(|user| !user.is_empty()).ok_or_else(|| wrong("the user is wrong"))?;
        let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            None => server.split_once(':').map_or((server, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port.ok_or_else(|| wrong("the port is wrong"))? {
            "" => PORT,
            digits => digits.parse().map_err(|_| wrong("the port is wrong"))?,
        };
        if host.is_empty() || host.contains(['/', '?', '#']) {
            return Err(wrong("the server is wrong"));
        }
        Ok(Self { user, host: host.to_ascii_lowercase(), port })
    }
}

/// RFC 3986 §2.1.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, user, host, port) in [
            ("imaps://ana@mail.example.edu", "ana", "mail.example.edu", 993),
            ("IMAPS://ana@old.example.edu@Mail.example.edu:1993/", "ana@old.example.edu", "mail.example.edu", 1993),
            ("imaps://an%C3%AD%40x@[::1]:9", "aní@x", "::1", 9),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!((&*source.user, &*source.host, source.port), (user, host, port), "{text}");
        }
        for (text, word) in [
            ("imap://ana@host", "imaps"),
            ("imaps://host", "user"),
            ("imaps://ana:secret@host", "--password"),
            ("imaps://ana@", "server"),
            ("imaps://ana@host:x", "port"),
            ("imaps://ana@host/INBOX", "server"),
            ("imaps://%0A@host", "user"),
            ("imaps://%é@host", "user"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(word) && !error.contains("secret"), "{error}");
        }
    }
}
