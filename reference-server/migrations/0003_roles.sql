-- Roles of a server, which its owner gives to users and to which it limits rooms.
CREATE TABLE roles (
    id          BLOB PRIMARY KEY NOT NULL,
    server_id   BLOB NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    skeleton    TEXT NOT NULL,
    -- As `#rrggbb`; empty for none.
    colour      TEXT NOT NULL,
    -- Members with it are to be a group of their own in member lists.
    hoisted     INTEGER NOT NULL,
    -- The highest role has the lowest position.
    position    INTEGER NOT NULL,
    inserted_at INTEGER NOT NULL,
    UNIQUE (server_id, skeleton)
) STRICT;

CREATE TABLE role_holders (
    role_id BLOB NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (role_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX role_holders_by_user ON role_holders (user_id, role_id);

-- The roles that admit to a limited room.
CREATE TABLE room_roles (
    room_id BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    role_id BLOB NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    PRIMARY KEY (room_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_roles_by_role ON room_roles (role_id, room_id);

-- Stays set when the last of the room's roles is deleted: the room then admits the owner of the server alone.
ALTER TABLE rooms ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;
