//! The CPU time and the memory of the server's process.

use super::LoadError;

/// The usage of a process at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) cpu_us: u64,
    pub(super) resident_bytes: u64,
}

impl Usage {
    /// Reads the usage of a process; `None` if none is named.
    #[cfg(target_os = "linux")]
    pub(super) fn read(pid: Option<i32>) -> Result<Option<Self>, LoadError> {
        let Some(pid) = pid else { return Ok(None) };
        let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
        let stat = stat.map_err(|error| LoadError::Process {
            pid,
            error: std::io::Error::other(error),
        })?;
        let ticks = stat.utime + stat.stime;
        Ok(Some(Self {
            cpu_us: ticks * 1_000_000 / procfs::ticks_per_second(),
            resident_bytes: stat.rss * procfs::page_size(),
        }))
    }

    /// Refuses: only Linux has the files that are read.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read(pid: Option<i32>) -> Result<Option<Self>, LoadError> {
        match pid {
            None => Ok(None),
            Some(pid) => Err(LoadError::Process {
                pid,
                error: std::io::Error::other("--pid needs Linux"),
            }),
        }
    }
}
