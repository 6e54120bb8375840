//! Debian's Dovecot, started by a test on loopback in a directory of its own, beside whatever runs on this machine.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use estafeta_cluster::authority::Authority;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::client::Trust;
use crate::cluster::{PASSWORD, write_pair};
use crate::loopback;

const PROGRAM: &str = "/usr/sbin/dovecot";

/// A running Dovecot: everyone may log in with [`PASSWORD`], and has a mailbox once somebody asks.
pub struct Dovecot {
    /// IMAP, in clear text.
    pub imap: SocketAddr,
    /// LMTP, in clear text.
    pub lmtp: SocketAddr,
    /// IMAP through TLS.
    pub imaps: SocketAddr,
    /// LMTP through TLS.
    pub lmtps: SocketAddr,
    directory: TempDir,
    child: Child,
}

impl Dovecot {
    /// Starts one that keeps mail in this format (`sdbox`, `mdbox` or `maildir`) and calls fsync for each delivery. Its certificate
    /// is of an authority of its own.
    pub fn start(format: &str) -> anyhow::Result<(Self, Trust)> {
        let address = loopback::network(1)?.remove(0);
        let files = tempfile::Builder::new().prefix("estafeta-dovecot-tls-").tempdir()?;
        let [ca, ca_key, certificate, key] =
            ["ca.pem", "ca.key", "dovecot.pem", "dovecot.key"].map(|name| files.path().join(name));
        let authority = Authority::create(SystemTime::now())?;
        write_pair(&ca, &ca_key, &authority)?;
        let pair = Authority::load(&authority)?.issue_service(&[address.to_string()], SystemTime::now())?;
        write_pair(&certificate, &key, &pair)?;
        Ok((Self::start_at(address, format, (&certificate, &key))?, Trust::in_file(&ca)?))
    }

    /// Starts one at this address, with copies of this certificate and its key.
    pub fn start_at(address: IpAddr, format: &str, (certificate, key): (&Path, &Path)) -> anyhow::Result<Self> {
        ensure!(Path::new(PROGRAM).exists(), "{PROGRAM} is not there: install dovecot-imapd and dovecot-lmtpd");
        let directory = tempfile::Builder::new().prefix("estafeta-dovecot-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let at = |port| SocketAddr::new(address, port);
        let (imap, imaps, lmtp, lmtps) = (at(20143), at(20993), at(20024), at(20994));
        let file = directory.path().join("dovecot.conf");
        fs::copy(certificate, directory.path().join("service.pem"))?;
        fs::copy(key, directory.path().join("service.key"))?;
        fs::write(&file, configuration(directory.path(), format, [imap, imaps, lmtp, lmtps])?)?;
        let child = spawn(directory.path(), [imap, lmtp])?;
        Ok(Self { imap, lmtp, imaps, lmtps, directory, child })
    }

    /// Ends it and starts it again, with the same mail.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.end();
        self.child = spawn(self.directory.path(), [self.imap, self.lmtp])?;
        Ok(())
    }

    fn end(&mut self) {
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

    /// The number of its first process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps mail.
    pub fn homes(&self) -> PathBuf {
        self.directory.path().join("homes")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the one that is configured in a directory, and waits until it takes connections.
fn spawn(directory: &Path, services: [SocketAddr; 2]) -> anyhow::Result<Child> {
    let mut child = Command::new(PROGRAM)
        .arg("-F")
        .arg("-c")
        .arg(directory.join("dovecot.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("stderr"))?)
        .spawn()?;
    let begun = Instant::now();
    while services.iter().any(|service| TcpStream::connect(service).is_err()) {
        if begun.elapsed() > Duration::from_secs(20) || child.try_wait()?.is_some() {
            let said = ["stderr", "log"].map(|name| fs::read_to_string(directory.join(name)).unwrap_or_default());
            let _ = child.kill();
            bail!("Dovecot does not start: {}", said.concat());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(child)
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
    [imap, imaps, lmtp, lmtps]: [SocketAddr; 4],
) -> anyhow::Result<String> {
    let user = mail_user()?;
    let homes = directory.join("homes");
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
    Ok(format!(
        "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap lmtp\nlisten = {address}\n\
         ssl = yes\nssl_cert = <{at}/service.pem\nssl_key = <{at}/service.key\ndisable_plaintext_auth = no\n{internal}first_valid_uid = 1\nmail_fsync = always\n\
         mail_location = {format}:~/mail\nmail_max_userip_connections = 1000\n\
         passdb {{\n driver = static\n args = password={PASSWORD_QUOTED}\n}}\n\
         userdb {{\n driver = static\n args = uid={uid} gid={gid} home={at}/homes/%u\n}}\n\
         namespace inbox {{\n inbox = yes\n separator = /\n mailbox Other {{\n  auto = create\n }}\n mailbox Gesendet {{\n  special_use = \\Sent\n }}\n}}\n\
         service imap-login {{\n chroot =\n inet_listener imap {{\n  port = {imap_port}\n }}\n inet_listener imaps {{\n  port = {imaps_port}\n }}\n}}\n\
         service anvil {{\n chroot =\n}}\n\
         service stats {{\n chroot =\n}}\n\
         service lmtp {{\n inet_listener lmtp {{\n  port = {lmtp_port}\n }}\n inet_listener lmtps {{\n  port = {lmtps_port}\n  ssl = yes\n }}\n}}\n\
         protocol lmtp {{\n mail_plugins =\n postmaster_address = postmaster@localhost\n hostname = localhost\n}}\n",
        address = imap.ip(),
        imap_port = imap.port(),
        imaps_port = imaps.port(),
        lmtp_port = lmtp.port(),
        lmtps_port = lmtps.port(),
        PASSWORD_QUOTED = PASSWORD.replace(' ', "_"),
    ))
}

/// The password of everyone at this Dovecot: its static database takes none with spaces.
pub fn password() -> String {
    PASSWORD.replace(' ', "_")
}
