//! Where other people's mail servers are: MX, A and AAAA records.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use estafeta_core::Failure;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The lower, the sooner it is tried.
    pub preference: u16,
    /// The host, without a final dot; empty for the root, which means that no mail is taken (RFC 7505).
    pub host: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// The domain does not exist.
    #[error("the domain does not exist")]
    Missing,
    /// Nobody who knows answers now.
    #[error("the name servers give no answer: {0}")]
    Silent(String),
}

/// Who knows names.
#[async_trait]
pub trait Names: Send + Sync {
    /// The MX records of a domain; none if it has none.
    async fn exchanges(&self, domain: &str) -> Result<Vec<Exchange>, NamesError>;

    /// The addresses of a host; none if it has none.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NamesError>;
}

/// The DNS.
pub struct Dns(TokioResolver);

impl Dns {
    /// Asks these servers, or those of the system when none are given.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, Failure> {
        let wrong = |error: NetError| {
            Failure::internal(io::Error::other(format!(
                "the system's name servers cannot be read ({error}): name some in [edge.outgoing] resolvers"
            )))
        };
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(wrong)?
        } else {
            let servers = servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|connection| with_port(connection, server.port()));
                NameServerConfig::new(server.ip(), true, connections.to_vec())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        // A missing domain must not be looked for among ours.
        builder.options_mut().ndots = 0;
        Ok(Self(builder.build().map_err(wrong)?))
    }
}

fn with_port(mut connection: ConnectionConfig, port: u16) -> ConnectionConfig {
    connection.port = port;
    connection
}

/// A name that no search list is applied to.
fn rooted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

#[async_trait]
impl Names for Dns {
    async fn exchanges(&self, domain: &str) -> Result<Vec<Exchange>, NamesError> {
        let lookup = match self.0.mx_lookup(rooted(domain)).await {
            Ok(lookup) => lookup,
            Err(error) => return nothing(&error),
        };
        let exchange = |data: &RData| match data {
            RData::MX(mx) => {
                let host = mx.exchange.to_utf8().trim_end_matches('.').to_ascii_lowercase();
                Some(Exchange { preference: mx.preference, host })
            }
            _ => None,
        };
        Ok(lookup.answers().iter().filter_map(|record| exchange(&record.data)).collect())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NamesError> {
        match self.0.lookup_ip(rooted(host)).await {
            Ok(lookup) => Ok(lookup.iter().collect()),
            Err(error) => nothing(&error),
        }
    }
}

/// A name without such records has none; anything else is no answer.
fn nothing<T>(error: &NetError) -> Result<Vec<T>, NamesError> {
    match error {
        error if error.is_nx_domain() => Err(NamesError::Missing),
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => Ok(Vec::new()),
        error => Err(NamesError::Silent(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::{Message, MessageType};
    use hickory_resolver::proto::rr::rdata::{A, MX, SOA};
    use hickory_resolver::proto::rr::{Name, Record, RecordType};
    use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
    use tokio::net::UdpSocket;

    /// A name server that knows a few names.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (size, client) = socket.recv_from(&mut buffer).await.unwrap();
                let request = Message::from_bytes(&buffer[..size]).unwrap();
                socket.send_to(&answer(&request).to_bytes().unwrap(), client).await.unwrap();
            }
        });
        address
    }

    fn answer(request: &Message) -> Message {
        let query = request.queries[0].clone();
        let name = query.name().clone();
        let mut answer = request.clone();
        answer.metadata.message_type = MessageType::Response;
        let mx = |preference, host: &str| {
            let data = RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()));
            Record::from_rdata(name.clone(), 60, data)
        };
        match (name.to_string().as_str(), query.query_type()) {
            ("two.example.", RecordType::MX) => {
                answer.add_answer(mx(20, "B.two.example."));
                answer.add_answer(mx(10, "a.two.example."));
            }
            ("null.example.", RecordType::MX) => {
                answer.add_answer(mx(0, "."));
            }
            ("a.two.example.", RecordType::A) => {
                answer.add_answer(Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1))));
            }
            ("broken.example.", _) => answer.metadata.response_code = ResponseCode::ServFail,
            ("bare.example." | "a.two.example.", _) => {
                answer.add_authority(start_of(&name));
            }
            _ => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(start_of(&name));
            }
        }
        answer
    }

    fn start_of(name: &Name) -> Record {
        let data = SOA::new(name.clone(), name.clone(), 1, 60, 60, 60, 60);
        Record::from_rdata(name.clone(), 60, RData::SOA(data))
    }

    #[tokio::test]
    async fn answers_of_all_kinds() {
        let dns = Dns::new(&[server().await]).unwrap();
        let mut two = dns.exchanges("two.example").await.unwrap();
        two.sort_by_key(|exchange| exchange.preference);
        let exchange = |preference, host: &str| Exchange { preference, host: host.to_owned() };
        assert_eq!(two, [exchange(10, "a.two.example"), exchange(20, "b.two.example")]);
        assert_eq!(dns.exchanges("null.example").await, Ok(vec![exchange(0, "")]));
        assert_eq!(dns.exchanges("bare.example").await, Ok(vec![]));
        assert_eq!(dns.exchanges("missing.example").await, Err(NamesError::Missing));
        assert!(matches!(dns.exchanges("broken.example").await, Err(NamesError::Silent(_))));
        assert_eq!(dns.addresses("a.two.example").await, Ok(vec![IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(dns.addresses("bare.example").await, Ok(vec![]));
        assert_eq!(dns.addresses("missing.example").await, Err(NamesError::Missing));
    }
}
