//! How the program ends: one clear line on standard error, and a code of `sysexits.h`.

use std::fmt;
use std::process::ExitCode;

use estafeta_core::{Failure, Reason};

/// `sysexits.h`, as far as it is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// All went well, and what was looked at has to be mended. Not of `sysexits.h`: what `diff` and `grep` end with.
    Findings = 1,
    /// The command line makes no sense.
    Usage = 64,
    /// What was given is wrong.
    DataError = 65,
    /// A file that was named is not there.
    NoInput = 66,
    /// What was named is not known.
    NoUser = 67,
    /// Somebody who is needed does not answer.
    Unavailable = 69,
    /// A bug.
    Software = 70,
    /// The operating system says no.
    OsError = 71,
    /// What should be made cannot be made.
    CannotCreate = 73,
    /// Try again later.
    TemporaryFailure = 75,
    /// Not allowed.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// An error that ends the program: its line, and its code.
#[derive(Debug)]
pub struct Exit {
    /// The code.
    pub code: Code,
    /// The line.
    pub message: String,
}

impl Exit {
    /// An error with its code.
    pub fn error(code: Code, message: impl fmt::Display) -> anyhow::Error {
        Self { code, message: message.to_string() }.into()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// Prints an error and gives its code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let code = match (error.downcast_ref::<Exit>(), error.downcast_ref::<Failure>()) {
        (Some(exit), _) => exit.code,
        (_, Some(failure)) => code_of(failure.reason),
        _ => Code::Software,
    };
    print_line(&format!("estafeta: {error:#}"));
    ExitCode::from(code as u8)
}

/// Prints what is wrong with the command line, or the help that was asked for, and gives the code.
pub fn usage(message: &clap::Error) -> ExitCode {
    let _ = message.print();
    if message.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS }
}

/// Standard error may be closed; that is no reason to fail in another way.
#[allow(clippy::print_stderr, reason = "this is the program's last line, after or without any log")]
fn print_line(line: &str) {
    eprintln!("{line}");
}

fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::Unavailable => Code::Unavailable,
        Reason::Busy | Reason::OverQuota | Reason::Elsewhere => Code::TemporaryFailure,
        Reason::Internal => Code::Software,
        Reason::Credentials | Reason::Denied => Code::NoPermission,
        Reason::NotFound => Code::NoUser,
        Reason::Exists => Code::CannotCreate,
        Reason::Invalid | Reason::TooLarge => Code::DataError,
    }
}
