-- How many messages an account's mailboxes may hold; none for no limit.
ALTER TABLE accounts ADD COLUMN quota_messages INTEGER;
