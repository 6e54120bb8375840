//! The contract `Administration`: every operation of the command line and of the web pages. Each role contributes its
//! own through its row in the role table; from these rows derive the command line, the HTTP API and its OpenAPI
//! description.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use serde_json::Value;

use crate::contracts::Contracts;
use crate::failure::{Failure, Reason};
use crate::members::MembersView;
use crate::name::RoleName;

/// What a field of an operation's input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Several texts.
    Texts,
    /// A whole number.
    Integer,
    /// A size in bytes; people write `500M`, `2G` or `none`.
    Size,
    /// Yes or no.
    Flag,
    /// A secret: from a prompt or standard input, never from the arguments.
    Secret,
}

/// How the command line takes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// By its place: `account add ADDRESS`. Always required.
    Positional,
    /// By its name: `--quota 2G`. Optional.
    Option,
    /// By its name, and required. A [`Kind::Secret`] is asked for when it is not on standard input.
    Required,
}

/// One field of an operation's input.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key in the JSON input, and its name on the command line (with `_` as `-`).
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// How the command line takes it.
    pub placing: Placing,
    /// What it means, with unit and default.
    pub about: &'static str,
}

/// What an operation may use.
#[derive(Clone)]
pub struct OperationContext {
    /// The contracts.
    pub contracts: Contracts,
    /// The members.
    pub members: MembersView,
}

/// An operation's future.
pub type Performed = Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;

/// Who carries an operation out.
#[derive(Clone)]
pub enum Perform {
    /// Whichever node is asked, through the contracts.
    Anywhere(fn(OperationContext, Value) -> Performed),
    /// A node with this role, by the `Administration` that the running role provides. The API passes the request on.
    ByRole(RoleName),
}

/// One operation.
#[derive(Clone)]
pub struct Operation {
    /// Its words on the command line; `/v1/` and the words joined by `/` is its path: `account add`.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Its input.
    pub fields: &'static [Field],
    /// Whether it changes anything: then it is logged.
    pub changes: bool,
    /// The question that the command line asks first; `{name}` stands for a field's value.
    pub confirm: Option<&'static str>,
    /// The keys to show of its answer as the columns of a table, in order; empty for all.
    pub columns: &'static [&'static str],
    /// Who carries it out. The answer is an object, or an array of objects for a table; null for nothing to say.
    pub perform: Perform,
}

/// The contract.
#[async_trait]
pub trait Administration: Send + Sync {
    /// Carries an operation out. [`Reason::NotFound`] when there is none of this name.
    async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure>;
}

/// Reads an operation's input into its type, and says in words what is wrong with it.
pub fn input<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::new(Reason::Invalid, format!("wrong input: {error}")))
}

/// Turns an answer into its JSON.
pub fn output<T: serde::Serialize>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(Failure::internal)
}
