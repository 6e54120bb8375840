//! The paths of an envelope: who sends and who receives, in the grammar of RFC 5321 §4.1.2 and RFC 6531 §3.3.
//!
//! Invariants: a [`Mailbox`] holds no control character, no unquoted special, at most [`LOCAL_LIMIT_BYTES`] and
//! [`DOMAIN_LIMIT_BYTES`]; quoting stands in it only where it is needed, so that equal local parts are equal text.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest local part, in bytes. RFC 5321 §4.5.3.1.1 asks for 64 at least; senders with encoded return paths
/// (VERP, SRS) use more.
pub const LOCAL_LIMIT_BYTES: usize = 256;
/// The longest domain, in bytes (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_LIMIT_BYTES: usize = 255;

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No `<` or no `>`, or something else around the address.
    #[error("the address must stand in angle brackets")]
    Brackets,
    /// The part before the `@`.
    #[error("the local part of the address is not valid")]
    Local,
    /// The part behind the `@`.
    #[error("the domain of the address is not valid")]
    Domain,
    /// Longer than is allowed.
    #[error("the address is too long")]
    TooLong,
}

/// An address `local@domain`, its local part quoted where it has to be.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: String,
    at: usize,
}

impl Mailbox {
    /// Reads `local@domain` without angle brackets.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let (local, rest) = local_part(text)?;
        let domain = rest.strip_prefix('@').ok_or(PathError::Domain)?;
        check_domain(domain)?;
        let mut text = local;
        let at = text.len();
        text.push('@');
        text.push_str(domain);
        Ok(Self { text, at })
    }

    /// The whole, as it stands between angle brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`, quoted if it has to be.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part behind the `@`: a domain, or an address literal in square brackets.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// Whether it can be spoken of only under SMTPUTF8 (RFC 6531 §3.3).
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// Where bounces go: nowhere (`<>`), or to a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a message that is not to be answered by a bounce (RFC 5321 §4.5.5).
    Null,
    /// The sender.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, if there is one.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Reads `<>` or `<mailbox>` at the start of `text`; gives what follows it too.
    pub(super) fn read(text: &str) -> Result<(Self, &str), PathError> {
        let (inner, rest) = brackets(text)?;
        if inner.is_empty() {
            return Ok((Self::Null, rest));
        }
        Ok((Self::Mailbox(Mailbox::parse(without_route(inner)?)?), rest))
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mailbox().map_or("", Mailbox::as_str))
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain: whoever keeps this server (RFC 5321 §4.5.1).
    Postmaster,
    /// A recipient.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads `<mailbox>` or `<postmaster>` at the start of `text`; gives what follows it too.
    pub(super) fn read(text: &str) -> Result<(Self, &str), PathError> {
        let (inner, rest) = brackets(text)?;
        if inner.eq_ignore_ascii_case("postmaster") {
            return Ok((Self::Postmaster, rest));
        }
        Ok((Self::Mailbox(Mailbox::parse(without_route(inner)?)?), rest))
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Splits `<inner>rest`. A `>` inside a quoted string does not end the path.
fn brackets(text: &str) -> Result<(&str, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok((&inner[..index], &inner[index + 1..])),
            _ => {}
        }
    }
    Err(PathError::Brackets)
}

/// RFC 5321 §4.1.1.3: a source route (`@a,@b:`) is accepted and ignored.
fn without_route(inner: &str) -> Result<&str, PathError> {
    let Some(route) = inner.strip_prefix('@') else { return Ok(inner) };
    let (hosts, mailbox) = route.split_once(':').ok_or(PathError::Domain)?;
    for (index, host) in hosts.split(',').enumerate() {
        let host = if index == 0 { host } else { host.strip_prefix('@').ok_or(PathError::Domain)? };
        check_domain(host)?;
    }
    Ok(mailbox)
}

/// Reads a local part, `Dot-string / Quoted-string`, and gives it in its shortest form, with what follows it.
fn local_part(text: &str) -> Result<(String, &str), PathError> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = text.find('@').ok_or(PathError::Domain)?;
            if !is_dot_string(&text[..end]) {
                return Err(PathError::Local);
            }
            (text[..end].to_owned(), &text[end..])
        }
    };
    if local.len() > LOCAL_LIMIT_BYTES {
        return Err(PathError::TooLong);
    }
    if is_dot_string(&local) {
        return Ok((local, rest));
    }
    let mut quoted = String::with_capacity(local.len() + 2);
    quoted.push('"');
    for character in local.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    Ok((quoted, rest))
}

/// Reads a quoted string behind its opening quote; gives its content and what follows the closing one.
fn quoted_string(text: &str) -> Result<(String, &str), PathError> {
    // Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((content, &text[index + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ' '..='~')) => content.push(escaped),
                _ => return Err(PathError::Local),
            },
            _ if character.is_control() => return Err(PathError::Local),
            _ => content.push(character),
        }
    }
    Err(PathError::Local)
}

/// `Dot-string = Atom *("." Atom)`
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// `atext` of RFC 5322 §3.2.3, with UTF8-non-ascii (RFC 6531 §3.3).
fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(character)
        || (!character.is_ascii() && !character.is_control())
}

/// `Domain / address-literal`
fn check_domain(domain: &str) -> Result<(), PathError> {
    if domain.len() > DOMAIN_LIMIT_BYTES {
        return Err(PathError::TooLong);
    }
    let valid = match domain.strip_prefix('[').and_then(|literal| literal.strip_suffix(']')) {
        Some(literal) => is_address_literal(literal),
        None => domain.split('.').all(is_label),
    };
    if valid { Ok(()) } else { Err(PathError::Domain) }
}

/// `sub-domain = Let-dig [Ldh-str]`. The underscore is not in the grammar, but is in real domains.
fn is_label(label: &str) -> bool {
    let letter = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, '-' | '_')
            || (!character.is_ascii() && !character.is_control())
    };
    // RFC 1035 §2.3.4: 63 bytes; a U-label takes more in UTF-8 than in the DNS.
    let limit = if label.is_ascii() { 63 } else { 252 };
    !label.is_empty()
        && label.len() <= limit
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(letter)
}

/// `IPv4-address-literal / IPv6-address-literal` (RFC 5321 §4.1.3); no other tag is registered.
fn is_address_literal(literal: &str) -> bool {
    match literal.split_once(':') {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address.parse::<Ipv6Addr>().is_ok(),
        Some(_) => false,
        None => literal.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forward(text: &str) -> Result<String, PathError> {
        let (path, rest) = ForwardPath::read(text)?;
        assert_eq!(rest, "");
        Ok(path.to_string())
    }

    #[test]
    fn known_answers() {
        for (text, expected) in [
            ("<a@b.example>", "a@b.example"),
            ("<first.last+tag@b>", "first.last+tag@b"),
            ("<\"plain\"@b.example>", "plain@b.example"),
            ("<\"a b\"@b.example>", "\"a b\"@b.example"),
            ("<\"a\\\"b\"@b.example>", "\"a\\\"b\"@b.example"),
            ("<\"a>b@c\"@b.example>", "\"a>b@c\"@b.example"),
            ("<\"\"@b.example>", "\"\"@b.example"),
            ("<@one.example,@two.example:a@b.example>", "a@b.example"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
            ("<Postmaster>", "postmaster"),
            ("<josé@universidad.example>", "josé@universidad.example"),
            ("<a@münchen.example>", "a@münchen.example"),
            ("<a@under_score.example>", "a@under_score.example"),
        ] {
            assert_eq!(forward(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, expected) in [
            ("", PathError::Brackets),
            ("a@b", PathError::Brackets),
            ("<a@b", PathError::Brackets),
            ("<>", PathError::Domain),
            ("<a>", PathError::Domain),
            ("<@b>", PathError::Domain),
            ("<a@>", PathError::Domain),
            ("<a@b@c>", PathError::Domain),
            ("<.a@b>", PathError::Local),
            ("<a..b@b>", PathError::Local),
            ("<a b@b>", PathError::Local),
            ("<a@-b>", PathError::Domain),
            ("<a@b..c>", PathError::Domain),
            ("<a@[300.0.0.1]>", PathError::Domain),
            ("<a@[IPv6:zz]>", PathError::Domain),
            ("<\"a\tb\"@b>", PathError::Local),
            ("<\"a@b>", PathError::Brackets),
            ("<a\u{85}b@b>", PathError::Local),
        ] {
            assert_eq!(forward(text), Err(expected), "{text}");
        }
        assert_eq!(forward(&format!("<{}@b>", "a".repeat(LOCAL_LIMIT_BYTES + 1))), Err(PathError::TooLong));
        assert_eq!(forward(&format!("<a@{}>", "b.".repeat(200) + "c")), Err(PathError::TooLong));
        assert_eq!(ReversePath::read("<>").map(|(path, _)| path), Ok(ReversePath::Null));
    }

    #[test]
    fn parts() {
        let mailbox = Mailbox::parse("\"a@b\"@c.example").unwrap();
        assert_eq!((mailbox.local(), mailbox.domain()), ("\"a@b\"", "c.example"));
        assert!(!mailbox.needs_smtputf8());
        assert!(Mailbox::parse("é@c.example").unwrap().needs_smtputf8());
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "\\PC{0,60}") {
            let _ = ReversePath::read(&text);
            let _ = ForwardPath::read(&text);
        }

        #[test]
        fn a_mailbox_reads_as_itself(text in "(\"[ -~]{0,12}\"|[a-z.é]{1,12})@[a-z0-9.-]{1,20}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                prop_assert_eq!(Mailbox::parse(mailbox.as_str()), Ok(mailbox.clone()));
                let wire = format!("<{mailbox}> SIZE=1");
                prop_assert_eq!(ForwardPath::read(&wire), Ok((ForwardPath::Mailbox(mailbox), " SIZE=1")));
            }
        }
    }
}
