CREATE TABLE change_log_record (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE change_log_by_time (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE change_log_fact (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE change_log_listing (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE change_log_listing_by_time (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE change_log_listing_fact (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE secret (key bytea PRIMARY KEY, value bytea NOT NULL);
