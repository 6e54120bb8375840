//! What stands at the places of the tree: an account or an alias as an entry of attributes, and the way back.
//!
//! An account is an `inetOrgPerson` with `estafetaAccount`: `uid` and `mail` (its address), `displayName` (the person's
//! name, absent when there is none), `cn` and `sn` (which the standard demands: made from the name, or from the address),
//! `estafetaStoreGroup`, `estafetaQuotaBytes` (absent for no limit), `estafetaEnabled`; `entryUUID` is the account's id
//! and `createTimestamp` when it was made. `userPassword` is written and never read. An alias is a `nisMailAlias` with
//! `estafetaAlias`: `cn`, `mail`, and its targets in `rfc822MailMember`.

use std::collections::HashMap;

use estafeta_core::directory::{Account, Alias};
use estafeta_core::{Address, Domain};

use super::place::{Place, SUBSCHEMA, tops};
use super::schema::{self, AttributeType};
use crate::calendar;

/// The controls that requests may carry.
const SUPPORTED_CONTROLS: [&str; 2] = [super::PAGED_RESULTS, super::session_tracking::OID];

/// An entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    attributes: Vec<(&'static AttributeType, Vec<String>)>,
}

impl Entry {
    fn new(place: Place, classes: &[&str]) -> Self {
        let mut entry = Self { attributes: Vec::new(), place };
        entry.attributes.push((&schema::OBJECT_CLASS, classes.iter().map(|&class| class.to_owned()).collect()));
        entry
    }

    fn with(mut self, attribute: &'static AttributeType, value: impl Into<String>) -> Self {
        self.attributes.push((attribute, vec![value.into()]));
        self
    }

    fn with_all(mut self, attribute: &'static AttributeType, values: Vec<String>) -> Self {
        if !values.is_empty() {
            self.attributes.push((attribute, values));
        }
        self
    }

    /// What every entry has that stands in the tree.
    fn placed(self) -> Self {
        let dn = self.place.dn();
        self.with(&schema::ENTRY_DN, dn).with(&schema::SUBSCHEMA_SUBENTRY, SUBSCHEMA)
    }

    /// The attributes, each with one value at least.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static AttributeType, &[String])> {
        self.attributes.iter().map(|(attribute, values)| (*attribute, values.as_slice()))
    }

    /// The values of an attribute.
    pub fn values(&self, attribute: &AttributeType) -> &[String] {
        self.attributes.iter().find(|(one, _)| *one == attribute).map_or(&[], |(_, values)| values)
    }

    /// An account's.
    pub fn of_account(account: &Account) -> Self {
        let local = account.address.local();
        let cn = if account.name.is_empty() { local } else { &account.name };
        let sn = cn.split_whitespace().last().unwrap_or(cn);
        let classes = ["top", "person", "organizationalPerson", "inetOrgPerson", "estafetaAccount"];
        Self::new(Place::Account(account.address.clone()), &classes)
            .with(&schema::UID, local)
            .with(&schema::MAIL, account.address.to_string())
            .with_all(
                &schema::DISPLAY_NAME,
                Some(account.name.clone()).filter(|name| !name.is_empty()).into_iter().collect(),
            )
            .with(&schema::CN, cn)
            .with(&schema::SN, sn)
            .with(&schema::STORE_GROUP, account.store_group.as_str())
            .with_all(&schema::QUOTA, account.quota_bytes.iter().map(u64::to_string).collect())
            .with_all(&schema::QUOTA_MESSAGES, account.quota_messages.iter().map(u64::to_string).collect())
            .with(&schema::ENABLED, if account.enabled { "TRUE" } else { "FALSE" })
            .with(&schema::ENTRY_UUID, account.id.to_string())
            .with(&schema::CREATE_TIMESTAMP, calendar::generalized(account.created))
            .placed()
    }

    /// An alias's.
    pub fn of_alias(alias: &Alias) -> Self {
        Self::new(Place::Alias(alias.address.clone()), &["top", "nisMailAlias", "estafetaAlias"])
            .with(&schema::CN, alias.address.local())
            .with(&schema::MAIL, alias.address.to_string())
            .with_all(&schema::MEMBER, alias.targets.iter().map(Address::to_string).collect())
            .placed()
    }

    /// A domain's.
    pub fn of_domain(domain: &Domain) -> Self {
        let label = domain.as_str().split('.').next().unwrap_or_default();
        Self::new(Place::Domain(domain.clone()), &["top", "domain", "domainRelatedObject"])
            .with(&schema::DC, label)
            .with(&schema::ASSOCIATED_DOMAIN, domain.as_str())
            .placed()
    }

    /// That above a domain's accounts.
    pub fn of_people(domain: &Domain) -> Self {
        Self::new(Place::People(domain.clone()), &["top", "organizationalUnit"]).with(&schema::OU, "people").placed()
    }

    /// That above a domain's aliases.
    pub fn of_aliases(domain: &Domain) -> Self {
        Self::new(Place::Aliases(domain.clone()), &["top", "organizationalUnit"]).with(&schema::OU, "aliases").placed()
    }

    /// The server's own (RFC 4512 §5.1).
    pub fn of_root(domains: &[Domain]) -> Self {
        let contexts = tops(domains).map(|domain| Place::Domain(domain.clone()).dn()).collect();
        let all = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        Self::new(Place::Root, &["top"])
            .with_all(&schema::NAMING_CONTEXTS, contexts)
            .with(&schema::SUBSCHEMA_SUBENTRY, SUBSCHEMA)
            .with(&schema::SUPPORTED_LDAP_VERSION, "3")
            .with(&schema::SUPPORTED_SASL_MECHANISMS, "EXTERNAL")
            .with_all(
                &schema::SUPPORTED_EXTENSION,
                all(&[ldap3_proto::proto::OID_PASSWORD_MODIFY, ldap3_proto::proto::OID_WHOAMI]),
            )
            .with_all(&schema::SUPPORTED_CONTROL, all(&SUPPORTED_CONTROLS))
            // RFC 3673: "+" asks for all operational attributes. RFC 4526: (&) and (|).
            .with_all(&schema::SUPPORTED_FEATURES, all(&["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"]))
            .with(&schema::VENDOR_NAME, "Estafeta")
            .with(&schema::VENDOR_VERSION, env!("CARGO_PKG_VERSION"))
    }

    /// The description of the attributes (RFC 4512 §4.2).
    pub fn of_subschema() -> Self {
        Self::new(Place::Subschema, &["top", "subschema"])
            .with(&schema::CN, "subschema")
            .with_all(&schema::ATTRIBUTE_TYPES, schema::attribute_types())
            .with_all(&schema::OBJECT_CLASSES, schema::object_classes())
    }
}

/// An entry as a client received it: lower-case names of attributes, and their values.
pub struct Received(HashMap<String, Vec<String>>);

impl Received {
    /// What a search answered.
    pub fn new(attributes: HashMap<String, Vec<String>>) -> Self {
        Self(attributes.into_iter().map(|(name, values)| (name.to_ascii_lowercase(), values)).collect())
    }

    /// The values of an attribute.
    pub fn all(&self, attribute: &AttributeType) -> &[String] {
        self.0.get(&attribute.name().to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    fn one(&self, attribute: &AttributeType) -> Result<&str, String> {
        self.maybe(attribute).ok_or_else(|| format!("an entry without {}", attribute.name()))
    }

    fn maybe(&self, attribute: &AttributeType) -> Option<&str> {
        self.all(attribute).first().map(String::as_str)
    }

    /// Whether it is of this object class.
    pub fn is(&self, class: &str) -> bool {
        self.all(&schema::OBJECT_CLASS).iter().any(|one| one.eq_ignore_ascii_case(class))
    }

    /// The account. An error, in words for the operator, when the entry is none.
    pub fn account(&self) -> Result<Account, String> {
        let wrong = |attribute: &AttributeType| format!("an entry with a {} that cannot be read", attribute.name());
        let quota = |attribute: &AttributeType| {
            self.maybe(attribute).map(|text| text.parse().map_err(|_| wrong(attribute))).transpose()
        };
        Ok(Account {
            id: self.one(&schema::ENTRY_UUID)?.parse().map_err(|_| wrong(&schema::ENTRY_UUID))?,
            address: self.one(&schema::MAIL)?.parse().map_err(|_| wrong(&schema::MAIL))?,
            name: self.maybe(&schema::DISPLAY_NAME).unwrap_or_default().to_owned(),
            store_group: self.one(&schema::STORE_GROUP)?.parse().map_err(|_| wrong(&schema::STORE_GROUP))?,
            quota_bytes: quota(&schema::QUOTA)?,
            quota_messages: quota(&schema::QUOTA_MESSAGES)?,
            enabled: self.one(&schema::ENABLED)?.eq_ignore_ascii_case("TRUE"),
            created: calendar::from_generalized(self.one(&schema::CREATE_TIMESTAMP)?)
                .ok_or_else(|| wrong(&schema::CREATE_TIMESTAMP))?,
        })
    }

    /// The alias. An error, in words for the operator, when the entry is none.
    pub fn alias(&self) -> Result<Alias, String> {
        let address = |text: &str| text.parse::<Address>().map_err(|error| error.to_string());
        let targets = self.all(&schema::MEMBER).iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        Ok(Alias { address: address(self.one(&schema::MAIL)?)?, targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use estafeta_core::AccountId;

    fn received(entry: &Entry) -> Received {
        Received::new(
            entry.attributes().map(|(attribute, values)| (attribute.name().to_owned(), values.to_vec())).collect(),
        )
    }

    fn account() -> Account {
        Account {
            id: AccountId::random(),
            address: "Ana@example.edu".parse().unwrap(),
            name: "Ana María Pérez".into(),
            store_group: "group1".parse().unwrap(),
            quota_bytes: Some(0),
            quota_messages: Some(12),
            enabled: false,
            created: 1_795_342_489,
        }
    }

    #[test]
    fn accounts_and_aliases_come_back() {
        let full = account();
        let bare = Account { name: String::new(), quota_bytes: None, quota_messages: None, enabled: true, ..account() };
        for account in [full, bare] {
            let received = received(&Entry::of_account(&account));
            assert!(received.is("inetorgperson") && !received.is("nisMailAlias"));
            assert_eq!(received.account().unwrap(), account);
            assert!(received.alias().is_ok_and(|alias| alias.targets.is_empty()));
        }
        let alias = Alias {
            address: "staff@example.edu".parse().unwrap(),
            targets: vec!["\"a b\"@x.y".parse().unwrap(), "c@x.y".parse().unwrap()],
        };
        let received = received(&Entry::of_alias(&alias));
        assert_eq!(received.alias().unwrap(), alias);
        assert_eq!(received.account().unwrap_err(), "an entry without entryUUID");
    }

    #[test]
    fn what_the_standard_demands_is_there() {
        let entry = Entry::of_account(&account());
        assert_eq!(
            (entry.values(&schema::CN), entry.values(&schema::SN)),
            (&["Ana María Pérez".to_owned()][..], &["Pérez".to_owned()][..])
        );
        let bare = Entry::of_account(&Account { name: String::new(), ..account() });
        assert_eq!(
            (bare.values(&schema::CN), bare.values(&schema::SN)),
            (&["Ana".to_owned()][..], &["Ana".to_owned()][..])
        );
        assert!(bare.values(&schema::DISPLAY_NAME).is_empty() && bare.values(&schema::USER_PASSWORD).is_empty());
        assert_eq!(entry.values(&schema::ENTRY_DN), ["uid=Ana,ou=people,dc=example,dc=edu"]);
    }
}
