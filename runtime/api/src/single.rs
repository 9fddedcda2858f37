//! `wasmpod run IMAGE`: a pod of one container, as an object, so that it takes the same path as a
//! manifest.

use model::container::Protocol;
use serde_json::{Value, json};

use crate::object::Object;

/// What can be said on the command line of a container. Empty and `None` mean not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Single {
    /// The image, or `file:` and a path.
    pub image: String,
    /// The pod's name; made from the image where absent.
    pub name: Option<String>,
    /// Arguments after the program's own name.
    pub args: Vec<String>,
    /// Variables in order.
    pub env: Vec<(String, String)>,
    /// Directories of the host.
    pub directories: Vec<Directory>,
    /// Ports opened on the host.
    pub publish: Vec<Publish>,
    /// The limit of cpu, for example `500m`.
    pub cpu: Option<String>,
    /// The limit of memory, for example `64Mi`.
    pub memory: Option<String>,
    /// Whether it runs on the host's own network.
    pub host_network: bool,
    /// Whether it reads standard input.
    pub stdin: bool,
    /// Whether its output is a terminal to it.
    pub tty: bool,
}

/// A directory of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path on the host.
    pub host: String,
    /// Absolute path in the container.
    pub guest: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// A port of the container at a port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// On the host.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The pod. It never restarts: that is what running a command means.
///
/// Nothing is checked here; validation tells what is wrong with it.
pub fn single(run: &Single) -> Object {
    let name = run.name.clone().unwrap_or_else(|| name_of(&run.image));
    // Whoever names an image here means the one that is here, as with `docker run`.
    let policy = "IfNotPresent";
    let mut container = json!({ "name": name, "image": run.image, "imagePullPolicy": policy });
    let mut spec = json!({ "restartPolicy": "Never" });
    put(&mut container, "args", list(&run.args, |arg| json!(arg)));
    put(
        &mut container,
        "env",
        list(
            &run.env,
            |(name, value)| json!({ "name": name, "value": value }),
        ),
    );
    put(&mut container, "ports", list(&run.publish, port));
    let limits: serde_json::Map<String, Value> = [("cpu", &run.cpu), ("memory", &run.memory)]
        .into_iter()
        .filter_map(|(name, amount)| Some((name.to_owned(), json!(amount.as_ref()?))))
        .collect();
    if !limits.is_empty() {
        put(
            &mut container,
            "resources",
            Some(json!({ "limits": limits })),
        );
    }
    let numbered: Vec<(usize, &Directory)> = run.directories.iter().enumerate().collect();
    put(&mut container, "volumeMounts", list(&numbered, mount));
    put(&mut spec, "volumes", list(&numbered, volume));
    for (name, flag) in [("stdin", run.stdin), ("tty", run.tty)] {
        put(&mut container, name, flag.then_some(json!(true)));
    }
    put(
        &mut spec,
        "hostNetwork",
        run.host_network.then_some(json!(true)),
    );
    put(&mut spec, "containers", Some(json!([container])));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec
    });
    Object::of_map(pod)
}

fn port(publish: &Publish) -> Value {
    let protocol = match publish.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    json!({ "containerPort": publish.container, "hostPort": publish.host, "protocol": protocol })
}

fn mount((number, directory): &(usize, &Directory)) -> Value {
    json!({
        "name": format!("dir-{number}"),
        "mountPath": directory.guest,
        "readOnly": directory.read_only
    })
}

fn volume((number, directory): &(usize, &Directory)) -> Value {
    json!({
        "name": format!("dir-{number}"),
        "hostPath": { "path": directory.host }
    })
}

/// A DNS label from an image: the last part of its path without tag, digest and ending.
fn name_of(image: &str) -> String {
    let path = image.strip_prefix("file:").unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or_default();
    let bare = last.split(['@', ':']).next().unwrap_or_default();
    let stem = bare.strip_suffix(".wasm").unwrap_or(bare);
    let mut name: String = stem
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        "main".to_owned()
    } else {
        name
    }
}

/// A list, or nothing if it is empty.
fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Option<Value> {
    (!items.is_empty()).then(|| items.iter().map(value).collect())
}

fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (object.as_object_mut(), value) {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_alone_is_a_pod() {
        let run = Single {
            image: "file:target/hello.wasm".to_owned(),
            ..Single::default()
        };
        assert_eq!(
            single(&run).value(),
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello"},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "hello", "image": "file:target/hello.wasm",
                        "imagePullPolicy": "IfNotPresent"
                    }]
                }
            })
        );
    }

    #[test]
    fn everything_said_is_in_the_pod() {
        let run = Single {
            image: "web:1".to_owned(),
            name: Some("w".to_owned()),
            args: vec!["-v".to_owned()],
            env: vec![("A".to_owned(), "b".to_owned())],
            directories: vec![Directory {
                host: "/srv".to_owned(),
                guest: "/data".to_owned(),
                read_only: true,
            }],
            publish: vec![Publish {
                host: 8080,
                container: 80,
                protocol: Protocol::Tcp,
            }],
            cpu: Some("1".to_owned()),
            memory: None,
            host_network: true,
            stdin: true,
            tty: false,
        };
        assert_eq!(
            single(&run).value().get("spec"),
            Some(&json!({
                "restartPolicy": "Never", "hostNetwork": true,
                "containers": [{
                    "name": "w", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                    "args": ["-v"], "stdin": true,
                    "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "1"}},
                    "volumeMounts": [{"name": "dir-0", "mountPath": "/data", "readOnly": true}]
                }],
                "volumes": [{"name": "dir-0", "hostPath": {"path": "/srv"}}]
            }))
        );
    }

    #[test]
    fn a_name_is_made_from_any_image() {
        for (image, name) in [
            ("ghcr.io/acme/Web_Server:1.2@sha256:ab", "web-server"),
            ("file:./a.b.wasm", "a-b"),
            ("file:.wasm", "main"),
            ("", "main"),
        ] {
            assert_eq!(name_of(image), name, "{image}");
        }
    }
}
