//! Bodies that were lost or damaged here and are put back out of a backup.

use bytes::Bytes;
use estafeta_storage::blobs::BlobHash;
use estafeta_storage::sql::Connection;

use super::sql::blobs::{self, Kept};
use super::{Store, StoreError};

impl Store {
    /// Whether messages name a body of this hash that is lost, or damaged. It is read for that, past every cache.
    pub async fn lacks_body(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let Some((_, name, kept)) = blobs::living(&mut self.reader().await?, hash).await? else { return Ok(false) };
        let fault = self.verify_body(name, kept).await?.err();
        if let Some(fault) = &fault {
            tracing::warn!(body = ?name, fault, "a body is lost");
        }
        Ok(fault.is_some())
    }

    /// Puts a body in its place, so that every message which names it can be read again. Nothing happens where none does.
    pub async fn put_body_back(&self, body: Bytes) -> Result<(), StoreError> {
        let hash = BlobHash::of(&body);
        let Some((row, name, kept)) = blobs::living(&mut self.reader().await?, hash).await? else { return Ok(()) };
        let packed = name.packing.pack_as(&body)?;
        match kept {
            // A name's content never changes: it is written as this name says.
            Kept::File(name) => self.inner.blobs.put(name, packed).await?,
            Kept::Row(..) => {
                let rewrite = async move |connection: &mut Connection| blobs::rewrite(connection, row, &packed).await;
                self.run(rewrite).await?;
            }
        }
        tracing::info!(body = ?name, "a body is put back");
        Ok(())
    }
}
