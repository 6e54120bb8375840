-- A message that waits for some of its recipients. Its body is a blob named after its id.
CREATE TABLE letters (
    id          BLOB PRIMARY KEY NOT NULL,   -- the delivery id
    sender      TEXT,                        -- NULL: the null reverse-path
    prefix      BLOB NOT NULL,               -- what stands before the body
    size_bytes  INTEGER NOT NULL,            -- prefix and body
    smtputf8    INTEGER NOT NULL,            -- whether the header is UTF-8
    arrived_ms  INTEGER NOT NULL,            -- since 1970
    warned      INTEGER NOT NULL DEFAULT 0   -- whether the sender was told that it is late
) STRICT;

-- A recipient that waits. Gone once its fate is decided; a letter goes with its last one.
CREATE TABLE recipients (
    letter           BLOB NOT NULL REFERENCES letters (id) ON DELETE CASCADE,
    number           INTEGER NOT NULL,
    destination      TEXT NOT NULL,              -- what concurrency is counted by
    address          TEXT NOT NULL,              -- where to
    original         TEXT NOT NULL,              -- as the sender wrote it
    account          TEXT,                       -- the mailbox of ours, as JSON; NULL: decided at each attempt
    attempts         INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms  INTEGER NOT NULL,           -- since 1970
    last_answer      TEXT,
    PRIMARY KEY (letter, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipients_due ON recipients (next_attempt_ms, destination);
CREATE INDEX recipients_destination ON recipients (destination, next_attempt_ms);
