//! Mail addresses and domains (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::NameError;

/// A mail domain: lower case, without a final dot, in ASCII. A name in other letters (RFC 6531 §3.2) is held by its A-labels
/// (RFC 5890 §2.3.2.1), so that one domain has one form wherever it is compared, asked of DNS or written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// The domain as text: lower case, A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |why: &str| NameError(format!("{text:?} is not a domain: {why}"));
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = match name.is_ascii() {
            true => name.to_ascii_lowercase(),
            false => idna::domain_to_ascii(name).map_err(|_| bad("these letters make no domain name"))?,
        };
        if name.is_empty() || name.len() > 253 {
            return Err(bad("it takes 1 to 253 octets"));
        }
        for label in name.split('.') {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
                return Err(bad("each label takes 1 to 63 octets and no hyphen at either end"));
            }
            if !label.chars().all(legal) {
                return Err(bad("a label takes letters, digits and hyphens"));
            }
        }
        Ok(Self(name))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Domain {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

/// A mailbox address, `local@domain`. The local part keeps its case and is held without quotes; [`Address::key`] is
/// what look-ups compare. An address literal (`[192.0.2.1]`) is not a domain of ours nor of any that we send to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    domain: Domain,
}

/// The longest local part, in bytes.
const LOCAL_BYTES: usize = 255;

impl Address {
    /// An address of its two halves; the local part without quotes.
    pub fn new(local: &str, domain: Domain) -> Result<Self, NameError> {
        // RFC 5321 §4.5.3.1.1 says 64 octets; senders that encode the recipient's address in theirs (VERP, SRS) need more.
        if local.is_empty() || local.len() > LOCAL_BYTES {
            return Err(NameError(format!("{local:?} is not a local part: it takes 1 to {LOCAL_BYTES} octets")));
        }
        if local.chars().any(char::is_control) {
            return Err(NameError(format!("{local:?} is not a local part: it holds a control character")));
        }
        Ok(Self { local: local.to_owned(), domain })
    }

    /// What stands before the `@`, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The address without its detail, and the detail: what stands behind the first `+` (RFC 5233 §4). None when there is none,
    /// or nothing before it. Only who knows the address can say whether it is meant so: an address may have a `+` of its own.
    pub fn split_detail(&self) -> Option<(Self, &str)> {
        let (local, detail) = self.local.split_once('+')?;
        let whole = !local.is_empty() && !detail.is_empty();
        whole.then(|| (Self { local: local.to_owned(), domain: self.domain.clone() }, detail))
    }

    /// The address with a detail.
    pub fn with_detail(&self, detail: &str) -> Result<Self, NameError> {
        Self::new(&format!("{}+{detail}", self.local), self.domain.clone())
    }

    /// The address as look-ups compare it: all lower case. RFC 5321 §2.4 lets a host treat local parts as it likes;
    /// people expect that case does not matter.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }

    /// Whether the local part stands as it is (a dot-string) or needs quotes on the wire.
    fn is_dot_string(&self) -> bool {
        let atext = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError(format!("{text:?} is not a mail address: it takes the form name@domain"));
        let (local, domain) = text.rsplit_once('@').ok_or_else(bad)?;
        let domain = domain.parse()?;
        let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
        if !quoted {
            let address = Self::new(local, domain)?;
            return if address.is_dot_string() { Ok(address) } else { Err(bad()) };
        }
        let mut plain = String::with_capacity(local.len());
        let mut characters = local[1..local.len() - 1].chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => return Err(bad()),
                '\\' => plain.push(characters.next().ok_or_else(bad)?),
                other => plain.push(other),
            }
        }
        Self::new(&plain, domain)
    }
}

impl TryFrom<String> for Address {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn details() {
        let split = |text: &str| {
            let address: Address = text.parse().unwrap();
            address.split_detail().map(|(base, detail)| (base.to_string(), detail.to_owned()))
        };
        assert_eq!(split("ana+lists@example.edu"), Some(("ana@example.edu".into(), "lists".into())));
        assert_eq!(split("ana+a+b@example.edu"), Some(("ana@example.edu".into(), "a+b".into())));
        for none in ["ana@example.edu", "+lists@example.edu", "ana+@example.edu"] {
            assert_eq!(split(none), None, "{none}");
        }
        let ana: Address = "ana@example.edu".parse().unwrap();
        assert_eq!(ana.with_detail("a b").unwrap().to_string(), "\"ana+a b\"@example.edu");
        assert!(ana.with_detail("\n").is_err() && ana.with_detail(&"x".repeat(300)).is_err());
    }

    #[test]
    fn known_addresses() {
        for good in ["ana@example.edu", "a.b+c@example.edu", "\"a b\"@example.edu", "josé@correo.es", "o'hara@x.y"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "\"a\"b\"@c",
            "a@-b",
            "a\n@b",
            "a@b..c",
            "a@[1.2.3.4]",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
        // One domain in two alphabets is one domain.
        let unicode: Domain = "Correo.ESPAÑA.test".parse().unwrap();
        assert_eq!(unicode.as_str(), "correo.xn--espaa-rta.test");
        assert_eq!(unicode, "correo.xn--espaa-rta.test".parse().unwrap());
        assert_eq!("Ana@Example.EDU.".parse::<Address>().unwrap().key(), "ana@example.edu");
    }

    proptest! {
        #[test]
        fn any_text_never_panics_and_what_parses_prints_and_parses_again(text in "\\PC{0,80}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
