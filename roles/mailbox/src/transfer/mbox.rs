//! mbox: a file for each mailbox, its messages one behind the other, in the form mboxrd
//! (<https://www.loc.gov/preservation/digital/formats/fdd/fdd000385.shtml>; RFC 4155 for the line between them).
//!
//! A line of a message that begins with `From ` behind any number of `>` gets one `>` more, which is taken away again. Flags stand
//! in `Status`, `X-Status` and `X-Keywords`, as mutt, Pine and Dovecot have them; the date of receipt in the line between.
//!
//! Invariants: what this program wrote it reads again byte for byte. Its own four fields stand first in a message, in one
//! order, and only they are taken away; lines end with LF where every line of the text ends with CRLF, else they stay as
//! they are, and the ends of those four lines say which; the fourth tells whether the last line has no end.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

use estafeta_core::Message;
use estafeta_protocols::imap::types::{Date, DateTime};

use super::maildir;
use crate::store::{Keyword, MailboxName, SystemFlags};

/// How files end.
const SUFFIX: &str = ".mbox";

/// The longest piece of a line that is looked at, in bytes.
const PIECE_BYTES: u64 = 64 * 1024;

/// The fields of ours, in their order.
const FIELDS: [&str; 4] = ["Status:", "X-Status:", "X-Keywords:", "X-Open-End:"];

/// The letters of `Status` and of `X-Status`.
const LETTERS: [(char, SystemFlags); 5] = [
    ('R', SystemFlags::SEEN),
    ('A', SystemFlags::ANSWERED),
    ('F', SystemFlags::FLAGGED),
    ('D', SystemFlags::DELETED),
    ('T', SystemFlags::DRAFT),
];

/// Where a mailbox stands below `root`.
pub fn file(root: &Path, name: &MailboxName) -> PathBuf {
    let whole = maildir::directory(root, name);
    let levels: Vec<_> =
        whole.strip_prefix(root).unwrap_or(&whole).iter().map(|level| level.to_string_lossy()).collect();
    let mut path = root.to_owned();
    for (number, level) in levels.iter().enumerate() {
        path.push(match level.strip_suffix('x').filter(|_| level.ends_with(SUFFIX)) {
            _ if number + 1 == levels.len() => format!("{level}{SUFFIX}"),
            // Not the file of another mailbox.
            Some(start) => format!("{start}%78"),
            None => level.to_string(),
        });
    }
    path
}

/// The level of a name that a file stands for; none when it cannot be one.
pub fn level(file: &str) -> Option<String> {
    maildir::level(file.strip_suffix(SUFFIX).unwrap_or(file))
}

/// Whether a file is an mbox: it begins like one, or it is empty and called one.
pub fn is_one(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(5).read_to_end(&mut start)?;
    Ok(start == b"From " || start.is_empty() && path.to_string_lossy().ends_with(SUFFIX))
}

/// Writes a message that was received at `internal_date`, in seconds since 1970.
pub fn write(
    out: &mut impl Write,
    text: &Message,
    system: SystemFlags,
    keywords: &[&str],
    internal_date: i64,
) -> io::Result<()> {
    let parts = text.parts();
    let bare = |part: &[u8]| {
        let mut before = 0;
        part.iter().any(|byte| {
            *byte == b'\n' && before != b'\r' || {
                before = *byte;
                false
            }
        })
    };
    let bare = parts.iter().any(|part| bare(part));
    let end = if bare { "\r\n" } else { "\n" };
    let open = parts.iter().rev().find_map(|part| part.last()).is_some_and(|last| *last != b'\n');
    writeln!(out, "From {} {}", sender(parts.first().map_or(&[], |first| first)), asctime(internal_date))?;
    let letters = |of: &[usize]| -> String {
        of.iter()
            .map(|number| LETTERS[*number])
            .filter(|(_, flag)| system.contains(*flag))
            .map(|(letter, _)| letter)
            .collect()
    };
    // O: a mail program has seen that it is there.
    let values =
        [letters(&[0]) + "O", letters(&[1, 2, 3, 4]), keywords.join(" "), if open { "yes" } else { "no" }.to_owned()];
    for (name, value) in FIELDS.iter().zip(values) {
        write!(out, "{name} {value}{end}")?;
    }
    for part in parts {
        for line in part.split_inclusive(|byte| *byte == b'\n') {
            if is_quoted(line) {
                out.write_all(b">")?;
            }
            match line.strip_suffix(b"\r\n").filter(|_| !bare) {
                Some(line) => out.write_all(line).and_then(|()| out.write_all(b"\n"))?,
                None => out.write_all(line)?,
            }
        }
    }
    out.write_all(if open { b"\n\n" } else { b"\n" })
}

/// Whether a line is `From ` behind any number of `>`.
fn is_quoted(line: &[u8]) -> bool {
    line[line.iter().take_while(|byte| **byte == b'>').count()..].starts_with(b"From ")
}

/// Whom a message came from, by its first line if that is the Return-Path of a delivery.
fn sender(text: &[u8]) -> &str {
    let path = text.strip_prefix(b"Return-Path: <").and_then(|rest| rest.split(|byte| *byte == b'>').next());
    let path = path.and_then(|path| std::str::from_utf8(path).ok());
    path.filter(|path| !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic())).unwrap_or("MAILER-DAEMON")
}

/// `Thu Jan  1 00:00:00 1970`, in UTC (RFC 4155 appendix A).
fn asctime(unix_seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let weekday = DAYS[unix_seconds.div_euclid(86_400).rem_euclid(7) as usize];
    let date = DateTime::from_unix_seconds(unix_seconds).date().to_string();
    let mut fields = date.split('-');
    let (day, month, year) =
        (fields.next().unwrap_or_default(), fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let of_day = unix_seconds.rem_euclid(86_400);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{weekday} {month} {day:>2} {:02}:{:02}:{:02} {year}",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    );
    text
}

/// The moment of a line `From sender date`: as [`asctime`] writes it, with a zone before or behind the year, as others do. None
/// when it is no such line.
fn received(line: &[u8]) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let line = std::str::from_utf8(line.strip_prefix(b"From ")?).ok()?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().rposition(|word| MONTHS.contains(word))?;
    let month = u8::try_from(MONTHS.iter().position(|month| *month == words[at])?).ok()? + 1;
    let day = words.get(at + 1)?.parse().ok()?;
    let mut time = words
        .get(at + 2)?
        .split(':')
        .map(|number| number.parse::<i64>().ok().filter(|number| (0..61).contains(number)));
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next().unwrap_or(Some(0))?);
    let rest = words.get(at + 3..)?;
    let year = rest.iter().find(|word| word.len() == 4).and_then(|word| word.parse().ok())?;
    let zone = rest.iter().find_map(|word| offset_minutes(word)).unwrap_or(0);
    let days = Date::new(year, month, day)?.days_since_epoch();
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds - zone * 60)
}

/// `+0130` as minutes.
fn offset_minutes(word: &str) -> Option<i64> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i64 = (digits.len() == 4).then(|| digits.parse().ok())??;
    Some(sign * (number / 100 * 60 + number % 100))
}

/// A message of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its text; empty when it is longer than the limit.
    pub text: Vec<u8>,
    /// Its system flags.
    pub system: SystemFlags,
    /// Its keywords; what is none of ours is left out.
    pub keywords: Vec<Keyword>,
    /// When it was received, in seconds since 1970.
    pub received: i64,
}

/// The messages of a file, one at a time.
pub struct Reader<R> {
    input: R,
    limit_bytes: usize,
    /// The line before the next message, once it is read.
    next: Option<i64>,
    begun: bool,
}

impl<R: BufRead> Reader<R> {
    /// Of this file; texts longer than `limit_bytes` are passed over.
    pub fn new(input: R, limit_bytes: usize) -> Self {
        Self { input, limit_bytes, next: None, begun: false }
    }

    /// Reads a line, or a piece of a long one.
    fn piece(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        into.clear();
        Ok((&mut self.input).take(PIECE_BYTES).read_until(b'\n', into)? > 0)
    }

    /// The next message; none at the end. What stands before the first is passed over.
    pub fn read(&mut self) -> io::Result<Option<Entry>> {
        let mut line = Vec::new();
        while !self.begun && self.piece(&mut line)? {
            self.next = received(&line);
            self.begun = self.next.is_some();
        }
        let Some(moment) = self.next.take() else { return Ok(None) };
        let (mut text, mut too_long, mut at_start, mut after_blank) = (Vec::new(), false, true, false);
        while self.piece(&mut line)? {
            if at_start
                && after_blank
                && let Some(next) = received(&line)
            {
                self.next = Some(next);
                break;
            }
            after_blank = at_start && matches!(&line[..], b"\n" | b"\r\n");
            let kept = if at_start && line[0] == b'>' && is_quoted(&line) { &line[1..] } else { &line[..] };
            at_start = line.ends_with(b"\n");
            // The fields of ours and the empty line at the end do not count, but bounded it is.
            too_long |= text.len() + kept.len() > self.limit_bytes.saturating_add(PIECE_BYTES as usize);
            if too_long {
                text = Vec::new();
            } else {
                text.extend_from_slice(kept);
            }
        }
        // The empty line between two messages.
        if text.ends_with(b"\n\n") || text == b"\n" {
            text.pop();
        } else if text.ends_with(b"\n\r\n") {
            text.truncate(text.len() - 2);
        }
        Ok(Some(entry(&text, moment)))
    }
}

/// A message as it stands in the file, without the quoting.
fn entry(text: &[u8], received: i64) -> Entry {
    let mut entry = Entry { received, ..Entry::default() };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let own: Vec<&[u8]> = lines.by_ref().take(FIELDS.len()).collect();
    if own.len() == FIELDS.len() && FIELDS.iter().zip(&own).all(|(name, line)| line.starts_with(name.as_bytes())) {
        for line in &own {
            mark(&mut entry, line);
        }
        let mut rest = &text[own.iter().map(|line| line.len()).sum()..];
        if own[3].trim_ascii_end().ends_with(b"yes") {
            rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        }
        match own[0].ends_with(b"\r\n") {
            true => entry.text.extend_from_slice(rest),
            false => with_crlf_each(rest, &mut entry.text),
        }
        return entry;
    }
    let mut in_header = true;
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        in_header &= !line.trim_ascii_end().is_empty();
        if !(in_header && mark(&mut entry, line)) {
            kept.extend_from_slice(line);
        }
    }
    entry.text = super::import::with_crlf(kept).into();
    entry
}

/// Takes a field that tells flags. False when it is another.
fn mark(entry: &mut Entry, line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let (name, value) = (&line[..colon], String::from_utf8_lossy(&line[colon + 1..]));
    if name.eq_ignore_ascii_case(b"Status") || name.eq_ignore_ascii_case(b"X-Status") {
        let flags = LETTERS.iter().filter(|(letter, _)| value.contains(*letter));
        entry.system = flags.fold(entry.system, |all, (_, flag)| all | *flag);
        return true;
    }
    if name.eq_ignore_ascii_case(b"X-Keywords") {
        entry.keywords.extend(value.split_ascii_whitespace().filter_map(|keyword| keyword.parse().ok()));
        return true;
    }
    false
}

fn with_crlf_each(text: &[u8], into: &mut Vec<u8>) {
    into.reserve(text.len() + text.len() / 32);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => into.extend([line, b"\r\n"].concat()),
            None => into.extend_from_slice(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &[u8]) -> Vec<Entry> {
        let mut reader = Reader::new(file, 1_000_000);
        std::iter::from_fn(|| reader.read().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            texts in prop::collection::vec(
                ("(Return-Path: <a@b>\r\n)?", "(From |>|\r|\n|\r\n|x|Status: R\r\n|X-Status:\n|X-Keywords: \r\n|X-Open-End: yes\r\n){0,12}"),
                0..4,
            ),
            date in -1_000_000_000i64..4_000_000_000,
        ) {
            let mut file = Vec::new();
            let system = SystemFlags::SEEN | SystemFlags::DRAFT;
            for (prefix, body) in &texts {
                let text = Message::new(body.clone().into()).with_prefix(prefix.clone());
                write(&mut file, &text, system, &["$Forwarded", "a"], date).unwrap();
            }
            let read = read(&file);
            prop_assert_eq!(read.len(), texts.len());
            for (entry, (prefix, body)) in read.iter().zip(&texts) {
                prop_assert_eq!(String::from_utf8_lossy(&entry.text), format!("{prefix}{body}"));
                prop_assert_eq!((entry.system, entry.received), (system, date));
                prop_assert_eq!(entry.keywords.len(), 2);
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(file in prop::collection::vec(any::<u8>(), 0..2000)) {
            read(&file);
            read(&[b"From a Thu Jan  1 00:00:00 1970\n", &file[..]].concat());
        }
    }

    #[test]
    fn files_of_other_programs() {
        let file = b"From ana@example.edu Tue Feb  1 21:52:25 2022 +0100\nSubject: 1\nStatus: RO\nX-Status: F\nX-Keywords: work  \n\
            \n>From here\nFrom where\n\nFrom now on\n\nFrom - Tue Feb 01 21:52:25 MET 2022\r\nSubject: 2\r\n\r\nx\r\n\r\n";
        let read = read(file);
        assert_eq!(read.len(), 2, "{read:?}");
        assert_eq!(read[0].text, b"Subject: 1\r\n\r\nFrom here\r\nFrom where\r\n\r\nFrom now on\r\n");
        assert_eq!((read[0].system, read[0].received), (SystemFlags::SEEN | SystemFlags::FLAGGED, 1_643_748_745));
        assert_eq!(read[0].keywords[0].as_str(), "work");
        assert_eq!((&read[1].text[..], read[1].received), (&b"Subject: 2\r\n\r\nx\r\n"[..], 1_643_752_345));
    }

    #[test]
    fn one_that_is_too_long_is_passed_over() {
        let text = |size| Message::new("x".repeat(size).into());
        let mut file = Vec::new();
        for size in [300_000, 10] {
            write(&mut file, &text(size), SystemFlags::NONE, &[], 0).unwrap();
        }
        let mut reader = Reader::new(&file[..], 100_000);
        assert_eq!(reader.read().unwrap().unwrap().text, b"");
        assert_eq!(reader.read().unwrap().unwrap().text, b"x".repeat(10));
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn names_become_files_and_names_again() {
        for (name, path) in [
            ("INBOX", "/r/INBOX.mbox"),
            ("a/b", "/r/a/b.mbox"),
            ("a.mbox/b", "/r/a.mbo%78/b.mbox"),
            ("a.mbox", "/r/a.mbox.mbox"),
            ("../x", "/r/%2E./x.mbox"),
        ] {
            assert_eq!(file(Path::new("/r"), &name.parse().unwrap()), Path::new(path));
        }
        assert_eq!((level("a.mbox.mbox").unwrap().as_str(), level("%2E..mbox").unwrap().as_str()), ("a.mbox", ".."));
    }
}
