//! A virus scanner that speaks clamd's protocol and finds nothing: what a filter depends on, and what can be taken away
//! from it. The real clamd takes a gigabyte and half a minute to start, which a test of failures cannot spend often.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A scanner, running or stopped.
pub struct Scanner {
    address: SocketAddr,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Scanner {
    /// One that runs. It listens where the calling thread's network is.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let mut scanner = Self { address: listener.local_addr()?, running: None };
        scanner.serve(listener)?;
        Ok(scanner)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: from then on connections are refused.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((stop, thread)) = self.running.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
        Ok(())
    }

    /// Starts it again at the same address.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.serve(TcpListener::bind(self.address)?)
    }

    fn serve(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(thread::spawn(move || converse(stream))),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        self.running = Some((stop, thread));
        Ok(())
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// One conversation, of one command: `zPING`, `zVERSION` and `zINSTREAM` (clamd(8)).
fn converse(mut stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut command = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        if byte[0] != 0 && byte[0] != b'\n' {
            command.push(byte[0]);
            continue;
        }
        let answer = match command.trim_ascii_start() {
            b"zPING" | b"nPING" | b"PING" => "PONG\0",
            b"zVERSION" | b"nVERSION" => "ClamAV test\0",
            b"zINSTREAM" | b"nINSTREAM" if take_stream(&mut stream).is_some() => "stream: OK\0",
            _ => return,
        };
        // One command a connection: clamd hangs up after its answer.
        let _ = stream.write_all(answer.as_bytes());
        return;
    }
}

/// Reads chunks behind their lengths, up to the empty one.
fn take_stream(stream: &mut TcpStream) -> Option<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let length = u64::from(u32::from_be_bytes(length));
        if length == 0 {
            return Some(());
        }
        let taken = std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
        (taken == length).then_some(())?;
    }
}
