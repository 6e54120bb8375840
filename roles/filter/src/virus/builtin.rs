//! The built-in scan: every file of a message, and every file in its archives, against the signatures that we know.
//!
//! It knows the test virus alone: it shows that mail is scanned, through every wrapping, and what cannot be looked into
//! is said. Real viruses are clamd's to find.

use estafeta_core::judge::Action;

use super::eicar;
use crate::content::{Budget, File, Overrun, archive};
use crate::verdict::Finding;

/// Scans one file.
pub fn scan(file: &File<'_>, budget: &mut Budget) -> Result<Vec<Finding>, Overrun> {
    if eicar::matches(file.bytes) {
        return Ok(vec![super::found(eicar::NAME).with(file.name)]);
    }
    if !archive::is_archive(file.bytes) {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    let mut show = |path: &str, prefix: &[u8]| {
        if findings.is_empty() && eicar::matches(prefix) {
            findings.push(super::found(eicar::NAME).with(path));
        }
    };
    let opaque = archive::walk(file.bytes, file.name, budget, &mut show)?;
    if opaque.encrypted {
        findings.push(Finding::new("ARCHIVE_ENCRYPTED", 2.0).with(file.name));
    }
    if opaque.unreadable {
        findings.push(Finding::new("ARCHIVE_UNREADABLE", 1.0).with(file.name));
    }
    Ok(findings)
}

/// What a message past a bound is judged to be; none for [`Overrun::Time`], which is no judgement.
pub fn past_bounds(overrun: Overrun) -> Option<Finding> {
    let symbol = match overrun {
        Overrun::Time => return None,
        overrun if overrun.is_archive() => "ARCHIVE_BOMB",
        _ => "MIME_BOMB",
    };
    let explanation = format!("Message refused: it cannot be scanned for viruses: {overrun}");
    Some(Finding::new(symbol, 0.0).with(overrun.to_string()).demands(Action::Reject, explanation))
}

#[cfg(test)]
mod tests {
    use super::super::eicar::tests::virus;
    use super::*;
    use crate::content::Limits;
    use crate::content::archive::tests::archive;
    use std::time::Duration;

    fn symbols(bytes: &[u8]) -> Vec<(String, Vec<String>)> {
        let limits =
            Limits { archive_depth: 4, archive_entries: 10, archive_bytes: 1 << 20, time: Duration::from_secs(60) };
        let file = File { name: "f", is_text: false, bytes };
        let findings = scan(&file, &mut Budget::new(&limits, bytes.len())).unwrap();
        findings.into_iter().map(|finding| (finding.symbol.name, finding.symbol.options)).collect()
    }

    #[test]
    fn the_virus_is_found_bare_and_in_archives() {
        let found = |path: &str| vec![("VIRUS".to_owned(), vec!["Eicar-Test-Signature".to_owned(), path.to_owned()])];
        assert_eq!(symbols(&virus()), found("f"));
        let single = archive(&[("readme", b"hello"), ("eicar.com", &virus())]);
        assert_eq!(symbols(&single), found("f/eicar.com"));
        let double = archive(&[("inner.zip", &single)]);
        assert_eq!(symbols(&double), found("f/inner.zip/eicar.com"));
        assert!(symbols(b"hello").is_empty());
    }

    #[test]
    fn a_broken_archive_is_said_and_no_virus() {
        assert_eq!(symbols(b"PK\x03\x04 nothing else"), [("ARCHIVE_UNREADABLE".to_owned(), vec!["f".to_owned()])]);
    }

    #[test]
    fn only_time_is_no_judgement() {
        assert_eq!(past_bounds(Overrun::Time), None);
        assert_eq!(past_bounds(Overrun::Ratio).unwrap().symbol.name, "ARCHIVE_BOMB");
        assert_eq!(past_bounds(Overrun::Depth).unwrap().symbol.name, "MIME_BOMB");
    }
}
