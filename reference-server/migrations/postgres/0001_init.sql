-- The tables of SQLite (`../0001_init.sql`, where their columns are described), and at the end one that only
-- several nodes need. Times are microseconds since 1970, UTC.

CREATE TABLE users (
    id            UUID PRIMARY KEY,
    tenant        TEXT NOT NULL,
    username      TEXT NOT NULL,
    skeleton      TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    status        TEXT NOT NULL DEFAULT 'online'
                  CHECK (status IN ('online', 'idle', 'dnd', 'invisible')),
    last_seen_at  BIGINT,
    inserted_at   BIGINT NOT NULL,
    UNIQUE (tenant, skeleton)
);

CREATE INDEX users_by_tenant ON users (tenant, id);

CREATE TABLE identities (
    tenant      TEXT NOT NULL,
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    user_id     UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    inserted_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, issuer, subject)
);

CREATE INDEX identities_by_user ON identities (user_id);

CREATE TABLE password_changes (
    user_id    UUID PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    changed_at BIGINT NOT NULL
);

CREATE TABLE revoked_tokens (
    id         UUID PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE servers (
    id          UUID PRIMARY KEY,
    tenant      TEXT NOT NULL,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    owner_id    UUID REFERENCES users (id) ON DELETE SET NULL,
    is_default  BOOLEAN NOT NULL DEFAULT FALSE,
    inserted_at BIGINT NOT NULL,
    UNIQUE (tenant, skeleton)
);

CREATE UNIQUE INDEX servers_default ON servers (tenant) WHERE is_default;
CREATE INDEX servers_by_owner ON servers (owner_id);

CREATE TABLE categories (
    id          UUID PRIMARY KEY,
    server_id   UUID NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    inserted_at BIGINT NOT NULL,
    UNIQUE (server_id, skeleton)
);

CREATE TABLE rooms (
    id           UUID PRIMARY KEY,
    tenant       TEXT NOT NULL,
    server_id    UUID REFERENCES servers (id) ON DELETE SET NULL,
    category_id  UUID REFERENCES categories (id) ON DELETE SET NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('group', 'dm', 'deleted')),
    name         TEXT NOT NULL,
    skeleton     TEXT,
    description  TEXT NOT NULL DEFAULT '',
    owner_id     UUID REFERENCES users (id) ON DELETE SET NULL,
    private      BOOLEAN NOT NULL DEFAULT FALSE,
    simulated    BOOLEAN NOT NULL DEFAULT FALSE,
    dm_key       TEXT UNIQUE,
    last_seq     BIGINT NOT NULL DEFAULT 0,
    member_count BIGINT NOT NULL DEFAULT 0,
    active_at    BIGINT NOT NULL,
    inserted_at  BIGINT NOT NULL
);

CREATE INDEX rooms_by_tenant ON rooms (tenant, id);
CREATE INDEX rooms_by_server ON rooms (server_id, id);
CREATE INDEX rooms_by_category ON rooms (category_id);
CREATE INDEX rooms_by_owner ON rooms (owner_id, kind);
CREATE INDEX rooms_deleted ON rooms (id) WHERE kind = 'deleted';
CREATE UNIQUE INDEX rooms_by_name ON rooms (server_id, skeleton) WHERE kind = 'group';

CREATE TABLE room_members (
    room_id   UUID NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id   UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    joined_at BIGINT NOT NULL,
    read_seq  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX room_members_by_user ON room_members (user_id, room_id);

CREATE FUNCTION count_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE rooms SET member_count = member_count + 1 WHERE id = NEW.room_id;
    ELSE
        UPDATE rooms SET member_count = member_count - 1 WHERE id = OLD.room_id;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER member_counted AFTER INSERT OR DELETE ON room_members
    FOR EACH ROW EXECUTE FUNCTION count_member();

CREATE TABLE messages (
    id          UUID PRIMARY KEY,
    room_id     UUID NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq         BIGINT NOT NULL,
    user_id     UUID NOT NULL,
    username    TEXT NOT NULL,
    guest       BOOLEAN NOT NULL,
    type        TEXT NOT NULL DEFAULT 'text',
    content     TEXT NOT NULL,
    edited_at   BIGINT,
    deleted     BOOLEAN NOT NULL DEFAULT FALSE,
    client_id   TEXT,
    inserted_at BIGINT NOT NULL,
    UNIQUE (room_id, seq)
);

CREATE INDEX messages_by_client_id ON messages (user_id, client_id) WHERE client_id IS NOT NULL;

-- In slots, so that the writers of a tenant do not all wait for one row.
CREATE TABLE message_counts (
    tenant TEXT NOT NULL,
    slot   BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (tenant, slot)
);

CREATE TABLE invites (
    room_id    UUID NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    inviter_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    invited_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

CREATE INDEX invites_by_user ON invites (user_id, room_id);

CREATE TABLE webhook_events (
    id          UUID PRIMARY KEY,
    payload     TEXT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    due_at      BIGINT NOT NULL,
    inserted_at BIGINT NOT NULL
);

CREATE INDEX webhook_events_due ON webhook_events (due_at);

CREATE TABLE probes (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    filler BYTEA NOT NULL
);

-- The messages of each user in its current window, for the limit that all nodes share. Not worth a log: it is empty
-- after a crash of the database.
CREATE UNLOGGED TABLE message_windows (
    user_id    UUID PRIMARY KEY,
    started_at BIGINT NOT NULL,
    count      BIGINT NOT NULL
);
