//! What a client may ask: the table of commands, and their arguments.

use std::net::IpAddr;

use crate::sasl::Password;

/// A message's number in the session, as the client gave it: at least 1. A number beyond any mailbox is as large as can
/// be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(std::num::NonZeroU32);

impl MessageNumber {
    /// The number, unless it is 0.
    pub fn new(number: u32) -> Option<Self> {
        std::num::NonZeroU32::new(number).map(Self)
    }

    /// From 1.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// From 0.
    pub fn index(self) -> usize {
        self.get() as usize - 1
    }
}

/// What a client asks of an open mailbox (RFC 1939 §5–§7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// How many messages, and their size together.
    Stat,
    /// The size of one message, or of each.
    List(Option<MessageNumber>),
    /// A message.
    Retr(MessageNumber),
    /// Marks a message as deleted.
    Dele(MessageNumber),
    /// Takes all marks back.
    Rset,
    /// A message's header and some lines of its body.
    Top {
        /// Which.
        message: MessageNumber,
        /// How many lines of its body.
        lines: u32,
    },
    /// The lasting identifier of one message, or of each.
    Uidl(Option<MessageNumber>),
    /// Removes what is marked, and ends.
    Quit,
}

/// Who a relay speaks for (XCLIENT, as Dovecot understands it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's port.
    pub port: Option<u16>,
}

/// What the machine makes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Capa,
    Noop,
    Stls,
    /// QUIT before the login.
    Leave,
    User(String),
    Pass(Password),
    /// The mechanism's name, none to ask for their list; and the initial response, in base64.
    Auth {
        mechanism: Option<Vec<u8>>,
        initial: Option<Vec<u8>>,
    },
    Xclient(Origin),
    /// RFC 6856 §2
    Utf8,
    /// RFC 6856 §3: a language's tag, none to ask for the list.
    Lang(Option<Vec<u8>>),
    Role(Command),
}

/// Why a line is refused.
pub(super) type Refusal = &'static str;

type Parse = fn(&[u8]) -> Result<Request, Refusal>;

/// A command: its name, and how its argument is read before the login and after it. None where it is not allowed.
struct Row {
    name: &'static str,
    authorization: Option<Parse>,
    transaction: Option<Parse>,
}

const fn before(name: &'static str, parse: Parse) -> Row {
    Row { name, authorization: Some(parse), transaction: None }
}

const fn after(name: &'static str, parse: Parse) -> Row {
    Row { name, authorization: None, transaction: Some(parse) }
}

const ROWS: [Row; 17] = [
    before("USER", |argument| text(argument).map(|name| Request::User(name.trim().to_owned()))),
    before("PASS", |argument| text(argument).map(|password| Request::Pass(Password::new(password.to_owned())))),
    before("AUTH", auth),
    before("STLS", |argument| nothing(argument, Request::Stls)),
    before("XCLIENT", xclient),
    before("UTF8", |argument| nothing(argument, Request::Utf8)),
    after("STAT", |argument| nothing(argument, Request::Role(Command::Stat))),
    after("LIST", |argument| optional_number(argument).map(|message| Request::Role(Command::List(message)))),
    after("RETR", |argument| number(argument).map(|message| Request::Role(Command::Retr(message)))),
    after("DELE", |argument| number(argument).map(|message| Request::Role(Command::Dele(message)))),
    after("NOOP", |argument| nothing(argument, Request::Noop)),
    after("RSET", |argument| nothing(argument, Request::Role(Command::Rset))),
    after("TOP", top),
    after("UIDL", |argument| optional_number(argument).map(|message| Request::Role(Command::Uidl(message)))),
    Row {
        name: "CAPA",
        authorization: Some(|argument| nothing(argument, Request::Capa)),
        transaction: Some(|argument| nothing(argument, Request::Capa)),
    },
    Row { name: "LANG", authorization: Some(lang), transaction: Some(lang) },
    Row {
        name: "QUIT",
        authorization: Some(|argument| nothing(argument, Request::Leave)),
        transaction: Some(|argument| nothing(argument, Request::Role(Command::Quit))),
    },
];

/// Reads a line without its end: a keyword in any case, and behind one space its argument (RFC 1939 §3).
pub(super) fn parse(line: &[u8], authenticated: bool) -> Result<Request, Refusal> {
    let keyword_bytes = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (keyword, argument) = line.split_at(keyword_bytes);
    let argument = argument.strip_prefix(b" ").unwrap_or_default();
    let row = ROWS.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(keyword)).ok_or("Unknown command")?;
    let parse = match authenticated {
        false => row.authorization.ok_or("Log in first")?,
        true => row.transaction.ok_or("Already logged in")?,
    };
    parse(argument)
}

fn words(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

fn nothing(argument: &[u8], request: Request) -> Result<Request, Refusal> {
    if words(argument).next().is_some() { Err("Unexpected argument") } else { Ok(request) }
}

/// Names and passwords may hold spaces (RFC 1939 §7, PASS), and are UTF-8 where they are not ASCII.
fn text(argument: &[u8]) -> Result<&str, Refusal> {
    match std::str::from_utf8(argument) {
        Ok(text) if text.contains('\0') => Err("Argument holds a NUL"),
        Ok(text) if !text.trim().is_empty() => Ok(text),
        Ok(_) => Err("Argument missing"),
        Err(_) => Err("Argument is not UTF-8"),
    }
}

/// A number of any length; one that is too large for us is as large as can be.
fn decimal(word: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    word.iter().try_fold(0_u32, |number, byte| Some(number.saturating_mul(10).saturating_add(digit(byte)?)))
}

fn optional_number(argument: &[u8]) -> Result<Option<MessageNumber>, Refusal> {
    let mut words = words(argument);
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some(word), None) => {
            let number = decimal(word).ok_or("Expected a message number")?;
            MessageNumber::new(number).map(Some).ok_or("Messages are numbered from 1")
        }
        (Some(_), Some(_)) => Err("Unexpected argument"),
    }
}

fn number(argument: &[u8]) -> Result<MessageNumber, Refusal> {
    optional_number(argument)?.ok_or("Expected a message number")
}

/// `TOP msg n` (RFC 1939 §7)
fn top(argument: &[u8]) -> Result<Request, Refusal> {
    let mut words = words(argument);
    let (Some(message), Some(lines), None) = (words.next(), words.next(), words.next()) else {
        return Err("Expected a message number and a number of lines");
    };
    let lines = decimal(lines).ok_or("Expected a number of lines")?;
    Ok(Request::Role(Command::Top { message: number(message)?, lines }))
}

/// `AUTH mechanism [initial-response]` (RFC 5034 §4)
fn auth(argument: &[u8]) -> Result<Request, Refusal> {
    let mut words = words(argument).map(<[u8]>::to_vec);
    let (mechanism, initial) = (words.next(), words.next());
    if words.next().is_some() { Err("Unexpected argument") } else { Ok(Request::Auth { mechanism, initial }) }
}

/// `LANG [language-range]` (RFC 6856 §3)
fn lang(argument: &[u8]) -> Result<Request, Refusal> {
    let mut words = words(argument).map(<[u8]>::to_vec);
    let range = words.next();
    if words.next().is_some() { Err("Unexpected argument") } else { Ok(Request::Lang(range)) }
}

/// `XCLIENT *(keyword "=" value)`; keywords that we do not know are passed over, as Dovecot does.
fn xclient(argument: &[u8]) -> Result<Request, Refusal> {
    let mut origin = Origin { address: None, port: None };
    for word in words(argument) {
        let word = std::str::from_utf8(word).map_err(|_| "Argument is not UTF-8")?;
        let (keyword, value) = word.split_once('=').ok_or("Expected KEYWORD=VALUE")?;
        if keyword.eq_ignore_ascii_case("ADDR") {
            origin.address = Some(value.parse().map_err(|_| "Invalid address")?);
        } else if keyword.eq_ignore_ascii_case("PORT") {
            origin.port = Some(value.parse().map_err(|_| "Invalid port")?);
        }
    }
    if origin == (Origin { address: None, port: None }) {
        Err("Expected ADDR= or PORT=")
    } else {
        Ok(Request::Xclient(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> MessageNumber {
        MessageNumber::new(number).unwrap()
    }

    #[test]
    fn commands() {
        for (line, expected) in [
            ("STAT", Command::Stat),
            ("stat ", Command::Stat),
            ("LIST", Command::List(None)),
            ("List 2", Command::List(Some(message(2)))),
            ("RETR 007", Command::Retr(message(7))),
            ("DELE 99999999999999999999", Command::Dele(message(u32::MAX))),
            ("RSET", Command::Rset),
            ("TOP 1 0", Command::Top { message: message(1), lines: 0 }),
            ("TOP  3  99999999999", Command::Top { message: message(3), lines: u32::MAX }),
            ("UIDL", Command::Uidl(None)),
            ("UIDL 5", Command::Uidl(Some(message(5)))),
            ("QUIT", Command::Quit),
        ] {
            assert_eq!(parse(line.as_bytes(), true), Ok(Request::Role(expected)), "{line}");
        }
        assert_eq!(parse(b"PASS  two words ", false), Ok(Request::Pass(Password::new(" two words ".to_owned()))));
        assert_eq!(parse("USER añá ".as_bytes(), false), Ok(Request::User("añá".to_owned())));
        assert_eq!(parse(b"AUTH", false), Ok(Request::Auth { mechanism: None, initial: None }));
        assert_eq!(
            parse(b"auth plain =", false),
            Ok(Request::Auth { mechanism: Some(b"plain".to_vec()), initial: Some(b"=".to_vec()) })
        );
        assert_eq!(
            parse(b"XCLIENT ADDR=::1 port=110 SESSION=abc TTL=5", false),
            Ok(Request::Xclient(Origin { address: Some("::1".parse().unwrap()), port: Some(110) }))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            " ",
            "FROB",
            "STAT 1",
            "LIST -1",
            "LIST 0",
            "LIST 1 2",
            "RETR",
            "RETR x",
            "RETR 1x",
            "DELE 1 2",
            "TOP 1",
            "TOP 1 -1",
            "TOP x 1",
            "TOP 0 1",
            "TOP 1 2 3",
            "UIDL 0",
            "NOOP x",
            "QUIT now",
            "STAT\t",
            "\0",
            "STATS",
            "APOP a b",
        ] {
            assert!(parse(line.as_bytes(), true).is_err(), "{line:?}");
        }
        for line in [
            &b"USER"[..],
            b"USER  ",
            b"USER \xff",
            b"USER a\0b",
            b"PASS",
            b"PASS ",
            b"AUTH PLAIN = x",
            b"STLS now",
            b"XCLIENT",
            b"XCLIENT ADDR",
            b"XCLIENT ADDR=x",
            b"XCLIENT PORT=65536",
            b"XCLIENT TTL=5",
            b"CAPA x",
            b"QUIT 1",
        ] {
            assert!(parse(line, false).is_err(), "{line:?}");
        }
        assert_eq!(parse(b"STAT", false), Err("Log in first"));
        assert_eq!(parse(b"USER ana", true), Err("Already logged in"));
    }
}
