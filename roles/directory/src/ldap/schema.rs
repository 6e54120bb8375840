//! The attributes and object classes that our entries use: how values compare, and how they are described to clients
//! that read the subschema (RFC 4512 §4.2).
//!
//! Standard terms wherever there is one (RFC 4519, 4524, 2798, 4530). What is ours alone begins with `estafeta` and
//! stands under the arc 2.25.147612721256917441044075196206087634465, which a UUID gives us (ITU-T X.667).

/// How values of an attribute compare (RFC 4517 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Text, whatever its case and spacing.
    Text,
    /// A mail address, as look-ups compare it.
    Address,
    /// The local part of one, whose spaces matter.
    Local,
    /// A whole number.
    Integer,
    /// `TRUE` or `FALSE`.
    Boolean,
    /// A UUID.
    Uuid,
    /// A generalized time.
    Time,
    /// The name or number of an object class.
    ObjectClass,
    /// A distinguished name.
    Name,
    /// Not at all: passwords, and descriptions of the schema.
    None,
}

/// One attribute.
#[derive(Debug)]
pub struct AttributeType {
    names: &'static [&'static str],
    oid: &'static str,
    /// How its values compare.
    pub rule: Rule,
    /// Whether it has one value at most.
    pub single: bool,
    /// Whether it is shown only when it is asked for (RFC 4512 §3.4).
    pub operational: bool,
}

impl PartialEq for AttributeType {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

/// An attribute of any number of values that is always shown.
const fn of(names: &'static [&'static str], oid: &'static str, rule: Rule) -> AttributeType {
    AttributeType { names, oid, rule, single: false, operational: false }
}

impl AttributeType {
    const fn single(mut self) -> Self {
        self.single = true;
        self
    }

    const fn operational(mut self) -> Self {
        self.operational = true;
        self
    }

    /// The name that we show.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// As the attribute `attributeTypes` of the subschema has it (RFC 4512 §4.1.2).
    fn description(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("'{name}'")).collect();
        let (matching, syntax) = match self.rule {
            Rule::Text | Rule::Address | Rule::Local => (
                "EQUALITY caseIgnoreMatch ORDERING caseIgnoreOrderingMatch SUBSTR caseIgnoreSubstringsMatch ",
                "1.3.6.1.4.1.1466.115.121.1.15",
            ),
            Rule::Integer => ("EQUALITY integerMatch ORDERING integerOrderingMatch ", "1.3.6.1.4.1.1466.115.121.1.27"),
            Rule::Boolean => ("EQUALITY booleanMatch ", "1.3.6.1.4.1.1466.115.121.1.7"),
            Rule::Uuid => ("EQUALITY uuidMatch ORDERING uuidOrderingMatch ", "1.3.6.1.1.16.1"),
            Rule::Time => (
                "EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch ",
                "1.3.6.1.4.1.1466.115.121.1.24",
            ),
            Rule::ObjectClass => ("EQUALITY objectIdentifierMatch ", "1.3.6.1.4.1.1466.115.121.1.38"),
            Rule::Name => ("EQUALITY distinguishedNameMatch ", "1.3.6.1.4.1.1466.115.121.1.12"),
            Rule::None => ("", "1.3.6.1.4.1.1466.115.121.1.40"),
        };
        let single = if self.single { " SINGLE-VALUE" } else { "" };
        let usage = if self.operational { " USAGE directoryOperation" } else { "" };
        format!("( {} NAME ( {} ) {matching}SYNTAX {syntax}{single}{usage} )", self.oid, names.join(" "))
    }
}

macro_rules! attributes {
    ($($constant:ident = $made:expr;)*) => {
        $(
            #[doc = concat!("The attribute of ", stringify!($made), ".")]
            pub static $constant: AttributeType = $made;
        )*
        static ATTRIBUTES: &[&AttributeType] = &[$(&$constant),*];
    };
}

/// The arc of what is ours.
macro_rules! ours {
    ($number:literal) => {
        concat!("2.25.147612721256917441044075196206087634465.", $number)
    };
}

attributes! {
    OBJECT_CLASS = of(&["objectClass"], "2.5.4.0", Rule::ObjectClass);
    DC = of(&["dc", "domainComponent"], "0.9.2342.19200300.100.1.25", Rule::Text).single();
    ASSOCIATED_DOMAIN = of(&["associatedDomain"], "0.9.2342.19200300.100.1.37", Rule::Text);
    OU = of(&["ou", "organizationalUnitName"], "2.5.4.11", Rule::Text);
    UID = of(&["uid", "userid"], "0.9.2342.19200300.100.1.1", Rule::Local);
    CN = of(&["cn", "commonName"], "2.5.4.3", Rule::Text);
    SN = of(&["sn", "surname"], "2.5.4.4", Rule::Text);
    DISPLAY_NAME = of(&["displayName"], "2.16.840.1.113730.3.1.241", Rule::Text).single();
    MAIL = of(&["mail", "rfc822Mailbox"], "0.9.2342.19200300.100.1.3", Rule::Address);
    MEMBER = of(&["rfc822MailMember"], "1.3.6.1.4.1.42.2.27.2.1.15", Rule::Address);
    USER_PASSWORD = of(&["userPassword"], "2.5.4.35", Rule::None);
    STORE_GROUP = of(&["estafetaStoreGroup"], ours!("1.1"), Rule::Text).single();
    QUOTA = of(&["estafetaQuotaBytes"], ours!("1.2"), Rule::Integer).single();
    QUOTA_MESSAGES = of(&["estafetaQuotaMessages"], ours!("1.4"), Rule::Integer).single();
    ENABLED = of(&["estafetaEnabled"], ours!("1.3"), Rule::Boolean).single();
    ENTRY_UUID = of(&["entryUUID"], "1.3.6.1.1.16.4", Rule::Uuid).single().operational();
    ENTRY_DN = of(&["entryDN"], "1.3.6.1.1.20", Rule::Name).single().operational();
    CREATE_TIMESTAMP = of(&["createTimestamp"], "2.5.18.1", Rule::Time).single().operational();
    SUBSCHEMA_SUBENTRY = of(&["subschemaSubentry"], "2.5.18.10", Rule::Name).single().operational();
    NAMING_CONTEXTS = of(&["namingContexts"], "1.3.6.1.4.1.1466.101.120.5", Rule::Name).operational();
    SUPPORTED_EXTENSION = of(&["supportedExtension"], "1.3.6.1.4.1.1466.101.120.7", Rule::Text).operational();
    SUPPORTED_CONTROL = of(&["supportedControl"], "1.3.6.1.4.1.1466.101.120.13", Rule::Text).operational();
    SUPPORTED_SASL_MECHANISMS = of(&["supportedSASLMechanisms"], "1.3.6.1.4.1.1466.101.120.14", Rule::Text).operational();
    SUPPORTED_LDAP_VERSION = of(&["supportedLDAPVersion"], "1.3.6.1.4.1.1466.101.120.15", Rule::Integer).operational();
    SUPPORTED_FEATURES = of(&["supportedFeatures"], "1.3.6.1.4.1.4203.1.3.5", Rule::Text).operational();
    VENDOR_NAME = of(&["vendorName"], "1.3.6.1.1.4", Rule::Text).single().operational();
    VENDOR_VERSION = of(&["vendorVersion"], "1.3.6.1.1.5", Rule::Text).single().operational();
    ATTRIBUTE_TYPES = of(&["attributeTypes"], "2.5.21.5", Rule::None).operational();
    OBJECT_CLASSES = of(&["objectClasses"], "2.5.21.6", Rule::None).operational();
}

/// The attribute of this name or number, in any case. Options (`;lang-es`) name none of ours.
pub fn attribute(description: &str) -> Option<&'static AttributeType> {
    ATTRIBUTES
        .iter()
        .find(|one| one.oid == description || one.names.iter().any(|name| name.eq_ignore_ascii_case(description)))
        .copied()
}

/// An object class: its names, number and the rest of its description.
struct ObjectClass {
    name: &'static str,
    oid: &'static str,
    about: &'static str,
}

static CLASSES: &[ObjectClass] = &[
    ObjectClass { name: "top", oid: "2.5.6.0", about: "ABSTRACT MUST objectClass" },
    ObjectClass { name: "domain", oid: "0.9.2342.19200300.100.4.13", about: "SUP top STRUCTURAL MUST dc" },
    ObjectClass {
        name: "domainRelatedObject",
        oid: "0.9.2342.19200300.100.4.17",
        about: "SUP top AUXILIARY MUST associatedDomain",
    },
    ObjectClass { name: "organizationalUnit", oid: "2.5.6.5", about: "SUP top STRUCTURAL MUST ou" },
    ObjectClass { name: "person", oid: "2.5.6.6", about: "SUP top STRUCTURAL MUST ( sn $ cn ) MAY userPassword" },
    ObjectClass { name: "organizationalPerson", oid: "2.5.6.7", about: "SUP person STRUCTURAL MAY ou" },
    ObjectClass {
        name: "inetOrgPerson",
        oid: "2.16.840.1.113730.3.2.2",
        about: "SUP organizationalPerson STRUCTURAL MAY ( displayName $ mail $ uid )",
    },
    ObjectClass {
        name: "estafetaAccount",
        oid: ours!("2.1"),
        about: "SUP top AUXILIARY MUST ( uid $ mail $ estafetaStoreGroup $ estafetaEnabled ) MAY ( displayName $ estafetaQuotaBytes $ estafetaQuotaMessages $ userPassword )",
    },
    ObjectClass {
        name: "nisMailAlias",
        oid: "1.3.6.1.4.1.42.2.27.1.2.5",
        about: "SUP top STRUCTURAL MUST cn MAY rfc822MailMember",
    },
    ObjectClass {
        name: "estafetaAlias",
        oid: ours!("2.2"),
        about: "SUP top AUXILIARY MUST ( cn $ mail $ rfc822MailMember )",
    },
    ObjectClass { name: "subschema", oid: "2.5.20.1", about: "AUXILIARY MAY ( attributeTypes $ objectClasses )" },
];

/// The name of an object class that is given by name or number; none for one that no entry of ours has.
pub fn object_class(text: &str) -> Option<&'static str> {
    CLASSES.iter().find(|class| class.oid == text || class.name.eq_ignore_ascii_case(text)).map(|class| class.name)
}

/// The values of `attributeTypes`.
pub fn attribute_types() -> Vec<String> {
    ATTRIBUTES.iter().map(|one| one.description()).collect()
}

/// The values of `objectClasses`.
pub fn object_classes() -> Vec<String> {
    CLASSES.iter().map(|class| format!("( {} NAME '{}' {} )", class.oid, class.name, class.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_and_number_is_one_thing() {
        let mut seen = HashSet::new();
        for one in ATTRIBUTES {
            assert!(seen.insert(one.oid.to_owned()), "{}", one.oid);
            for name in one.names {
                assert!(seen.insert(name.to_lowercase()), "{name}");
                assert!(std::ptr::eq(attribute(&name.to_uppercase()).unwrap(), *one));
            }
        }
        for class in CLASSES {
            assert!(seen.insert(class.oid.to_owned()), "{}", class.oid);
            assert_eq!(object_class(&class.name.to_uppercase()), Some(class.name));
        }
        assert!(
            attribute("mail;lang-es").is_none() && attribute("").is_none() && object_class("posixAccount").is_none()
        );
    }

    #[test]
    fn the_classes_name_attributes_that_exist() {
        for class in CLASSES {
            let words = class.about.split([' ', '(', ')', '$']).filter(|word| word.starts_with(char::is_lowercase));
            for word in words {
                assert!(attribute(word).is_some() || object_class(word).is_some(), "{}: {word}", class.name);
            }
        }
        let mail = "( 0.9.2342.19200300.100.1.3 NAME ( 'mail' 'rfc822Mailbox' ) EQUALITY caseIgnoreMatch ORDERING caseIgnoreOrderingMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )";
        assert!(attribute_types().contains(&mail.to_owned()));
    }
}
