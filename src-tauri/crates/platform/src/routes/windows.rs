//! The system's routes by the IP helper.

#![allow(unsafe_code)]

use std::io;
use std::net::Ipv4Addr;
use std::ptr::null_mut;

use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceLuidToAlias, FreeMibTable, GetIpForwardTable2, MIB_IPFORWARD_ROW2, MIB_IPFORWARD_TABLE2,
};
use windows_sys::Win32::NetworkManagement::Ndis::{IF_MAX_STRING_SIZE, NET_LUID_LH};
use windows_sys::Win32::Networking::WinSock::AF_INET;

use super::{Network, Route};
use crate::windows::no_error;

/// The wider a route, the earlier, so that one to a network comes before those to addresses in it.
pub(super) fn system_routes() -> io::Result<Vec<Route>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = null_mut();
    // SAFETY: the function writes one pointer, which `Table` frees the way it says.
    no_error(unsafe { GetIpForwardTable2(AF_INET, &raw mut table) })?;
    let table = Table(table);
    let mut routes: Vec<Route> = table.rows().iter().map(route).collect();
    routes.sort_by_key(|route| route.network.prefix());
    Ok(routes)
}

struct Table(*mut MIB_IPFORWARD_TABLE2);

impl Table {
    fn rows(&self) -> &[MIB_IPFORWARD_ROW2] {
        // SAFETY: the table is the system's and alive until dropped; `NumEntries` rows start where the declaration has
        // room for one.
        unsafe {
            let first = (&raw const (*self.0).Table).cast::<MIB_IPFORWARD_ROW2>();
            std::slice::from_raw_parts(first, (*self.0).NumEntries as usize)
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a function that says to free it so, and is freed only here.
        unsafe { FreeMibTable(self.0.cast()) };
    }
}

fn route(row: &MIB_IPFORWARD_ROW2) -> Route {
    let prefix = &row.DestinationPrefix;
    // SAFETY: only AF_INET was asked for, so the union holds an IPv4 address; any bits are one.
    let address = unsafe { prefix.Prefix.Ipv4.sin_addr.S_un.S_addr };
    // SAFETY: as above.
    let gateway = unsafe { row.NextHop.Ipv4.sin_addr.S_un.S_addr };
    Route {
        interface: alias(&row.InterfaceLuid).unwrap_or_else(|| format!("#{}", row.InterfaceIndex)),
        // In network order, which is the order of its bytes in memory.
        network: Network::new(Ipv4Addr::from(address.to_ne_bytes()), prefix.PrefixLength),
        gateway: (gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes())),
        // The interface's own is added by the system; ours has the least, and leads nowhere by default.
        metric: row.Metric,
    }
}

/// The interface's name as people see and set it.
fn alias(luid: &NET_LUID_LH) -> Option<String> {
    let mut buffer = [0u16; IF_MAX_STRING_SIZE as usize + 1];
    // SAFETY: `luid` is borrowed for the call, and the function writes at most as many units as the buffer has.
    let answer = unsafe { ConvertInterfaceLuidToAlias(luid, buffer.as_mut_ptr(), buffer.len()) };
    no_error(answer).ok()?;
    let length = buffer.iter().position(|&unit| unit == 0)?;
    Some(String::from_utf16_lossy(&buffer[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_listed_widest_first_and_have_names() {
        let routes = system_routes().unwrap();
        assert!(routes.is_sorted_by_key(|route| route.network.prefix()));
        assert!(routes.iter().all(|route| !route.interface.is_empty()));
    }
}
