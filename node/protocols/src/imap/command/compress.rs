//! COMPRESS (RFC 4978 §3).

use super::Request;
use crate::imap::cursor::{Cursor, Refusal};

/// `compress = "COMPRESS" SP algorithm`, `algorithm = "DEFLATE"`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    if cursor.take_word(b"DEFLATE") { Ok(Request::Compress) } else { Err(Refusal::Bad("Unknown algorithm")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::request;

    #[test]
    fn one_algorithm() {
        assert_eq!(request(b"compress deflate"), Ok(Request::Compress));
        for line in [&b"COMPRESS"[..], b"COMPRESS ", b"COMPRESS ZSTD", b"COMPRESS DEFLATE 9"] {
            assert!(matches!(request(line), Err(Refusal::Bad(_))));
        }
    }
}
