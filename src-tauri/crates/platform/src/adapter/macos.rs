//! utun on macOS, by the `tun` crate, with what it leaves out or does otherwise: the route to the range, and reading
//! without a copy.
//!
//! The interface, its address and its route last as long as the descriptor is open.

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Command, Stdio};

use rustix::io::{Errno, FdFlags};
use tun::AbstractDevice;

use super::{AdapterConfig, AdapterError};
use crate::poll::Handle;

/// Before each packet stands its address family as a number in network order (net/if_utun.h).
const HEADER: usize = 4;
const IPV4: [u8; HEADER] = (libc::AF_INET as u32).to_be_bytes();

pub(super) struct Device {
    // Closing it removes the interface.
    device: tun::Device,
}

impl Device {
    pub(super) fn open(config: &AdapterConfig) -> Result<(Self, String), AdapterError> {
        let mut request = tun::Configuration::default();
        if let Some(name) = &config.name {
            check_name(name)?;
            request.tun_name(name);
        }
        request
            .address(IpAddr::V4(config.address))
            // The other end of the line, which utun insists on: ourselves. The range gets its route below.
            .destination(IpAddr::V4(config.address))
            .netmask(IpAddr::V4(Ipv4Addr::BROADCAST))
            .mtu(config.mtu)
            .up();
        // Its own routing runs whatever program of that name the path leads to.
        request.platform_config(|platform| {
            platform.enable_routing(false);
        });
        let device = tun::create(&request).map_err(|error| creation_error(error.into(), config))?;
        let name = device.tun_name().map_err(|error| AdapterError::Other {
            step: "reading the adapter's name",
            source: error.into(),
        })?;
        device.set_nonblock().map_err(|source| AdapterError::Other {
            step: "making the adapter non-blocking",
            source,
        })?;
        let device = Self { device };
        // Else the interface would outlive us in whatever we started.
        rustix::io::fcntl_setfd(&device, FdFlags::CLOEXEC).map_err(|errno| AdapterError::Other {
            step: "keeping the adapter to this process",
            source: errno.into(),
        })?;
        add_route(config, &name).map_err(|source| AdapterError::Other {
            step: "adding the adapter's route",
            source,
        })?;
        Ok((device, name))
    }

    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut header = [0; HEADER];
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        let length = rustix::io::readv(self, &mut parts)?;
        // Of another family, which is dropped by whoever looks at the packet's version.
        Ok(length.saturating_sub(HEADER))
    }

    #[inline]
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<usize> {
        let length = rustix::io::writev(self, &[IoSlice::new(&IPV4), IoSlice::new(packet)])?;
        Ok(length.saturating_sub(HEADER))
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        self.as_fd()
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `device` owns the descriptor and closes it only when dropped; the result borrows `self`, and
        // nothing here takes the descriptor out of `device` or drops it earlier.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

/// The kernel's answers on a descriptor whose interface is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::NOTCONN)
    )
}

/// The system deals the names: only their numbers can be chosen.
fn check_name(name: &str) -> Result<(), AdapterError> {
    let number = name
        .strip_prefix("utun")
        .and_then(|number| number.parse::<u32>().ok());
    // The kernel counts from one.
    match number.filter(|&number| number < u32::MAX) {
        Some(_) => Ok(()),
        None => Err(AdapterError::Invalid {
            what: format!("the name {name:?}, which has to be utun and a number,"),
        }),
    }
}

fn creation_error(error: io::Error, config: &AdapterConfig) -> AdapterError {
    match (Errno::from_io_error(&error), &config.name) {
        (Some(Errno::PERM | Errno::ACCESS), _) => AdapterError::NoRights(error),
        (Some(Errno::BUSY), Some(name)) => AdapterError::Busy { name: name.clone() },
        _ => AdapterError::Other {
            step: "creating the adapter",
            source: error,
        },
    }
}

/// By the system's own program: route(4) messages are an interface of its kernel's, and this runs once a party.
fn add_route(config: &AdapterConfig, name: &str) -> io::Result<()> {
    let range = format!("{}/{}", config.address, config.prefix);
    let output = Command::new("/sbin/route")
        .args(["-n", "add", "-net", &range, "-interface", name])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("route: {}", said.trim())))
    }
}
