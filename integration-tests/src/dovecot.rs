//! Debian's Dovecot, started by a test on loopback in a directory of its own, beside whatever runs on this machine.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::cluster::PASSWORD;
use crate::loopback;

const PROGRAM: &str = "/usr/sbin/dovecot";

/// A running Dovecot: everyone may log in with [`PASSWORD`], and has a mailbox once somebody asks.
pub struct Dovecot {
    /// IMAP, in clear text.
    pub imap: SocketAddr,
    /// LMTP.
    pub lmtp: SocketAddr,
    /// IMAP through TLS, where it has a certificate.
    pub imaps: SocketAddr,
    directory: TempDir,
    child: Child,
}

impl Dovecot {
    /// Starts one that keeps mail in this format (`sdbox` or `maildir`) and calls fsync for each delivery.
    pub fn start(format: &str) -> anyhow::Result<Self> {
        Self::start_at(loopback::network(1)?.remove(0), format, None)
    }

    /// Starts one at this address; with a certificate and its key it speaks TLS, too.
    pub fn start_at(address: IpAddr, format: &str, tls: Option<(&Path, &Path)>) -> anyhow::Result<Self> {
        ensure!(Path::new(PROGRAM).exists(), "{PROGRAM} is not there: install dovecot-imapd and dovecot-lmtpd");
        let directory = tempfile::Builder::new().prefix("estafeta-dovecot-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let at = |port| SocketAddr::new(address, port);
        let (imap, imaps, lmtp) = (at(20143), at(20993), at(20024));
        let file = directory.path().join("dovecot.conf");
        fs::write(&file, configuration(directory.path(), format, (imap, lmtp), tls.map(|tls| (imaps, tls)))?)?;
        let mut child = Command::new(PROGRAM)
            .arg("-F")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("stderr"))?)
            .spawn()?;
        let begun = Instant::now();
        while TcpStream::connect(imap).is_err() || TcpStream::connect(lmtp).is_err() {
            if begun.elapsed() > Duration::from_secs(20) || child.try_wait()?.is_some() {
                let said = [directory.path().join("stderr"), directory.path().join("log")]
                    .map(|path| fs::read_to_string(path).unwrap_or_default());
                let _ = child.kill();
                bail!("Dovecot does not start: {}", said.concat());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { imap, lmtp, imaps, directory, child })
    }

    /// The number of its first process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).unwrap_or_default();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whom mail belongs to: Dovecot refuses to keep mail as root.
fn mail_user() -> anyhow::Result<User> {
    let name = if Uid::effective().is_root() {
        "mail"
    } else {
        return User::from_uid(Uid::effective())?.context("no name for this user");
    };
    User::from_name(name)?.with_context(|| format!("no user {name}"))
}

fn configuration(
    directory: &Path,
    format: &str,
    (imap, lmtp): (SocketAddr, SocketAddr),
    tls: Option<(SocketAddr, (&Path, &Path))>,
) -> anyhow::Result<String> {
    let user = mail_user()?;
    let homes: PathBuf = directory.join("homes");
    fs::create_dir(&homes)?;
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    if Uid::effective().is_root() {
        chown(&homes, Some(uid), Some(gid))?;
    }
    let internal = if Uid::effective().is_root() {
        String::new()
    } else {
        format!("default_internal_user = {0}\ndefault_login_user = {0}\ndefault_internal_group = {1}\n", user.name, gid)
    };
    let at = directory.display();
    let (imaps_port, ssl) = match tls {
        Some((imaps, (certificate, key))) => {
            (imaps.port(), format!("yes\nssl_cert = <{}\nssl_key = <{}", certificate.display(), key.display()))
        }
        None => (0, "no".to_owned()),
    };
    Ok(format!(
        "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap lmtp\nlisten = {address}\n\
         ssl = {ssl}\ndisable_plaintext_auth = no\n{internal}first_valid_uid = 1\nmail_fsync = always\n\
         mail_location = {format}:~/mail\nmail_max_userip_connections = 1000\n\
         passdb {{\n driver = static\n args = password={PASSWORD_QUOTED}\n}}\n\
         userdb {{\n driver = static\n args = uid={uid} gid={gid} home={at}/homes/%u\n}}\n\
         namespace inbox {{\n inbox = yes\n separator = /\n mailbox Other {{\n  auto = create\n }}\n mailbox Gesendet {{\n  special_use = \\Sent\n }}\n}}\n\
         service imap-login {{\n chroot =\n inet_listener imap {{\n  port = {imap_port}\n }}\n inet_listener imaps {{\n  port = {imaps_port}\n }}\n}}\n\
         service anvil {{\n chroot =\n}}\n\
         service stats {{\n chroot =\n}}\n\
         service lmtp {{\n inet_listener lmtp {{\n  port = {lmtp_port}\n }}\n}}\n\
         protocol lmtp {{\n mail_plugins =\n postmaster_address = postmaster@localhost\n hostname = localhost\n}}\n",
        address = imap.ip(),
        imap_port = imap.port(),
        lmtp_port = lmtp.port(),
        PASSWORD_QUOTED = PASSWORD.replace(' ', "_"),
    ))
}

/// The password of everyone at this Dovecot: its static database takes none with spaces.
pub fn password() -> String {
    PASSWORD.replace(' ', "_")
}
