//! The schema: one step, so far.
//!
//! What is counted of a mailbox (its messages, bytes, unseen and deleted ones), of an account and of a body (who names it)
//! stands beside them. Rust counts it, for all of a statement at once: `mailboxes::advance` gives no UIDs without counts,
//! `accounts::count` and `blobs::link` or `blobs::count` do the rest, and `expunging` takes away. `mailbox verify` compares.

use estafeta_storage::sql::Migration;

/// Every step there ever was.
pub const MIGRATIONS: &[Migration] =
    &[Migration::new(1, "mailboxes", TABLES).with(&[CHANGED_PAGES], &[LIVING_BLOBS, super::search::POSTGRES])];

/// After a promotion of a PostgreSQL that may have lost commits: UIDs that were told to somebody may be given again, so
/// every mailbox begins another life (DESIGN.md, invariant 4). No two share one, now or later.
pub const RENEW_UIDVALIDITY: &[&str] = &[
    "UPDATE mailboxes SET uidvalidity = (SELECT value FROM counters WHERE name = 'uidvalidity') + n.place
     FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM mailboxes) n WHERE n.id = mailboxes.id",
    "UPDATE counters SET value = value + (SELECT count(*) FROM mailboxes) WHERE name = 'uidvalidity'",
];

const TABLES: &str = "
-- UIDVALIDITY starts at random, so that a database made anew does not repeat the values of a lost one.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('uidvalidity', 1 + abs(random() % 1000000000));

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    account BLOB NOT NULL UNIQUE CHECK (length(account) = 16),
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'moving', 'gone')),
    messages INTEGER NOT NULL DEFAULT 0,
    used_bytes INTEGER NOT NULL DEFAULT 0,
    -- While it leaves, and once it is gone: for which attempt. While it comes: which attempt, from where, and as whom.
    attempt TEXT,
    comes_from TEXT,
    address TEXT,
    -- When it was gone.
    gone_at INTEGER
);
CREATE INDEX accounts_coming ON accounts (id) WHERE comes_from IS NOT NULL;
CREATE INDEX accounts_gone ON accounts (gone_at) WHERE gone_at IS NOT NULL;

-- A row lives as long as the mailbox that it names, and its number is never used again. A name that only holds others
-- (selectable = 0) has a row of its own, for as long as it holds any.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts,
    name TEXT NOT NULL,
    selectable INTEGER NOT NULL,
    special_use TEXT,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL DEFAULT 1,
    -- UIDs from here on are recent.
    recent_from INTEGER NOT NULL DEFAULT 1,
    -- Expunged messages up to this modseq may be forgotten.
    forgotten_modseq INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    -- What stands for one that came from another store group (RFC 8474); none for one that began here.
    object_number INTEGER,
    UNIQUE (account, name)
);
CREATE UNIQUE INDEX mailboxes_special_use ON mailboxes (account, special_use) WHERE special_use IS NOT NULL;

CREATE TABLE subscriptions (
    account INTEGER NOT NULL REFERENCES accounts,
    name TEXT NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

CREATE TABLE keywords (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, number)
) WITHOUT ROWID;

-- A body. It lives while it is not condemned; a condemned one is deleted after a grace, and never comes back to life.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    generation INTEGER NOT NULL,
    -- How many messages name it, those that can be had back among them.
    refs INTEGER NOT NULL DEFAULT 0,
    condemned INTEGER,
    -- How it is kept: 0 as it is, 1 as a zstd frame.
    packing INTEGER NOT NULL,
    -- How many bytes it takes, as it is kept.
    kept_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (hash, generation)
);
CREATE INDEX blobs_unused ON blobs (id) WHERE refs = 0 AND condemned IS NULL;
CREATE INDEX blobs_condemned ON blobs (condemned) WHERE condemned IS NOT NULL;

-- A small body, in place of a file: a row of its own, so that a count of references does not rewrite it.
CREATE TABLE bodies (
    blob INTEGER NOT NULL REFERENCES blobs,
    bytes BLOB NOT NULL,
    PRIMARY KEY (blob)
);

-- What is kept of a body for lists of messages. The header stands last: it is the longest, and SQLite reads a row from its
-- beginning.
CREATE TABLE contents (
    blob INTEGER PRIMARY KEY REFERENCES blobs ON DELETE CASCADE,
    version INTEGER NOT NULL,
    summary BLOB NOT NULL,
    header BLOB
);

-- What of a message never changes: a row is written once.
CREATE TABLE messages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    uid INTEGER NOT NULL,
    size INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    blob INTEGER NOT NULL REFERENCES blobs,
    prefix BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
-- Both engines look for who names a body that is deleted, and read all messages where no index leads there.
CREATE INDEX messages_blob ON messages (blob);

-- What changes of messages, by pages of 256 UIDs. Not WITHOUT ROWID: a row is too long for the inner pages of a tree.
CREATE TABLE pages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    -- Of UIDs: the number without its last 8 bits.
    page INTEGER NOT NULL,
    -- The last change of its messages, or a later one.
    modseq INTEGER NOT NULL,
    marks BLOB NOT NULL,
    PRIMARY KEY (mailbox, page)
);

-- Word of expunged messages, by ranges of UIDs.
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    modseq INTEGER NOT NULL,
    first_uid INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, first_uid)
) WITHOUT ROWID;
CREATE INDEX expunged_at ON expunged (at);

-- What was put into a mailbox by a COPY that has not come to its end: messages, by ranges of UIDs. When one was last heard of.
CREATE TABLE unfinished_copies (
    copy INTEGER NOT NULL,
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    first_uid INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (copy, first_uid)
) WITHOUT ROWID;
CREATE INDEX unfinished_copies_mailbox ON unfinished_copies (mailbox);

-- Expunged messages that can be had back. The mailbox where one was may be there no more.
CREATE TABLE deleted_messages (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    size INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    blob INTEGER NOT NULL,
    prefix BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;

-- What they had of flags: those of a page that were expunged in the same second.
CREATE TABLE deleted_pages (
    mailbox INTEGER NOT NULL,
    page INTEGER NOT NULL,
    at INTEGER NOT NULL,
    marks BLOB NOT NULL,
    PRIMARY KEY (mailbox, page, at)
);
CREATE INDEX deleted_pages_at ON deleted_pages (at);

CREATE TABLE deleted_mailboxes (
    mailbox INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    special_use TEXT,
    -- The names of its keywords by their numbers, with spaces between.
    keywords TEXT NOT NULL,
    PRIMARY KEY (mailbox)
) WITHOUT ROWID;
CREATE INDEX deleted_mailboxes_account ON deleted_mailboxes (account);
CREATE INDEX deleted_mailboxes_at ON deleted_mailboxes (at);

CREATE TABLE deliveries (
    delivery BLOB NOT NULL CHECK (length(delivery) = 16),
    account INTEGER NOT NULL REFERENCES accounts,
    at INTEGER NOT NULL,
    PRIMARY KEY (delivery, account)
) WITHOUT ROWID;
CREATE INDEX deliveries_at ON deliveries (at);

-- Mail that the store itself sends, until somebody has taken it over. It is tried when it is due; whoever tries it has moved that
-- into the future.
CREATE TABLE outbox (
    delivery BLOB NOT NULL CHECK (length(delivery) = 16),
    recipient TEXT NOT NULL,
    message BLOB NOT NULL,
    written INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (delivery)
);
CREATE INDEX outbox_due ON outbox (due);

-- How far mail of elsewhere has come over.
CREATE TABLE imports (
    account INTEGER NOT NULL REFERENCES accounts,
    -- Whose mail, on which server.
    source TEXT NOT NULL,
    -- As it is called there.
    mailbox TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (account, source, mailbox)
) WITHOUT ROWID;

-- What of it was refused, to be tried again.
CREATE TABLE refused_imports (
    account INTEGER NOT NULL REFERENCES accounts,
    source TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (account, source, mailbox, uidvalidity, uid)
) WITHOUT ROWID;

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

/// Which pages have changed lately. Not on PostgreSQL, where an update of what is indexed writes to every index of the table.
const CHANGED_PAGES: &str = "CREATE INDEX pages_changed ON pages (mailbox, modseq, page);";

/// At most one body of a hash lives. Not on SQLite, where one writer looks before it inserts: a second index in the order of
/// hashes is another page to be written for each new body.
const LIVING_BLOBS: &str = "CREATE UNIQUE INDEX blobs_living ON blobs (hash) WHERE condemned IS NULL;";
