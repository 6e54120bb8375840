//! Files that stand in a text by uuencode (POSIX, `uuencode`): older than MIME, and still decoded by mail clients.

use super::header::line_at;

/// The files in a text, in order.
pub fn files(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let line = line_at(text, at);
            at += line.len();
            if !begins(line) {
                continue;
            }
            let mut file = Vec::new();
            while at < text.len() {
                let line = line_at(text, at);
                at += line.len();
                if !decode_line(line, &mut file) {
                    break;
                }
            }
            return Some(file);
        }
        None
    })
}

/// `begin MODE NAME`, the mode in octal.
fn begins(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"begin ") else { return false };
    let mode = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    (3..=6).contains(&mode) && rest.get(mode) == Some(&b' ')
}

/// Decodes a line, and says whether another may follow: none does behind `end` or the line of length zero.
fn decode_line(line: &[u8], file: &mut Vec<u8>) -> bool {
    let line = line.trim_ascii_end();
    let Some((&first, characters)) = line.split_first() else { return false };
    let mut left = usize::from(value(first));
    if left == 0 || line == b"end" {
        return false;
    }
    for group in characters.chunks(4) {
        // Spaces at the end of a line stand for zero and are often cut off on the way.
        let group: [u8; 4] = std::array::from_fn(|index| group.get(index).map_or(0, |&character| value(character)));
        let bytes = [group[0] << 2 | group[1] >> 4, group[1] << 4 | group[2] >> 2, group[2] << 6 | group[3]];
        let count = left.min(3);
        file.extend_from_slice(&bytes[..count]);
        left -= count;
    }
    true
}

/// Six bits of a character: space or a backquote is zero.
fn value(character: u8) -> u8 {
    character.wrapping_sub(b' ') & 0x3f
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_found_between_other_lines() {
        let text = b"Hello\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\nand\nbegin 600 b\n#0V%T\nend\n";
        assert_eq!(files(text).collect::<Vec<_>>(), [b"Cat".to_vec(), b"Cat".to_vec()]);
    }

    #[test]
    fn what_only_looks_alike_is_none() {
        for text in ["begin", "begin with something", "begin 644", "begin 999 a", " begin 644 a"] {
            assert_eq!(files(text.as_bytes()).count(), 0, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(lines in "(begin 644 a\n)?[ -`\n]{0,200}") {
            let bytes: usize = files(lines.as_bytes()).map(|file| file.len()).sum();
            prop_assert!(bytes <= lines.len());
        }
    }
}
