//! The toolbox: the commands that exec offers when a container's mounts have none.

use bytes::Bytes;
use model::runtime::{RuntimeError, WasmImage};

use super::Inner;

/// Where the toolbox comes from.
#[derive(Debug, Clone)]
pub enum Toolbox {
    /// The wasm file, compiled at the first exec, or before the first container of a pod whose
    /// probes or hooks run commands.
    Wasm(Bytes),
    /// This build has none.
    Absent,
}

// === impl Inner ===

impl Inner {
    /// Compiles the toolbox, if there is one and it was not yet. A compiler that fails is the
    /// command's misfortune, not the container's.
    pub(super) async fn ready_for_commands(&self) {
        if let Toolbox::Wasm(_) = self.toolbox
            && let Err(error) = self.toolbox(&[]).await
        {
            tracing::warn!(%error, "the toolbox does not compile: commands that need it will fail");
        }
    }

    pub(super) async fn toolbox(&self, args: &[String]) -> Result<WasmImage, RuntimeError> {
        let Toolbox::Wasm(wasm) = &self.toolbox else {
            let name = args.first().map_or("", String::as_str);
            return Err(RuntimeError::CommandNotFound(format!(
                "{name}: not found in the container, and this build of wasmpod has no toolbox (cargo xtask builds one in)"
            )));
        };
        self.toolbox_code
            .get_or_try_init(|| self.compiler.compile(wasm.clone()))
            .await
            .cloned()
    }
}
