//! The schema. What can be counted from `messages` (a mailbox's counts, an account's usage, a blob's references) is
//! kept by triggers as messages come, so that no statement can forget it: SQLite's row by row, PostgreSQL's statement by
//! statement, so that a COPY of 10,000 messages is one update of its mailbox. Whoever changes flags counts them
//! (`Mailbox::store_flags`), and whoever deletes messages what goes (`expunging`): SQLite's triggers take most of the time there.

use estafeta_storage::sql::Migration;

use super::deleted;
use super::schema_bodies::BODIES;
use super::sharing::SHARING;

/// Every step there ever was.
pub const MIGRATIONS: &[Migration] = &[
    Migration::new(1, "mailboxes", MAILBOXES).with(COUNTS_SQLITE, COUNTS_POSTGRES),
    Migration::new(2, "contents", super::contents::SCHEMA),
    Migration::new(3, "sharing and limits", SHARING),
    Migration::new(4, "small bodies in rows", BODIES),
    Migration::new(6, "flags are counted by whoever changes them", "").with(
        "DROP TRIGGER messages_flagged;",
        "DROP TRIGGER messages_flagged ON messages; DROP FUNCTION messages_flagged();",
    ),
    super::search::POSTGRES,
    Migration::new(8, "accounts that move", super::relocation::MOVES),
    super::changes::SCHEMA,
    Migration::new(10, "what can be had back", deleted::SCHEMA).with(deleted::COUNTS_SQLITE, deleted::COUNTS_POSTGRES),
    Migration::new(11, "how far imports have come", super::imports::SCHEMA),
    Migration::new(12, "messages by their bodies", MESSAGES_BLOB),
];

// Both engines look for who names a body that is deleted, and read all messages where no index leads there.
const MESSAGES_BLOB: &str = "CREATE INDEX messages_blob ON messages (blob);";

/// After a promotion of a PostgreSQL that may have lost commits: UIDs that were told to somebody may be given again, so
/// every mailbox begins another life (DESIGN.md, invariant 4). No two share one, now or later.
pub const RENEW_UIDVALIDITY: &[&str] = &[
    "UPDATE mailboxes SET uidvalidity = (SELECT value FROM counters WHERE name = 'uidvalidity') + n.place
     FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM mailboxes) n WHERE n.id = mailboxes.id",
    "UPDATE counters SET value = value + (SELECT count(*) FROM mailboxes) WHERE name = 'uidvalidity'",
];

const MAILBOXES: &str = "
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
    used_bytes INTEGER NOT NULL DEFAULT 0
);

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
    refs INTEGER NOT NULL DEFAULT 0,
    condemned INTEGER,
    UNIQUE (hash, generation)
);
CREATE UNIQUE INDEX blobs_living ON blobs (hash) WHERE condemned IS NULL;
CREATE INDEX blobs_unused ON blobs (id) WHERE refs = 0 AND condemned IS NULL;
CREATE INDEX blobs_condemned ON blobs (condemned) WHERE condemned IS NOT NULL;

CREATE TABLE messages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords INTEGER NOT NULL,
    size INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    blob INTEGER NOT NULL REFERENCES blobs,
    prefix BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX messages_modseq ON messages (mailbox, modseq);

CREATE TABLE expunged (
    mailbox INTEGER NOT NULL REFERENCES mailboxes,
    modseq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)
) WITHOUT ROWID;
CREATE INDEX expunged_at ON expunged (at);

CREATE TABLE deliveries (
    delivery BLOB NOT NULL CHECK (length(delivery) = 16),
    account INTEGER NOT NULL REFERENCES accounts,
    at INTEGER NOT NULL,
    PRIMARY KEY (delivery, account)
) WITHOUT ROWID;
CREATE INDEX deliveries_at ON deliveries (at);
";

const COUNTS_SQLITE: &str = "
-- Of the flags, 1 is \\Seen and 8 is \\Deleted.
CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
    UPDATE mailboxes SET messages = messages + 1, size_bytes = size_bytes + NEW.size,
        unseen = unseen + (NEW.flags & 1 = 0), deleted = deleted + (NEW.flags & 8 <> 0) WHERE id = NEW.mailbox;
    UPDATE accounts SET messages = messages + 1, used_bytes = used_bytes + NEW.size
        WHERE id = (SELECT account FROM mailboxes WHERE id = NEW.mailbox);
    UPDATE blobs SET refs = refs + 1 WHERE id = NEW.blob;
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    UPDATE mailboxes SET messages = messages - 1, size_bytes = size_bytes - OLD.size,
        unseen = unseen - (OLD.flags & 1 = 0), deleted = deleted - (OLD.flags & 8 <> 0) WHERE id = OLD.mailbox;
    UPDATE accounts SET messages = messages - 1, used_bytes = used_bytes - OLD.size
        WHERE id = (SELECT account FROM mailboxes WHERE id = OLD.mailbox);
    UPDATE blobs SET refs = refs - 1 WHERE id = OLD.blob;
END;
CREATE TRIGGER messages_flagged AFTER UPDATE OF flags ON messages WHEN (NEW.flags & 9) <> (OLD.flags & 9) BEGIN
    UPDATE mailboxes SET unseen = unseen + (NEW.flags & 1 = 0) - (OLD.flags & 1 = 0),
        deleted = deleted + (NEW.flags & 8 <> 0) - (OLD.flags & 8 <> 0) WHERE id = NEW.mailbox;
END;
";

// Rows are locked in the order of their numbers, so that two transactions do not wait for each other.
const COUNTS_POSTGRES: &str = "
CREATE FUNCTION messages_inserted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE accounts a SET messages = a.messages + n.messages, used_bytes = a.used_bytes + n.bytes
        FROM (SELECT m.account, count(*) AS messages, sum(r.size)::BIGINT AS bytes
            FROM new_rows r JOIN mailboxes m ON m.id = r.mailbox GROUP BY m.account) n WHERE a.id = n.account;
    UPDATE mailboxes m SET messages = m.messages + n.messages, size_bytes = m.size_bytes + n.bytes,
            unseen = m.unseen + n.unseen, deleted = m.deleted + n.deleted
        FROM (SELECT mailbox, count(*) AS messages, sum(size)::BIGINT AS bytes,
            count(*) FILTER (WHERE flags & 1 = 0) AS unseen, count(*) FILTER (WHERE flags & 8 <> 0) AS deleted
            FROM new_rows GROUP BY mailbox) n WHERE m.id = n.mailbox;
    PERFORM 1 FROM blobs WHERE id IN (SELECT blob FROM new_rows) ORDER BY id FOR NO KEY UPDATE;
    UPDATE blobs b SET refs = b.refs + n.refs
        FROM (SELECT blob, count(*) AS refs FROM new_rows GROUP BY blob) n WHERE b.id = n.blob;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_inserted AFTER INSERT ON messages REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION messages_inserted();

CREATE FUNCTION messages_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE accounts a SET messages = a.messages - n.messages, used_bytes = a.used_bytes - n.bytes
        FROM (SELECT m.account, count(*) AS messages, sum(r.size)::BIGINT AS bytes
            FROM old_rows r JOIN mailboxes m ON m.id = r.mailbox GROUP BY m.account) n WHERE a.id = n.account;
    UPDATE mailboxes m SET messages = m.messages - n.messages, size_bytes = m.size_bytes - n.bytes,
            unseen = m.unseen - n.unseen, deleted = m.deleted - n.deleted
        FROM (SELECT mailbox, count(*) AS messages, sum(size)::BIGINT AS bytes,
            count(*) FILTER (WHERE flags & 1 = 0) AS unseen, count(*) FILTER (WHERE flags & 8 <> 0) AS deleted
            FROM old_rows GROUP BY mailbox) n WHERE m.id = n.mailbox;
    PERFORM 1 FROM blobs WHERE id IN (SELECT blob FROM old_rows) ORDER BY id FOR NO KEY UPDATE;
    UPDATE blobs b SET refs = b.refs - n.refs
        FROM (SELECT blob, count(*) AS refs FROM old_rows GROUP BY blob) n WHERE b.id = n.blob;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION messages_deleted();

CREATE FUNCTION messages_flagged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE mailboxes m SET unseen = m.unseen + n.unseen, deleted = m.deleted + n.deleted
        FROM (SELECT mailbox, sum(unseen)::BIGINT AS unseen, sum(deleted)::BIGINT AS deleted FROM (
                SELECT mailbox, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
                    count(*) FILTER (WHERE flags & 8 <> 0) AS deleted FROM new_rows GROUP BY mailbox
                UNION ALL
                SELECT mailbox, - count(*) FILTER (WHERE flags & 1 = 0),
                    - count(*) FILTER (WHERE flags & 8 <> 0) FROM old_rows GROUP BY mailbox) both_rows
            GROUP BY mailbox) n
        WHERE m.id = n.mailbox AND (n.unseen <> 0 OR n.deleted <> 0);
    RETURN NULL;
END $$;
CREATE TRIGGER messages_flagged AFTER UPDATE ON messages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION messages_flagged();
";
