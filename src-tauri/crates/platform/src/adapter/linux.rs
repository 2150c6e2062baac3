//! TUN on Linux, by the `tun` crate, with what it leaves out: queue length, no IPv6, errors told apart.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use tun::AbstractDevice;

use super::{AdapterConfig, AdapterError};
use crate::poll::Handle;

/// Packets the device may hold until we read them. The default of 500 overflows between two turns of a busy
/// data thread; 5000 measured two to three times as many packets per second.
const QUEUE_LENGTH: libc::c_int = 5000;

pub(super) struct Device {
    // Closing it removes the interface: nothing makes it persistent.
    device: tun::Device,
}

impl Device {
    pub(super) fn open(config: &AdapterConfig) -> Result<(Self, String), AdapterError> {
        let mut request = tun::Configuration::default();
        // The kernel fills in the first free number.
        request.tun_name(config.name.as_deref().unwrap_or("lanrage%d"));
        let mut device = tun::create(&request).map_err(|error| creation_error(error.into(), config))?;
        let name = device.tun_name().map_err(other("reading the adapter's name"))?;

        device
            .set_nonblock()
            .map_err(|error| other("making the adapter non-blocking")(error.into()))?;
        device
            .set_mtu(config.mtu)
            .map_err(other("setting the adapter's MTU"))?;
        // The kernel wants the right for it in the first user namespace, which a container's root lacks. Without,
        // the adapter is slower under load, and works.
        if let Err(error) = set_queue_length(&name) {
            tracing::debug!(%error, name, "the adapter's queue keeps its length");
        }
        refuse_ipv6(&name);
        device
            .set_address(IpAddr::V4(config.address))
            .map_err(other("setting the adapter's address"))?;
        device
            .set_netmask(IpAddr::V4(netmask(config.prefix)))
            .map_err(other("setting the adapter's netmask"))?;
        // Last, so that the interface is never up half-configured.
        device.enabled(true).map_err(other("bringing the adapter up"))?;
        Ok((Self { device }, name))
    }

    // Straight to the descriptor: the crate's own `recv` clears a 1.5 kB buffer for each packet.
    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self, buffer)?)
    }

    #[inline]
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self, packet)?)
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

/// EBADFD is the driver's answer on a descriptor whose interface was deleted.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::BADFD | Errno::BADF | Errno::NODEV | Errno::NXIO)
    )
}

fn creation_error(error: io::Error, config: &AdapterConfig) -> AdapterError {
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => AdapterError::NoRights(error),
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => AdapterError::NoDevice(error),
        // EBUSY: another program's TUN device; EINVAL: an interface of another kind, or a name the kernel
        // refuses although `validate` let it pass.
        Some(Errno::BUSY | Errno::INVAL | Errno::EXIST) if taken(config.name.as_deref()) => {
            AdapterError::Busy {
                name: config.name.clone().unwrap_or_default(),
            }
        }
        _ => AdapterError::Other {
            step: "creating the adapter",
            source: error,
        },
    }
}

fn taken(name: Option<&str>) -> bool {
    let index = |name| netdevice::name_to_index(control_socket()?, name);
    name.is_some_and(|name| index(name).is_ok())
}

fn other(step: &'static str) -> impl FnOnce(tun::Error) -> AdapterError {
    move |error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::PermissionDenied => AdapterError::NoRights(error),
        source => AdapterError::Other { step, source },
    }
}

fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
}

/// The party carries IPv4 only; without this the kernel gives the device a link-local IPv6 address and sends
/// router solicitations and multicast reports into it. A kernel without IPv6 has no such file.
fn refuse_ipv6(name: &str) {
    if let Err(error) = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        tracing::debug!(%error, name, "IPv6 stays as it is on the adapter");
    }
}

/// A socket to address interface requests to (netdevice(7)); its kind does not matter.
fn control_socket() -> rustix::io::Result<rustix::fd::OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn set_queue_length(name: &str) -> io::Result<()> {
    let socket = control_socket()?;
    // SAFETY: `ifreq` is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the kernel reads the name up to it.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    // SIOCSIFTXQLEN reads an int at the union's start (`ifr_qlen`); libc names that member `ifru_metric`.
    request.ifr_ifru.ifru_metric = QUEUE_LENGTH;
    // SAFETY: `socket` is open, and SIOCSIFTXQLEN reads one `ifreq`, which `request` is, and keeps no pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFTXQLEN as _, &raw const request) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_have_as_many_bits_as_the_prefix() {
        assert_eq!(netmask(16), Ipv4Addr::new(255, 255, 0, 0));
        assert_eq!(netmask(30), Ipv4Addr::new(255, 255, 255, 252));
        assert_eq!(netmask(1), Ipv4Addr::new(128, 0, 0, 0));
    }
}
