-- Users that sign in at another site; they have an empty password hash until they have a password here.
CREATE TABLE identities (
    tenant      TEXT NOT NULL,
    -- The provider, and the user's id there, as its ID token says.
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    inserted_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_by_user ON identities (user_id);
