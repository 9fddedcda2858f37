//! What the runtime must know of a pod before its first container.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::downward::Facts;
use model::Pod;
use model::container::{Container, HTTP_PORT, Protocol, TERMINATION_MESSAGE_PATH};
use model::pod::DnsPolicy;
use model::probe::Handler;
use model::runtime::{Door, MountSpec, PodId, PodNetwork, PodSandbox, Resolver, VolumeSpec};

use crate::config::{Config, Dns};
use crate::files::{self, VolumeError};
use crate::objects::Objects;

/// Resolvers in a resolv.conf: Kubernetes' bound.
const NAMESERVERS: usize = 3;

/// The mode of files that every container gets.
const ETC_MODE: u32 = 0o644;

/// The mode of a termination log, as kubelet makes it.
const LOG_MODE: u32 = 0o666;

/// The pod as the runtime takes it, without the files that hold its address.
///
/// # Errors
/// A volume that cannot be filled.
pub(crate) fn of(
    pod: &Pod,
    id: PodId,
    config: &Config,
    objects: &dyn Objects,
) -> Result<PodSandbox, VolumeError> {
    let facts = facts(pod, config, &[]);
    Ok(PodSandbox {
        id,
        uid: pod.identity.uid.clone(),
        namespace: pod.identity.namespace.clone(),
        name: pod.identity.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        node_name: config.node_name.clone(),
        network: network(pod, config),
        volumes: files::volumes(&facts, objects)?,
        commands: has_commands(pod),
        directory: config.data_dir.join("pods").join(&pod.identity.uid),
        containers: pod.all_containers().count(),
    })
}

/// Whether a probe or hook of the pod runs a command.
fn has_commands(pod: &Pod) -> bool {
    let probes = |container: &Container| {
        let probes = [
            &container.startup,
            &container.liveness,
            &container.readiness,
        ];
        let mut handlers = probes.into_iter().flatten().map(|probe| &probe.handler);
        handlers.any(is_command)
    };
    let hooks = |container: &Container| {
        let hooks = [&container.post_start, &container.pre_stop];
        hooks.into_iter().flatten().any(is_command)
    };
    pod.all_containers()
        .any(|container| probes(container) || hooks(container))
}

fn is_command(handler: &Handler) -> bool {
    matches!(handler, Handler::Exec(_))
}

/// What the downward API shows of a pod here.
pub(crate) fn facts<'a>(pod: &'a Pod, config: &'a Config, pod_ips: &'a [IpAddr]) -> Facts<'a> {
    Facts {
        pod,
        node_name: &config.node_name,
        host_ips: &config.host_ips,
        pod_ips,
        allocatable: config.allocatable,
    }
}

/// /etc/hosts and its like, and a termination log for each container: known once the pod has its
/// addresses.
pub(crate) fn etc(
    pod: &Pod,
    config: &Config,
    addresses: &[IpAddr],
) -> BTreeMap<String, VolumeSpec> {
    let fqdn = fqdn(pod, &config.dns);
    let hosts = files::hosts(pod, addresses, fqdn.as_deref());
    let resolv_conf = files::resolv_conf(&resolver(pod, &config.dns));
    let hostname = format!("{}\n", hostname(pod, &config.dns));
    let mut volumes = BTreeMap::from([
        (files::HOSTS.to_owned(), files::file(hosts, ETC_MODE)),
        (files::HOSTNAME.to_owned(), files::file(hostname, ETC_MODE)),
        (
            files::RESOLV_CONF.to_owned(),
            files::file(resolv_conf, ETC_MODE),
        ),
    ]);
    let logs = pod
        .all_containers()
        .filter(|container| has_termination_log(container));
    volumes.extend(logs.map(|container| {
        let log = files::file("", LOG_MODE);
        (termination_log(&container.name), log)
    }));
    volumes
}

/// Where a container finds these files, unless it mounts something of its own there. Into a root of
/// its own nothing is laid that it did not ask for.
pub(crate) fn etc_mounts(container: &Container) -> impl Iterator<Item = MountSpec> {
    let log = termination_log(&container.name);
    let all = [
        (files::HOSTS.to_owned(), "/etc/hosts"),
        (files::HOSTNAME.to_owned(), "/etc/hostname"),
        (files::RESOLV_CONF.to_owned(), "/etc/resolv.conf"),
        (log, container.termination_message_path.as_str()),
    ];
    let own = |path: &str| {
        let mut mounts = container.mounts.iter();
        mounts.any(|mount| mount.path.trim_end_matches('/') == path)
    };
    let asked =
        |path: &str| path == container.termination_message_path && path != TERMINATION_MESSAGE_PATH;
    let has_root = own("");
    all.into_iter()
        .filter(move |(_, path)| !path.is_empty() && !own(path) && (!has_root || asked(path)))
        .map(|(volume, path)| MountSpec {
            volume,
            path: path.to_owned(),
            ..MountSpec::default()
        })
}

/// Whether a container has a file for its last words.
pub(crate) fn has_termination_log(container: &Container) -> bool {
    !container.termination_message_path.is_empty()
}

/// The name of the volume that holds a container's termination log. No manifest can name it: its
/// dot is not allowed in the name of a volume.
pub(crate) fn termination_log(container: &str) -> String {
    format!("termination-log.{container}")
}

/// What the host name of the pod is to itself.
pub(crate) fn hostname(pod: &Pod, dns: &Dns) -> String {
    match fqdn(pod, dns) {
        Some(fqdn) if pod.hostname_as_fqdn => fqdn,
        _ => pod.hostname.clone(),
    }
}

fn fqdn(pod: &Pod, dns: &Dns) -> Option<String> {
    let subdomain = pod.subdomain.as_deref()?;
    Some(format!(
        "{}.{subdomain}.{}.svc.{}",
        pod.hostname, pod.identity.namespace, dns.domain
    ))
}

fn network(pod: &Pod, config: &Config) -> PodNetwork {
    let (name, namespace) = (&pod.identity.name, &pod.identity.namespace);
    let mut names = vec![name.clone(), format!("{name}.{namespace}")];
    if pod.hostname_as_fqdn && !names.contains(&pod.hostname) {
        // In its /etc/hosts beside the full name, which its host name is.
        names.push(pod.hostname.clone());
    }
    if let (Some(fqdn), Some(subdomain)) = (fqdn(pod, &config.dns), &pod.subdomain) {
        names.push(format!("{}.{subdomain}", pod.hostname));
        names.push(fqdn);
    }
    PodNetwork {
        host: pod.host_network,
        hostname: hostname(pod, &config.dns),
        names,
        doors: doors(pod),
        hosts: pod.host_aliases.clone(),
        dns: resolver(pod, &config.dns),
    }
}

/// A door on the pod's address for every declared port, and for every hostPort one at its hostIP,
/// or at every address of the node; those of IPv6 come last, as more than some are not opened. A
/// container that declares no TCP port may be an http server, which then has the usual one.
fn doors(pod: &Pod) -> Vec<Door> {
    let any = |protocol: Protocol, port: u16| Door {
        port,
        protocol,
        host: None,
    };
    let (mut doors, mut six) = (Vec::new(), Vec::new());
    let is_undeclared = |container: &Container| {
        let mut ports = container.ports.iter();
        !ports.any(|port| port.protocol == Protocol::Tcp)
    };
    if pod.all_containers().any(is_undeclared) {
        doors.push(any(Protocol::Tcp, HTTP_PORT));
    }
    for port in pod.all_containers().flat_map(|container| &container.ports) {
        let own = any(port.protocol, port.container_port);
        if !doors.contains(&own) {
            doors.push(own);
        }
        if let Some(host_port) = port.host_port.filter(|_| !pod.host_network) {
            let at = |address| Door {
                host: Some((address, host_port)),
                ..any(port.protocol, port.container_port)
            };
            doors.push(at(port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())));
            if port.host_ip.is_none() {
                six.push(at(Ipv6Addr::UNSPECIFIED.into()));
            }
        }
    }
    doors.extend(six);
    doors
}

/// resolv.conf by dnsPolicy, with dnsConfig added to it.
pub(crate) fn resolver(pod: &Pod, dns: &Dns) -> Resolver {
    let is_cluster = match pod.dns_policy {
        DnsPolicy::ClusterFirst => !pod.host_network,
        DnsPolicy::ClusterFirstWithHostNet => true,
        DnsPolicy::Default | DnsPolicy::None => false,
    };
    let mut resolver = match (pod.dns_policy, dns.cluster) {
        (DnsPolicy::None, _) => Resolver::default(),
        (_, Some(cluster)) if is_cluster => cluster_resolver(pod, dns, cluster),
        _ => dns.node.clone(),
    };
    for server in &pod.dns_config.nameservers {
        if !resolver.nameservers.contains(server) {
            resolver.nameservers.push(*server);
        }
    }
    resolver.nameservers.truncate(NAMESERVERS);
    for search in &pod.dns_config.searches {
        if !resolver.searches.contains(search) {
            resolver.searches.push(search.clone());
        }
    }
    for (name, value) in &pod.dns_config.options {
        resolver
            .options
            .retain(|option| option.split(':').next() != Some(name));
        resolver.options.push(match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
    }
    resolver
}

fn cluster_resolver(pod: &Pod, dns: &Dns, cluster: IpAddr) -> Resolver {
    let (namespace, domain) = (&pod.identity.namespace, &dns.domain);
    let mut searches = vec![
        format!("{namespace}.svc.{domain}"),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    searches.extend(dns.node.searches.iter().cloned());
    Resolver {
        nameservers: vec![cluster],
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use model::pod::{DnsConfig, Identity};
    use model::volume::Mount;

    use super::*;

    fn pod(policy: DnsPolicy) -> Pod {
        Pod {
            identity: Identity {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                uid: "u".to_owned(),
            },
            hostname: "web".to_owned(),
            dns_policy: policy,
            ..Pod::default()
        }
    }

    fn dns(cluster: bool) -> Dns {
        Dns {
            node: Resolver {
                nameservers: vec![[192, 0, 2, 1].into()],
                searches: vec!["example.com".to_owned()],
                options: vec!["edns0".to_owned()],
            },
            cluster: cluster.then(|| [10, 96, 0, 10].into()),
            domain: "cluster.local".to_owned(),
        }
    }

    #[test]
    fn names_are_resolved_as_the_policy_says() {
        let node = "search example.com\nnameserver 192.0.2.1\noptions edns0\n";
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";
        let cases = [
            (DnsPolicy::ClusterFirst, true, false, cluster),
            (DnsPolicy::ClusterFirst, false, false, node),
            (DnsPolicy::ClusterFirst, true, true, node),
            (DnsPolicy::ClusterFirstWithHostNet, true, true, cluster),
            (DnsPolicy::Default, true, false, node),
            (DnsPolicy::None, true, false, ""),
        ];
        for (policy, has_cluster, host_network, expected) in cases {
            let pod = Pod {
                host_network,
                ..pod(policy)
            };
            let text = files::resolv_conf(&resolver(&pod, &dns(has_cluster)));
            assert_eq!(text, expected, "{policy:?} {has_cluster} {host_network}");
        }
    }

    #[test]
    fn nothing_is_laid_into_what_a_container_brings_itself() {
        let log = TERMINATION_MESSAGE_PATH;
        let etc = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
        for (own, message, expected) in [
            (&[][..], log, [&etc[..], &[log]].concat()),
            (&["/data"], "", etc.to_vec()),
            (&["/etc/hosts"], log, [&etc[1..], &[log]].concat()),
            (&["/"], log, vec![]),
            (&["/"], "/said", vec!["/said"]),
            (&["/", "/said"], "/said", vec![]),
        ] {
            let mounts = own.iter().map(|path| Mount {
                volume: "own".to_owned(),
                path: (*path).to_owned(),
                read_only: false,
                sub_path: None,
                sub_path_expr: None,
            });
            let container = Container {
                mounts: mounts.collect(),
                termination_message_path: message.to_owned(),
                ..Container::default()
            };
            let laid: Vec<_> = etc_mounts(&container).map(|mount| mount.path).collect();
            assert_eq!(laid, expected, "{own:?} {message}");
        }
    }

    #[test]
    fn dns_config_adds_and_overrides() {
        let mut pod = pod(DnsPolicy::ClusterFirst);
        pod.dns_config = DnsConfig {
            nameservers: (1..5).map(|last| [192, 0, 2, last].into()).collect(),
            searches: vec!["cluster.local".to_owned(), "more".to_owned()],
            options: vec![
                ("ndots".to_owned(), Some("2".to_owned())),
                ("rotate".to_owned(), None),
            ],
        };
        assert_eq!(
            files::resolv_conf(&resolver(&pod, &dns(true))),
            "search shop.svc.cluster.local svc.cluster.local cluster.local example.com more\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n\
             options ndots:2 rotate\n"
        );
    }

    #[test]
    fn the_fully_qualified_name_is_the_hostname_where_that_is_asked_for() {
        let mut pod = pod(DnsPolicy::Default);
        pod.subdomain = Some("frontend".to_owned());
        assert_eq!(hostname(&pod, &dns(false)), "web");
        pod.hostname_as_fqdn = true;
        let fqdn = "web.frontend.shop.svc.cluster.local";
        assert_eq!(hostname(&pod, &dns(false)), fqdn);
    }
}
