//! The vocabulary of the cluster and the contracts between roles.
//!
//! A role reaches another only through a contract defined here: [`directory::Directory`], [`judge::Judge`],
//! [`delivery::Delivery`], [`sessions::Sessions`], [`submit::Submit`], [`settings::SettingsStore`],
//! [`administration::Administration`]. Each contract's module holds the trait, the router that chooses an
//! implementation at each call, and the suite that every implementation passes.
//!
//! Nothing here does I/O: no sockets, no files, no timers; of tokio only the I/O traits.
#![forbid(unsafe_code)]

pub mod address;
pub mod administration;
pub mod certificate;
pub mod contracts;
pub mod delivery;
pub mod directory;
pub mod failure;
pub mod joining;
pub mod judge;
pub mod members;
pub mod message;
pub mod name;
pub mod network;
#[cfg(feature = "suite")]
pub mod nobody;
pub mod route;
pub mod secret;
pub mod sessions;
pub mod settings;
pub mod submit;

pub use address::{Address, Domain};
pub use failure::{Failure, Persistence, Reason};
pub use message::{DeliveryId, Message};
pub use name::{AccountId, NodeName, RoleName, ServiceName, SiteName, StoreGroup};
pub use secret::Secret;
