//! What a component's interfaces say of it: what it is for, and whether it speaks http.

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::ImageError;
use crate::tiers::Tier;

/// What a component is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An http server of WASI 0.3.
    Server3,
    /// An http server of WASI 0.2.
    Server,
    /// A command of WASI 0.3.
    Command3,
    /// A command of WASI 0.2.
    Command,
    /// Nothing that can be called.
    None,
}

/// The interfaces that a component names.
pub(super) struct Interfaces {
    pub(super) imports: Vec<String>,
    exports: Vec<String>,
}

// === impl Interfaces ===

impl Interfaces {
    pub(super) fn of(tier: &Tier, component: &Component) -> Self {
        let kind = component.component_type();
        let imports = kind.imports(&tier.engine).map(|(name, _)| name.to_owned());
        let exports = kind
            .exports(&tier.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name.to_owned());
        Self {
            imports: imports.collect(),
            exports: exports.collect(),
        }
    }

    fn exports_any(&self, prefix: &str) -> bool {
        self.exports.iter().any(|name| name.starts_with(prefix))
    }

    /// What it is for, as far as its exports say.
    ///
    /// # Errors
    /// When it is an http server of a version that is not served.
    pub(super) fn role(&self) -> Result<Role, ImageError> {
        if self.exports_any("wasi:http/handler@0.3.") {
            return Ok(Role::Server3);
        }
        if self.exports_any("wasi:http/incoming-handler@0.2.") {
            return Ok(Role::Server);
        }
        if self.exports_any("wasi:http/") {
            return Err(ImageError::CannotRun(
                "the component is an http server of a version of wasi:http that this one does not serve: build it so that it exports wasi:http/handler@0.3.0 or wasi:http/incoming-handler@0.2".to_owned(),
            ));
        }
        if self.exports_any("wasi:cli/run@0.3.") {
            return Ok(Role::Command3);
        }
        if self.exports_any("wasi:cli/run@0.2.") {
            return Ok(Role::Command);
        }
        Ok(Role::None)
    }

    pub(super) fn has_http(&self) -> bool {
        self.imports
            .iter()
            .any(|name| name.starts_with("wasi:http/"))
    }

    /// The refusal of a component that can be linked, but has nothing to call.
    pub(super) fn nothing_to_call(&self) -> ImageError {
        ImageError::CannotRun(format!(
            "the component is neither a command nor an http server: it exports [{}], and neither wasi:cli/run of WASI 0.2 or 0.3 nor wasi:http/handler@0.3 or wasi:http/incoming-handler@0.2",
            self.exports.join(", ")
        ))
    }
}
