CREATE TABLE change_log_record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE change_log_by_time (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE change_log_fact (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- A list takes up to 16 MB, which tables without a rowid are not made for.
CREATE TABLE change_log_listing (key BLOB PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE change_log_listing_by_time (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE change_log_listing_fact (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE secret (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
