//! The tree, and the places in it. It is made from the domains:
//!
//! ```text
//! dc=example,dc=edu                       a domain of ours
//!   ou=people,…                           its accounts:  uid=ana,ou=people,dc=example,dc=edu
//!   ou=aliases,…                          its aliases:   cn=staff,ou=aliases,dc=example,dc=edu
//! cn=subschema                            what attributes there are
//! ```
//!
//! A place is what a name means; whether something is there, the database says.

use estafeta_core::{Address, Domain};

use super::dn::{self, Rdn};

/// What a distinguished name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The empty name: the server itself, and above all domains.
    Root,
    /// The description of the attributes.
    Subschema,
    /// A domain.
    Domain(Domain),
    /// Above a domain's accounts.
    People(Domain),
    /// Above a domain's aliases.
    Aliases(Domain),
    /// An account.
    Account(Address),
    /// An alias.
    Alias(Address),
}

/// How much below a place a search looks (RFC 4511 §4.5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The place alone.
    Base,
    /// What is directly below it.
    One,
    /// The place and all below it.
    Subtree,
    /// All below it, without itself.
    Below,
}

/// The name of the subschema's entry.
pub const SUBSCHEMA: &str = "cn=subschema";

impl Place {
    /// What a name means; none when it can mean nothing of ours.
    pub fn of(name: &[Rdn]) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Root);
        }
        let is = |rdn: &Rdn, attribute: &str, value: &str| {
            rdn.attribute == attribute && rdn.value.eq_ignore_ascii_case(value)
        };
        if let [only] = name
            && is(only, "cn", "subschema")
        {
            return Some(Self::Subschema);
        }
        let labels = name.iter().rev().take_while(|rdn| rdn.attribute == "dc").count();
        let (local, labels) = name.split_at(name.len() - labels);
        if labels.iter().any(|rdn| rdn.value.contains('.')) {
            return None;
        }
        let domain: Vec<&str> = labels.iter().map(|rdn| rdn.value.as_str()).collect();
        let domain: Domain = domain.join(".").parse().ok()?;
        match local {
            [] => Some(Self::Domain(domain)),
            [unit] if is(unit, "ou", "people") => Some(Self::People(domain)),
            [unit] if is(unit, "ou", "aliases") => Some(Self::Aliases(domain)),
            [one, unit] if one.attribute == "uid" && is(unit, "ou", "people") => {
                Address::new(&one.value, domain).ok().map(Self::Account)
            }
            [one, unit] if one.attribute == "cn" && is(unit, "ou", "aliases") => {
                Address::new(&one.value, domain).ok().map(Self::Alias)
            }
            _ => None,
        }
    }

    /// Its name.
    pub fn dn(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Subschema => SUBSCHEMA.to_owned(),
            Self::Domain(domain) => {
                let labels: Vec<String> = domain.as_str().split('.').map(|label| dn::rdn("dc", label)).collect();
                labels.join(",")
            }
            Self::People(domain) => format!("ou=people,{}", Self::Domain(domain.clone()).dn()),
            Self::Aliases(domain) => format!("ou=aliases,{}", Self::Domain(domain.clone()).dn()),
            Self::Account(address) => {
                format!("{},{}", dn::rdn("uid", address.local()), Self::People(address.domain().clone()).dn())
            }
            Self::Alias(address) => {
                format!("{},{}", dn::rdn("cn", address.local()), Self::Aliases(address.domain().clone()).dn())
            }
        }
    }

    /// The domain that it is in.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Root | Self::Subschema => None,
            Self::Domain(domain) | Self::People(domain) | Self::Aliases(domain) => Some(domain),
            Self::Account(address) | Self::Alias(address) => Some(address.domain()),
        }
    }

    /// Whether it is the same place: names compare without case.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Account(one), Self::Account(two)) | (Self::Alias(one), Self::Alias(two)) => one.key() == two.key(),
            _ => self == other,
        }
    }

    /// Whether a search from here in this scope finds `other`. Below the root are the domains that are below no other
    /// one of `domains`, ours.
    pub fn reaches(&self, scope: Scope, other: &Self, domains: &[Domain]) -> bool {
        match scope {
            Scope::Base => self.is(other),
            Scope::One => other.parent(domains).is_some_and(|parent| self.is(&parent)),
            Scope::Subtree => self.is(other) || self.is_above(other),
            Scope::Below => self.is_above(other),
        }
    }

    fn parent(&self, domains: &[Domain]) -> Option<Self> {
        match self {
            Self::Root | Self::Subschema => None,
            Self::Domain(domain) => {
                let is_top = !domains.iter().any(|other| is_below(domain, other));
                let (_, above) = domain.as_str().split_once('.')?;
                if is_top { Some(Self::Root) } else { above.parse().ok().map(Self::Domain) }
            }
            Self::People(domain) | Self::Aliases(domain) => Some(Self::Domain(domain.clone())),
            Self::Account(address) => Some(Self::People(address.domain().clone())),
            Self::Alias(address) => Some(Self::Aliases(address.domain().clone())),
        }
    }

    fn is_above(&self, other: &Self) -> bool {
        match self {
            Self::Root => other.domain().is_some(),
            Self::Domain(domain) => {
                other.domain().is_some_and(|of| is_below(of, domain) || (of == domain && !self.is(other)))
            }
            Self::People(domain) => matches!(other, Self::Account(address) if address.domain() == domain),
            Self::Aliases(domain) => matches!(other, Self::Alias(address) if address.domain() == domain),
            Self::Subschema | Self::Account(_) | Self::Alias(_) => false,
        }
    }
}

/// The domains that are below no other one of these: the server's naming contexts.
pub fn tops(domains: &[Domain]) -> impl Iterator<Item = &Domain> {
    domains.iter().filter(|domain| !domains.iter().any(|other| is_below(domain, other)))
}

fn is_below(domain: &Domain, above: &Domain) -> bool {
    domain.as_str().strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<Place> {
        Place::of(&dn::parse(text).unwrap())
    }

    #[test]
    fn names_and_their_places() {
        for text in [
            "",
            "cn=subschema",
            "dc=edu",
            "dc=example,dc=edu",
            "ou=people,dc=example,dc=edu",
            "ou=aliases,dc=example,dc=edu",
            "uid=Ana,ou=people,dc=example,dc=edu",
            "uid=a\\+b\\, c,ou=people,dc=example,dc=edu",
            "cn=staff,ou=aliases,dc=example,dc=edu",
        ] {
            assert_eq!(place(text).unwrap().dn(), text);
        }
        let shouted = place("UID=ANA,OU=PEOPLE,DC=EXAMPLE,DC=EDU").unwrap();
        assert!(shouted.is(&place("uid=ana,ou=people,dc=example,dc=edu").unwrap()));
        for text in [
            "cn=ana,ou=people,dc=example,dc=edu",
            "uid=ana,dc=example,dc=edu",
            "ou=x,dc=edu",
            "o=example",
            "dc=a.b,dc=edu",
            "uid=,ou=people,dc=edu",
            "dc=-",
        ] {
            assert_eq!(place(text), None, "{text}");
        }
    }

    #[test]
    fn scopes_reach_what_they_name() {
        let domains: Vec<Domain> =
            ["example.edu", "cs.example.edu", "notexample.edu"].iter().map(|d| d.parse().unwrap()).collect();
        let everything: Vec<Place> = domains
            .iter()
            .flat_map(|domain| {
                let address: Address = format!("ana@{domain}").parse().unwrap();
                [
                    Place::Domain(domain.clone()),
                    Place::People(domain.clone()),
                    Place::Account(address.clone()),
                    Place::Aliases(domain.clone()),
                    Place::Alias(address),
                ]
            })
            .collect();
        let count = |base: &str, scope: Scope| {
            let base = place(base).unwrap();
            everything.iter().filter(|place| base.reaches(scope, place, &domains)).count()
        };
        for (base, one, subtree) in [
            ("", 2, 15),
            ("dc=example,dc=edu", 3, 10),
            ("dc=cs,dc=example,dc=edu", 2, 5),
            ("ou=people,dc=example,dc=edu", 1, 2),
            ("ou=aliases,dc=example,dc=edu", 1, 2),
            ("uid=ana,ou=people,dc=example,dc=edu", 0, 1),
            ("dc=edu", 0, 15),
        ] {
            assert_eq!((count(base, Scope::One), count(base, Scope::Subtree)), (one, subtree), "{base}");
        }
        assert_eq!(count("dc=example,dc=edu", Scope::Below), 9);
        assert_eq!(count("dc=example,dc=edu", Scope::Base), 1);
        assert_eq!(tops(&domains).count(), 2);
    }
}
