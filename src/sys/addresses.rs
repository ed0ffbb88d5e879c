//! The addresses this machine answers to, as the kernel knows them now.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::IpAddr;

/// The addresses of the interfaces that are up, in the kernel's order, each once.
///
/// Loopback is included. IPv6 link-local is not: it means nothing without its interface.
pub fn local() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in getifaddrs()? {
        let Some(address) = interface.address.as_ref().and_then(ip) else { continue };
        if counts(interface.flags, address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// [`local`] without loopback addresses; others stay, also where the loopback interface has them.
pub fn global() -> io::Result<Vec<IpAddr>> {
    let mut addresses = local()?;
    addresses.retain(|address| !address.is_loopback());
    Ok(addresses)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn counts(flags: InterfaceFlags, address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    flags.contains(InterfaceFlags::IFF_UP) && !link_local
}

#[cfg(test)]
mod tests {
    use super::{counts, global, local};
    use nix::net::if_::InterfaceFlags;
    use std::net::{IpAddr, Ipv4Addr, UdpSocket};

    #[test]
    fn the_kernel_lets_us_bind_what_is_listed_and_loopback_is_only_local() {
        let local = local().unwrap();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(local.contains(&loopback), "{local:?}");
        for address in &local {
            UdpSocket::bind((*address, 0)).unwrap_or_else(|error| panic!("{address} is not ours: {error}"));
        }
        let global = global().unwrap();
        assert!(!global.iter().any(IpAddr::is_loopback), "{global:?}");
        assert_eq!(global.len(), local.iter().filter(|address| !address.is_loopback()).count());
    }

    #[test]
    fn what_is_down_or_link_local_does_not_count() {
        let up = InterfaceFlags::IFF_UP;
        let address = |text: &str| text.parse().unwrap();
        assert!(counts(up, address("192.0.2.1")));
        assert!(counts(up, address("2001:db8::1")));
        assert!(!counts(InterfaceFlags::empty(), address("192.0.2.1")));
        assert!(!counts(up, address("fe80::1")));
    }
}
