//! Asks real resolvers.

use std::time::Duration;

use async_trait::async_trait;
use estafeta_core::{Failure, Reason};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};

use super::{Found, Names};
use crate::config::IpOrSocket;

/// How long one question may take, asked again included.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is waited for before it is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// A resolver that remembers nothing: made anew for each check.
pub struct Resolver(TokioResolver);

impl Resolver {
    /// One that asks these servers, or those of the system when none are given.
    pub fn of(servers: &[IpOrSocket]) -> Result<Self, Failure> {
        let wrong = |error: NetError| {
            let why = format!("the system's name servers cannot be read ({error}): name some in [dns] resolvers");
            Failure::new(Reason::Unavailable, why)
        };
        let mut builder = match servers {
            [] => TokioResolver::builder_tokio().map_err(wrong)?,
            servers => {
                let configured = servers.iter().map(|IpOrSocket(server)| {
                    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                        connection.port = server.port();
                        connection
                    });
                    NameServerConfig::new(server.ip(), true, connections.to_vec())
                });
                let config = ResolverConfig::from_name_servers(configured.collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        (options.ndots, options.timeout, options.attempts) = (0, AGAIN, 2);
        Ok(Self(builder.build().map_err(wrong)?))
    }
}

#[async_trait]
impl Names for Resolver {
    async fn look_up(&self, name: &Name, kind: RecordType) -> Found {
        let Ok(answer) = tokio::time::timeout(PATIENCE, self.0.lookup(name.clone(), kind)).await else {
            return Found::Silence(format!("no answer within {} seconds", PATIENCE.as_secs()));
        };
        match answer {
            Ok(lookup) => {
                let records = lookup.answers().iter().filter(|record| record.record_type() == kind);
                Found::Data(records.map(|record| record.data.clone()).collect())
            }
            Err(error) if error.is_nx_domain() => Found::Data(vec![]),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
                Found::Data(vec![])
            }
            Err(NetError::Dns(DnsError::ResponseCode(code @ (ResponseCode::ServFail | ResponseCode::Refused)))) => {
                Found::Failed(code.to_string())
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::ServFail | ResponseCode::Refused) =>
            {
                Found::Failed(none.response_code.to_string())
            }
            Err(error) => Found::Silence(error.to_string()),
        }
    }
}
