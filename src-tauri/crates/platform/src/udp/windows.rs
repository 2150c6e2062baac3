//! What a UDP socket has to be told on Windows to behave as elsewhere.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::AsRawSocket;
use std::ptr::null_mut;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::{
    SIO_UDP_CONNRESET, SIO_UDP_NETRESET, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAGetLastError, WSAIoctl,
    setsockopt,
};

/// Has the socket's port for itself, as everywhere else, and keeps what routers answer to packets sent earlier
/// out of its reading, where it would look like an error of the socket.
pub(super) fn behave(socket: &Socket) -> io::Result<()> {
    let raw = socket.as_raw_socket() as SOCKET;
    let yes = 1i32.to_ne_bytes();
    // SAFETY: the socket is open, and the option's value is four bytes that outlive the call.
    checked(unsafe { setsockopt(raw, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, yes.as_ptr(), 4) })?;
    for code in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
        let (no, mut length) = (0i32, 0);
        // SAFETY: the socket is open, the input is four bytes that outlive the call, nothing is written but
        // `length`, and without an overlapped structure the call is over when it returns.
        let answer = checked(unsafe {
            WSAIoctl(
                raw,
                code,
                (&raw const no).cast(),
                4,
                null_mut(),
                0,
                &raw mut length,
                null_mut(),
                None,
            )
        });
        if let Err(error) = answer {
            // Readers pass such errors over; it only costs time.
            tracing::debug!(%error, "routers' answers stay in the way of reading");
        }
    }
    Ok(())
}

fn checked(answer: i32) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        // SAFETY: the function has no condition.
        Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }))
    }
}
