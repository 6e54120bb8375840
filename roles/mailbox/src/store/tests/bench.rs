use super::*;
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let (_d, store, mail) = ana().await;
    for tasks in [1usize, 16, 64] {
        let start = Instant::now();
        let n = 640;
        let handles: Vec<_> = (0..tasks).map(|t| {
            let (store, mail) = (store.clone(), mail.clone());
            tokio::spawn(async move {
                for i in 0..n / tasks {
                    let c = store.consign(estafeta_core::DeliveryId::generate(), &text(&format!("{tasks} {t} {i} {}", "x".repeat(4000)))).await.unwrap();
                    mail.deliver(&c, b"Return-Path: <>\r\n", Folder::Inbox).await.unwrap();
                }
            })
        }).collect();
        for h in handles { h.await.unwrap(); }
        println!("{tasks} tasks: {:.0} deliveries/s", n as f64 / start.elapsed().as_secs_f64());
    }
    let inbox = mail.mailbox(&name("INBOX")).await.unwrap();
    for _ in 0..4 { inbox.copy(&UidSet::all(), &name("INBOX")).await.unwrap(); }
    let start = Instant::now();
    let n = inbox.copy(&UidSet::all(), &name("Archive")).await.unwrap().uids.len();
    println!("copy {n}: {:?}", start.elapsed());
    let start = Instant::now();
    println!("snapshot {}: {:?}", inbox.snapshot(RecentClaim::Leave).await.unwrap().messages.len(), start.elapsed());
    let start = Instant::now();
    inbox.store_flags(&UidSet::all(), &FlagChange::add(SystemFlags::SEEN), None).await.unwrap();
    println!("flag: {:?}", start.elapsed());
    let start = Instant::now();
    inbox.remove(&UidSet::all()).await.unwrap();
    println!("remove: {:?}", start.elapsed());
    let start = Instant::now();
    mail.delete(&name("Archive")).await.unwrap();
    println!("delete: {:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..200 { inbox.changes(ModSeq(1_000_000), RecentClaim::Take).await.unwrap(); }
    println!("poll: {:?}", start.elapsed() / 200);
}
