//! The probe of the service `ldaps`: who am I (RFC 4532).

use estafeta_net::probe::Answer;
use estafeta_net::role::Probing;
use ldap3::exop::WhoAmI;
use ldap3::result::ExopResult;

use super::pool::{Binding, Pool};

/// Binds as this node, by SASL EXTERNAL, asks who it is, and unbinds.
pub fn probe(probing: Probing) -> Answer {
    Box::pin(async move {
        let pool = Pool::new(probing.remote.tls, probing.candidate, Binding::Node);
        let asked = async {
            let mut lease = pool.lease().await?;
            lease.run(async |ldap| ldap.extended(WhoAmI).await.map(|ExopResult(_, result)| result)).await?;
            lease.unbind().await;
            Ok(())
        };
        asked.await.map_err(|failure: estafeta_core::Failure| failure.cause)
    })
}
