-- What `/readyz` writes to learn whether the database can grow: one row, replaced by every probe.
CREATE TABLE probes (
    id     INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;
