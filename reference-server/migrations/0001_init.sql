-- Ids are 16-byte UUIDs (version 7, so that they sort by age); times are microseconds since 1970, UTC.

CREATE TABLE users (
    id            BLOB PRIMARY KEY NOT NULL,
    tenant        TEXT NOT NULL,
    username      TEXT NOT NULL,
    -- Lower-case form: names are unique without regard to case.
    username_key  TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    inserted_at   INTEGER NOT NULL,
    UNIQUE (tenant, username_key)
) STRICT;

CREATE TABLE rooms (
    id          BLOB PRIMARY KEY NOT NULL,
    tenant      TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('group', 'dm')),
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    owner_id    BLOB REFERENCES users (id) ON DELETE SET NULL,
    private     INTEGER NOT NULL DEFAULT 0,
    -- Filled with simulated members by `--demo`, and hidden without it.
    simulated   INTEGER NOT NULL DEFAULT 0,
    -- Both user ids of a DM in order, so that a pair has one conversation.
    dm_key      TEXT UNIQUE,
    -- The number of the newest message; the next one is assigned in the insert transaction.
    last_seq    INTEGER NOT NULL DEFAULT 0,
    inserted_at INTEGER NOT NULL
) STRICT;

CREATE INDEX rooms_by_tenant ON rooms (tenant, id);

CREATE TABLE room_members (
    room_id   BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_members_by_user ON room_members (user_id, room_id);

-- The author stands in the row by id and name, not by reference: guests have no row in `users`.
CREATE TABLE messages (
    id          BLOB PRIMARY KEY NOT NULL,
    room_id     BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    user_id     BLOB NOT NULL,
    username    TEXT NOT NULL,
    type        TEXT NOT NULL DEFAULT 'text',
    content     TEXT NOT NULL,
    inserted_at INTEGER NOT NULL,
    UNIQUE (room_id, seq)
) STRICT;
