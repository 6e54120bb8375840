//! The schema's third step: what is noted of mailboxes (METADATA).

/// The statements.
pub const SHARING: &str = "
-- RFC 5464. Of a mailbox: for everybody (account 0) or for one account; its own entries an account has in account_entries.
CREATE TABLE mailbox_entries (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    account INTEGER NOT NULL,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (mailbox, account, entry)
) WITHOUT ROWID;

CREATE TABLE account_entries (
    account INTEGER NOT NULL REFERENCES accounts,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (account, entry)
) WITHOUT ROWID;
";
