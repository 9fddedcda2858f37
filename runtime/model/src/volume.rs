//! Volumes of a pod and where its containers mount them, as the author wrote them.

use crate::container::ResourceField;
use crate::quantity::Quantity;

/// One entry of `spec.volumes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `name`, unique in the pod.
    pub name: String,
    /// What it holds.
    pub source: Source,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `emptyDir`: lives as long as the pod.
    EmptyDir {
        /// `medium: Memory`.
        memory: bool,
        /// `sizeLimit`.
        size_limit: Option<Quantity>,
    },
    /// `hostPath`: a file or directory of the node.
    HostPath {
        /// `path` on the node.
        path: String,
        /// `type`.
        kind: HostPathType,
    },
    /// `configMap`, `secret`, `downwardAPI` or `projected`: files made from objects.
    Projected {
        /// Its sources, in order; a later file of the same path wins.
        sources: Vec<Projection>,
        /// `defaultMode`, 0o644 by default.
        default_mode: u32,
    },
}

/// `hostPath.type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HostPathType {
    /// No check.
    #[default]
    Unset,
    /// A directory, made with mode 0755 where absent.
    DirectoryOrCreate,
    /// A directory that exists.
    Directory,
    /// A file, made with mode 0644 where absent.
    FileOrCreate,
    /// A file that exists.
    File,
    /// A socket that exists.
    Socket,
    /// A character device that exists.
    CharDevice,
    /// A block device that exists.
    BlockDevice,
}

/// One source of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// Keys of a ConfigMap.
    ConfigMap(ObjectFiles),
    /// Keys of a Secret.
    Secret(ObjectFiles),
    /// Fields of the pod.
    DownwardApi(Vec<FieldFile>),
    /// A token of the pod's service account.
    ServiceAccountToken {
        /// `path` of the file.
        path: String,
        /// `audience`; the API server's where absent.
        audience: Option<String>,
        /// `expirationSeconds`, 3600 by default.
        expiration_seconds: u64,
    },
}

/// Files from the keys of one object in the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFiles {
    /// The object's name.
    pub name: String,
    /// Whether its absence, or that of a listed key, is no error.
    pub optional: bool,
    /// `items`: key, path, mode. Every key under its own name where empty.
    pub items: Vec<KeyPath>,
}

/// One entry of `items`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath {
    /// The key in the object.
    pub key: String,
    /// Where it is written, relative, without `..`.
    pub path: String,
    /// `mode`; the volume's default where absent.
    pub mode: Option<u32>,
}

/// One file of the downward API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFile {
    /// Where it is written, relative, without `..`.
    pub path: String,
    /// What it holds.
    pub field: FieldSource,
    /// `mode`; the volume's default where absent.
    pub mode: Option<u32>,
}

/// What a downward API file or variable shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSource {
    /// `fieldRef.fieldPath`.
    Field(String),
    /// `resourceFieldRef`.
    Resource(ResourceField),
}

/// One entry of `volumeMounts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// `mountPath`, absolute in the container.
    pub path: String,
    /// `readOnly`.
    pub read_only: bool,
    /// `subPath`, relative, without `..`.
    pub sub_path: Option<String>,
    /// `subPathExpr`: as `subPath` after `$(VAR)` expansion.
    pub sub_path_expr: Option<String>,
}
