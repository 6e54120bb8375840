//! Addresses for one test alone.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::bail;

use crate::topology::STATUS_PORT;

/// How many networks this process has taken.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// Loopback addresses that no other test uses: a network 127.x.y.0/24 that follows from the process id, and is free.
pub fn network(count: usize) -> anyhow::Result<Vec<IpAddr>> {
    let start = std::process::id().wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed).wrapping_mul(104_729));
    for attempt in 0..1000_u32 {
        let number = start.wrapping_add(attempt.wrapping_mul(7919));
        let (x, y) = (1 + (number >> 8) % 250, number % 256);
        let addresses: Vec<IpAddr> =
            (1..=count).map(|n| IpAddr::V4(Ipv4Addr::new(127, x as u8, y as u8, n as u8))).collect();
        let free = |address: &IpAddr| TcpListener::bind((*address, STATUS_PORT)).is_ok();
        if addresses.iter().all(free) {
            return Ok(addresses);
        }
    }
    bail!("no free network in 127.0.0.0/8")
}
