//! Renews this node's own certificate before it expires, and tells how long it is good.
//!
//! Invariant: a crash at any moment leaves a certificate and the key that it was made for. Where both are one file, as
//! `estafeta cluster join` writes them, that file is replaced with a new key; where they are two, the key stays and
//! the certificate alone is replaced, because two files cannot be replaced at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estafeta_cluster::authority::Request;
use estafeta_cluster::files::replace;
use estafeta_core::administration::Administration;
use estafeta_core::certificate::Issued;
use estafeta_core::joining::{RENEW, RenewRequest};
use estafeta_core::{Failure, NodeName, Reason};
use estafeta_net::tls::{KeyFiles, Tls};
use nix::unistd::{AccessFlags, access};
use tokio::task::JoinHandle;

/// How often the certificate is looked at.
const PERIOD: Duration = Duration::from_secs(600);

/// How often it is said that it cannot be renewed.
const REPEATED: Duration = Duration::from_secs(24 * 3600);

/// The watch over this node's own certificate.
pub struct Renewal {
    /// The node.
    pub node: NodeName,
    /// What uses the certificate.
    pub tls: Arc<Tls>,
    /// Whom it is asked of.
    pub administration: Arc<dyn Administration>,
}

impl Renewal {
    /// Keeps watch. Does nothing on a node that is in no cluster.
    pub fn start(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut said: Option<tokio::time::Instant> = None;
            loop {
                ticks.tick().await;
                let Some(own) = self.tls.own() else { return };
                if !own.is_due(SystemTime::now()) {
                    continue;
                }
                match self.renew().await {
                    Ok(serial) => {
                        said = None;
                        tracing::info!(certificate = serial, "this node's certificate is renewed");
                    }
                    Err(failure) if said.is_none_or(|at| at.elapsed() >= REPEATED) => {
                        said = Some(tokio::time::Instant::now());
                        let hours_left = own.left(SystemTime::now()).as_secs() / 3600;
                        tracing::error!(%failure, hours_left, "this node's certificate cannot be renewed: when it has expired, no other node talks with this one");
                    }
                    Err(_) => {}
                }
            }
        })
    }

    /// Gives the new certificate's serial number.
    async fn renew(&self) -> Result<String, Failure> {
        // Somebody may have put a new one there by hand; and what cannot be read again could not be used.
        let unreadable = "the certificate's files cannot be read again, so that a new one would not be used";
        self.tls.reload().map_err(|error| Failure::new(Reason::Internal, unreadable).because(error))?;
        let own = self.tls.own().ok_or_else(|| Failure::internal("this node has no certificate"))?;
        if !own.is_due(SystemTime::now()) {
            return Ok(own.identity.serial.clone());
        }
        let Some((files, _)) = &self.tls.files().cluster else {
            return Err(Failure::internal("this node has no certificate"));
        };
        check_writable(files)?;
        let together = files.certificate == files.key;
        let made = if together { Request::new() } else { Request::of_key(own.key.secret_der()) };
        let Request { key, request } = made.map_err(Failure::internal)?;
        let input = RenewRequest { asking_node: self.node.clone(), request };
        let input = serde_json::to_value(input).map_err(Failure::internal)?;
        let answer = self.administration.perform(RENEW, input).await?;
        let issued: Issued = serde_json::from_value(answer)
            .map_err(|error| Failure::internal(format_args!("{RENEW} was answered with something else: {error}")))?;
        let (content, mode) = if together {
            (format!("{key}{}", issued.certificate), 0o600)
        } else {
            (issued.certificate.clone(), 0o644)
        };
        replace(&files.certificate, content.as_bytes(), mode)
            .map_err(|error| Failure::internal(format_args!("{}: {error}", files.certificate.display())))?;
        self.tls.reload().map_err(Failure::internal)?;
        Ok(issued.serial)
    }
}

/// A file is replaced by a new one beside it, so the directory must let this node write.
fn check_writable(files: &KeyFiles) -> Result<(), Failure> {
    let directory =
        files.certificate.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(directory, AccessFlags::W_OK).map_err(|error| {
        let text = format!(
            "{} cannot be replaced, because {} takes no files of this node's user ({error}): move the certificate and its \
             key into a directory of that user, below the data directory for one, and name them in [cluster]",
            files.certificate.display(),
            directory.display()
        );
        Failure::new(Reason::Internal, text)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use estafeta_cluster::authority::{Authority, Pair};
    use estafeta_core::RoleName;
    use estafeta_core::certificate::Issuer as _;
    use estafeta_net::tls::TlsFiles;
    use serde_json::Value;

    use super::*;

    struct Issue(Authority, Mutex<Vec<NodeName>>);

    #[async_trait]
    impl Administration for Issue {
        async fn perform(&self, operation: &str, input: Value) -> Result<Value, Failure> {
            assert_eq!(operation, RENEW);
            let RenewRequest { asking_node, request } = serde_json::from_value(input).unwrap();
            let issued = self.0.issue(&asking_node, &[RoleName::EDGE], &request, SystemTime::now())?;
            self.1.lock().unwrap().push(asking_node);
            Ok(serde_json::to_value(issued).unwrap())
        }
    }

    /// A node whose certificate was issued so many days ago, in one file or two.
    fn node(days_ago: u64, together: bool) -> (tempfile::TempDir, Renewal, Arc<Issue>) {
        let directory = tempfile::tempdir().unwrap();
        let then = SystemTime::now() - Duration::from_secs(days_ago * 86_400);
        let pair = Authority::create(then).unwrap();
        let authority = Authority::load(&pair).unwrap();
        let name: NodeName = "edge1".parse().unwrap();
        let own = authority.issue_node(&name, &[RoleName::EDGE], then).unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("ca.pem"), &pair.certificate).unwrap();
        let files = if together {
            fs::write(at("node.pem"), format!("{}{}", own.key, own.certificate)).unwrap();
            KeyFiles { certificate: at("node.pem"), key: at("node.pem") }
        } else {
            let Pair { certificate, key } = own;
            fs::write(at("node.pem"), certificate).unwrap();
            fs::write(at("node.key"), key).unwrap();
            KeyFiles { certificate: at("node.pem"), key: at("node.key") }
        };
        let tls = Tls::load(TlsFiles { service: None, cluster: Some((files, at("ca.pem"))) }).unwrap();
        let issue = Arc::new(Issue(authority, Mutex::default()));
        (directory, Renewal { node: name, tls: Arc::new(tls), administration: issue.clone() }, issue)
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        for (days_ago, together, renewed) in [(19, true, false), (21, true, true), (21, false, true)] {
            let (directory, renewal, issue) = node(days_ago, together);
            let tls = renewal.tls.clone();
            let before = tls.own().unwrap();
            let watch = renewal.start();
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if tls.own().unwrap().identity.serial != before.identity.serial {
                    break;
                }
            }
            watch.abort();
            let after = tls.own().unwrap();
            assert_eq!(after.identity.serial != before.identity.serial, renewed, "{days_ago} {together}");
            assert_eq!(issue.1.lock().unwrap().len(), usize::from(renewed));
            assert_eq!(after.identity.roles, before.identity.roles);
            // One file: another key. Two: the same.
            assert_eq!(after.key.secret_der() != before.key.secret_der(), renewed && together);
            assert!(!after.is_due(SystemTime::now()));
            let kept = fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(kept, if together { 2 } else { 3 }, "nothing is left lying about");
        }
    }
}
