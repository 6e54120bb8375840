//! The administrative operations of the role: what DNS elsewhere needs, what DNS elsewhere says, and the keys.

use std::sync::Arc;

use async_trait::async_trait;
use estafeta_core::administration::{Administration, Field, Kind, Operation, Perform, Placing, input, output};
use estafeta_core::{Domain, Failure, Reason, RoleName};
use serde::Deserialize;
use serde_json::Value;

use crate::check::{self, Delegated};
use crate::content::{Sources, enrolled_only};
use crate::dnssec::keeper::Keeper;
use crate::dnssec::operations::{KeyOperations, ds_text, rows as key_rows};
use crate::records;
use crate::sites::Sites;
use crate::zone::absolute;
use crate::zones::ZonesView;

const RECORDS: &str = "dns records";
const CHECK: &str = "dns check";

const DOMAIN: Field =
    Field { name: "domain", kind: Kind::Text, placing: Placing::Positional, about: "the mail domain: example.edu" };

/// The rows for the role's table.
pub fn operations() -> Vec<Operation> {
    let row = Operation {
        name: RECORDS,
        about: "Show the records that another name server needs to serve a mail domain, ready to paste",
        fields: &[DOMAIN],
        changes: false,
        confirm: None,
        columns: &["record"],
        asked_by: &[],
        hidden: false,
        perform: Perform::ByRole(RoleName::DNS),
    };
    let check = Operation {
        name: CHECK,
        about: "Ask the name servers of the world for a mail domain, and say what is missing, wrong or stale",
        columns: &["state", "name", "type", "found", "mend"],
        ..row.clone()
    };
    [row, check].into_iter().chain(key_rows()).collect()
}

/// Carries them out.
pub struct DnsOperations {
    /// The zones, and what they are computed from.
    pub zones: Arc<ZonesView>,
    /// The keys.
    pub keys: Arc<Keeper>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneDomain {
    domain: Domain,
}

#[async_trait]
impl Administration for DnsOperations {
    async fn perform(&self, operation: &str, value: Value) -> Result<Value, Failure> {
        match operation {
            RECORDS => {
                let OneDomain { domain } = input(value)?;
                output(&self.with_sources(|sources| records::records(&domain, sources)))
            }
            CHECK => {
                let OneDomain { domain } = input(value)?;
                let origin = absolute(&domain);
                let delegated = Delegated {
                    served: self.zones.current().live.contains_key(&origin),
                    keys: self.delegation_keys(&origin),
                };
                let expected = self.with_sources(|sources| check::expect(&domain, sources, delegated));
                let names: Arc<dyn check::Names> = Arc::new(check::Resolver::of(&self.zones.config().resolvers)?);
                output(&check::run(expected, &names).await)
            }
            key => {
                let performed = KeyOperations::new(self.keys.clone()).perform(key, value).await;
                let unknown = || Err(Failure::new(Reason::NotFound, format!("there is no operation {key:?} here")));
                performed.unwrap_or_else(unknown)
            }
        }
    }
}

impl DnsOperations {
    /// Hands over what zones are computed from, with every enrolled node in it: what stands elsewhere is not changed each
    /// time that a node goes and comes.
    fn with_sources<T>(&self, take: impl FnOnce(Sources<'_>) -> T) -> T {
        let config = self.zones.config();
        let sites = Sites::new(&config.sites);
        let settings = self.zones.settings().current();
        let members = enrolled_only(&self.zones.members().current());
        take(Sources { config, sites: &sites, settings: &settings, members: &members })
    }

    /// The DS that the parent should have; none for a zone that is not signed.
    fn delegation_keys(&self, origin: &hickory_proto::rr::Name) -> Option<Vec<String>> {
        let keys = self.keys.ring().of(origin)?;
        let ds = keys.delegated().and_then(|key| key.ds(origin).ok());
        Some(ds.iter().map(ds_text).collect())
    }
}
