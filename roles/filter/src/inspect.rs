//! Everything that is found by looking at a message's own bytes: work for a thread that may block.

use estafeta_core::Message;

use crate::content::{Budget, File, Limits, Overrun, entity::Visitor, header, walk};
use crate::rules::{gtube, headers};
use crate::verdict::{Finding, Thresholds};
use crate::virus::builtin;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// The scores that GTUBE stands for.
    pub thresholds: Thresholds,
    /// How much work one message may cause.
    pub limits: Limits,
    /// Whether to look for viruses: not where clamd does.
    pub scan_files: bool,
}

impl Inspector {
    /// Inspects a message; `from_outside` when its sender did not authenticate. [`Overrun::Time`] alone is an error:
    /// every other bound is a finding.
    pub fn inspect(&self, message: &Message, from_outside: bool) -> Result<Vec<Finding>, Overrun> {
        // The prefix is whole header lines, so that the header section is the prefix and the one that the body begins with.
        let [prefix, body] = message.parts();
        let (head, text) = header::split(body);
        let mut findings = Vec::new();
        if from_outside {
            findings.extend(headers::check(&[prefix.as_ref(), head].concat()));
        }
        // Also as it stands in the bytes, whatever the MIME structure says of them.
        let mut look = Look { inspector: self, gtube: gtube::check(text, &self.thresholds), viruses: Vec::new() };
        let walked = walk(body, &mut Budget::new(&self.limits, message.len()), &mut look);
        findings.extend(look.gtube);
        findings.extend(look.viruses);
        match walked {
            Ok(()) => {}
            Err(Overrun::Time) => return Err(Overrun::Time),
            Err(overrun) => findings.extend(builtin::past_bounds(overrun)),
        }
        Ok(findings)
    }
}

/// What was seen so far while the files of a message pass by.
struct Look<'i> {
    inspector: &'i Inspector,
    gtube: Option<Finding>,
    viruses: Vec<Finding>,
}

impl Visitor for Look<'_> {
    fn visit(&mut self, file: &File<'_>, budget: &mut Budget) -> Result<(), Overrun> {
        if self.gtube.is_none() && file.is_text {
            self.gtube = gtube::check(file.bytes, &self.inspector.thresholds);
        }
        // One virus is enough to refuse a message.
        let refused = self.viruses.iter().any(|finding| finding.ruling.is_some());
        if self.inspector.scan_files && !refused {
            self.viruses.extend(builtin::scan(file, budget)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::archive::tests::archive;
    use crate::virus::eicar::tests::virus;
    use base64::Engine as _;
    use proptest::prelude::*;
    use std::time::Duration;

    fn symbols(message: impl Into<bytes::Bytes>) -> Vec<String> {
        let inspector = Inspector {
            thresholds: Thresholds { greylist: None, junk: 6.0, reject: 15.0 },
            limits: Limits {
                archive_depth: 4,
                archive_entries: 100,
                archive_bytes: 1 << 20,
                time: Duration::from_secs(60),
            },
            scan_files: true,
        };
        let findings = inspector.inspect(&Message::new(message.into()), false).unwrap();
        findings.into_iter().map(|finding| finding.symbol.name).collect()
    }

    fn base64(bytes: &[u8]) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
    }

    const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

    #[test]
    fn gtube_is_found_in_every_wrapping() {
        assert_eq!(symbols(format!("Subject: a\r\n\r\n{GTUBE}\r\n")), ["GTUBE"]);
        assert_eq!(
            symbols(format!("Content-Transfer-Encoding: base64\r\n\r\n{}", base64(GTUBE.as_bytes()))),
            ["GTUBE"]
        );
        let soft: String =
            GTUBE.as_bytes().chunks(20).map(|line| format!("{}=\r\n", String::from_utf8_lossy(line))).collect();
        assert_eq!(symbols(format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{soft}")), ["GTUBE"]);
        assert!(symbols(format!("Subject: {GTUBE}\r\n\r\nhello")).is_empty());
    }

    #[test]
    fn the_virus_is_found_in_base64_in_a_nested_multipart_and_in_a_zip() {
        let wrap = |bytes: &[u8]| {
            format!(
                "Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n\
            --inner\r\n\r\ntext\r\n--inner\r\nContent-Type: application/octet-stream; name=f\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
            --inner--\r\n--outer--\r\n",
                base64(bytes)
            )
        };
        assert_eq!(symbols(wrap(&virus())), ["VIRUS"]);
        assert_eq!(symbols(wrap(&archive(&[("eicar.com", &virus())]))), ["VIRUS"]);
        assert!(symbols(wrap(b"harmless")).is_empty());
    }

    #[test]
    fn the_virus_is_found_as_the_body_and_by_uuencode() {
        assert_eq!(symbols([b"Subject: a\r\n\r\n".to_vec(), virus(), b"\r\n".to_vec()].concat()), ["VIRUS"]);
        let lines: String = virus()
            .chunks(45)
            .map(|line| {
                let character = |bits: u8| char::from(if bits == 0 { b'`' } else { bits + b' ' });
                let groups: String = line
                    .chunks(3)
                    .flat_map(|group| {
                        let byte = |index: usize| group.get(index).copied().unwrap_or(0);
                        [
                            byte(0) >> 2,
                            (byte(0) & 3) << 4 | byte(1) >> 4,
                            (byte(1) & 15) << 2 | byte(2) >> 6,
                            byte(2) & 63,
                        ]
                        .map(character)
                    })
                    .collect();
                format!("{}{groups}\r\n", character(line.len() as u8))
            })
            .collect();
        assert_eq!(
            symbols(format!("Subject: a\r\n\r\nHello\r\nbegin 644 eicar.com\r\n{lines}`\r\nend\r\n")),
            ["VIRUS"]
        );
    }

    #[test]
    fn a_structure_past_its_bounds_is_refused() {
        assert_eq!(symbols("Content-Type: message/rfc822\r\n\r\n".repeat(100_000)), ["MIME_BOMB"]);
        let bomb = archive(&[("zeros", &vec![0; 3 << 20])]);
        let bomb =
            format!("Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", base64(&bomb));
        assert_eq!(symbols(bomb), ["ARCHIVE_BOMB"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_inspected(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
            let _ = symbols(bytes);
        }
    }
}
