//! Validation of ports, host names and name resolution.

use std::collections::HashSet;
use std::net::IpAddr;

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

/// The most resolvers that libc asks.
const MAX_NAMESERVERS: usize = 3;
/// The most search domains, and the most bytes of them together.
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;

const NOT_AN_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Checks what a pod says of its own name and of others' names.
pub(crate) fn check(spec: &At<'_, '_>, found: &mut Findings) {
    for name in ["hostname", "subdomain"] {
        let at = spec.field(name);
        if at.some_text().is_some() {
            found.complain(&at, names::label(at.text()));
        }
    }
    for alias in spec.field("hostAliases").items() {
        address(&alias.field("ip"), found);
        for name in alias.field("hostnames").items() {
            found.complain(&name, names::subdomain(name.text()));
        }
    }
    dns(spec, found);
    if spec.field("hostNetwork").is_true() {
        for container in spec.field("containers").items() {
            same_host_ports(&container.field("ports"), found);
        }
    }
}

/// Checks a container's ports.
pub(crate) fn ports(ports: &At<'_, '_>, found: &mut Findings) {
    let mut seen = HashSet::new();
    for port in ports.items() {
        let name = port.field("name");
        if name.some_text().is_some() {
            let complaints = names::port_name(name.text());
            if complaints.is_empty() && !seen.insert(name.text()) {
                found.duplicate(&name);
            }
            found.complain(&name, complaints);
        }
        let number = port.field("containerPort");
        match number.integer() {
            None | Some(0) => found.required(&number, ""),
            Some(value) => found.complain(&number, names::port_number(value)),
        }
        let host = port.field("hostPort");
        if let Some(value) = host.integer().filter(|value| *value != 0) {
            found.complain(&host, names::port_number(value));
        }
        let ip = port.field("hostIP");
        if ip.some_text().is_some() {
            address(&ip, found);
        }
    }
}

/// Two containers cannot have the same port of the host.
pub(crate) fn host_port_conflicts<'v, 'p>(
    containers: impl Iterator<Item = At<'v, 'p>>,
    found: &mut Findings,
) {
    let mut seen = HashSet::new();
    for container in containers {
        for port in container.field("ports").items() {
            let host = port.field("hostPort");
            let Some(number) = host.integer().filter(|number| *number != 0) else {
                continue;
            };
            let (protocol, ip) = (port.field("protocol").text(), port.field("hostIP").text());
            if !seen.insert((protocol, ip, number)) {
                found.duplicate_of(&host, &format!("{protocol}/{ip}/{number}"));
            }
        }
    }
}

/// On the host's network a container's port is the host's.
fn same_host_ports(ports: &At<'_, '_>, found: &mut Findings) {
    for port in ports.items() {
        let host = port.field("hostPort");
        if host.integer() != port.field("containerPort").integer() {
            found.invalid(
                &host,
                "must match `containerPort` when `hostNetwork` is true",
            );
        }
    }
}

fn dns(spec: &At<'_, '_>, found: &mut Findings) {
    let config = spec.field("dnsConfig");
    let servers = config.field("nameservers");
    if spec.field("dnsPolicy").text() == "None" {
        if !config.is_set() {
            return found.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.len() == 0 {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return found.required(&servers, detail);
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        found.invalid(
            &servers,
            &format!("must not have more than {MAX_NAMESERVERS} nameservers"),
        );
    }
    for server in servers.items() {
        address(&server, found);
    }
    let searches = config.field("searches");
    if searches.len() > MAX_SEARCHES {
        found.invalid(
            &searches,
            &format!("must not have more than {MAX_SEARCHES} search paths"),
        );
    }
    let bytes: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if bytes > MAX_SEARCH_BYTES + 1 {
        let detail = format!(
            "must not have more than {MAX_SEARCH_BYTES} characters (including spaces) in the search list"
        );
        found.invalid(&searches, &detail);
    }
    for search in searches.items() {
        found.complain(&search, names::search_domain(search.text()));
    }
    for option in config.field("options").items() {
        if option.field("name").text().is_empty() {
            found.required(&option, "must not be empty");
        }
    }
}

fn address(at: &At<'_, '_>, found: &mut Findings) {
    if at.text().parse::<IpAddr>().is_err() {
        found.invalid(at, NOT_AN_ADDRESS);
    }
}
