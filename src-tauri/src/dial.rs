//! Opens connections to the engine.

use lanrage_platform::dirs;
use lanrage_platform::ipc::{self, IpcError};
use lanrage_proto::{Fault, FaultCode};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};

/// A way to the engine.
pub(crate) trait Dial: Send + Sync + 'static {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin;

    /// A new connection, or the fault that tells the player why there is none.
    fn dial(&self) -> impl Future<Output = Result<Self::Stream, Fault>> + Send;
}

/// The engine behind the local socket.
#[derive(Debug, Clone, Hash)]
pub(crate) struct SocketDial {
    path: PathBuf,
}

impl SocketDial {
    /// The engine that listens on `path`, or the system's.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path: path.unwrap_or_else(ipc::default_socket_path),
        }
    }

    /// Whether it is the system's.
    pub(crate) fn is_systems(&self) -> bool {
        self.path == ipc::default_socket_path()
    }
}

impl Dial for SocketDial {
    type Stream = ipc::Stream;

    async fn dial(&self) -> Result<Self::Stream, Fault> {
        ipc::connect(&self.path).await.map_err(|error| self.fault(error))
    }
}

impl SocketDial {
    fn fault(&self, error: IpcError) -> Fault {
        let code = match error {
            IpcError::NotRunning { .. } | IpcError::InUse { .. } => return self.away(dirs::engine_program()),
            IpcError::UntrustedServer { .. } => FaultCode::EngineUntrusted,
            IpcError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                FaultCode::NotAllowed
            }
            IpcError::Io { source, .. } => return Fault::new(FaultCode::Internal).with("reason", source),
        };
        Fault::new(code).with("path", self.path.display())
    }

    /// Nobody listens. The system's engine may not even be there, which a player mends otherwise.
    fn away(&self, program: Option<PathBuf>) -> Fault {
        match program.filter(|program| self.is_systems() && !program.exists()) {
            Some(program) => Fault::new(FaultCode::EngineNotInstalled).with("path", program.display()),
            None => Fault::new(FaultCode::EngineNotRunning).with("path", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_installed_is_not_one_that_stopped() {
        let here = std::env::current_exe().unwrap();
        let nowhere = here.with_file_name("no-engine");
        let systems = SocketDial::new(None);
        let code = |dial: &SocketDial, program: &PathBuf| dial.away(Some(program.clone())).code;
        assert_eq!(code(&systems, &nowhere), FaultCode::EngineNotInstalled);
        assert_eq!(code(&systems, &here), FaultCode::EngineNotRunning);
        assert_eq!(systems.away(None).code, FaultCode::EngineNotRunning);
        let own = SocketDial::new(Some(PathBuf::from("/tmp/an.sock")));
        assert_eq!(code(&own, &nowhere), FaultCode::EngineNotRunning);
    }
}
