-- The newest changes of who is a member of a room, and of the roles that users of a server have, by numbers without
-- gaps: a node that was cut off reads what it missed. Of more the oldest are forgotten.
ALTER TABLE rooms ADD COLUMN members_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN holders_seq INTEGER NOT NULL DEFAULT 0;

CREATE TABLE member_changes (
    room_id BLOB NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    user_id BLOB NOT NULL,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE holder_changes (
    server_id BLOB NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    seq       INTEGER NOT NULL,
    user_id   BLOB NOT NULL,
    PRIMARY KEY (server_id, seq)
) STRICT, WITHOUT ROWID;

DROP TRIGGER member_added;
DROP TRIGGER member_removed;

CREATE TRIGGER member_added AFTER INSERT ON room_members BEGIN
    UPDATE rooms SET member_count = member_count + 1, members_seq = members_seq + 1 WHERE id = new.room_id;
    INSERT INTO member_changes (room_id, seq, user_id)
        SELECT id, members_seq, new.user_id FROM rooms WHERE id = new.room_id;
    DELETE FROM member_changes WHERE (room_id, seq) IN (
        SELECT id, members_seq - 10000 FROM rooms WHERE id = new.room_id);
END;

-- Of a room that is being deleted nobody reads the changes.
CREATE TRIGGER member_removed AFTER DELETE ON room_members BEGIN
    UPDATE rooms SET member_count = member_count - 1, members_seq = members_seq + 1 WHERE id = old.room_id;
    INSERT INTO member_changes (room_id, seq, user_id)
        SELECT id, members_seq, old.user_id FROM rooms WHERE id = old.room_id AND kind <> 'deleted';
    DELETE FROM member_changes WHERE (room_id, seq) IN (
        SELECT id, members_seq - 10000 FROM rooms WHERE id = old.room_id);
END;

CREATE TRIGGER role_given AFTER INSERT ON role_holders BEGIN
    UPDATE servers SET holders_seq = holders_seq + 1
        WHERE id = (SELECT server_id FROM roles WHERE id = new.role_id);
    INSERT INTO holder_changes (server_id, seq, user_id)
        SELECT s.id, s.holders_seq, new.user_id FROM servers s JOIN roles r ON r.server_id = s.id
        WHERE r.id = new.role_id;
    DELETE FROM holder_changes WHERE (server_id, seq) IN (
        SELECT s.id, s.holders_seq - 10000 FROM servers s JOIN roles r ON r.server_id = s.id
        WHERE r.id = new.role_id);
END;

-- Of a role that is deleted nothing is left to read: a node reads which roles there are in any case.
CREATE TRIGGER role_taken AFTER DELETE ON role_holders BEGIN
    UPDATE servers SET holders_seq = holders_seq + 1
        WHERE id = (SELECT server_id FROM roles WHERE id = old.role_id);
    INSERT INTO holder_changes (server_id, seq, user_id)
        SELECT s.id, s.holders_seq, old.user_id FROM servers s JOIN roles r ON r.server_id = s.id
        WHERE r.id = old.role_id;
    DELETE FROM holder_changes WHERE (server_id, seq) IN (
        SELECT s.id, s.holders_seq - 10000 FROM servers s JOIN roles r ON r.server_id = s.id
        WHERE r.id = old.role_id);
END;
