//! A PostgreSQL of a test's own: Debian's, in a temporary directory, on a Unix socket. A test fails where it is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests alone")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Servers;

/// A server that runs until it is dropped, or this process ends.
pub struct PostgresServer {
    directory: TempDir,
    /// A shell that waits for the server, and takes its directory away when we are gone.
    process: Option<Child>,
}

/// Runs the server, ends it when the process that started this ends, and then clears away.
const KEEPER: &str = r#"trap 'kill -QUIT $server 2>/dev/null' TERM
"$@" & server=$!
wait $server; wait $server
sleep 1
[ -d "/proc/$KEPT_FOR" ] || rm -rf "$DIRECTORY""#;

/// The directory of PostgreSQL's programs, the newest version's.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|directory| directory.join("initdb").exists());
    found.sort();
    found.pop().expect("PostgreSQL is needed for this test: install Debian's package postgresql")
}

/// A program of PostgreSQL's. It refuses to run as root, so then it runs as its own user.
fn program(name: &str) -> Command {
    let path = programs().join(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives a directory to the user that PostgreSQL runs as.
fn give(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        succeed(Command::new("chown").arg("postgres:postgres").arg(directory));
    }
}

fn new_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("estafeta-pg-").tempdir_in("/tmp").unwrap();
    give(directory.path());
    directory
}

/// An empty cluster, made once a machine and copied for each test.
fn template() -> PathBuf {
    let version = programs().parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let user = fs::metadata("/proc/self").unwrap().uid();
    let path = PathBuf::from(format!("/tmp/estafeta-pg-template-{version}-{user}"));
    if !path.exists() {
        let made = new_directory();
        let data = made.path().join("data");
        succeed(program("initdb").arg("-D").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        // Who comes second keeps the first one's: the link is made whole or not at all.
        let kept = made.keep();
        if symlink(&kept, &path).is_err() {
            fs::remove_dir_all(kept).unwrap();
        }
    }
    path.join("data")
}

impl PostgresServer {
    /// An empty server. Without `durable` it does not fsync, which most tests do not ask for.
    pub fn start(durable: bool) -> Self {
        let directory = new_directory();
        succeed(program_copy().arg(template()).arg(directory.path().join("data")));
        let mut settings = String::from("wal_level = replica\nmax_wal_senders = 4\nwal_sender_timeout = 2s\n");
        settings.push_str(if durable { "fsync = on\n" } else { "fsync = off\n" });
        let mut server = Self { directory, process: None };
        server.configure(&settings);
        server.run();
        server
    }

    /// A standby of this server, which replicates synchronously from now on.
    pub fn standby(&self) -> Self {
        let directory = new_directory();
        let data = directory.path().join("data");
        let socket = self.directory.path().display();
        succeed(
            program("pg_basebackup")
                .arg("-D")
                .arg(&data)
                .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-d"])
                .arg(format!("host={socket} user=postgres application_name=standby")),
        );
        let mut standby = Self { directory, process: None };
        standby.run();
        self.statement("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.statement("SELECT pg_reload_conf()");
        let started = Instant::now();
        while !self.answer("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").starts_with('1') {
            assert!(started.elapsed() < Duration::from_secs(30), "the standby does not replicate");
            std::thread::sleep(Duration::from_millis(50));
        }
        standby
    }

    /// The number of the server's first process, as it wrote it down.
    fn first_process(&self) -> Option<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    fn configure(&self, settings: &str) {
        let path = self.data().join("postgresql.auto.conf");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Starts the server's process, after it was stopped or killed too.
    pub fn run(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let server = program("postgres");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=TERM", "sh", "-c", KEEPER, "sh"]).arg(server.get_program()).args(server.get_args());
        command
            .env("KEPT_FOR", std::process::id().to_string())
            .env("DIRECTORY", self.directory.path())
            .current_dir("/");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=60", "-c", "shared_buffers=32MB"]);
        command.args(["-c", "deadlock_timeout=100ms"]);
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let started = Instant::now();
        while !self.is_ready() {
            assert!(started.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        program("pg_isready").args(["-q", "-h"]).arg(self.directory.path()).status().unwrap().success()
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut does: all its processes at once.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            if let Some(first) = self.first_process() {
                // Its processes are children of the first, and end with it where they do not end at once.
                Command::new("pkill").args(["-KILL", "-P", &first]).status().unwrap();
                Command::new("kill").args(["-KILL", &first]).status().unwrap();
            }
            process.wait().unwrap();
        }
    }

    /// Makes a standby the primary, and waits until it is.
    pub fn promote(&self) {
        succeed(program("pg_ctl").args(["promote", "-w", "-D"]).arg(self.data()));
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            succeed(program("pg_ctl").args(["stop", "-m", "fast", "-D"]).arg(self.data()));
            process.wait().unwrap();
        }
    }

    /// Runs a statement as its administrator.
    pub fn statement(&self, sql: &str) {
        self.answer(sql);
    }

    /// What a statement answers, without any ornament.
    pub fn answer(&self, sql: &str) -> String {
        let mut command = program("psql");
        command.args(["-U", "postgres", "-d", "postgres", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h"]);
        let output = command.arg(self.directory.path()).args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where a socket leads to it, as it is written in an address.
    pub fn host(&self) -> String {
        self.directory.path().display().to_string().replace('/', "%2F")
    }

    /// One server for all tests of a process, which do not look at the server itself.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            // The server ends with the thread that started it: one that ends with the process.
            std::thread::spawn(move || {
                sender.send(Self::start(false)).unwrap();
                loop {
                    std::thread::park();
                }
            });
            receiver.recv().unwrap()
        })
    }

    /// How to open a database of this name on it, which is made if it is missing.
    pub fn database(&self, name: &str) -> Servers {
        if self.answer(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")).starts_with('0') {
            self.statement(&format!("CREATE DATABASE {name}"));
        }
        Servers::parse(&format!("postgresql://postgres@{}/{name}", self.host()), None).unwrap()
    }

    /// How to open its database.
    pub fn servers(&self) -> Servers {
        Self::together(&[self])
    }

    /// How to open the database of several, one of which is the primary.
    pub fn together(servers: &[&Self]) -> Servers {
        let hosts: Vec<String> = servers.iter().map(|server| server.host()).collect();
        Servers::parse(&format!("postgresql://postgres@{}/postgres", hosts.join(",")), None).unwrap()
    }
}

/// Copies a directory, as the user that PostgreSQL runs as.
fn program_copy() -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "cp"]);
        command
    } else {
        Command::new("cp")
    };
    command.arg("-r");
    command
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}
