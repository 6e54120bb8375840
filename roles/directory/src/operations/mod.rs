//! What the command line and the administration API do with people and domains. Accounts and aliases are asked of any
//! node, through the contract `Directory`; domains of a node with the role, through [`domain::DomainAdministration`].

pub mod account;
pub mod alias;
pub mod domain;

use estafeta_core::administration::{Field, Kind, Operation, Placing};

/// Every operation of the role.
pub fn all() -> Vec<Operation> {
    [domain::operations(), account::operations(), alias::operations()].concat()
}

/// A field that is given by its place.
const fn positional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Positional, about }
}

/// A field that may be given by its name.
const fn option(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, placing: Placing::Option, about }
}

const ADDRESS: Field = positional("address", Kind::Text, "The address: name@domain");
const DOMAIN: Field = option("domain", Kind::Text, "Only those of this domain; all by default");
const PASSWORD: Field = Field {
    name: "password",
    kind: Kind::Secret,
    placing: Placing::Required,
    about: "At least 8 characters; from a prompt or the first line of standard input",
};

#[cfg(test)]
pub(crate) mod tests;
