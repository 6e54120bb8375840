//! The schema's third step: what is noted of mailboxes (METADATA), and who may do what with them (ACL).

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

-- RFC 4314. The owner has every right and no row. Who is meant is the account that had the address when it was named.
CREATE TABLE rights (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    -- An address as addresses are compared, or 'anyone', or 'authenticated'.
    identifier TEXT NOT NULL,
    -- Whether these rights are taken away rather than given.
    negative INTEGER NOT NULL,
    account BLOB,
    rights INTEGER NOT NULL,
    PRIMARY KEY (mailbox, identifier, negative)
) WITHOUT ROWID;
CREATE INDEX rights_account ON rights (account);
CREATE INDEX rights_identifier ON rights (identifier);

-- By which address others know whoever shares a mailbox.
CREATE TABLE sharers (
    account INTEGER NOT NULL REFERENCES accounts,
    address_key TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (account)
) WITHOUT ROWID;
CREATE INDEX sharers_address ON sharers (address_key);
";
