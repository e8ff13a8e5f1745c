-- Ids are 16-byte UUIDs (version 7, so that they sort by age); times are microseconds since 1970, UTC.

CREATE TABLE users (
    id            BLOB PRIMARY KEY NOT NULL,
    tenant        TEXT NOT NULL,
    -- As PRECIS (RFC 8265) maps it: lower case, one form of every character.
    username      TEXT NOT NULL,
    -- The skeleton of the name (UTS 39): names that look alike have one.
    skeleton      TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    inserted_at   INTEGER NOT NULL,
    UNIQUE (tenant, skeleton)
) STRICT;

-- Tokens of a user that were issued before the last change of the password are not valid.
CREATE TABLE password_changes (
    user_id    BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tokens that were logged out, until they would have expired (seconds since 1970).
CREATE TABLE revoked_tokens (
    id         BLOB PRIMARY KEY NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rooms (
    id           BLOB PRIMARY KEY NOT NULL,
    tenant       TEXT NOT NULL,
    -- A deleted room is shown to no one; its rows are removed bit by bit.
    kind         TEXT NOT NULL CHECK (kind IN ('group', 'dm', 'deleted')),
    name         TEXT NOT NULL,
    -- The skeleton of the name without regard to case; none for a DM.
    skeleton     TEXT,
    description  TEXT NOT NULL DEFAULT '',
    -- The user that created it, also of a DM.
    owner_id     BLOB REFERENCES users (id) ON DELETE SET NULL,
    private      INTEGER NOT NULL DEFAULT 0,
    -- Filled with simulated members by `--demo`, and hidden without it.
    simulated    INTEGER NOT NULL DEFAULT 0,
    -- Both user ids of a DM in order, so that a pair has one conversation.
    dm_key       TEXT UNIQUE,
    -- The number of the newest message; the next one is assigned in the insert transaction.
    last_seq     INTEGER NOT NULL DEFAULT 0,
    -- Kept by the triggers below: counting the rows costs as much as there are.
    member_count INTEGER NOT NULL DEFAULT 0,
    inserted_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX rooms_by_tenant ON rooms (tenant, id);
CREATE INDEX rooms_by_owner ON rooms (owner_id, kind);
CREATE INDEX rooms_deleted ON rooms (id) WHERE kind = 'deleted';
CREATE UNIQUE INDEX rooms_by_name ON rooms (tenant, skeleton) WHERE kind = 'group';

CREATE TABLE room_members (
    room_id   BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_members_by_user ON room_members (user_id, room_id);

CREATE TRIGGER member_added AFTER INSERT ON room_members BEGIN
    UPDATE rooms SET member_count = member_count + 1 WHERE id = new.room_id;
END;

CREATE TRIGGER member_removed AFTER DELETE ON room_members BEGIN
    UPDATE rooms SET member_count = member_count - 1 WHERE id = old.room_id;
END;

-- The author stands in the row by id and name, not by reference: guests have no row in `users`.
CREATE TABLE messages (
    id          BLOB PRIMARY KEY NOT NULL,
    room_id     BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    user_id     BLOB NOT NULL,
    username    TEXT NOT NULL,
    guest       INTEGER NOT NULL,
    type        TEXT NOT NULL DEFAULT 'text',
    content     TEXT NOT NULL,
    -- The author's own name of the message, by which a repeated post is recognised.
    client_id   TEXT,
    inserted_at INTEGER NOT NULL,
    UNIQUE (room_id, seq)
) STRICT;

CREATE INDEX messages_by_client_id ON messages (user_id, client_id) WHERE client_id IS NOT NULL;

-- What `/readyz` writes to learn whether the database can grow: one row, replaced by every probe.
CREATE TABLE probes (
    id     INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;
