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
    /// Roles, by their names; several, or separated by commas.
    Roles,
    /// A whole object: for programs alone.
    Object,
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

/// The key by which an object of an answer says whether there is something to mend.
pub const WRONG: &str = "wrong";

/// The key of an answer that is not the last: its value is the input to ask the same operation with again, until there is
/// none. `done`, `of` and `found` beside it say how far it is.
pub const CONTINUE: &str = "continue";

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
    /// A node with this role that serves the store group which this field of the input names.
    InGroup(RoleName, &'static str),
    /// The node itself, whatever its roles: the one that this field of the input names, or the one that is asked.
    OnNode(Option<&'static str>),
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
    /// Which other nodes may ask for it: those whose certificate holds one of these roles; empty for every node. This
    /// machine's own socket may ask for all.
    pub asked_by: &'static [RoleName],
    /// Whether it is for programs alone, and not on the command line.
    pub hidden: bool,
    /// Who carries it out. The answer is an object, or an array of objects for a table; null for nothing to say. An object
    /// of the array whose [`WRONG`] is true makes the command line end with 1.
    pub perform: Perform,
}

/// The field by which a node asks for itself alone: another node is refused whose certificate names another.
pub const ASKING_NODE: &str = "asking_node";

/// The field by which a node asks in one of its roles: a node is refused whose certificate does not hold it.
pub const ASKING_ROLE: &str = "asking_role";

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
