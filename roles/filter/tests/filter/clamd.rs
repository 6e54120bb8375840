//! The real clamd of Debian's package `clamav-daemon`, with a signature database of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use estafeta_core::Message;
use estafeta_core::judge::{Action, Judge};
use estafeta_filter::config::Config;
use estafeta_filter::judge::WhenClamdFails;

use super::{config, dns::FakeDns, envelope, judge, message, symbols};

/// A running clamd; killed when dropped.
struct RealClamd {
    process: Child,
    directory: tempfile::TempDir,
}

impl Drop for RealClamd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The file that our own signature is of.
const OUR_VIRUS: &[u8] = b"this file stands for a virus of our own making";

impl RealClamd {
    fn start() -> Self {
        let clamd = Path::new("/usr/sbin/clamd");
        assert!(clamd.exists(), "{} is missing: apt install clamav-daemon", clamd.display());
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("signatures")).unwrap();
        // NAME:TARGET:OFFSET:HEX; target 0 is any file, offset 0 its beginning.
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let signatures =
            format!("Estafeta.Own.Virus:0:*:{}\nEicar-Test-Signature:0:0:{}\n", hex(OUR_VIRUS), hex(&eicar()));
        fs::write(root.join("signatures/test.ndb"), signatures).unwrap();
        fs::create_dir(root.join("temporary")).unwrap();
        let configuration = format!(
            "LocalSocket {socket}\nDatabaseDirectory {root}/signatures\nTemporaryDirectory {root}/temporary\nForeground yes\n\
            StreamMaxLength 1M\nMaxThreads 2\nLogFile {root}/clamd.log\nSelfCheck 0\n",
            socket = root.join("clamd.ctl").display(),
            root = root.display(),
        );
        fs::write(root.join("clamd.conf"), configuration).unwrap();
        let process = Command::new(clamd)
            .arg("--config-file")
            .arg(root.join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self { process, directory };
        let until = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(started.socket()).is_err() {
            let ended = started.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "clamd does not start ({ended:?}):\n{}", started.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        started
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("clamd.ctl")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("clamd.log")).unwrap_or_default()
    }
}

fn eicar() -> Vec<u8> {
    [&b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR"[..], b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

fn attached(bytes: &[u8]) -> Message {
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<_> = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let head = "X-First: a field that clamd does not know mail by\r\nFrom: a@example.org\r\nTo: b@example.edu\r\nDate: x\r\nMessage-ID: <1@x>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=x\r\n";
    let part = "--x\r\nContent-Type: application/octet-stream; name=f\r\nContent-Disposition: attachment; filename=f\r\nContent-Transfer-Encoding: base64\r\n";
    Message::new(format!("{head}\r\n{part}\r\n{}\r\n--x--\r\n", lines.join("\r\n")).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_clamd_finds_viruses_in_attachments() {
    let clamd = RealClamd::start();
    let dns = FakeDns::start(&[]).await;
    let judge = judge(&Config { clamd: Some(clamd.socket().display().to_string()), ..config(&dns) });
    let envelope = envelope("127.0.0.1", "a@example.org");
    for (virus, name) in [(eicar(), "Eicar-Test-Signature"), (OUR_VIRUS.to_vec(), "Estafeta.Own.Virus")] {
        // clamd adds `.UNOFFICIAL` to the names of signatures that are not ClamAV's.
        let verdict = judge.judge(&envelope, &attached(&virus)).await.unwrap();
        let found = verdict
            .symbols
            .iter()
            .find(|symbol| symbol.name == "VIRUS")
            .unwrap_or_else(|| panic!("{verdict:?}\n{}", clamd.log()));
        assert!(found.options[0].starts_with(name), "{verdict:?}");
        assert_eq!(verdict.action, Action::Reject);
        assert!(verdict.explanation.unwrap().contains(name));
    }
    let clean = judge.judge(&envelope, &attached(b"harmless")).await.unwrap();
    assert_eq!((clean.action, symbols(&clean)), (Action::Accept, vec![]));
    // The spam test is found all the same, and the suite holds.
    estafeta_core::judge::suite::run(&super::judge(&Config {
        clamd: Some(clamd.socket().display().to_string()),
        when_clamd_fails: WhenClamdFails::Accept,
        ..config(&dns)
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clamd_does_not_scan_is_deferred_or_marked() {
    let clamd = RealClamd::start();
    let dns = FakeDns::start(&[]).await;
    let over_its_limit = message("a@example.org", &"0123456789\r\n".repeat(200_000));
    let envelope = envelope("127.0.0.1", "a@example.org");
    for (address, cause) in
        [(clamd.socket().display().to_string(), "size limit"), ("127.0.0.1:1".to_owned(), "refused")]
    {
        let config = Config { clamd: Some(address), ..config(&dns) };
        let failure = judge(&config).judge(&envelope, &over_its_limit).await.unwrap_err();
        assert!(failure.reason == estafeta_core::Reason::Unavailable && failure.cause.contains(cause), "{failure}");
        let accepting = judge(&Config { when_clamd_fails: WhenClamdFails::Accept, ..config });
        let verdict = accepting.judge(&envelope, &over_its_limit).await.unwrap();
        assert_eq!((verdict.action, symbols(&verdict)), (Action::Accept, vec!["CLAM_VIRUS_FAIL"]));
    }
}
