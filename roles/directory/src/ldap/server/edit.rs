//! What attributes in requests to add or modify mean for an account or an alias.

use estafeta_core::directory::{Account, AccountChange, NewAccount};
use estafeta_core::name::NameError;
use estafeta_core::{Address, Secret, StoreGroup};
use ldap3_proto::proto::{LdapModify, LdapModifyType, LdapPartialAttribute, LdapResultCode};

use crate::ldap::outcome::Refusal;
use crate::ldap::schema::{self, AttributeType};

/// One attribute of a request, known and in words.
pub struct Given {
    /// Which.
    pub attribute: &'static AttributeType,
    /// Its values.
    pub values: Vec<String>,
}

impl Given {
    /// Reads one.
    pub fn read(attribute: LdapPartialAttribute) -> Result<Self, Refusal> {
        let name = &attribute.atype;
        let known = schema::attribute(name).ok_or_else(|| {
            Refusal::new(LdapResultCode::UndefinedAttributeType, format!("{name} is not an attribute here"))
        })?;
        let values = attribute.vals.into_iter().map(String::from_utf8).collect::<Result<_, _>>();
        let values =
            values.map_err(|_| Refusal::new(LdapResultCode::InvalidAttributeSyntax, format!("{name} is not UTF-8")))?;
        Ok(Self { attribute: known, values })
    }

    /// Its only value.
    fn one(&self) -> Result<&str, Refusal> {
        match self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(wrong(format!("{} takes one value", self.attribute.name()))),
        }
    }

    fn is(&self, attribute: &AttributeType) -> bool {
        *self.attribute == *attribute
    }

    /// That it is `address`, as the entry's name has it.
    fn check_address(&self, address: &Address) -> Result<(), Refusal> {
        let same = if self.is(&schema::MAIL) {
            self.one()?.parse::<Address>().is_ok_and(|given| given.key() == address.key())
        } else {
            self.one()?.to_lowercase() == address.local().to_lowercase()
        };
        let name = self.attribute.name();
        if same {
            Ok(())
        } else {
            Err(Refusal::new(
                LdapResultCode::NamingViolation,
                format!("{name} differs from the entry's name, which says {address}"),
            ))
        }
    }

    fn check_classes(&self) -> Result<(), Refusal> {
        match self.values.iter().find(|class| schema::object_class(class).is_none()) {
            None => Ok(()),
            Some(unknown) => Err(Refusal::new(
                LdapResultCode::ObjectClassViolation,
                format!("{unknown} is not an object class here"),
            )),
        }
    }
}

fn wrong(text: impl Into<String>) -> Refusal {
    Refusal::new(LdapResultCode::ConstraintViolation, text)
}

/// What clients cannot set: it is made here, or belongs to another kind of entry.
fn not_here(attribute: &AttributeType) -> Refusal {
    wrong(format!("{} cannot be set here", attribute.name()))
}

/// The account that a request to add asks for.
pub fn new_account(address: Address, attributes: &[Given]) -> Result<NewAccount, Refusal> {
    let (mut names, mut store_group, mut password) = (Names::default(), None, None);
    let (mut quota_bytes, mut quota_messages) = (None, None);
    for given in attributes {
        if given.is(&schema::OBJECT_CLASS) {
            given.check_classes()?;
        } else if given.is(&schema::UID) || given.is(&schema::MAIL) {
            given.check_address(&address)?;
        } else if given.is(&schema::DISPLAY_NAME) || given.is(&schema::CN) || given.is(&schema::SN) {
            names.take(given)?;
        } else if given.is(&schema::STORE_GROUP) {
            store_group = Some(group(given)?);
        } else if given.is(&schema::QUOTA) {
            quota_bytes = Some(quota(given.one()?)?);
        } else if given.is(&schema::QUOTA_MESSAGES) {
            quota_messages = Some(quota(given.one()?)?);
        } else if given.is(&schema::ENABLED) {
            if !boolean(given.one()?)? {
                return Err(wrong("an account begins enabled: disable it once it is there"));
            }
        } else if given.is(&schema::USER_PASSWORD) {
            password = Some(Secret::new(given.one()?.to_owned()));
        } else {
            return Err(not_here(given.attribute));
        }
    }
    let store_group = store_group.ok_or_else(|| {
        Refusal::new(
            LdapResultCode::ObjectClassViolation,
            "estafetaStoreGroup is missing: it says where the mailboxes live",
        )
    })?;
    let name = names.name(address.local(), "")?;
    Ok(NewAccount { address, name, store_group, quota_bytes, quota_messages, password })
}

/// What a request to modify asks of an account, and the password that it sets.
pub fn account_change(account: &Account, changes: Vec<LdapModify>) -> Result<(AccountChange, Option<Secret>), Refusal> {
    let (mut names, mut change, mut password) = (Names::default(), AccountChange::default(), None);
    for LdapModify { operation, modification } in changes {
        let given = Given::read(modification)?;
        let name = given.attribute.name();
        if given.is(&schema::USER_PASSWORD) {
            if operation != LdapModifyType::Replace {
                return Err(wrong("a password is replaced: it can be neither added to nor taken away"));
            }
            password = Some(Secret::new(given.one()?.to_owned()));
        } else if operation == LdapModifyType::Replace && given.is(&schema::STORE_GROUP) {
            change.store_group = Some(group(&given)?);
        } else if given.is(&schema::QUOTA) {
            let before = change.quota_bytes.unwrap_or(account.quota_bytes).map(|quota| quota.to_string());
            change.quota_bytes = Some(value_after(before, &operation, &given)?.map(|text| quota(&text)).transpose()?);
        } else if given.is(&schema::QUOTA_MESSAGES) {
            let before = change.quota_messages.unwrap_or(account.quota_messages).map(|quota| quota.to_string());
            change.quota_messages =
                Some(value_after(before, &operation, &given)?.map(|text| quota(&text)).transpose()?);
        } else if given.is(&schema::DISPLAY_NAME) {
            let before = names.display.clone().unwrap_or_else(|| account.name.clone());
            let after = value_after(Some(before).filter(|name| !name.is_empty()), &operation, &given)?;
            names.display = Some(after.unwrap_or_default());
        } else if operation == LdapModifyType::Replace && (given.is(&schema::CN) || given.is(&schema::SN)) {
            names.take(&given)?;
        } else if operation == LdapModifyType::Replace && given.is(&schema::ENABLED) {
            change.enabled = Some(boolean(given.one()?)?);
        } else if given.is(&schema::CN) || given.is(&schema::SN) || given.is(&schema::ENABLED) {
            return Err(Refusal::new(
                LdapResultCode::ObjectClassViolation,
                format!("{name} has one value, which can be replaced"),
            ));
        } else if given.is(&schema::UID) || given.is(&schema::MAIL) {
            return Err(Refusal::new(LdapResultCode::NotALlowedOnRDN, "an address is for ever its account's"));
        } else if given.is(&schema::OBJECT_CLASS) {
            return Err(Refusal::new(LdapResultCode::ObjectClassModsProhibited, "what an entry is does not change"));
        } else {
            return Err(not_here(given.attribute));
        }
    }
    if names != Names::default() {
        change.name = Some(names.name(account.address.local(), &account.name)?);
    }
    Ok((change, password))
}

/// The targets of the alias that a request to add asks for.
pub fn new_targets(address: &Address, attributes: &[Given]) -> Result<Vec<Address>, Refusal> {
    let mut targets = Vec::new();
    for given in attributes {
        if given.is(&schema::OBJECT_CLASS) {
            given.check_classes()?;
        } else if given.is(&schema::CN) || given.is(&schema::MAIL) {
            given.check_address(address)?;
        } else if given.is(&schema::MEMBER) {
            targets.extend(addresses(given)?);
        } else {
            return Err(not_here(given.attribute));
        }
    }
    Ok(targets)
}

/// One change of an alias's targets.
pub struct TargetChange {
    operation: LdapModifyType,
    addresses: Vec<Address>,
}

impl TargetChange {
    /// Reads one.
    pub fn read(change: LdapModify) -> Result<Self, Refusal> {
        let given = Given::read(change.modification)?;
        if !given.is(&schema::MEMBER) {
            return Err(not_here(given.attribute));
        }
        Ok(Self { operation: change.operation, addresses: addresses(&given)? })
    }

    /// The targets after it (RFC 4511 §4.6).
    pub fn apply(&self, targets: &mut Vec<Address>) -> Result<(), Refusal> {
        let has = |targets: &[Address], one: &Address| targets.iter().any(|target| target.key() == one.key());
        match self.operation {
            LdapModifyType::Replace => *targets = self.addresses.clone(),
            LdapModifyType::Add => {
                for one in &self.addresses {
                    if has(targets, one) {
                        return Err(Refusal::new(
                            LdapResultCode::AttributeOrValueExists,
                            format!("{one} is a target already"),
                        ));
                    }
                    targets.push(one.clone());
                }
            }
            LdapModifyType::Delete if self.addresses.is_empty() => targets.clear(),
            LdapModifyType::Delete => {
                for one in &self.addresses {
                    if !has(targets, one) {
                        return Err(Refusal::new(LdapResultCode::NoSuchAttribute, format!("{one} is not a target")));
                    }
                    targets.retain(|target| target.key() != one.key());
                }
            }
            LdapModifyType::Increment => return Err(wrong("rfc822MailMember is no number")),
        }
        Ok(())
    }
}

fn addresses(given: &Given) -> Result<Vec<Address>, Refusal> {
    let parsed = given.values.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    parsed.map_err(|error: NameError| Refusal::new(LdapResultCode::InvalidAttributeSyntax, error.to_string()))
}

fn group(given: &Given) -> Result<StoreGroup, Refusal> {
    let wrong = |error: NameError| Refusal::new(LdapResultCode::InvalidAttributeSyntax, error.to_string());
    given.one()?.parse().map_err(wrong)
}

fn quota(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(LdapResultCode::InvalidAttributeSyntax, "a quota takes a number, of bytes or of messages")
    })
}

fn boolean(text: &str) -> Result<bool, Refusal> {
    match text {
        "TRUE" => Ok(true),
        "FALSE" => Ok(false),
        _ => Err(Refusal::new(LdapResultCode::InvalidAttributeSyntax, "estafetaEnabled takes TRUE or FALSE")),
    }
}

/// The value of an attribute of at most one, after a change (RFC 4511 §4.6).
fn value_after(before: Option<String>, operation: &LdapModifyType, given: &Given) -> Result<Option<String>, Refusal> {
    let name = given.attribute.name();
    match operation {
        LdapModifyType::Replace if given.values.is_empty() => Ok(None),
        LdapModifyType::Replace => given.one().map(|value| Some(value.to_owned())),
        LdapModifyType::Add if before.is_none() => given.one().map(|value| Some(value.to_owned())),
        LdapModifyType::Add => {
            Err(Refusal::new(LdapResultCode::AttributeOrValueExists, format!("{name} has its one value already")))
        }
        LdapModifyType::Delete => match before {
            Some(before) if given.values.is_empty() || given.one()? == before => Ok(None),
            _ => Err(Refusal::new(LdapResultCode::NoSuchAttribute, format!("{name} does not have this value"))),
        },
        LdapModifyType::Increment => Err(wrong(format!("{name} is not incremented"))),
    }
}

/// A person's name as the standard's attributes give it. We keep one: `displayName`; `cn` stands for it when it alone is
/// given, and `sn` must be its end, because that is how they are shown.
#[derive(Default, PartialEq, Eq)]
struct Names {
    display: Option<String>,
    cn: Option<String>,
    sn: Option<String>,
}

impl Names {
    fn take(&mut self, given: &Given) -> Result<(), Refusal> {
        let value = Some(given.one()?.to_owned());
        if given.is(&schema::DISPLAY_NAME) {
            self.display = value;
        } else if given.is(&schema::CN) {
            self.cn = value;
        } else {
            self.sn = value;
        }
        Ok(())
    }

    /// The name; `before` when nothing is said of it.
    fn name(self, local: &str, before: &str) -> Result<String, Refusal> {
        let from_cn = self.cn.as_ref().map(|cn| if cn == local { String::new() } else { cn.clone() });
        let name = self.display.or(from_cn).unwrap_or_else(|| before.to_owned());
        let shown = if name.is_empty() { local } else { &name };
        if self.cn.is_some_and(|cn| cn != shown) {
            return Err(wrong("cn differs from displayName, and one name is kept"));
        }
        if self.sn.is_some_and(|sn| !shown.ends_with(sn.as_str())) {
            return Err(wrong("sn is not the end of the name, and one name is kept"));
        }
        Ok(name)
    }
}
