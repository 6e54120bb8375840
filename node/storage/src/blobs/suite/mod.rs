//! What every shelf of blobs holds, and an S3 server to ask it of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests alone")]

mod server;

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{BlobHash, BlobName, Blobs, Packing};

pub use server::{Fault, ObjectServer};

fn name(body: &[u8], generation: u32) -> BlobName {
    BlobName::plain(BlobHash::of(body), generation)
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

/// The suite. The shelf is empty, and holds a megabyte at least in its cache, if it has one.
pub async fn holds(blobs: &Blobs) {
    what_is_put_is_got_until_it_is_deleted(blobs).await;
    many_at_once_in_one_shard(blobs).await;
    each_packing_has_a_name_of_its_own(blobs).await;
}

async fn what_is_put_is_got_until_it_is_deleted(blobs: &Blobs) {
    blobs.claim("mine").await.unwrap();
    blobs.claim("mine").await.unwrap();
    // Below and above what is read and what is mapped, what is gathered in memory, what is uploaded in parts.
    for len in [0, 1, 128 * 1024, 128 * 1024 + 1, 1_000_000, 3_000_000, 20_000_000] {
        let body = Bytes::from_iter((0..len).map(|at: u32| (at * 31 / 7) as u8));
        let name = name(&body, 7);
        assert!(blobs.get(name).await.unwrap_err().is_missing());
        assert!(blobs.get_kept(name).await.unwrap_err().is_missing());
        assert!(!blobs.holds(name).await.unwrap());
        blobs.put(name, body.clone()).await.unwrap();
        assert!(blobs.holds(name).await.unwrap());
        blobs.put(name, body.clone()).await.unwrap();
        assert_eq!(blobs.get_kept(name).await.unwrap(), body);
        let got = blobs.get(name).await.unwrap();
        assert_eq!(got, body);
        assert_eq!(blobs.get(name).await.unwrap(), body);
        blobs.delete(vec![name]).await.unwrap();
        blobs.delete(vec![name]).await.unwrap();
        assert!(blobs.get(name).await.unwrap_err().is_missing());
        assert_eq!(got, body, "who reads goes on reading");
    }
}

async fn many_at_once_in_one_shard(blobs: &Blobs) {
    let body = Bytes::from_static(b"the same");
    let puts: Vec<_> = (0..32)
        .map(|generation| {
            let (blobs, body) = (blobs.clone(), body.clone());
            tokio::spawn(async move { blobs.put(name(&body, generation), body.clone()).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let shard = BlobHash::of(&body).0[0].into();
    let mut found = blobs.scan(shard, later()).await.unwrap();
    found.sort();
    assert_eq!(found, (0..32).map(|generation| name(&body, generation)).collect::<Vec<_>>());
    assert_eq!(blobs.scan(shard, SystemTime::now() - Duration::from_secs(60)).await.unwrap().len(), 0);
    blobs.delete(found).await.unwrap();
    assert_eq!(blobs.scan(shard, later()).await.unwrap(), []);
}

async fn each_packing_has_a_name_of_its_own(blobs: &Blobs) {
    let body = Bytes::from("word ".repeat(1000));
    let names = Packing::ALL.map(|packing| BlobName { packing, ..name(&body, 0) });
    for name in names {
        blobs.put(name, name.packing.pack_as(&body).unwrap()).await.unwrap();
    }
    for name in names {
        assert_eq!(name.packing.unpack(blobs.get(name).await.unwrap()).unwrap(), body);
        blobs.delete(vec![name]).await.unwrap();
    }
}
