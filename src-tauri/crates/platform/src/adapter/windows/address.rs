//! Address, MTU and metric of an interface, by the IP helper.

use std::io;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NOT_FOUND};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceAliasToLuid, CreateUnicastIpAddressEntry, GetIpInterfaceEntry,
    InitializeIpInterfaceEntry, InitializeUnicastIpAddressEntry, MIB_IPINTERFACE_ROW,
    MIB_UNICASTIPADDRESS_ROW, SetIpInterfaceEntry,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, IN_ADDR, IN_ADDR_0, IpDadStatePreferred, RouterDiscoveryDisabled, SOCKADDR_IN, SOCKADDR_INET,
};

use super::is;
use crate::adapter::{AdapterConfig, AdapterError};
use crate::windows::{no_error, wide};

/// Windows sends 255.255.255.255 by the interface of the lowest metric alone, and that has to be ours for games to
/// find each other. There is no default route on it, so nothing else prefers it.
const METRIC: u32 = 1;

/// A new adapter gets its IPv4 side a moment after its creation; by then it is there or something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Whether an interface has this name.
pub(super) fn is_taken(name: &str) -> bool {
    let Ok(name) = wide(name) else {
        return false;
    };
    let mut luid = NET_LUID_LH::default();
    // SAFETY: `name` ends with a zero, and the function writes one identifier.
    unsafe { ConvertInterfaceAliasToLuid(name.as_ptr(), &raw mut luid) == 0 }
}

/// Sets the interface up as planned. Its addresses last as long as the adapter; the route to the range comes with
/// them.
pub(super) fn configure(luid: u64, config: &AdapterConfig) -> Result<(), AdapterError> {
    let failed = |step| move |source| AdapterError::Other { step, source };
    let mut row = interface(luid).map_err(failed("finding the adapter's IPv4 side"))?;
    row.NlMtu = config.mtu.into();
    row.UseAutomaticMetric = false;
    row.Metric = METRIC;
    // Nobody else can have our address: no waiting for an objection, and no asking for routers.
    row.DadTransmits = 0;
    row.RouterDiscoveryBehavior = RouterDiscoveryDisabled;
    // The system returns a value that it does not take back.
    row.SitePrefixLength = 0;
    // SAFETY: the row is the interface's own with allowed changes; the function keeps no pointer to it.
    no_error(unsafe { SetIpInterfaceEntry(&raw mut row) })
        .map_err(failed("setting the adapter's MTU and metric"))?;
    add_address(luid, config.address, config.prefix).map_err(failed("setting the adapter's address"))
}

fn interface(luid: u64) -> io::Result<MIB_IPINTERFACE_ROW> {
    let begin = Instant::now();
    loop {
        let mut row = MIB_IPINTERFACE_ROW::default();
        // SAFETY: the function fills in one row.
        unsafe { InitializeIpInterfaceEntry(&raw mut row) };
        row.Family = AF_INET;
        row.InterfaceLuid = NET_LUID_LH { Value: luid };
        // SAFETY: the row says which interface is meant, and the function fills in the rest.
        match no_error(unsafe { GetIpInterfaceEntry(&raw mut row) }) {
            Ok(()) => return Ok(row),
            Err(error)
                if is(&error, &[ERROR_NOT_FOUND, ERROR_FILE_NOT_FOUND]) && begin.elapsed() < PATIENCE =>
            {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

fn add_address(luid: u64, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut row = MIB_UNICASTIPADDRESS_ROW::default();
    // SAFETY: the function fills in one row.
    unsafe { InitializeUnicastIpAddressEntry(&raw mut row) };
    row.InterfaceLuid = NET_LUID_LH { Value: luid };
    row.Address = socket_address(address);
    row.OnLinkPrefixLength = prefix;
    row.DadState = IpDadStatePreferred;
    // SAFETY: the row is whole; the function keeps no pointer to it.
    no_error(unsafe { CreateUnicastIpAddressEntry(&raw const row) })
}

fn socket_address(address: Ipv4Addr) -> SOCKADDR_INET {
    SOCKADDR_INET {
        Ipv4: SOCKADDR_IN {
            sin_family: AF_INET,
            sin_port: 0,
            sin_addr: IN_ADDR {
                // In network order, which is the order of its bytes in memory.
                S_un: IN_ADDR_0 {
                    S_addr: u32::from_ne_bytes(address.octets()),
                },
            },
            sin_zero: [0; 8],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_nobody_has_is_free() {
        assert!(!is_taken("no such interface"));
        assert!(!is_taken("a\0b"));
    }

    #[test]
    fn addresses_are_in_network_order() {
        let address = socket_address(Ipv4Addr::new(10, 66, 0, 1));
        // SAFETY: the union was made with this member.
        let bytes = unsafe { address.Ipv4.sin_addr.S_un.S_addr }.to_ne_bytes();
        assert_eq!(bytes, [10, 66, 0, 1]);
    }
}
