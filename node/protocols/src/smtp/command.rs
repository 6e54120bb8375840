//! One command line, taken apart (RFC 5321 §4.1.1).
//!
//! Invariant: a line with a control character, or with 8-bit bytes that are not UTF-8, is no command.

use super::parameters::{MailParameters, RecipientParameters};
use super::path::{ForwardPath, PathError, ReversePath};
use super::reply::{Enhanced, Reply};
use super::server::{Mail, Recipient};

const UNKNOWN: Reply = Reply::known(500, Enhanced(5, 5, 1), "Command not recognised");
const CHARACTERS: Reply = Reply::known(500, Enhanced(5, 5, 2), "Character not allowed in a command");
const ARGUMENT: Reply = Reply::known(501, Enhanced(5, 5, 4), "Argument missing or not understood");
const NO_ARGUMENT: Reply = Reply::known(501, Enhanced(5, 5, 4), "This command takes no argument");

/// The longest name that a client may greet with, in bytes.
const NAME_LIMIT_BYTES: usize = 255;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Hello {
        verb: HelloVerb,
        name: String,
    },
    Mail(Mail),
    Recipient(Recipient),
    Data,
    /// `BDAT size [LAST]` (RFC 3030 §2).
    Chunk {
        size_bytes: u64,
        last: bool,
    },
    Reset,
    NoOperation,
    Verify,
    Expand,
    Help,
    StartTls,
    Authenticate {
        mechanism: String,
        initial: Option<String>,
    },
    Quit,
    /// What only a web browser says, or what makes one say SMTP.
    OtherProtocol,
}

/// How a client says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HelloVerb {
    Helo,
    Ehlo,
    Lhlo,
}

/// Which extensions of the path commands are offered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    pub(super) dsn: bool,
    pub(super) auth: bool,
}

/// Takes a line without its end apart; the refusal says what is wrong with it.
pub(super) fn parse(line: &[u8], offered: Offered) -> Result<Command, Reply> {
    if line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(CHARACTERS);
    }
    let line = std::str::from_utf8(line).map_err(|_| CHARACTERS)?.trim_end_matches([' ', '\t']);
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let bare = |command| if argument.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => hello(HelloVerb::Helo, argument),
        "EHLO" => hello(HelloVerb::Ehlo, argument),
        "LHLO" => hello(HelloVerb::Lhlo, argument),
        "MAIL" => mail(path_argument(argument, "FROM:")?, offered),
        "RCPT" => recipient(path_argument(argument, "TO:")?, offered),
        "DATA" => bare(Command::Data),
        "BDAT" => chunk(argument),
        "RSET" => bare(Command::Reset),
        "NOOP" => Ok(Command::NoOperation),
        "VRFY" => Ok(Command::Verify),
        "EXPN" => Ok(Command::Expand),
        "HELP" => Ok(Command::Help),
        "STARTTLS" => bare(Command::StartTls),
        "AUTH" => authenticate(argument),
        "QUIT" => bare(Command::Quit),
        "GET" | "POST" | "PUT" | "OPTIONS" | "CONNECT" => Ok(Command::OtherProtocol),
        _ => Err(UNKNOWN),
    }
}

fn hello(verb: HelloVerb, argument: &str) -> Result<Command, Reply> {
    // Many clients greet with a name that is no domain (an underscore, a bare host): RFC 5321 §4.1.4 asks not to
    // refuse for what cannot be verified, so only its shape is looked at. What follows the name is ignored.
    let name = argument.split([' ', '\t']).next().unwrap_or_default();
    if name.is_empty() || name.len() > NAME_LIMIT_BYTES {
        return Err(ARGUMENT);
    }
    Ok(Command::Hello { verb, name: name.to_owned() })
}

/// Skips `FROM:` or `TO:`. A space before the path is not in the grammar, but is common.
fn path_argument<'a>(argument: &'a str, keyword: &str) -> Result<&'a str, Reply> {
    let (head, path) = argument.split_at_checked(keyword.len()).ok_or(ARGUMENT)?;
    if head.eq_ignore_ascii_case(keyword) { Ok(path.trim_start_matches(' ')) } else { Err(ARGUMENT) }
}

fn mail(path: &str, offered: Offered) -> Result<Command, Reply> {
    // RFC 3463 §3.2: X.1.7 bad sender's mailbox address syntax.
    let (sender, rest) = ReversePath::read(path).map_err(|error| bad_path(Enhanced(5, 1, 7), error))?;
    let parameters = MailParameters::read(rest, offered.dsn, offered.auth)?;
    let MailParameters { size_bytes, eight_bit, smtputf8, envelope_id } = parameters;
    Ok(Command::Mail(Mail { sender, size_bytes, eight_bit, smtputf8, envelope_id }))
}

fn recipient(path: &str, offered: Offered) -> Result<Command, Reply> {
    // RFC 3463 §3.2: X.1.3 bad destination mailbox address syntax.
    let (path, rest) = ForwardPath::read(path).map_err(|error| bad_path(Enhanced(5, 1, 3), error))?;
    let RecipientParameters { original, notify_success } = RecipientParameters::read(rest, offered.dsn)?;
    Ok(Command::Recipient(Recipient { path, original, notify_success }))
}

fn bad_path(enhanced: Enhanced, error: PathError) -> Reply {
    let mut text = error.to_string();
    // The first letter of an ASCII text.
    text.replace_range(..1, &text[..1].to_ascii_uppercase());
    Reply::new(if error == PathError::Brackets { 501 } else { 553 }, enhanced, text)
}

fn chunk(argument: &str) -> Result<Command, Reply> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|size| size.len() <= 20 && size.bytes().all(|byte| byte.is_ascii_digit()));
    let size_bytes = size.ok_or(ARGUMENT)?.parse().unwrap_or(u64::MAX);
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(ARGUMENT),
    };
    if words.next().is_some() { Err(ARGUMENT) } else { Ok(Command::Chunk { size_bytes, last }) }
}

fn authenticate(argument: &str) -> Result<Command, Reply> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(ARGUMENT)?.to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() { Err(ARGUMENT) } else { Ok(Command::Authenticate { mechanism, initial }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offered = Offered { dsn: true, auth: true };

    #[test]
    fn known_answers() {
        for (line, expected) in [
            ("ehlo mx.example ", Command::Hello { verb: HelloVerb::Ehlo, name: "mx.example".to_owned() }),
            ("HELO [192.0.2.1]", Command::Hello { verb: HelloVerb::Helo, name: "[192.0.2.1]".to_owned() }),
            ("DATA", Command::Data),
            ("data ", Command::Data),
            ("BDAT 0 LAST", Command::Chunk { size_bytes: 0, last: true }),
            ("bdat 86", Command::Chunk { size_bytes: 86, last: false }),
            ("NOOP whatever", Command::NoOperation),
            ("AUTH plain", Command::Authenticate { mechanism: "PLAIN".to_owned(), initial: None }),
            (
                "AUTH PLAIN AA==",
                Command::Authenticate { mechanism: "PLAIN".to_owned(), initial: Some("AA==".to_owned()) },
            ),
            ("QUIT", Command::Quit),
            ("GET / HTTP/1.1", Command::OtherProtocol),
        ] {
            assert_eq!(parse(line.as_bytes(), ALL), Ok(expected), "{line}");
        }
        let Ok(Command::Mail(mail)) = parse(b"mail from: <a@b.example> SIZE=5", ALL) else { panic!() };
        assert_eq!((mail.sender.to_string().as_str(), mail.size_bytes), ("a@b.example", Some(5)));
        let Ok(Command::Recipient(recipient)) = parse(b"RCPT TO:<Postmaster>", ALL) else { panic!() };
        assert_eq!(recipient.path, ForwardPath::Postmaster);
    }

    #[test]
    fn refusals() {
        for (line, code) in [
            (&b""[..], 500),
            (b"FOO", 500),
            (b"NOOP \0", 500),
            (b"NOOP \x7f", 500),
            (b"NOOP a\rb", 500),
            (b"MAIL FROM:<\xff@b>", 500),
            (b"EHLO", 501),
            (b"MAIL", 501),
            (b"MAIL FROM", 501),
            (b"MAIL TO:<a@b>", 501),
            (b"MAIL FROM:a@b", 501),
            (b"MAIL FROM:<a@b>SIZE=1", 501),
            (b"MAIL FROM:<a b@b>", 553),
            (b"RCPT TO:<>", 553),
            (b"RCPT TO:<a@b> X=1", 555),
            (b"DATA now", 501),
            (b"QUIT now", 501),
            (b"BDAT", 501),
            (b"BDAT -1", 501),
            (b"BDAT 1 FIRST", 501),
            (b"BDAT 1 LAST 2", 501),
            (b"AUTH", 501),
            (b"AUTH PLAIN a b", 501),
        ] {
            assert_eq!(parse(line, ALL).map_err(|reply| reply.code), Err(code), "{:?}", String::from_utf8_lossy(line));
        }
    }
}
