//! Response codes: what a program reads of a status response (RFC 3501 §7.1, RFC 4315 §3, RFC 5530 §3).

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::Output;
use super::mailbox::mailbox_id;
use crate::imap::capability::Capabilities;
use crate::imap::command::notify::EVENTS;
use crate::imap::types::{Flags, NumberSet, Tag, Uid, UidSet, UidValidity};

/// `resp-text-code`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code<'a> {
    /// The text must be shown to the user.
    Alert,
    /// What was to be made exists already (RFC 5530).
    AlreadyExists,
    /// The messages that APPEND stored, in their order (RFC 4315, RFC 3502).
    AppendUid(UidValidity, UidSet),
    /// The name or the password is wrong (RFC 5530).
    AuthenticationFailed,
    /// Known who asks, but not allowed to act for the other (RFC 5530).
    AuthorizationFailed,
    /// SEARCH does not know the charset; these it knows.
    BadCharset,
    /// NOTIFY does not know the event; these it knows (RFC 5465 §3.1).
    BadEvent,
    /// Never possible here (RFC 5530).
    Cannot,
    /// What the server can do.
    Capability(Capabilities<'a>),
    /// The URL of CATENATE that names nothing here (RFC 4469 §4).
    BadUrl(Cow<'a, str>),
    /// The client does something that makes no sense (RFC 5530).
    ClientBug,
    /// The mailbox that was open is so no more: what follows is of the next (RFC 7162 §3.2.11).
    Closed,
    /// Compressed already (RFC 4978 §3).
    CompressionActive,
    /// The messages that COPY or MOVE made, each against its source.
    CopyUid {
        /// Of the destination.
        validity: UidValidity,
        /// In the source.
        source: UidSet,
        /// In the destination, in the same order.
        destination: UidSet,
    },
    /// Some messages have been expunged by another session (RFC 5530).
    ExpungeIssued,
    /// Below the mailbox there are others (RFC 5530).
    HasChildren,
    /// The mailbox's last change (RFC 7162 §3.1.2.1).
    HighestModSeq(u64),
    /// The command of that tag goes on; so much is done, of so much (RFC 9585 §4).
    InProgress(Option<&'a Tag>, Option<(u32, NonZeroU32)>),
    /// Another session holds what is needed; try again (RFC 5530).
    InUse,
    /// Some limit would be passed (RFC 5530).
    Limit,
    /// Values longer than MAXSIZE were left out; the longest has so many bytes (RFC 5464 §4.2.1).
    MetadataLongEntries(u64),
    /// A value is longer than this many bytes, the most that is taken (RFC 5464 §4.3).
    MetadataMaxSize(u64),
    /// There would be too many entries (RFC 5464 §4.3).
    MetadataTooMany,
    /// The mailbox's name that outlives renaming, by the number that stands for it (RFC 8474 §4.1, §4.2).
    MailboxId(u64),
    /// What UNCHANGEDSINCE left alone, by the numbers that the command names (RFC 7162 §3.1.3).
    Modified(NumberSet),
    /// What was named does not exist (RFC 5530).
    NonExistent,
    /// Not allowed (RFC 5530).
    NoPermission,
    /// There is more to be told than the server is willing to; from now on it is silent (RFC 5465 §5.8).
    NotificationOverflow,
    /// No room (RFC 5530).
    OverQuota,
    /// These flags can be changed for good; with `create`, new keywords too.
    PermanentFlags {
        /// The flags.
        flags: &'a Flags,
        /// `\*`
        create: bool,
    },
    /// Not without TLS (RFC 5530).
    PrivacyRequired,
    /// The mailbox is open for reading.
    ReadOnly,
    /// The mailbox is open for reading and writing.
    ReadWrite,
    /// Our own fault (RFC 5530).
    ServerBug,
    /// Larger than is accepted (RFC 7889 §4).
    TooBig,
    /// CREATE the mailbox first, then try again.
    TryCreate,
    /// The command names a sequence number (RFC 9586 §3).
    UidRequired,
    /// A part's transfer encoding that cannot be taken away, or stored (RFC 3516 §4.3, §4.4).
    UnknownCte,
    /// The next UID, at least.
    UidNext(Uid),
    /// The mailbox's validity.
    UidValidity(UidValidity),
    /// Something behind us cannot be reached; try again (RFC 5530).
    Unavailable,
    /// The sequence number of the first message that is not seen.
    Unseen(u32),
    /// No mailbox can be made for that use (RFC 6154 §6).
    UseAttribute,
}

impl Output {
    /// `"[" resp-text-code "]" SP`
    pub(super) fn code(&mut self, code: &Code<'_>) {
        self.put_byte(b'[');
        self.put(code.name());
        match code {
            Code::AppendUid(validity, uids) => {
                self.put_display(format_args!(" {validity} {uids}"));
            }
            Code::BadCharset => self.put(b" (US-ASCII UTF-8)"),
            Code::BadEvent => self.put_display(format_args!(" ({EVENTS})")),
            Code::BadUrl(url) => {
                // RFC 4469 §5: neither a bracket nor a literal may stand here.
                let plain = |one: char| if matches!(one, ' '..='~') && !"]\"\\".contains(one) { one } else { '?' };
                self.put_display(format_args!(" \"{}\"", url.chars().map(plain).collect::<String>()));
            }
            Code::Capability(capabilities) => self.put_display(format_args!(" {capabilities}")),
            Code::CopyUid { validity, source, destination } => {
                self.put_display(format_args!(" {validity} {source} {destination}"));
            }
            Code::PermanentFlags { flags, create } => {
                self.put(b" (");
                self.put_display(flags);
                match (create, flags.is_empty()) {
                    (true, true) => self.put(b"\\*"),
                    (true, false) => self.put(b" \\*"),
                    (false, _) => {}
                }
                self.put_byte(b')');
            }
            Code::HighestModSeq(value) => self.put_display(format_args!(" {value}")),
            Code::InProgress(tag, progress) => {
                match tag {
                    Some(tag) => self.put_display(format_args!(" (\"{}\" ", tag.as_str())),
                    None => self.put(b" (NIL "),
                }
                match progress {
                    Some((done, goal)) => self.put_display(format_args!("{done} {goal})")),
                    None => self.put(b"NIL NIL)"),
                }
            }
            Code::MetadataLongEntries(longest) => self.put_display(format_args!(" LONGENTRIES {longest}")),
            Code::MetadataMaxSize(most) => self.put_display(format_args!(" MAXSIZE {most}")),
            Code::MetadataTooMany => self.put(b" TOOMANY"),
            Code::MailboxId(number) => self.put_display(format_args!(" ({})", mailbox_id(*number))),
            Code::Modified(numbers) => self.put_display(format_args!(" {numbers}")),
            Code::UidNext(uid) => self.put_display(format_args!(" {uid}")),
            Code::UidValidity(validity) => self.put_display(format_args!(" {validity}")),
            Code::Unseen(number) => self.put_display(format_args!(" {number}")),
            _ => {}
        }
        self.put(b"] ");
    }
}

impl Code<'_> {
    fn name(&self) -> &'static [u8] {
        match self {
            Self::Alert => b"ALERT",
            Self::AlreadyExists => b"ALREADYEXISTS",
            Self::AppendUid(..) => b"APPENDUID",
            Self::AuthenticationFailed => b"AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => b"AUTHORIZATIONFAILED",
            Self::BadCharset => b"BADCHARSET",
            Self::BadEvent => b"BADEVENT",
            Self::BadUrl(_) => b"BADURL",
            Self::Cannot => b"CANNOT",
            Self::Capability(_) => b"CAPABILITY",
            Self::ClientBug => b"CLIENTBUG",
            Self::Closed => b"CLOSED",
            Self::CompressionActive => b"COMPRESSIONACTIVE",
            Self::CopyUid { .. } => b"COPYUID",
            Self::ExpungeIssued => b"EXPUNGEISSUED",
            Self::HasChildren => b"HASCHILDREN",
            Self::HighestModSeq(_) => b"HIGHESTMODSEQ",
            Self::InProgress(..) => b"INPROGRESS",
            Self::InUse => b"INUSE",
            Self::Limit => b"LIMIT",
            Self::MetadataLongEntries(_) | Self::MetadataMaxSize(_) | Self::MetadataTooMany => b"METADATA",
            Self::MailboxId(_) => b"MAILBOXID",
            Self::Modified(_) => b"MODIFIED",
            Self::NonExistent => b"NONEXISTENT",
            Self::NoPermission => b"NOPERM",
            Self::NotificationOverflow => b"NOTIFICATIONOVERFLOW",
            Self::OverQuota => b"OVERQUOTA",
            Self::PermanentFlags { .. } => b"PERMANENTFLAGS",
            Self::PrivacyRequired => b"PRIVACYREQUIRED",
            Self::ReadOnly => b"READ-ONLY",
            Self::ReadWrite => b"READ-WRITE",
            Self::ServerBug => b"SERVERBUG",
            Self::TooBig => b"TOOBIG",
            Self::TryCreate => b"TRYCREATE",
            Self::UidNext(_) => b"UIDNEXT",
            Self::UidValidity(_) => b"UIDVALIDITY",
            Self::UidRequired => b"UIDREQUIRED",
            Self::Unavailable => b"UNAVAILABLE",
            Self::UnknownCte => b"UNKNOWN-CTE",
            Self::Unseen(_) => b"UNSEEN",
            Self::UseAttribute => b"USEATTR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::types::Flag;

    #[test]
    fn known_answers() {
        let tag = Tag::new(b"A1").unwrap();
        let flags = Flags::from_iter([Flag::Deleted, Flag::Seen]);
        let (validity, uid) = (UidValidity::new(38505).unwrap(), Uid::new(3955).unwrap());
        let uids = |numbers: &[u32]| numbers.iter().filter_map(|number| Uid::new(*number)).collect::<UidSet>();
        let (source, destination) = (uids(&[304, 319, 320]), uids(&[3956, 3957, 3958]));
        for (code, written) in [
            (Code::TryCreate, "[TRYCREATE] "),
            (Code::AppendUid(validity, uids(&[3955])), "[APPENDUID 38505 3955] "),
            (Code::AppendUid(validity, uids(&[3955, 3956])), "[APPENDUID 38505 3955:3956] "),
            (Code::CopyUid { validity, source, destination }, "[COPYUID 38505 304,319:320 3956:3958] "),
            (Code::BadUrl("/a]b\r\n;UID=1".into()), "[BADURL \"/a?b??;UID=1\"] "),
            (Code::NotificationOverflow, "[NOTIFICATIONOVERFLOW] "),
            (
                Code::BadEvent,
                "[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange \
                 ServerMetadataChange)] ",
            ),
            (Code::BadCharset, "[BADCHARSET (US-ASCII UTF-8)] "),
            (Code::PermanentFlags { flags: &flags, create: true }, "[PERMANENTFLAGS (\\Deleted \\Seen \\*)] "),
            (Code::PermanentFlags { flags: &flags, create: false }, "[PERMANENTFLAGS (\\Deleted \\Seen)] "),
            (Code::PermanentFlags { flags: &Flags::new(), create: false }, "[PERMANENTFLAGS ()] "),
            (Code::PermanentFlags { flags: &Flags::new(), create: true }, "[PERMANENTFLAGS (\\*)] "),
            (Code::UidNext(uid), "[UIDNEXT 3955] "),
            (Code::UidValidity(validity), "[UIDVALIDITY 38505] "),
            (
                Code::InProgress(Some(&tag), NonZeroU32::new(1000).map(|goal| (454, goal))),
                "[INPROGRESS (\"A1\" 454 1000)] ",
            ),
            (Code::InProgress(None, None), "[INPROGRESS (NIL NIL NIL)] "),
            (Code::MailboxId(0x1f), "[MAILBOXID (F1f)] "),
            (Code::Unseen(17), "[UNSEEN 17] "),
            (Code::MetadataLongEntries(2199), "[METADATA LONGENTRIES 2199] "),
            (Code::MetadataMaxSize(1024), "[METADATA MAXSIZE 1024] "),
            (Code::MetadataTooMany, "[METADATA TOOMANY] "),
            (Code::HighestModSeq(715_194_045_007), "[HIGHESTMODSEQ 715194045007] "),
            (Code::Modified([7, 9, 10].into_iter().collect()), "[MODIFIED 7,9:10] "),
        ] {
            let mut output = Output::default();
            output.code(&code);
            assert_eq!(output.drain(), written);
        }
    }
}
