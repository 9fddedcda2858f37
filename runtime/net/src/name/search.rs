//! resolv.conf's rules: which names are tried, in which order, how long and how often.

use std::time::Duration;

use hickory_proto::rr::Name;
use model::runtime::Resolver;

use crate::error::NetError;
use crate::limits::{DNS_ATTEMPTS, DNS_TIMEOUT, MAX_SEARCHES};

/// `options` of resolv.conf(5) that mean something here, with its own caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// A name with at least so many dots is tried as it is first.
    pub(crate) ndots: usize,
    /// How long a server has.
    pub(crate) timeout: Duration,
    /// How often all servers are asked.
    pub(crate) attempts: u32,
    /// Begin with another server each time.
    pub(crate) rotate: bool,
    /// Always ask over TCP.
    pub(crate) use_tcp: bool,
}

/// resolv.conf(5): RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY.
const MAX_NDOTS: u64 = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u64 = 5;

// === impl Settings ===

impl Settings {
    /// Reads `options`; unknown ones mean nothing.
    pub(crate) fn read(options: &[String]) -> Self {
        let mut settings = Self {
            ndots: 1,
            timeout: DNS_TIMEOUT,
            attempts: DNS_ATTEMPTS,
            rotate: false,
            use_tcp: false,
        };
        for option in options {
            let (name, value) = option.split_once(':').unwrap_or((option, ""));
            let number = |max: u64| value.trim().parse().map(|n: u64| n.min(max)).ok();
            match name.trim() {
                "ndots" => {
                    let ndots = number(MAX_NDOTS).and_then(|n| usize::try_from(n).ok());
                    settings.ndots = ndots.unwrap_or(settings.ndots);
                }
                "timeout" => {
                    let seconds = number(MAX_TIMEOUT).map(|n| Duration::from_secs(n.max(1)));
                    settings.timeout = seconds.unwrap_or(settings.timeout);
                }
                "attempts" => {
                    let attempts = number(MAX_ATTEMPTS).and_then(|n| u32::try_from(n.max(1)).ok());
                    settings.attempts = attempts.unwrap_or(settings.attempts);
                }
                "rotate" => settings.rotate = true,
                "use-vc" => settings.use_tcp = true,
                _ => {}
            }
        }
        settings
    }
}

/// The names to ask for, in order. A trailing dot means: this one only.
///
/// # Errors
/// [`NetError::InvalidArgument`] for what is no domain name. Unicode becomes ASCII (IDNA).
pub(crate) fn candidates(
    name: &str,
    resolver: &Resolver,
    ndots: usize,
) -> Result<Vec<Name>, NetError> {
    let mut itself = Name::from_utf8(name).map_err(|_| NetError::InvalidArgument)?;
    let absolute = itself.is_fqdn();
    itself.set_fqdn(true);
    if itself.is_root() {
        return Err(NetError::InvalidArgument);
    }
    if absolute {
        return Ok(vec![itself]);
    }
    let domains = resolver.searches.iter().take(MAX_SEARCHES);
    let domains = domains.filter_map(|domain| Name::from_utf8(domain).ok());
    let mut names: Vec<Name> = domains
        .filter_map(|domain| Name::from_utf8(name).ok()?.append_domain(&domain).ok())
        .map(|mut name| {
            name.set_fqdn(true);
            name
        })
        .collect();
    let place = if name.matches('.').count() >= ndots {
        0
    } else {
        names.len()
    };
    names.insert(place, itself);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_resolv_conf() {
        let read = |options: &[&str]| {
            Settings::read(
                &options
                    .iter()
                    .map(|&option| option.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let defaults = read(&[]);
        assert_eq!((defaults.ndots, defaults.attempts), (1, 2));
        assert_eq!(defaults.timeout, Duration::from_secs(5));
        let all = read(&[
            "ndots:5",
            "timeout:3",
            "attempts:1",
            "rotate",
            "use-vc",
            "edns0",
        ]);
        assert_eq!(
            (all.ndots, all.attempts, all.rotate, all.use_tcp),
            (5, 1, true, true)
        );
        assert_eq!(all.timeout, Duration::from_secs(3));
        let capped = read(&["ndots:99", "timeout:99", "attempts:99"]);
        assert_eq!((capped.ndots, capped.attempts), (15, 5));
        assert_eq!(capped.timeout, Duration::from_secs(30));
        let nonsense = read(&["ndots:x", "timeout:", "attempts:0", ":", "timeout:0"]);
        assert_eq!((nonsense.ndots, nonsense.attempts), (1, 1));
        assert_eq!(nonsense.timeout, Duration::from_secs(1));
    }

    #[test]
    fn search_order() {
        let searches = ["ns.svc.cluster.local", "svc.cluster.local."]
            .map(str::to_owned)
            .to_vec();
        let resolver = Resolver {
            searches,
            ..Resolver::default()
        };
        let cases: [(&str, usize, &[&str]); 5] = [
            (
                "web",
                5,
                &[
                    "web.ns.svc.cluster.local.",
                    "web.svc.cluster.local.",
                    "web.",
                ],
            ),
            ("web.", 5, &["web."]),
            (
                "a.b",
                5,
                &[
                    "a.b.ns.svc.cluster.local.",
                    "a.b.svc.cluster.local.",
                    "a.b.",
                ],
            ),
            (
                "a.b",
                1,
                &[
                    "a.b.",
                    "a.b.ns.svc.cluster.local.",
                    "a.b.svc.cluster.local.",
                ],
            ),
            ("bücher.example.", 1, &["xn--bcher-kva.example."]),
        ];
        for (name, ndots, expected) in cases {
            let names = candidates(name, &resolver, ndots).unwrap();
            let names: Vec<String> = names.iter().map(Name::to_ascii).collect();
            assert_eq!(names, expected, "{name} with ndots:{ndots}");
        }
        for bad in [".", "a..b", &format!("{}.example", "x".repeat(64))] {
            let result = candidates(bad, &resolver, 1);
            assert_eq!(result.unwrap_err(), NetError::InvalidArgument, "{bad}");
        }
    }
}
