//! The test virus of EICAR, as its definition says: a file that begins with its 68 bytes, of at most 128, of which what
//! follows is white space alone.

/// The name that virus scanners give it.
pub const NAME: &str = "Eicar-Test-Signature";

/// Its bytes, in two parts, so that no virus scanner takes this program for it.
const BYTES: [&[u8]; 2] = [b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// The most bytes of such a file.
const FILE_BYTES: usize = 128;

/// Whether a file is it. More than [`FILE_BYTES`] of its beginning need not be given.
pub fn matches(file: &[u8]) -> bool {
    let rest = file.strip_prefix(BYTES[0]).and_then(|rest| rest.strip_prefix(BYTES[1]));
    // Space, tab, LF, CR and Ctrl-Z.
    let is_white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x1a);
    file.len() <= FILE_BYTES && rest.is_some_and(|rest| rest.iter().all(is_white))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The test virus.
    pub(crate) fn virus() -> Vec<u8> {
        BYTES.concat()
    }

    #[test]
    fn it_is_found_as_its_definition_says() {
        assert_eq!(virus().len(), 68);
        assert!(matches(&virus()));
        assert!(matches(&[virus(), b" \t\r\n\x1a".to_vec()].concat()));
        assert!(matches(&[virus(), vec![b' '; 60]].concat()));
        assert!(!matches(&[virus(), vec![b' '; 61]].concat()));
        assert!(!matches(&[virus(), b"x".to_vec()].concat()));
        assert!(!matches(&[b" ".to_vec(), virus()].concat()));
        assert!(!matches(&virus()[..67]));
        assert!(!matches(b""));
    }
}
