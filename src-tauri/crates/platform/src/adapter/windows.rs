//! Wintun on Windows, by the `wintun` crate for the driver and the IP helper for addresses.
//!
//! The driver's library, `wintun.dll`, lies beside our program and is loaded from there and nowhere else: a search
//! along the usual path would find a stranger's. It needs administrator rights, and the system removes the adapter
//! with the process that made it.

#![allow(unsafe_code)]

#[path = "windows/address.rs"]
mod address;

use std::env;
use std::io;
use std::os::windows::io::BorrowedHandle;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_HANDLE_EOF, ERROR_INVALID_DATA,
    ERROR_OBJECT_ALREADY_EXISTS,
};
use wintun::{Session, Wintun};

use super::{AdapterConfig, AdapterError};
use crate::poll::{Handle, Queue};

/// What the system's lists of devices call it.
const KIND: &str = "LANrage";

/// Bytes of each of the driver's two rings; a power of two. Room for several milliseconds of a fast link, like the
/// sockets' buffers.
const RING: u32 = 4 << 20;

/// Our first adapter's identity. Always the same, so that the system recognises it, with its firewall profile and
/// its place among the networks, instead of greeting a new one each time. Others count on from it.
const GUID: u128 = 0x4c41_4e72_6167_4542_8d3e_6f1b_a5c7_0000;

/// Names to try when none was asked for.
const NAMES: u32 = 64;

pub(super) struct Device {
    session: Arc<Session>,
    /// The event that the driver sets with each packet; it lives as long as the session.
    added: BorrowedHandle<'static>,
    /// Whether the last reading found nothing.
    empty: AtomicBool,
}

/// Where the driver's library has to be.
///
/// # Errors
/// When the system won't say where our program is.
pub(crate) fn driver_path() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("wintun.dll"))
}

impl Device {
    pub(super) fn open(config: &AdapterConfig) -> Result<(Self, String), AdapterError> {
        let library = load()?;
        let (name, guid) = identity(config.name.as_deref())?;
        let adapter = wintun::Adapter::create(&library, &name, KIND, Some(guid))
            .map_err(|error| creation_error(error, &name))?;
        let luid = adapter.get_luid();
        // SAFETY: both members of the union are made of plain numbers of the same size.
        let luid = unsafe { luid.Value };
        address::configure(luid, config)?;
        let session = adapter
            .start_session(RING)
            .map_err(other("starting the adapter's session"))?;
        let event = session
            .get_read_wait_event()
            .map_err(other("asking the adapter for its event"))?;
        if event == 0 {
            return Err(AdapterError::Other {
                step: "asking the adapter for its event",
                source: io::Error::last_os_error(),
            });
        }
        // SAFETY: the event is not null and belongs to the session, which closes it when it ends. The borrow is kept
        // beside the session and handed out only for as long as `self` is borrowed.
        let added = unsafe { BorrowedHandle::borrow_raw(event as _) };
        let device = Self {
            session: Arc::new(session),
            added,
            empty: AtomicBool::new(false),
        };
        Ok((device, name))
    }

    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.session.try_receive()? {
            Some(packet) => {
                let bytes = packet.bytes();
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                Ok(length)
            }
            None => {
                // The driver has set the event for everything that came before, and sets it for what comes now.
                self.empty.store(true, Ordering::Release);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    #[inline]
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<usize> {
        let length = u16::try_from(packet.len())
            .ok()
            .filter(|&length| length > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut slot = self.session.allocate_send_packet(length)?;
        slot.bytes_mut().copy_from_slice(packet);
        self.session.send_packet(slot);
        Ok(packet.len())
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        Queue {
            added: self.added,
            empty: &self.empty,
        }
        .into()
    }
}

/// The driver's answers when the adapter was removed, and when its ring is damaged.
pub(super) fn is_gone(error: &io::Error) -> bool {
    is(error, &[ERROR_HANDLE_EOF, ERROR_INVALID_DATA])
}

fn is(error: &io::Error, codes: &[u32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

fn load() -> Result<Wintun, AdapterError> {
    let path = driver_path().map_err(AdapterError::NoDevice)?;
    // SAFETY: loading runs the library's code. It is the driver's, from the directory of our own program, which an
    // ordinary user can't write to when it is installed as it should be, and the path is absolute.
    unsafe { wintun::load_from_path(&path) }.map_err(|error| {
        let reason = format!("{} can't be loaded: {error}", path.display());
        AdapterError::NoDevice(io::Error::other(reason))
    })
}

/// The adapter's name and its identity.
fn identity(wanted: Option<&str>) -> Result<(String, u128), AdapterError> {
    let Some(name) = wanted else {
        let free = (0..NAMES).find_map(|number| {
            let name = format!("lanrage{number}");
            (!address::is_taken(&name)).then_some((name, GUID + u128::from(number)))
        });
        return free.ok_or(AdapterError::Busy {
            name: "lanrage0".to_owned(),
        });
    };
    if address::is_taken(name) {
        return Err(AdapterError::Busy {
            name: name.to_owned(),
        });
    }
    Ok((name.to_owned(), GUID + named(name)))
}

/// The same for the same name, and beyond the numbers of names of our choice.
fn named(name: &str) -> u128 {
    let own = name
        .strip_prefix("lanrage")
        .and_then(|number| number.parse::<u32>().ok());
    if let Some(number) = own.filter(|&number| number < NAMES) {
        return number.into();
    }
    let hash = name.bytes().fold(0u16, |hash, byte| {
        hash.rotate_left(5) ^ u16::from(byte).wrapping_mul(0x9e37)
    });
    u128::from(u32::from(hash).max(NAMES))
}

fn creation_error(error: wintun::Error, name: &str) -> AdapterError {
    let source = system_error(error);
    if is(&source, &[ERROR_ACCESS_DENIED]) {
        AdapterError::NoRights(source)
    } else if is(&source, &[ERROR_ALREADY_EXISTS, ERROR_OBJECT_ALREADY_EXISTS]) {
        AdapterError::Busy {
            name: name.to_owned(),
        }
    } else {
        AdapterError::Other {
            step: "creating the adapter",
            source,
        }
    }
}

fn other(step: &'static str) -> impl FnOnce(wintun::Error) -> AdapterError {
    move |error| AdapterError::Other {
        step,
        source: system_error(error),
    }
}

/// Where the crate only says that a call failed, the reason is still the system's last error.
fn system_error(error: wintun::Error) -> io::Error {
    let last = io::Error::last_os_error();
    match error {
        wintun::Error::Io(error) => error,
        wintun::Error::String(_) if last.raw_os_error() != Some(0) => last,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Trouble;
    use std::net::Ipv4Addr;
    use windows_sys::Win32::Foundation::ERROR_BUFFER_OVERFLOW;

    #[test]
    fn each_name_has_its_own_identity() {
        assert_eq!((named("lanrage0"), named("lanrage63")), (0, 63));
        for name in ["lanrage64", "lanrage", "game", "emag"] {
            assert!((64..=0xffff).contains(&named(name)), "{name}");
        }
        assert_ne!(named("game"), named("emag"));
    }

    #[test]
    fn a_full_ring_costs_a_packet_and_a_removed_adapter_the_adapter() {
        let error = |code: u32| io::Error::from_raw_os_error(code.cast_signed());
        assert_eq!(Trouble::of_write(&error(ERROR_BUFFER_OVERFLOW)), Trouble::Dropped);
        assert_eq!(Trouble::of_write(&error(ERROR_HANDLE_EOF)), Trouble::Gone);
        assert_eq!(Trouble::of_read(&error(ERROR_HANDLE_EOF)), Trouble::Gone);
    }

    #[test]
    fn without_the_drivers_library_there_is_no_device() {
        if driver_path().unwrap().exists() {
            eprintln!("skipped: the library lies beside this program");
            return;
        }
        let opened = Device::open(&AdapterConfig::new(Ipv4Addr::new(10, 66, 0, 1)));
        assert!(matches!(opened, Err(AdapterError::NoDevice(_))));
    }
}
