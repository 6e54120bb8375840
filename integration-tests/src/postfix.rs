//! Debian's Postfix, started on loopback in a directory of its own, handing everything to an LMTP server. It wants root.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::unistd::{Uid, User, chown};
use tempfile::TempDir;

use crate::cluster::DOMAIN;

const PROGRAM: &str = "/usr/sbin/postfix";

/// A running Postfix that takes mail for [`DOMAIN`] and has everything else as its package has it: in particular it
/// calls fsync for each message before it answers 250.
pub struct Postfix {
    /// SMTP, in clear text.
    pub smtp: SocketAddr,
    directory: TempDir,
}

impl Postfix {
    /// Starts one that delivers to `lmtp`.
    pub fn start(lmtp: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(lmtp, "")
    }

    /// The same in the place of an edge node, to a mailbox node: by mutual TLS, with this node's certificate and key.
    pub fn start_as_edge(lmtp: SocketAddr, authority: &Path, node: &Path) -> anyhow::Result<Self> {
        let tls = format!(
            "lmtp_tls_security_level = encrypt\nlmtp_tls_wrappermode = yes\nlmtp_tls_CAfile = {}\n\
             lmtp_tls_cert_file = {node}/node.pem\nlmtp_tls_key_file = {node}/node.key\n",
            authority.display(),
            node = node.display()
        );
        Self::start_with(lmtp, &tls)
    }

    fn start_with(lmtp: SocketAddr, settings: &str) -> anyhow::Result<Self> {
        ensure!(Path::new(PROGRAM).exists(), "{PROGRAM} is not there: install postfix");
        ensure!(Uid::effective().is_root(), "Postfix starts as root only");
        let directory = tempfile::Builder::new().prefix("estafeta-postfix-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let owner = User::from_name("postfix")?.context("no user postfix")?;
        for name in ["queue", "data"] {
            fs::create_dir(directory.path().join(name))?;
        }
        chown(&directory.path().join("data"), Some(owner.uid), None)?;
        let smtp = SocketAddr::new(lmtp.ip(), 20025);
        fs::write(directory.path().join("main.cf"), main_cf(directory.path(), lmtp) + settings)?;
        fs::write(directory.path().join("master.cf"), master_cf(smtp))?;
        let postfix = Self { smtp, directory };
        postfix.control("start")?;
        let begun = Instant::now();
        while TcpStream::connect(smtp).is_err() {
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("Postfix does not start: {}", postfix.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(postfix)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn control(&self, verb: &str) -> anyhow::Result<()> {
        let output = Command::new(PROGRAM).arg("-c").arg(self.directory.path()).arg(verb).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "postfix {verb}: {said}{}", self.log());
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.control("abort");
    }
}

/// It knows the loopback interface by its one configured address; `master.cf` binds another address of it.
fn main_cf(directory: &Path, lmtp: SocketAddr) -> String {
    format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\nmaillog_file = {at}/log\n\
         maillog_file_prefixes = {at}\nmyhostname = postfix.{DOMAIN}\nmydestination =\ninet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nvirtual_mailbox_domains = {DOMAIN}\nvirtual_mailbox_maps = static:all\n\
         virtual_transport = lmtp:inet:{lmtp}\nlocal_recipient_maps =\nalias_maps =\nsmtpd_peername_lookup = no\n\
         message_size_limit = 52428800\n",
        at = directory.display(),
    )
}

/// As Debian's, but for the port, and without chroot, whose files only the package's own queue directory has.
fn master_cf(smtp: SocketAddr) -> String {
    format!(
        "{smtp} inet n - n - - smtpd\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         verify unix - - n - 1 verify\n\
         flush unix n - n 1000? 0 flush\n\
         proxymap unix - - n - - proxymap\n\
         smtp unix - - n - - smtp\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         discard unix - - n - - discard\n\
         lmtp unix - - n - - lmtp\n\
         anvil unix - - n - 1 anvil\n\
         scache unix - - n - 1 scache\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    )
}
