//! ID (RFC 2971 §3.1).

use super::{Command, Request};
use crate::imap::cursor::{Cursor, Refusal};

/// RFC 2971 §3.3: no more than 30 pairs, names of 30 bytes, values of 1024.
const PAIRS: usize = 30;
const VALUE_BYTES: usize = 1024;

/// What the client says of itself: never a reason to treat it otherwise, except from an access node of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Id {
    /// Names in lower case, and their values.
    pub parameters: Vec<(String, Option<String>)>,
}

impl Id {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(one, _)| one == name)?.1.as_deref()
    }
}

/// `id = "ID" SP ("(" *(string SP nstring) ")" / nil)`
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
    cursor.space()?;
    let mut parameters = Vec::new();
    if !cursor.take_word(b"NIL") {
        cursor.expect(b'(')?;
        while !cursor.take(b')') {
            if !parameters.is_empty() {
                cursor.space()?;
            }
            let name = cursor.optional_text()?.ok_or(Refusal::Bad("Expected a name"))?.to_ascii_lowercase();
            cursor.space()?;
            let value = cursor.optional_text()?;
            if parameters.len() == PAIRS || value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES) {
                return Err(Refusal::Bad("ID too long"));
            }
            parameters.push((name, value));
        }
    }
    Ok(Request::Role(Command::Id(Id { parameters })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::tests::command;

    #[test]
    fn pairs() {
        let Some(Command::Id(id)) = command("ID (\"Name\" \"sodr\" \"version\" NIL)") else { panic!() };
        assert_eq!((id.get("name"), id.get("version"), id.parameters.len()), (Some("sodr"), None, 2));
        assert_eq!(command("ID NIL"), Some(Command::Id(Id::default())));
        assert_eq!(command("ID ()"), Some(Command::Id(Id::default())));
        // Said in whatever charset, it is no reason to refuse the client.
        let request = crate::imap::command::tests::request(b"ID (\"os\" {2}\r\nA\xf1)");
        let Ok(super::Request::Role(Command::Id(id))) = request else { panic!("{request:?}") };
        assert_eq!(id.get("os"), Some("A\u{fffd}"));
        let many = "\"a\" \"b\" ".repeat(PAIRS + 1);
        for line in ["ID", "ID (\"a\")", "ID (\"a\" \"b\"", "ID (NIL \"b\")", "ID a", &format!("ID ({})", many.trim())]
        {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
