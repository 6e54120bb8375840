-- The keys of the members' gossip; the newest whose time has come is the one that is sent with.
CREATE TABLE gossip_keys (
    id INTEGER PRIMARY KEY,
    from_seconds INTEGER NOT NULL,
    secret TEXT NOT NULL
) STRICT;

-- The nodes that joined, each as it said it is: `Member` in JSON.
CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    member TEXT NOT NULL,
    joined INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What lets a node in, once. The token itself is not kept.
CREATE TABLE join_tokens (
    hash TEXT PRIMARY KEY,
    -- Separated by spaces.
    roles TEXT NOT NULL,
    -- The only node that may use it; empty for any.
    node TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by TEXT,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

-- What the authority issued from here, until it expires.
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_node ON certificates (node);

-- The names that nobody talks with. A name may be given anew from `free_from` on: until then a certificate may be good that
-- was not issued from here, so that its serial number is not known.
CREATE TABLE removed_nodes (
    name TEXT PRIMARY KEY,
    removed INTEGER NOT NULL,
    free_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What roles keep with the settings, each for nodes that hold the role alone.
CREATE TABLE secrets (
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (role, name)
) STRICT, WITHOUT ROWID;
