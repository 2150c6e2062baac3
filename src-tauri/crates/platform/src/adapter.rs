//! The virtual network adapter: a TUN device that carries bare IPv4 packets.
//!
//! An open [`Adapter`] is up, has its address and with it the directly connected route to the party's range.
//! It lives exactly as long as the value: the system removes the device when its descriptor is closed, so a
//! killed engine leaves neither device nor route behind.

use std::io;
use std::net::Ipv4Addr;

use crate::Unsupported;
use crate::poll::{Handle, Source};

#[cfg(target_os = "linux")]
#[path = "adapter/linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "adapter/macos.rs"]
mod system;
#[cfg(windows)]
#[path = "adapter/windows.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
#[path = "adapter/unsupported.rs"]
mod system;

#[cfg(windows)]
pub(crate) use system::driver_path;

/// How the adapter shall look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterConfig {
    /// Its name; `None` takes the first free one of `lanrage0`, `lanrage1`, … (macOS: `utun` and a number).
    pub name: Option<String>,
    /// Our address inside the party.
    pub address: Ipv4Addr,
    /// Length of the range's prefix in bits, 1–30.
    pub prefix: u8,
    /// Largest packet in bytes, at least 68 (RFC 791).
    pub mtu: u16,
}

impl AdapterConfig {
    /// The design's values: first free name, a /16, packets of up to 1280 bytes.
    pub fn new(address: Ipv4Addr) -> Self {
        Self {
            name: None,
            address,
            prefix: 16,
            mtu: 1280,
        }
    }
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// Creating network devices takes CAP_NET_ADMIN (Linux) or administrator rights.
    #[error("no right to create a network adapter")]
    NoRights(#[source] io::Error),
    /// The TUN driver is absent: on Linux `/dev/net/tun` is missing or its module can't be loaded, on Windows
    /// `wintun.dll` does not lie beside the program.
    #[error("the system's TUN driver is missing")]
    NoDevice(#[source] io::Error),
    /// Another program has an interface of that name.
    #[error("the name {name} is taken by another network interface")]
    Busy {
        /// The name asked for.
        name: String,
    },
    /// The name, prefix or MTU asked for can't be.
    #[error("{what} can't be used for a network adapter")]
    Invalid {
        /// The offending value with its kind: "the name a/b".
        what: String,
    },
    /// Anything else, with the step that failed.
    #[error("{step} failed")]
    Other {
        /// The step as a noun phrase: "setting the adapter's address".
        step: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// No adapter on this system.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// What an error of [`Adapter::read`] or [`Adapter::write`] means to the loop that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing to read, or no room to write: poll again.
    NotReady,
    /// This one packet is lost (device down for a moment, malformed packet, no memory): count it and go on.
    Dropped,
    /// The device is gone, deleted by someone; only a new [`Adapter`] helps.
    Gone,
}

/// An open adapter. Reading and writing take `&self`, so one thread may do both or two threads one each.
pub struct Adapter {
    device: system::Device,
    name: String,
    config: AdapterConfig,
}

impl Adapter {
    /// Creates the device, gives it its address, prefix, MTU and queue length, and brings it up. The device
    /// does not block: reading from an empty one is [`Trouble::NotReady`].
    ///
    /// # Errors
    /// [`AdapterError`]; nothing is left behind.
    pub fn open(config: AdapterConfig) -> Result<Self, AdapterError> {
        validate(&config)?;
        let (device, name) = system::Device::open(&config)?;
        Ok(Self { device, name, config })
    }

    /// The interface's name as the system shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Our address inside the party.
    pub fn address(&self) -> Ipv4Addr {
        self.config.address
    }

    /// Length of the range's prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.config.prefix
    }

    /// Largest packet in bytes.
    pub fn mtu(&self) -> u16 {
        self.config.mtu
    }

    /// Reads one IP packet. A packet longer than `buffer` is cut off; [`Adapter::mtu`] bytes are always enough.
    ///
    /// # Errors
    /// See [`Trouble::of_read`].
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.read(buffer)
    }

    /// Hands one IP packet to the system as if it had arrived from the network.
    ///
    /// # Errors
    /// See [`Trouble::of_write`].
    #[inline]
    pub fn write(&self, packet: &[u8]) -> io::Result<usize> {
        self.device.write(packet)
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adapter")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Adapter {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Source for Adapter {
    fn handle(&self) -> Handle<'_> {
        self.device.handle()
    }
}

impl Trouble {
    /// Judges an error of [`Adapter::read`]. An unknown error counts as [`Trouble::Gone`]: retrying it could
    /// spin for ever.
    pub fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Self::NotReady,
            io::ErrorKind::OutOfMemory => Self::Dropped,
            _ => Self::Gone,
        }
    }

    /// Judges an error of [`Adapter::write`]. An unknown error counts as [`Trouble::Dropped`]: one bad packet
    /// must not cost the adapter.
    pub fn of_write(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Self::NotReady,
            _ if system::is_gone(error) => Self::Gone,
            _ => Self::Dropped,
        }
    }
}

/// Refuses what no system would take, so that callers get the same error everywhere.
fn validate(config: &AdapterConfig) -> Result<(), AdapterError> {
    if let Some(name) = &config.name {
        // 15 bytes is Linux's IFNAMSIZ − 1. `%` would be taken for a pattern, `:` for an alias.
        let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
        if name.is_empty() || name.len() > 15 || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(AdapterError::Invalid {
                what: format!("the name {name:?}"),
            });
        }
    }
    if !(1..=30).contains(&config.prefix) {
        return Err(AdapterError::Invalid {
            what: format!("a prefix of {} bits", config.prefix),
        });
    }
    if config.mtu < 68 {
        return Err(AdapterError::Invalid {
            what: format!("an MTU of {} bytes", config.mtu),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> AdapterConfig {
        AdapterConfig {
            name: Some(name.into()),
            ..AdapterConfig::new(Ipv4Addr::new(10, 66, 0, 1))
        }
    }

    #[test]
    fn names_the_system_would_misread_are_refused() {
        for bad in ["", "a/b", "lan%d", "eth0:1", "sixteen-letters!", "..", "tab\t"] {
            assert!(
                matches!(validate(&named(bad)), Err(AdapterError::Invalid { .. })),
                "{bad:?}"
            );
        }
        for good in ["lanrage0", "fifteen-letters", "a.b"] {
            assert!(validate(&named(good)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn prefix_and_mtu_have_bounds() {
        for prefix in [0, 31, 32, 255] {
            assert!(
                validate(&AdapterConfig { prefix, ..named("a") }).is_err(),
                "{prefix}"
            );
        }
        assert!(
            validate(&AdapterConfig {
                mtu: 67,
                ..named("a")
            })
            .is_err()
        );
        assert!(
            validate(&AdapterConfig {
                mtu: 68,
                prefix: 30,
                ..named("a")
            })
            .is_ok()
        );
    }
}
