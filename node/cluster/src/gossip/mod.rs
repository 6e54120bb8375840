//! Gossip: how members hear of each other. chitchat spreads what each node says (a map of key and value for each node, and
//! a heartbeat); what is here makes it fit to be believed: datagrams are sealed with the cluster's key
//! ([`seal`], [`replay`]), cut to the size of a packet ([`parts`]) and carried over UDP ([`transport`]); what a node says
//! is signed with the key of its certificate ([`description`], [`identity`]).
//!
//! Invariants: nothing that did not come from a node with a key of the cluster reaches chitchat, and nothing twice;
//! whoever has the key can withhold and delay, but can neither speak for another node nor take on a role.

pub mod description;
pub mod identity;
pub mod parts;
pub mod replay;
pub mod seal;
pub mod transport;
