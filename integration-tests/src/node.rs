//! One node: its files, its process, its command line.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::topology::{Planned, SERVICES, STATUS_PORT};

/// How long a node may take to become healthy, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// How long a node may take to end after SIGTERM.
const END: Duration = Duration::from_secs(60);

/// A node.
pub struct Node {
    /// What it is.
    pub planned: Planned,
    /// Where its services are.
    pub address: IpAddr,
    /// Its configuration.
    pub configuration: PathBuf,
    /// Its own directory: configuration, data, log.
    pub directory: PathBuf,
    binary: PathBuf,
    namespace: Option<String>,
    child: Option<Child>,
}

/// What a command of the command line did.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Done {
    /// The error unless it succeeded.
    pub fn ok(self) -> anyhow::Result<Self> {
        ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.output, self.errors);
        Ok(self)
    }

    /// What it printed, as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.output).with_context(|| format!("no JSON: {:?}", self.output))
    }
}

impl Node {
    /// A node whose configuration has been written; it does not run yet.
    pub fn new(
        planned: Planned,
        address: IpAddr,
        directory: PathBuf,
        binary: PathBuf,
        namespace: Option<String>,
    ) -> Self {
        let configuration = directory.join("estafeta.toml");
        Self { planned, address, configuration, directory, binary, namespace, child: None }
    }

    /// The program, to be run in the node's network namespace when it has one. It becomes the process that is started.
    fn program(&self) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(&self.binary) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(&self.binary);
        command
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.planned.name
    }

    /// Where a service of it listens.
    pub fn at(&self, service: &str) -> anyhow::Result<SocketAddr> {
        let known = SERVICES.iter().find(|known| known.name == service && self.planned.roles.contains(&known.role));
        let known = known.with_context(|| format!("{} does not offer {service}", self.name()))?;
        Ok(SocketAddr::new(self.address, known.port))
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Starts its process and returns at once.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name());
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.program();
        // It ends when this process does, however that happens, because it holds the other end of its standard input.
        command.args(["serve", "--until-stdin-closes", "--config"]).arg(&self.configuration);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| self.binary.display().to_string())?);
        Ok(())
    }

    /// Starts its process and waits until it is healthy.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.wait_healthy()
    }

    /// Waits until it says that it is healthy.
    pub fn wait_healthy(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                bail!("{} ended with {status}: {}", self.name(), tail(&self.log(), 20));
            }
            match self.status("/health") {
                Ok((200, _)) => return Ok(()),
                last if begun.elapsed() > START => {
                    bail!("{} is not healthy: {last:?}: {}", self.name(), tail(&self.log(), 20));
                }
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Asks its status address: the code and the body.
    pub fn status(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let address = SocketAddr::new(self.address, STATUS_PORT);
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP status")?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Ok((code, body))
    }

    /// The sum of a metric over all its labels; 0 when it was never counted.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = self.status("/metrics")?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let own = samples.filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// How its process ended by itself; none while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let child = self.child.as_mut().with_context(|| format!("{} was not started", self.configuration.display()))?;
        let ended = child.try_wait()?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    /// Its process id.
    pub fn process_id(&self) -> anyhow::Result<u32> {
        self.child.as_ref().map(Child::id).with_context(|| format!("{} does not run", self.name()))
    }

    /// How much memory its process holds now, in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// SIGKILL, as if its machine had gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.process_id()?)?;
        Ok(kill(Pid::from_raw(id), signal)?)
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let mut child = self.child.take().context("it does not run")?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > END {
                child.kill()?;
                child.wait()?;
                bail!("{} did not end after SIGTERM: {}", self.name(), tail(&self.log(), 20));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command of the command line against this node, `input` on its standard input.
    pub fn command(&self, arguments: &[&str], input: &str) -> anyhow::Result<Done> {
        let mut command = self.program();
        command.args(arguments).arg("--config").arg(&self.configuration);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that takes no input may have ended.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok(Done {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
