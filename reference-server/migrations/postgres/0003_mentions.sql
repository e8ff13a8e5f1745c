-- The table of SQLite's `../0004_mentions.sql`, where it is described.
CREATE TABLE mentions (
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    room_id UUID NOT NULL,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, seq),
    FOREIGN KEY (room_id, seq) REFERENCES messages (room_id, seq) ON DELETE CASCADE
);

CREATE INDEX mentions_by_message ON mentions (room_id, seq);
