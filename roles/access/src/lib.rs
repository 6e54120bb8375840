//! Cluster A: what the user touches, IMAP and POP3.
