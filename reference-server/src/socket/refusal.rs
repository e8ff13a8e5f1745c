//! The refusals of connections.

use crate::error::ApiError;

/// The reason for which a socket or a long-poll session is refused.
#[derive(Debug)]
pub(super) enum ConnectRefusal {
    /// There is no token, or no known version.
    Parameters,
    Origin,
    Token,
    /// There are too many long-poll sessions.
    Sessions,
    Failed(ApiError),
}

impl ConnectRefusal {
    /// Returns the name of the reason in metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Sessions => "sessions",
            Self::Failed(_) => "storage",
        }
    }
}

impl From<ApiError> for ConnectRefusal {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}
