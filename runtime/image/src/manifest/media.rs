//! Media types: OCI's, Docker's, and those of the ways in which wasm has been put into images.

/// An OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An OCI layer.
pub const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// An OCI layer, compressed.
pub const OCI_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// An OCI layer, compressed.
pub const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A Docker manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A Docker layer.
pub const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// A Docker layer, compressed.
pub const DOCKER_TAR_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A Docker layer, compressed.
pub const DOCKER_TAR_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The configuration of CNCF's wasm artifact.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of CNCF's wasm artifact.
pub const WASM: &str = "application/wasm";
/// The configuration of the artifact before CNCF's.
pub const OLD_WASM_CONFIG: &str = "application/vnd.wasm.config.v1+json";
/// The layer of the artifact before CNCF's, of Spin's as well.
pub const OLD_WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// runwasi's layer of a component.
pub const RUNWASI_COMPONENT: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
/// Spin's application, which is a program for Spin and not for us.
pub const SPIN_CONFIG: &str = "application/vnd.fermyon.spin.application.v1+config";

/// The annotation with a file's name.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with a tag, in the index of a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with a whole reference, in the index of a layout.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation of what is no image for any platform.
pub const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// Everything that a registry may answer for a reference.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// Whether it says manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether it says index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// Whether it is the configuration of an image that has a root file system.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Whether it is the configuration of a wasm artifact.
pub fn is_wasm_config(media_type: &str) -> bool {
    matches!(media_type, WASM_CONFIG | OLD_WASM_CONFIG)
}

/// Whether a layer is a wasm file as it is.
pub fn is_wasm_layer(media_type: &str) -> bool {
    matches!(media_type, WASM | OLD_WASM | RUNWASI_COMPONENT)
        || media_type.starts_with("application/vnd.bytecodealliance.wasm.")
            && media_type.ends_with("+wasm")
}

/// How the tar of a layer is compressed; nothing where it is no tar of a root file system.
pub fn tar_layer(media_type: &str) -> Option<Compression> {
    match media_type {
        OCI_TAR | DOCKER_TAR => Some(Compression::None),
        OCI_TAR_GZIP | DOCKER_TAR_GZIP => Some(Compression::Gzip),
        OCI_TAR_ZSTD | DOCKER_TAR_ZSTD => Some(Compression::Zstd),
        _ => None,
    }
}
