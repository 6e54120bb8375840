//! What an idle connection costs: a client that is logged in through `access`, relayed to its mailbox node, and waits.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use estafeta_integration_tests::client::Imap;
use estafeta_integration_tests::cluster::{Cluster, PASSWORD};
use estafeta_integration_tests::topology::Topology;

/// How many clients wait.
const CLIENTS: u64 = 300;

/// The most that one may cost a node, in bytes: two TLS sessions with their buffers, and a margin for the allocator.
const LIMIT_BYTES: u64 = 200 << 10;

#[test]
fn of_an_idle_relayed_connection() -> anyhow::Result<()> {
    Cluster::run(&Topology::apart(), |cluster| {
        let ana = cluster.account("ana")?;
        let idle = |cluster: &Cluster| -> anyhow::Result<Imap> {
            let mut imap = Imap::connect_tls(cluster.at("imaps")?, &cluster.trust)?;
            imap.login(&ana, PASSWORD)?.ok()?;
            imap.command("SELECT INBOX")?.ok()?;
            imap.start("IDLE")?;
            imap.response()?;
            Ok(imap)
        };
        // What the first ones allocate for good is nobody's connection.
        let mut clients = (0..20).map(|_| idle(cluster)).collect::<Result<Vec<_>, _>>()?;
        let resident = |cluster: &mut Cluster| -> anyhow::Result<[u64; 2]> {
            thread::sleep(Duration::from_secs(1));
            Ok([cluster.node("access1")?.resident_bytes()?, cluster.node("mailbox1")?.resident_bytes()?])
        };
        let before = resident(cluster)?;
        for _ in 0..CLIENTS {
            clients.push(idle(cluster)?);
        }
        let after = resident(cluster)?;
        for (node, before, after) in [("access", before[0], after[0]), ("mailbox", before[1], after[1])] {
            let each = after.saturating_sub(before) / CLIENTS;
            println!("an idle relayed IMAP connection holds {} KB at {node}", each >> 10);
            ensure!(each < LIMIT_BYTES, "{node}: {each} bytes a connection");
        }
        Ok(())
    })
}
