//! Named pipes.
//!
//! Who made the first instance of a name owns it until the last is closed, so the engine insists on being the first
//! and always keeps one open. Ordinary users may read and write but not add instances, which would let them take
//! our clients' calls.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, IntoRawHandle};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_NO_DATA, ERROR_PIPE_BUSY};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_CREATE_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
    SECURITY_IDENTIFICATION,
};
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, ImpersonateNamedPipeClient};

use super::IpcError;
use crate::caller::Caller;
use crate::rights::effective_uid;
use crate::sid::Sid;
use crate::windows::descriptor::{Descriptor, owner};
use crate::windows::succeeded;
use crate::windows::token::{Impersonation, Token};

/// What a client may do: read and write, but not make an instance of the pipe, which the system counts as writing.
const CLIENT_RIGHTS: u32 = (FILE_GENERIC_READ | FILE_GENERIC_WRITE) & !FILE_CREATE_PIPE_INSTANCE;

/// For so long in all a client waits for the engine to open the next instance …
const BUSY_TRIES: u32 = 100;
/// … looking this often.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Listener {
    path: PathBuf,
    rules: Rules,
    /// The instance that the next client connects to.
    next: Mutex<NamedPipeServer>,
}

/// The text of the pipe's security descriptor.
#[derive(Debug)]
struct Rules(String);

impl Listener {
    pub(super) fn bind(path: &Path) -> Result<Self, IpcError> {
        let failed = |source| IpcError::Io {
            path: path.to_path_buf(),
            source,
        };
        check_name(path).map_err(failed)?;
        let own = Token::of_this_process()
            .and_then(|token| token.user())
            .map_err(failed)?;
        let rules = Rules::of_engine(&own);
        let next = rules.instance(path, true).map_err(|error| {
            // The answer when the name has an instance already.
            if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) {
                IpcError::InUse {
                    path: path.to_path_buf(),
                }
            } else {
                failed(error)
            }
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            rules,
            next: Mutex::new(next),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        let mut next = self.next.lock().await;
        while let Err(error) = next.connect().await {
            if error.raw_os_error() != Some(ERROR_NO_DATA.cast_signed()) {
                return Err(error);
            }
            // That client has gone again already.
            next.disconnect()?;
        }
        // Until there is another instance this one stays where it is: should that fail, the next call finds the
        // client still waiting.
        let after = self.rules.instance(&self.path, false)?;
        let pipe = std::mem::replace(&mut *next, after);
        drop(next);
        let caller = caller(&pipe)?;
        Ok((Stream::Server(pipe), caller))
    }
}

impl Rules {
    /// The engine's user owns the pipe and may do all, like administrators and LocalSystem; whoever is logged in at
    /// this computer may call; nobody may from the network.
    fn of_engine(own: &Sid) -> Self {
        Self(format!(
            "O:{own}D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;{own})(A;;{CLIENT_RIGHTS:#x};;;IU)"
        ))
    }

    /// Opens an instance of the pipe.
    fn instance(&self, path: &Path, first: bool) -> io::Result<NamedPipeServer> {
        let descriptor = Descriptor::parse(&self.0)?;
        let mut attributes = descriptor.attributes();
        let mut options = ServerOptions::new();
        options.first_pipe_instance(first).reject_remote_clients(true);
        // SAFETY: the pointer is to a SECURITY_ATTRIBUTES whose descriptor is alive; both outlive the call.
        unsafe { options.create_with_security_attributes_raw(path, (&raw mut attributes).cast()) }
    }
}

/// Asks the system who is at the pipe's other end. By impersonation and not by process number, which may have been
/// dealt anew. A client that does not let itself be identified is refused.
fn caller(pipe: &NamedPipeServer) -> io::Result<Caller> {
    let user = {
        let _as_client = Impersonation::begin(|| {
            // SAFETY: the handle is open and a pipe's server end.
            succeeded(unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle()) })
        })?;
        Token::of_this_thread()?.user()?
    };
    let mut pid = 0;
    // SAFETY: the handle is open, and the function writes one number.
    let told = unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid) } != 0;
    Ok(Caller {
        uid: user.number(),
        pid: told.then_some(pid),
    })
}

pub(super) async fn connect(path: &Path) -> Result<Stream, IpcError> {
    let failed = |source| IpcError::Io {
        path: path.to_path_buf(),
        source,
    };
    check_name(path).map_err(failed)?;
    let mut tries = 0;
    let file = loop {
        // Identification: the server may learn who we are, and not act as us.
        let opened = OpenOptions::new()
            .access_mode(CLIENT_RIGHTS)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .security_qos_flags(SECURITY_IDENTIFICATION)
            .open(path);
        match opened {
            Ok(file) => break file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IpcError::NotRunning {
                    path: path.to_path_buf(),
                });
            }
            Err(error)
                if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) && tries < BUSY_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return Err(failed(error)),
        }
    };
    let server = owner(&file).map_err(failed)?.number();
    if !trusted(server, effective_uid()) {
        return Err(IpcError::UntrustedServer {
            path: path.to_path_buf(),
            uid: server,
        });
    }
    // SAFETY: the handle is a pipe's client end, opened for overlapped use; from here on the pipe owns it.
    unsafe { NamedPipeClient::from_raw_handle(file.into_raw_handle()) }
        .map(Stream::Client)
        .map_err(failed)
}

/// LocalSystem's engine or our own user's. Only they can have made themselves the pipe's owner.
fn trusted(server: u32, own: Option<u32>) -> bool {
    server == 0 || Some(server) == own
}

/// A pipe of this computer: any other path could lead to a file, or to another computer.
fn check_name(path: &Path) -> io::Result<()> {
    let name = path
        .to_str()
        .and_then(|path| path.strip_prefix(r"\\.\pipe\"))
        .filter(|name| !name.is_empty() && !name.contains('\\'));
    match name {
        Some(_) => Ok(()),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            r"not the name of a pipe (\\.\pipe\NAME)",
        )),
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
            Self::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Self::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_flush(context),
            Self::Client(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    /// Only flushes: a pipe can't be closed in one direction.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pipes_of_this_computer_are_names() {
        for good in [r"\\.\pipe\lanrage-engine", r"\\.\pipe\a b"] {
            assert!(check_name(Path::new(good)).is_ok(), "{good}");
        }
        for bad in [
            r"\\.\pipe\",
            r"\\other\pipe\lanrage-engine",
            r"\\.\pipe\..\x",
            r"C:\engine.sock",
            "",
        ] {
            assert!(check_name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn clients_may_not_add_instances() {
        assert_eq!(CLIENT_RIGHTS, 0x0012_019b);
    }

    #[test]
    fn a_server_is_trusted_when_it_is_the_systems_or_our_own() {
        assert!(trusted(0, Some(1000)) && trusted(1000, Some(1000)));
        assert!(!trusted(1001, Some(1000)) && !trusted(1000, None));
    }
}
