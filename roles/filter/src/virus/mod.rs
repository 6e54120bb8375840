//! Viruses: found by clamd where one is configured, else by the built-in scan.

pub mod builtin;
pub mod clamd;
pub mod eicar;

use estafeta_core::judge::Action;

use crate::verdict::Finding;

/// The symbol of a virus; its first option is the virus's name.
pub const SYMBOL: &str = "VIRUS";

/// A message that holds this virus is refused, whatever else is found.
fn found(name: &str) -> Finding {
    Finding::new(SYMBOL, 0.0).with(name).demands(Action::Reject, format!("Message refused: it holds the virus {name}"))
}
