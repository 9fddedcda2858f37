//! From an authority to a connection: name, address, port, through the switch's rules.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri::Scheme;
use net::{Family, Lookup, NetError, PodNet, TcpStream};
use wasmtime_wasi_http::Error;

use crate::http::error;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A name or an address, without brackets.
    pub(super) host: String,
    port: u16,
    pub(super) is_tls: bool,
}

// === impl Target ===

impl Target {
    /// Where a URI leads.
    ///
    /// # Errors
    /// For one that names nobody.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host();
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        if host.is_empty() {
            return Err(Error::HttpRequestUriInvalid);
        }
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let usual = if is_tls { 443 } else { 80 };
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(usual),
            is_tls,
        })
    }

    /// Connects to the first of its addresses that answers.
    ///
    /// # Errors
    /// Why the last of them did not.
    pub(super) async fn connect(&self, net: &PodNet) -> Result<TcpStream, Error> {
        let found = net.resolve(&self.host, Lookup::Any).await;
        let found = found.map_err(error::of_name)?;
        let mut why = NetError::NameUnresolvable;
        for address in found {
            match connect(net, address, self.port).await {
                Ok(stream) => return Ok(stream),
                // A rule, and no accident: the name's other addresses are not tried either.
                Err(NetError::AccessDenied) => return Err(Error::HttpRequestDenied),
                Err(error) => why = error,
            }
        }
        Err(error::of_connect(why))
    }
}

async fn connect(net: &PodNet, address: IpAddr, port: u16) -> Result<TcpStream, NetError> {
    let mut socket = net.tcp(Family::of(address))?;
    socket.connect(SocketAddr::new(address, port))?;
    loop {
        match socket.try_finish_connect() {
            Err(NetError::WouldBlock) => poll_fn(|cx| socket.poll_ready(cx)).await,
            finished => return finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_host_and_a_port() {
        for (uri, host, port, is_tls) in [
            ("http://web/", "web", 80, false),
            ("https://web.example/a?b", "web.example", 443, true),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, false),
            ("https://[::1]:8443/", "::1", 8443, true),
            ("http://user@web:81/", "web", 81, false),
        ] {
            let target = Target::of(&uri.parse().unwrap()).unwrap();
            let expected = Target {
                host: host.to_owned(),
                port,
                is_tls,
            };
            assert_eq!(target, expected, "{uri}");
        }
        assert!(Target::of(&"/only/a/path".parse().unwrap()).is_err());
    }
}
