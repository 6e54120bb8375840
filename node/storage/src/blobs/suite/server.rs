//! An S3 server of a test's own, on a loopback address: s3s-fs, with its objects in a temporary directory. Between it and
//! its clients stands a wire that can be made to fail.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::blobs::ObjectsOptions;

const BUCKET: &str = "mail";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// What goes wrong on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections end at once, also those that stand.
    Gone,
    /// A connection ends after it has carried so many bytes of answers.
    CutAfter(usize),
    /// Every request is answered 500 (Internal Server Error).
    Broken,
    /// Each piece waits for so long.
    Slow(Duration),
}

/// A server that runs until it is dropped.
pub struct ObjectServer {
    directory: TempDir,
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    /// Its thread ends when this does.
    _running: tokio::sync::oneshot::Sender<()>,
}

impl ObjectServer {
    /// Starts it, with one empty bucket.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("estafeta-s3-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(directory.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let fault = Arc::new(Mutex::new(Fault::None));
        let (running, ended) = tokio::sync::oneshot::channel::<()>();
        let (told, address) = mpsc::channel();
        let wire = fault.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(front.local_addr().unwrap()).unwrap();
                tokio::spawn(relay(front, server.local_addr().unwrap(), wire));
                tokio::spawn(serve(server, service));
                let _ = ended.await;
            });
            runtime.shutdown_background();
        });
        Self { directory, address: address.recv().unwrap(), fault, _running: running }
    }

    /// One server for all tests of a process, which do not make it fail.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ObjectServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What goes wrong from now on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How to reach its objects below a prefix.
    pub fn options(&self, prefix: &str) -> ObjectsOptions {
        ObjectsOptions {
            endpoint: Some(self.endpoint()),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            region: "us-east-1".into(),
            access_key_id: KEY.into(),
            secret_access_key: SECRET.into(),
            authority: None,
        }
    }

    /// The same as lines of a configuration; the file with the keys is written to `credentials`.
    pub fn section(&self, prefix: &str, credentials: &Path) -> String {
        let keys = format!("access_key_id = {KEY:?}\nsecret_access_key = {SECRET:?}\n");
        std::fs::write(credentials, keys).unwrap();
        std::fs::set_permissions(credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
        let endpoint = self.endpoint();
        format!(
            "endpoint = {endpoint:?}\nbucket = {BUCKET:?}\nprefix = {prefix:?}\ncredentials_file = {credentials:?}\n"
        )
    }

    /// The directory of its bucket: an object is the file of its name.
    pub fn bucket(&self) -> PathBuf {
        self.directory.path().join(BUCKET)
    }

    /// How many bodies it has below a prefix.
    pub fn bodies(&self, prefix: &str) -> usize {
        fn count(path: &Path) -> usize {
            let Ok(entries) = std::fs::read_dir(path) else { return 0 };
            entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        // One of them says whose they are.
        count(&self.bucket().join(prefix)).saturating_sub(1)
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move { connection.await.ok() });
    }
}

async fn relay(listener: TcpListener, server: SocketAddr, fault: Arc<Mutex<Fault>>) {
    while let Ok((client, _)) = listener.accept().await {
        let fault = fault.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::select! {
                () = carry(from_client, to_server, &fault, false) => {}
                () = carry(from_server, to_client, &fault, true) => {}
                () = until_it_breaks(&fault) => {}
            }
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: &Mutex<Fault>, answers: bool) {
    let mut piece = vec![0; 64 * 1024];
    let mut carried = 0;
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        let now = *fault.lock().unwrap();
        let mut bytes = &piece[..len];
        match now {
            Fault::None => {}
            Fault::Gone => bytes = &[],
            Fault::Slow(wait) => tokio::time::sleep(wait).await,
            Fault::CutAfter(limit) if answers && carried + len > limit => {
                bytes = &bytes[..limit.saturating_sub(carried)]
            }
            Fault::CutAfter(_) => {}
            Fault::Broken if answers => {
                bytes = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            }
            Fault::Broken => {}
        }
        carried += len;
        let cut = bytes.len() < len || (now == Fault::Broken && answers);
        if to.write_all(bytes).await.is_err() || cut {
            break;
        }
    }
    to.shutdown().await.ok();
}

async fn until_it_breaks(fault: &Mutex<Fault>) {
    while *fault.lock().unwrap() != Fault::Gone {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
