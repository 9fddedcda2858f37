//! What went wrong with a request to outside, as `wasi:http` names it.

use std::error::Error as _;
use std::io;

use net::NetError;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;

use super::limits;

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
pub(super) fn of_hyper(error: &hyper::Error) -> Error {
    if let Some(named) = error.source().and_then(of_source) {
        return named;
    }
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_timeout() {
        Error::ConnectionReadTimeout
    } else if error.is_canceled() || error.is_closed() || error.is_body_write_aborted() {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}

fn of_source(source: &(dyn std::error::Error + 'static)) -> Option<Error> {
    match source.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(Error::ConnectionWriteTimeout),
        io::ErrorKind::UnexpectedEof => Some(Error::HttpResponseIncomplete),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(Error::ConnectionTerminated),
        _ => None,
    }
}

/// The code of an error in one version; both have the same names. The few that only a guest could
/// give are told in words.
macro_rules! code {
    ($types:ident, $error:expr) => {
        match $error {
            Error::DnsTimeout => $types::ErrorCode::DnsTimeout,
            Error::DnsError { rcode, info_code } => {
                $types::ErrorCode::DnsError($types::DnsErrorPayload {
                    rcode: rcode.clone(),
                    info_code: *info_code,
                })
            }
            Error::DestinationNotFound => $types::ErrorCode::DestinationNotFound,
            Error::DestinationUnavailable => $types::ErrorCode::DestinationUnavailable,
            Error::DestinationIpProhibited => $types::ErrorCode::DestinationIpProhibited,
            Error::DestinationIpUnroutable => $types::ErrorCode::DestinationIpUnroutable,
            Error::ConnectionRefused => $types::ErrorCode::ConnectionRefused,
            Error::ConnectionTerminated => $types::ErrorCode::ConnectionTerminated,
            Error::ConnectionTimeout => $types::ErrorCode::ConnectionTimeout,
            Error::ConnectionReadTimeout => $types::ErrorCode::ConnectionReadTimeout,
            Error::ConnectionWriteTimeout => $types::ErrorCode::ConnectionWriteTimeout,
            Error::ConnectionLimitReached => $types::ErrorCode::ConnectionLimitReached,
            Error::TlsProtocolError => $types::ErrorCode::TlsProtocolError,
            Error::TlsCertificateError => $types::ErrorCode::TlsCertificateError,
            Error::TlsAlertReceived {
                alert_id,
                alert_message,
            } => $types::ErrorCode::TlsAlertReceived($types::TlsAlertReceivedPayload {
                alert_id: *alert_id,
                alert_message: alert_message.clone(),
            }),
            Error::HttpRequestDenied => $types::ErrorCode::HttpRequestDenied,
            Error::HttpRequestBodySize(size) => $types::ErrorCode::HttpRequestBodySize(*size),
            Error::HttpRequestUriInvalid => $types::ErrorCode::HttpRequestUriInvalid,
            Error::HttpResponseIncomplete => $types::ErrorCode::HttpResponseIncomplete,
            Error::HttpResponseHeaderSectionSize(size) => {
                $types::ErrorCode::HttpResponseHeaderSectionSize(*size)
            }
            Error::HttpResponseTimeout => $types::ErrorCode::HttpResponseTimeout,
            Error::HttpProtocolError => $types::ErrorCode::HttpProtocolError,
            Error::LoopDetected => $types::ErrorCode::LoopDetected,
            Error::ConfigurationError => $types::ErrorCode::ConfigurationError,
            Error::InternalError(why) => $types::ErrorCode::InternalError(why.clone()),
            other => $types::ErrorCode::InternalError(Some(other.to_string())),
        }
    };
}

/// As `wasi:http` 0.2 names it.
pub(super) fn as_p2(error: &Error) -> p2::ErrorCode {
    code!(p2, error)
}

/// As `wasi:http` 0.3 names it.
pub(super) fn as_p3(error: &Error) -> p3::ErrorCode {
    let Error::Hyper(hyper) = error else {
        return code!(p3, error);
    };
    // What a body of ours failed with, hyper passes on.
    match hyper.source().and_then(|source| source.downcast_ref()) {
        Some(inner) => as_p3(inner),
        None => code!(p3, &of_hyper(hyper)),
    }
}

/// The code of an error that a guest gives in one version, with a text no longer than it may be.
macro_rules! shortened {
    ($types:ident, $code:expr) => {{
        use $types::ErrorCode;
        let mut code = $code;
        let text = match &mut code {
            ErrorCode::DnsError(payload) => payload.rcode.as_mut(),
            ErrorCode::TlsAlertReceived(payload) => payload.alert_message.as_mut(),
            ErrorCode::HttpRequestHeaderSize(Some(payload))
            | ErrorCode::HttpRequestTrailerSize(payload)
            | ErrorCode::HttpResponseHeaderSize(payload)
            | ErrorCode::HttpResponseTrailerSize(payload) => payload.field_name.as_mut(),
            ErrorCode::HttpResponseTransferCoding(text)
            | ErrorCode::HttpResponseContentCoding(text)
            | ErrorCode::InternalError(text) => text.as_mut(),
            _ => None,
        };
        if let Some(text) = text {
            shorten(text);
        }
        code
    }};
}

/// What a guest of 0.2 gives.
pub(super) fn shortened_p2(code: p2::ErrorCode) -> p2::ErrorCode {
    shortened!(p2, code)
}

/// What a guest of 0.3 gives.
pub(super) fn shortened_p3(code: p3::ErrorCode) -> p3::ErrorCode {
    shortened!(p3, code)
}

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(limits::TEXT));
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_of_an_error_is_short() {
        let long = Some("\u{e9}xy".repeat(limits::TEXT));
        let payload = p3::FieldSizePayload {
            field_name: long.clone(),
            field_size: Some(7),
        };
        let letters = |told: String| told.matches(['\u{e9}', 'x', 'y']).map(str::len).sum();
        for code in [
            p3::ErrorCode::InternalError(long.clone()),
            p3::ErrorCode::HttpResponseContentCoding(long.clone()),
            p3::ErrorCode::HttpRequestHeaderSize(Some(payload.clone())),
            p3::ErrorCode::HttpResponseTrailerSize(payload),
        ] {
            let before: usize = letters(format!("{code:?}"));
            let after: usize = letters(format!("{:?}", shortened_p3(code)));
            let cut = before - after;
            assert_eq!(cut, 4 * limits::TEXT - limits::TEXT, "{before} {after}");
        }
        let code = shortened_p2(p2::ErrorCode::InternalError(Some("short".to_owned())));
        assert!(format!("{code:?}").contains("\"short\""));
    }

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
