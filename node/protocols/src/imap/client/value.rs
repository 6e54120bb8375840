//! What a response is made of: atoms, strings, and lists of these in each other.

use bytes::Bytes;

/// How deep lists may lie in each other.
const LEVELS: usize = 32;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An atom, a number, a flag, NIL, or the name of a section with all that stands in its brackets.
    Atom(Bytes),
    /// A quoted string or a literal.
    Text(Bytes),
    /// A literal of so many bytes, which were handed on before.
    Large(u64),
    /// A list in parentheses.
    List(Vec<Value>),
}

impl Value {
    /// Whether it is this atom, in any case.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The bytes of an atom or a string; none of NIL.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Atom(_) if self.is("NIL") => None,
            Self::Atom(bytes) | Self::Text(bytes) => Some(bytes),
            Self::Large(_) | Self::List(_) => None,
        }
    }

    /// The number that an atom writes.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Atom(atom) if !atom.is_empty() => crate::imap::cursor::decimal(atom),
            _ => None,
        }
    }

    /// The values of a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// The values of a response; `literals` are those whose places its lines' ends mark, in order.
pub(super) fn parse(text: &[u8], literals: Vec<Value>) -> Option<Vec<Value>> {
    let mut literals = literals.into_iter();
    let mut lists: Vec<Vec<Value>> = vec![Vec::new()];
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' => at += 1,
            b'(' => {
                if lists.len() > LEVELS {
                    return None;
                }
                lists.push(Vec::new());
                at += 1;
            }
            b')' => {
                let list = lists.pop()?;
                lists.last_mut()?.push(Value::List(list));
                at += 1;
            }
            b'"' => {
                let (string, behind) = quoted(text, at + 1)?;
                lists.last_mut()?.push(Value::Text(string.into()));
                at = behind;
            }
            _ => {
                let end = atom_end(text, at);
                // Only before a literal does a line end inside of a response.
                if text[end..].starts_with(b"\r\n") {
                    lists.last_mut()?.push(literals.next()?);
                    at = end + 2;
                } else {
                    lists.last_mut()?.push(Value::Atom(Bytes::copy_from_slice(&text[at..end])));
                    at = end;
                }
                if end == at && text.get(at).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                    return None;
                }
            }
        }
    }
    let values = lists.pop()?;
    lists.is_empty().then_some(values)
}

/// A quoted string from behind its first quote on, and where it ends.
fn quoted(text: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut string = Vec::new();
    loop {
        match text.get(at)? {
            b'"' => return Some((string, at + 1)),
            b'\\' => {
                string.push(*text.get(at + 1)?);
                at += 2;
            }
            b'\r' | b'\n' => return None,
            byte => {
                string.push(*byte);
                at += 1;
            }
        }
    }
}

/// Where an atom ends. What stands in brackets belongs to it (`BODY[HEADER.FIELDS (TO)]`).
fn atom_end(text: &[u8], begin: usize) -> usize {
    let mut in_brackets = false;
    for (at, byte) in text.iter().enumerate().skip(begin) {
        match byte {
            b'[' => in_brackets = true,
            b']' => in_brackets = false,
            b'\r' | b'\n' => return at,
            b' ' | b'(' | b')' | b'"' if !in_brackets => return at,
            _ => {}
        }
    }
    text.len()
}
