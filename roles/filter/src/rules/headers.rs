//! What an honest mail program never forgets (RFC 5322 §3.6). Names and weights are rspamd's.

use crate::content::header::fields;
use crate::verdict::Finding;

/// Judges a header section.
pub fn check(head: &[u8]) -> Vec<Finding> {
    let count = |name: &str| fields(head).filter(|field| field.is(name)).count();
    let mut findings = Vec::new();
    for (name, symbol, score) in
        [("Date", "MISSING_DATE", 1.0), ("Message-ID", "MISSING_MID", 2.5), ("From", "MISSING_FROM", 2.0)]
    {
        if count(name) == 0 {
            findings.push(Finding::new(symbol, score));
        }
    }
    if ["To", "Cc", "Bcc"].iter().all(|name| count(name) == 0) {
        findings.push(Finding::new("MISSING_TO", 2.0));
    }
    if count("From") > 1 {
        findings.push(Finding::new("MULTIPLE_FROM", 8.0));
    }
    // Clients differ in which one they show, and DKIM in which one it signs.
    let repeated: Vec<_> = ONCE.iter().filter(|(name, _)| count(name) > 1).collect();
    if let Some(score) = repeated.iter().map(|(_, score)| *score).reduce(f64::max) {
        let finding = Finding::new("MULTIPLE_UNIQUE_HEADERS", score);
        findings.push(repeated.into_iter().fold(finding, |finding, (name, _)| finding.with(*name)));
    }
    findings
}

/// What may stand only once (RFC 5322 §3.6), and how much a second one weighs: little where honest programs are
/// careless. `From` has a rule of its own.
const ONCE: [(&str, f64); 8] = [
    ("Date", 0.7),
    ("Message-ID", 4.9),
    ("To", 1.4),
    ("Cc", 0.7),
    ("Subject", 4.9),
    ("Reply-To", 7.0),
    ("Sender", 7.0),
    ("Content-Type", 7.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(head: &str) -> Vec<String> {
        check(head.as_bytes()).into_iter().map(|finding| finding.symbol.name).collect()
    }

    #[test]
    fn a_complete_header_is_clean() {
        assert!(names("From: a@b.es\r\nTo: c@d.es\r\nDate: x\r\nMessage-ID: <a@b>\r\n\r\n").is_empty());
        assert!(names("From: a@b.es\r\nBcc: c@d.es\r\ndate: x\r\nMessage-Id: <a@b>\r\n\r\n").is_empty());
    }

    #[test]
    fn what_is_missing_or_doubled_is_named() {
        assert_eq!(names(""), ["MISSING_DATE", "MISSING_MID", "MISSING_FROM", "MISSING_TO"]);
        let doubled = "From: a\r\nFrom: b\r\nTo: c\r\nDate: x\r\nDate: y\r\nMessage-ID: <a@b>\r\n";
        assert_eq!(names(doubled), ["MULTIPLE_FROM", "MULTIPLE_UNIQUE_HEADERS"]);
        let symbol = &check(b"Date: x\r\nDate: y\r\nDate: z\r\nSubject: a\r\nsubject: b\r\n").pop().unwrap().symbol;
        assert_eq!((symbol.score, symbol.options.join(",")), (4.9, "Date,Subject".to_owned()));
    }
}
