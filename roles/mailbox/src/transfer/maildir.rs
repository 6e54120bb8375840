//! Maildir (<https://cr.yp.to/proto/maildir.html>) with a directory for each mailbox, below each other like their names.
//!
//! The letters of flags are those of Maildir; keywords are small letters, explained by the file `dovecot-keywords` beside
//! `cur`, as Dovecot has it. A level of a name that would mean something to the file system, or is the name of a file that stands
//! there, is written with `%` and the number of the byte.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::particulars;
use crate::store::{Keyword, MailboxName, SystemFlags};

/// The letters, in the order in which they are written.
const LETTERS: [(char, SystemFlags); 5] = [
    ('D', SystemFlags::DRAFT),
    ('F', SystemFlags::FLAGGED),
    ('R', SystemFlags::ANSWERED),
    ('S', SystemFlags::SEEN),
    ('T', SystemFlags::DELETED),
];

/// What explains the small letters.
pub const KEYWORDS: &str = "dovecot-keywords";

/// How many keywords have a letter.
pub const KEYWORD_LETTERS: usize = 26;

/// The directories of every maildir.
pub const PARTS: [&str; 3] = ["cur", "new", "tmp"];

/// What stands beside mailboxes, and is none.
const TAKEN: [&str; 5] = [PARTS[0], PARTS[1], PARTS[2], KEYWORDS, particulars::FILE];

/// Where a mailbox stands below `root`.
pub fn directory(root: &Path, name: &MailboxName) -> PathBuf {
    let mut path = root.to_owned();
    for level in name.as_str().split('/') {
        let mut kept = String::with_capacity(level.len());
        for (index, character) in level.chars().enumerate() {
            let leading = index == 0 && (character == '.' || TAKEN.contains(&level));
            if leading {
                // What leads so is ASCII. No name holds a % of its own.
                let _ = write!(kept, "%{:02X}", u32::from(character));
            } else {
                kept.push(character);
            }
        }
        path.push(kept);
    }
    path
}

/// The level of a name that a directory stands for; none when it cannot be one.
pub fn level(directory: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(directory.len());
    let mut rest = directory.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(rest.get(..2)?).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// What follows a file's name: `:2,` and the letters.
pub fn info(flags: SystemFlags, keywords: impl Iterator<Item = usize>) -> String {
    let mut info = String::from(":2,");
    info.extend(LETTERS.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(letter, _)| *letter));
    let mut letters: Vec<usize> = keywords.filter(|number| *number < KEYWORD_LETTERS).collect();
    letters.sort_unstable();
    info.extend(letters.into_iter().map(|number| char::from(b'a' + number as u8)));
    info
}

/// A file's name without its flags, the flags, and the numbers of its keywords.
pub fn parse(file: &str) -> (&str, SystemFlags, Vec<usize>) {
    let (base, letters) = file.split_once(":2,").unwrap_or((file, ""));
    let mut flags = SystemFlags::NONE;
    let mut keywords = Vec::new();
    for letter in letters.chars() {
        if let Some((_, flag)) = LETTERS.iter().find(|(known, _)| *known == letter) {
            flags = flags | *flag;
        } else if letter.is_ascii_lowercase() {
            keywords.push((letter as u8 - b'a').into());
        }
    }
    (base, flags, keywords)
}

/// The keywords of a file [`KEYWORDS`], by their numbers; what is none of ours is left out.
pub fn keywords(file: &str) -> Vec<(usize, Keyword)> {
    let lines = file.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(number, name)| Some((number.parse().ok()?, name.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_directories_and_names_again() {
        for (name, path) in [
            ("INBOX", "/r/INBOX"),
            ("Año 2026/q 1", "/r/Año 2026/q 1"),
            ("../x", "/r/%2E./x"),
            ("a/cur", "/r/a/%63ur"),
            (".hidden/new/tmp", "/r/%2Ehidden/%6Eew/%74mp"),
            ("estafeta.json/dovecot-keywords", "/r/%65stafeta.json/%64ovecot-keywords"),
            ("estafeta.json.old", "/r/estafeta.json.old"),
        ] {
            assert_eq!(directory(Path::new("/r"), &name.parse().unwrap()), Path::new(path));
            let levels: Option<Vec<_>> = path[3..].split('/').map(level).collect();
            assert_eq!(levels.unwrap().join("/"), name);
        }
        assert_eq!((level("%"), level("%4"), level("%FF")), (None, None, None));
    }

    #[test]
    fn flags_become_letters_and_flags_again() {
        let flags = SystemFlags::SEEN | SystemFlags::DRAFT;
        assert_eq!(info(flags, [2, 0, 30].into_iter()), ":2,DSac");
        assert_eq!(parse("1.2.x:2,DSac"), ("1.2.x", flags, vec![0, 2]));
        assert_eq!(parse("1.2.x"), ("1.2.x", SystemFlags::NONE, vec![]));
        assert_eq!(parse("x:2,PZ"), ("x", SystemFlags::NONE, vec![]));
        let read = keywords("0 $Forwarded\n1 a b\nx y\n3 NonJunk\n");
        assert_eq!(
            read.iter().map(|(number, name)| (*number, name.as_str())).collect::<Vec<_>>(),
            [(0, "$Forwarded"), (3, "NonJunk")]
        );
    }
}
