//! The messages of the demonstration: a real one, a spam, and two viruses that are none.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use estafeta_protocols::date::DateTime;

use super::layout::DOMAIN;

/// Ana, who writes and reads.
pub fn ana() -> String {
    format!("ana@{DOMAIN}")
}

/// Luis, who reads on the other store group.
pub fn luis() -> String {
    format!("luis@{DOMAIN}")
}

/// The stranger outside.
pub const STRANGER: &str = "stranger@elsewhere.example";

fn headers(subject: &str, to: &str) -> String {
    let id = fastrand::u64(..);
    format!(
        "From: A Stranger <{STRANGER}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\nMessage-ID: <{id:016x}@elsewhere.example>\r\nMIME-Version: 1.0\r\n",
        DateTime::of(SystemTime::now()).rfc5322()
    )
}

/// A real message.
pub fn clean(subject: &str, to: &str) -> String {
    let body = "Hola,\r\n\r\nthe relay has started: this letter was handed from runner to runner.\r\n\r\n.\r\nA line that begins with a dot came before this one.\r\n";
    format!("{}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}", headers(subject, to))
}

/// The test that every spam filter knows; in two halves here, so that no filter stops this source.
pub fn spam(to: &str) -> String {
    let gtube = ["XJS*C4JDBQADN1.NSBN3*2IDNEN", "*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat();
    format!("{}Content-Type: text/plain\r\n\r\n{gtube}\r\n", headers("You have won", to))
}

/// The test that every virus scanner knows; in two halves for the same reason.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", r"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// The virus as base64 in a multipart in a multipart.
pub fn nested_virus(to: &str) -> String {
    let part = attachment("invoice.com", "application/octet-stream", &eicar());
    format!(
        "{}Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--inner\r\n{part}--inner--\r\n--outer--\r\n",
        headers("Your invoice", to)
    )
}

/// The virus in a zip archive.
pub fn zipped_virus(to: &str) -> String {
    let part = attachment("invoice.zip", "application/zip", &zip("invoice.com", &eicar()));
    format!(
        "{}Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--outer\r\n{part}--outer--\r\n",
        headers("Your other invoice", to)
    )
}

fn attachment(name: &str, kind: &str, content: &[u8]) -> String {
    let encoded = STANDARD.encode(content);
    let lines: Vec<&str> = encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!(
        "Content-Type: {kind}; name={name}\r\nContent-Disposition: attachment; filename={name}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}

/// A zip archive of one stored file (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16).
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    let common =
        [&[0; 6], &crc32(content).to_le_bytes()[..], &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]]
            .concat();
    let local = [b"PK\x03\x04\x14\x00\x00\x00".as_slice(), &common, name.as_bytes(), content].concat();
    let central = [b"PK\x01\x02\x14\x00\x14\x00\x00\x00".as_slice(), &common, &[0; 14], name.as_bytes()].concat();
    let end = [
        b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00".as_slice(),
        &(central.len() as u32).to_le_bytes(),
        &(local.len() as u32).to_le_bytes(),
        &[0; 2],
    ]
    .concat();
    [local, central, end].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_and_archive_are_as_known() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let archive = zip("a", b"b");
        assert_eq!(archive.len(), 30 + 1 + 1 + 46 + 1 + 22);
        assert!(archive.ends_with(&[1, 0, 1, 0, 47, 0, 0, 0, 32, 0, 0, 0, 0, 0]));
    }
}
