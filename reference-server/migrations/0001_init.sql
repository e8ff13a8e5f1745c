-- Ids are 16-byte UUIDs (version 7, so that they sort by age); times are microseconds since 1970, UTC.

CREATE TABLE users (
    id            BLOB PRIMARY KEY NOT NULL,
    tenant        TEXT NOT NULL,
    -- As PRECIS (RFC 8265) maps it: lower case, one form of every character.
    username      TEXT NOT NULL,
    -- The skeleton of the name (UTS 39): names that look alike have one.
    skeleton      TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    -- The status that the user has chosen.
    status        TEXT NOT NULL DEFAULT 'online'
                  CHECK (status IN ('online', 'idle', 'dnd', 'invisible')),
    -- When the last connection of the user ended.
    last_seen_at  INTEGER,
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

-- Every tenant has one default server, on which all users make rooms; on another only its owner does.
CREATE TABLE servers (
    id          BLOB PRIMARY KEY NOT NULL,
    tenant      TEXT NOT NULL,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    owner_id    BLOB REFERENCES users (id) ON DELETE SET NULL,
    is_default  INTEGER NOT NULL DEFAULT 0,
    inserted_at INTEGER NOT NULL,
    UNIQUE (tenant, skeleton)
) STRICT;

CREATE UNIQUE INDEX servers_default ON servers (tenant) WHERE is_default;
CREATE INDEX servers_by_owner ON servers (owner_id);

-- Groups of rooms on a server.
CREATE TABLE categories (
    id          BLOB PRIMARY KEY NOT NULL,
    server_id   BLOB NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    inserted_at INTEGER NOT NULL,
    UNIQUE (server_id, skeleton)
) STRICT;

CREATE TABLE rooms (
    id           BLOB PRIMARY KEY NOT NULL,
    tenant       TEXT NOT NULL,
    -- None for a DM.
    server_id    BLOB REFERENCES servers (id) ON DELETE SET NULL,
    category_id  BLOB REFERENCES categories (id) ON DELETE SET NULL,
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
    -- When the newest message was posted, or else when the room was made.
    active_at    INTEGER NOT NULL,
    inserted_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX rooms_by_tenant ON rooms (tenant, id);
CREATE INDEX rooms_by_server ON rooms (server_id, id);
CREATE INDEX rooms_by_category ON rooms (category_id);
CREATE INDEX rooms_by_owner ON rooms (owner_id, kind);
CREATE INDEX rooms_deleted ON rooms (id) WHERE kind = 'deleted';
CREATE UNIQUE INDEX rooms_by_name ON rooms (server_id, skeleton) WHERE kind = 'group';

CREATE TABLE room_members (
    room_id   BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    joined_at INTEGER NOT NULL,
    -- The number of the newest message that the user has read.
    read_seq  INTEGER NOT NULL DEFAULT 0,
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
    -- Empty once the message is deleted.
    content     TEXT NOT NULL,
    edited_at   INTEGER,
    deleted     INTEGER NOT NULL DEFAULT 0,
    -- The author's own name of the message, by which a repeated post is recognised.
    client_id   TEXT,
    inserted_at INTEGER NOT NULL,
    UNIQUE (room_id, seq)
) STRICT;

CREATE INDEX messages_by_client_id ON messages (user_id, client_id) WHERE client_id IS NOT NULL;

-- Messages that were ever posted in a tenant, also in rooms that are deleted.
CREATE TABLE message_counts (
    tenant TEXT PRIMARY KEY NOT NULL,
    count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Invitations to private rooms that were neither accepted nor declined.
CREATE TABLE invites (
    room_id    BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id    BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    inviter_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    invited_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX invites_by_user ON invites (user_id, room_id);

-- Events that wait for the webhook; the id is that of the event, by which a receiver knows a repetition.
CREATE TABLE webhook_events (
    id          BLOB PRIMARY KEY NOT NULL,
    payload     TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    inserted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_events_due ON webhook_events (due_at);

-- What `/readyz` writes to learn whether the database can grow: one row, replaced by every probe.
CREATE TABLE probes (
    id     INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;
