//! Where bodies are, beside their files.

/// Migration 4.
pub const BODIES: &str = "
-- How a body is kept: 0 as it is, 1 as a zstd frame.
ALTER TABLE blobs ADD COLUMN packing INTEGER NOT NULL DEFAULT 0;
-- How many bytes it takes, as it is kept.
ALTER TABLE blobs ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;

-- A small body, in place of a file: a row of its own, so that a count of references does not rewrite it.
CREATE TABLE bodies (
    blob INTEGER NOT NULL REFERENCES blobs,
    bytes BLOB NOT NULL,
    PRIMARY KEY (blob)
);
";
