//! What went wrong with a request to outside, as `wasi:http` names it.

use std::error::Error as _;
use std::io;

use net::NetError;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// Why there is no connection.
pub(super) fn of_connect(error: NetError) -> Error {
    match error {
        NetError::AccessDenied => Error::HttpRequestDenied,
        NetError::ConnectionRefused => Error::ConnectionRefused,
        NetError::Timeout => Error::ConnectionTimeout,
        NetError::RemoteUnreachable | NetError::AddressNotBindable => {
            Error::DestinationIpUnroutable
        }
        NetError::NewSocketLimit | NetError::OutOfMemory | NetError::AddressInUse => {
            Error::ConnectionLimitReached
        }
        NetError::ConnectionReset | NetError::ConnectionAborted | NetError::ConnectionBroken => {
            Error::ConnectionTerminated
        }
        NetError::InvalidArgument => Error::DestinationNotFound,
        error => Error::InternalError(Some(error.to_string())),
    }
}

/// Why a name has no address.
pub(super) fn of_name(error: NetError) -> Error {
    let rcode = match error {
        NetError::NameUnresolvable => "NXDOMAIN",
        NetError::TemporaryResolverFailure | NetError::Timeout => "SERVFAIL",
        NetError::PermanentResolverFailure => "REFUSED",
        NetError::InvalidArgument => "FORMERR",
        error => return of_connect(error),
    };
    Error::DnsError {
        rcode: Some(rcode.to_owned()),
        info_code: None,
    }
}

/// Why there is no TLS.
pub(super) fn of_tls(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None => match error.kind() {
            io::ErrorKind::TimedOut => Error::ConnectionTimeout,
            io::ErrorKind::InvalidData | io::ErrorKind::Other => Error::TlsProtocolError,
            _ => Error::ConnectionTerminated,
        },
    }
}

/// What hyper says of an exchange.
pub(super) fn of_hyper(error: &hyper::Error) -> ErrorCode {
    if let Some(code) = error.source().and_then(of_source) {
        return code;
    }
    if error.is_parse_too_large() {
        ErrorCode::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        ErrorCode::HttpResponseIncomplete
    } else if error.is_timeout() {
        ErrorCode::ConnectionReadTimeout
    } else if error.is_canceled() || error.is_closed() || error.is_body_write_aborted() {
        ErrorCode::ConnectionTerminated
    } else {
        ErrorCode::HttpProtocolError
    }
}

fn of_source(source: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    match source.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(ErrorCode::ConnectionWriteTimeout),
        io::ErrorKind::UnexpectedEof => Some(ErrorCode::HttpResponseIncomplete),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(ErrorCode::ConnectionTerminated),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_says_has_its_name_in_wasi() {
        for (error, name) in [
            (NetError::AccessDenied, "HttpRequestDenied"),
            (NetError::ConnectionRefused, "ConnectionRefused"),
            (NetError::Timeout, "ConnectionTimeout"),
            (NetError::RemoteUnreachable, "DestinationIpUnroutable"),
            (NetError::NewSocketLimit, "ConnectionLimitReached"),
        ] {
            assert_eq!(format!("{:?}", of_connect(error)), name);
        }
        let unknown = format!("{:?}", of_name(NetError::NameUnresolvable));
        assert!(
            unknown.contains("DnsError") && unknown.contains("NXDOMAIN"),
            "{unknown}"
        );
        let tls = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
        );
        assert!(matches!(of_tls(&tls), Error::TlsCertificateError));
    }
}
