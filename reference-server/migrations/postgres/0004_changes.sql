-- The tables of SQLite's `../0005_changes.sql`. The row of the room or server, which each change updates, is locked
-- until it is committed: numbers become visible in their order.
ALTER TABLE rooms ADD COLUMN members_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN holders_seq BIGINT NOT NULL DEFAULT 0;

CREATE TABLE member_changes (
    room_id UUID NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq     BIGINT NOT NULL,
    user_id UUID NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE TABLE holder_changes (
    server_id UUID NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    seq       BIGINT NOT NULL,
    user_id   UUID NOT NULL,
    PRIMARY KEY (server_id, seq)
);

CREATE OR REPLACE FUNCTION count_member() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed room_members;
    newest BIGINT;
    is_read BOOLEAN;
BEGIN
    IF TG_OP = 'INSERT' THEN
        changed := NEW;
    ELSE
        changed := OLD;
    END IF;
    UPDATE rooms SET members_seq = members_seq + 1,
            member_count = member_count + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
        WHERE id = changed.room_id RETURNING members_seq, kind <> 'deleted' INTO newest, is_read;
    IF is_read THEN
        INSERT INTO member_changes VALUES (changed.room_id, newest, changed.user_id);
        DELETE FROM member_changes WHERE room_id = changed.room_id AND seq = newest - 10000;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION note_holder() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change holder_changes;
    held role_holders;
BEGIN
    IF TG_OP = 'INSERT' THEN
        held := NEW;
    ELSE
        held := OLD;
    END IF;
    UPDATE servers s SET holders_seq = holders_seq + 1 FROM roles r
        WHERE r.id = held.role_id AND s.id = r.server_id
        RETURNING s.id, s.holders_seq, held.user_id INTO change;
    IF FOUND THEN
        INSERT INTO holder_changes SELECT change.*;
        DELETE FROM holder_changes WHERE server_id = change.server_id AND seq = change.seq - 10000;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER holder_noted AFTER INSERT OR DELETE ON role_holders
    FOR EACH ROW EXECUTE FUNCTION note_holder();
