//! The private parts of the data directory: the secret to sign with, and the lock.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write as _},
};

use super::Config;

/// A secret of the operator. Its `Debug` form reveals nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = Infallible;

    /// Never fails, since the error of a flag would print its value: the check of the settings refuses a short one.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// Returns the secret to sign with: the given one, or the one stored in the data directory, which is
/// generated (with a line on stderr) at the first start.
pub(crate) fn resolve_secret(config: &Config) -> io::Result<Secret> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    let path = config.data_dir.join("jwt-secret");
    let named =
        |why: &dyn std::fmt::Display| io::Error::other(format!("{}: {why}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) => {
            let secret = Secret(text.trim().to_owned());
            secret.check().map_err(|why| named(&why))?;
            Ok(secret)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = random_hex()?;
            write_private(&path, &text).map_err(|error| named(&error))?;
            let _ = writeln!(
                io::stderr(),
                "no --jwt-secret given: generated one, stored in {}",
                path.display()
            );
            Ok(Secret(text))
        }
        Err(error) => Err(named(&error)),
    }
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn write_private(path: &std::path::Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(text.as_bytes());
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a secret would prevent later starts, when there is room again.
        let _ = fs::remove_file(path);
    })
}

/// Locks the data directory for this process until the file is dropped; `None` if another server
/// has locked it.
pub(crate) fn lock_data_dir(config: &Config) -> io::Result<Option<fs::File>> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(config.data_dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}
