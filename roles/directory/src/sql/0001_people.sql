-- One row; the version grows with each change of what `Settings` holds.
CREATE TABLE settings (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO settings (one, version) VALUES (1, 0);

CREATE TABLE domains (
    name TEXT PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every address that is ours, whatever it is: one namespace. The key is the address as look-ups compare it.
CREATE TABLE addresses (
    key TEXT PRIMARY KEY,
    domain TEXT NOT NULL REFERENCES domains (name),
    kind TEXT NOT NULL CHECK (kind IN ('account', 'alias')),
    UNIQUE (key, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX addresses_by_domain ON addresses (domain, kind, key);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    address_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL DEFAULT 'account' CHECK (kind = 'account'),
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    store_group TEXT NOT NULL,
    quota_bytes INTEGER,
    enabled INTEGER NOT NULL,
    created INTEGER NOT NULL,
    FOREIGN KEY (address_key, kind) REFERENCES addresses (key, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_by_store_group ON accounts (store_group);

-- A scope narrows what a credential is good for; the empty one is good for everything.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    scheme TEXT NOT NULL,
    verifier TEXT NOT NULL,
    scope TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    UNIQUE (account, scope, scheme)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    address_key TEXT PRIMARY KEY,
    kind TEXT NOT NULL DEFAULT 'alias' CHECK (kind = 'alias'),
    address TEXT NOT NULL,
    created INTEGER NOT NULL,
    FOREIGN KEY (address_key, kind) REFERENCES addresses (key, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE alias_targets (
    alias TEXT NOT NULL REFERENCES aliases (address_key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (alias, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE removed_accounts (
    id TEXT PRIMARY KEY,
    address_key TEXT NOT NULL,
    removed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER accounts_never_come_back BEFORE INSERT ON accounts
WHEN EXISTS (SELECT 1 FROM removed_accounts WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the id of a removed account is never used again');
END;

-- How many wrong passwords weigh on an account or a network: the level at a time, from which it decays.
CREATE TABLE failed_logins (
    subject TEXT PRIMARY KEY,
    level REAL NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX failed_logins_by_time ON failed_logins (at);
