//! What is wrong with a server's certificate, for people, with what to do about it and where.
//!
//! The library's words are the names of its variants. Those that people meet are put into sentences
//! here; the others stay as they are.

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::target::Target;
use super::trust::is_only_an_authority;

/// The most names of a certificate that are told.
const NAMES: usize = 5;

/// Why a server's certificate is not believed; nothing where that is not what is wrong, or the library
/// says it as well.
pub(super) fn told(error: &rustls::Error, target: &Target) -> Option<String> {
    use CertificateError as Fault;
    let rustls::Error::InvalidCertificate(fault) = error else {
        return None;
    };
    let (what, remedy) = match fault {
        Fault::UnknownIssuer => (
            "no authority that is believed here has signed its certificate".to_owned(),
            named(target, "its authority"),
        ),
        Fault::BadSignature => (
            "its certificate, or what it has signed with that, has a signature of another key, as where an authority was made anew under its old name".to_owned(),
            named(target, "its authority as it is now"),
        ),
        _ if is_only_an_authority(error) => (
            "its certificate is an authority's own, which is believed of no server but where it is named itself".to_owned(),
            named(target, "that very certificate"),
        ),
        Fault::Expired => over(None),
        Fault::ExpiredContext { not_after, .. } => over(Some(*not_after)),
        Fault::NotValidYet => early(None),
        Fault::NotValidYetContext { not_before, .. } => early(Some(*not_before)),
        Fault::NotValidForName => misnamed(target, &[]),
        Fault::NotValidForNameContext { presented, .. } => misnamed(target, presented),
        _ => return None,
    };
    Some(format!("{what}: {remedy}{}", unverified(target)))
}

fn over(since: Option<UnixTime>) -> (String, String) {
    (
        format!(
            "its certificate is not valid any more{}",
            dated(" since", since)
        ),
        "have it renewed, or see that this machine's clock is right".to_owned(),
    )
}

fn early(until: Option<UnixTime>) -> (String, String) {
    (
        format!(
            "its certificate is not valid yet{}",
            dated(" before", until)
        ),
        "see that this machine's clock is right".to_owned(),
    )
}

fn misnamed(target: &Target, names: &[String]) -> (String, String) {
    let names: Vec<&str> = names.iter().take(NAMES).map(|name| bare(name)).collect();
    let others = match names.is_empty() {
        true => String::new(),
        false => format!(" but for {}", names.join(", ")),
    };
    let what = format!("its certificate is not for {}{others}", target.host);
    let remedy = match target.place.as_ref().filter(|place| place.is_server) {
        Some(place) => format!(
            "let `server` in {place} name it as its certificate does, or have that name made part of it"
        ),
        None => "have that name made part of its certificate".to_owned(),
    };
    (what, remedy)
}

/// What to do for a certificate, or an authority, to be believed.
fn named(target: &Target, whom: &str) -> String {
    match &target.place {
        Some(place) => format!("name {whom} with `ca` in {place}"),
        // Nobody can say it of a server that another one leads to.
        None => format!("add {whom} to the authorities of this machine"),
    }
}

/// The way without any of it.
fn unverified(target: &Target) -> String {
    match &target.place {
        Some(place) if !target.trust.is_blind => {
            format!("; or, if nobody need be sure who it is, set `skip_verify = true` in {place}")
        }
        _ => String::new(),
    }
}

fn dated(word: &str, time: Option<UnixTime>) -> String {
    let second = time.and_then(|time| i64::try_from(time.as_secs()).ok());
    let time = second.and_then(|second| Timestamp::from_second(second).ok());
    time.map_or_else(String::new, |time| format!("{word} {time}"))
}

/// `DnsName("a.example")` and `IpAddress(::1)` without what is around the name.
fn bare(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::ServerName;

    use super::*;
    use crate::registry::target::{Place, Trust};

    /// In the settings for all but what leads elsewhere; in a table of them for mirrors.
    fn target(is_settled: bool, table: Option<&str>, is_blind: bool) -> Target {
        Target {
            tls: true,
            host: "r.example".to_owned(),
            port: 443,
            trust: Trust {
                authorities: Vec::new(),
                is_blind,
            },
            place: is_settled.then(|| Place::new("/certs/hosts.toml".into(), table)),
        }
    }

    /// What may be wrong, and what is said of it.
    fn cases() -> [(CertificateError, &'static str); 6] {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (now, second) = (time(0), time(1_700_000_000));
        let names = [
            "DnsName(\"a.example\")",
            "IpAddress(::1)",
            "Unsupported(0x06)",
        ];
        let expected = ServerName::try_from("r.example").expect("a name");
        let presented = names.map(str::to_owned).to_vec();
        [
            (
                CertificateError::UnknownIssuer,
                "no authority that is believed here has signed its certificate: name its authority with `ca` in /certs/hosts.toml;",
            ),
            (
                CertificateError::BadSignature,
                "its authority as it is now with `ca`",
            ),
            (
                CertificateError::Expired,
                "is not valid any more: have it renewed",
            ),
            (
                CertificateError::ExpiredContext {
                    time: now,
                    not_after: second,
                },
                "any more since 2023-11-14T22:13:20Z: have it renewed",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: now,
                    not_before: second,
                },
                "not valid yet before 2023-11-14T22:13:20Z: see that this machine's clock",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected,
                    presented,
                },
                "is not for r.example but for a.example, ::1, 0x06: let `server` in /certs/hosts.toml",
            ),
        ]
    }

    #[test]
    fn what_holds_for_a_mirror_has_its_place_in_its_table() {
        let mirror = target(true, Some("https://m.example"), false);
        for (fault, _) in cases() {
            let error = rustls::Error::InvalidCertificate(fault);
            let text = told(&error, &mirror).expect("words for it");
            let table = "the table [host.\"https://m.example\"] of /certs/hosts.toml";
            let way = format!("set `skip_verify = true` in {table}");
            assert!(text.ends_with(&way) && !text.contains("`server`"), "{text}");
            let is_named = text.contains("`ca`");
            assert_eq!(
                text.contains(&format!("`ca` in {table}")),
                is_named,
                "{text}"
            );
            let is_misnamed = text.contains("is not for");
            let way = "made part of its certificate";
            assert_eq!(text.contains(way), is_misnamed, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_with_the_file_that_helps() {
        let (settled, blind) = (target(true, None, false), target(true, None, true));
        for (fault, wanted) in cases() {
            let error = rustls::Error::InvalidCertificate(fault);
            let told_of = |target: &Target| told(&error, target).expect("words for it");
            let text = told_of(&settled);
            assert!(text.contains(wanted), "{text}");
            let way = "set `skip_verify = true` in /certs/hosts.toml";
            assert!(text.ends_with(way), "{text}");
            assert!(!told_of(&blind).contains("skip_verify"));
            let text = told_of(&target(false, None, false));
            assert!(
                !text.contains("hosts.toml") && !text.contains("skip_verify"),
                "{text}"
            );
        }
        let other = rustls::Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(told(&other, &settled), None);
        assert_eq!(told(&rustls::Error::DecryptError, &settled), None);
    }
}
