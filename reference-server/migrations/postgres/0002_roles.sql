-- The tables of SQLite's `../0003_roles.sql`, where their columns are described.
CREATE TABLE roles (
    id          UUID PRIMARY KEY,
    server_id   UUID NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    colour      TEXT NOT NULL,
    hoisted     BOOLEAN NOT NULL,
    position    BIGINT NOT NULL,
    inserted_at BIGINT NOT NULL,
    UNIQUE (server_id, skeleton)
);

CREATE TABLE role_holders (
    role_id UUID NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (role_id, user_id)
);

CREATE INDEX role_holders_by_user ON role_holders (user_id, role_id);

CREATE TABLE room_roles (
    room_id UUID NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    role_id UUID NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    PRIMARY KEY (room_id, role_id)
);

CREATE INDEX room_roles_by_role ON room_roles (role_id, room_id);

ALTER TABLE rooms ADD COLUMN limited BOOLEAN NOT NULL DEFAULT FALSE;
