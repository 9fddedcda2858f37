//! Which images an entry of a credentials file is for: kubelet's rules.
//!
//! An entry is `[scheme://]host[:port][/path]`. Each part of the host may be a glob and stands for
//! one part; the ports must be the same; the path must be the beginning of the image's.

/// Whether an entry is for `registry/repository`.
pub(super) fn matches(entry: &str, name: &str) -> bool {
    let (host, port, path) = parts(stripped(entry));
    let (of_host, of_port, of_path) = parts(name);
    let (host, of_host) = (canonical(host), canonical(of_host));
    if port != of_port {
        return false;
    }
    let (labels, of_labels): (Vec<&str>, Vec<&str>) =
        (host.split('.').collect(), of_host.split('.').collect());
    labels.len() == of_labels.len()
        && labels
            .iter()
            .zip(&of_labels)
            .all(|(glob, text)| is_like(glob, text))
        && begins(of_path, path)
}

/// An entry without what only Docker writes: the scheme, and the paths of its old interface.
pub(super) fn stripped(entry: &str) -> &str {
    let entry = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let entry = entry.trim_end_matches('/');
    match entry.split_once('/') {
        // Further on it is the name of a repository.
        Some((host, "v1" | "v2")) => host,
        _ => entry,
    }
}

fn parts(text: &str) -> (&str, Option<&str>, &str) {
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    if host.starts_with('[') {
        let end = host.find(']').map_or(host.len(), |at| at + 1);
        let (address, port) = host.split_at(end);
        return (address, port.strip_prefix(':'), path);
    }
    match host.split_once(':') {
        Some((host, port)) => (host, Some(port), path),
        None => (host, None, path),
    }
}

fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => crate::reference::DOCKER,
        other => other,
    }
}

/// Whether a path begins with another. kubelet compares text; we do not let `/team` open `/teams`.
fn begins(path: &str, with: &str) -> bool {
    match path.strip_prefix(with) {
        Some(rest) => with.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Whether one part of a host is like a glob of `*` and `?`.
fn is_like(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where to go on from when what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || text.get(from) == Some(c) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((last, taken)) = star else {
                    return false;
                };
                at = last + 1;
                from = taken + 1;
                star = Some((last, taken + 1));
            }
        }
    }
    glob.iter().skip(at).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_as_kubelet_matches_them() {
        let cases = [
            ("r.example", "r.example/app", true),
            ("https://r.example", "r.example/app", true),
            ("https://r.example/v2/", "r.example/app", true),
            ("r.example/v1", "r.example/app", true),
            ("r.example/team/v2", "r.example/team/app", false),
            ("r.example/team/v2", "r.example/team/v2/app", true),
            ("https://r.example/team/v1/", "r.example/team/v1", true),
            ("r.example/v2/app", "r.example/v2", false),
            ("r.example/app", "r.example/v1", false),
            ("r.example:5000", "r.example/app", false),
            ("r.example:5000", "r.example:5000/app", true),
            ("*.example", "r.example/app", true),
            ("*.example", "a.r.example/app", false),
            ("*.*.example", "a.r.example/app", true),
            ("reg*-?.example", "registry-1.example/app", true),
            ("reg*-?.example", "registry-12.example/app", false),
            ("r.example/team", "r.example/team/app", true),
            ("r.example/team", "r.example/teams/app", false),
            ("r.example/team/app", "r.example/team", false),
            ("https://index.docker.io/v1/", "docker.io/library/a", true),
            ("docker.io", "docker.io/library/a", true),
            ("[::1]:5000", "[::1]:5000/a", true),
            ("", "r.example/app", false),
        ];
        for (entry, name, wanted) in cases {
            assert_eq!(matches(entry, name), wanted, "{entry} for {name}");
        }
    }
}
