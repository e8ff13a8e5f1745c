-- Users that a message names after `@`, for the count of those that they have not read.
CREATE TABLE mentions (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    room_id BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (user_id, room_id, seq),
    FOREIGN KEY (room_id, seq) REFERENCES messages (room_id, seq) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX mentions_by_message ON mentions (room_id, seq);
