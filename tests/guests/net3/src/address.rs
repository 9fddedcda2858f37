//! Addresses and codes as text.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

use crate::client::{PATIENCE, pause};

/// The addresses of a name with a port, as soon as there is somebody with it: pods start side by
/// side.
pub(crate) async fn addresses(text: &str) -> Result<Vec<IpSocketAddress>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![of_wasi(address)]);
    }
    let (name, port) = text.rsplit_once(':').ok_or("an address has a port")?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    for _ in 0..PATIENCE {
        if let Ok(found) = resolve_addresses(name.to_owned()).await {
            let found = found.into_iter().map(ip);
            return Ok(found.map(|ip| of_wasi((ip, port).into())).collect());
        }
        pause().await;
    }
    Err(format!("nobody has the name {name}"))
}

/// An address that is written as one.
pub(crate) fn literal(text: &str) -> Result<IpSocketAddress, String> {
    let address = text
        .parse()
        .map_err(|_| format!("`{text}` is no address"))?;
    Ok(of_wasi(address))
}

pub(crate) fn of_wasi(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => IpSocketAddress::Ipv4(Ipv4SocketAddress {
            port: v4.port(),
            address: v4.ip().octets().into(),
        }),
        SocketAddr::V6(v6) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port: v6.port(),
            flow_info: v6.flowinfo(),
            address: v6.ip().segments().into(),
            scope_id: v6.scope_id(),
        }),
    }
}

pub(crate) fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
    }
}

pub(crate) fn shown(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(v4) => (ip(IpAddress::Ipv4(v4.address)), v4.port).into(),
        IpSocketAddress::Ipv6(v6) => {
            let (a, b, c, d, e, f, g, h) = v6.address;
            let address = [a, b, c, d, e, f, g, h].into();
            SocketAddrV6::new(address, v6.port, v6.flow_info, v6.scope_id).into()
        }
    }
}

pub(crate) fn family(address: IpSocketAddress) -> IpAddressFamily {
    match address {
        IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
        IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
    }
}

/// A code in one word; its text behind it where WASI has no code.
pub(crate) fn word(code: &ErrorCode) -> String {
    match code {
        ErrorCode::Other(Some(text)) => format!("Other {text}"),
        ErrorCode::Other(None) => "Other".to_owned(),
        code => format!("{code:?}")
            .rsplit("::")
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// `ok` or the code.
pub(crate) fn outcome<T>(result: &Result<T, ErrorCode>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(code) => word(code),
    }
}

/// For the whole program: what failed, and how.
pub(crate) fn told(what: &str) -> impl FnOnce(ErrorCode) -> String {
    let what = what.to_owned();
    move |code| format!("{}: {what}", word(&code))
}
