//! What is wrong with this node beside its readiness: a certificate that ends soon, a long queue. It tells the other nodes,
//! because whoever tells people may be another.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafeta_core::NodeName;
use estafeta_core::members::MembersView;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::operate::config::AlertsConfig;
use crate::operate::facts::{self, TROUBLE};
use crate::status::Metrics;

/// How often it looks: both change slowly.
const PERIOD: Duration = Duration::from_secs(15);

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What is looked at.
pub struct OwnTroubles {
    /// This node.
    pub node: NodeName,
    /// Where it tells the others.
    pub members: MembersView,
    /// What it counts.
    pub metrics: Metrics,
    /// Its certificates: what each is, and its file.
    pub certificates: Vec<(&'static str, PathBuf)>,
    /// The limits.
    pub config: AlertsConfig,
}

impl OwnTroubles {
    /// Looks, again and again.
    pub async fn watch(self) {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            for (what, file) in &self.certificates {
                // A file that cannot be read was readable when the node started as root: that is no trouble of its own.
                let ends = std::fs::read(file).ok().and_then(|pem| ends_seconds(&pem));
                let trouble = ends.and_then(|ends| certificate_trouble(ends, now, self.config.certificate_days));
                if let Some(ends) = ends {
                    let left = ends as f64 - now as f64;
                    metrics::gauge!("estafeta_certificate_expires_seconds", "certificate" => *what).set(left);
                }
                let trouble = trouble.map(|trouble| format!("{}: {trouble}", file.display()));
                self.say(&format!("{what}-certificate"), trouble);
            }
            let waiting = sample(&self.metrics.render(), "estafeta_edge_queue_messages");
            self.say("queue", waiting.and_then(|waiting| queue_trouble(waiting, self.config.queue_messages)));
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn say(&self, what: &str, trouble: Option<String>) {
        facts::set(&self.members, &self.node, &format!("{TROUBLE}{what}"), trouble.as_deref());
    }
}

/// When the first certificate of a PEM file ends, in seconds since 1970.
fn ends_seconds(pem: &[u8]) -> Option<u64> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

fn certificate_trouble(ends_seconds: u64, now_seconds: u64, days: u32) -> Option<String> {
    let left = ends_seconds.saturating_sub(now_seconds);
    if left == 0 {
        return Some("the certificate has ended: renew it, then send the node SIGHUP".into());
    }
    (left < u64::from(days) * DAY_SECONDS).then(|| {
        let days = left / DAY_SECONDS;
        format!("the certificate ends in {days} days: renew it, then send the node SIGHUP")
    })
}

fn queue_trouble(waiting: u64, limit: u64) -> Option<String> {
    (waiting > limit)
        .then(|| format!("more than {limit} messages wait in the queue ({waiting}): see estafeta queue list"))
}

/// The value of a metric without labels, in Prometheus' text.
fn sample(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse::<f64>().ok().map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use estafeta_cluster::authority::{Authority, NODE_DAYS};

    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_told() {
        assert_eq!(certificate_trouble(10 * DAY_SECONDS, 0, 5), None);
        assert!(certificate_trouble(3 * DAY_SECONDS + 7, 0, 5).unwrap().contains("ends in 3 days"));
        assert!(certificate_trouble(5, 6, 5).unwrap().contains("has ended"));
        let now = SystemTime::now();
        let authority = Authority::load(&Authority::create(now).unwrap()).unwrap();
        let pair = authority.issue_node(&"a".parse().unwrap(), &[], now).unwrap();
        let ends = ends_seconds(pair.certificate.as_bytes()).unwrap();
        let days = (ends - now.duration_since(UNIX_EPOCH).unwrap().as_secs()) / DAY_SECONDS;
        assert!(days.abs_diff(NODE_DAYS) <= 1, "{days}");
        assert_eq!(ends_seconds(b"no certificate"), None);
    }

    #[test]
    fn a_long_queue_is_told() {
        let text = "# HELP x\nestafeta_edge_queue_messages_total 1\nestafeta_edge_queue_messages 12\n";
        assert_eq!(sample(text, "estafeta_edge_queue_messages"), Some(12));
        assert_eq!(sample(text, "estafeta_other"), None);
        assert_eq!(queue_trouble(12, 12), None);
        assert!(queue_trouble(13, 12).unwrap().contains("13"));
    }
}
