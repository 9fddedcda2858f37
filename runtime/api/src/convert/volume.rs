//! Volumes.

use model::Quantity;
use model::volume::{
    FieldFile, FieldSource, HostPathType, KeyPath, ObjectFiles, Projection, Source, Volume,
};

use super::{environment, number, refusals, some};
use crate::cursor::At;
use crate::findings::Findings;

/// The default of every `defaultMode`.
const MODE: u32 = 0o644;

/// The default of `serviceAccountToken.expirationSeconds`.
const HOUR: u64 = 3600;

/// Reads a volume. One whose kind is refused reads as empty; nobody gets to see it.
pub(crate) fn read(at: &At<'_, '_>, found: &mut Findings) -> Volume {
    refusals::volume(at, found);
    Volume {
        name: at.field("name").text().to_owned(),
        source: source(at, found),
    }
}

fn source(at: &At<'_, '_>, found: &mut Findings) -> Source {
    let (host, projected) = (at.field("hostPath"), at.field("projected"));
    let (map, secret, downward) = (
        at.field("configMap"),
        at.field("secret"),
        at.field("downwardAPI"),
    );
    if host.is_set() {
        return Source::HostPath {
            path: absolute(&host.field("path"), found),
            kind: host_path_type(host.field("type").text()),
        };
    }
    let (from, sources) = if map.is_set() {
        (map, vec![Projection::ConfigMap(files(&map, "name"))])
    } else if secret.is_set() {
        (
            secret,
            vec![Projection::Secret(files(&secret, "secretName"))],
        )
    } else if downward.is_set() {
        (downward, vec![Projection::DownwardApi(fields(&downward))])
    } else if projected.is_set() {
        let sources = projected.field("sources");
        (
            projected,
            sources
                .items()
                .filter_map(|at| projection(&at, found))
                .collect(),
        )
    } else {
        return empty(&at.field("emptyDir"));
    };
    Source::Projected {
        sources,
        default_mode: number(&from.field("defaultMode")).unwrap_or(MODE),
    }
}

fn empty(at: &At<'_, '_>) -> Source {
    Source::EmptyDir {
        memory: at.field("medium").text() == "Memory",
        // A limit of zero is none, as for kubelet.
        size_limit: at
            .field("sizeLimit")
            .quantity()
            .filter(|limit| *limit != Quantity::default()),
    }
}

fn absolute(path: &At<'_, '_>, found: &mut Findings) -> String {
    if !path.text().starts_with('/') {
        found.invalid(path, "must be an absolute path of this machine");
    }
    path.text().to_owned()
}

fn host_path_type(text: &str) -> HostPathType {
    match text {
        "DirectoryOrCreate" => HostPathType::DirectoryOrCreate,
        "Directory" => HostPathType::Directory,
        "FileOrCreate" => HostPathType::FileOrCreate,
        "File" => HostPathType::File,
        "Socket" => HostPathType::Socket,
        "CharDevice" => HostPathType::CharDevice,
        "BlockDevice" => HostPathType::BlockDevice,
        _ => HostPathType::Unset,
    }
}

fn projection(at: &At<'_, '_>, found: &mut Findings) -> Option<Projection> {
    refusals::projection(at, found);
    let (map, secret) = (at.field("configMap"), at.field("secret"));
    let (downward, token) = (at.field("downwardAPI"), at.field("serviceAccountToken"));
    Some(if map.is_set() {
        Projection::ConfigMap(files(&map, "name"))
    } else if secret.is_set() {
        Projection::Secret(files(&secret, "name"))
    } else if downward.is_set() {
        Projection::DownwardApi(fields(&downward))
    } else if token.is_set() {
        Projection::ServiceAccountToken {
            path: token.field("path").text().to_owned(),
            audience: some(&token.field("audience")),
            expiration_seconds: number(&token.field("expirationSeconds")).unwrap_or(HOUR),
        }
    } else {
        return None;
    })
}

fn files(at: &At<'_, '_>, name: &'static str) -> ObjectFiles {
    let items = at.field("items");
    ObjectFiles {
        name: at.field(name).text().to_owned(),
        optional: at.field("optional").is_true(),
        items: items
            .items()
            .map(|item| KeyPath {
                key: item.field("key").text().to_owned(),
                path: item.field("path").text().to_owned(),
                mode: number(&item.field("mode")),
            })
            .collect(),
    }
}

fn fields(at: &At<'_, '_>) -> Vec<FieldFile> {
    at.field("items")
        .items()
        .map(|item| {
            let resource = item.field("resourceFieldRef");
            let field = item.field("fieldRef").field("fieldPath").text().to_owned();
            FieldFile {
                path: item.field("path").text().to_owned(),
                field: if resource.is_set() {
                    FieldSource::Resource(environment::resource_field(&resource))
                } else {
                    FieldSource::Field(field)
                },
                mode: number(&item.field("mode")),
            }
        })
        .collect()
}
