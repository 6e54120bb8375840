//! What the server says that it can do (RFC 3501 §6.1.1), in one place for the front and for the mailbox engine.

use std::fmt;

use crate::sasl::Mechanism;

/// What holds before and after login alike.
///
/// RFC 7888 §5: never LITERAL- beside LITERAL+, which promises it and more. So a literal of any size need not be asked for,
/// here as after login; what is too large is refused by its size.
const ALWAYS: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE";

/// What holds once a mailbox engine answers.
const AUTHENTICATED: &[&str] = &[
    "ACL",
    "BINARY",
    "CATENATE",
    "CHILDREN",
    "COMPRESS=DEFLATE",
    "CONDSTORE",
    "CREATE-SPECIAL-USE",
    "ESEARCH",
    "ESORT",
    "INPROGRESS",
    "LIST-EXTENDED",
    "LIST-METADATA",
    "LIST-MYRIGHTS",
    "LIST-STATUS",
    "METADATA",
    "MOVE",
    "MULTIAPPEND",
    "NAMESPACE",
    "NOTIFY",
    "OBJECTID",
    "PARTIAL",
    "PREVIEW",
    "QRESYNC",
    "QUOTA",
    "QUOTA=RES-MESSAGE",
    "QUOTA=RES-STORAGE",
    "REPLACE",
    "RIGHTS=kxte",
    "SAVEDATE",
    "SEARCH=FUZZY",
    "SEARCHRES",
    "SORT",
    "SORT=DISPLAY",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "UIDONLY",
    "UIDPLUS",
    "UNAUTHENTICATE",
    "UNSELECT",
    "UTF8=ACCEPT",
    "WITHIN",
];

/// A list of capabilities as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities<'a> {
    /// For a client that has not said who it is.
    NotAuthenticated {
        /// Whether STARTTLS would be accepted now.
        start_tls: bool,
        /// Whether a LOGIN command would be looked at now (else `LOGINDISABLED`).
        login: bool,
        /// What AUTHENTICATE accepts now.
        mechanisms: &'a [Mechanism],
    },
    /// For a client whose account is open.
    Authenticated {
        /// The largest message that APPEND takes, in bytes (RFC 7889 §3).
        append_limit: u64,
    },
    /// As another server listed them, separated by spaces.
    Listed(&'a str),
}

impl fmt::Display for Capabilities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(list) => f.write_str(list),
            Self::Authenticated { append_limit } => {
                write!(f, "{ALWAYS} APPENDLIMIT={append_limit}")?;
                AUTHENTICATED.iter().try_for_each(|capability| write!(f, " {capability}"))
            }
            Self::NotAuthenticated { start_tls, login, mechanisms } => {
                f.write_str(ALWAYS)?;
                if *start_tls {
                    f.write_str(" STARTTLS")?;
                }
                if !login {
                    f.write_str(" LOGINDISABLED")?;
                }
                mechanisms.iter().try_for_each(|mechanism| write!(f, " AUTH={}", mechanism.name()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let clear = Capabilities::NotAuthenticated { start_tls: true, login: false, mechanisms: &[] };
        assert_eq!(clear.to_string(), "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED");
        let mechanisms = &[Mechanism::Plain, Mechanism::Login];
        let secure = Capabilities::NotAuthenticated { start_tls: false, login: true, mechanisms };
        assert_eq!(secure.to_string(), "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN");
        let authenticated = Capabilities::Authenticated { append_limit: 7 }.to_string();
        assert!(
            authenticated.contains(" IDLE APPENDLIMIT=7 ") && authenticated.ends_with(" UNSELECT UTF8=ACCEPT WITHIN")
        );
        // RFC 7888 §5
        for list in [clear.to_string(), secure.to_string(), authenticated] {
            let named = |name: &str| list.split(' ').filter(|one| *one == name).count();
            assert_eq!((named("LITERAL+"), named("LITERAL-")), (1, 0), "{list}");
        }
    }
}
