//! The webhook: a POST of JSON over HTTP/1.1, in the clear or through TLS.

use std::path::Path;

use bytes::Bytes;
use estafeta_core::sessions::BoxStream;
use estafeta_net::http;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use tokio::net::TcpStream;

use crate::operate::trust;

/// The largest answer that is read, in bytes; nothing in it matters.
const ANSWER_BYTES: usize = 64 * 1024;

/// Where a webhook leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    secure: bool,
    host: String,
    port: u16,
    /// Host and port as the URL has them.
    authority: String,
    path: String,
}

/// Understands the URL.
pub fn target(url: &str) -> Result<Target, String> {
    let uri: Uri = url.parse().map_err(|error| format!("is no URL ({error})"))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("is neither http nor https".into()),
    };
    let authority = uri.authority().ok_or("names no host")?;
    if authority.as_str().contains('@') {
        return Err("holds a password, which would stand in logs".into());
    }
    Ok(Target {
        secure,
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        authority: authority.to_string(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

/// Sends the JSON. An error says what came instead of a 2xx.
pub async fn post(url: &str, authorities: &Path, json: Vec<u8>) -> Result<(), String> {
    let target = target(url)?;
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| format!("{}: {error}", target.authority))?;
    let stream: BoxStream =
        if target.secure { trust::connect(stream, &target.host, authorities).await?.stream } else { Box::new(stream) };
    let request = Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, concat!("estafeta/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json)))
        .map_err(|error| error.to_string())?;
    let answer = http::ask(stream, request, ANSWER_BYTES).await.map_err(|failure| failure.to_string())?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("{} answered {}", target.authority, answer.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood() {
        let read = |url| target(url).unwrap();
        let plain = read("http://127.0.0.1:8080/hook?x=1");
        assert_eq!((plain.secure, plain.host.as_str(), plain.port), (false, "127.0.0.1", 8080));
        assert_eq!(plain.path, "/hook?x=1");
        let secure = read("https://hooks.example.org");
        assert_eq!((secure.secure, secure.port, secure.path.as_str()), (true, 443, "/"));
        assert_eq!(read("http://[::1]:81/").host, "::1");
        for wrong in ["", "example.org/x", "ftp://example.org/", "https://", "https://u:p@example.org/"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
