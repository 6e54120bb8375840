//! Blobs in an object store, behind a cache on the local disk.
//!
//! A blob is filled into the cache when it is written and when it is read. Several who ask for one at the same time fetch
//! it once. What was fetched is compared with its hash before anybody sees it.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::cache::Cache;
use super::objects::Objects;
use super::{BlobHash, BlobName, Shelf, blocking};
use crate::error::StorageError;
use crate::mapped;

/// Up to this size an object is gathered in memory; a larger one goes into its file piece by piece.
const GATHERED_BYTES: u64 = 1024 * 1024;

/// How many gates are kept before those that nobody waits at are cleared away.
const GATES: usize = 1024;

/// The store and its cache.
pub(super) struct Cached {
    objects: Objects,
    cache: Arc<Cache>,
    /// Who fetches a blob holds its gate.
    gates: Mutex<HashMap<BlobName, Weak<tokio::sync::Mutex<()>>>>,
}

impl Cached {
    pub(super) fn new(objects: Objects, cache: Cache) -> Self {
        Self { objects, cache: Arc::new(cache), gates: Mutex::default() }
    }

    fn gate(&self, name: BlobName) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= GATES {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        if let Some(gate) = gates.get(&name).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        gates.insert(name, Arc::downgrade(&gate));
        gate
    }

    /// The copy in the cache.
    async fn copy(&self, name: BlobName) -> Result<Option<Bytes>, StorageError> {
        let cache = self.cache.clone();
        let copy = blocking(move || {
            let found = cache.get(name)?;
            if !found.trusted {
                if !is_whole(name, &found.kept) {
                    tracing::warn!(body = ?name, "a copy of a body was torn: it is fetched again");
                    cache.forget(name);
                    return None;
                }
                cache.trust(name);
            }
            Some(found.kept)
        });
        copy.await
    }

    /// Fetches a blob from the store.
    async fn fetch(&self, name: BlobName, keep: bool) -> Result<Bytes, StorageError> {
        let mut object = self.objects.get(name).await?;
        let damaged = || StorageError::Damaged(format!("body {name:?}"));
        let cache = self.cache.clone();
        if object.len <= GATHERED_BYTES {
            let mut gathered = BytesMut::with_capacity(object.len as usize);
            while let Some(piece) = self.objects.next(name, &mut object).await? {
                gathered.extend_from_slice(&piece);
            }
            let kept = gathered.freeze();
            let checked = kept.clone();
            let whole = blocking(move || {
                let whole = is_whole(name, &checked);
                if whole && keep {
                    cached(cache.put(name, &checked));
                }
                whole
            });
            return if whole.await? { Ok(kept) } else { Err(damaged()) };
        }
        let (file, path) = {
            let cache = cache.clone();
            blocking(move || cache.incoming()).await??
        };
        let incoming = Incoming(path);
        let mut file = Some(file);
        while let Some(piece) = self.objects.next(name, &mut object).await? {
            let Some(mut writing) = file.take() else { return Err(StorageError::Closed) };
            let write = blocking(move || writing.write_all(&piece).map(|()| writing)).await?;
            file = Some(write.map_err(|error| StorageError::file("write", &incoming.0, error))?);
        }
        let Some(file) = file else { return Err(StorageError::Closed) };
        let taken = blocking(move || {
            let kept = mapped::map(&file).map_err(|error| StorageError::file("map", &incoming.0, error))?;
            let whole = is_whole(name, &kept);
            if whole && keep {
                cached(cache.adopt(name, &incoming.0, kept.len() as u64));
            }
            Ok::<_, StorageError>(whole.then_some(kept))
        });
        taken.await??.ok_or_else(damaged)
    }
}

/// A file that goes away, unless it was taken over by then.
struct Incoming(std::path::PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Whether these are the bytes of this name.
fn is_whole(name: BlobName, kept: &Bytes) -> bool {
    name.packing.unpack(kept.clone()).is_ok_and(|body| BlobHash::of(&body) == name.hash)
}

/// Notes that a copy was put into the cache. That there is none is no reason to fail.
fn cached(put: Result<(), StorageError>) {
    if let Err(error) = put {
        metrics::counter!("estafeta_blob_cache_failures_total").increment(1);
        tracing::debug!(%error, "a body is not cached");
    }
}

#[async_trait]
impl Shelf for Cached {
    async fn put(&self, name: BlobName, kept: Bytes) -> Result<(), StorageError> {
        self.objects.put(name, kept.clone()).await?;
        let cache = self.cache.clone();
        blocking(move || cached(cache.put(name, &kept))).await
    }

    async fn get(&self, name: BlobName) -> Result<Bytes, StorageError> {
        let mut copy = self.copy(name).await?;
        if copy.is_none() {
            let gate = self.gate(name);
            let _one = gate.lock().await;
            copy = self.copy(name).await?;
            if copy.is_none() {
                metrics::counter!("estafeta_blob_cache_misses_total").increment(1);
                return self.fetch(name, true).await;
            }
        }
        metrics::counter!("estafeta_blob_cache_hits_total").increment(1);
        copy.ok_or(StorageError::Closed)
    }

    async fn get_kept(&self, name: BlobName) -> Result<Bytes, StorageError> {
        self.fetch(name, false).await
    }

    async fn holds(&self, name: BlobName) -> Result<bool, StorageError> {
        self.objects.holds(name).await
    }

    async fn delete(&self, names: Vec<BlobName>) -> Result<(), StorageError> {
        self.objects.delete(&names).await?;
        let cache = self.cache.clone();
        blocking(move || names.into_iter().for_each(|name| cache.forget(name))).await
    }

    async fn scan(&self, shard: usize, before: SystemTime) -> Result<Vec<BlobName>, StorageError> {
        self.objects.scan(shard, before).await
    }

    async fn claim(&self, owner: &str) -> Result<(), StorageError> {
        self.objects.claim(owner).await
    }

    /// A request may be carried out long after it was given up, by a store that was slow, or by a node that was asleep
    /// while another took its place; so a name that was deleted once is never written again.
    fn reuses_names(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::Blobs;
    use super::super::suite::{Fault, ObjectServer, holds};
    use super::*;

    fn open(server: &ObjectServer, prefix: &str, cache: &std::path::Path) -> Blobs {
        Blobs::in_objects(&server.options(prefix), cache, 4 << 20).unwrap()
    }

    fn body(seed: u64, len: usize) -> (BlobName, Bytes) {
        let mut random = fastrand::Rng::with_seed(seed);
        let body = Bytes::from_iter(std::iter::repeat_with(|| random.u8(..)).take(len));
        (BlobName::plain(BlobHash::of(&body), 0), body)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_s3_server_is_a_shelf() {
        let (server, cache) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        holds(&open(&server, "a/b", cache.path())).await;
        assert_eq!(server.bodies("a/b"), 0);
        holds(&open(&server, "", cache.path())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_cached_is_served_while_the_store_is_away_and_the_rest_is_a_temporary_error() {
        let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        let blobs = open(&server, "g", &directory.path().join("one"));
        let ((cached, one), (other, two), (third, _)) = (body(1, 200_000), body(2, 200_000), body(3, 10));
        blobs.put(cached, one.clone()).await.unwrap();
        open(&server, "g", &directory.path().join("two")).put(other, two.clone()).await.unwrap();
        for fault in [Fault::Gone, Fault::Broken] {
            server.set(fault);
            let begun = Instant::now();
            assert_eq!(blobs.get(cached).await.unwrap(), one);
            for failed in [
                blobs.get(other).await.map(drop),
                blobs.put(other, two.clone()).await,
                // It may be carried out all the same.
                blobs.delete(vec![third]).await,
                blobs.scan(0, SystemTime::now()).await.map(drop),
                blobs.claim("mine").await,
            ] {
                let error = failed.unwrap_err();
                assert!(error.is_away() && !error.is_missing(), "{fault:?}: {error}");
                assert!(error.to_string().contains(&server.endpoint()), "{error}");
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        }
        server.set(Fault::None);
        assert_eq!(blobs.get(other).await.unwrap(), two);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_is_cut_never_tears_a_body() {
        let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        for (number, len) in [100_000, 3_000_000].into_iter().enumerate() {
            let (name, body) = body(number as u64, len);
            open(&server, "g", &directory.path().join("writer")).put(name, body.clone()).await.unwrap();
            for limit in [10, 5_000, len / 2] {
                let blobs = open(&server, "g", &directory.path().join(format!("{len}-{limit}")));
                server.set(Fault::CutAfter(limit));
                match blobs.get(name).await {
                    Ok(got) => assert_eq!(got, body),
                    Err(error) => assert!(error.is_away(), "{error}"),
                }
                server.set(Fault::None);
                assert_eq!(blobs.get(name).await.unwrap(), body);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_torn_copy_is_fetched_again_and_a_damaged_object_is_named() {
        let (server, cache) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        let (name, kept) = body(3, 50_000);
        open(&server, "g", cache.path()).put(name, kept.clone()).await.unwrap();
        let copy = cache.path().join(format!("{:02x}/{}", name.hash.0[0], name.file_name()));
        let mut torn = kept.to_vec();
        torn[40_000..].fill(0);
        fs::write(&copy, &torn).unwrap();
        let blobs = open(&server, "g", cache.path());
        assert_eq!(blobs.get(name).await.unwrap(), kept);
        assert_eq!(fs::read(&copy).unwrap(), kept);
        let object = server.bucket().join(format!("g/{:02x}/{}", name.hash.0[0], name.file_name()));
        fs::write(&object, &torn).unwrap();
        assert_eq!(blobs.get(name).await.unwrap(), kept, "a copy of it is whole");
        assert!(blobs.get_kept(name).await.unwrap_err().to_string().contains("damaged"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_who_ask_at_once_fetch_once() {
        let (server, directory) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        let (name, kept) = body(4, 500_000);
        open(&server, "g", &directory.path().join("writer")).put(name, kept.clone()).await.unwrap();
        let objects = Objects::open(&server.options("g")).unwrap();
        let cached = Arc::new(Cached::new(objects, Cache::open(&directory.path().join("reader"), 1 << 20).unwrap()));
        server.set(Fault::Slow(Duration::from_millis(50)));
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let cached = cached.clone();
                tokio::spawn(async move { cached.get(name).await })
            })
            .collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap(), kept);
        }
        assert_eq!(cached.cache.incoming().unwrap().1.file_name().unwrap(), "1", "one copy was written before this");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_databases_do_not_share_a_prefix_and_wrong_keys_are_named() {
        let (server, cache) = (ObjectServer::start(), tempfile::tempdir().unwrap());
        let blobs = open(&server, "g", cache.path());
        blobs.claim("mine").await.unwrap();
        let error = blobs.claim("another's").await.unwrap_err();
        assert!(error.to_string().contains("belong to another database") && !error.is_away(), "{error}");
        let mut options = server.options("g");
        options.secret_access_key = "wrong".into();
        let error = Blobs::in_objects(&options, cache.path(), 1 << 20).unwrap().claim("mine").await.unwrap_err();
        assert!(error.to_string().contains("credentials") && error.is_away(), "{error}");
        options = server.options("g");
        options.bucket = "none".into();
        let blobs = Blobs::in_objects(&options, cache.path(), 1 << 20).unwrap();
        let error = blobs.scan(0, SystemTime::now()).await.unwrap_err();
        assert!(error.is_away() && error.to_string().contains("NoSuchBucket"), "{error}");
        assert!(!format!("{options:?}").contains("test-secret"));
    }
}
