//! Whether an entry fits a filter (RFC 4511 §4.5.1.7), and which entries a filter can fit at most.
//!
//! Invariants: three values: an attribute or an assertion that means nothing here is Undefined, and so is its negation;
//! only True finds an entry. What [`Reach::of`] leaves out never fits.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use estafeta_core::{Address, Domain};
use ldap3_proto::proto::{LdapFilter, LdapSubstringFilter};
use uuid::Uuid;

use super::dn;
use super::entry::Entry;
use super::place::Place;
use super::schema::{self, AttributeType, Rule};
use crate::calendar;

/// What a filter says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It fits.
    True,
    /// It does not.
    False,
    /// The question means nothing.
    Undefined,
}

impl From<bool> for Truth {
    fn from(fits: bool) -> Self {
        if fits { Self::True } else { Self::False }
    }
}

/// Whether `entry` fits `filter`. As deep as the filter, whose depth the decoder bounds.
pub fn fits(filter: &LdapFilter, entry: &Entry) -> Truth {
    match filter {
        // RFC 4526: without parts, "and" is True and "or" is False.
        LdapFilter::And(parts) => all(parts.iter().map(|part| fits(part, entry))),
        LdapFilter::Or(parts) => not(all(parts.iter().map(|part| not(fits(part, entry))))),
        LdapFilter::Not(part) => not(fits(part, entry)),
        LdapFilter::Present(name) => on(name, |attribute| Truth::from(!entry.values(attribute).is_empty())),
        // We know no better approximation than equality.
        LdapFilter::Equality(name, value) | LdapFilter::Approx(name, value) => {
            on(name, |attribute| compare(attribute, entry, value, Ordering::is_eq))
        }
        LdapFilter::GreaterOrEqual(name, value) => {
            on(name, |attribute| ordered(attribute, entry, value, Ordering::is_ge))
        }
        LdapFilter::LessOrEqual(name, value) => on(name, |attribute| ordered(attribute, entry, value, Ordering::is_le)),
        LdapFilter::Substring(name, parts) => on(name, |attribute| substrings(attribute, entry, parts)),
        LdapFilter::Extensible(_) => Truth::Undefined,
    }
}

/// How many questions a filter asks.
pub fn terms(filter: &LdapFilter) -> usize {
    match filter {
        LdapFilter::And(parts) | LdapFilter::Or(parts) => parts.iter().map(terms).sum(),
        LdapFilter::Not(part) => terms(part),
        LdapFilter::Substring(_, parts) => 1 + parts.any.len(),
        _ => 1,
    }
}

/// False when one is False, else Undefined when one is Undefined, else True.
fn all(parts: impl Iterator<Item = Truth>) -> Truth {
    let mut answer = Truth::True;
    for part in parts {
        match part {
            Truth::False => return Truth::False,
            Truth::Undefined => answer = Truth::Undefined,
            Truth::True => {}
        }
    }
    answer
}

fn not(part: Truth) -> Truth {
    match part {
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        Truth::Undefined => Truth::Undefined,
    }
}

fn on(name: &str, question: impl Fn(&'static AttributeType) -> Truth) -> Truth {
    schema::attribute(name).map_or(Truth::Undefined, question)
}

/// Whether one of an entry's values stands to `assertion` as asked. The whole of `compare` for the operation of that
/// name (RFC 4511 §4.10).
pub fn compare(attribute: &AttributeType, entry: &Entry, assertion: &str, fits: fn(Ordering) -> bool) -> Truth {
    let rule = attribute.rule;
    let Some(assertion) = Value::read(rule, assertion) else { return Truth::Undefined };
    let values = entry.values(attribute).iter().filter_map(|value| Value::read(rule, value));
    Truth::from(values.into_iter().any(|value| fits(value.cmp(&assertion))))
}

/// The same for an order, which not every rule has.
fn ordered(attribute: &AttributeType, entry: &Entry, assertion: &str, fits: fn(Ordering) -> bool) -> Truth {
    match attribute.rule {
        Rule::Text | Rule::Address | Rule::Local | Rule::Integer | Rule::Uuid | Rule::Time => {
            compare(attribute, entry, assertion, fits)
        }
        Rule::Boolean | Rule::ObjectClass | Rule::Name | Rule::None => Truth::Undefined,
    }
}

fn substrings(attribute: &AttributeType, entry: &Entry, parts: &LdapSubstringFilter) -> Truth {
    if !matches!(attribute.rule, Rule::Text | Rule::Address | Rule::Local) {
        return Truth::Undefined;
    }
    let parts = Substrings {
        initial: parts.initial.as_deref().map(folded),
        any: parts.any.iter().map(|part| folded(part)).collect(),
        last: parts.final_.as_deref().map(folded),
    };
    Truth::from(entry.values(attribute).iter().any(|value| parts.fit(&folded(value))))
}

struct Substrings {
    initial: Option<String>,
    any: Vec<String>,
    last: Option<String>,
}

impl Substrings {
    /// Whether the parts stand in the value in their order, none over another.
    fn fit(&self, value: &str) -> bool {
        let Some(mut rest) = value.strip_prefix(self.initial.as_deref().unwrap_or_default()) else { return false };
        for part in &self.any {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(self.last.as_deref().unwrap_or_default())
    }
}

/// A value in the form in which its rule compares it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    Integer(i128),
    Uuid(Uuid),
    Time(u64),
}

impl Value {
    fn read(rule: Rule, text: &str) -> Option<Self> {
        match rule {
            Rule::Text => Some(Self::Text(folded(text).trim().to_owned())),
            Rule::Address => text.trim().parse::<Address>().ok().map(|address| Self::Text(address.key())),
            Rule::Local => Some(Self::Text(text.to_lowercase())),
            Rule::Integer => text.parse().ok().map(Self::Integer),
            Rule::Boolean => ["TRUE", "FALSE"]
                .iter()
                .find(|known| known.eq_ignore_ascii_case(text))
                .map(|&known| Self::Text(known.into())),
            Rule::Uuid => Uuid::try_parse(text).ok().map(Self::Uuid),
            Rule::Time => calendar::from_generalized(text).map(Self::Time),
            // A class that no entry of ours has is still a class: it fits nothing.
            Rule::ObjectClass => Some(Self::Text(schema::object_class(text).unwrap_or(text).to_ascii_lowercase())),
            Rule::Name => {
                let name = dn::parse(text).ok()?;
                let known = Place::of(&name).map(|place| place.dn().to_lowercase());
                Some(Self::Text(known.unwrap_or_else(|| text.to_lowercase())))
            }
            Rule::None => None,
        }
    }
}

/// Text without its case, and with single spaces (RFC 4518 §2, what of it matters for names of people).
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut after_space = false;
    for c in text.chars() {
        let space = c.is_whitespace();
        if !space {
            folded.extend(c.to_lowercase());
        } else if !after_space {
            folded.push(' ');
        }
        after_space = space;
    }
    folded
}

/// Which entries a filter can fit at most: so that a search for one address reads one row, and not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Any.
    Everything,
    /// Those of these.
    Only(Keys),
}

/// What names entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Addresses of accounts and aliases, by their keys.
    pub addresses: BTreeMap<String, Address>,
    /// Local parts of accounts' addresses, in lower case.
    pub locals: BTreeSet<String>,
    /// Domains.
    pub domains: BTreeSet<Domain>,
    /// Ids of accounts.
    pub ids: BTreeSet<Uuid>,
}

impl Keys {
    fn count(&self) -> usize {
        self.addresses.len() + self.locals.len() + self.domains.len() + self.ids.len()
    }
}

impl Reach {
    /// The reach of a filter.
    pub fn of(filter: &LdapFilter) -> Self {
        match filter {
            LdapFilter::And(parts) => {
                let reaches = parts.iter().map(Self::of).filter_map(|reach| match reach {
                    Self::Only(keys) => Some(keys),
                    Self::Everything => None,
                });
                reaches.min_by_key(Keys::count).map_or(Self::Everything, Self::Only)
            }
            LdapFilter::Or(parts) => {
                let mut union = Keys::default();
                for part in parts {
                    let Self::Only(mut keys) = Self::of(part) else { return Self::Everything };
                    union.addresses.append(&mut keys.addresses);
                    union.locals.append(&mut keys.locals);
                    union.domains.append(&mut keys.domains);
                    union.ids.append(&mut keys.ids);
                }
                Self::Only(union)
            }
            LdapFilter::Equality(name, value) => Self::of_equality(name, value),
            _ => Self::Everything,
        }
    }

    fn of_equality(name: &str, value: &str) -> Self {
        let Some(attribute) = schema::attribute(name) else { return Self::Everything };
        let mut keys = Keys::default();
        if *attribute == schema::MAIL {
            // What is no address is nobody's.
            keys.addresses.extend(value.trim().parse::<Address>().map(|address| (address.key(), address)));
        } else if *attribute == schema::UID {
            keys.locals.insert(value.to_lowercase());
        } else if *attribute == schema::ASSOCIATED_DOMAIN {
            keys.domains.extend(value.trim().parse::<Domain>());
        } else if *attribute == schema::ENTRY_UUID {
            keys.ids.extend(Uuid::try_parse(value));
        } else {
            return Self::Everything;
        }
        Self::Only(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::AccountId;
    use estafeta_core::directory::{Account, Alias};
    use proptest::prelude::*;

    fn account(address: &str, name: &str, quota_bytes: Option<u64>) -> Account {
        Account {
            id: AccountId("6f0d2d0e-9b1c-4c52-8a57-3e3a4c1f7e21".parse().unwrap()),
            address: address.parse().unwrap(),
            name: name.into(),
            store_group: "group1".parse().unwrap(),
            quota_bytes,
            quota_messages: None,
            enabled: true,
            created: 1_795_342_489,
        }
    }

    /// A filter as a client sends it and the server reads it.
    fn filter(text: &str) -> LdapFilter {
        let tag = ldap3::parse_filter(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let mut filter = bytes::BytesMut::new();
        ldap3::asn1::write::encode_into(&mut filter, ldap3::asn1::ASNTag::into_structure(tag)).unwrap();
        let wrap = |tag: u8, contents: &[u8]| {
            [&[tag, 0x82][..], &u16::try_from(contents.len()).unwrap().to_be_bytes(), contents].concat()
        };
        let head = b"\x04\x00\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00";
        let search = wrap(0x63, &[head, &filter[..], b"\x30\x00"].concat());
        let mut message = bytes::BytesMut::from(&wrap(0x30, &[b"\x02\x01\x01", &search[..]].concat())[..]);
        let message =
            tokio_util::codec::Decoder::decode(&mut ldap3_proto::LdapCodec::default(), &mut message).unwrap().unwrap();
        let ldap3_proto::proto::LdapOp::SearchRequest(request) = message.op else { panic!("{message:?}") };
        request.filter
    }

    #[test]
    fn known_filters() {
        let ana = Entry::of_account(&account("Ana.Perez@example.edu", "Ana  María Pérez", Some(2_000)));
        for (text, expected) in [
            ("(mail=ana.perez@EXAMPLE.edu)", Truth::True),
            ("(mail=ana@example.edu)", Truth::False),
            ("(mail=no address)", Truth::Undefined),
            ("(uid=ANA.PEREZ)", Truth::True),
            ("(cn=ana maría pérez)", Truth::True),
            ("(cn=ANA*pérez)", Truth::True),
            ("(cn=*maría*)", Truth::True),
            ("(cn=*a*a*a*a*)", Truth::True),
            ("(cn=*a*a*a*a*a*)", Truth::False),
            ("(cn=ana maría pérez*z)", Truth::False),
            ("(mail=*@example.edu)", Truth::True),
            ("(mail=*@example.org)", Truth::False),
            ("(sn~=PÉREZ)", Truth::True),
            ("(objectClass=*)", Truth::True),
            ("(objectClass=inetORGperson)", Truth::True),
            ("(objectClass=2.16.840.1.113730.3.2.2)", Truth::True),
            ("(objectClass=posixAccount)", Truth::False),
            ("(estafetaQuotaBytes>=2000)", Truth::True),
            ("(estafetaQuotaBytes<=1999)", Truth::False),
            ("(estafetaQuotaBytes>=10000)", Truth::False),
            ("(estafetaQuotaBytes=much)", Truth::Undefined),
            ("(estafetaEnabled=true)", Truth::True),
            ("(estafetaEnabled=FALSE)", Truth::False),
            ("(estafetaEnabled=yes)", Truth::Undefined),
            ("(estafetaEnabled>=FALSE)", Truth::Undefined),
            ("(createTimestamp>=20261122000000Z)", Truth::True),
            ("(createTimestamp<=20261122000000Z)", Truth::False),
            ("(entryUUID=6F0D2D0E-9b1c-4c52-8a57-3e3a4c1f7e21)", Truth::True),
            ("(entryDN=UID=ana.perez, ou=People,dc=example,dc=EDU)", Truth::True),
            ("(rfc822MailMember=*)", Truth::False),
            ("(userPassword=*)", Truth::False),
            ("(userPassword=correct horse)", Truth::Undefined),
            ("(telephoneNumber=1)", Truth::Undefined),
            ("(telephoneNumber=*)", Truth::Undefined),
            ("(!(telephoneNumber=1))", Truth::Undefined),
            ("(cn=Ana \\4dar\\c3\\ada*)", Truth::True),
            ("(cn:caseExactMatch:=Ana)", Truth::Undefined),
            ("(&(uid=ana.perez)(telephoneNumber=1))", Truth::Undefined),
            ("(&(uid=bea)(telephoneNumber=1))", Truth::False),
            ("(|(uid=ana.perez)(telephoneNumber=1))", Truth::True),
            ("(|(uid=bea)(telephoneNumber=1))", Truth::Undefined),
            ("(!(uid=bea))", Truth::True),
        ] {
            assert_eq!(fits(&filter(text), &ana), expected, "{text}");
        }
        assert_eq!(fits(&LdapFilter::And(vec![]), &ana), Truth::True);
        assert_eq!(fits(&LdapFilter::Or(vec![]), &ana), Truth::False);
    }

    #[test]
    fn reaches_of_what_is_asked_all_day() {
        let Reach::Only(keys) = Reach::of(&filter("(|(mail=Ana@example.edu)(mail=x)(associatedDomain=Example.edu))"))
        else {
            panic!()
        };
        assert_eq!((keys.addresses.len(), keys.domains.len(), keys.count()), (1, 1, 2));
        assert!(keys.addresses.contains_key("ana@example.edu"));
        let Reach::Only(keys) = Reach::of(&filter("(&(objectClass=*)(uid=Ana)(|(mail=a@b.c)(mail=d@e.f)))")) else {
            panic!()
        };
        assert!(keys.locals.contains("ana") && keys.count() == 1);
        for everything in ["(objectClass=*)", "(|(mail=a@b.c)(cn=a))", "(!(mail=a@b.c))", "(mail=a*)"] {
            assert_eq!(Reach::of(&filter(everything)), Reach::Everything, "{everything}");
        }
    }

    fn some_filter() -> impl Strategy<Value = LdapFilter> {
        let name = prop::sample::select(vec![
            "mail",
            "uid",
            "cn",
            "associatedDomain",
            "entryUUID",
            "objectClass",
            "nonsense",
            "estafetaEnabled",
        ]);
        let value = prop::sample::select(vec![
            "ana@example.edu",
            "\"a  b\"@example.edu",
            "ana",
            "a  b",
            "a b",
            "ANA",
            "example.edu",
            "TRUE",
            "top",
            "6f0d2d0e-9b1c-4c52-8a57-3e3a4c1f7e21",
            "",
        ]);
        let leaf = (name, value, 0..5).prop_map(|(name, value, kind)| {
            let (name, value) = (name.to_owned(), value.to_owned());
            match kind {
                0 | 1 => LdapFilter::Equality(name, value),
                2 => LdapFilter::Present(name),
                3 => LdapFilter::GreaterOrEqual(name, value),
                _ => {
                    LdapFilter::Substring(name, LdapSubstringFilter { initial: Some(value), any: vec![], final_: None })
                }
            }
        });
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(LdapFilter::And),
                prop::collection::vec(inner.clone(), 0..4).prop_map(LdapFilter::Or),
                inner.prop_map(|part| LdapFilter::Not(Box::new(part))),
            ]
        })
    }

    /// Whether a reach holds the entry: what the search's candidates come from.
    fn holds(reach: &Reach, entry: &Entry, id: Option<Uuid>) -> bool {
        let Reach::Only(keys) = reach else { return true };
        match &entry.place {
            Place::Account(address) => {
                keys.addresses.contains_key(&address.key())
                    || keys.locals.contains(&address.local().to_lowercase())
                    || id.is_some_and(|id| keys.ids.contains(&id))
            }
            Place::Alias(address) => keys.addresses.contains_key(&address.key()),
            Place::Domain(domain) => keys.domains.contains(domain),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn three_values_keep_their_laws(one in some_filter(), two in some_filter()) {
            let entry = Entry::of_account(&account("ana@example.edu", "", None));
            let truth = |filter: LdapFilter| fits(&filter, &entry);
            let negated = |filter: &LdapFilter| LdapFilter::Not(Box::new(filter.clone()));
            prop_assert_eq!(truth(negated(&negated(&one))), truth(one.clone()));
            prop_assert_eq!(truth(LdapFilter::And(vec![one.clone(), two.clone()])), truth(LdapFilter::And(vec![two.clone(), one.clone()])));
            prop_assert_eq!(
                truth(negated(&LdapFilter::And(vec![one.clone(), two.clone()]))),
                truth(LdapFilter::Or(vec![negated(&one), negated(&two)]))
            );
        }

        #[test]
        fn what_fits_is_within_reach(filter in some_filter()) {
            let account_entries = ["ana@example.edu", "\"a  b\"@example.edu", "\" ana\"@example.edu"].map(|address| account(address, "Ana", None));
            let alias = Alias { address: "ana@example.edu".parse().unwrap(), targets: vec![] };
            let domain = "example.edu".parse().unwrap();
            let mut entries: Vec<(Entry, Option<Uuid>)> = account_entries.iter().map(|account| (Entry::of_account(account), Some(account.id.0))).collect();
            entries.extend([Entry::of_alias(&alias), Entry::of_domain(&domain), Entry::of_people(&domain)].map(|entry| (entry, None)));
            let reach = Reach::of(&filter);
            for (entry, id) in entries {
                if fits(&filter, &entry) == Truth::True {
                    prop_assert!(holds(&reach, &entry, id), "{:?}", entry.place);
                }
            }
        }
    }
}
