//! ENABLE (RFC 5161 §3.1).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};

/// Extensions that the client asks to have switched on, in capitals. Those that the server does not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enable {
    /// Their names.
    pub capabilities: Vec<String>,
}

/// `enable = "ENABLE" 1*(SP capability)`, `capability = atom`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    let mut capabilities = Vec::new();
    cursor.space()?;
    loop {
        capabilities.push(String::from_utf8_lossy(cursor.atom()?).to_ascii_uppercase());
        if !cursor.take(b' ') || cursor.at_end() {
            return Ok(Request::Role(Command::Enable(Enable { capabilities })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn one_or_more() {
        let enable = |names: &[&str]| {
            let capabilities = names.iter().map(|name| (*name).to_owned()).collect();
            Some(Command::Enable(Enable { capabilities }))
        };
        assert_eq!(command("ENABLE CONDSTORE"), enable(&["CONDSTORE"]));
        assert_eq!(command("enable x-good utf8=accept"), enable(&["X-GOOD", "UTF8=ACCEPT"]));
        assert_eq!((command("ENABLE"), command("ENABLE ("), command("ENABLE a  b")), (None, None, None));
    }
}
