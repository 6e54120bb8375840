//! Names of nodes, roles, services and accounts, as types that cannot hold an illegal value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a name of its kind. The message is for whoever wrote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub(crate) String);

/// A label as DNS has them (RFC 1123 §2.1): 1 to 63 letters, digits and hyphens, no hyphen at either end.
fn label(kind: &str, text: &str) -> Result<(), NameError> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 || !text.chars().all(legal) || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError(format!(
            "{text:?} is not a {kind}: it takes 1 to 63 lower-case letters, digits and inner hyphens"
        )));
    }
    Ok(())
}

macro_rules! label_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// A name known when the program is written. It must be a legal one: the role table's test checks them.
            pub const fn fixed(name: &'static str) -> Self {
                Self(Cow::Borrowed(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                label($kind, text)?;
                Ok(Self(Cow::Owned(text.to_owned())))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into_owned()
            }
        }
    };
}

label_type!(
    /// One machine, or one process in a demonstration, that runs the binary with some roles.
    NodeName,
    "node name"
);
label_type!(
    /// What a node may do: `edge`, `filter`, `access`, `directory`, `mailbox`, `dns`, `balancer`.
    RoleName,
    "role name"
);
label_type!(
    /// One kind of listener of a role: `smtp`, `imaps`, `ldaps`.
    ServiceName,
    "service name"
);
label_type!(
    /// The mailbox nodes that share one database and one blob store.
    StoreGroup,
    "store group"
);
label_type!(
    /// Where nodes stand together: a campus, a machine room.
    SiteName,
    "site name"
);

impl RoleName {
    /// Cluster E: the flow of mail in and out.
    pub const EDGE: Self = Self::fixed("edge");
    /// Cluster B: spam and virus detection.
    pub const FILTER: Self = Self::fixed("filter");
    /// Cluster A: what the user touches.
    pub const ACCESS: Self = Self::fixed("access");
    /// Cluster C: accounts and settings.
    pub const DIRECTORY: Self = Self::fixed("directory");
    /// Cluster D: the mailboxes.
    pub const MAILBOX: Self = Self::fixed("mailbox");
    /// The authoritative name server.
    pub const DNS: Self = Self::fixed("dns");
}

/// Names an account for ever: never reused, kept when its person is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId(pub Uuid);

impl AccountId {
    /// A new one, random.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AccountId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Uuid::parse_str(text).map(Self).map_err(|_| NameError(format!("{text:?} is not an account id (a UUID)")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        for good in ["edge1", "a", "store-group-1", "0"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ñ", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }
}
